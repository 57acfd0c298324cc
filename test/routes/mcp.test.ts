import { EventEmitter, once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import Fastify from 'fastify'
import t from 'tap'
import type { Socket } from 'node:net'
import mcpRoutes from '../../routes/mcp.ts'
import type { McpRequest } from '../../src/mcp/exchange.ts'
import { call, initialize, modern, readEvents, request } from '../support/mcp.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { MODERN_META, ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'

const LIST = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} })

t.test('the MCP endpoint', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const authorization = `Bearer ${await seed.provider.mint()}`
  const session = await begin(seed, authorization.slice(7))
  const post = async (body: string | undefined, headers: Record<string, string> = {}) =>
    await fetch(`${seed.url}/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization, ...session, ...headers },
      ...(body !== undefined && { body })
    })
  const stillGood = async () => {
    t.equal((await ping(seed.url, authorization.slice(7))).status, 200, 'and the next call is served')
  }

  t.test('responds with JSON that may not be stored', async (t) => {
    const response = await post(LIST)
    t.equal(response.status, 200)
    t.match(response.headers.get('content-type'), /^application\/json/)
    t.equal(response.headers.get('cache-control'), 'no-store')
    t.match(await response.json(), {
      id: 1,
      result: {
        tools: [
          {
            name: 'seed_ping',
            title: String,
            description: String,
            inputSchema: { type: 'object' },
            outputSchema: { type: 'object' }
          }
        ]
      }
    })
  })

  t.test('POST, GET and DELETE require authentication', async (t) => {
    for (const method of ['PUT', 'PATCH', 'HEAD']) {
      const response = await fetch(`${seed.url}/mcp`, { method, headers: { authorization } })
      t.equal(response.status, 405, method)
      t.equal(response.headers.get('allow'), 'POST, GET, DELETE')
      if (method !== 'HEAD') t.match(await response.json(), { jsonrpc: '2.0', id: null, error: { code: -32000 } })
    }
    for (const method of ['GET', 'DELETE', 'POST', 'PUT', 'PATCH']) {
      t.equal(
        (await fetch(`${seed.url}/mcp`, { method, headers: session })).status,
        401,
        `${method} with a session and no token`
      )
    }
  })

  t.test('sessions over HTTP', async (t) => {
    const own = await begin(seed, authorization.slice(7))
    t.match(own['mcp-session-id'], /^[\w-]{32}$/)
    const bodies = new Set<string>()
    for (const id of [
      'unknown',
      'A'.repeat(32),
      (await begin(seed, await seed.provider.mint({ sub: 'bob' })))['mcp-session-id']!
    ]) {
      for (const method of ['POST', 'GET', 'DELETE']) {
        const response = await fetch(`${seed.url}/mcp`, {
          method,
          headers: {
            ...own,
            authorization,
            'mcp-session-id': id,
            ...(method === 'POST' && { 'content-type': 'application/json' })
          },
          ...(method === 'POST' && { body: LIST })
        })
        t.equal(response.status, 404)
        bodies.add(await response.text())
      }
    }
    t.equal((await post(LIST, { 'mcp-session-id': '' })).status, 404)
    const stream = await fetch(`${seed.url}/mcp`, { headers: { authorization, accept: 'text/event-stream', ...own } })
    t.equal(stream.status, 200)
    t.match(stream.headers.get('cache-control'), /no-cache/)
    const events = readEvents(Readable.fromWeb(stream.body as never))
    t.match(await events.next(), { id: 's.0.0' })
    const ended = await fetch(`${seed.url}/mcp`, { method: 'DELETE', headers: { authorization, ...own } })
    t.equal(ended.status, 204)
    t.equal(await ended.text(), '')
    t.same(await events.rest(), [])
    const again = await post(LIST, own)
    t.equal(again.status, 404)
    bodies.add(await again.text())
    t.equal(bodies.size, 1, 'foreign, unknown and ended are answered alike, byte for byte')
  })

  t.test('a refreshed token continues the session', async (t) => {
    const refreshed = await seed.provider.mint({ scope: 'openid' })
    t.equal((await post(LIST, { authorization: `Bearer ${refreshed}` })).status, 200)
  })

  t.test('serves every client that accepts JSON', async (t) => {
    for (const accept of [
      'application/json',
      'application/json, text/event-stream',
      'text/event-stream, application/json;q=0.9',
      '*/*',
      'application/*',
      'text/html, */*;q=0.1',
      'APPLICATION/JSON'
    ]) {
      t.equal((await post(LIST, { accept })).status, 200, accept)
    }
    for (const accept of ['text/html', 'application/jsonp', 'image/*']) {
      const response = await post(LIST, { accept })
      t.equal(response.status, 406, accept)
      t.match(await response.json(), { jsonrpc: '2.0', error: { code: -32000 } })
    }
  })

  t.test('accepts only JSON', async (t) => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/jsonp',
      'application/json, text/plain',
      'text/plain; application/json'
    ]) {
      const response = await post(LIST, { 'content-type': type })
      t.equal(response.status, 415, type)
      t.match(await response.json(), { error: { code: -32000 } })
    }
    t.equal(
      (
        await fetch(`${seed.url}/mcp`, {
          method: 'POST',
          headers: { authorization, ...session },
          body: new Blob([LIST])
        })
      ).status,
      415,
      'no content type'
    )
    t.equal((await post(LIST, { 'content-type': 'application/json; charset=utf-8' })).status, 200)
    await stillGood()
  })

  t.test('answers a body that is no message with a JSON-RPC error', async (t) => {
    for (const body of ['', '{', '{"jsonrpc":"2.0",}', `${LIST}${LIST}`]) {
      const response = await post(body)
      t.equal(response.status, 400, body.slice(0, 30))
      t.match(await response.json(), { jsonrpc: '2.0', id: null, error: { code: -32700 } })
    }
    for (const body of [
      'null',
      '1',
      'true',
      '"1"',
      '{"__proto__":{"polluted":1}}',
      '{"constructor":{"prototype":{"polluted":1}}}',
      '{"\\u005f_proto__":1}'
    ]) {
      const response = await post(body)
      t.equal(response.status, 400, body)
      t.ok([-32600, -32700].includes((await response.json() as { error: { code: number } }).error.code))
    }
    const polluted = '{"name":"seed_ping","arguments":{"__proto__":{"a":1}}}'
    t.equal((await post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${polluted}}`)).status, 400)
    t.equal(({} as { polluted?: unknown }).polluted, undefined)
    await stillGood()
  })

  t.test('refuses JSON nested deeper than 64 levels, however deep', async (t) => {
    const nested = (levels: number, [open, close]: readonly [string, string]) =>
      `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":${open.repeat(levels)}1${close.repeat(levels)}}}`
    for (const kind of [['[', ']'], ['{"a":', '}']] as const) {
      t.equal((await post(nested(60, kind))).status, 200)
      for (const levels of [65, 1_000, 100_000]) {
        t.equal((await post(nested(levels, kind))).status, 400, `${levels} levels`)
      }
    }
    await stillGood()
  })

  t.test('refuses a body over 1 MiB', async (t) => {
    const response = await post(`"${'x'.repeat(1_048_577)}"`)
    t.equal(response.status, 413)
    t.match(await response.json(), { error: { message: 'The body is too large' } })
    await stillGood()
  })

  t.test('serves no variant of its path without a token', async (t) => {
    for (const path of [
      '/mcp/',
      '//mcp',
      '/%6dcp',
      '/MCP',
      '/mcp;a',
      '/mcp%2f',
      '/mcp/../mcp',
      '/mcp?x',
      '/mcp/anything',
      '/mcpx',
      '/./mcp',
      '/mcp%00',
      'http://evil.example/mcp'
    ]) {
      const answer = await raw(
        seed,
        `POST ${path} HTTP/1.1\r\nHost: ${new URL(seed.url).host}\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${LIST.length}\r\nConnection: close\r\n\r\n${LIST}`
      )
      t.match(answer, /^HTTP\/1\.1 (401|404|400) /, path)
    }
  })

  t.test('members that cannot even be converted to text are the client\'s mistake', async (t) => {
    const odd: unknown[] = [{ toString: 1 }, [{ toString: null }], { valueOf: 1, toString: {} }, null, 7, ['tools/list'], {}]
    const messages: Array<{ method: unknown, params: unknown }> = odd.flatMap((value) => [
      { method: value, params: {} },
      { method: 'tools/call', params: { name: value, arguments: {} } },
      { method: 'tools/call', params: value },
      { method: 'prompts/get', params: { name: value } },
      { method: 'resources/read', params: { uri: value } },
      { method: 'resources/subscribe', params: { uri: value } },
      { method: 'completion/complete', params: { ref: { type: 'ref/prompt', name: value } } },
      { method: 'completion/complete', params: { ref: { type: 'ref/resource', uri: value } } },
      { method: 'completion/complete', params: { ref: value } },
      { method: 'subscriptions/listen', params: { notifications: { resourceSubscriptions: [value] } } }
    ])
    const own = await begin(seed, authorization.slice(7))
    const modern = { 'mcp-protocol-version': '2026-07-28' }
    for (const { method, params } of messages) {
      const inSession = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
      const alone = JSON.stringify({
        jsonrpc: '2.0', id: 1, method, params: params === null ? params : { ...params as object, _meta: MODERN_META }
      })
      for (const [body, headers] of [
        [inSession, own],
        [alone, { ...modern, ...(typeof method === 'string' && { 'mcp-method': method }) }]
      ] as const) {
        const { status } = await post(body, headers)
        t.ok(status === 200 || status === 400 || status === 404, `${status} for ${body}`)
      }
    }
    t.same(seed.logs.filter(({ level }) => level >= 50), [])
  })

  t.test('a request target in absolute form is served as the path in it, or refused', async (t) => {
    const { hostname, port, host } = new URL(seed.url)
    for (const target of ['http://evil.example/mcp', `${seed.url}/mcp`, 'http://[/mcp', '//evil.example/mcp', '/mcp?a=%']) {
      const socket = connect(Number(port), hostname)
      const head = [`POST ${target} HTTP/1.1`, `Host: ${host}`, `Authorization: ${authorization}`,
        'Content-Type: application/json', 'Accept: application/json, text/event-stream', 'Connection: close',
        `Content-Length: ${Buffer.byteLength(LIST)}`]
      socket.end(`${head.join('\r\n')}\r\n\r\n${LIST}`)
      const status = /^HTTP\/1\.1 (\d{3})/.exec(await text(socket))?.[1]
      t.ok(['200', '400', '404', '421'].includes(String(status)), `${status} for ${target}`)
    }
    t.same(seed.logs.filter(({ level }) => level >= 50), [])
  })

  t.test('survives input that is not HTTP', async (t) => {
    const host = `Host: ${new URL(seed.url).host}`
    for (const request of [
      `POST /mcp HTTP/1.1\r\n${host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `GET /mcp HTTP/1.1\r\n${host}\r\nX: a\r\n b\r\n\r\n`,
      'GET /mcp HTTP/1.1\r\n\r\n',
      `GET /mcp HTTP/1.1\r\n${host}\r\nX: ${'a'.repeat(17_000)}\r\n\r\n`,
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    ]) t.match(await raw(seed, request), /^(HTTP\/1\.1 4\d\d |$)/)
    const upgrade = await raw(
      seed,
      `GET /mcp HTTP/1.1\r\n${host}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n'
    )
    t.notMatch(upgrade, /^HTTP\/1\.1 101/)
    await stillGood()
  })

  t.test('one log line per request says who called what, and cuts what a client could make long', async (t) => {
    await post(
      JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'no\nsuch\u202etool'.padEnd(500, 'x') }
      })
    )
    const line = await seed.logged(({ tool }) => String(tool).startsWith('no\nsuch'))
    t.match(line, {
      msg: 'User context',
      mcpMethod: 'tools/call',
      user: { subject: String, clientId: String },
      status: 200,
      method: 'POST',
      path: '/mcp'
    })
    t.equal(String(line['tool']).length, 64)
    await post(`[${LIST},${LIST}]`)
    await seed.logged(({ batch }) => batch === 2)
    await post(JSON.stringify({ jsonrpc: '2.0', method: 7 }))
    const refused = await seed.logged(({ refused }) => refused === 'missing_token')
    t.equal(refused.msg, 'Request')
  })
})

