import { channel } from 'node:diagnostics_channel'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { trace } from '@opentelemetry/api'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { defineTool, ToolError } from '../../src/define/tool.ts'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResource, defineResourceTemplate } from '../../src/define/resource.ts'
import { getTokens, post, refresh, startBroker } from '../support/broker.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { freePort } from '../support/free-port.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { until } from '../support/until.ts'
import type { OtlpReceiver, ReceivedSpan } from '../support/otlp-receiver.ts'
import { MODERN_META, modernRequest, openSession, ping, postMcp, startSeed } from '../support/seed.ts'

const CLIENT = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
const TRACEPARENT = `00-${CLIENT.traceId}-${CLIENT.spanId}-01`
/** However slow the machine is, closing waits until the spans are sent. */
const TIMINGS = { spanCloseMs: 60_000 }
const OTHER = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' }

/** Another service, which tools send requests to. */
async function startService (t: Test): Promise<{ url: string, requests: IncomingHttpHeaders[], paths: unknown[] }> {
  const requests: IncomingHttpHeaders[] = []
  const paths: unknown[] = []
  const server = createServer((request, response) => {
    requests.push(request.headers)
    paths.push(request.url)
    response.writeHead(request.url === '/away' ? 503 : 200).end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, paths }
}

/** Begins a request and ends it in the same moment. */
async function fetchAndLeave (url: string): Promise<Response> {
  const leaving = new AbortController()
  const sent = fetch(url, { signal: leaving.signal })
  leaving.abort()
  return await sent
}

let answeredLater = false

/** Tools that use another service. */
function fetchingTools (url: string, closedPort = 0) {
  return [
    ...interactiveTools,
    defineTool({
      name: 'look_up',
      description: 'Asks another service',
      input: Type.Object({ path: Type.String() }),
      handler: async ({ path }) => await trace.getTracer('author').startActiveSpan('work', async (span) => {
        const { status } = await fetch(`${url}${path}`)
        span.end()
        return String(status)
      })
    }),
    defineTool({
      name: 'fails_to_fetch',
      description: 'Asks a service that is away',
      input: Type.Object({}),
      handler: async () => {
        await fetch(`http://127.0.0.1:${closedPort}`).catch(() => {})
        // Nothing is expected of the usual ports of this machine: nobody waits for their answers.
        const sent = [url, 'http://127.0.0.1', 'https://127.0.0.1'].map(fetchAndLeave)
        await Promise.allSettled(sent)
        return await (await sent[0]!).text()
      }
    }),
    defineTool({
      name: 'refuses',
      description: 'Refuses',
      input: Type.Object({}),
      handler: () => { throw new ToolError('for 8d7a2e: not today') }
    }),
    defineTool({
      name: 'breaks',
      description: 'Breaks',
      input: Type.Object({}),
      handler: () => { throw new TypeError('8d7a2e is no number') }
    }),
    defineTool({
      name: 'leaves_timer',
      description: 'Asks later',
      input: Type.Object({}),
      handler () {
        setTimeout(() => { fetch(`${url}/later`).then(() => { answeredLater = true }, () => {}) }, 50)
        return 'ok'
      }
    }),
    defineTool({
      name: 'traces_itself',
      description: 'Has a traceparent of its own',
      input: Type.Object({}),
      handler: async () => await (await fetch(url, { headers: { traceparent: TRACEPARENT } })).text()
    }),
    defineTool({
      name: 'waits',
      description: 'Waits until the client has left',
      input: Type.Object({}),
      handler: async (_input, { signal }) => await new Promise<string>((resolve) => {
        signal.onabort = () => { resolve('') }
        fetch(`${url}/waiting`).catch(() => {})
      })
    }),
    definePrompt({ name: 'hello', description: 'Greets', handler: () => 'Hello' }),
    definePrompt({
      name: 'greet',
      description: 'Greets somebody',
      arguments: Type.Object({ name: Type.String() }),
      complete: { name: async () => [await (await fetch(`${url}/completions-8d7a2e`)).text()] },
      handler: () => 'Hello'
    }),
    defineResourceTemplate({
      uriTemplate: 'seed://notes/{id}',
      name: 'notes',
      list: async () => {
        await fetch(`${url}/notes-8d7a2e`)
        return [{ uri: 'seed://notes/1', name: 'one' }]
      },
      read: () => 'text'
    }),
    defineResource({ uri: 'seed://handbook', name: 'handbook', read: () => 'text' })
  ]
}

function find ({ spans }: OtlpReceiver, name: string, parent?: ReceivedSpan): ReceivedSpan {
  const found = spans.find((span) =>
    span.name === name && (parent === undefined || span.parentSpanId === parent.spanId))
  if (found === undefined) throw new Error(`no span ${name} in ${spans.map((span) => span.name).join(', ')}`)
  return found
}

const call = (name: string, args: object, meta: object = {}) => {
  const request = modernRequest('tools/call', { name, arguments: args })
  const body = JSON.parse(request.body) as { params: object }
  const params = { ...body.params, _meta: { ...MODERN_META, ...meta } }
  return { ...request, body: JSON.stringify({ ...body, params }) }
}

t.test('the paths that completions and lists of templates fetch stay here, as those of tools do', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const service = await startService(t)
  const seed = await startSeed(t, {
    timings: TIMINGS,
    definitions: fetchingTools(service.url),
    env: { AUTH_REQUIRED: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
  })
  for (const [method, params] of [
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'name', value: '' } }],
    ['resources/list', {}]
  ] as const) {
    t.equal((await postMcp(seed, modernRequest(method, params))).status, 200)
  }
  t.same(service.paths, ['/completions-8d7a2e', '/notes-8d7a2e'])
  await seed.app.close()
  t.equal(receiver.spans.filter(({ name }) => name === 'GET').length, 2)
  t.notMatch(receiver.received(), '8d7a2e')
})

