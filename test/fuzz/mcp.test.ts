import fc from 'fast-check'
import t from 'tap'
import type { Arbitrary } from 'fast-check'
import { startDevProvider } from '../../dev/provider.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { MODERN_META, ready } from '../support/seed.ts'
import { damaged, headerValue, hugeValue, jsonOf, oddString, oddValue, spoilt, toJson } from './arbitraries.ts'
import { TOOL_SERVER, check, startFuzzServer } from './fuzz-server.ts'
import type { FuzzRequest, FuzzServer } from './fuzz-server.ts'

/** /mcp in proxy mode with Redis, and a server with all kinds of tools. */

const FILTER = { and: [{ field: 'a', equals: 1 }, { not: { or: [{ field: 'b', equals: 'x' }] } }] }
const BOOKING = { mail: 'a@example.com', day: '2026-02-28', code: 'AB-1', tags: ['a'], more: { n: 1, none: null } }

/** Method and parameters of what clients send in either era. */
const REQUESTS: Array<[string, object]> = [
  ['tools/call', { name: 'seed_ping', arguments: {} }],
  ['tools/call', { name: 'echo', arguments: { text: 'a' } }],
  ['tools/call', { name: 'search', arguments: { filter: FILTER, limit: 3 } }],
  ['tools/call', { name: 'book', arguments: BOOKING }],
  ['tools/call', { name: 'ask_form', arguments: {} }],
  ['tools/call', { name: 'ask_twice', arguments: { topic: 'a' } }],
  ['tools/call', { name: 'ask_model', arguments: { prompt: 'a' } }],
  ['tools/call', { name: 'ask_roots', arguments: {} }],
  ['tools/call', { name: 'wait', arguments: { ms: 1 }, _meta: { progressToken: 'p' } }],
  ['tools/call', { name: 'json_schema_2020_12_tool', arguments: { name: 'a', address: { street: 's', city: 'c' } } }],
  ['tools/call', { name: 'test_tool_with_logging', arguments: {} }],
  ['tools/call', { name: 'test_tool_with_progress', arguments: {}, _meta: { progressToken: 1 } }],
  ['tools/call', { name: 'change_tools', arguments: {} }],
  ['tools/call', { name: 'ask_form', arguments: {}, inputResponses: { a: { action: 'accept' } }, requestState: 'a.b.c' }],
  ['tools/list', { cursor: 'abc' }],
  ['tools/list', {}],
  ['prompts/list', {}],
  ['prompts/get', { name: 'test_prompt_with_arguments', arguments: { arg1: 'a', arg2: 'b' } }],
  ['prompts/get', { name: 'test_simple_prompt' }],
  ['resources/list', {}],
  ['resources/templates/list', {}],
  ['resources/read', { uri: 'test://static-text' }],
  ['resources/read', { uri: 'test://template/7/data' }],
  ['resources/subscribe', { uri: 'test://watched-resource' }],
  ['resources/unsubscribe', { uri: 'test://watched-resource' }],
  ['completion/complete', {
    ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' },
    argument: { name: 'arg1', value: 'pa' },
    context: { arguments: { arg2: 'b' } }
  }],
  ['completion/complete', {
    ref: { type: 'ref/resource', uri: 'test://template/{id}/data' }, argument: { name: 'id', value: '1' }
  }],
  ['logging/setLevel', { level: 'debug' }],
  ['ping', {}],
  ['server/discover', {}],
  ['subscriptions/listen', { filter: { tools: true, resources: ['test://watched-resource'] } }],
  ['initialize', {
    protocolVersion: '2025-11-25',
    capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} },
    clientInfo: { name: 'fuzz', version: '1' }
  }]
]

const requests = REQUESTS.map(([method, params], id) => ({ jsonrpc: '2.0', id, method, params }))
const notifications = [
  { jsonrpc: '2.0', method: 'notifications/initialized' },
  { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1, reason: 'no' } },
  { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'p', progress: 1, total: 2 } },
  { jsonrpc: '2.0', method: 'notifications/roots/list_changed' },
  { jsonrpc: '2.0', id: 'x.y.1', result: { action: 'accept', content: { name: 'a', age: 1 } } },
  { jsonrpc: '2.0', id: 1, error: { code: -32603, message: 'no', data: {} } }
]
const modernRequests = REQUESTS.map(([method, params], id) => ({
  jsonrpc: '2.0', id, method, params: { ...params, _meta: { ...MODERN_META, ...(params as { _meta?: object })._meta } }
}))

