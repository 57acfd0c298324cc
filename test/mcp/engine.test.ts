import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { Deadline } from '../../src/mcp/handlers/handler-timeout.ts'
import type { RunContext } from '../../src/mcp/handlers/execute.ts'
import { ToolError, defineTool } from '../../src/define/tool.ts'
import type { ToolDefinition } from '../../src/define/tool.ts'
import { createToolCatalog } from '../../src/mcp/catalog/tools.ts'
import { createPolicyEvaluator } from '../../src/policy/evaluator.ts'
import { gate } from '../support/gate.ts'
import {
  MODERN, asPrincipal, call, initialize, modern, request, send, startEngines, startSession
} from '../support/mcp.ts'
import type { EnginesOptions, SendOptions } from '../support/mcp.ts'

/** The behaviour that both eras of the protocol share. */

const tools = [
  defineTool({
    name: 'whoami',
    description: 'names the caller',
    input: Type.Object({}),
    handler: (_input, { principal }) => principal?.subject ?? 'nobody'
  }),
  defineTool({
    name: 'add',
    description: 'adds',
    input: Type.Object({ a: Type.Number(), b: Type.Number() }),
    output: Type.Object({ sum: Type.Number() }),
    handler: ({ a, b }) => ({ sum: a + b })
  }),
  defineTool({
    name: 'refuses',
    description: 'throws a ToolError',
    input: Type.Object({}),
    handler () { throw new ToolError('There is no such invoice') }
  }),
  defineTool({
    name: 'breaks',
    description: 'throws',
    input: Type.Object({}),
    handler () { throw new Error('password=hunter2') }
  }),
  defineTool({
    name: 'lies',
    description: 'breaks its output schema',
    input: Type.Object({}),
    output: Type.Object({ n: Type.Number() }),
    handler: () => ({ n: 'one' as unknown as number })
  }),
  {
    ...defineTool({
      name: 'shapeless',
      description: 'returns what cannot be sent',
      input: Type.Object({}),
      handler: () => 'text'
    }),
    handler: () => [1]
  }
]

type EraOptions = SendOptions & { id?: string | number }

function setUp (t: Test, extra: readonly ToolDefinition[] = [], options: EnginesOptions = {}) {
  const cluster = startEngines(t, { count: 1, definitions: [...tools, ...extra], ...options })
  const engine = cluster.engines[0]!
  return {
    ...cluster,
    engine,
    /** Sends a request of one era; a legacy one in a session of its own. */
    async sendIn (era: 'legacy' | 'modern', method: string, params: object = {}, given: EraOptions = {}) {
      const { id = 1, ...options } = given
      if (era === 'legacy') {
        const { principal } = options
        const session = await startSession(cluster, principal === undefined ? {} : { principal })
        return await session.post(request(method, params, id), options)
      }
      const [body, { headers }] = modern(method, params, { id })
      return await send(engine, body, { ...options, headers: { ...headers, ...options.headers } })
    }
  }
}

const POLICIES = createPolicyEvaluator({ hierarchy: [], scopes: [] })

const ERAS = ['legacy', 'modern'] as const

t.test('initialize negotiates a revision that both sides support', async (t) => {
  const { engine } = setUp(t)
  for (const version of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
    t.match(
      (await send(engine, initialize(version))).body.result,
      { protocolVersion: version, serverInfo: { name: 'seed', version: '1.2.3' } }
    )
  }
  for (const version of [MODERN, '1999-01-01']) {
    t.equal(
      (await send(engine, initialize(version))).body.result.protocolVersion,
      '2025-11-25',
      `${version} is answered with the newest revision that has a handshake`
    )
  }
  t.same((await send(engine, initialize('2025-06-18'))).body.result.capabilities, {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { listChanged: true, subscribe: true },
    completions: {},
    logging: {}
  })
})

