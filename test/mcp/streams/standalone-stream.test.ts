import t from 'tap'
import type { Test } from 'tap'
import { digest } from '../../../src/crypto/hash.ts'
import { createChangeLog, toNotification } from '../../../src/mcp/cluster/change-log.ts'
import { createEventStreams } from '../../../src/mcp/streams/event-stream.ts'
import { createCluster } from '../../../src/mcp/cluster/cluster.ts'
import { SessionNotFoundError } from '../../../src/mcp/sessions/session.ts'
import type { Session } from '../../../src/mcp/sessions/session.ts'
import { StoreUnavailableError } from '../../../src/store/store.ts'
import type { StandalonePosition } from '../../../src/mcp/streams/event-id.ts'
import { createStandaloneStreams } from '../../../src/mcp/streams/standalone-streams.ts'
import { keys } from '../../../src/store/keys.ts'
import { until } from '../../store/contract.ts'
import { call, captureLog, modern, readEvents, request, send, settle, startEngines, startSession, stayAwake, testStore, throughPipe } from '../../support/mcp.ts'
import type { Engines, TestStore } from '../../support/mcp.ts'

/** GET without a call: what the server says by itself. */

const CHANGED = { method: 'notifications/tools/list_changed' }

async function change ({ engines }: Engines, at = 0): Promise<void> {
  const session = await startSession({ engines } as Engines, { at })
  await session.post(call('change_tools'))
  await settle()
}

t.test('a change is told to the stream of every session, on every replica, once', async (t) => {
  const house = startEngines(t)
  const streams = await Promise.all([0, 1, 0, 1].map(async (at, index) => {
    const session = await startSession(house, { version: index < 2 ? '2025-11-25' : '2025-03-26' })
    return (await session.get({ at })).events
  }))
  await change(house, 0)
  await change(house, 1)
  for (const [index, events] of streams.entries()) {
    t.match(await events.next(), index < 2 ? { id: /^s\.0\.0$/, data: '', retry: '1000' } : { comment: 'open', retry: '1000' })
    const told = [await events.next(), await events.next()]
    t.match(told.map((event) => JSON.parse(event!.data!)), [CHANGED, CHANGED])
    t.same(told.map((event) => event!.id), ['s.0.1', 's.0.2'])
    await settle()
    await events.cut()
    t.equal(await events.next(), undefined, 'and nothing else')
  }
})

t.test('a stream is read on at the other replica, with nothing lost or doubled', async (t) => {
  const house = startEngines(t)
  const session = await startSession(house)
  let { events } = await session.get()
  await change(house)
  t.match(await events.message(), CHANGED)
  for (const at of [1, 0, 0, 1]) {
    const { lastEventId } = events
    await events.cut()
    await change(house, at)
    events = (await session.get({ lastEventId, at })).events
    t.match(await events.message(), CHANGED)
    await change(house, 1 - at)
    t.match(await events.message(), CHANGED)
  }
  t.equal(events.lastEventId, 's.0.9')
  const { events: fresh } = await session.get({ at: 1 })
  await change(house)
  t.equal((await fresh.message()).method, CHANGED.method)
  t.equal(fresh.lastEventId, 's.0.10', 'without a place it begins now')
})

t.test('of two streams of a session each message goes to the newest, and the older goes on when it is over', async (t) => {
  const house = startEngines(t)
  for (const at of [0, 1]) {
    const session = await startSession(house)
    const { events: older } = await session.get({ at: 0 })
    await change(house)
    t.match(await older.message(), CHANGED)
    const { events: newer } = await session.get({ at })
    await change(house)
    t.match(await newer.message(), CHANGED)
    await change(house)
    t.match(await newer.message(), CHANGED)
    await newer.cut()
    await change(house)
    t.match(await older.message(), CHANGED)
    await settle()
    const numbers = [...older.ids, ...newer.ids].map((id) => Number(id.split('.')[2]))
    const told = older.ids.length + newer.ids.length - 2
    t.equal(told, 4, 'four changes, each told once')
    t.equal(Math.max(...numbers), numbers.find((number) => `s.0.${number}` === older.lastEventId), 'the older is where the newer was')
    await older.cut()
  }
})

