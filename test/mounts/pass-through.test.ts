import t from 'tap'
import { ProtocolError } from '@modelcontextprotocol/server'
import { ERAS, startOpenServer } from '../support/open-server.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'
import { until } from '../support/until.ts'
import { ADD, startMounted, startUpstream, writeMounts } from '../support/upstream.ts'

for (const upstreamEra of ['modern', 'session'] as const) {
  t.test(`a mounted server (${upstreamEra}) is served whole to clients of both eras`, async (t) => {
    const upstream = await startUpstream(t, upstreamEra)
    upstream.tools = [ADD, { ...ADD, name: 'sub', outputSchema: { type: 'object', properties: { n: { type: 'number' } } } }]
    const seed = await startMounted(t, { calc: { url: upstream.url } })

    for (const era of ERAS) {
      t.test(`client: ${era}`, async (t) => {
        const { response: { result: { tools } } } = await seed.send(era, 'tools/list', {})
        t.same(tools.map(({ name }: { name: string }) => name), ['calc_add', 'calc_sub'])
        t.same(tools[0].inputSchema, ADD.inputSchema)

        upstream.call = () => ({
          content: [
            { type: 'text', text: 'three', annotations: { audience: ['user'] } },
            { type: 'image', data: 'AAAA', mimeType: 'image/png' },
            { type: 'resource_link', uri: 'notes://1', name: 'First note' },
            { type: 'resource', resource: { uri: 'notes://2', text: 'two' } }
          ],
          structuredContent: { n: 'not a number' },
          _meta: { 'example.com/cost': 3 }
        })
        const called = await seed.send(era, 'tools/call', { name: 'calc_sub', arguments: { a: 'any' } })
        const { content, structuredContent, _meta: meta } = called.response.result
        t.same(content, [
          { type: 'text', text: 'three', annotations: { audience: ['user'] } },
          { type: 'image', data: 'AAAA', mimeType: 'image/png' },
          { type: 'resource_link', uri: 'calc+notes://1', name: 'First note' },
          { type: 'resource', resource: { uri: 'calc+notes://2', text: 'two' } }
        ])
        t.same(structuredContent, { n: 'not a number' })
        t.equal(meta['example.com/cost'], 3)

        upstream.call = () => ({ content: [{ type: 'text', text: 'no such account' }], isError: true })
        const failed = await seed.send(era, 'tools/call', { name: 'calc_add', arguments: {} })
        t.match(failed.response.result, { isError: true, content: [{ text: 'no such account' }] })

        upstream.call = () => { throw new ProtocolError(-31077, 'Out of paper', { tray: 2 }) }
        const refused = await seed.send(era, 'tools/call', { name: 'calc_add', arguments: {} })
        t.match(refused.response.error, { code: -31077, message: 'Out of paper', data: { tray: 2 } })

        const prompts = await seed.send(era, 'prompts/list', {})
        t.match(prompts.response.result.prompts, [{ name: 'calc_greet', arguments: [{ name: 'who', required: true }] }])
        const got = await seed.send(era, 'prompts/get', { name: 'calc_greet', arguments: { who: 'Ada' } })
        t.match(got.response.result, { description: 'greet for Ada', messages: [{}, { content: { resource: { uri: 'calc+notes://1' } } }] })
        const wrong = await seed.send(era, 'prompts/get', { name: 'calc_greet', arguments: { who: 'nobody' } })
        t.match(wrong.response.error, { code: -31050, message: 'Nobody is here', data: { who: 'nobody' } })
        const completed = await seed.send(era, 'completion/complete', {
          ref: { type: 'ref/prompt', name: 'calc_greet' }, argument: { name: 'who', value: 'A' }
        })
        t.same(completed.response.result.completion.values, ['A1', 'A2'])

        const resources = await seed.send(era, 'resources/list', {})
        t.match(resources.response.result.resources, [{ uri: 'calc+notes://1', name: 'First note' }])
        const read = await seed.send(era, 'resources/read', { uri: 'calc+notes://1' })
        t.same(read.response.result.contents, [{ uri: 'calc+notes://1', mimeType: 'text/plain', text: 'content of notes://1' }])
        const templates = await seed.send(era, 'resources/templates/list', {})
        t.match(templates.response.result.resourceTemplates, [{ uriTemplate: 'calc+notes://{id}' }])
        const other = await seed.send(era, 'resources/read', { uri: 'calc+notes://7' })
        t.match(other.response.result.contents, [{ uri: 'calc+notes://7', text: 'content of notes://7' }])
        const suggested = await seed.send(era, 'completion/complete', {
          ref: { type: 'ref/resource', uri: 'calc+notes://{id}' }, argument: { name: 'id', value: '4' }
        })
        t.same(suggested.response.result.completion.values, ['41', '42'])
      })
    }
  })
}

