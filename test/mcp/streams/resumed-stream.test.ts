import t from 'tap'
import type { Test } from 'tap'
import { keys } from '../../../src/store/keys.ts'
import { digest } from '../../../src/crypto/hash.ts'
import { until } from '../../store/contract.ts'
import { gate, stepper as createStepper } from '../../support/gate.ts'
import { asPrincipal, call, request, settle, startEngines, startSession } from '../../support/mcp.ts'
import type { EnginesOptions, Events } from '../../support/mcp.ts'

/** Clients that were cut off and come back with Last-Event-ID. */

const data = (messages: any[]) => messages.map(({ params, result, error }) => params?.data ?? result?.content[0].text ?? error.message)

async function setUp (t: Test, options: EnginesOptions = {}) {
  const stepper = createStepper()
  const house = startEngines(t, { definitions: [stepper.tool], ...options })
  const session = await startSession(house)
  const { events } = await session.post(call('stepper', {}, { id: 'c' }))
  t.match(await events.message(), { params: { data: 1 } })
  const streamName = events.lastEventId!.replace(/\.\d+$/, '')
  return { house, session, stepper, events, streamName, owner: streamName.slice(0, 12), record: keys.stream(digest(session.id), streamName), log: keys.events(digest(session.id), streamName) }
}

for (const at of [0, 1]) {
  t.test(`nothing is lost or doubled, read on at ${at === 0 ? 'the same' : 'the other'} replica`, async (t) => {
    const { session, stepper, events } = await setUp(t)
    await stepper.step()
    await events.cut()
    await stepper.step()

    const resumed = await session.get({ lastEventId: events.lastEventId, at })
    t.match(resumed, { status: 200, headers: { 'content-type': 'text/event-stream' } })
    t.same(await resumed.events.next(), { retry: '1000' })
    t.same(data([await resumed.events.message(), await resumed.events.message()]), [2, 3], 'what came while nobody read')
    await stepper.step()
    t.same(data([await resumed.events.message()]), [4], 'and what comes now')
    await resumed.events.cut()
    await stepper.step()
    await stepper.finish()

    const again = await session.get({ lastEventId: resumed.events.lastEventId, at: 1 - at })
    t.same(data(await again.events.rest()), [5, 'finished'], 'after the call has ended, and a second cut')
    const ids = [...events.ids, ...resumed.events.ids, ...again.events.ids]
    t.same(ids.map((id) => Number(/\d+$/.exec(id)![0])), [0, 1, 2, 3, 4, 5, 6])

    for (const replica of [0, 1]) {
      t.match(await session.get({ lastEventId: again.events.lastEventId, at: replica }), { status: 204, answer: { body: null } }, 'there is no more')
      const whole = await session.get({ lastEventId: ids[0], at: replica })
      t.same(data(await whole.events.rest()), [1, 2, 3, 4, 5, 'finished'], 'all of it, from the event without data')
    }
  })
}

t.test('a stream goes on where it was read last', async (t) => {
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
  const heard: unknown[] = [1]
  for (let step = 2; step <= 60; step++) {
    const stepping = stepper.step()
    if (step % 3 === 0) {
      const lastEventId = reader.lastEventId
      await reader.cut()
      reader = (await session.get({ lastEventId, at: step % 2 })).events
    }
    await stepping
    heard.push(...data([await reader.message()]))
  }
  await stepper.finish()
  heard.push(...data(await reader.rest()))
  t.same(heard, [...Array.from({ length: 60 }, (_, index) => index + 1), 'finished'])
})

t.test('a stream is read by its session only', async (t) => {
  const { house, session, events, stepper } = await setUp(t)
  const bob = await startSession(house, { principal: asPrincipal('bob') })
  const sibling = await startSession(house)
  for (const other of [bob, sibling]) {
    for (const at of [0, 1]) t.match(await other.get({ lastEventId: events.lastEventId, at }), { status: 400, body: { error: { message: /not known here/ } } })
  }
  await t.rejects(session.get({ lastEventId: events.lastEventId, principal: asPrincipal('bob') }), { name: 'SessionNotFoundError' })
  await stepper.step()
  t.same(data([await events.message()]), [2], 'and goes on for its own client undisturbed')
})

t.test('an answer lost on the way to the reader is found by looking', async (t) => {
  const { house, session, stepper, events } = await setUp(t, { internals: { pollMs: 5 } })
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  house.store.loses = ({ kind }) => kind === 'event-appended'
  await stepper.step()
  await stepper.finish()
  t.same(data(await resumed.rest()), [2, 'finished'])
})

t.test('an answer lost while the store was away is found when it is back', async (t) => {
  const { house, session, stepper, events } = await setUp(t)
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  house.store.loses = () => true
  await stepper.step()
  house.store.comeBack()
  t.same(data([await resumed.message()]), [2])
})

t.test('DELETE at one replica ends what is read at another', async (t) => {
  const { session, events } = await setUp(t)
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  const other = await session.get({ at: 1 })
  await settle()
  t.equal((await session.end()).status, 204)
  await resumed.rest()
  t.same(await other.events.rest(), [])
  t.ok(resumed.over)
})

t.test('closing a replica ends what is read there, and it is read on elsewhere', async (t) => {
  const { house, session, stepper, events } = await setUp(t)
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  await house.engines[1]!.close(0)
  t.same(await resumed.rest(), [])
  const { events: again } = await session.get({ lastEventId: events.lastEventId, at: 0 })
  await stepper.finish()
  t.same(data(await again.rest()), ['finished'])
})

