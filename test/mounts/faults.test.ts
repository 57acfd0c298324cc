import t from 'tap'
import type { Test } from 'tap'
import { SdkError, SdkErrorCode } from '@modelcontextprotocol/client'
import { ProtocolError } from '@modelcontextprotocol/server'
import { describeFailure } from '../../src/mounts/connection/failure.ts'
import { startOpenServer } from '../support/open-server.ts'
import type { OpenServer } from '../support/open-server.ts'
import { startSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { ADD, startMounted, startUpstream, writeMounts } from '../support/upstream.ts'

/** These tests wait more than they work: for retries, timeouts and streams. */
const PARALLEL = { buffered: true }
t.jobs = 4

async function toolNames (seed: OpenServer): Promise<string[]> {
  const { response: { result } } = await seed.send('modern', 'tools/list', {})
  return result.tools.map(({ name }: { name: string }) => name)
}

async function callText (seed: OpenServer, name: string): Promise<{ isError?: boolean, text: string }> {
  const { response: { result } } = await seed.send('modern', 'tools/call', { name, arguments: {} })
  return { isError: result.isError, text: result.content[0].text }
}

for (const era of ['modern', 'session'] as const) {
  t.test(`a mounted server (${era}) that dies hides nothing, says so, and comes back by itself`, PARALLEL, async (t) => {
    const [dying, sound] = [await startUpstream(t, era), await startUpstream(t, era)]
    const seed = await startMounted(t, { dying: { url: dying.url }, sound: { url: sound.url } })
    t.same(await callText(seed, 'dying_add'), { isError: undefined, text: '{}' })
    await dying.stop()
    const [{ isError, text }] = await Promise.all([callText(seed, 'dying_add'), callText(seed, 'dying_add')])
    t.equal(isError, true)
    t.equal(text, 'The server behind dying is not available at the moment: try again later')
    t.equal((await callText(seed, 'dying_add')).isError, true, 'and again, at once')
    t.same(await toolNames(seed), ['dying_add', 'sound_add'])
    t.equal((await callText(seed, 'sound_add')).isError, undefined)
    const lines = seed.logs.filter(({ event }) => event === 'mount.unavailable')
    t.match(lines, [{ mount: 'dying', level: 40 }])
    t.equal(lines.length, 1)
    await dying.start()
    await until(async () => (await callText(seed, 'dying_add')).isError === undefined, 'the server is back')
  })
}

t.test('a mounted server that is away at the start is offered as soon as it is there', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  await upstream.stop()
  const seed = await startMounted(t, { late: { url: upstream.url } })
  t.same(await toolNames(seed), [])
  await upstream.start()
  await until(async () => (await toolNames(seed)).length === 1, 'the tool is listed')
})

t.test('a mounted server that hangs delays the start no longer than its time', PARALLEL, async (t) => {
  const [upstream, sound] = [await startUpstream(t), await startUpstream(t)]
  upstream.intercept = () => true
  const mounts = { slow: { url: upstream.url }, sound: { url: sound.url } }
  const seed = await startMounted(t, mounts, { timings: { mountsWaitMs: 500 } })
  await until(async () => (await toolNames(seed)).length === 1, 'the other server is there')
  t.same(await toolNames(seed), ['sound_add'])
})

t.test('a server that hangs in a call is cancelled when the time is up', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { slow: { url: upstream.url, timeoutSeconds: 1 } })
  let isCancelled = false
  upstream.call = async (_name, _args, { mcpReq: { signal } }) => await new Promise(() => {
    signal.addEventListener('abort', () => { isCancelled = true })
  })
  const { isError, text } = await callText(seed, 'slow_add')
  t.equal(isError, true)
  t.match(text, 'did not finish within 1 second and was cancelled')
  await until(() => isCancelled, 'the call is cancelled')
})