const legacyBody = spoilt([...requests, ...notifications])
const modernBody = spoilt(modernRequests)

/** Headers that a client may send or forget, sometimes odd ones. */
function headersOf (base: Record<string, string>): Arbitrary<Record<string, string>> {
  const change = fc.record({
    name: fc.constantFrom(
      'accept', 'content-type', 'mcp-protocol-version', 'mcp-method', 'mcp-name', 'mcp-session-id', 'last-event-id',
      'origin', 'authorization', 'x-forwarded-for', 'mcp-param-text', 'content-encoding', 'cookie', 'forwarded'
    ),
    value: fc.oneof(headerValue, fc.constantFrom('*/*', 'text/event-stream', 'application/json', 'text/plain', '2025-06-18',
      'application/json; charset=utf-16', '=?base64?aGk=?=', '=?base64?//8=?=', '=?base64?%?=', 'tools/call', '0', 'Bearer'))
  })
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant(base) },
    {
      weight: 1,
      arbitrary: fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => ({
        ...base, ...Object.fromEntries(changes.map(({ name, value }) => [name, value]))
      }))
    }
  )
}

const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

t.test('/mcp answers whatever it is sent', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const server = await startFuzzServer(t, {
    OIDC_ISSUER: provider.issuer, OIDC_AUDIENCE: provider.clientId, REDIS_URL: redis.url, LOG_LEVEL: 'info'
  }, TOOL_SERVER)
  await ready(server)
  const authorization = `Bearer ${await provider.mint({ exp: Math.floor(Date.now() / 1_000) + 80_000 })}`
  const base = { ...JSON_HEADERS, authorization }
  const post = (headers: Record<string, string>, body: Buffer): FuzzRequest => ({ path: '/mcp', headers, body })

  t.test('requests of 2026-07-28', async () => {
    const request = fc.tuple(modernBody, headersOf(base), fc.boolean()).map(([body, headers, agrees]) => {
      const { method, params } = (body ?? {}) as { method?: unknown, params?: { name?: unknown, uri?: unknown } }
      const name = params?.name ?? params?.uri
      return post({
        'mcp-protocol-version': '2026-07-28',
        ...(agrees && isPlain(method) && { 'mcp-method': method }),
        ...(agrees && isPlain(name) && { 'mcp-name': name }),
        ...headers
      }, toJson(body))
    })
    await check(fc.asyncProperty(request, async (request) => { await server.answers(request) }), { runs: 350 })
    await server.isWell()
  })

  t.test('requests and responses within sessions of the 2025 revisions', async () => {
    let sessions = await Promise.all(['2025-03-26', '2025-06-18', '2025-11-25'].map(openSession))
    const request = fc.tuple(legacyBody, headersOf(base), fc.nat({ max: 2 }))
    await check(fc.asyncProperty(request, async ([body, headers, number]) => {
      await server.answers(post({ ...sessions[number]!, ...headers }, toJson(body)))
    }), { runs: 350 })
    sessions = await Promise.all(['2025-03-26', '2025-03-26', '2025-11-25'].map(openSession))
    const batch = fc.oneof(
      { weight: 10, arbitrary: fc.array(legacyBody, { maxLength: 8 }) },
      {
        weight: 1,
        arbitrary: fc.tuple(fc.integer({ min: 20, max: 200 }), legacyBody)
          .map(([length, body]) => Array.from({ length }, () => body))
      }
    )
    await check(fc.asyncProperty(batch, fc.nat({ max: 2 }), async (bodies, number) => {
      await server.answers(post({ ...base, ...sessions[number]! }, toJson(bodies)))
    }), { runs: 60 })
    await server.isWell()
  })

  t.test('streams, their resumption and the end of sessions', async () => {
    const session = await openSession('2025-11-25')
    const request = fc.tuple(
      fc.constantFrom('GET', 'GET', 'GET', 'DELETE', 'OPTIONS', 'HEAD', 'PUT', 'PATCH'),
      headersOf({ authorization, accept: 'text/event-stream' }),
      fc.option(headerValue), fc.option(headerValue)
    )
    await check(fc.asyncProperty(request, async ([method, headers, eventId, sessionId]) => {
      const own = sessionId === null ? method === 'DELETE' ? {} : session : { 'mcp-session-id': sessionId }
      await server.answers({
        method, path: '/mcp', headers: { ...headers, ...own, ...(eventId !== null && { 'last-event-id': eventId }) }
      })
    }), { runs: 60 })
    await server.isWell()
  })

  t.test('bodies that are odd, large, or no JSON at all', async () => {
    const body = fc.oneof(
      { weight: 3, arbitrary: oddValue.map(toJson) },
      { weight: 2, arbitrary: hugeValue.map(toJson) },
      { weight: 3, arbitrary: damaged(fc.constantFrom(...modernRequests, ...requests).map(toJson)) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
      { weight: 1, arbitrary: jsonOf(legacyBody) }
    )
    const headers = fc.constantFrom({}, { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call' })
    await check(fc.asyncProperty(body, headers, async (body, more) => {
      await server.answers(post({ ...base, ...more }, body.subarray(0, 1_000_000)))
    }), { runs: 150 })
    await server.isWell()
  })

  t.test('tokens that are none', async () => {
    const good = authorization.slice('Bearer '.length)
    const token = fc.oneof(
      headerValue,
      damaged(fc.constant(Buffer.from(good))).map((bytes) => `Bearer ${bytes.toString('latin1').replace(/[^\x20-\x7e]/g, '.')}`),
      fc.tuple(spoilt([{ alg: 'ES256', kid: 'a', typ: 'at+jwt' }]), spoilt([claimsOf(good)])).map(([header, claims]) =>
        `Bearer ${toJson(header).toString('base64url')}.${toJson(claims).toString('base64url')}.${good.split('.')[2]}`
          .slice(0, 12_000))
    )
    await check(fc.asyncProperty(token, async (token) => {
      await server.answers(post({ ...base, authorization: token }, toJson(modernRequests[0])))
    }), { runs: 80 })
    const spoiltClaims = spoilt([claimsOf(good)])
    await check(fc.asyncProperty(spoiltClaims, async (claims) => {
      if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) return
      // The signature is good: the provider itself says something odd.
      const token = await provider.mint(claims as Record<string, unknown>).catch(() => undefined)
      if (token === undefined || token.length > 12_000) return
      await server.answers(post({ ...base, authorization: `Bearer ${token}` }, toJson(modernRequests[0])))
    }), { runs: 80 })
    await server.isWell()
  })

  t.test('bytes that may not be HTTP', async () => {
    const text = Buffer.from([
      'POST /mcp HTTP/1.1', 'Host: 127.0.0.1', 'Content-Type: application/json', `Authorization: ${authorization}`,
      'Content-Length: 2', '', '{}'
    ].join('\r\n'))
    const path = fc.oneof(oddString, fc.webUrl(), fc.constantFrom('*', '//', '/mcp?a=%', '/%ff', 'http://evil.example/mcp'))
    const bytes = fc.oneof(
      damaged(fc.constant(text)),
      path.map((path) => Buffer.from(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)),
      fc.array(fc.tuple(headerValue, headerValue), { maxLength: 50 }).map((headers) => Buffer.from(
        `GET /mcp HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\n${headers.map((pair) => pair.join(': ')).join('\r\n')}\r\n\r\n`,
        'latin1'
      ))
    )
    await check(fc.asyncProperty(bytes, async (bytes) => {
      const status = await server.sendRaw(bytes)
      if (status !== undefined && status >= 500) throw new Error(`Status ${status}`)
    }), { runs: 80 })
    await server.isWell()
  })

  async function openSession (version: string): Promise<Record<string, string>> {
    return await open(server, base, version)
  }
})

async function open (
  server: FuzzServer, headers: Record<string, string>, version: string
): Promise<Record<string, string>> {
  const initialize = requests.find(({ method }) => method === 'initialize')!
  const body = toJson({ ...initialize, params: { ...initialize.params, protocolVersion: version } })
  const { headers: { 'mcp-session-id': id } } = await server.answers({ path: '/mcp', headers, body })
  return { 'mcp-session-id': String(id), 'mcp-protocol-version': version }
}

function claimsOf (token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
}

const isPlain = (value: unknown): value is string => typeof value === 'string' && /^[\x21-\x7e]{1,500}$/.test(value)
