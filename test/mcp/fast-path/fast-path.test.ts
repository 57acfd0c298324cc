import t from 'tap'
import { Type } from 'typebox'
import { image, text, toolResult } from '../../../src/define/content.ts'
import { defineTool } from '../../../src/define/tool.ts'
import { DeferredClientChannel } from '../../../src/mcp/handlers/client-channel.ts'
import { Deadline } from '../../../src/mcp/handlers/handler-timeout.ts'
import { SessionNotFoundError } from '../../../src/mcp/sessions/session.ts'
import {
  asPrincipal, call, captureLog, modern, request, send, settle, startEngines, startSession
} from '../../support/mcp.ts'

/** The behaviour of the fast path that the comparison with the SDK's (differential.test.ts) does not show. */

const definitions = [
  defineTool({
    name: 'who',
    description: 'Says who calls',
    input: Type.Object({ nonce: Type.Integer(), turns: Type.Integer() }),
    async handler ({ nonce, turns }, { principal }) {
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => { setImmediate(resolve) })
      return `${principal!.subject} ${nonce}`
    }
  })
]

t.test('concurrent requests with the same id: each caller gets its own response', async (t) => {
  const cluster = startEngines(t, { definitions, count: 1 })
  const people = await Promise.all(Array.from({ length: 20 }, async (_none, index) => {
    const principal = asPrincipal(`p${index}`)
    return { principal, ...await startSession(cluster, { principal, capabilities: {} }) }
  }))
  let wrong = 0
  for (let round = 0; round < 20; round++) {
    await Promise.all(people.flatMap(({ principal, post }, index) => [round % 3, 0].map(async (turns, era) => {
      const nonce = round * 1_000 + index
      const [body, { headers }] = modern('tools/call', { name: 'who', arguments: { nonce, turns } })
      const sent = era === 0
        ? await send(
          cluster.engines[0]!,
          body,
          { headers, principal }
        )
        : await post(call('who', { nonce, turns }))
      if (sent.body?.result?.content[0].text !== `${principal.subject} ${nonce}` || sent.body.id !== 1) wrong++
    })))
  }
  t.equal(wrong, 0)
})

t.test('a cached session is dropped when it ends at any replica, and serves no other caller', async (t) => {
  const cluster = startEngines(t, { definitions })
  const principal = asPrincipal('a')
  const { post, end, id } = await startSession(cluster, { principal })
  const list = async (at: number) => await post(request('tools/list'), { at })
  t.equal((await list(0)).status, 200)
  t.equal((await list(1)).status, 200)
  const reads = cluster.store.calls.length
  t.equal((await list(1)).status, 200)
  t.equal(cluster.store.calls.length, reads, 'the next request needs no lookup')
  await t.rejects(send(
    cluster.engines[1]!,
    request('tools/list'),
    { headers: { 'mcp-session-id': id }, principal: asPrincipal('b') }
  ), SessionNotFoundError)
  t.equal((await end({ at: 0 })).status, 204)
  await t.rejects(list(0), SessionNotFoundError)
  await settle()
  await t.rejects(list(1), SessionNotFoundError)
})

t.test('a call that is cancelled in its first tick is cancelled like any other', async (t) => {
  let signal: AbortSignal | undefined
  const waits = defineTool({
    name: 'waits',
    description: 'waits until it is cancelled',
    input: Type.Object({}),
    async handler (_input, context) {
      signal = context.signal
      return await new Promise<string>(() => {})
    }
  })
  const cluster = startEngines(t, { definitions: [waits, ...definitions], count: 1 })
  const { post } = await startSession(cluster, { principal: asPrincipal('ada') })
  t.equal((await post(request('tools/list'))).status, 200)
  const answer = post(call('waits', {}, { id: 'w' }))
  const cancelled = post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'w' } })
  t.equal((await cancelled).status, 202)
  t.equal((await answer).status, 202, 'there is nothing left to answer')
  t.ok(signal!.aborted)
})