t.test('a mounted server that hangs is an outage once a call or a completion has taken too long', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { slow: { url: upstream.url, timeoutSeconds: 1, connectTimeoutSeconds: 1 } })
  const outages = (): number => seed.logs.filter(({ event }) => event === 'mount.unavailable').length
  const hang = (): boolean => true
  upstream.intercept = hang
  t.match((await callText(seed, 'slow_add')).text, 'did not finish within 1 second')
  await until(() => outages() === 1, 'the outage is logged')
  upstream.intercept = () => false
  await until(async () => (await callText(seed, 'slow_add')).isError === undefined, 'the server is back')
  upstream.intercept = hang
  const ref = { type: 'ref/prompt', name: 'slow_greet' }
  await seed.send('modern', 'completion/complete', { ref, argument: { name: 'who', value: 'A' } })
  await until(() => outages() === 2, 'the second outage is logged')
})

t.test('a slow tool of a mounted server that answers otherwise is no outage', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  const mounts = { slow: { url: upstream.url, timeoutSeconds: 1 } }
  const seed = await startMounted(t, mounts, { timings: { mountsRetryMs: 2_000 } })
  upstream.call = async () => await new Promise(() => {})
  const lists = (): number => upstream.messages.filter(({ method }) => method === 'tools/list').length
  const before = lists()
  await Promise.all([callText(seed, 'slow_add'), callText(seed, 'slow_add'), callText(seed, 'slow_add')])
  await until(() => lists() > before, 'the server is asked for its lists')
  t.equal(lists(), before + 1, 'once')
  t.notOk(seed.logs.some(({ event }) => event === 'mount.unavailable'))
})

t.test('a session that the mounted server has forgotten is opened anew, and the call is answered', PARALLEL, async (t) => {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  upstream.forgetSessions()
  t.equal((await callText(seed, 'calc_add')).isError, undefined)
  upstream.call = () => { throw new ProtocolError(-32001, 'no') }
  upstream.forgetSessions()
  t.match((await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} })).response.error, { code: -32001 })
})

t.test('a session that cannot be opened anew is an outage', PARALLEL, async (t) => {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  upstream.intercept = (_request, response) => {
    response.writeHead(404).end()
    return true
  }
  t.match(await callText(seed, 'calc_add'), { isError: true, text: /not available/ })
})

/** JSON.stringify overflows the stack with less. */
const DEEP = '['.repeat(20_000) + ']'.repeat(20_000)

const BODIES: Record<string, [type: string, body: string, text: RegExp]> = {
  'something other than JSON': ['application/json', '<html>', /answered with something other than MCP/],
  'something other than JSON-RPC': ['application/json', '{"a":1}', /answered with something other than MCP/],
  'the result of another method': ['application/json', '{"jsonrpc":"2.0","id":"ID","result":{"resultType":"complete","tools":[]}}', /.+/],
  'a body of many megabytes': ['application/json', `{"jsonrpc":"2.0","id":"ID","result":"${'x'.repeat(2_000_000)}"}`, /sent more than 100000 bytes/],
  'an event of many megabytes': ['text/event-stream', `data: ${'x'.repeat(2_000_000)}\n\n`, /sent more than 100000 bytes/],
  'a flood of events': ['text/event-stream', 'FLOOD', /sent more than 100000 bytes/],
  'a flood of empty events': ['text/event-stream', '\n'.repeat(25_000), /sent more than 20000 lines in one stream/],
  'a flood of empty lines of one character': ['text/event-stream', '\r'.repeat(25_000), /sent more than 20000 lines in one stream/],
  'a flood of long events': ['text/event-stream', `data: ${'x'.repeat(50_000)}\n\n`.repeat(10), /sent more than 100000 bytes|something other than MCP/],
  'JSON that is too deep to be passed on': [
    'application/json',
    `{"jsonrpc":"2.0","id":"ID","result":{"resultType":"complete","content":[],"structuredContent":{"a":${DEEP}}}}`,
    /sent more than 500 levels of JSON: ask for less/
  ],
  'an error that is too deep to be passed on': [
    'text/event-stream',
    `data: {"jsonrpc":"2.0","id":"ID","error":{"code":-32001,"message":"no","data":${DEEP}}}\n\n`,
    /sent more than 500 levels of JSON: ask for less/
  ],
  'an HTTP error': ['text/html', 'HTTP 500', /answered with HTTP status 500/],
  'a status that its proxy sends': ['text/html', 'HTTP 503', /answered with HTTP status 503/],
  'no content': ['text/html', 'HTTP 204', /The server behind broken/],
  'nothing at all': ['text/event-stream', '', /not available/]
}