t.test('responses of 2026-07-28 have every required member', async (t) => {
  const { engine } = setUp(t)
  t.match((await send(engine, ...modern('server/discover'))).body.result, {
    resultType: 'complete',
    supportedVersions: [MODERN],
    capabilities: { tools: {} },
    ttlMs: 60_000,
    cacheScope: 'public'
  })
  t.match((await send(engine, ...modern('tools/list'))).body.result, {
    resultType: 'complete',
    ttlMs: 60_000,
    cacheScope: 'public',
    _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'seed' } }
  })
  t.match(
    (await send(engine, ...modern('tools/call', { name: 'whoami', arguments: {} }))).body.result,
    { resultType: 'complete', content: [{ type: 'text', text: 'nobody' }] }
  )
})

t.test("contradictory requests of 2026-07-28 are refused with the protocol's error codes", async (t) => {
  const { engine } = setUp(t)
  const [body, { headers }] = modern('tools/call', { name: 'whoami', arguments: {} })
  const cases = [
    { name: 'Mcp-Method differs', headers: { ...headers, 'mcp-method': 'tools/list' }, status: 400, code: -32020 },
    { name: 'Mcp-Name differs', headers: { ...headers, 'mcp-name': 'add' }, status: 400, code: -32020 },
    {
      name: 'Mcp-Method is missing',
      headers: { 'mcp-protocol-version': MODERN, 'mcp-name': 'whoami' },
      status: 400,
      code: -32020
    },
    {
      name: 'the version header differs',
      headers: { ...headers, 'mcp-protocol-version': '2025-11-25' },
      status: 400,
      code: -32020
    },
    {
      name: 'a modern header without an envelope',
      body: request('tools/list'),
      headers: { 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/list' },
      status: 400,
      code: -32602
    },
    {
      name: 'an unknown revision',
      body: {
        ...body,
        params: {
          ...body.params,
          _meta: { ...body.params._meta, 'io.modelcontextprotocol/protocolVersion': '2030-01-01' }
        }
      },
      headers: { ...headers, 'mcp-protocol-version': '2030-01-01' },
      status: 400,
      code: -32022
    }
  ]
  for (const { name, status, code, ...sent } of cases) {
    const answer = await send(engine, sent.body ?? body, { headers: sent.headers })
    t.match({ status: answer.status, code: answer.body.error.code }, { status, code }, name)
  }
  const unknown = await send(engine, ...modern('tools/destroy'))
  t.match(
    { status: unknown.status, code: unknown.body.error.code },
    { status: 404, code: -32601 },
    'an unknown method is 404'
  )
})

t.test('tools are listed by name, the same in both eras, and a request cannot change them', async (t) => {
  const { sendIn } = setUp(t)
  const [old, now] = [await sendIn('legacy', 'tools/list'), await sendIn('modern', 'tools/list')]
  t.same(
    old.body.result.tools.map(({ name }: { name: string }) => name),
    ['add', 'breaks', 'lies', 'refuses', 'shapeless', 'whoami']
  )
  t.same(now.body.result.tools, old.body.result.tools)
  t.match(
    old.body.result.tools[0],
    { inputSchema: { type: 'object', required: ['a', 'b'] }, outputSchema: { type: 'object' } }
  )
  t.throws(() => {
    (createToolCatalog(tools, POLICIES).listing.visible(undefined)[0]!.inputSchema as { type: string }).type = 'array'
  }, TypeError)
})

for (const era of ERAS) {
  t.test(`tools/call, ${era}`, async (t) => {
    const { sendIn } = setUp(t)
    const call = async (name: string, args?: object) => await sendIn(
      era,
      'tools/call',
      { name, ...(args !== undefined && { arguments: args }) }
    )

    t.match(
      (await call('add', { a: 1, b: 2 })).body.result,
      { structuredContent: { sum: 3 }, content: [{ type: 'text', text: '{"sum":3}' }] },
      'structured content with its text'
    )
    t.match(
      (await call('whoami')).body.result,
      { content: [{ type: 'text', text: 'nobody' }] },
      'arguments may be left out'
    )

    const invalid = (await call('add', { a: 'one' })).body.result
    t.equal(invalid.isError, true)
    t.match(invalid.content[0].text, /arguments of add are not valid: .*b/, 'says what is wrong with the arguments')
    t.match((await call('add', { a: 'one', b: 2 })).body.result.content[0].text, /a must be number/)

    t.match(
      (await call('refuses')).body.result,
      { isError: true, content: [{ type: 'text', text: 'There is no such invoice' }] }
    )
    t.match((await call('nosuch')).body.error, { code: -32602, message: /Unknown tool: nosuch/ })
    for (const name of [
      '__proto__',
      'constructor',
      'toString'
    ]) t.equal((await call(name)).body.error.code, -32602, name)

    const broken = (await call('breaks')).body.result
    t.equal(broken.isError, true)
    t.match(broken.content[0].text, /^breaks failed; .* reference [\w-]{12}$/)
    t.notMatch(JSON.stringify(broken), /hunter2/)
    for (const name of ['lies', 'shapeless']) t.match((await call(name)).body.result, { isError: true }, name)
  })
}

t.test('the log has the reason for which a tool failed, under the reference that the client gets', async (t) => {
  const lines: Array<Record<string, any>> = []
  const log = { info () {}, warn () {}, error: (fields: object) => { lines.push(fields) } }
  const catalog = createToolCatalog(tools, POLICIES)
  const run = { log, createDeadline: () => new Deadline(60), onPending () {} } as unknown as RunContext
  const result = await catalog.call('breaks', {}, undefined, run)
  t.equal(lines[0]!['err'].message, 'password=hunter2')
  t.match((result.content[0] as { text: string }).text, new RegExp(`${lines[0]!['reference']}$`))
  await catalog.call('lies', {}, undefined, run)
  t.match(lines[1]!['err'].message, /lies returned something other than its output schema says: n must be number/)
})

t.test('a tool that cannot be served fails at start', (t) => {
  const named = (name: string) => ({ ...tools[0]!, name })
  t.throws(() => createToolCatalog([named('a b')], POLICIES), { message: /Tool name "a b"/ })
  t.throws(() => createToolCatalog([named('')], POLICIES), { message: /1 to 128/ })
  t.throws(() => createToolCatalog([named('x'), named('x')], POLICIES), { message: 'Tool "x" is defined twice' })
  t.end()
})

t.test('two callers with the same JSON-RPC ids never get each other\'s responses', async (t) => {
  const { engines, store, lines, sendIn } = setUp(t)
  const sessions = new Map(await Promise.all(['ada', 'bob'].map(async (subject) => [
    subject,
    await startSession({ engines, store, lines }, { principal: asPrincipal(subject) })
  ] as const)))
  const answers = await Promise.all(Array.from({ length: 300 }, async (_, round) => {
    const subject = round % 2 === 0 ? 'ada' : 'bob'
    const id = round % 3 === 0 ? round : 7
    const answer = round % 3 === 0
      ? await sessions.get(subject)!.post(call('whoami', {}, { id }))
      : await sendIn('modern', 'tools/call', { name: 'whoami', arguments: {} }, { id, principal: asPrincipal(subject) })
    return answer.body.id === id && answer.body.result.content[0].text === subject
  }))
  t.ok(answers.every(Boolean))
})

t.test('invalid messages of 2026-07-28 are refused', async (t) => {
  const { engine } = setUp(t)
  const [body, options] = modern('tools/list')
  for (const id of [null, 1.5, {}, [1], true]) {
    const answer = await send(engine, { ...body, id }, options)
    t.match({ status: answer.status, code: answer.body.error.code }, { status: 400, code: -32600 }, JSON.stringify(id))
  }
  for (const method of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    t.match(await send(engine, ...modern(method)), { status: 404, body: { error: { code: -32601 } } }, method)
  }
})

t.test('the engine does not see the access token', async (t) => {
  const { tool, started, open } = gate()
  const { sendIn } = setUp(t, [tool])
  const answer = sendIn('modern', 'tools/call', {
    name: 'gate',
    arguments: {}
  }, { headers: { authorization: 'Bearer secret-token' }, principal: asPrincipal('ada') })
  t.notMatch(JSON.stringify(await started), /secret-token/)
  open('done')
  t.equal((await answer).body.result.content[0].text, 'done')
})

t.test('disconnecting cancels a call in 2026-07-28', async (t) => {
  const { tool, started } = gate()
  const { sendIn } = setUp(t, [tool])
  const client = new AbortController()
  const answer = sendIn('modern', 'tools/call', { name: 'gate', arguments: {} }, { signal: client.signal })
  const { signal } = await started
  client.abort()
  t.equal((await answer).status, 499)
  if (!signal.aborted) await new Promise((resolve) => { signal.addEventListener('abort', resolve) })
  t.ok(signal.aborted)
})

for (const era of ERAS) {
  t.test(`closing lets a running call finish, ${era}`, async (t) => {
    const { tool, started, open } = gate()
    const { engine, sendIn } = setUp(t, [tool])
    const answer = sendIn(era, 'tools/call', { name: 'gate', arguments: {} })
    await started
    const closing = engine.close(10_000)
    open('finished')
    t.equal((await answer).body.result.content[0].text, 'finished')
    await closing
  })

  t.test(`closing aborts a call after the grace period, and answers for a tool that ignores it, ${era}`, async (t) => {
    let tellStarted: (signal: AbortSignal) => void
    const started = new Promise<AbortSignal>((resolve) => { tellStarted = resolve })
    const deaf = defineTool({
      name: 'deaf',
      description: 'heeds no signal',
      input: Type.Object({}),
      async handler (_input, { signal }) {
        tellStarted(signal)
        return await new Promise<string>(() => {})
      }
    })
    const { engine, sendIn } = setUp(t, [deaf])
    const answer = sendIn(era, 'tools/call', { name: 'deaf', arguments: {} })
    const signal = await started
    await engine.close(1)
    t.ok(signal.aborted)
    t.match(
      await answer,
      {
        status: 503,
        headers: { 'retry-after': '1' },
        body: { jsonrpc: '2.0', id: 1, error: { message: /shutting down/ } }
      }
    )
  })

  t.test(`a tool is cancelled at its timeout, ${era}`, async (t) => {
    const sleeps = (name: string, timeoutSeconds?: number) => defineTool({
      name,
      description: 'sleeps',
      input: Type.Object({}),
      ...timeoutSeconds !== undefined && { timeoutSeconds },
      handler: async () => await new Promise<string>(() => {})
    })
    const { sendIn } = setUp(
      t,
      [sleeps('long', 1), sleeps('short')],
      { tool: { timeoutSeconds: 0.02, inputTimeoutSeconds: 60, maxResultBytes: 10_485_760 } }
    )
    t.match(
      (await sendIn(era, 'tools/call', { name: 'short', arguments: {} })).body.result,
      { isError: true, content: [{ text: 'short did not finish within 0.02 seconds and was cancelled' }] }
    )
    t.match((await sendIn(era, 'tools/call', { name: 'long', arguments: {} }, { acceptsStream: false })).body.result,
      {
        isError: true,
        content: [{ text: 'long did not finish within 1 second and was cancelled' }]
      }, 'the timeout that a tool declares comes first')
  })
}

t.test('a paused deadline runs again after the last pause, and not after it was cleared', async (t) => {
  const pending = () => {
    let end: () => void
    const waiting = new Promise<void>((resolve) => { end = resolve })
    return { waiting, end: end! }
  }
  const awake = setInterval(() => {}, 1_000)
  t.teardown(() => { clearInterval(awake) })
  const [one, two, three] = [pending(), pending(), pending()]
  const deadline = new Deadline(0.05)
  deadline.start()
  const pauses = [deadline.pause(one.waiting), deadline.pause(two.waiting)]
  one.end()
  await new Promise((resolve) => { setTimeout(resolve, 100) })
  t.notOk(deadline.signal.aborted)
  two.end()
  await Promise.all(pauses)
  await new Promise((resolve) => { deadline.signal.addEventListener('abort', resolve) })
  t.match(deadline.signal.reason, { name: 'TimeoutError' })

  const cleared = new Deadline(0.01)
  cleared.start()
  const pause = cleared.pause(three.waiting)
  cleared.clear()
  three.end()
  await pause
  await new Promise((resolve) => { setTimeout(resolve, 50) })
  t.notOk(cleared.signal.aborted)
})

t.test('requests that need no store are answered during an outage of the store', async (t) => {
  const { sendIn, store } = setUp(t)
  store.isDown = true
  t.equal((await sendIn('modern', 'tools/call', { name: 'whoami', arguments: {} })).status, 200)
})
