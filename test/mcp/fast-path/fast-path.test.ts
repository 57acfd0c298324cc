import t from 'tap'
import { Type } from 'typebox'
import { image, text, toolResult } from '../../../src/define/content.ts'
import { defineTool } from '../../../src/define/tool.ts'
import { DeferredClientChannel } from '../../../src/mcp/handlers/client-channel.ts'
import { Deadline } from '../../../src/mcp/handlers/deadline.ts'
import { SessionNotFoundError } from '../../../src/mcp/sessions/session.ts'
import { asPrincipal, call, modern, request, send, settle, startEngines, startSession } from '../../support/mcp.ts'

/** What of the short path the comparison with the SDK's (differential.test.ts) does not show. */

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

t.test('requests with the same id at the same time: each caller gets its own answer', async (t) => {
  const house = startEngines(t, { definitions, count: 1 })
  const people = await Promise.all(Array.from({ length: 20 }, async (_none, index) => {
    const principal = asPrincipal(`p${index}`)
    return { principal, ...await startSession(house, { principal, capabilities: {} }) }
  }))
  let wrong = 0
  for (let round = 0; round < 20; round++) {
    await Promise.all(people.flatMap(({ principal, post }, index) => [round % 3, 0].map(async (turns, era) => {
      const nonce = round * 1_000 + index
      const [body, { headers }] = modern('tools/call', { name: 'who', arguments: { nonce, turns } })
      const sent = era === 0 ? await send(house.engines[0]!, body, { headers, principal }) : await post(call('who', { nonce, turns }))
      if (sent.body?.result?.content[0].text !== `${principal.subject} ${nonce}` || sent.body.id !== 1) wrong++
    })))
  }
  t.equal(wrong, 0)
})

t.test('the copy of a session is gone at once when it ends, at whatever replica, and is nobody else\'s', async (t) => {
  const house = startEngines(t, { definitions })
  const principal = asPrincipal('a')
  const { post, end, id } = await startSession(house, { principal })
  const list = async (at: number) => await post(request('tools/list'), { at })
  t.equal((await list(0)).status, 200)
  t.equal((await list(1)).status, 200)
  const reads = house.store.calls.length
  t.equal((await list(1)).status, 200)
  t.equal(house.store.calls.length, reads, 'the next request is not looked up')
  await t.rejects(send(house.engines[1]!, request('tools/list'), { headers: { 'mcp-session-id': id }, principal: asPrincipal('b') }), SessionNotFoundError)
  t.equal((await end({ at: 0 })).status, 204)
  await t.rejects(list(0), SessionNotFoundError)
  await settle()
  await t.rejects(list(1), SessionNotFoundError)
})

t.test('a call that is cancelled before its turn is over is cancelled as any other', async (t) => {
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
  const house = startEngines(t, { definitions: [waits, ...definitions], count: 1 })
  const { post } = await startSession(house, { principal: asPrincipal('ada') })
  t.equal((await post(request('tools/list'))).status, 200)
  const answer = post(call('waits', {}, { id: 'w' }))
  const cancelled = post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'w' } })
  t.equal((await cancelled).status, 202)
  t.equal((await answer).status, 202, 'nothing is left to answer')
  t.ok(signal!.aborted)
})

t.test('an id that is in use already is refused, and so is what comes when the server stops', async (t) => {
  const house = startEngines(t, { definitions, count: 1 })
  const { post } = await startSession(house, { principal: asPrincipal('ada') })
  const slow = post(call('who', { nonce: 1, turns: 50 }, { id: 'x' }))
  await new Promise((resolve) => { setImmediate(resolve) })
  await new Promise((resolve) => { setImmediate(resolve) })
  t.match(await post(call('who', { nonce: 2, turns: 0 }, { id: 'x' })), { status: 400, body: { error: { code: -32600 } } })
  t.match((await slow).body.result.content, [{ text: 'ada 1' }])

  const { post: late } = await startSession(house, { principal: asPrincipal('bob') })
  const { touch, get } = house.store
  let closing: Promise<void> | undefined
  house.store.get = async (key) => {
    const value = await get(key)
    if (key.startsWith('session:')) closing ??= house.engines[0]!.close(50)
    return value
  }
  t.match(await late(call('who', { nonce: 3, turns: 0 })), { status: 200, body: { result: { content: [{ text: 'bob 3' }] } } }, 'it is served on the way that waits for what runs')
  Object.assign(house.store, { touch, get })
  await closing
})