const FAULTS = (['modern', 'session'] as const).flatMap((era) =>
  Object.entries(BODIES)
    // Before 2026-07-28 a result without content is one with none.
    .filter(([what]) => era === 'modern' || what !== 'the result of another method')
    .map((fault) => [era, ...fault] as const))
for (const [era, what, [type, body, text]] of FAULTS) {
  t.test(`a mounted server (${era}) that answers with ${what} fails that call alone`, PARALLEL, async (t) => {
    const [broken, sound] = [await startUpstream(t, era), await startUpstream(t)]
    const seed = await startMounted(t, {
      broken: { url: broken.url, maxResponseBytes: 100_000, timeoutSeconds: 5 }, sound: { url: sound.url }
    })
    broken.intercept = (_request, response) => {
      const { method, id } = broken.messages.at(-1) as { method: string, id: unknown }
      if (method !== 'tools/call') return false
      if (body === 'FLOOD') {
        response.writeHead(200, { 'content-type': type })
        const timer = setInterval(() => { response.write('data: {"jsonrpc":"2.0","method":"x"}\n\n'.repeat(20_000)) }, 10)
        response.on('close', () => { clearInterval(timer) })
        return true
      }
      const [, status = 200] = /^HTTP (\d+)$/.exec(body) ?? []
      response.writeHead(Number(status), { 'content-type': type }).end(body.replace('"ID"', JSON.stringify(id)))
      return true
    }
    const answer = await callText(seed, 'broken_add')
    t.equal(answer.isError, true)
    t.match(answer.text, text)
    t.equal((await callText(seed, 'sound_add')).isError, undefined)
    broken.intercept = () => false
    await until(async () => (await callText(seed, 'broken_add')).isError === undefined, 'the server answers again')
  })
}

for (const era of ['modern', 'session'] as const) {
  t.test(`each of several calls at once is told that a mounted server (${era}) has sent too much`, PARALLEL, async (t) => {
    const upstream = await startUpstream(t, era)
    const seed = await startMounted(t, { big: { url: upstream.url, maxResponseBytes: 50_000 } })
    const tooMuch = { isError: true, text: 'The server behind big sent more than 50000 bytes (maxResponseBytes): ask for less' }
    for (const type of ['application/json', 'text/event-stream']) {
      const answers: Array<() => void> = []
      upstream.intercept = (_request, response) => {
        if (upstream.messages.at(-1)!.method !== 'tools/call') return false
        answers.push(() => { response.writeHead(200, { 'content-type': type }).end('x'.repeat(100_000)) })
        if (answers.length === 4) for (const answer of answers) answer()
        return true
      }
      const texts = await Promise.all([1, 2, 3, 4].map(async () => await callText(seed, 'big_add')))
      t.same(texts, Array.from({ length: 4 }, () => tooMuch), type)
      upstream.intercept = () => false
      t.same(await callText(seed, 'big_add'), { isError: undefined, text: '{}' })
    }
  })
}

for (const connection of ['shared', 'session']) {
  t.test(`twelve calls at once on ${connection} connections look like no leak to Node.js`, async (t) => {
    const upstream = await startUpstream(t, 'session')
    const SEED_MOUNTS = await writeMounts({ calc: { url: upstream.url, connection } })
    const warnings: Error[] = []
    const onWarning = (warning: Error): void => { warnings.push(warning) }
    process.on('warning', onWarning)
    t.teardown(() => { process.off('warning', onWarning) })
    const seed = await startOpenServer(t, [], { CALLS_PER_PRINCIPAL: '100', SEED_MOUNTS }, { mountsWaitMs: 60_000 })
    let calls = 0
    let answerAll!: () => void
    const allHere = new Promise<void>((resolve) => { answerAll = resolve })
    upstream.call = async () => {
      if (++calls === 12) answerAll()
      await allHere
      return { content: [{ type: 'text', text: 'done' }] }
    }
    const answers = await Promise.all(Array.from({ length: 12 }, async () => await callText(seed, 'calc_add')))
    t.same(answers.map(({ text }) => text), Array.from({ length: 12 }, () => 'done'))
    t.same(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning'), [])
  })
}

t.test('a mounted server that asks a client for what it does not declare is refused clearly', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { asking: { url: upstream.url } })
  upstream.intercept = (_request, response) => {
    const { method, id } = upstream.messages.at(-1) as { method: string, id: unknown }
    if (method !== 'tools/call') return false
    const inputRequests = { a: { method: 'elicitation/create', params: { message: 'Password?', requestedSchema: { type: 'object', properties: {} } } } }
    response.writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ jsonrpc: '2.0', id, result: { resultType: 'input_required', inputRequests, requestState: 's' } }))
    return true
  }
  t.match(await callText(seed, 'asking_add'), { isError: true, text: /This client cannot be asked for elicitation\/create/ })
})