t.test('limits requests, calls and streams', async (t) => {
  const seed = await startSeed(t, {
    definitions: interactiveTools,
    env: {
      CALLS_PER_PRINCIPAL: '1',
      STREAMS_PER_PRINCIPAL: '1',
      MCP_LIMIT_PER_PRINCIPAL: '12',
      CORS_EXTRA_ORIGINS: 'https://app.example'
    }
  })
  await ready(seed)
  const token = await seed.provider.mint()
  const session = await begin(seed, token)
  const post = poster(seed, token, { ...session, origin: 'https://app.example' })
  const refused = async (response: Response, message: RegExp) => {
    t.equal(response.status, 429)
    t.match(response.headers.get('retry-after'), /^\d+$/)
    t.equal(response.headers.get('cache-control'), 'no-store')
    t.equal(response.headers.get('access-control-allow-origin'), 'https://app.example')
    t.match(response.headers.get('access-control-expose-headers'), /Retry-After/)
    t.match(await response.json(), { jsonrpc: '2.0', id: null, error: { code: -32000, message } })
  }

  const waiting = post(call('wait', { ms: 60_000 }, { id: 'w' }))
  await until(async () => {
    const response = await post(call('echo', { text: 'x' }))
    if (response.status === 429) await refused(response, /You already have 1 call running; wait for one to finish/)
    return response.status === 429
  }, 'the call is running')
  await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'w' } })
  await waiting

  const get = async () =>
    await fetch(`${seed.url}/mcp`, {
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'text/event-stream',
        origin: 'https://app.example',
        ...session
      }
    })
  const stream = await get()
  t.equal(stream.status, 200)
  await refused(await get(), /You already have 1 stream open; close one first/)
  await stream.body!.cancel()

  let last = await post(request('ping'))
  for (let sent = 0; sent < 12 && last.status === 200; sent++) last = await post(request('ping'))
  await refused(last, /Too many requests: at most 12 a minute/)
  t.equal((await ping(seed.url, await seed.provider.mint({ sub: 'bob' }))).status, 200, 'other people are served')
})

