import t from 'tap'
import type { Test } from 'tap'
import { digest } from '../../../src/crypto/hash.ts'
import { createChangeLog, createEndpointChanges, toNotification } from '../../../src/mcp/cluster/list-change-broadcast.ts'
import { createEventStreams } from '../../../src/mcp/streams/event-stream.ts'
import { createCluster } from '../../../src/mcp/cluster/cluster.ts'
import { SessionNotFoundError } from '../../../src/mcp/sessions/session.ts'
import type { Session } from '../../../src/mcp/sessions/session.ts'
import { StoreUnavailableError } from '../../../src/store/store.ts'
import type { StandalonePosition } from '../../../src/mcp/streams/event-id.ts'
import { createStandaloneStreams } from '../../../src/mcp/streams/standalone-stream-registry.ts'
import { keys } from '../../../src/store/keys.ts'
import { until } from '../../support/until.ts'
import {
  call, captureLog, modern, readEvents, request, send, settle, startEngines, startSession, stayAwake, testStore,
  throughPipe
} from '../../support/mcp.ts'
import type { Engines, TestStore } from '../../support/mcp.ts'

/** GET streams: messages of the server that belong to no call. */

const CHANGED = { method: 'notifications/tools/list_changed' }

async function change ({ engines }: Engines, at = 0): Promise<void> {
  const session = await startSession({ engines } as Engines, { at })
  await session.post(call('change_tools'))
  await settle()
}

t.test('every session\'s stream gets a change once, at every replica', async (t) => {
  const cluster = startEngines(t)
  const streams = await Promise.all([0, 1, 0, 1].map(async (at, index) => {
    const session = await startSession(cluster, { version: index < 2 ? '2025-11-25' : '2025-03-26' })
    return (await session.get({ at })).events
  }))
  await change(cluster, 0)
  await change(cluster, 1)
  for (const [index, events] of streams.entries()) {
    t.match(
      await events.next(),
      index < 2 ? { id: /^s\.0\.0$/, data: '', retry: '1000' } : { comment: 'open', retry: '1000' }
    )
    const sent = [await events.next(), await events.next()]
    t.match(sent.map((event) => JSON.parse(event!.data!)), [CHANGED, CHANGED])
    t.same(sent.map((event) => event!.id), ['s.0.1', 's.0.2'])
    await settle()
    await events.cut()
    t.equal(await events.next(), undefined, 'and nothing else')
  }
})

t.test('a stream resumed at another replica has no message lost or doubled', async (t) => {
  const cluster = startEngines(t)
  const session = await startSession(cluster)
  let { events } = await session.get()
  await change(cluster)
  t.match(await events.message(), CHANGED)
  for (const at of [1, 0, 0, 1]) {
    const { lastEventId } = events
    await events.cut()
    await change(cluster, at)
    events = (await session.get({ lastEventId, at })).events
    t.match(await events.message(), CHANGED)
    await change(cluster, 1 - at)
    t.match(await events.message(), CHANGED)
  }
  t.equal(events.lastEventId, 's.0.9')
  const { events: fresh } = await session.get({ at: 1 })
  await change(cluster)
  t.equal((await fresh.message()).method, CHANGED.method)
  t.equal(fresh.lastEventId, 's.0.10', 'without Last-Event-ID it starts now')
})

t.test('a session\'s newest stream gets each message, and an older one continues when it ends', async (t) => {
  const cluster = startEngines(t)
  for (const at of [0, 1]) {
    const session = await startSession(cluster)
    const { events: older } = await session.get({ at: 0 })
    await change(cluster)
    t.match(await older.message(), CHANGED)
    const { events: newer } = await session.get({ at })
    await change(cluster)
    t.match(await newer.message(), CHANGED)
    await change(cluster)
    t.match(await newer.message(), CHANGED)
    await newer.cut()
    await change(cluster)
    t.match(await older.message(), CHANGED)
    await settle()
    const numbers = [...older.ids, ...newer.ids].map((id) => Number(id.split('.')[2]))
    const count = older.ids.length + newer.ids.length - 2
    t.equal(count, 4, 'four changes, each sent once')
    t.equal(
      Math.max(...numbers),
      numbers.find((number) => `s.0.${number}` === older.lastEventId),
      'the older stream is where the newer one was'
    )
    await older.cut()
  }
})

