import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { createKeyring } from '../../../src/crypto/keyring.ts'
import { defineTool } from '../../../src/define/tool.ts'
import { createRequestStates } from '../../../src/mcp/handlers/request-state.ts'
import { StoreUnavailableError } from '../../../src/store/store.ts'
import type { Principal } from '../../../src/tokens/principal.ts'
import { gate } from '../../support/gate.ts'
import { interactiveTools } from '../../support/interactive-tools.ts'
import {
  asPrincipal, modern, request, send, settle, startEngines, startSession, call, testStore
} from '../../support/mcp.ts'
import type { Engines, EnginesOptions, SendOptions } from '../../support/mcp.ts'

/** Revision 2026-07-28; engine.test.ts tests what both eras share. */

let runs = 0
const tools = [
  ...interactiveTools,
  defineTool({
    name: 'transfer',
    description: 'Asks, and then acts',
    input: Type.Object({
      from: Type.Optional(Type.String()),
      to: Type.Optional(Type.String()),
      list: Type.Optional(Type.Array(Type.Integer()))
    }),
    async handler (_input, { elicit }) {
      const { action } = await elicit('Really?', Type.Object({ sure: Type.Boolean() }))
      runs++
      return action
    }
  }),
  defineTool({
    name: 'both',
    description: 'Asks two things at once',
    input: Type.Object({}),
    async handler (_input, { elicit, listRoots }) {
      const [form, roots] = await Promise.all([elicit('Name?', Type.Object({ name: Type.String() })), listRoots()])
      return form.action === 'accept' ? `${form.content.name} at ${roots[0]!.uri}` : form.action
    }
  }),
  defineTool({
    name: 'swallows',
    description: 'Catches what stops it',
    input: Type.Object({}),
    async handler (_input, { listRoots }) {
      return await listRoots().then(() => 'has roots', () => 'has none')
    }
  })
]

function setUp (t: Test, options: EnginesOptions = {}) {
  const cluster = startEngines(t, { definitions: tools, ...options })
  let turn = 0
  return {
    ...cluster,
    /** A call at one replica after the other. */
    async call (name: string, params: object = {}, {
      principal,
      ...options
    }: Parameters<typeof modern>[2] & SendOptions = {}) {
      const [body, { headers }] = modern('tools/call', { name, arguments: {}, ...params }, options)
      return await send(cluster.engines[turn++ % cluster.engines.length]!, body, {
        headers,
        principal,
        ...options.acceptsStream !== undefined && { acceptsStream: options.acceptsStream },
        ...options.signal !== undefined && { signal: options.signal }
      })
    }
  }
}

const ACCEPT = { action: 'accept', content: { sure: true } }

t.test('questions asked one after the other take one round each, at any replica', async (t) => {
  const { call } = setUp(t)
  const first = (await call('ask_twice', { arguments: { topic: 'it' } })).body.result
  t.match(first, {
    resultType: 'input_required',
    inputRequests: { 'input-1': { method: 'elicitation/create', params: { message: 'First of it?' } } },
    requestState: String
  })
  const second = (await call('ask_twice', {
    arguments: { topic: 'it' },
    requestState: first.requestState,
    inputResponses: { 'input-1': { action: 'accept', content: { value: 'one' } } }
  })).body.result
  t.match(
    second,
    { resultType: 'input_required', inputRequests: { 'input-2': { params: { message: 'Second of it?' } } } }
  )
  t.same(Object.keys(second.inputRequests), ['input-2'], 'an answered question is not asked again')
  const third = (await call('ask_twice', {
    arguments: { topic: 'it' },
    requestState: second.requestState,
    inputResponses: { 'input-2': { action: 'accept', content: { value: 'two' } } }
  })).body.result
  t.match(third, { resultType: 'complete', content: [{ text: 'one, two' }] })
})

