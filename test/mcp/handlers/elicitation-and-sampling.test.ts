import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../../src/define/tool.ts'
import { ERAS, startEngine } from '../../support/engine-fixture.ts'
import { interactiveTools } from '../../support/interactive-tools.ts'
import { ABLE, asPrincipal, call, modern, send, settle, startEngines, startSession } from '../../support/mcp.ts'
import type { EnginesOptions, Events, SessionClient } from '../../support/mcp.ts'

/** Tools ask their clients in the 2025 revisions: on the stream of the call, answered by a POST to any replica. */

const both = defineTool({
  name: 'ask_both',
  description: 'Asks two things at once',
  input: Type.Object({}),
  async handler (_input, { elicit, listRoots }) {
    const [form, roots] = await Promise.all([elicit('Name?', Type.Object({ name: Type.String() })), listRoots()])
    return form.action === 'accept' ? `${form.content.name} at ${roots[0]!.uri}` : form.action
  }
})

const hasty = defineTool({
  name: 'hasty',
  description: 'Has half a second for itself, and asks meanwhile',
  input: Type.Object({ afterMs: Type.Integer() }),
  timeoutSeconds: 0.5,
  async handler ({ afterMs }, { listRoots, signal }) {
    const roots = await listRoots()
    await new Promise((resolve, reject) => {
      setTimeout(resolve, afterMs).unref()
      signal.addEventListener('abort', () => { reject(new Error('stopped')) })
    })
    return `${roots.length} roots`
  }
})

async function callTool (t: Test, tool: string, {
  args = {},
  capabilities = ABLE,
  ...options
}: EnginesOptions & { args?: object, capabilities?: object } = {}) {
  const cluster = startEngines(t, { definitions: [...interactiveTools, both, hasty], ...options })
  const session = await startSession(cluster, { capabilities, principal: asPrincipal('ada') })
  const sent = await session.post(call(tool, args))
  return {
    cluster,
    session,
    sent,
    events: sent.answer.stream === undefined ? undefined as unknown as Events : sent.events
  }
}

const answer = (id: string, result: object) => ({ jsonrpc: '2.0', id, result })
const outcome = async (events: Events): Promise<string> => {
  const { result } = await events.message()
  return `${result.isError === true ? 'error: ' : ''}${result.content[0].text}`
}

for (const at of [0, 1]) {
  t.test(`every question can be answered at ${at === 0 ? 'the same' : 'the other'} replica`, async (t) => {
    const cases = [
      ['ask_form', {
        method: 'elicitation/create',
        params: { message: 'Who are you?', requestedSchema: { type: 'object', required: ['name', 'age'] } }
      }, { action: 'accept', content: { name: 'Ada', age: 36 } }, 'Ada is 36'],
      ['ask_form', {}, { action: 'decline' }, 'The person chose decline'],
      ['ask_page', {
        method: 'elicitation/create',
        params: { mode: 'url', url: 'https://forms.example.com/1', elicitationId: /^[\w-]{32}$/ }
      }, { action: 'accept' }, 'accept'],
      ['ask_page', {}, { action: 'cancel' }, 'cancel'],
      ['ask_model', {
        method: 'sampling/createMessage',
        params: { maxTokens: 10 }
      }, { role: 'assistant', model: 'm', content: { type: 'text', text: 'a poem' } }, /a poem/],
      [
        'ask_roots',
        { method: 'roots/list' },
        { roots: [{ uri: 'file:///a' }, { uri: 'file:///b' }] },
        'file:///a file:///b'
      ]
    ] as const
    for (const [tool, wanted, given, expected] of cases) {
      const { session, events } = await callTool(t, tool, { args: { prompt: 'a poem' } })
      const question = await events.message()
      t.match(question, wanted)
      t.match(question.id, /^[\w-]{12}\.[\w-]{12}$/)
      t.match(await session.post(answer(question.id, given), { at }), { status: 202, answer: { body: null } })
      t.match(await outcome(events), expected, tool)
    }
  })
}

t.test('a tool may ask twice, one after the other or at once', async (t) => {
  const { session, events } = await callTool(t, 'ask_twice', { args: { topic: 'it' } })
  for (const [at, value] of [[1, 'one'], [0, 'two']] as const) {
    await session.post(answer((await events.message()).id, { action: 'accept', content: { value } }), { at })
  }
  t.equal(await outcome(events), 'one, two')

  const together = await callTool(t, 'ask_both')
  const [form, roots] = [await together.events.message(), await together.events.message()]
  await together.session.post(answer(roots.id, { roots: [{ uri: 'file:///a' }] }), { at: 1 })
  await together.session.post(answer(form.id, { action: 'accept', content: { name: 'Ada' } }), { at: 0 })
  t.equal(await outcome(together.events), 'Ada at file:///a')
})