t.test('one trace leads from the client through HTTP, MCP and the tool to what the tool fetches', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const service = await startService(t)
  const seed = await startSeed(t, {
    timings: TIMINGS,
    definitions: fetchingTools(service.url),
    env: { AUTH_REQUIRED: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, AUDIT_LOG: 'stdout' }
  })
  const { body, headers } = call('look_up', { path: '/items?token=8d7a2e' })
  const traced = { ...headers, traceparent: TRACEPARENT, tracestate: 'vendor=1' }
  t.match(await postMcp(seed, { body, headers: traced }), { status: 200, body: { result: { content: [{ text: '200' }] } } })
  await seed.app.close()

  const http = find(receiver, 'POST /mcp')
  const mcp = find(receiver, 'tools/call look_up', http)
  const tool = find(receiver, 'execute_tool look_up', mcp)
  const own = find(receiver, 'work', tool)
  const fetched = find(receiver, 'GET', own)
  t.same([http, mcp, tool, own, fetched].map(({ traceId }) => traceId), Array(5).fill(CLIENT.traceId))
  t.equal(http.parentSpanId, CLIENT.spanId)
  t.same([http, mcp, tool, fetched].map(({ kind }) => kind), ['server', 'server', 'internal', 'client'])
  t.match(http, {
    traceState: 'vendor=1',
    failed: false,
    attributes: { 'http.request.method': 'POST', 'http.route': '/mcp', 'http.response.status_code': 200 }
  })
  t.match(mcp, {
    failed: false,
    links: [],
    attributes: {
      'mcp.method.name': 'tools/call',
      'gen_ai.tool.name': 'look_up',
      'gen_ai.operation.name': 'execute_tool',
      'jsonrpc.request.id': '1',
      'mcp.protocol.version': '2026-07-28'
    }
  })
  t.match(tool, { attributes: { 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': 'look_up' } })
  t.match(fetched, {
    attributes: {
      'http.request.method': 'GET',
      'server.address': '127.0.0.1',
      'server.port': Number(new URL(service.url).port),
      'http.response.status_code': 200
    }
  })
  t.notOk('url.full' in fetched.attributes, 'the path of what a tool fetches may be a secret')
  t.equal(service.requests[0]!['traceparent'], `00-${CLIENT.traceId}-${fetched.spanId}-01`)
  t.equal(service.requests[0]!['tracestate'], 'vendor=1')
  t.notMatch(receiver.received(), '8d7a2e')
  t.match(receiver.resource, { 'service.name': 'seed', 'service.version': /\d/ })
  t.equal(receiver.headers['content-type'], 'application/x-protobuf')
  t.match(await seed.logged((line) => line['event'] === 'request'), { traceId: CLIENT.traceId })
  t.match(await seed.logged((line) => line['target'] === 'look_up'), { trace: CLIENT.traceId })
})

t.test('one trace has the client, HTTP, MCP, the tool, Redis, the provider that exchanges a token, and the API', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const receiver = await startOtlpReceiver(t)
  const api = await startService(t)
  const definitions = [defineTool({
    name: 'my_tickets',
    description: 'Asks the ticket API as its caller',
    input: Type.Object({}),
    handler: async (_input, { tokenFor }) => {
      const token = await tokenFor('tickets-api')
      return String((await fetch(`${api.url}/tickets`, { headers: { authorization: `Bearer ${token}` } })).status)
    }
  })]
  const seed = await startBroker(t, {
    timings: TIMINGS,
    definitions,
    env: {
      OIDC_CLIENT_ID: 'seed-dev-confidential',
      OIDC_CLIENT_SECRET: 'dev-secret',
      REDIS_URL: redis.url,
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      AUDIT_LOG: 'stdout'
    },
    provider: { quirks: { exchangeAudiences: ['tickets-api'] } }
  })
  const { clientId, refreshToken } = await getTokens(seed)
  const traced = { traceparent: TRACEPARENT }
  const { json } = await post(`${seed.url}/oauth/token`, {
    grant_type: 'refresh_token', refresh_token: refreshToken, client_id: clientId
  }, traced)
  const { body, headers } = call('my_tickets', {})
  const answer = await postMcp(seed, { body, headers: { ...headers, ...traced } }, String(json['access_token']))
  t.match(answer, { status: 200, body: { result: { content: [{ text: '200' }] } } })
  await seed.app.close()

  const ofTrace = receiver.spans.filter(({ traceId }) => traceId === CLIENT.traceId)
  const childrenOf = ({ spanId }: ReceivedSpan): ReceivedSpan[] =>
    ofTrace.filter(({ parentSpanId }) => parentSpanId === spanId)
  const http = find(receiver, 'POST /mcp')
  const mcp = find(receiver, 'tools/call my_tickets', http)
  const tool = find(receiver, 'execute_tool my_tickets', mcp)
  const { hostname, port } = new URL(seed.provider.issuer)
  const toProvider = childrenOf(tool).find(({ attributes }) => attributes['server.port'] === Number(port))
  const toApi = childrenOf(tool).find(({ attributes }) => attributes['server.port'] === Number(new URL(api.url).port))
  const inStore = childrenOf(tool).filter(({ attributes }) => attributes['db.system.name'] === 'redis')
  t.same([http, mcp, tool].map(({ parentSpanId, kind }) => [parentSpanId, kind]),
    [[CLIENT.spanId, 'server'], [http.spanId, 'server'], [mcp.spanId, 'internal']])
  t.match(toProvider, { name: 'POST', kind: 'client', failed: false, attributes: { 'server.address': hostname } })
  t.match(toApi, { name: 'GET', kind: 'client', failed: false })
  t.equal(api.requests[0]!['traceparent'], `00-${CLIENT.traceId}-${toApi!.spanId}-01`)
  t.ok(inStore.some(({ name }) => name === 'get') && inStore.some(({ name }) => name === 'set'), 'grant and token')
  t.ok(inStore.every(({ kind, failed }) => kind === 'client' && !failed))

  const refreshed = find(receiver, 'POST /oauth/token', { spanId: CLIENT.spanId } as ReceivedSpan)
  t.match(childrenOf(refreshed).find(({ name }) => name === 'POST'),
    { kind: 'client', attributes: { 'url.full': `${seed.provider.issuer}/token` } })
  t.ok(childrenOf(refreshed).some(({ attributes }) => attributes['db.system.name'] === 'redis'))
  const ids = new Set(ofTrace.map(({ spanId }) => spanId))
  t.same(ofTrace.filter(({ parentSpanId }) => parentSpanId !== CLIENT.spanId && !ids.has(parentSpanId)), [],
    'every span of the trace has its parent in it')

  const reference = answer.headers.get('x-request-id')
  t.equal(http.attributes['seed.request.id'], reference)
  const line = await seed.logged(({ event, reqId }) => event === 'request' && reqId === reference)
  t.match(line, { traceId: CLIENT.traceId })
  t.match(await seed.logged((line) => line['target'] === 'my_tickets'), { trace: CLIENT.traceId, request: reference })
  t.notMatch(receiver.received(), /eyJ|dev-secret/)
})

t.test('traceparent in _meta is the parent of the message, and the HTTP request is linked', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const seed = await startSeed(t, {
    timings: TIMINGS,
    definitions: interactiveTools,
    env: { AUTH_REQUIRED: 'false', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/v1/traces?key=8d7a2e`, AUDIT_LOG: 'stdout' }
  })
  t.equal(seed.app.telemetry, undefined, 'metrics are not pushed')
  const { endpoint } = await seed.logged((line) => line['event'] === 'spans.exported')
  t.equal(endpoint, `${receiver.url}/v1/traces`, 'its query may be a key')
  const meta = { traceparent: `00-${OTHER.traceId}-${OTHER.spanId}-01` }
  const { body, headers } = call('echo', { text: 'x' }, meta)
  t.equal((await postMcp(seed, { body, headers: { ...headers, traceparent: TRACEPARENT } })).status, 200)
  const session = await openSession(seed)
  const request = session.request('tools/call', { name: 'echo', arguments: { text: 'x' }, _meta: meta }, 2)
  t.equal((await postMcp(seed, request)).status, 200)
  await seed.app.close()
  const http = receiver.spans.find(({ parentSpanId }) => parentSpanId === CLIENT.spanId)!
  const messages = receiver.spans.filter(({ parentSpanId }) => parentSpanId === OTHER.spanId)
  t.same(messages.map(({ name, traceId }) => [name, traceId]), Array(2).fill(['tools/call echo', OTHER.traceId]))
  t.same(messages[0]!.links, [http.spanId])
  for (const message of messages) t.equal(find(receiver, 'execute_tool echo', message).traceId, OTHER.traceId)
  t.match(await seed.logged((line) => line['target'] === 'echo'), { trace: OTHER.traceId })
})

t.test('without a traceparent, or with one that is malformed, Seed begins a trace, which the audit log and log name', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const seed = await startSeed(t, {
    timings: TIMINGS,
    definitions: interactiveTools,
    env: { AUTH_REQUIRED: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, AUDIT_LOG: 'stdout' }
  })
  const malformed = [
    undefined, '', 'x', TRACEPARENT.toUpperCase(), `ff-${CLIENT.traceId}-${CLIENT.spanId}-01`, `${TRACEPARENT}-more`,
    `00-${'0'.repeat(32)}-${CLIENT.spanId}-01`, `00-${CLIENT.traceId}-${'0'.repeat(16)}-01`, `${TRACEPARENT}, ${TRACEPARENT}`
  ]
  for (const [index, traceparent] of malformed.entries()) {
    const meta = index % 2 === 0 ? {} : { traceparent }
    const { body, headers } = call('echo', { text: String(index) }, meta)
    await postMcp(seed, { body, headers: traceparent === undefined ? headers : { ...headers, traceparent } })
  }
  for (const traceparent of [7, { x: 1 }, null]) await postMcp(seed, call('echo', { text: '' }, { traceparent }))
  await seed.app.close()
  const roots = receiver.spans.filter(({ parentSpanId }) => parentSpanId === '')
  t.equal(roots.length, malformed.length + 3)
  t.ok(roots.every(({ name, traceId }) => name === 'POST /mcp' && traceId !== CLIENT.traceId))
  const ids = roots.map(({ traceId }) => traceId)
  t.same(seed.logs.filter(({ event }) => event === 'request').map(({ traceId }) => traceId), ids)
  t.same(seed.logs.filter((line) => line['target'] === 'echo').map((line) => line['trace']), ids)
})

t.test('a client that does not sample has no spans, and neither has what follows', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const service = await startService(t)
  const seed = await startSeed(t, {
    timings: TIMINGS,
    definitions: fetchingTools(service.url),
    env: { AUTH_REQUIRED: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
  })
  const { body, headers } = call('look_up', { path: '/' })
  await postMcp(seed, { body, headers: { ...headers, traceparent: TRACEPARENT.replace(/01$/, '00') } })
  await postMcp(seed, call('made-up', {}))
  await seed.app.close()
  t.match(service.requests[0]!['traceparent'], new RegExp(`^00-${CLIENT.traceId}-.{16}-00$`))
  t.ok(receiver.spans.every(({ traceId }) => traceId !== CLIENT.traceId))
  t.match(find(receiver, 'tools/call'), { failed: true, attributes: { 'error.type': '-32602' } }, 'a name that nobody offers is not one')
  t.notMatch(receiver.received(), 'made-up')
})

t.test('what the sampler of Seed leaves out has no spans and passes that on, unless its client traces the message', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const service = await startService(t)
  const seed = await startSeed(t, {
    timings: TIMINGS,
    definitions: fetchingTools(service.url),
    env: {
      AUTH_REQUIRED: 'false',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_TRACES_SAMPLER: 'parentbased_always_off',
      AUDIT_LOG: 'stdout'
    }
  })
  await postMcp(seed, call('look_up', { path: '/' }))
  await postMcp(seed, call('look_up', { path: '/' }, { traceparent: TRACEPARENT }))
  const untraced = { traceparent: TRACEPARENT.replace(/01$/, '00') }
  const { body, headers } = call('look_up', { path: '/' }, untraced)
  await postMcp(seed, { body, headers: { ...headers, traceparent: `00-${OTHER.traceId}-${OTHER.spanId}-00` } })
  await seed.app.close()
  t.match(String(service.requests[2]!['traceparent']), new RegExp(`^00-${CLIENT.traceId}-.{16}-00$`))
  const [leftOut, traced] = service.requests.map((headers) => String(headers['traceparent']).split('-'))
  const line = await seed.logged(({ target }) => target === 'look_up')
  t.same([leftOut![1], leftOut![3]], [line['trace'], '00'])
  t.same([traced![1], traced![3]], [CLIENT.traceId, '01'])
  const names = ['GET', 'work', 'execute_tool look_up', 'tools/call look_up']
  t.same(receiver.spans.map(({ name }) => name).sort(), names.sort(), 'those of the second message alone')
})

t.test('errors are named by their kind, never by their message', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const service = await startService(t)
  const closedPort = await freePort()
  const seed = await startSeed(t, {
    timings: TIMINGS,
    definitions: fetchingTools(service.url, closedPort),
    env: { AUTH_REQUIRED: 'false', METRICS_PORT: '0', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
  })
  for (const name of ['refuses', 'breaks', 'fails_to_fetch', 'leaves_timer', 'ask_form']) await postMcp(seed, call(name, {}))
  await postMcp(seed, call('look_up', { path: '/away' }))
  await postMcp(seed, modernRequest('prompts/get', { name: 'hello' }))
  for (const uri of ['seed://handbook', 'seed://nowhere']) {
    const { body, headers } = modernRequest('resources/read', { uri })
    await postMcp(seed, { body, headers: { ...headers, 'mcp-name': uri } })
  }
  await postMcp(seed, modernRequest('tools/list', { cursor: 'made up' }))
  const headers = { 'mcp-session-id': 'x'.repeat(32), 'mcp-protocol-version': '2025-11-25' }
  await postMcp(seed, { body: JSON.stringify({ jsonrpc: '2.0', id: null, method: 'ping' }), headers })
  await postMcp(seed, { body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }), headers })
  await fetch(`${seed.url}/8d7a2e?code=8d7a2e`)
  await fetch(`${seed.url}/health/live`)
  await until(() => answeredLater, 'the request of the timer is answered, which ends its span')
  await seed.app.close()
  const type = (name: string): unknown => find(receiver, name).attributes['error.type']
  t.equal(type('tools/call refuses'), 'tool_error')
  t.equal(type('execute_tool refuses'), 'tool_error')
  t.equal(type('tools/call breaks'), 'tool_error')
  t.equal(type('execute_tool breaks'), 'HandlerError')
  const failed = find(receiver, 'execute_tool fails_to_fetch')
  const attempts = receiver.spans.filter(({ parentSpanId }) => parentSpanId === failed.spanId)
  const servicePort = Number(new URL(service.url).port)
  t.same(attempts.map(({ attributes }) => attributes['server.port']), [closedPort, servicePort, 80, 443])
  t.equal(attempts[0]!.attributes['error.type'], 'ECONNREFUSED')
  t.equal(attempts[1]!.attributes['error.type'], 'AbortError')
  t.match(find(receiver, 'GET', find(receiver, 'work')), { failed: true, attributes: { 'error.type': '503' } })
  t.match(find(receiver, 'execute_tool ask_form'), { failed: false })
  t.match(find(receiver, 'prompt hello', find(receiver, 'prompts/get hello')), { failed: false })
  t.match(find(receiver, 'resource handbook', find(receiver, 'resources/read')), { failed: false })
  t.match(find(receiver, 'tools/list'), { failed: true, attributes: { 'error.type': '-32602', 'rpc.response.status_code': '-32602' } })
  t.match(receiver.spans.filter(({ name }) => name === 'tools/list').at(-1), { failed: true, attributes: { 'error.type': '404' } })
  const later = receiver.spans.find(({ name, links }) => name === 'GET' && links.length > 0)!
  t.match(later, { parentSpanId: '', links: [find(receiver, 'execute_tool leaves_timer').spanId] })
  t.notOk(receiver.spans.some(({ name }) => name.includes('health')), 'probes are not traced')
  t.notMatch(receiver.received(), '8d7a2e')
})

t.test('requests that the tools trace by themselves, and those of others in the process, are left alone', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const service = await startService(t)
  const seed = await startSeed(t, {
    timings: TIMINGS,
    definitions: fetchingTools(service.url),
    env: { AUTH_REQUIRED: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
  })
  t.equal((await postMcp(seed, call('traces_itself', {}))).status, 200)
  await t.rejects(fetch(`http://127.0.0.1:${await freePort()}`))
  const leaving = new AbortController()
  const { body, headers } = call('waits', {})
  const left = t.rejects(postMcp(seed, { body, headers }, undefined, leaving.signal))
  await until(() => service.paths.includes('/waiting'), 'the tool waits')
  leaving.abort()
  await left
  for (const name of ['create', 'headers', 'error']) channel(`undici:request:${name}`).publish({})
  await seed.app.close()
  t.equal(service.requests[0]!['traceparent'], TRACEPARENT)
  t.equal(receiver.spans.filter(({ kind }) => kind === 'client').length, 1)
  t.match(find(receiver, 'tools/call waits'), { failed: true, attributes: { 'error.type': 'cancelled' } })
  t.equal(receiver.spans.filter(({ name }) => name === 'POST /mcp').length, 2)
})

t.test('a sign-in shows what was asked of the provider, without a code, a token or a query', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const seed = await startBroker(t, { timings: TIMINGS, env: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url } })
  const tokens = await getTokens(seed)
  t.match(await refresh(seed.url, tokens.clientId, tokens.refreshToken), { statusCode: 200 })
  t.equal((await ping(seed.url, tokens.accessToken)).status, 200)
  await seed.app.close()
  const { issuer } = seed.provider
  const urls = (parent: ReceivedSpan): unknown[] =>
    receiver.spans.filter(({ parentSpanId }) => parentSpanId === parent.spanId).map(({ attributes }) => attributes['url.full'])
  t.match(urls(find(receiver, 'GET /oauth/callback')), [`${issuer}/token`])
  t.match(receiver.spans.filter(({ name }) => name === 'POST /oauth/token').flatMap(urls), [`${issuer}/token`])
  // How often they are fetched depends on the time that all this takes.
  const inBackground = new Set(receiver.spans.filter(({ parentSpanId, name }) => parentSpanId === '' && name === 'GET')
    .map(({ attributes }) => attributes['url.full']))
  t.match([...inBackground], [`${issuer}/.well-known/openid-configuration`, /jwks/])
  const received = receiver.received()
  t.notOk(received.includes(tokens.accessToken) || received.includes(tokens.refreshToken))
  t.notMatch(received, /@example|code=|state=/)
})

t.test('a collector that is away costs the spans alone, and the log says so', async (t) => {
  const endpoint = `http://127.0.0.1:${await freePort()}/v1/traces`
  const seed = await startSeed(t, {
    timings: { spanCloseMs: 100 },
    env: { AUTH_REQUIRED: 'false', METRICS_PORT: '0', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint }
  })
  t.equal((await ping(seed.url)).status, 200)
  await seed.app.close()
  t.match(await seed.logged((line) => line['event'] === 'spans.not_exported'), { level: 40 })
})

t.test('nothing is traced without an endpoint, with OTEL_TRACES_EXPORTER=none, and with OTEL_SDK_DISABLED', async (t) => {
  const collector = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' }
  for (const env of [
    {}, { ...collector, OTEL_TRACES_EXPORTER: 'none' }, { ...collector, OTEL_SDK_DISABLED: 'true' }
  ]) {
    const { app } = await startSeed(t, { env: { AUTH_REQUIRED: 'false', ...env } })
    t.equal(app.tracing, undefined)
  }
})
