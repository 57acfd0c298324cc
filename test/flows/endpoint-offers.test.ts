import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResource, defineResourceTemplate } from '../../src/define/resource.ts'
import { defineTool } from '../../src/define/tool.ts'
import { post, writeEndpoints } from '../support/endpoints.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { startReplicas } from '../support/replicas.ts'
import { modernRequest, startSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { ADD, startUpstream, writeMounts } from '../support/upstream.ts'

/** What each MCP endpoint of a server offers, and that endpoints share nothing else with their clients. */

const tool = (name: string) =>
  defineTool({ name, description: name, input: Type.Object({}), handler: () => `the result of ${name}` })
const definitions = [
  tool('quote'), tool('invoice'), tool('invoice_delete'), tool('deploy'),
  definePrompt({ name: 'offer', handler: () => 'Write an offer' }),
  defineResource({ uri: 'memo://sales', name: 'sales', read: () => 'sales' }),
  defineResource({ uri: 'memo://ops', name: 'ops', read: () => 'ops' }),
  defineResourceTemplate({
    uriTemplate: 'file:///{name}',
    name: 'file',
    list: () => [{ uri: 'file:///plan', name: 'plan' }, { uri: 'file:///secret', name: 'secret' }],
    read: ({ name }: any) => `text of ${name}`
  })
]

const ENDPOINTS = {
  main: { tools: { deny: ['deploy'] }, resources: { deny: ['memo://ops'] } },
  endpoints: {
    sales: {
      title: 'Sales',
      description: 'For the sales team',
      instructions: 'Ask before you sell.',
      tools: { allow: ['quote', 'invoice*'], deny: ['*_delete'] },
      prompts: { allow: ['offer'] },
      resources: { allow: ['memo://sales', 'file:///*', 'file:///{name}'], deny: ['file:///secret'] }
    },
    ops: { name: 'acme-ops', tools: { allow: ['deploy'] }, prompts: false, resources: { allow: ['memo://ops'] } }
  }
}

async function startEndpoints (t: Test, endpoints: object = ENDPOINTS, env: Record<string, string> = {}) {
  return await startSeed(t, {
    definitions,
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10, spanCloseMs: 60_000 },
    env: { AUTH_REQUIRED: 'false', SEED_ENDPOINTS: await writeEndpoints(endpoints), ...env }
  })
}

const OFFERS = {
  '/mcp': {
    server: 'seed',
    tools: ['invoice', 'invoice_delete', 'quote'],
    prompts: ['offer'],
    resources: ['file:///plan', 'file:///secret', 'memo://sales'],
    templates: ['file:///{name}']
  },
  '/mcp/sales': {
    server: 'seed-sales',
    tools: ['invoice', 'quote'],
    prompts: ['offer'],
    resources: ['file:///plan', 'memo://sales'],
    templates: ['file:///{name}']
  },
  '/mcp/ops': { server: 'acme-ops', tools: ['deploy'], prompts: [], resources: ['memo://ops'], templates: [] }
}

async function connectV1 (url: URL) {
  const client = new ClientV1({ name: 'endpoints-test', version: '1' })
  await client.connect(new TransportV1(url) as never)
  return client as unknown as Client
}