t.test('an id in use is refused, and a request during shutdown takes the path that is waited for', async (t) => {
  const cluster = startEngines(t, { definitions, count: 1 })
  const { post } = await startSession(cluster, { principal: asPrincipal('ada') })
  const slow = post(call('who', { nonce: 1, turns: 50 }, { id: 'x' }))
  await new Promise((resolve) => { setImmediate(resolve) })
  await new Promise((resolve) => { setImmediate(resolve) })
  t.match(
    await post(call('who', { nonce: 2, turns: 0 }, { id: 'x' })),
    { status: 400, body: { error: { code: -32600 } } }
  )
  t.match((await slow).body.result.content, [{ text: 'ada 1' }])

  const { post: late } = await startSession(cluster, { principal: asPrincipal('bob') })
  const { touch, get } = cluster.store
  let closing: Promise<void> | undefined
  cluster.store.get = async (key) => {
    const value = await get(key)
    if (key.startsWith('session:')) closing ??= cluster.engines[0]!.close(50)
    return value
  }
  t.match(
    await late(call('who', { nonce: 3, turns: 0 })),
    { status: 200, body: { result: { content: [{ text: 'bob 3' }] } } },
    'it takes the path that the shutdown waits for'
  )
  Object.assign(cluster.store, { touch, get })
  await closing
})

t.test('each distinct envelope is validated, however many there are', async (t) => {
  const cluster = startEngines(t, { definitions, count: 1 })
  for (let number = 0; number <= 1_001; number++) {
    const [body, { headers }] = modern(
      'tools/list',
      { _meta: { 'io.modelcontextprotocol/clientInfo': { name: 'test', version: String(number) } } },
      { capabilities: {} }
    )
    if ((await send(cluster.engines[0]!, body, { headers })).status !== 200) t.fail(String(number))
  }
  const [body, { headers }] = modern('tools/list', { _meta: { 'io.modelcontextprotocol/clientCapabilities': 'none' } })
  t.equal((await send(cluster.engines[0]!, body, { headers })).status, 400, 'an invalid one is refused')
  const clients = [
    { name: 'test', version: '7' },
    { name: 'test', version: 7 },
    { name: 7, version: '7' },
    { name: '7' }
  ]
  for (const clientInfo of clients) {
    const [body, { headers }] = modern(
      'tools/list',
      { _meta: { 'io.modelcontextprotocol/clientInfo': clientInfo } },
      { capabilities: {} }
    )
    const isGood = typeof clientInfo.name === 'string' && typeof clientInfo.version === 'string'
    t.equal((await send(cluster.engines[0]!, body, { headers })).status, isGood ? 200 : 400, JSON.stringify(clientInfo))
  }
})

t.test('messages before the SDK has the request are sent in order; messages after the end are dropped', async (t) => {
  let needed = 0
  const said: unknown[] = []
  const channel = new DeferredClientChannel(() => { needed++ })
  const waiting = [
    channel.notify({ method: 'notifications/progress', params: { progressToken: 1, progress: 1 } }),
    channel.log('info', 'one')
  ]
  t.equal(needed, 2)
  let aborted = 0
  const forget = channel.onAbort(() => { aborted++ })
  channel.attach({
    _meta: undefined,
    ensureAttached () {},
    send: (async () => {}) as never,
    notify: async ({ method }) => { said.push(method) },
    log: async (_level, data) => { said.push(data) },
    onAbort (listener) {
      listener()
      return () => { said.push('forgotten') }
    }
  })
  await Promise.all(waiting)
  await channel.log('info', 'two')
  forget()
  t.same(said, ['notifications/progress', 'one', 'two', 'forgotten'])
  t.equal(aborted, 1)

  const over = new DeferredClientChannel(() => { t.fail('nobody is there any more') })
  over.close()
  await over.log('info', 'late')
  await t.rejects(over.send({ method: 'roots/list' }), { message: /The call has ended/ })
})

t.test('a signal that is created after the abort is aborted', async (t) => {
  const deadline = new Deadline(10)
  deadline.abort(new Error('cancelled'))
  deadline.abort(new Error('again'))
  t.equal(deadline.signal.aborted, true)
  t.match(deadline.signal.reason, { message: 'cancelled' })
  let abortReason: Error | undefined
  deadline.onAbort((reason) => { abortReason = reason })
  t.match(abortReason, { message: 'cancelled' })
  deadline.clear()
})

