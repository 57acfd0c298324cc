import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Session } from '../../../src/mcp/sessions/session.ts'
import { CallStream } from '../../../src/mcp/streams/call-stream.ts'
import { gate, stepper as createStepper } from '../../support/gate.ts'
import { interactiveTools } from '../../support/interactive-tools.ts'
import { ABLE, call, request, settle, startEngines, startSession } from '../../support/mcp.ts'

/** Answers to the POSTs of a session; resumed-stream.test.ts tests how they are resumed. */

const VERSIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']

t.test('a quick response is JSON', async (t) => {
  const cluster = startEngines(t)
  for (const version of VERSIONS) {
    const { post } = await startSession(cluster, { version })
    const { status, headers, body, answer } = await post(call('echo', { text: 'hello' }))
    t.match({ status, headers, body }, {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: { id: 1, result: { content: [{ text: 'undefined: hello' }] } }
    })
    t.equal(answer.stream, undefined)
  }
  t.notOk(cluster.store.calls.some(([, key]) => /^(stream|events):/.test(String(key))), 'nothing is stored')
})

t.test('a response that JSON cannot hold is answered with an error, alone and in a batch', async (t) => {
  const failures: unknown[] = []
  const cluster = { replicas: { self: 'A' }, onBackgroundError: (err: unknown) => { failures.push(err) } }
  const runInBackground = async (work: Promise<void>): Promise<void> => { await work }
  for (const isBatch of [false, true]) {
    const stream = new CallStream(
      { session: { digest: 'd' } as Session, requests: [1, 'two'].slice(0, isBatch ? 2 : 1), isBatch, acceptsStream: false },
      { cluster: { ...cluster, runInBackground } as never, eventStreams: {} as never, ttlSeconds: 1 }
    )
    stream.respond({ jsonrpc: '2.0', id: 1, result: { n: 1n } })
    stream.respond({ jsonrpc: '2.0', id: 'two', result: { n: 2 } })
    const failed = { jsonrpc: '2.0', id: 1, error: { code: -32603, message: /no JSON form/ } }
    const { status, body } = await stream.answer
    t.equal(status, 200)
    t.match(JSON.parse(body as string), isBatch ? [failed, { id: 'two', result: { n: 2 } }] : failed)
  }
  t.match(failures, [{ name: 'TypeError' }, { name: 'TypeError' }])
})

t.test('progress waits for a store that is slower than the tool, and nothing is lost', async (t) => {
  const cluster = startEngines(t)
  const { store } = cluster
  const append = store.append.bind(store)
  store.append = async (...args) => {
    await pause(5)
    return await append(...args)
  }
  const { post } = await startSession(cluster)
  const { events } = await post(call('count', { steps: 100, pauseMs: 0 }, { _meta: { progressToken: 'p' } }))
  const messages = await events.rest()
  t.equal(messages.filter(({ method }) => method === 'notifications/progress').length, 100)
  t.match(messages.at(-1), { result: {} })
})