t.test('what comes between the end of one stream and the turn of another is not lost', async (t) => {
  const house = startEngines(t)
  const session = await startSession(house)
  const { events: older } = await session.get({ at: 0 })
  const { events: newer } = await session.get({ at: 1 })
  await settle()
  house.store.loses = ({ kind }) => kind === 'change-published'
  await change(house)
  house.store.loses = () => false
  await newer.cut()
  t.match(await older.message(), CHANGED)
  const another = await session.get({ at: 1 })
  const third = await session.get({ at: 0 })
  await settle()
  await another.events.cut()
  await change(house)
  t.match(await third.events.message(), CHANGED, 'one that is not the newest gives nothing away')
})

t.test('DELETE at one replica ends the streams at another', async (t) => {
  const house = startEngines(t)
  const session = await startSession(house)
  const other = await startSession(house)
  const streams = [await session.get({ at: 0 }), await session.get({ at: 1 })]
  const { events: others } = await other.get({ at: 1 })
  await session.end({ at: 0 })
  for (const { events } of streams) t.same(await events.rest(), [])
  await change(house)
  t.match(await others.message(), CHANGED, 'those of another session go on')
})

t.test('closing a replica ends its streams', async (t) => {
  const house = startEngines(t)
  const session = await startSession(house)
  const { events } = await session.get({ at: 1 })
  await house.engines[1]!.close(10_000)
  t.same(await events.rest(), [])
  const { events: elsewhere } = await session.get({ lastEventId: events.lastEventId, at: 0 })
  await change(house)
  t.match(await elsewhere.message(), CHANGED)
})

t.test('a change made while the store is away is told once, when it is back', async (t) => {
  const house = startEngines(t)
  const session = await startSession(house)
  const { events } = await session.get()
  await events.next()
  const announce = await startSession(house)
  const append = house.store.append
  house.store.append = async (key, ...rest) => {
    if (key !== keys.changes()) return await append(key, ...rest)
    house.store.away = true
    try {
      return await append(key, ...rest)
    } finally {
      house.store.away = false
    }
  }
  await announce.post(call('change_tools'))
  await settle()
  t.match(house.lines, [{ change: 'tools_list_changed', message: /clients will be notified of a change once it is back/ }])
  house.store.append = append
  house.store.comeBack()
  t.match(await events.message(), { method: 'notifications/tools/list_changed' })
  house.store.comeBack()
  await settle()
  t.equal(events.ids.length, 2, 'the first event and the change, once')
  house.store.append = async () => { throw new TypeError('a bug') }
  await announce.post(call('change_tools'))
  await settle()
  t.match(house.lines[1], { err: { message: 'a bug' } })
  house.store.append = append
})

/** The parts by themselves, to leave messages in the queue of a session. */
function replica (t: Test, store: TestStore, { renew = async () => ({}) as Session, renewMs = 1_000_000, pollMs }: { renew?: () => Promise<Session>, renewMs?: number, pollMs?: number } = {}) {
  stayAwake(t)
  const { lines, log } = captureLog()
  const cluster = createCluster(store, log)
  const streams = createEventStreams({ onCutOff: () => {} })
  const changes = createChangeLog(cluster, log)
  const sessions = { renew, subscriptions: async () => new Set<string>() }
  const standalone = createStandaloneStreams({ cluster, eventStreams: streams, changes, sessions, renewMs, pollMs })
  t.teardown(async () => {
    standalone.endAll()
    streams.close()
    await cluster.replicas.close()
  })
  return {
    lines,
    standalone,
    announce: () => { changes.publish({ kind: 'tools_list_changed' }) },
    open: async (whose: Session, after?: StandalonePosition) => readEvents(throughPipe((await standalone.open(whose, after)).stream!))
  }
}

const session = (name: string): Session => ({
  digest: digest(name), principalKey: name, clientInfo: { name, version: '1' }, capabilities: {}, protocolVersion: '2025-11-25', logLevel: undefined, createdAt: 0, lastSeenAt: 0
})
const message = (number: number) => ({ jsonrpc: '2.0' as const, method: 'notifications/message', params: { data: number } })