t.test('refused tokens are counted per address; whoever has none, an expired or a good one is served', async (t) => {
  const seed = await startSeed(t, { env: { MCP_LIMIT_REFUSED: '3' } })
  await ready(seed)
  const past = Math.floor(Date.now() / 1_000) - 3_600
  const expired = await seed.provider.mint({ iat: past - 60, exp: past })
  const honest = [...Array(5).fill(undefined), ...Array(5).fill(expired)] as Array<string | undefined>
  for (const token of [...honest, 'x', 'y', 'z', ...honest]) {
    const response = await ping(seed.url, token)
    t.equal(response.status, 401)
    t.match(response.headers.get('www-authenticate'), /^Bearer .*resource_metadata=/)
  }
  for (const token of ['a', 'b']) {
    const response = await ping(seed.url, token)
    t.equal(response.status, 429)
    t.match(response.headers.get('retry-after'), /^\d+$/)
    t.match(await response.json(), {
      jsonrpc: '2.0',
      id: null,
      error: { code: -32000, message: /Too many requests with an invalid token/ }
    })
  }
  t.equal((await ping(seed.url, await seed.provider.mint())).status, 200)
})

t.test('a client that disconnects while its token is verified is counted by its address, and is no error', async (t) => {
  for (const trustProxy of ['', '127.0.0.1']) {
    const seed = await startSeed(t, { env: { TRUST_PROXY: trustProxy, MCP_LIMIT_PER_ADDRESS: '1' } })
    await ready(seed)
    const { store } = seed.app
    const get = store.get.bind(store)
    // The verifier asks the store whether the token was revoked; the client disconnects meanwhile.
    const events = new EventEmitter()
    const asked = once(events, 'asked')
    const disconnected = once(events, 'disconnected')
    store.get = async (key) => {
      events.emit('asked')
      await disconnected
      return await get(key)
    }
    seed.app.server.once('connection', (socket: Socket) => {
      socket.once('close', () => { events.emit('disconnected') })
    })
    const socket = connect(Number(new URL(seed.url).port), '127.0.0.1')
    socket.write([
      'POST /mcp HTTP/1.1', `Host: ${new URL(seed.url).host}`, `Authorization: Bearer ${await seed.provider.mint()}`,
      'Content-Type: application/json', `Content-Length: ${LIST.length}`, '', LIST
    ].join('\r\n'))
    await asked
    socket.resetAndDestroy()
    await disconnected
    t.equal((await ping(seed.url, await seed.provider.mint())).status, 429, 'one request a minute')
    t.same(seed.logs.filter(({ level }) => level >= 50), [])
  }
})