t.test('questions asked at once are answered in one round, or in as many as needed', async (t) => {
  const { call } = setUp(t)
  const name = { 'input-1': { action: 'accept', content: { name: 'Ada' } } }
  const roots = { 'input-2': { roots: [{ uri: 'file:///a' }] } }
  const asked = (await call('both')).body.result
  t.match(asked.inputRequests, { 'input-1': { method: 'elicitation/create' }, 'input-2': { method: 'roots/list' } })
  t.match(
    (await call('both', { requestState: asked.requestState, inputResponses: { ...name, ...roots } })).body.result,
    { content: [{ text: 'Ada at file:///a' }] }
  )

  const { requestState } = (await call('both')).body.result
  const half = (await call('both', { requestState, inputResponses: roots })).body.result
  t.same(Object.keys(half.inputRequests), ['input-1'])
  t.match(
    (await call('both', { requestState: half.requestState, inputResponses: name })).body.result,
    { content: [{ text: 'Ada at file:///a' }] }
  )

  const early = (await call('ask_twice', { arguments: { topic: 'it' } })).body.result
  const { inputRequests } = (await call('ask_twice', {
    arguments: { topic: 'it' },
    requestState: early.requestState,
    inputResponses: { 'input-1': ACCEPT, 'input-2': { action: 'accept', content: { value: 'never asked' } } }
  })).body.result
  t.same(Object.keys(inputRequests ?? {}), [], 'an invalid answer to the first question ends the call')
})

t.test('answers to questions that were not asked are ignored', async (t) => {
  const { call } = setUp(t)
  t.match(
    (await call('ask_roots', { inputResponses: { 'input-1': { roots: [{ uri: 'file:///x' }] } } })).body.result,
    { resultType: 'input_required' },
    'without a state'
  )
  const { requestState } = (await call('both')).body.result
  const given = { 'input-3': { roots: [] }, constructor: { roots: [] } }
  t.same(
    Object.keys((await call('both', { requestState, inputResponses: given })).body.result.inputRequests),
    ['input-1', 'input-2']
  )
})

t.test('elicitation by URL, sampling and roots', async (t) => {
  const { call } = setUp(t)
  const cases = [
    [
      'ask_page',
      { method: 'elicitation/create', params: { mode: 'url', url: 'https://forms.example.com/1' } },
      { action: 'accept' },
      'accept'
    ],
    [
      'ask_model',
      { method: 'sampling/createMessage' },
      { role: 'assistant', model: 'm', content: { type: 'text', text: 'a poem' } },
      /a poem/
    ],
    ['ask_roots', { method: 'roots/list' }, { roots: [{ uri: 'file:///a' }] }, 'file:///a'],
    ['swallows', { method: 'roots/list' }, { roots: [] }, 'has roots']
  ] as const
  for (const [name, wanted, given, text] of cases) {
    const params = { arguments: name === 'ask_model' ? { prompt: 'x' } : {} }
    const { result } = (await call(name, params)).body
    t.match(result.inputRequests['input-1'], wanted)
    t.equal(result.inputRequests['input-1'].params?.elicitationId, undefined)
    const inputResponses = { 'input-1': given }
    const answered = await call(name, { ...params, requestState: result.requestState, inputResponses })
    t.match(answered.body.result, { content: [{ text }] }, name)
  }
})

t.test('invalid answers of a client are errors of the tool', async (t) => {
  const { call } = setUp(t)
  const answers = [{}, { action: 'perhaps' }, { action: 'accept', content: 7 }, { role: 'assistant' }, { roots: 7 }]
  for (const name of ['ask_form', 'ask_page', 'ask_model', 'ask_roots']) {
    for (const given of answers) {
      const params = { arguments: name === 'ask_model' ? { prompt: 'x' } : {} }
      const { requestState } = (await call(name, params)).body.result
      const { body } = await call(name, { ...params, requestState, inputResponses: { 'input-1': given } })
      if (name === 'ask_page' && 'content' in given) continue
      t.notMatch(JSON.stringify(body), /reference/, `${name} ${JSON.stringify(given)}`)
      t.ok(body.result?.isError === true || body.error !== undefined || body.result.resultType === 'input_required')
    }
  }
})