t.test('messages of a session reach its stream and no other', async (t) => {
  const store = testStore(t)
  const [one, other] = [replica(t, store), replica(t, store)]
  const [adas, bobs] = [await one.open(session('ada')), await other.open(session('bob'))]
  await other.standalone.queue(session('ada'), message(1))
  await one.standalone.queue(session('bob'), message(2))
  one.announce()
  await settle()
  await one.standalone.queue(session('ada'), message(3))
  t.match([await adas.message(), await adas.message(), await adas.message()], [message(1), CHANGED, message(3)])
  t.equal(adas.lastEventId, 's.2.1')
  t.match([await bobs.message(), await bobs.message()], [message(2), CHANGED])
})

t.test('every message arrives once while streams come and go', async (t) => {
  const store = testStore(t)
  const houses = [replica(t, store), replica(t, store)]
  const ada = session('ada')
  const heard: number[] = []
  let events = await houses[0]!.open(ada)
  for (let round = 1; round <= 60; round++) {
    const queuing = houses[round % 2]!.standalone.queue(ada, message(round))
    if (round % 4 === 0) {
      const [, queue, changes] = events.lastEventId!.split('.').map(Number)
      await events.cut()
      events = await houses[(round / 4) % 2]!.open(ada, { queue: queue!, changes: changes! })
    }
    await queuing
    heard.push((await events.message()).params.data)
  }
  t.same(heard, Array.from({ length: 60 }, (_, index) => index + 1))
})

t.test('a message that came before a newer stream began goes to the older one, however late that reads', async (t) => {
  const store = testStore(t)
  const { open, standalone, announce } = replica(t, store)
  const older = await open(session('ada'))
  await older.next()
  await settle()
  store.loses = ({ kind }) => kind === 'message-queued' || kind === 'change-published'
  await standalone.queue(session('ada'), message(1))
  announce()
  await settle()
  store.loses = () => false
  const newer = await open(session('ada'))
  t.match([await older.message(), await older.message()], [message(1), CHANGED])
  await standalone.queue(session('ada'), message(2))
  announce()
  t.match([await newer.message(), await newer.message()], [message(2), CHANGED])
  store.comeBack()
  await settle()
  t.equal(older.ids.at(-1), 's.1.1', 'and nothing that came after')
})

t.test('an older stream sends what is still its own before it goes on for the newer one', async (t) => {
  const store = testStore(t)
  const { open, standalone, announce } = replica(t, store)
  const older = await open(session('ada'))
  await older.next()
  await settle()
  store.loses = ({ kind }) => kind === 'message-queued'
  await standalone.queue(session('ada'), message(1))
  store.loses = () => false
  // The older one cannot read when it is told that a newer one has begun.
  const { entries } = store
  let reads = 0
  store.entries = async (...args) => {
    if (++reads > 2) throw new StoreUnavailableError()
    return await entries(...args)
  }
  const newer = await open(session('ada'))
  await settle()
  store.entries = entries
  store.loses = ({ kind }) => kind === 'message-queued' || kind === 'change-published'
  await standalone.queue(session('ada'), message(2))
  announce()
  await settle()
  store.loses = () => false
  await newer.cut()
  t.match([await older.message(), await older.message(), await older.message()], [message(1), message(2), CHANGED])
})

t.test('the newest stream does not mind that one before it is over', async (t) => {
  const store = testStore(t)
  const { open, standalone } = replica(t, store)
  const events = await open(session('ada'))
  await settle()
  await store.publish('replicas', JSON.stringify({ kind: 'stream-released', session: digest('ada'), reader: 'another', position: 's.9.9' }))
  await standalone.queue(session('ada'), message(1))
  t.match(await events.message(), message(1))
  t.equal(events.lastEventId, 's.1.0')
})

t.test('a stream that could not read when it was told looks again soon', async (t) => {
  const store = testStore(t)
  const { open, standalone } = replica(t, store, { pollMs: 20 })
  const events = await open(session('ada'))
  await events.next()
  await settle()
  const { entries } = store
  let failures = 0
  store.entries = async (...args) => {
    if (failures++ === 0) throw new StoreUnavailableError()
    return await entries(...args)
  }
  await standalone.queue(session('ada'), message(1))
  t.match(await events.message(), message(1))
  t.ok(failures > 1)
})

