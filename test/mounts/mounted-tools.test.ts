import t from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import { createOAuthClient } from '../support/oauth-client.ts'
import { sendModern, modernRequest, ready, startSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { ADD, startMounted, startUpstream, writeMounts } from '../support/upstream.ts'

for (const upstreamEra of ['modern', 'session'] as const) {
  t.test(`progress, _meta and cancellation reach a mounted server (${upstreamEra}) and come back`, async (t) => {
    const upstream = await startUpstream(t, upstreamEra)
    const seed = await startMounted(t, { calc: { url: upstream.url } })
    upstream.call = async (_name, _args, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken
      if (progressToken !== undefined) {
        await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: 1, total: 2, message: 'half' } })
      }
      return { content: [{ type: 'text', text: String(mcpReq._meta?.['example.com/trace']) }] }
    }
    for (const era of ['legacy', 'modern'] as const) {
      const { response, notifications } = await seed.send(era, 'tools/call', {
        name: 'calc_add', arguments: {}, _meta: { progressToken: 'p1', 'example.com/trace': 'abc' }
      })
      t.match(response.result.content, [{ text: 'abc' }])
      t.match(notifications, [{ method: 'notifications/progress', params: { progressToken: 'p1', progress: 1, total: 2, message: 'half' } }])
    }
    t.notOk(JSON.stringify(upstream.messages).includes('"p1"'), 'the client\'s token is its own')

    let isCancelled = false
    upstream.call = async (_name, _args, { mcpReq: { signal } }) => await new Promise(() => {
      signal.addEventListener('abort', () => { isCancelled = true })
    })
    const { body, headers } = seed.prepare('modern', 'tools/call', { name: 'calc_add', arguments: {} })
    const abort = new AbortController()
    const called = fetch(`${seed.url}/mcp`, { method: 'POST', body, headers, signal: abort.signal }).catch(() => {})
    await until(() => upstream.messages.filter(({ method }) => method === 'tools/call').length === 3, 'the call has arrived')
    abort.abort()
    await called
    await until(() => isCancelled, 'the mounted server has heard of it')
  })
}

for (const upstreamEra of ['modern', 'session'] as const) {
  t.test(`a mounted server (${upstreamEra}) that changes its tools changes the list, and clients hear of it`, async (t) => {
    const upstream = await startUpstream(t, upstreamEra)
    const seed = await startMounted(t, { calc: { url: upstream.url } })
    const { body, headers } = modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } }, 's')
    const stream = await sendModern(seed.url, { body, headers })
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
    let heard = ''
    const listen = async (): Promise<void> => {
      for (let part = await reader.read(); !part.done; part = await reader.read()) heard += part.value
    }
    listen().catch(() => {})
    await until(() => heard.includes('acknowledged'), 'the subscription stands')
    if (upstreamEra === 'session') await until(() => upstream.requests.length >= 7, 'the GET stream is open')
    upstream.tools = [ADD, { ...ADD, name: 'new' }]
    await upstream.announce()
    await until(() => heard.includes('notifications/tools/list_changed'), 'the client has heard of it')
    const { response } = await seed.send('legacy', 'tools/list', {})
    t.match(response.result.tools, [{ name: 'calc_add' }, { name: 'calc_new' }])
  })
}

t.test('the stream of changes is opened again, and what was missed is fetched', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  await upstream.stop()
  upstream.tools = [{ ...ADD, name: 'other' }]
  await upstream.start()
  await until(async () => {
    const { response } = await seed.send('modern', 'tools/list', {})
    return response.result.tools[0]?.name === 'calc_other'
  }, 'the new list is there')
  t.pass()
})

t.test('the operator renames tools, describes them, leaves them out, and never loses a tool of Seed', async (t) => {
  const upstream = await startUpstream(t)
  upstream.tools = [
    { ...ADD, title: 'Add', _meta: { ui: { resourceUri: 'ui://calc.html' }, 'ui/resourceUri': 'ui://calc.html' } },
    { ...ADD, name: 'delete_all' },
    { ...ADD, name: 'taken' }
  ]
  const own = defineTool({ name: 'calc_taken', description: 'Own', input: Type.Object({}), handler: () => 'own' })
  const seed = await startMounted(t, {
    calc: {
      url: upstream.url,
      prompts: false,
      resources: { deny: ['*'] },
      tools: { deny: ['delete_*'], overrides: { add: { name: 'sum', title: 'Sum', description: 'Sums up', timeoutSeconds: 3 } } }
    }
  }, { definitions: [own] })
  const { response: { result: { tools } } } = await seed.send('modern', 'tools/list', {})
  t.match(tools, [
    {
      name: 'calc_sum',
      title: 'Sum',
      description: 'Sums up',
      _meta: { ui: { resourceUri: 'ui://calc/calc.html' }, 'ui/resourceUri': 'ui://calc/calc.html' }
    },
    { name: 'calc_taken', description: 'Own' }
  ])
  t.equal(tools.length, 2)
  t.match((await seed.send('modern', 'tools/call', { name: 'calc_sum', arguments: { a: 1 } })).response.result.content, [{ text: '{"a":1}' }])
  t.same((await seed.send('modern', 'prompts/list', {})).response.result.prompts, [])
  t.same((await seed.send('modern', 'resources/list', {})).response.result.resources, [])
  t.match(seed.logs.find(({ event }) => event === 'mount.offers_refused'), {
    refused: [{ offer: 'Tool "calc_taken"', reason: 'the name is in use' }]
  })
})