t.test('messages between the end of one stream and the start of another are not lost', async (t) => {
  const cluster = startEngines(t)
  const session = await startSession(cluster)
  const { events: older } = await session.get({ at: 0 })
  const { events: newer } = await session.get({ at: 1 })
  await settle()
  cluster.store.isLost = ({ kind }) => kind === 'change-published'
  await change(cluster)
  cluster.store.isLost = () => false
  await newer.cut()
  t.match(await older.message(), CHANGED)
  const another = await session.get({ at: 1 })
  const third = await session.get({ at: 0 })
  await settle()
  await another.events.cut()
  await change(cluster)
  t.match(await third.events.message(), CHANGED, 'a stream that is not the newest changes nothing when it ends')
})

t.test('DELETE at one replica ends the streams at another', async (t) => {
  const cluster = startEngines(t)
  const session = await startSession(cluster)
  const other = await startSession(cluster)
  const streams = [await session.get({ at: 0 }), await session.get({ at: 1 })]
  const { events: others } = await other.get({ at: 1 })
  await session.end({ at: 0 })
  for (const { events } of streams) t.same(await events.rest(), [])
  await change(cluster)
  t.match(await others.message(), CHANGED, 'streams of another session continue')
})

t.test('closing a replica ends its streams', async (t) => {
  const cluster = startEngines(t)
  const session = await startSession(cluster)
  const { events } = await session.get({ at: 1 })
  await cluster.engines[1]!.close(10_000)
  t.same(await events.rest(), [])
  const { events: elsewhere } = await session.get({ lastEventId: events.lastEventId, at: 0 })
  await change(cluster)
  t.match(await elsewhere.message(), CHANGED)
})

t.test('a change during an outage of the store is sent once when the store is back', async (t) => {
  const cluster = startEngines(t)
  const session = await startSession(cluster)
  const { events } = await session.get()
  await events.next()
  const announce = await startSession(cluster)
  const append = cluster.store.append
  cluster.store.append = async (key, ...rest) => {
    if (key !== keys.changes()) return await append(key, ...rest)
    cluster.store.isDown = true
    try {
      return await append(key, ...rest)
    } finally {
      cluster.store.isDown = false
    }
  }
  await announce.post(call('change_tools'))
  await settle()
  t.match(
    cluster.lines,
    [{ change: 'tools_list_changed', message: /clients will be notified of a change once it is back/ }]
  )
  cluster.store.append = append
  cluster.store.notifyGap()
  t.match(await events.message(), { method: 'notifications/tools/list_changed' })
  cluster.store.notifyGap()
  await settle()
  t.equal(events.ids.length, 2, 'the first event and the change, once')
  cluster.store.append = async () => { throw new TypeError('a bug') }
  await announce.post(call('change_tools'))
  await settle()
  t.match(cluster.lines[1], { err: { message: 'a bug' } })
  cluster.store.append = append
})