t.test('a call that sends messages is streamed, and its response is the last event', async (t) => {
  const cluster = startEngines(t)
  for (const version of VERSIONS) {
    const { post } = await startSession(cluster, { version })
    const {
      status,
      headers,
      events
    } = await post(call('count', { steps: 2, pauseMs: 0 }, { _meta: { progressToken: 'p' } }))
    t.match(
      { status, headers },
      { status: 200, headers: { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' } }
    )
    const first = await events.next()
    if (version === '2025-11-25') {
      t.match(
        first,
        { id: /^[\w-]{12}\.[\w-]{12}\.0$/, data: '', retry: '1000' },
        'first an event without data, whose id a client can resume from'
      )
    } else t.same(first, { comment: 'open' }, `${version} has no events without data`)
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

t.test('progress is sent only to a client that asked for it, with or without total and message', async (t) => {
  const { tool, open } = gate()
  open('done')
  const cluster = startEngines(t, { definitions: [tool] })
  const { post } = await startSession(cluster)
  t.match(
    await (await post(call('gate', { progress: true }, { _meta: { progressToken: 0 } }))).events.rest(),
    [{ params: { progressToken: 0, progress: 1 } }, { result: {} }]
  )
  t.equal((await post(call('gate', { progress: true }))).body.result.content[0].text, 'done')
})

t.test('a slow response is streamed', async (t) => {
  const { tool, open } = gate()
  const cluster = startEngines(t, { definitions: [tool], internals: { streamAfterMs: 5 } })
  const { post } = await startSession(cluster)
  const { headers, events } = await post(call('gate'))
  t.equal(headers['content-type'], 'text/event-stream')
  t.match(await events.next(), { data: '' })
  open('done')
  t.match(await events.rest(), [{ id: 1, result: { content: [{ text: 'done' }] } }])
})

t.test('a batch is answered on one stream as soon as one of its requests is streamed', async (t) => {
  const cluster = startEngines(t)
  const { post } = await startSession(cluster, { version: '2025-03-26' })
  const { events } = await post([call('count', { steps: 1, pauseMs: 0 }), request('ping', {}, 2)])
  const messages = await events.rest()
  t.same(messages.flatMap(({ id }) => id ?? []).sort(), [1, 2])
  t.equal(messages.filter(({ method }) => method === 'notifications/message').length, 1)
})

t.test('a client that accepts no stream gets JSON, and cannot be asked for input', async (t) => {
  const cluster = startEngines(t, { internals: { streamAfterMs: 1 } })
  const { post } = await startSession(cluster, { capabilities: ABLE })
  const {
    headers,
    body
  } = await post(call('count', { steps: 2, pauseMs: 5 }, { _meta: { progressToken: 1 } }), { acceptsStream: false })
  t.equal(headers['content-type'], 'application/json')
  t.equal(body.result.content[0].text, 'Counted to 2')
  const asked = await post(call('ask_roots'), { acceptsStream: false })
  t.match(asked.body.result, {
    isError: true,
    content: [
      { text: 'This client cannot be asked for roots/list: it does not accept streams (text/event-stream in Accept)' }
    ]
  })
})

t.test('a stream that opens during an outage of the store has no event ids', async (t) => {
  const { tool, started, open } = gate()
  const cluster = startEngines(t, { definitions: [tool, ...interactiveTools], internals: { streamAfterMs: 20 } })
  const { post } = await startSession(cluster)
  const answering = post(call('gate'))
  await started
  cluster.store.isDown = true
  const { events } = await answering
  t.same(await events.next(), { comment: 'open' })
  open('done')
  t.match(await events.rest(), [{ result: { content: [{ text: 'done' }] } }])
  t.same(events.ids, [])
})

t.test('an outage of the store does not end a running stream', async (t) => {
  const stepper = createStepper()
  const cluster = startEngines(t, { definitions: [stepper.tool] })
  const { post } = await startSession(cluster)
  const { events } = await post(call('stepper'))
  t.match(await events.message(), { params: { data: 1 } })
  await settle()
  cluster.store.isDown = true
  await stepper.step()
  t.match(await events.message(), { params: { data: 2 } })
  await settle()
  await stepper.step()
  const event = await events.next()
  t.match(JSON.parse(event!.data!), { params: { data: 3 } })
  t.equal(event!.id, undefined, 'an event that could not be stored has no id')
  cluster.store.isDown = false
  await stepper.finish()
  t.match(await events.rest(), [{ id: 1, result: { content: [{ text: 'finished' }] } }])
  t.notOk(cluster.lines.some(({ err }) => err !== undefined))
})

t.test('another failure to store events is logged, and does not end the stream', async (t) => {
  const stepper = createStepper()
  const cluster = startEngines(t, { definitions: [stepper.tool] })
  const { post } = await startSession(cluster)
  const { events } = await post(call('stepper'))
  await events.message()
  cluster.store.append = async () => { throw new TypeError('a bug') }
  await stepper.step()
  t.match(await events.message(), { params: { data: 2 } })
  await stepper.finish()
  t.match(await events.rest(), [{ id: 1 }])
  await settle()
  t.match(cluster.lines, [{ err: { message: 'a bug' }, message: 'Work in the background failed' }])
})

t.test('a client that does not read is cut off, and its call continues', async (t) => {
  const cluster = startEngines(t, { internals: { eventStreams: { keepAliveMs: 5, maxUnreadMs: 20 } } })
  const { post } = await startSession(cluster)
  const { answer } = await post(call('flood', { messages: 500, bytes: 1_000 }))
  await new Promise((resolve) => { answer.stream!.onEnd(() => { resolve(undefined) }) })
  t.match(cluster.lines, [{ reason: 'nothing was read for 20 ms' }])
  while ((await post(request('ping', {}, 1))).status !== 200) await pause(5)
  t.pass('its call has ended')
})