t.test('a question is still answered after its stream was cut', async (t) => {
  const { session, events } = await callTool(t, 'ask_roots')
  const { id } = await events.message()
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await session.post(answer(id, { roots: [{ uri: 'file:///a' }] }), { at: 1 })
  t.equal(await outcome(resumed), 'file:///a')
})

t.test('only the client that was asked can answer, and only its first answer counts', async (t) => {
  for (const at of [0, 1]) {
    const { cluster, session, events } = await callTool(t, 'ask_roots')
    const { id } = await events.message()
    const others: SessionClient[] = [
      await startSession(cluster, { principal: asPrincipal('ada') }),
      await startSession(cluster, { principal: asPrincipal('bob') })
    ]
    for (const other of others) {
      t.equal(
        (await other.post(answer(id, { roots: [{ uri: 'file:///foreign' }] }), { at })).status,
        202
      )
    }
    for (const none of [
      'x',
      id.slice(1),
      `${id}x`,
      `${'A'.repeat(12)}.${'A'.repeat(12)}`,
      `${id.slice(0, 13)}${'A'.repeat(12)}`
    ]) {
      t.equal((await session.post(answer(none, { roots: [] }), { at })).status, 202)
    }
    await settle()
    t.equal((await Promise.all([
      session.post(answer(id, { roots: [{ uri: 'file:///first' }] }), { at }),
      session.post(answer(id, { roots: [{ uri: 'file:///second' }] }), { at })
    ])).length, 2)
    t.equal(await outcome(events), 'file:///first')
    t.equal(
      (await session.post(answer(id, { roots: [{ uri: 'file:///late' }] }), { at })).status,
      202,
      'one that comes late goes nowhere'
    )
    t.same(await events.rest(), [])
  }
})

t.test('an answer whose notification is lost is found by polling, or after the gap', async (t) => {
  for (const byGap of [false, true]) {
    const {
      cluster,
      session,
      events
    } = await callTool(t, 'ask_roots', { internals: byGap ? {} : { clientRequestPollMs: 5 } })
    const { id } = await events.message()
    cluster.store.isLost = () => true
    await session.post(answer(id, { roots: [{ uri: 'file:///a' }] }), { at: 1 })
    if (byGap) cluster.store.notifyGap()
    t.equal(await outcome(events), 'file:///a')
  }
})

t.test('an answer that the store cannot keep is rejected, and can be sent again', async (t) => {
  const { cluster, session, events } = await callTool(t, 'ask_roots')
  const { id } = await events.message()
  const { setIfAbsent } = cluster.store
  cluster.store.setIfAbsent = async (...args) => {
    cluster.store.isDown = true
    try {
      return await setIfAbsent(...args)
    } finally {
      cluster.store.isDown = false
    }
  }
  await t.rejects(session.post(answer(id, { roots: [] }), { at: 1 }), { name: 'StoreUnavailableError' })
  cluster.store.setIfAbsent = setIfAbsent
  await session.post(answer(id, { roots: [{ uri: 'file:///a' }] }), { at: 1 })
  t.equal(await outcome(events), 'file:///a')
})

t.test('an answer that does not match the question becomes a ToolError', async (t) => {
  const cases = [
    ['ask_form', { action: 'accept', content: { name: 'Ada', age: 'old' } }, /something other than the form asked for/],
    ['ask_form', { action: 'accept' }, /something other than the form asked for/],
    ['ask_form', { action: 'perhaps' }, /^error: The client answered with something other/],
    ['ask_page', {}, /^error: /],
    ['ask_model', { content: 7 }, /^error: /],
    ['ask_roots', { roots: 'none' }, /^error: /]
  ] as const
  for (const [tool, given, expected] of cases) {
    const { session, events } = await callTool(t, tool, { args: { prompt: 'x' } })
    await session.post(answer((await events.message()).id, given), { at: 1 })
    const text = await outcome(events)
    t.match(text, expected, `${tool} ${JSON.stringify(given)}`)
    t.notMatch(text, /reference/, 'a sentence, not a reference to the log')
  }
  const { session, events } = await callTool(t, 'ask_form')
  await session.post(
    { jsonrpc: '2.0', id: (await events.message()).id, error: { code: -1, message: 'User rejected' } },
    { at: 1 }
  )
  t.match(await outcome(events), /^error: The client answered with an error: .*User rejected/)
})