/** The standalone streams of one replica, without an engine. */
function replica (t: Test, store: TestStore, {
  renew = async () => ({}) as Session,
  renewMs = 1_000_000,
  pollMs
}: { renew?: () => Promise<Session>, renewMs?: number, pollMs?: number } = {}) {
  stayAwake(t)
  const { lines, log } = captureLog()
  const cluster = createCluster(store, log)
  const streams = createEventStreams({ onCutOff: () => {} })
  const changes = createEndpointChanges(createChangeLog(cluster, log), '/mcp')
  const sessions = { renew, hold: () => () => {}, subscriptions: async () => new Set<string>() }
  const standalone = createStandaloneStreams({ cluster, eventStreams: streams, changes, sessions, renewMs, pollMs })
  t.teardown(async () => {
    standalone.endAll()
    streams.close()
    await cluster.replicas.close()
  })
  return {
    lines,
    standalone,
    announce: () => { changes.publishOwn({ kind: 'tools_list_changed' }) },
    open: async (whose: Session, after?: StandalonePosition) => readEvents(throughPipe((await standalone.open(
      whose,
      () => true,
      after
    )).stream!))
  }
}

const session = (name: string): Session => ({
  digest: digest(name),
  principalKey: name,
  clientInfo: {
    name,
    version: '1'
  },
  capabilities: {},
  protocolVersion: '2025-11-25',
  logLevel: undefined,
  createdAt: 0,
  lastSeenAt: 0
})
const message = (number: number) => ({
  jsonrpc: '2.0' as const,
  method: 'notifications/message',
  params: { data: number }
})

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
  const replicas = [replica(t, store), replica(t, store)]
  const ada = session('ada')
  const received: number[] = []
  let events = await replicas[0]!.open(ada)
  for (let round = 1; round <= 60; round++) {
    const queuing = replicas[round % 2]!.standalone.queue(ada, message(round))
    if (round % 4 === 0) {
      const [, queue, changes] = events.lastEventId!.split('.').map(Number)
      await events.cut()
      events = await replicas[(round / 4) % 2]!.open(ada, { queue: queue!, changes: changes! })
    }
    await queuing
    received.push((await events.message()).params.data)
  }
  t.same(received, Array.from({ length: 60 }, (_, index) => index + 1))
})

t.test('the older stream sends messages from before the newer one, however late it reads them', async (t) => {
  const store = testStore(t)
  const { open, standalone, announce } = replica(t, store)
  const older = await open(session('ada'))
  await older.next()
  await settle()
  store.isLost = ({ kind }) => kind === 'message-queued' || kind === 'change-published'
  await standalone.queue(session('ada'), message(1))
  announce()
  await settle()
  store.isLost = () => false
  const newer = await open(session('ada'))
  t.match([await older.message(), await older.message()], [message(1), CHANGED])
  await standalone.queue(session('ada'), message(2))
  announce()
  t.match([await newer.message(), await newer.message()], [message(2), CHANGED])
  store.notifyGap()
  await settle()
  t.equal(older.ids.at(-1), 's.1.1', 'and no later message')
})

t.test('an older stream sends its own messages before it continues for the newer one', async (t) => {
  const store = testStore(t)
  const { open, standalone, announce } = replica(t, store)
  const older = await open(session('ada'))
  await older.next()
  await settle()
  store.isLost = ({ kind }) => kind === 'message-queued'
  await standalone.queue(session('ada'), message(1))
  store.isLost = () => false
  // The older stream cannot read the store when the newer one starts.
  const { entries } = store
  let reads = 0
  store.entries = async (...args) => {
    if (++reads > 2) throw new StoreUnavailableError()
    return await entries(...args)
  }
  const newer = await open(session('ada'))
  await settle()
  store.entries = entries
  store.isLost = ({ kind }) => kind === 'message-queued' || kind === 'change-published'
  await standalone.queue(session('ada'), message(2))
  announce()
  await settle()
  store.isLost = () => false
  await newer.cut()
  t.match([await older.message(), await older.message(), await older.message()], [message(1), message(2), CHANGED])
})

t.test('the newest stream continues when an older one ends', async (t) => {
  const store = testStore(t)
  const { open, standalone } = replica(t, store)
  const events = await open(session('ada'))
  await settle()
  await store.publish(
    'replicas',
    JSON.stringify({ kind: 'stream-released', session: digest('ada'), reader: 'another', position: 's.9.9' })
  )
  await standalone.queue(session('ada'), message(1))
  t.match(await events.message(), message(1))
  t.equal(events.lastEventId, 's.1.0')
})