t.test('of several older streams one goes on when the newest is over', async (t) => {
  const store = testStore(t)
  const [one, other] = [replica(t, store), replica(t, store)]
  const older = [await one.open(session('ada')), await other.open(session('ada'))]
  const newest = await one.open(session('ada'))
  await settle()
  await newest.cut()
  const heard: unknown[] = []
  for (const events of older) events.message().then((message) => { heard.push(message) }, t.fail)
  await one.standalone.queue(session('ada'), message(1))
  await settle()
  t.match(heard, [message(1)])
})

t.test('a message whose announcement is lost is found after the gap', async (t) => {
  const store = testStore(t)
  const { open, standalone, announce } = replica(t, store)
  const events = await open(session('ada'))
  await settle()
  store.loses = () => true
  await standalone.queue(session('ada'), message(1))
  announce()
  await settle()
  store.comeBack()
  t.match([await events.message(), await events.message()], [message(1), CHANGED])
})

t.test('a store that counts anew loses nothing that comes after', async (t) => {
  const store = testStore(t)
  const { open, standalone, announce } = replica(t, store)
  const events = await open(session('ada'))
  for (const number of [1, 2]) {
    await standalone.queue(session('ada'), message(number))
    announce()
    await settle()
  }
  const before = [await events.message(), await events.message(), await events.message(), await events.message()]
  t.equal(before.length, 4)
  await store.delete(keys.queue(digest('ada')))
  await store.delete(keys.changes())
  await standalone.queue(session('ada'), message(3))
  announce()
  await settle()
  t.match([await events.message(), await events.message()], [message(3), CHANGED])
  t.equal(events.lastEventId, 's.1.1')
})

t.test('a change whose message is lost is found all the same', async (t) => {
  const house = startEngines(t, { internals: { pollMs: 20 } })
  const { get } = await startSession(house)
  const { events } = await get()
  house.store.loses = ({ kind }) => kind === 'change-published'
  await send(house.engines[1]!, ...modern('tools/call', { name: 'change_tools', arguments: {} }))
  t.match(await events.message(), CHANGED)
})

t.test('an open stream is a use of its session, and ends with it', async (t) => {
  const store = testStore(t)
  let renewed = 0
  let fails: Error | undefined
  const { open, lines } = replica(t, store, {
    renewMs: 5,
    async renew () {
      renewed++
      if (fails !== undefined) throw fails
      return session('ada')
    }
  })
  const events = await open(session('ada'))
  await until(async () => renewed >= 3, 'it is renewed')
  fails = new TypeError('a bug')
  await until(async () => lines.length > 0, 'a failure is in the log')
  t.notOk(events.over)
  fails = new SessionNotFoundError()
  t.same(await events.rest(), [])
})

t.test('a released claim is taken by one', async (t) => {
  const store = testStore(t)
  const [one, other] = [replica(t, store), replica(t, store)]
  const ada = session('ada')
  const [first, second, third] = [await one.open(ada), await other.open(ada), await one.open(ada)]
  await settle()
  await third.cut()
  await other.standalone.queue(ada, message(1))
  await settle()
  const heard = [first, second].map(({ cut }) => cut)
  const told: unknown[] = []
  for (const [index, events] of [first, second].entries()) {
    await heard[index]!()
    for (let event = await events.next(); event !== undefined; event = await events.next()) if (event.data !== '') told.push(event.data)
  }
  t.equal(told.length, 1)
})

t.test('what a change is called', (t) => {
  t.match(toNotification({ kind: 'prompts_list_changed' }), { method: 'notifications/prompts/list_changed' })
  t.match(toNotification({ kind: 'resources_list_changed' }), { method: 'notifications/resources/list_changed' })
  t.same(toNotification({ kind: 'resource_updated', uri: 'x://y' }), { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'x://y' } })
  t.end()
})

t.test('keep-alives and the session\'s other requests', async (t) => {
  const house = startEngines(t, { internals: { eventStreams: { keepAliveMs: 5 } } })
  const one = await startSession(house)
  const { events } = await one.get()
  await events.next()
  t.match(await events.next(), { comment: 'keep-alive' })
  t.equal((await send(house.engines[1]!, request('ping'), { headers: one.headers })).status, 200)
})