async function connectV2 (url: URL) {
  const client = new Client({ name: 'endpoints-test', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
  await client.connect(new StreamableHTTPClientTransport(url))
  return client
}

async function readOffers (client: Client) {
  const [{ tools }, { prompts }, { resources }, { resourceTemplates }] = await Promise.all([
    client.listTools(), client.listPrompts(), client.listResources(), client.listResourceTemplates()
  ])
  return {
    server: client.getServerVersion()!.name,
    tools: tools.map(({ name }) => name).sort(),
    prompts: prompts.map(({ name }) => name),
    resources: resources.map(({ uri }) => uri),
    templates: resourceTemplates.map(({ uriTemplate }) => uriTemplate)
  }
}

t.test('SDK clients of both eras see at each endpoint what it offers, side by side', async (t) => {
  const { url } = await startEndpoints(t)
  const clients = await Promise.all(Object.keys(OFFERS).flatMap((path) =>
    [connectV1, connectV2].map(async (connect) => ({ path, client: await connect(new URL(url + path)) }))))
  await Promise.all(clients.map(async ({ path, client }) => {
    t.same(await readOffers(client), OFFERS[path as keyof typeof OFFERS], path)
    t.equal(client.getInstructions(), path === '/mcp/sales' ? 'Ask before you sell.' : undefined)
    if (path === '/mcp/sales') {
      t.match(client.getServerVersion(), { title: 'Sales', description: 'For the sales team' })
      t.match(await client.callTool({ name: 'quote', arguments: {} }), { content: [{ text: 'the result of quote' }] })
      await t.rejects(client.callTool({ name: 'deploy', arguments: {} }), { message: /Unknown tool: deploy/ })
      await t.rejects(client.getPrompt({ name: 'other' }))
      t.match(await client.readResource({ uri: 'file:///plan' }), { contents: [{ text: 'text of plan' }] })
      for (const uri of ['memo://ops', 'file:///secret', 'file:///%73ecret']) {
        await t.rejects(client.readResource({ uri }), { message: /not found/ }, uri)
      }
    }
    await client.close()
  }))
})

t.test('an endpoint offers the tools that only read, of this server and of mounted ones', async (t) => {
  const upstream = await startUpstream(t)
  upstream.tools = [ADD, { ...ADD, name: 'search', annotations: { readOnlyHint: true } }]
  const look = defineTool({
    name: 'look', description: 'Looks', input: Type.Object({}), annotations: { readOnlyHint: true }, handler: () => ''
  })
  const seed = await startSeed(t, {
    definitions: [look, tool('deploy')],
    timings: { mountsWaitMs: 60_000, mountsRetryMs: 10 },
    env: {
      AUTH_REQUIRED: 'false',
      SEED_MOUNTS: await writeMounts({ wiki: { url: upstream.url, connectTimeoutSeconds: 60 } }),
      SEED_ENDPOINTS: await writeEndpoints({
        endpoints: {
          reading: { mounts: true, tools: { allow: [{ readOnlyHint: true }] }, prompts: false, resources: false },
          writing: { mounts: true, tools: { deny: [{ readOnlyHint: true }, 'dep*'] }, prompts: false, resources: false }
        }
      })
    }
  })
  for (const [path, tools] of [['/mcp/reading', ['look', 'wiki_search']], ['/mcp/writing', ['wiki_add']]] as const) {
    const { body } = await post(seed.url, path, modernRequest('tools/list', {}))
    t.same(body.result.tools.map(({ name }: { name: string }) => name).sort(), tools)
  }
  const call = async (name: string) =>
    (await post(seed.url, '/mcp/reading', modernRequest('tools/call', { name, arguments: {} }))).body
  t.match(await call('wiki_search'), { result: { content: [{ text: '{}' }] } })
  for (const name of ['wiki_add', 'deploy']) t.match(await call(name), { error: { message: `Unknown tool: ${name}` } })
})

t.test('a session of one endpoint is answered with 404 at another one', async (t) => {
  const { url } = await startEndpoints(t)
  const initialize = (path: string) => post(url, path, {
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 0,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } }
    }),
    headers: {}
  })
  const list = { body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }), headers: {} }
  for (const [own, other] of [['/mcp', '/mcp/sales'], ['/mcp/sales', '/mcp'], ['/mcp/sales', '/mcp/ops']] as const) {
    const session = { 'mcp-session-id': (await initialize(own)).headers.get('mcp-session-id')! }
    t.match(await post(url, other, list, session), { status: 404, body: { error: { message: 'Session not found' } } })
    const { status } = await fetch(url + other, { method: 'DELETE', headers: session })
    t.equal(status, 404)
    t.equal((await post(url, own, list, session)).status, 200)
  }
})

t.test('paths below /mcp that are no endpoint are unknown; Host, Origin and CORS count at all of them', async (t) => {
  const { url } = await startEndpoints(t, ENDPOINTS, { CORS_EXTRA_ORIGINS: 'https://app.example' })
  const request = modernRequest('tools/list')
  for (const path of ['/mcp/other', '/mcp/sales/more', '/mcp/Sales', '/mcp/sales%2f', '/mcp//sales']) {
    const { status, headers, body } = await post(url, path, request)
    t.match({ status, challenge: headers.get('www-authenticate'), body }, {
      status: 404, challenge: null, body: { error: 'not_found' }
    }, path)
  }
  for (const path of Object.keys(OFFERS)) {
    t.equal((await post(url, `${path}/`, request)).status, 200, `${path}/`)
    t.equal((await fetch(url + path, { method: 'PUT' })).status, 405)
    const refused = await post(url, path, request, { origin: 'https://evil.example' })
    t.equal(refused.status, 403, 'a foreign origin')
    const allowed = await post(url, path, request, { origin: 'https://app.example' })
    t.equal(allowed.headers.get('access-control-allow-origin'), 'https://app.example')
    const preflight = await fetch(url + path, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' }
    })
    t.match({ status: preflight.status, origin: preflight.headers.get('access-control-allow-origin') }, {
      status: 204, origin: 'https://app.example'
    })
  }
})