t.test('a request state is accepted once, in time, and for the same call of the same caller', async (t) => {
  const cluster = setUp(t, {
    tool: { timeoutSeconds: 60, inputTimeoutSeconds: 1, maxResultBytes: 10_485_760 }
  })
  const ada = asPrincipal('ada')
  const args = { from: 'a', to: 'b', list: [1, 2] }
  const state = async () => {
    const { body } = await cluster.call('transfer', { arguments: args }, { principal: ada })
    return body.result.requestState as string
  }
  type RetryOptions = { name?: string, arguments?: object, principal?: Principal }
  const retry = async (requestState: string, options: RetryOptions = {}) => {
    const { name = 'transfer', arguments: given = args, principal = ada } = options
    const params = { arguments: given, requestState, inputResponses: { 'input-1': ACCEPT } }
    return await cluster.call(name, params, { principal })
  }

  runs = 0
  const good = await state()
  t.match(
    (await retry(good, { arguments: { list: [1, 2], to: 'b', from: 'a' } })).body.result,
    { content: [{ text: 'accept' }] },
    'members may be in another order'
  )
  t.equal(runs, 1)

  const fresh = await state()
  const middle = Math.floor(fresh.length / 2)
  const refused: Array<[string, () => ReturnType<typeof retry>]> = [
    ['used before', async () => await retry(good)],
    [
      'one bit differs',
      async () => await retry(fresh.slice(0, middle) + (fresh[middle] === 'A' ? 'B' : 'A') + fresh.slice(middle + 1))
    ],
    ['truncated', async () => await retry(fresh.slice(0, -1))],
    ['half of it', async () => await retry(fresh.slice(0, middle))],
    ['none of this server', async () => await retry('x')],
    ['empty', async () => await retry('')],
    ['another tool', async () => await retry(fresh, { name: 'both', arguments: args })],
    ['other arguments', async () => await retry(fresh, { arguments: { ...args, to: 'eve' } })],
    ['arguments in another order', async () => await retry(fresh, { arguments: { ...args, list: [2, 1] } })],
    ['no arguments', async () => await retry(fresh, { arguments: {} })],
    ['another person', async () => await retry(fresh, { principal: asPrincipal('bob') })],
    [
      'another client of the same person',
      async () => await retry(fresh, { principal: asPrincipal('ada', { client: 'client-2' }) })
    ],
    ['nobody', async () => await cluster.call(
      'transfer',
      { arguments: args, requestState: fresh, inputResponses: { 'input-1': ACCEPT } }
    )]
  ]
  for (const [name, attempt] of refused) {
    const { body } = await attempt()
    t.match(body.error, { code: -32602, message: 'Invalid or expired requestState' }, name)
  }
  t.equal(runs, 1, 'and the tool did not run')
  t.match((await retry(fresh)).body.result, { content: [{ text: 'accept' }] }, 'a refused request did not use it up')
  t.equal(runs, 2)

  const twice = await state()
  const both = await Promise.all([retry(twice), retry(twice)])
  t.equal(
    both.filter(({ body }) => body.error?.code === -32602).length,
    1,
    'once, also at the same moment on two replicas'
  )
  t.equal(runs, 3)
})

t.test('a request state expires', async (t) => {
  let now = 1_800_000_000_000
  const states = createRequestStates(createKeyring(undefined, undefined), testStore(t), 600, '', () => now)
  const binding = { principalKey: 'ada', method: 'tools/call', name: 'x', arguments: undefined }
  const sealed = states.seal(binding, { answers: {}, asked: [] })
  now += 599_999
  t.same(await states.open(sealed, binding), { answers: {}, asked: [] })
  const late = states.seal(binding, { answers: {}, asked: [] })
  now += 600_000
  await t.rejects(states.open(late, binding), { name: 'RequestStateError', message: 'expired' })
})