t.test('offers that no client could use, or that reach outside, are left out and named in the log', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  const inputSchema = { type: 'object' as const }
  let deep: object = { type: 'string' }
  for (let level = 0; level < 100; level++) deep = { type: 'object', properties: { a: deep } }
  upstream.tools = [
    ADD, ADD,
    { name: 'with space', inputSchema },
    { name: 'external', inputSchema: { type: 'object', properties: { a: { $ref: 'https://evil.example/schema.json' } } } },
    { name: 'internal', inputSchema: { type: 'object', properties: { a: { $ref: '#/$defs/a' } }, $defs: { a: { type: 'string' } } } },
    { name: 'deep', inputSchema: deep as typeof inputSchema },
    { name: 'long', description: 'x'.repeat(100_000), inputSchema },
    {
      name: 'hidden',
      description: 'Reads\u{E0041}\u{E0042} a\u202Efile\u0007',
      annotations: { title: 'Re\u200Bads' },
      inputSchema: {
        type: 'object',
        properties: { title: { description: 'Na\u{E0100}me \u{1F468}\u200D\u{1F469}\uFE0F', anyOf: [{ description: 'a\uFE00\uFE01\uFE02b' }] } }
      }
    },
    { name: 'slow', inputSchema: { type: 'object', properties: { a: { type: 'string', pattern: '^(a+)+$' } } } }
  ]
  upstream.templates = [{ uriTemplate: 'ui://pages/{page}', name: 'Page' }, { uriTemplate: 'ui://{open', name: 'Open' }]
  upstream.resources = [{ uri: 'ui://view.html', name: 'View', mimeType: 'text/html;profile=mcp-app' }]
  const seed = await startMounted(t, { odd: { url: upstream.url, tools: { deny: ['none'] } } })
  t.same(await toolNames(seed), ['odd_add', 'odd_hidden', 'odd_internal', 'odd_slow'])
  const { response: { result } } = await seed.send('modern', 'tools/list', {})
  t.match(result.tools[1], {
    description: 'Reads afile',
    annotations: { title: 'Reads' },
    inputSchema: { properties: { title: { description: 'Name \u{1F468}\u200D\u{1F469}\uFE0F', anyOf: [{ description: 'ab' }] } } }
  }, 'what models would read and people would not see is gone, and emoji are whole')
  const refused = seed.logs.find(({ event }) => event === 'mount.offers_refused')!
  t.match(refused, { mount: 'odd', count: 6 })
  t.match(JSON.stringify(refused['refused']), /\$ref.*more than 64 levels.*longer than.*a brace is not closed/)
  const called = performance.now()
  await seed.send('modern', 'tools/call', { name: 'odd_slow', arguments: { a: `${'a'.repeat(40)}!` } })
  t.ok(performance.now() - called < 2_000, 'patterns of a stranger are not matched here')
  const read = await seed.send('modern', 'resources/read', { uri: 'ui://odd/view.html' })
  t.match(read.response.result.contents, [{ uri: 'ui://odd/view.html', text: 'content of ui://view.html' }])
  const page = await seed.send('modern', 'resources/read', { uri: 'ui://odd/pages/1' })
  t.match(page.response.result.contents, [{ uri: 'ui://odd/pages/1', text: 'content of ui://pages/1' }])
})