t.test('the tools of a mounted server are at the endpoints that name it, and their changes too', async (t) => {
  const [tickets, wiki] = [await startUpstream(t), await startUpstream(t)]
  const mount = (url: string) => ({ url, connectTimeoutSeconds: 60 })
  const { url } = await startEndpoints(t, {
    endpoints: {
      sales: { mounts: ['tickets'], tools: { allow: ['tickets_*'], deny: ['tickets_drop*'] } },
      ops: { mounts: true, tools: { allow: ['wiki_*', 'tickets_*'] } },
      none: { tools: { allow: ['*_add'] } }
    }
  }, { SEED_MOUNTS: await writeMounts({ tickets: mount(tickets.url), wiki: mount(wiki.url) }) })
  const toolsAt = async (path: string): Promise<string[]> =>
    (await post(url, path, modernRequest('tools/list'))).body.result.tools.map(({ name }: { name: string }) => name)
  t.same(await toolsAt('/mcp/sales'), ['tickets_add'])
  t.same(await toolsAt('/mcp/ops'), ['tickets_add', 'wiki_add'])
  t.same(await toolsAt('/mcp/none'), [])
  const main = await toolsAt('/mcp')
  t.ok(main.includes('wiki_add'))
  t.notOk(main.includes('tickets_add'), 'a server that another endpoint names is not offered to everybody')
  t.match(await post(url, '/mcp', modernRequest('tools/call', { name: 'tickets_add', arguments: {} })), {
    body: { error: { message: 'Unknown tool: tickets_add' } }
  })

  tickets.tools = [ADD, { ...ADD, name: 'drop_all' }, { ...ADD, name: 'close' }]
  await tickets.announce()
  await until(async () => (await toolsAt('/mcp/sales')).includes('tickets_close'), 'the new tool is offered')
  t.same(await toolsAt('/mcp/sales'), ['tickets_add', 'tickets_close'])
  t.same(await toolsAt('/mcp/ops'), ['tickets_add', 'tickets_close', 'tickets_drop_all', 'wiki_add'])
  t.notOk((await toolsAt('/mcp')).some((name) => name.startsWith('tickets')))
})

t.test('names that an endpoint chooses in vain are logged: a tool may have been renamed', async (t) => {
  const { logs } = await startEndpoints(t, {
    main: { tools: { deny: ['deplyo'] } },
    endpoints: { sales: { tools: { allow: ['quote'] }, prompts: { allow: ['offers'] }, resources: { deny: ['memo:*'] } } }
  })
  const warnings = logs.filter(({ event }) => event === 'endpoint.names_unmatched')
  t.match(warnings, [
    { endpoint: '/mcp', unmatched: ['tools.deny: deplyo'] }, { endpoint: '/mcp/sales', unmatched: ['prompts.allow: offers'] }
  ])
})

t.test('an author says at which endpoints something is offered; a path that is none is logged', async (t) => {
  const input = Type.Object({})
  const own = (name: string, endpoints: string[]) =>
    defineTool({ name, description: name, input, endpoints, handler: () => name })
  const { url, logs } = await startSeed(t, {
    definitions: [
      own('both', ['/mcp', '/mcp/sales']), own('sales', ['/mcp/sales']), own('denied', ['/mcp/sales']),
      own('lost', ['/mcp/lost']), tool('anywhere')
    ],
    env: {
      AUTH_REQUIRED: 'false',
      SEED_ENDPOINTS: await writeEndpoints({ endpoints: { sales: { tools: { deny: ['denied'] } }, ops: {} } })
    }
  })
  for (const [path, names] of [
    ['/mcp', ['anywhere', 'both']], ['/mcp/sales', ['anywhere', 'both', 'sales']], ['/mcp/ops', ['anywhere']]
  ] as const) {
    const { body } = await post(url, path, modernRequest('tools/list'))
    t.same(body.result.tools.map(({ name }: { name: string }) => name).sort(), names, path)
    t.notMatch(JSON.stringify(body), 'endpoints')
  }
  t.match(logs.filter(({ event }) => event === 'definitions.endpoint_unknown'), [{ endpoint: '/mcp/lost' }])
})