t.test('log lines of a handler name the caller and the tool at every level', async (t) => {
  const logs = defineTool({
    name: 'logs',
    description: 'logs',
    input: Type.Object({}),
    handler (_input, { log }) {
      log.info({ n: 1 }, 'informs')
      log.warn({ n: 2 }, 'warns')
      log.error({ n: 3 }, 'fails')
      return 'logged'
    }
  })
  const lines: object[] = []
  const write = (fields: object, message?: string): void => { lines.push({ ...fields, message }) }
  const cluster = startEngines(t, { definitions: [logs], count: 1 })
  const [body, { headers }] = modern('tools/call', { name: 'logs', arguments: {} })
  await cluster.engines[0]!.handle({
    id: 'request-1',
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...headers
    },
    url: 'http://localhost/mcp',
    body,
    acceptsStream: true,
    principal: asPrincipal(
      'ada'
    ),
    address: '192.0.2.1',
    log: { info: write, warn: write, error: write },
    onDisconnect: () => () => {}
  })
  const who = { handler: 'logs', subject: 'ada', clientId: 'client-1' }
  t.same(
    lines,
    [{ ...who, n: 1, message: 'informs' }, { ...who, n: 2, message: 'warns' }, { ...who, n: 3, message: 'fails' }]
  )
})

t.test('the SDK writes results that are more than plain text', async (t) => {
  const rich = defineTool({
    name: 'rich',
    description: 'text with annotations',
    input: Type.Object({}),
    handler: () => text('hello', { annotations: { priority: 1 } })
  })
  const picture = defineTool({
    name: 'picture',
    description: 'no text',
    input: Type.Object({}),
    handler: () => image('AAAA', 'image/png')
  })
  const none = defineTool({
    name: 'none',
    description: 'no content',
    input: Type.Object({}),
    handler: () => toolResult({})
  })
  const cluster = startEngines(t, { definitions: [rich, picture, none], count: 1 })
  for (const [name, content] of [
    ['rich', [{ type: 'text', text: 'hello', annotations: { priority: 1 } }]],
    ['picture', [{ type: 'image', data: 'AAAA' }]],
    ['none', []]
  ] as const) {
    const [body, { headers }] = modern('tools/call', { name, arguments: {} })
    t.match((await send(cluster.engines[0]!, body, { headers })).body.result, { content }, name)
  }
})

/** Limits that count the calls that were begun and not ended. */
function countingLimits () {
  const limits = {
    running: 0,
    beginCall () {
      limits.running++
      return () => { limits.running-- }
    },
    beginStream: () => () => {},
    callerKey: () => ''
  }
  return limits
}

t.test('a call whose failure cannot even be logged is no longer counted as running', async (t) => {
  const limits = countingLimits()
  const log = { ...captureLog().log, error () { throw new Error('no log') } }
  const fails = defineTool({
    name: 'fails',
    description: 'throws',
    input: Type.Object({}),
    handler () { throw new Error('for the log') }
  })
  const cluster = startEngines(t, { definitions: [fails], count: 1, limits })
  const [body, { headers }] = modern('tools/call', { name: 'fails', arguments: {} })
  t.throws(() => cluster.engines[0]!.handle({
    id: 'request-1',
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    url: 'http://localhost:3000/mcp',
    body,
    acceptsStream: true,
    principal: asPrincipal('ada'),
    address: '192.0.2.1',
    log,
    onDisconnect: () => () => {}
  }), { message: 'no log' })
  t.equal(limits.running, 0)
})

t.test('a running call is no longer counted if a reload of its tool makes the SDK refuse it', async (t) => {
  const limits = countingLimits()
  const input = Type.Object({ region: Type.String() })
  const slow = defineTool({
    name: 'slow',
    description: 'never returns',
    input,
    handler: async () => await new Promise<string>(() => {})
  })
  const cluster = startEngines(t, { definitions: [slow], count: 1, limits })
  const [body, { headers }] = modern('tools/call', { name: 'slow', arguments: { region: 'eu' } })
  const answer = send(cluster.engines[0]!, body, { headers, principal: asPrincipal('ada') })
  t.equal(limits.running, 1)
  const region = Type.String({ 'x-mcp-header': 'Region' })
  cluster.engines[0]!.replace([{ ...slow, input: Type.Object({ region }) }])
  t.match(await answer, { status: 400, body: { error: { code: -32020 } } })
  t.equal(limits.running, 0)
})