t.test('a stream that could not read the store tries again', async (t) => {
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

t.test('one of several older streams continues when the newest ends', async (t) => {
  const store = testStore(t)
  const [one, other] = [replica(t, store), replica(t, store)]
  const older = [await one.open(session('ada')), await other.open(session('ada'))]
  const newest = await one.open(session('ada'))
  await settle()
  await newest.cut()
  const received: unknown[] = []
  for (const events of older) events.message().then((message) => { received.push(message) }, t.fail)
  await one.standalone.queue(session('ada'), message(1))
  await settle()
  t.match(received, [message(1)])
})

t.test('messages are found after a gap in the messages between replicas', async (t) => {
  const store = testStore(t)
  const { open, standalone, announce } = replica(t, store)
  const events = await open(session('ada'))
  await settle()
  store.isLost = () => true
  await standalone.queue(session('ada'), message(1))
  announce()
  await settle()
  store.notifyGap()
  t.match([await events.message(), await events.message()], [message(1), CHANGED])
})

t.test('later messages arrive after the store has lost its logs', async (t) => {
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

t.test('a change is found by polling when the message between replicas is lost', async (t) => {
  const cluster = startEngines(t, { internals: { pollMs: 20 } })
  const { get } = await startSession(cluster)
  const { events } = await get()
  cluster.store.isLost = ({ kind }) => kind === 'change-published'
  await send(cluster.engines[1]!, ...modern('tools/call', { name: 'change_tools', arguments: {} }))
  t.match(await events.message(), CHANGED)
})

t.test('a message of a session arrives although the message between replicas is lost', async (t) => {
  const store = testStore(t)
  const renew = async (): Promise<Session> => session('ada')
  const [one, other] = [replica(t, store, { renew, renewMs: 20 }), replica(t, store)]
  const events = await one.open(session('ada'))
  store.isLost = ({ kind }) => kind === 'message-queued'
  await other.standalone.queue(session('ada'), message(1))
  await other.standalone.queue(session('ada'), message(2))
  t.match([await events.message(), await events.message()], [message(1), message(2)])
})

t.test('an open stream renews its session, and ends with it', async (t) => {
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
  t.notOk(events.hasEnded)
  fails = new SessionNotFoundError()
  t.same(await events.rest(), [])
})

t.test('exactly one older stream takes over', async (t) => {
  const store = testStore(t)
  const [one, other] = [replica(t, store), replica(t, store)]
  const ada = session('ada')
  const [first, second, third] = [await one.open(ada), await other.open(ada), await one.open(ada)]
  await settle()
  await third.cut()
  await other.standalone.queue(ada, message(1))
  await settle()
  const sent: unknown[] = []
  for (const events of [first, second]) {
    await events.cut()
    for (let event = await events.next(); event !== undefined; event = await events.next()) {
      if (event.data !== '') sent.push(event.data)
    }
  }
  t.equal(sent.length, 1)
})

t.test('each change has its notification', (t) => {
  t.match(toNotification({ kind: 'prompts_list_changed' }), { method: 'notifications/prompts/list_changed' })
  t.match(toNotification({ kind: 'resources_list_changed' }), { method: 'notifications/resources/list_changed' })
  t.same(
    toNotification({ kind: 'resource_updated', uri: 'x://y' }),
    { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'x://y' } }
  )
  t.end()
})

t.test('the session is usable at another replica while its stream is idle', async (t) => {
  const cluster = startEngines(t, { internals: { eventStreams: { keepAliveMs: 5 } } })
  const one = await startSession(cluster)
  const { events } = await one.get()
  await events.next()
  t.match(await events.next(), { comment: 'keep-alive' })
  t.equal((await send(cluster.engines[1]!, request('ping'), { headers: one.headers })).status, 200)
})