t.test('a question that is not answered in time is cancelled', async (t) => {
  const tool = { timeoutSeconds: 60, inputTimeoutSeconds: 0.02, maxResultBytes: 10_485_760 }
  const { events, session } = await callTool(t, 'ask_roots', { tool })
  const { id } = await events.message()
  t.match(
    await events.message(),
    { method: 'notifications/cancelled', params: { requestId: id } },
    'the client learns that nobody waits any more'
  )
  t.equal(await outcome(events), 'error: The client did not answer within 0.02 seconds')
  t.equal((await session.post(answer(id, { roots: [] }))).status, 202)
})

t.test('a client is only asked for what it declares', async (t) => {
  const cases = [
    ['ask_form', {}],
    ['ask_form', { elicitation: { url: {} } }],
    ['ask_page', {}],
    ['ask_page', { elicitation: {} }],
    ['ask_page', { elicitation: { form: {} } }],
    ['ask_model', {}],
    ['ask_roots', { sampling: {} }]
  ] as const
  for (const [tool, capabilities] of cases) {
    const { sent } = await callTool(t, tool, { capabilities, args: { prompt: 'x' } })
    t.match(sent.body.result, {
      isError: true,
      content: [{ text: /^This client cannot be asked for \S+: it does not declare the capability$/ }]
    }, `${tool} ${JSON.stringify(capabilities)}`)
  }
  const { events } = await callTool(t, 'ask_form', { capabilities: { elicitation: {} } })
  t.match(await events.message(), { method: 'elicitation/create' }, 'the bare capability means forms')
})

t.test('a tool\'s timeout stands still while it waits for its client', async (t) => {
  const { session, events } = await callTool(t, 'hasty', { args: { afterMs: 1 } })
  const { id } = await events.message()
  await new Promise((resolve) => { setTimeout(resolve, 700) })
  await session.post(answer(id, { roots: [] }))
  t.equal(await outcome(events), '0 roots')

  const long = await callTool(t, 'hasty', { args: { afterMs: 60_000 } })
  await long.session.post(answer((await long.events.message()).id, { roots: [] }))
  t.equal(await outcome(long.events), 'error: hasty did not finish within 0.5 seconds and was cancelled')
  t.match(long.cluster.lines.length, 0)
})

t.test('a call can be cancelled while it waits', async (t) => {
  const { session, events, cluster } = await callTool(t, 'ask_roots')
  const { id } = await events.message()
  await session.post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } }, { at: 1 })
  t.match(await events.rest(), [])
  t.equal((await session.post(answer(id, { roots: [] }), { at: 1 })).status, 202)
  await settle()
  t.notOk(cluster.lines.some(({ err }) => err !== undefined))
})

t.test('DELETE ends a call that waits', async (t) => {
  const { session, events } = await callTool(t, 'ask_roots')
  await events.message()
  await session.end({ at: 1 })
  const rest = await events.rest()
  t.match(rest.at(-1), { id: 1, error: { message: 'The session has ended' } })
})

t.test('shutdown ends a call that waits', async (t) => {
  const { cluster, events } = await callTool(t, 'ask_roots')
  await events.message()
  await cluster.engines[0]!.close(1)
  t.match((await events.rest()).at(-1), { id: 1, error: { message: /shutting down/ } })
})

for (const era of ERAS) {
  t.test(`a service is not asked for what only a person can answer, and its call fails at once, ${era}`, async (t) => {
    const engine = startEngine(t, interactiveTools)
    const principal = asPrincipal('nightly', { client: 'nightly' })
    t.equal(principal.kind, 'service')
    for (const [name, args, method] of [
      ['ask_form', {}, 'elicitation/create'],
      ['ask_page', {}, 'elicitation/create'],
      ['ask_model', { prompt: 'x' }, 'sampling/createMessage']
    ] as const) {
      const { body } = await engine.send(era, 'tools/call', { name, arguments: args }, { principal })
      t.match(body.result, {
        isError: true,
        content: [{ text: `This call comes from a service, and needs a person: ${method} cannot be answered` }]
      }, name)
    }
  })
}

t.test('a service has roots of its own', async (t) => {
  const { engines } = startEngine(t, interactiveTools)
  const [body, { headers }] = modern('tools/call', { name: 'ask_roots', arguments: {} })
  const sent = await send(engines[0]!, body, { headers, principal: asPrincipal('nightly', { client: 'nightly' }) })
  t.match(sent.body.result, { inputRequests: { 'input-1': { method: 'roots/list' } } })
})