t.test('a request state is answered with 503 during an outage of the store', async (t) => {
  const { call, store } = setUp(t)
  const { requestState } = (await call('transfer')).body.result
  runs = 0
  store.isDown = true
  await t.rejects(call('transfer', { requestState, inputResponses: { 'input-1': ACCEPT } }), StoreUnavailableError)
  t.equal(runs, 0)
  store.isDown = false
  t.match(
    (await call('transfer', { requestState, inputResponses: { 'input-1': ACCEPT } })).body.result,
    { content: [{ text: 'accept' }] }
  )
  store.setIfAbsent = async () => { throw new TypeError('a bug') }
  const again = (await call('transfer')).body.result
  t.equal((await call('transfer', { requestState: again.requestState })).body.error.code, -32603)
})

t.test('a subscription gets the changes of every replica', async (t) => {
  const { engines } = setUp(t)
  const subscriptions = await Promise.all([0, 1].map(async (at) => {
    const { headers, events } = await send(
      engines[at]!,
      ...modern('subscriptions/listen', { notifications: { toolsListChanged: true } }, { id: `sub-${at}` })
    )
    t.equal(headers['content-type'], 'text/event-stream')
    t.match(await events.message(), {
      method: 'notifications/subscriptions/acknowledged',
      params: { _meta: { 'io.modelcontextprotocol/subscriptionId': `sub-${at}` } }
    })
    return events
  }))
  const deaf = await send(engines[0]!, ...modern('subscriptions/listen', { notifications: {} }, { id: 'deaf' }))
  await deaf.events.message()
  const session = await startSession({ engines } as Engines)
  await session.post(call('change_tools'))
  for (const [at, events] of subscriptions.entries()) {
    t.match(await events.message(), {
      method: 'notifications/tools/list_changed',
      params: { _meta: { 'io.modelcontextprotocol/subscriptionId': `sub-${at}` } }
    })
  }
  await subscriptions[1]!.cut()
  await session.post(call('change_tools'))
  t.match(await subscriptions[0]!.message(), { method: 'notifications/tools/list_changed' })
  for (const engine of engines) await engine.close(10_000)
  t.match(
    await subscriptions[0]!.rest(),
    [{ id: 'sub-0', result: { resultType: 'complete' } }],
    'closing ends it with its result'
  )
  t.match(await deaf.events.rest(), [{ id: 'deaf' }], 'a client that asked for nothing gets nothing')
})

t.test('a subscription needs Accept: text/event-stream', async (t) => {
  const { engines } = setUp(t)
  const [body, options] = modern('subscriptions/listen', { notifications: {} })
  t.match(
    await send(engines[0]!, body, { ...options, acceptsStream: false }),
    { status: 406, body: { error: { code: -32000 } } }
  )
})

t.test('a change during an outage of the store reaches subscriptions when the store is back', async (t) => {
  const { engines, store, call } = setUp(t, { count: 1 })
  const { events } = await send(
    engines[0]!,
    ...modern('subscriptions/listen', { notifications: { toolsListChanged: true } })
  )
  await events.message()
  store.isDown = true
  await call('change_tools')
  store.isDown = false
  store.notifyGap()
  t.match(await events.message(), { method: 'notifications/tools/list_changed' })
})

t.test('a call is streamed when its tool sends messages', async (t) => {
  const { call } = setUp(t)
  const args = {
    arguments: { steps: 2, pauseMs: 0 },
    _meta: { progressToken: 'p', 'io.modelcontextprotocol/logLevel': 'info' }
  }
  const { headers, events } = await call('count', args)
  t.equal(headers['content-type'], 'text/event-stream')
  const messages = await events.rest()
  t.same(
    messages.map(({ method }) => method),
    ['notifications/progress', 'notifications/message', 'notifications/progress', 'notifications/message', undefined]
  )
  t.match(messages.at(-1), { id: 1, result: { resultType: 'complete', content: [{ text: 'Counted to 2' }] } })
  t.same(events.ids, [], 'which cannot be resumed')

  const plain = await call('count', args, { acceptsStream: false })
  t.match(plain, {
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: { id: 1, result: { content: [{ text: 'Counted to 2' }] } }
  }, 'a client that accepts no stream gets the response alone')
})

