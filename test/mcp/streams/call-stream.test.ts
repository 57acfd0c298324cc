import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { gate, stepper as createStepper } from '../../support/gate.ts'
import { interactiveTools } from '../../support/interactive-tools.ts'
import { ABLE, call, request, settle, startEngines, startSession } from '../../support/mcp.ts'

/** How a POST of a session is answered; how it is read on: stream-reader.test.ts. */

const VERSIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']

t.test('a quick plain answer is JSON', async (t) => {
  const house = startEngines(t)
  for (const version of VERSIONS) {
    const { post } = await startSession(house, { version })
    const { status, headers, body, answer } = await post(call('echo', { text: 'hello' }))
    t.match({ status, headers, body }, { status: 200, headers: { 'content-type': 'application/json' }, body: { id: 1, result: { content: [{ text: 'undefined: hello' }] } } })
    t.equal(answer.stream, undefined)
  }
  t.notOk(house.store.calls.some(([, key]) => /^(stream|events):/.test(String(key))), 'nothing of it is kept')
})

t.test('a tool that tells something is streamed, its response the last', async (t) => {
  const house = startEngines(t)
  for (const version of VERSIONS) {
    const { post } = await startSession(house, { version })
    const { status, headers, events } = await post(call('count', { steps: 2, pauseMs: 0 }, { _meta: { progressToken: 'p' } }))
    t.match({ status, headers }, { status: 200, headers: { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' } })
    const first = await events.next()
    if (version === '2025-11-25') t.match(first, { id: /^[\w-]{12}\.[\w-]{12}\.0$/, data: '', retry: '1000' }, 'first an event without data, whose id a client can come back with')
    else t.same(first, { comment: 'open' }, `${version} has no events without data`)
    t.match(await events.rest(), [
      { method: 'notifications/progress', params: { progressToken: 'p', progress: 1, total: 2, message: 'step 1' } },
      { method: 'notifications/message', params: { level: 'info', data: { step: 1 } } },
      { method: 'notifications/progress', params: { progress: 2 } },
      { method: 'notifications/message', params: { data: { step: 2 } } },
      { id: 1, result: { content: [{ text: 'Counted to 2' }] } }
    ])
    const prefix = events.lastEventId!.slice(0, -1)
    t.same(events.ids, [...version === '2025-11-25' ? [0] : [], 1, 2, 3, 4, 5].map((number) => `${prefix}${number}`))
  }
})

t.test('progress without total or message, and only for who asked for it', async (t) => {
  const { tool, open } = gate()
  open('done')
  const house = startEngines(t, { definitions: [tool] })
  const { post } = await startSession(house)
  t.match(await (await post(call('gate', { progress: true }, { _meta: { progressToken: 0 } }))).events.rest(), [{ params: { progressToken: 0, progress: 1 } }, { result: {} }])
  t.equal((await post(call('gate', { progress: true }))).body.result.content[0].text, 'done')
})

t.test('an answer that takes longer is streamed too', async (t) => {
  const { tool, open } = gate()
  const house = startEngines(t, { definitions: [tool], internals: { streamAfterMs: 5 } })
  const { post } = await startSession(house)
  const { headers, events } = await post(call('gate'))
  t.equal(headers['content-type'], 'text/event-stream')
  t.match(await events.next(), { data: '' })
  open('done')
  t.match(await events.rest(), [{ id: 1, result: { content: [{ text: 'done' }] } }])
})

t.test('a batch is answered on one stream as soon as one of it streams', async (t) => {
  const house = startEngines(t)
  const { post } = await startSession(house, { version: '2025-03-26' })
  const { events } = await post([call('count', { steps: 1, pauseMs: 0 }), request('ping', {}, 2)])
  const messages = await events.rest()
  t.same(messages.flatMap(({ id }) => id ?? []).sort(), [1, 2])
  t.equal(messages.filter(({ method }) => method === 'notifications/message').length, 1)
})

t.test('a client that takes no stream gets JSON, and cannot be asked', async (t) => {
  const house = startEngines(t, { internals: { streamAfterMs: 1 } })
  const { post } = await startSession(house, { capabilities: ABLE })
  const { headers, body } = await post(call('count', { steps: 2, pauseMs: 5 }, { _meta: { progressToken: 1 } }), { acceptsStream: false })
  t.equal(headers['content-type'], 'application/json')
  t.equal(body.result.content[0].text, 'Counted to 2')
  const asked = await post(call('ask_roots'), { acceptsStream: false })
  t.match(asked.body.result, { isError: true, content: [{ text: 'This client cannot be asked for roots/list: it takes no stream (text/event-stream in Accept)' }] })
})

t.test('without the store a stream goes on, without ids', async (t) => {
  const { tool, started, open } = gate()
  const house = startEngines(t, { definitions: [tool, ...interactiveTools], internals: { streamAfterMs: 20 } })
  const { post } = await startSession(house)
  const answering = post(call('gate'))
  await started
  house.store.away = true
  const { events } = await answering
  t.same(await events.next(), { comment: 'open' })
  open('done')
  t.match(await events.rest(), [{ result: { content: [{ text: 'done' }] } }])
  t.same(events.ids, [])
})

t.test('a store that goes away in between ends no stream', async (t) => {
  const stepper = createStepper()
  const house = startEngines(t, { definitions: [stepper.tool] })
  const { post } = await startSession(house)
  const { events } = await post(call('stepper'))
  t.match(await events.message(), { params: { data: 1 } })
  await settle()
  house.store.away = true
  await stepper.step()
  t.match(await events.message(), { params: { data: 2 } })
  await settle()
  await stepper.step()
  const event = await events.next()
  t.match(JSON.parse(event!.data!), { params: { data: 3 } })
  t.equal(event!.id, undefined, 'what cannot be kept has no id')
  house.store.away = false
  await stepper.finish()
  t.match(await events.rest(), [{ id: 1, result: { content: [{ text: 'finished' }] } }])
  t.notOk(house.lines.some(({ err }) => err !== undefined))
})

t.test('what fails without the store being away is in the log, and ends nothing', async (t) => {
  const stepper = createStepper()
  const house = startEngines(t, { definitions: [stepper.tool] })
  const { post } = await startSession(house)
  const { events } = await post(call('stepper'))
  await events.message()
  house.store.append = async () => { throw new TypeError('a bug') }
  await stepper.step()
  t.match(await events.message(), { params: { data: 2 } })
  await stepper.finish()
  t.match(await events.rest(), [{ id: 1 }])
  await settle()
  t.match(house.lines, [{ err: { message: 'a bug' }, message: 'Work in the background failed' }])
})

t.test('a client that does not read is cut, and its call goes on', async (t) => {
  const house = startEngines(t, { internals: { eventStreams: { maxUnreadBytes: 100_000 } } })
  const { post } = await startSession(house)
  const { answer } = await post(call('flood', { messages: 500, bytes: 1_000 }))
  await new Promise((resolve) => { answer.stream!.onEnd(() => { resolve(undefined) }) })
  t.match(house.lines, [{ reason: 'more than 100000 bytes are unread' }])
  while ((await post(request('ping', {}, 1))).status !== 200) await pause(5)
  t.pass('its call has ended')
})