t.test('a call whose replica closes is answered with an error, kept for who reads it', async (t) => {
  const { house, session, events } = await setUp(t)
  await events.cut()
  await house.engines[0]!.close(1)
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  t.match(await resumed.rest(), [{ id: 'c', error: { code: -32000, message: /shutting down/ } }])
})

t.test('a call whose replica died is answered by the one that reads', async (t) => {
  const { house, session, events, owner } = await setUp(t, { internals: { pollMs: 5, deadAfterMs: 20 } })
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  await house.store.delete(keys.replica(owner))
  await new Promise((resolve) => { setTimeout(resolve, 10) })
  await house.store.set(keys.replica(owner), '', 15)
  await new Promise((resolve) => { setTimeout(resolve, 30) })
  t.notOk(resumed.over, 'one that is heard of again lives')
  await house.store.delete(keys.replica(owner))
  t.match(await resumed.rest(), [{ id: 'c', error: { code: -32000, message: /has ended; nobody knows how far it came/ } }])
  t.equal((await session.get({ lastEventId: resumed.lastEventId, at: 1 })).status, 204)
  t.match(await (await session.get({ lastEventId: events.lastEventId, at: 0 })).events.rest(), [{ id: 'c', error: {} }], 'the same to who asks again')
})

t.test('while the store is away nobody is taken for dead', async (t) => {
  const { house, session, stepper, events, owner } = await setUp(t, { internals: { pollMs: 5, deadAfterMs: 1 } })
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  const get = house.store.get
  let asked = 0
  house.store.get = async (key) => {
    if (key !== keys.replica(owner)) return await get(key)
    asked++
    house.store.away = true
    try {
      return await get(key)
    } finally {
      house.store.away = false
    }
  }
  await until(async () => asked >= 5, 'its life is looked up')
  house.store.get = async (key) => {
    if (key === keys.replica(owner)) throw new TypeError('a bug')
    return await get(key)
  }
  await until(async () => house.lines.some(({ message }) => message === 'Work in the background failed'), 'a failure is in the log')
  t.notOk(resumed.over)
  house.store.get = get
  await stepper.finish()
  t.same(data(await resumed.rest()), ['finished'])
})

t.test('what is too large to be kept is told as lost', async (t) => {
  const { tool, open } = gate()
  const house = startEngines(t, { definitions: [tool] })
  const { post, get } = await startSession(house)
  const answering = post(call('gate', { progress: true }, { _meta: { progressToken: 1 } }))
  const { events } = await answering
  await events.message()
  await events.cut()
  open('x'.repeat(1_100_000))
  const { events: resumed } = await get({ lastEventId: events.lastEventId, at: 1 })
  t.match(await resumed.rest(), [{ id: 1, error: { code: -32000, message: /the rest of the answer is too large to be kept/ } }])
  t.equal((await get({ lastEventId: resumed.lastEventId })).status, 204)
})

t.test('what is too large while somebody reads elsewhere is told there', async (t) => {
  const { tool, open } = gate()
  const house = startEngines(t, { definitions: [tool] })
  const { post, get } = await startSession(house)
  const { events } = await post(call('gate', { progress: true }, { _meta: { progressToken: 1 } }))
  await events.message()
  await events.cut()
  const { events: resumed } = await get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  open('x'.repeat(1_100_000))
  t.match(await resumed.rest(), [{ id: 1, error: { code: -32000 } }])
})

t.test('a large answer reaches the client that stays', async (t) => {
  const { tool, open } = gate()
  const house = startEngines(t, { definitions: [tool], internals: { eventStreams: { maxUnreadBytes: 10_000_000 } } })
  const { post } = await startSession(house)
  const { events } = await post(call('gate', { progress: true }, { _meta: { progressToken: 1 } }))
  await events.message()
  open('x'.repeat(1_100_000))
  t.equal((await events.message()).result.content[0].text.length, 1_100_000)
})

t.test('a store that lost the log of a running call', async (t) => {
  const { house, session, stepper, events, log } = await setUp(t)
  await stepper.step()
  await stepper.step()
  t.same(data([await events.message(), await events.message()]), [2, 3])
  await house.store.delete(log)
  await stepper.step()
  t.same(data([await events.message()]), [4], 'its own client reads on')
  await stepper.step()
  const event = await events.next()
  t.equal(event!.id, undefined, 'without ids from now on')
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  t.match(await resumed.rest(), [{ id: 'c', error: { code: -32000 } }], 'who comes back is told')
})

t.test('a store that lost all of it', async (t) => {
  const { house, session, stepper, events, record } = await setUp(t)
  await events.cut()
  const { events: resumed } = await session.get({ lastEventId: events.lastEventId, at: 1 })
  await settle()
  await house.store.delete(record)
  await stepper.step()
  t.same(await resumed.rest(), [], 'the stream ends')
  t.match(await session.get({ lastEventId: events.lastEventId }), { status: 400, body: { error: { message: /send the request again/ } } })
})

t.test('a batch that died is answered request by request', async (t) => {
  const { tool } = gate()
  const stepper = createStepper()
  const house = startEngines(t, { definitions: [tool, stepper.tool], internals: { pollMs: 5, deadAfterMs: 10 } })
  const { post, get } = await startSession(house, { version: '2025-03-26' })
  const { events } = await post([call('stepper', {}, { id: 'a' }), call('gate', {}, { id: 'b' }), request('ping', {}, 'p')])
  t.match(await events.message(), { params: { data: 1 } })
  await events.cut()
  await house.store.delete(keys.replica(events.lastEventId!.slice(0, 12)))
  const { events: resumed } = await get({ lastEventId: events.lastEventId, at: 1 })
  t.match(await resumed.rest(), [{ id: 'a', error: {} }, { id: 'b', error: {} }, { id: 'p', error: {} }])
})