t.test('a stream ends when its token expires or is revoked', async (t) => {
  const seed = await startSeed(t, { definitions: interactiveTools, env: { TOKEN_CLOCK_SKEW_SECONDS: '0' } })
  await ready(seed)
  const exp = Math.floor(Date.now() / 1_000) + 3
  const token = await seed.provider.mint({ exp })
  const session = await begin(seed, token)
  const [body, { headers }] = modern('subscriptions/listen', { notifications: { toolsListChanged: true } })
  const streams = [
    await fetch(`${seed.url}/mcp`, {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream', ...session }
    }),
    await poster(seed, token, headers)(body),
    await poster(seed, token, session)(call('count', { steps: 1, pauseMs: 60_000 }))
  ]
  for (const [index, stream] of streams.entries()) {
    t.equal(stream.status, 200)
    await readEvents(Readable.fromWeb(stream.body as never)).rest()
    const now = Date.now() / 1_000
    t.ok(now >= exp && now < exp + 2, `stream ${index} ends in good order when the token expires`)
  }
  t.equal((await ping(seed.url, token)).status, 401)
})

t.test('a stream has the headers that hooks set, and its log line', async (t) => {
  const seed = await startSeed(t, {
    definitions: interactiveTools,
    env: { TRUST_PROXY: '127.0.0.0/8', CORS_EXTRA_ORIGINS: 'https://app.example' }
  })
  await ready(seed)
  const token = await seed.provider.mint()
  for (const forwarded of [undefined, '203.0.113.7']) {
    const session = await begin(seed, token)
    const stream = await fetch(`${seed.url}/mcp`, {
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'text/event-stream',
        origin: 'https://app.example',
        ...session,
        ...(forwarded !== undefined && { 'x-forwarded-for': forwarded })
      }
    })
    t.match(Object.fromEntries(stream.headers), {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'transfer-encoding': 'chunked',
      connection: 'close',
      'access-control-allow-origin': 'https://app.example',
      'access-control-expose-headers': /Mcp-Session-Id/,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'x-request-id': /^[\w-]{12}$/
    })
    const events = readEvents(Readable.fromWeb(stream.body as never))
    t.match(await events.next(), { id: 's.0.0' })
    const line = () => seed.logs.find(({ reqId }) => reqId === stream.headers.get('x-request-id'))
    t.equal(line(), undefined)
    t.equal(
      (await fetch(`${seed.url}/mcp`, { method: 'DELETE', headers: { authorization: `Bearer ${token}`, ...session } }))
        .status,
      204
    )
    t.same(await events.rest(), [])
    await until(async () => line() !== undefined, 'it is logged when it has ended')
    t.match(line(), {
      msg: 'User context',
      method: 'GET',
      path: '/mcp',
      status: 200,
      address: forwarded ?? '127.0.0.1'
    })
  }
})