t.test('what a mounted server says of its own connection does not reach clients', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  for (const cost of [{}, { 'example.com/cost': 3 }]) {
    upstream.call = () => ({
      content: [{ type: 'text', text: 'three' }],
      _meta: { ...cost, 'io.modelcontextprotocol/serverInfo': { name: 'internal', version: '6.6.6' } }
    })
    for (const era of ERAS) {
      const { text, response } = await seed.send(era, 'tools/call', { name: 'calc_add', arguments: {} })
      t.notMatch(text, /internal|6\.6\.6/)
      t.match(response.result._meta ?? {}, cost)
    }
  }
})

const TRACE = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=b' }

t.test('a trace goes on at the mounted server: in the header where Seed has spans, in _meta otherwise', async (t) => {
  const [upstream, receiver] = [await startUpstream(t), await startOtlpReceiver(t)]
  const SEED_MOUNTS = await writeMounts({ calc: { url: upstream.url, connectTimeoutSeconds: 60 } })
  for (const env of [{}, { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/v1/traces` }]) {
    const seed = await startOpenServer(t, [], { SEED_MOUNTS, ...env }, { mountsWaitMs: 60_000 })
    await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {}, _meta: { ...TRACE, 'example.com/a': 1 } })
    const index = upstream.messages.findLastIndex(({ method }) => method === 'tools/call')
    const { traceparent, tracestate, 'example.com/a': kept } = upstream.messages[index]!.params._meta
    t.equal(kept, 1)
    const isTraced = 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT' in env
    t.same({ traceparent, tracestate }, isTraced ? { traceparent: undefined, tracestate: undefined } : TRACE)
    const header = upstream.requests.map((headers) => headers['traceparent']).find((value) =>
      String(value).includes('0af7651916cd43dd8448eb211c80319c'))
    if (isTraced) t.not(header, TRACE.traceparent)
    t.equal(header !== undefined, isTraced, 'the span of Seed is the parent')
  }
})

t.test('names of the file that fit nothing are in the log, each time the lists have changed', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, {
    calc: {
      url: upstream.url,
      tools: { allow: ['add', 'sub*'], deny: ['delete_*'], overrides: { ad: { scopes: ['a'] }, add: {} } },
      prompts: { deny: ['gret'], overrides: { great: { title: 'Greet' }, greet: {} } },
      resources: { allow: ['notes://*', 'files://*'] }
    }
  })
  const unmatched = [
    'tools.allow: sub*', 'tools.deny: delete_*', 'prompts.deny: gret', 'tools.overrides: ad', 'prompts.overrides: great',
    'resources.allow: files://*'
  ]
  const lines = () => seed.logs.filter(({ event }) => event === 'mount.names_unmatched')
  t.match(lines(), [{ level: 40, mount: 'calc', count: 6, unmatched }])
  upstream.tools = [ADD, { ...ADD, name: 'subtract' }]
  await upstream.announce()
  await until(() => lines().length === 2, 'the lists are new')
  t.match(lines()[1], { count: 5, unmatched: unmatched.slice(1) })
})

t.test('the audit log names the mounts at the start, and no secret of a URL', async (t) => {
  const upstream = await startUpstream(t)
  const SEED_MOUNTS = await writeMounts({ calc: { url: `${upstream.url}?key=s3cret` } })
  const seed = await startOpenServer(t, [], { SEED_MOUNTS, AUDIT_LOG: 'stdout' }, { mountsWaitMs: 60_000 })
  const line = await seed.logged((entry) => JSON.stringify(entry).includes('"extensions"'))
  t.match(line, { configuration: { mounts: [{ name: 'calc', origin: new URL(upstream.url).origin }] } })
  t.notMatch(JSON.stringify(line), /s3cret/)
})

t.test('links that clients follow by themselves stay as they are, unless the server offers the resource', async (t) => {
  const upstream = await startUpstream(t)
  const uris = ['https://example.com/page', 'HTTP://example.com/', 'data:text/plain,hi', 'https://listed.example/', 'https://docs.example/1']
  upstream.resources = [{ uri: 'https://listed.example/', name: 'Listed' }]
  upstream.templates = [{ uriTemplate: 'https://docs.example/{id}', name: 'Documents' }]
  upstream.call = () => ({
    content: [
      ...uris.map((uri) => ({ type: 'resource_link' as const, uri, name: 'A link' })),
      { type: 'resource', resource: { uri: uris[0]!, text: 'A page' } }
    ]
  })
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const { response } = await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} })
  const content = response.result.content as Array<{ uri?: string, resource?: { uri: string } }>
  t.same(content.map(({ uri, resource }) => uri ?? resource?.uri), [
    ...uris.slice(0, 3), 'calc+https://listed.example/', 'calc+https://docs.example/1', uris[0]
  ])
})

t.test('a tool that can be called as a task only is left out, and named in the log', async (t) => {
  const upstream = await startUpstream(t, 'session')
  upstream.tools = [ADD, { ...ADD, name: 'research', execution: { taskSupport: 'required' } }]
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const { response } = await seed.send('modern', 'tools/list', {})
  t.same(response.result.tools.map(({ name }: { name: string }) => name), ['calc_add'])
  t.match(seed.logs.find(({ event }) => event === 'mount.offers_refused'),
    { refused: [{ offer: 'Tool "calc_research"', reason: /as a task only/ }] })
})
