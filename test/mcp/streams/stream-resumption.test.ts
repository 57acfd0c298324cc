import t from 'tap'
import type { Test } from 'tap'
import { keys } from '../../../src/store/keys.ts'
import { digest } from '../../../src/crypto/hash.ts'
import { until } from '../../support/until.ts'
import { gate, stepper as createStepper } from '../../support/gate.ts'
import { asPrincipal, call, request, settle, startEngines, startSession } from '../../support/mcp.ts'
import type { EnginesOptions, Events } from '../../support/mcp.ts'

/** Clients that reconnect with Last-Event-ID. */

const data = (messages: any[]) => messages.map(({
  params,
  result,
  error
}) => params?.data ?? result?.content[0].text ?? error.message)

async function setUp (t: Test, options: EnginesOptions = {}) {
  const stepper = createStepper()
  const cluster = startEngines(t, { definitions: [stepper.tool], ...options })
  const session = await startSession(cluster)
  const { events } = await session.post(call('stepper', {}, { id: 'c' }))
  t.match(await events.message(), { params: { data: 1 } })
  const streamName = events.lastEventId!.replace(/\.\d+$/, '')
  return {
    cluster,
    session,
    stepper,
    events,
    streamName,
    owner: streamName.slice(
      0,
      12
    ),
    record: keys.stream(digest(session.id), streamName),
    log: keys.events(digest(session.id), streamName)
  }
}

for (const at of [0, 1]) {
  const replica = at === 0 ? 'the same' : 'the other'
  t.test(`a stream resumed at ${replica} replica has no event lost or doubled`, async (t) => {
    const { session, stepper, events } = await setUp(t)
    await stepper.step()
    await events.cut()
    await stepper.step()

    const resumed = await session.get({ lastEventId: events.lastEventId, at })
    t.match(resumed, { status: 200, headers: { 'content-type': 'text/event-stream' } })
    t.same(await resumed.events.next(), { retry: '1000' })
    t.same(
      data([await resumed.events.message(), await resumed.events.message()]),
      [2, 3],
      'events from the time without a connection'
    )
    await stepper.step()
    t.same(data([await resumed.events.message()]), [4], 'and new events')
    await resumed.events.cut()
    await stepper.step()
    await stepper.finish()

    const again = await session.get({ lastEventId: resumed.events.lastEventId, at: 1 - at })
    t.same(
      data(await again.events.rest()),
      [5, 'finished'],
      'after the end of the call, and a second broken connection'
    )
    const ids = [...events.ids, ...resumed.events.ids, ...again.events.ids]
    t.same(ids.map((id) => Number(/\d+$/.exec(id)![0])), [0, 1, 2, 3, 4, 5, 6])

    for (const replica of [0, 1]) {
      t.match(
        await session.get({ lastEventId: again.events.lastEventId, at: replica }),
        { status: 204, answer: { body: null } },
        'there is no more'
      )
      const whole = await session.get({ lastEventId: ids[0], at: replica })
      t.same(data(await whole.events.rest()), [1, 2, 3, 4, 5, 'finished'], 'all of it, from the event without data')
    }
  })
}

t.test('a stream resumes after the given event, whoever reads it now', async (t) => {
  const { session, stepper, events } = await setUp(t)
  const readers: Events[] = [events]
  for (const at of [1, 1, 0, 1, 0, 0, 1]) {
    const { events: next } = await session.get({ lastEventId: readers.at(-1)!.lastEventId, at })
    await settle()
    await stepper.step()
    t.same(data([await next.message()]), [readers.length + 1])
    t.same(await readers.at(-1)!.rest(), [], 'the one before it has ended')
    readers.push(next)
  }
  await stepper.finish()
  t.same(data(await readers.at(-1)!.rest()), ['finished'])
})

t.test('every message arrives once, however often the connection breaks', async (t) => {
  const { session, stepper, events } = await setUp(t)
  let reader = events
  const received: unknown[] = [1]
  for (let step = 2; step <= 60; step++) {
    const stepping = stepper.step()
    if (step % 3 === 0) {
      const lastEventId = reader.lastEventId
      await reader.cut()
      reader = (await session.get({ lastEventId, at: step % 2 })).events
    }
    await stepping
    received.push(...data([await reader.message()]))
  }
  await stepper.finish()
  received.push(...data(await reader.rest()))
  t.same(received, [...Array.from({ length: 60 }, (_, index) => index + 1), 'finished'])
})