t.test('what a client says of itself is judged once for each text, however many there are', async (t) => {
  const house = startEngines(t, { definitions, count: 1 })
  for (let number = 0; number <= 1_001; number++) {
    const [body, { headers }] = modern('tools/list', { _meta: { 'io.modelcontextprotocol/clientInfo': { name: 'test', version: String(number) } } }, { capabilities: {} })
    if ((await send(house.engines[0]!, body, { headers })).status !== 200) t.fail(String(number))
  }
  const [body, { headers }] = modern('tools/list', { _meta: { 'io.modelcontextprotocol/clientCapabilities': 'none' } })
  t.equal((await send(house.engines[0]!, body, { headers })).status, 400, 'one that is no good is not')
  for (const clientInfo of [{ name: 'test', version: '7' }, { name: 'test', version: 7 }, { name: 7, version: '7' }, { name: '7' }]) {
    const [body, { headers }] = modern('tools/list', { _meta: { 'io.modelcontextprotocol/clientInfo': clientInfo } }, { capabilities: {} })
    const isGood = typeof clientInfo.name === 'string' && typeof clientInfo.version === 'string'
    t.equal((await send(house.engines[0]!, body, { headers })).status, isGood ? 200 : 400, JSON.stringify(clientInfo))
  }
})

t.test('what a call says before the SDK has it goes out in its order, and after it is over nowhere', async (t) => {
  let needed = 0
  const said: unknown[] = []
  const reach = new DeferredClientChannel(() => { needed++ })
  const waiting = [reach.notify({ method: 'notifications/progress', params: { progressToken: 1, progress: 1 } }), reach.log('info', 'one')]
  t.equal(needed, 2)
  let aborted = 0
  const forget = reach.onAbort(() => { aborted++ })
  reach.attach({
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
  await reach.log('info', 'two')
  forget()
  t.same(said, ['notifications/progress', 'one', 'two', 'forgotten'])
  t.equal(aborted, 1)

  const over = new DeferredClientChannel(() => { t.fail('nobody is there any more') })
  over.close()
  await over.log('info', 'late')
  await t.rejects(over.send({ method: 'roots/list' }), { message: /The call has ended/ })
})

t.test('a signal that is asked for late says what has happened', async (t) => {
  const deadline = new Deadline(10)
  deadline.abort(new Error('cancelled'))
  deadline.abort(new Error('again'))
  t.equal(deadline.signal.aborted, true)
  t.match(deadline.signal.reason, { message: 'cancelled' })
  let told: Error | undefined
  deadline.onAbort((reason) => { told = reason })
  t.match(told, { message: 'cancelled' })
  deadline.clear()
})

t.test('what a handler logs carries the caller and the tool, at every level', async (t) => {
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
  const house = startEngines(t, { definitions: [logs], count: 1 })
  const [body, { headers }] = modern('tools/call', { name: 'logs', arguments: {} })
  await house.engines[0]!.handle({
    method: 'POST', headers: { 'content-type': 'application/json', ...headers }, url: 'http://localhost/mcp', body, acceptsStream: true, principal: asPrincipal('ada'), address: '192.0.2.1', log: { info: write, warn: write, error: write }, signal: new AbortController().signal
  })
  const who = { handler: 'logs', subject: 'ada', clientId: 'client-1' }
  t.same(lines, [{ ...who, n: 1, message: 'informs' }, { ...who, n: 2, message: 'warns' }, { ...who, n: 3, message: 'fails' }])
})

t.test('a result that is more than plain text is the SDK\'s to write', async (t) => {
  const rich = defineTool({ name: 'rich', description: 'text with annotations', input: Type.Object({}), handler: () => text('hello', { annotations: { priority: 1 } }) })
  const picture = defineTool({ name: 'picture', description: 'no text', input: Type.Object({}), handler: () => image('AAAA', 'image/png') })
  const none = defineTool({ name: 'none', description: 'no content', input: Type.Object({}), handler: () => toolResult({}) })
  const house = startEngines(t, { definitions: [rich, picture, none], count: 1 })
  for (const [name, content] of [['rich', [{ type: 'text', text: 'hello', annotations: { priority: 1 } }]], ['picture', [{ type: 'image', data: 'AAAA' }]], ['none', []]] as const) {
    const [body, { headers }] = modern('tools/call', { name, arguments: {} })
    t.match((await send(house.engines[0]!, body, { headers })).body.result, { content }, name)
  }
})