t.test('closing the response stream cancels the call', async (t) => {
  const { tool, started } = gate()
  const { call } = setUp(t, { definitions: [tool] })
  const { events } = await call('gate', { arguments: { progress: true }, _meta: { progressToken: 1 } })
  const { signal } = await started
  await events.message()
  await events.cut()
  t.ok(signal.aborted)
})

t.test('a client that does not read its stream is cut off, and its call is cancelled', async (t) => {
  const { call, lines } = setUp(t, { internals: { eventStreams: { keepAliveMs: 5, maxUnreadMs: 20 } } })
  const { answer } = await call(
    'flood',
    { arguments: { messages: 100_000, bytes: 1_000 }, _meta: { 'io.modelcontextprotocol/logLevel': 'info' } }
  )
  await new Promise((resolve) => { answer.stream!.onEnd(() => { resolve(undefined) }) })
  await settle()
  t.ok(lines.some(({ reason }) => reason === 'nothing was read for 20 ms'))
})

t.test('2026-07-28 has no sessions, and no GET or DELETE', async (t) => {
  const { engines } = setUp(t)
  const session = await startSession({ engines } as Engines)
  for (const method of ['GET', 'DELETE'] as const) {
    t.match(await send(
      engines[0]!,
      undefined,
      { method, headers: { ...session.headers, 'mcp-protocol-version': '2026-07-28' } }
    ), { status: 405, headers: { allow: 'POST' } })
  }
  const [body, { headers }] = modern('tools/call', { name: 'echo', arguments: { text: 'x' } })
  for (const id of ['from-somewhere-else', session.id]) {
    const answer = await send(
      engines[0]!,
      body,
      { headers: { ...headers, 'mcp-session-id': id, 'last-event-id': 's.0.1' } }
    )
    t.equal(answer.status, 200)
    t.notMatch(JSON.stringify(answer.headers), /session/i)
  }
  t.equal((await session.post(request('ping'))).status, 200)
})

t.test('questions with a key are answered by it, in whatever order they are asked', async (t) => {
  const named = defineTool({
    name: 'named',
    description: 'asks four things by name',
    input: Type.Object({}),
    async handler (_input, { elicit, elicitUrl, sample, listRoots }) {
      const answers = await Promise.all([
        elicit('Name?', Type.Object({ name: Type.String() }), { key: 'who' }),
        elicitUrl('Sign', 'https://forms.example.com/1', { key: 'signature' }),
        sample({ messages: [], maxTokens: 1 }, { key: 'poem' }),
        listRoots({ key: 'folders' })
      ])
      return JSON.stringify(answers)
    }
  })
  const cluster = startEngines(t, { definitions: [named], count: 1 })
  const [body, options] = modern('tools/call', { name: 'named', arguments: {} })
  const { result } = (await send(cluster.engines[0]!, body, options)).body
  t.same(Object.keys(result.inputRequests), ['who', 'signature', 'poem', 'folders'])
  const [again, more] = modern('tools/call', {
    name: 'named',
    arguments: {},
    requestState: result.requestState,
    inputResponses: {
      folders: { roots: [{ uri: 'file:///a' }] },
      poem: { role: 'assistant', model: 'm', content: { type: 'text', text: 'roses' } },
      signature: { action: 'accept' },
      who: { action: 'accept', content: { name: 'Ada' } }
    }
  })
  t.match(
    (await send(cluster.engines[0]!, again, more)).body.result.content[0].text,
    /Ada.*accept.*roses.*file:\/\/\/a/
  )
})