t.test('a stream is resumed by its own session only', async (t) => {
  const { cluster, session, events, stepper } = await setUp(t)
  const bob = await startSession(cluster, { principal: asPrincipal('bob') })
  const sibling = await startSession(cluster)
  for (const other of [bob, sibling]) {
    for (const at of [0, 1]) {
      t.match(
        await other.get({ lastEventId: events.lastEventId, at }),
        { status: 400, body: { error: { message: /no longer available/ } } }
      )
    }
  }
  await t.rejects(
    session.get({ lastEventId: events.lastEventId, principal: asPrincipal('bob') }),
    { name: 'SessionNotFoundError' }
  )
  await stepper.step()
  t.same(data([await events.message()]), [2], 'and continues for its own client')
})

t.test('events are found by polling when messages between replicas are lost', async (t) => {
  const { cluster, session, stepper, events } = await setUp(t, { internals: { pollMs: 5 } })
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  cluster.store.isLost = ({ kind }) => kind === 'event-appended'
  await stepper.step()
  await stepper.finish()
  t.same(data(await resumed.rest()), [2, 'finished'])
})

t.test('events are found after a gap in the messages between replicas', async (t) => {
  const { cluster, session, stepper, events } = await setUp(t)
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  cluster.store.isLost = () => true
  await stepper.step()
  cluster.store.notifyGap()
  t.same(data([await resumed.message()]), [2])
})

t.test('DELETE at one replica ends the streams at another', async (t) => {
  const { session, events } = await setUp(t)
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  const other = await session.get({ at: 1 })
  await settle()
  t.equal((await session.end()).status, 204)
  await resumed.rest()
  t.same(await other.events.rest(), [])
  t.ok(resumed.hasEnded)
})

t.test('closing a replica ends the streams resumed there, and another replica continues them', async (t) => {
  const { cluster, session, stepper, events } = await setUp(t)
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  await cluster.engines[1]!.close(0)
  t.same(await resumed.rest(), [])
  const { events: again } = await session.get({ lastEventId: events.lastEventId, at: 0 })
  await stepper.finish()
  t.same(data(await again.rest()), ['finished'])
})

t.test('a call whose replica shuts down gets an error that its client can still read', async (t) => {
  const { cluster, session, events } = await setUp(t)
  await events.cut()
  await cluster.engines[0]!.close(1)
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  t.match(await resumed.rest(), [{ id: 'c', error: { code: -32000, message: /shutting down/ } }])
})

t.test('a call whose replica has died gets an error from the replica that serves the stream', async (t) => {
  const { cluster, session, events, owner } = await setUp(t, { internals: { pollMs: 5, deadAfterMs: 20 } })
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  await cluster.store.delete(keys.replica(owner))
  await new Promise((resolve) => { setTimeout(resolve, 10) })
  await cluster.store.set(keys.replica(owner), '', 15)
  await new Promise((resolve) => { setTimeout(resolve, 30) })
  t.notOk(resumed.hasEnded, 'a replica with a new heartbeat is alive')
  await cluster.store.delete(keys.replica(owner))
  t.match(
    await resumed.rest(),
    [{ id: 'c', error: { code: -32000, message: /has stopped; it is unknown how far the call got/ } }]
  )
  t.equal((await session.get({ lastEventId: resumed.lastEventId, at: 1 })).status, 204)
  t.match(
    await (await session.get({ lastEventId: events.lastEventId, at: 0 })).events.rest(),
    [{ id: 'c', error: {} }],
    'the same for a client that resumes again'
  )
})

t.test('no replica counts as dead during an outage of the store', async (t) => {
  const { cluster, session, stepper, events, owner } = await setUp(t, { internals: { pollMs: 5, deadAfterMs: 1 } })
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  const get = cluster.store.get
  let asked = 0
  cluster.store.get = async (key) => {
    if (key !== keys.replica(owner)) return await get(key)
    asked++
    cluster.store.isDown = true
    try {
      return await get(key)
    } finally {
      cluster.store.isDown = false
    }
  }
  await until(async () => asked >= 5, 'its heartbeat is read')
  cluster.store.get = async (key) => {
    if (key === keys.replica(owner)) throw new TypeError('a bug')
    return await get(key)
  }
  await until(
    async () => cluster.lines.some(({ message }) => message === 'Work in the background failed'),
    'a failure is in the log'
  )
  t.notOk(resumed.hasEnded)
  cluster.store.get = get
  await stepper.finish()
  t.same(data(await resumed.rest()), ['finished'])
})