t.test('a client that disconnects before its stream starts leaves nothing behind', async (t) => {
  const seed = await startSeed(t, { definitions: interactiveTools, env: { STREAMS_PER_PRINCIPAL: '1' } })
  await ready(seed)
  const token = await seed.provider.mint()
  const post = poster(seed, token, await begin(seed, token))
  const client = new AbortController()
  const leaving = post(call('wait', { ms: 1_500 }, { id: 'w' }), { signal: client.signal })
  await Promise.all([
    t.rejects(leaving),
    seed.logged(({ msg }) => msg === 'Waiting').then(() => { client.abort() })
  ])
  await until(async () => (await post(request('ping', {}, 'w'))).status === 200, 'its call goes on and ends')
  t.same(seed.logs.filter(({ level }) => level >= 50), [], 'without an error')
})

t.test('without sign-in', async (t) => {
  const seed = await startSeed(t, { definitions: interactiveTools, env: { AUTH_REQUIRED: 'false' } })
  const session = await begin(seed)
  t.match(await (await poster(seed, undefined, session)(call('echo', { text: 'hi' }))).json(), {
    result: { content: [{ text: 'undefined: hi' }] }
  })
  const stream = await fetch(`${seed.url}/mcp`, { headers: { accept: 'text/event-stream', ...session } })
  t.match(await readEvents(Readable.fromWeb(stream.body as never)).next(), { id: 's.0.0' })
})