t.test('lists without an end, or too long to keep, are an outage of that server', PARALLEL, async (t) => {
  for (const next of [
    (page: number) => ({ tools: [], nextCursor: String(page + 1) }),
    (page: number) => ({ tools: Array.from({ length: 600 }, (_, n) => ({ ...ADD, name: `t${page}-${n}` })), nextCursor: String(page + 1) }),
    (page: number) => ({ tools: [{ ...ADD, name: `t${page}`, description: 'x'.repeat(3_000_000) }], nextCursor: String(page + 1) })
  ]) {
    const upstream = await startUpstream(t)
    upstream.intercept = (_request, response) => {
      const { method, id, params } = upstream.messages.at(-1) as { method: string, id: unknown, params: any }
      if (method !== 'tools/list') return false
      const result = { resultType: 'complete', ttlMs: 0, cacheScope: 'private', ...next(Number(params.cursor ?? 0)) }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }))
      return true
    }
    const seed = await startSeed(t, {
      definitions: [], env: { AUTH_REQUIRED: 'false', SEED_MOUNTS: await writeMounts({ endless: { url: upstream.url } }) }
    })
    const { reason } = await seed.logged(({ event }) => event === 'mount.unavailable')
    t.match(reason, /more than 100 pages|more than 1000 tools|longer than 4 MiB/)
  }
})

t.test('a completion that takes too long suggests nothing, and fails nothing else', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { slow: { url: upstream.url, timeoutSeconds: 1 } })
  upstream.intercept = () => upstream.messages.at(-1)!.method === 'completion/complete'
  const { response } = await seed.send('modern', 'completion/complete', {
    ref: { type: 'ref/prompt', name: 'slow_greet' }, argument: { name: 'who', value: 'A' }
  })
  t.same(response.result.completion.values, [])
  t.equal((await callText(seed, 'slow_add')).isError, undefined)
})

t.test('lists that cannot be fetched again are an outage, and fetched when the server is back', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  upstream.tools = [{ ...ADD, name: 'other' }]
  upstream.intercept = (_request, response) => {
    if (upstream.messages.at(-1)!.method !== 'resources/templates/list') return false
    response.writeHead(500).end()
    return true
  }
  await upstream.announce()
  await seed.logged(({ event }) => event === 'mount.unavailable')
  t.same(await toolNames(seed), ['calc_add'], 'as they were')
  upstream.intercept = () => false
  await until(async () => (await toolNames(seed))[0] === 'calc_other', 'the lists are new')
})

t.test('a server that offers tools alone, or knows no templates, is mounted as it is', PARALLEL, async (t) => {
  const [plain, old, texts] = [await startUpstream(t), await startUpstream(t), await startUpstream(t)]
  plain.capabilities = { tools: {} }
  texts.capabilities = { prompts: {}, resources: {} }
  old.intercept = (_request, response) => {
    const { method, id } = old.messages.at(-1) as { method: string, id: unknown }
    if (method !== 'resources/templates/list') return false
    response.writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: 'Method not found' } }))
    return true
  }
  const seed = await startMounted(t, { plain: { url: plain.url }, old: { url: old.url }, texts: { url: texts.url } })
  t.same(await toolNames(seed), ['old_add', 'plain_add'])
  const prompts = await seed.send('modern', 'prompts/list', {})
  t.match(prompts.response.result.prompts, [{ name: 'old_greet' }, { name: 'texts_greet' }])
  const { response } = await seed.send('modern', 'completion/complete', {
    ref: { type: 'ref/prompt', name: 'texts_greet' }, argument: { name: 'who', value: 'A' }
  })
  t.same(response.result.completion.values, [])
})

t.test('a call that runs while the server is lost for others is finished', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  let finish: (() => void) | undefined
  upstream.call = async () => {
    await new Promise<void>((resolve) => { finish = resolve })
    return { content: [{ type: 'text', text: 'done' }] }
  }
  const running = callText(seed, 'calc_add')
  await until(() => finish !== undefined, 'the call has arrived')
  upstream.intercept = (_request, response) => {
    response.writeHead(503).end()
    return true
  }
  t.match(await callText(seed, 'calc_add'), { isError: true, text: /answered with HTTP status 503/ })
  await seed.logged(({ event }) => event === 'mount.unavailable')
  t.match(await callText(seed, 'calc_add'), { isError: true, text: /not available/ })
  finish!()
  t.equal((await running).text, 'done')
})