t.test('everything that describes an offer reaches the client', async (t) => {
  const upstream = await startUpstream(t)
  const icons = [{ src: 'https://icons.example/a.png' }]
  const common = { title: 'Title', description: 'Text', icons, _meta: { 'example.com/a': 1 } }
  const annotations = { audience: ['user' as const] }
  upstream.tools = [{ ...ADD, ...common, annotations: { readOnlyHint: true } }]
  upstream.prompts = [{ name: 'plain', ...common }]
  upstream.resources = [{ uri: 'notes://1', name: 'One', mimeType: 'text/plain', size: 3, annotations, ...common }]
  upstream.templates = [{ uriTemplate: 'notes://{id}', name: 'Note', mimeType: 'text/plain', annotations, ...common }]
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const list = async (method: string) => (await seed.send('legacy', method, {})).response.result
  t.match((await list('tools/list')).tools, upstream.tools.map((tool) => ({ ...tool, name: 'calc_add' })))
  t.match((await list('prompts/list')).prompts, [{ ...common, name: 'calc_plain' }])
  t.match((await list('resources/list')).resources, [{ ...upstream.resources[0], uri: 'calc+notes://1' }])
  const templates = await list('resources/templates/list')
  t.match(templates.resourceTemplates, [{ ...upstream.templates[0], uriTemplate: 'calc+notes://{id}' }])
})

t.test('groups and scopes of the file decide, and the client\'s token never leaves Seed', async (t) => {
  const upstream = await startUpstream(t)
  upstream.tools = [ADD, { ...ADD, name: 'admin' }, { ...ADD, name: 'scoped' }]
  const seed = await startSeed(t, {
    definitions: [],
    timings: { mountsWaitMs: 60_000 },
    env: {
      OAUTH_MODE: 'broker',
      SEED_MOUNTS: await writeMounts({
        calc: {
          url: upstream.url,
          connectTimeoutSeconds: 60,
          secret: { file: 'key' },
          groups: ['everyone', 'engineering'],
          tools: { overrides: { admin: { groups: ['nobody'] }, scoped: { scopes: ['calc:admin'] } } }
        }
      }, { key: 'fixed-secret' })
    }
  })
  await ready(seed)
  const { scopes_supported: scopes } = await (await fetch(`${seed.url}/.well-known/oauth-authorization-server`)).json() as { scopes_supported: string[] }
  t.ok(scopes.includes('calc:admin'), 'clients learn the scopes of the file')
  const token = await signIn(seed.url)
  const list = await (await sendModern(seed.url, modernRequest('tools/list'), token)).json() as {
    result: { tools: Array<{ name: string }> }
  }
  t.same(list.result.tools.map(({ name }) => name), ['calc_add', 'calc_scoped'])
  const call = async (name: string) => await sendModern(seed.url, modernRequest('tools/call', { name, arguments: {} }), token)
  t.match(await (await call('calc_add')).json(), { result: { content: [{ text: '{}' }] } })
  t.match(await (await call('calc_admin')).json(), { error: { message: 'Unknown tool: calc_admin' } })
  t.equal((await call('calc_scoped')).status, 403)
  for (const { authorization } of upstream.requests) t.equal(authorization, 'Bearer fixed-secret')
  t.notOk(JSON.stringify([upstream.requests, upstream.messages]).includes(token))
})

/** Signs ada in, as a client does. @returns its access token */
async function signIn (url: string): Promise<string> {
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client')
  const { provider, signIn } = createOAuthClient()
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { authProvider: provider })
  await new Client({ name: 'test', version: '1' }).connect(transport).catch(() => {})
  await transport.finishAuth((await signIn()).searchParams)
  return ((await provider.tokens()) as { access_token: string }).access_token
}