function poster ({ url }: TestSeed, token: string | undefined, headers: Record<string, string>) {
  return async (body: unknown, init: RequestInit = {}): Promise<Response> => await fetch(`${url}/mcp`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...token !== undefined && { authorization: `Bearer ${token}` },
      ...headers
    },
    body: JSON.stringify(body),
    ...init
  })
}

/** Begins a session. @returns its headers */
async function begin (seed: TestSeed, token?: string): Promise<Record<string, string>> {
  const response = await fetch(`${seed.url}/mcp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...token !== undefined && { authorization: `Bearer ${token}` } },
    body: JSON.stringify(initialize())
  })
  return { 'mcp-session-id': response.headers.get('mcp-session-id')!, 'mcp-protocol-version': '2025-11-25' }
}

async function raw ({ url }: TestSeed, request: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write(request)
  socket.on('error', () => {})
  return await text(socket).catch(() => '')
}

t.test('an engine that asks late hears that the client has gone', async (t) => {
  const app = Fastify({ exposeHeadRoutes: false })
  t.teardown(async () => { await app.close() })
  app.decorateRequest('principal', undefined)
  let left: () => void
  const hasLeft = new Promise<void>((resolve) => { left = resolve })
  let asked: (aborted: boolean) => void
  const answer = new Promise<boolean>((resolve) => { asked = resolve })
  const began = new Promise<void>((resolve) => {
    const engine = {
      async handle (exchange: McpRequest) {
        resolve()
        await hasLeft
        let hasGone = false
        exchange.onDisconnect(() => { hasGone = true })
        asked(hasGone)
        return { status: 200, headers: {}, body: '{}' }
      },
      prepare: () => () => {},
      replace () {},
      async close () {}
    }
    app.register(mcpRoutes, {
      prefix: '/mcp',
      engine,
      origins: [],
      endpoint: 'http://localhost/mcp',
      challenge: { resourceMetadata: 'http://localhost/.well-known/oauth-protected-resource/mcp', scopes: [] },
      streams: undefined,
      onRefused: undefined,
      rememberDemand: undefined,
      limits: {
        countRequest () {},
        countRefused () {},
        checkRefused () {},
        beginCall: () => () => {},
        beginStream: () => () => {},
        openStreams: () => 0,
        running: () => ({ calls: 0, streams: 0 }),
        callerKey: () => ''
      }
    })
  })
  app.server.on('connection', (socket) => { socket.once('close', () => { setImmediate(left) }) })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const client = new AbortController()
  const sent = fetch(`${url}/mcp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
    signal: client.signal
  })
  await began
  client.abort()
  await t.rejects(sent)
  t.equal(await answer, true)
})