for (const era of ['modern', 'session'] as const) {
  t.test(`one tool that a mounted server (${era}) refuses takes nothing away from other callers`, PARALLEL, async (t) => {
    const upstream = await startUpstream(t, era)
    upstream.tools = [ADD, { ...ADD, name: 'refused' }]
    const seed = await startMounted(t, { calc: { url: upstream.url } })
    let status = 0
    upstream.intercept = (_request, response) => {
      const { method, params } = upstream.messages.at(-1)!
      if (method !== 'tools/call' || params.name !== 'refused') return false
      response.writeHead(status).end('secret of the server')
      return true
    }
    for (status of [401, 403, 404, 502, 503, 504]) {
      t.same(await callText(seed, 'calc_refused'),
        { isError: true, text: `The server behind calc answered with HTTP status ${status}` })
      t.equal((await callText(seed, 'calc_add')).isError, undefined)
    }
    const lists = (): number => upstream.messages.filter(({ method }) => method === 'tools/list').length
    await until(() => lists() > 1, 'the server is checked')
    t.equal((await callText(seed, 'calc_add')).isError, undefined)
    t.same(seed.logs.filter(({ event }) => String(event).startsWith('mount.') && event !== 'mount.connected'), [])
    t.equal(seed.logs.filter(({ event }) => event === 'mount.connected').length, 1, 'the session is kept')
  })
}

t.test('a session that is forgotten fails no call, however many find it out, and is no outage', PARALLEL, async (t) => {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  upstream.forgetSessions()
  const answers = await Promise.all([1, 2, 3].map(async () => await callText(seed, 'calc_add')))
  t.same(answers.map(({ isError }) => isError), [undefined, undefined, undefined])
  const events = seed.logs.map(({ event }) => event).filter((event) => String(event).startsWith('mount.'))
  t.same(events, ['mount.connected', 'mount.connected'])
  t.equal((await callText(seed, 'calc_add')).isError, undefined)
})

t.test('a call that finds a session forgotten when there is a new one already is sent there', PARALLEL, async (t) => {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  let answer: (() => void) | undefined
  upstream.intercept = (_request, response) => {
    if (upstream.messages.at(-1)!.method !== 'tools/call' || answer !== undefined) return false
    answer = () => { response.writeHead(404).end() }
    return true
  }
  const early = callText(seed, 'calc_add')
  await until(() => answer !== undefined, 'the call has arrived')
  upstream.forgetSessions()
  t.equal((await callText(seed, 'calc_add')).isError, undefined)
  answer!()
  t.equal((await early).isError, undefined)
  t.equal(seed.logs.filter(({ event }) => event === 'mount.connected').length, 2)
})

t.test('a session that is found forgotten when lists are fetched is opened anew', PARALLEL, async (t) => {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { calc: { url: upstream.url, refreshSeconds: 5 } })
  upstream.tools = [{ ...ADD, name: 'refused' }]
  upstream.intercept = (_request, response) => {
    if (upstream.messages.at(-1)!.method !== 'tools/call') return false
    upstream.forgetSessions()
    response.writeHead(502).end()
    return true
  }
  t.match(await callText(seed, 'calc_add'), { isError: true, text: /HTTP status 502/ })
  await until(async () => (await toolNames(seed))[0] === 'calc_refused', 'the lists are new')
  t.notOk(seed.logs.some(({ event }) => event === 'mount.unavailable' || event === 'mount.refused'))
})

/** Returns the log line about a server that answers every request in one way. */
async function failureOf (t: Test, url: string, settings: object = {}): Promise<Record<string, unknown>> {
  const SEED_MOUNTS = await writeMounts({ broken: { url, ...settings } })
  const seed = await startSeed(t, { definitions: [], env: { AUTH_REQUIRED: 'false', SEED_MOUNTS } })
  return await seed.logged(({ event }) => event === 'mount.unavailable' || event === 'mount.refused')
}