t.test('metrics, spans and audit lines name the endpoint, and nothing that its callers choose', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const { app, url, logs } = await startEndpoints(t, ENDPOINTS, {
    METRICS_PORT: '0', AUDIT_LOG: 'stdout', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/v1/traces`
  })
  const callTool = (name: string) => modernRequest('tools/call', { name, arguments: {} })
  await post(url, '/mcp', callTool('quote'))
  await post(url, '/mcp/sales', callTool('quote'))
  await post(url, '/mcp/sales/', callTool('deploy'))
  await post(url, '/mcp/made-up', callTool('quote'))
  await post(url, '/mcp/sales/', modernRequest('tools/list'))
  await until(() => logs.filter(({ event }) => event === 'request').length === 5, 'all requests have ended')

  const { port } = logs.find(({ event }) => event === 'metrics.exported')!
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const endpointsOf = (text: string) => metrics.split('\n')
    .filter((line) => line.startsWith('mcp_server_operation_duration_seconds_count') && line.includes(text))
    .map((line) => /seed_endpoint="(.*?)"/.exec(line)?.[1])
    .sort()
  t.same(endpointsOf('gen_ai_tool_name="quote"'), ['/mcp/sales', undefined])
  t.same(endpointsOf('gen_ai_tool_name="_OTHER"'), ['/mcp/sales'])
  t.same(endpointsOf('mcp_method_name="tools/list"'), ['/mcp/sales'])
  t.notMatch(metrics, 'made-up')

  const lines = logs.filter(({ audit, event }) => audit === 1 && event === 'tools/call')
  t.same(lines.map(({ endpoint, target, outcome }) => [endpoint, target, outcome]), [
    [undefined, 'quote', 'ok'], ['/mcp/sales', 'quote', 'ok'], ['/mcp/sales', 'deploy', 'refused']
  ])

  await app.close()
  const spans = receiver.spans.filter(({ attributes }) => attributes['mcp.method.name'] !== undefined)
  t.same(spans.map(({ name, attributes }) => [name, attributes['seed.endpoint']]), [
    ['tools/call quote', undefined], ['tools/call quote', '/mcp/sales'], ['tools/call', '/mcp/sales'],
    ['tools/list', '/mcp/sales']
  ])
})

t.test('two replicas on one Redis keep sessions, streams and changes of two endpoints apart', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const env = {
    AUTH_REQUIRED: 'false',
    SEED_ENDPOINTS: await writeEndpoints({ endpoints: { sales: { tools: { deny: ['echo'] } } } })
  }
  const { at } = await startReplicas(t, { redisUrl: redis.url, definitions: interactiveTools, env })
  const send = async (replica: number, path: string, init: RequestInit & { headers?: Record<string, string> }) =>
    await at(replica)(`http://seed.example${path}`, {
      ...init,
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...init.headers }
    })
  const toBody = (method: string, params: object, id = 1) => JSON.stringify({ jsonrpc: '2.0', id, method, params })
  const open = async (path: string) => {
    const response = await send(0, path, {
      method: 'POST',
      body: toBody('initialize', {
        protocolVersion: '2025-11-25', capabilities: { roots: {} }, clientInfo: { name: 'x', version: '1' }
      })
    })
    await response.text()
    return { 'mcp-session-id': response.headers.get('mcp-session-id')! }
  }
  const sessions = { '/mcp': await open('/mcp'), '/mcp/sales': await open('/mcp/sales') }
  const PATHS = ['/mcp', '/mcp/sales'] as const

  for (const [path, other] of [PATHS, [...PATHS].reverse()] as Array<typeof PATHS>) {
    for (const replica of [0, 1]) {
      const list = { method: 'POST', body: toBody('tools/list', {}), headers: sessions[path] }
      const own = await send(replica, path, list)
      const { result } = await own.json() as { result: { tools: Array<{ name: string }> } }
      t.equal(result.tools.some(({ name }) => name === 'echo'), path === '/mcp')
      t.equal((await send(replica, other, list)).status, 404)
    }

    // The tool asks for roots: the call runs at one replica, and the other one resumes its stream.
    const call = await send(0, path, {
      method: 'POST', body: toBody('tools/call', { name: 'ask_roots', arguments: {} }, 2), headers: sessions[path]
    })
    const reader = call.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('roots/list')) text += (await reader.read()).value ?? ''
    await reader.cancel()
    const [, lastEventId = ''] = /^id: (.*)$/m.exec(text) ?? []
    const { id } = JSON.parse(/^data: (\{.*roots\/list.*)$/m.exec(text)![1]!) as { id: string }
    const resume = { headers: { ...sessions[path], 'last-event-id': lastEventId } }
    t.equal((await send(1, other, resume)).status, 404, 'a session of the other endpoint')
    const foreign = { headers: { ...sessions[other], 'last-event-id': lastEventId } }
    t.equal((await send(1, other, foreign)).status, 400, 'a stream of the other endpoint')
    const answer = (uri: string) => JSON.stringify({ jsonrpc: '2.0', id, result: { roots: [{ uri, name: 'x' }] } })
    await send(1, other, { method: 'POST', body: answer('file:///foreign'), headers: sessions[other] })
    await send(1, path, { method: 'POST', body: answer('file:///own'), headers: sessions[path] })
    const resumed = await (await send(1, path, resume)).text()
    t.match(resumed, 'file:///own')
    t.notMatch(resumed, 'file:///foreign')
  }
})