t.test('a client that resumes a stream too large to store gets an error', async (t) => {
  const { tool, open } = gate()
  const cluster = startEngines(t, { definitions: [tool] })
  const { post, get } = await startSession(cluster)
  const answering = post(call('gate', { progress: true }, { _meta: { progressToken: 1 } }))
  const { events } = await answering
  await events.message()
  await events.cut()
  open('x'.repeat(1_100_000))
  const { events: resumed } = await get({ lastEventId: events.lastEventId, at: 1 })
  t.match(
    await resumed.rest(),
    [{ id: 1, error: { code: -32000, message: /the rest of the response is too large to store/ } }]
  )
  t.equal((await get({ lastEventId: resumed.lastEventId })).status, 204)
})

t.test('a stream that gets too large to store ends with an error where it is resumed', async (t) => {
  const { tool, open } = gate()
  const cluster = startEngines(t, { definitions: [tool] })
  const { post, get } = await startSession(cluster)
  const { events } = await post(call('gate', { progress: true }, { _meta: { progressToken: 1 } }))
  await events.message()
  await events.cut()
  const { events: resumed } = await get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  open('x'.repeat(1_100_000))
  t.match(await resumed.rest(), [{ id: 1, error: { code: -32000 } }])
})

t.test('a large response reaches a client that stays connected', async (t) => {
  const { tool, open } = gate()
  const cluster = startEngines(t, { definitions: [tool], internals: { eventStreams: { maxUnreadBytes: 10_000_000 } } })
  const { post } = await startSession(cluster)
  const { events } = await post(call('gate', { progress: true }, { _meta: { progressToken: 1 } }))
  await events.message()
  open('x'.repeat(1_100_000))
  t.equal((await events.message()).result.content[0].text.length, 1_100_000)
})

t.test('a stream whose events the store has lost cannot be resumed', async (t) => {
  const { cluster, session, stepper, events, log } = await setUp(t)
  await stepper.step()
  await stepper.step()
  t.same(data([await events.message(), await events.message()]), [2, 3])
  await cluster.store.delete(log)
  await stepper.step()
  t.same(data([await events.message()]), [4], 'its own client gets the events')
  await stepper.step()
  const event = await events.next()
  t.equal(event!.id, undefined, 'without ids from now on')
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  t.match(
    await resumed.rest(),
    [{ id: 'c', error: { code: -32000, message: /the store did not take the rest/ } }],
    'a client that resumes gets an error'
  )
})

t.test('a stream resumed after an outage of the store that took events ends with an error', async (t) => {
  for (const resumes of ['while the call runs', 'when it has ended']) {
    const { cluster, session, stepper, events } = await setUp(t, { internals: { pollMs: 5 } })
    await settle()
    cluster.store.isDown = true
    await stepper.step()
    t.match(await events.message(), { params: { data: 2 } })
    await events.cut()
    if (resumes === 'when it has ended') await stepper.finish()
    await new Promise((resolve) => { setTimeout(resolve, 20) })
    cluster.store.isDown = false
    const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
    t.match(await resumed.rest(), [{ id: 'c', error: { code: -32000, message: /the store did not take the rest/ } }], resumes)
  }
})

t.test('a stream that the store has lost completely ends', async (t) => {
  const { cluster, session, stepper, events, record } = await setUp(t)
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  await cluster.store.delete(record)
  await stepper.step()
  t.same(await resumed.rest(), [], 'the stream ends')
  t.match(
    await session.get({ lastEventId: events.lastEventId }),
    { status: 400, body: { error: { message: /send the request again/ } } }
  )
})

t.test('every request of a batch gets an error when its replica has died', async (t) => {
  const { tool } = gate()
  const stepper = createStepper()
  const cluster = startEngines(t, { definitions: [tool, stepper.tool], internals: { pollMs: 5, deadAfterMs: 10 } })
  const { post, get } = await startSession(cluster, { version: '2025-03-26' })
  const { events } = await post([
    call('stepper', {}, { id: 'a' }),
    call('gate', {}, { id: 'b' }),
    request('ping', {}, 'p')
  ])
  t.match(await events.message(), { params: { data: 1 } })
  await events.cut()
  await cluster.store.delete(keys.replica(events.lastEventId!.slice(0, 12)))
  const { events: resumed } = await get({ lastEventId: events.lastEventId, at: 1 })
  t.match(await resumed.rest(), [{ id: 'a', error: {} }, { id: 'b', error: {} }, { id: 'p', error: {} }])
})