const REASONS: Record<string, [status: number, type: string, body: string, event: string, reason: string]> = {
  'refuses the secret': [401, 'text/plain', 'secret', 'mount.refused', 'it answered with HTTP status 401'],
  'does not know the URL': [404, 'text/html', 'secret', 'mount.refused', 'it answered with HTTP status 404'],
  'is behind a broken proxy': [502, 'text/html', 'secret', 'mount.unavailable', 'it answered with HTTP status 502'],
  'is a web site': [200, 'text/html', 'secret', 'mount.unavailable', 'it answered with something other than MCP'],
  'sends broken JSON': [200, 'application/json', '{"secret"', 'mount.unavailable', 'it answered with something other than MCP'],
  'answers with an error': [
    200, 'application/json', '{"jsonrpc":"2.0","id":"ID","error":{"code":-32000,"message":"secret"}}',
    'mount.unavailable', 'it answered with the JSON-RPC error -32000'
  ],
  'ends its streams': [200, 'text/event-stream', '', 'mount.unavailable', 'it ended a stream without a response']
}

for (const [what, [status, type, body, event, reason]] of Object.entries(REASONS)) {
  t.test(`the log says so if a mounted server ${what}, and shows nothing of what it sent`, PARALLEL, async (t) => {
    const upstream = await startUpstream(t)
    upstream.intercept = (_request, response) => {
      const { id } = upstream.messages.at(-1) as { id?: unknown } ?? {}
      response.writeHead(status, { 'content-type': type }).end(body.replace('"ID"', JSON.stringify(id)))
      return true
    }
    const line = await failureOf(t, `${upstream.url}?key=secret`)
    t.match(line, { event, mount: 'broken', url: upstream.url, reason, level: event === 'mount.refused' ? 50 : 40 })
    t.notMatch(JSON.stringify({ ...line, msg: '' }), /secret/)
  })
}

t.test('the log names the cause if a mounted server cannot be reached, or does not answer', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  await upstream.stop()
  t.equal((await failureOf(t, upstream.url))['reason'], 'it cannot be reached (ECONNREFUSED)')
  await upstream.start()
  upstream.intercept = () => true
  t.equal((await failureOf(t, upstream.url, { connectTimeoutSeconds: 1 }))['reason'],
    'it did not answer in time (connectTimeoutSeconds)')
})

t.test('an outage that turns out to be a refusal is logged as such', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  let status = 503
  upstream.intercept = (_request, response) => {
    response.writeHead(status).end()
    return true
  }
  await callText(seed, 'calc_add')
  await seed.logged(({ event }) => event === 'mount.unavailable')
  status = 401
  t.match(await seed.logged(({ event }) => event === 'mount.refused'), { level: 50, mount: 'calc' })
})

t.test('the log names the limit if the lists of a mounted server are too large', PARALLEL, async (t) => {
  const upstream = await startUpstream(t)
  upstream.tools = [{ ...ADD, description: 'x'.repeat(10_000) }]
  t.equal((await failureOf(t, upstream.url, { maxResponseBytes: 5_000 }))['reason'],
    'sent more than 5000 bytes (maxResponseBytes)')
})

t.test('a mounted server that claims a revision which does not exist writes nothing else to log and terminal', PARALLEL, async (t) => {
  const upstream = await startUpstream(t, 'session')
  upstream.intercept = (_request, response) => {
    const { method, id } = upstream.messages.at(-1) as { method: string, id: unknown }
    if (method !== 'initialize') return false
    const result = { protocolVersion: `1\u001b[2J${'x'.repeat(1_000)}`, capabilities: {}, serverInfo: { name: 'x', version: '1' } }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }))
    return true
  }
  const { reason } = await failureOf(t, upstream.url, {}) as { reason: string }
  t.match(reason, /protocol version is not supported: 1\ufffd\[2Jx+$/)
  t.equal(reason.length, 200)
})

t.test('an error of the MCP client is named by its code', async (t) => {
  const err = new SdkError(SdkErrorCode.ConnectionClosed, 'what a server wrote')
  t.same(describeFailure(err), { reason: 'CONNECTION_CLOSED', isRefusal: false })
})
