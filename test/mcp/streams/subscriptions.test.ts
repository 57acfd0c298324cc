import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { defineResource, defineResourceTemplate } from '../../../src/define/resource.ts'
import { defineTool } from '../../../src/define/tool.ts'
import { until } from '../../support/until.ts'
import { asPrincipal, call, modern, request, send, settle, startEngines, startSession } from '../../support/mcp.ts'
import type { EnginesOptions } from '../../support/mcp.ts'

/** Notifications of changed resources go to the clients that subscribed, at any replica. */

const definitions = [
  defineResource({ uri: 'news://today', name: 'today', read: () => 'news' }),
  defineResourceTemplate({
    uriTemplate: 'news://{day}',
    name: 'day',
    params: Type.Object({ day: Type.String({ pattern: '^\\d+$' }) }),
    read: ({ day }) => day
  }),
  defineResource({ uri: 'news://board', name: 'board', groups: ['board'], read: () => 'secret' }),
  defineTool({
    name: 'publish',
    description: 'says that resources have changed',
    input: Type.Object({ uris: Type.Array(Type.String()) }),
    handler ({ uris }, { announce }) {
      for (const uri of uris) announce({ kind: 'resource_updated', uri })
      announce({ kind: 'resources_list_changed' })
      return 'published'
    }
  })
]
const LIST_CHANGED = { method: 'notifications/resources/list_changed' }
const updated = (uri: string) => ({ method: 'notifications/resources/updated', params: { uri } })

async function setUp (t: Test, options: EnginesOptions = {}) {
  const cluster = startEngines(t, { definitions, ...options })
  const publisher = await startSession(cluster)
  return {
    cluster,
    async publish (...uris: string[]) {
      t.match(
        (await publisher.post(call('publish', { uris }), { at: 1 })).body.result,
        { content: [{ text: 'published' }] }
      )
      await settle()
    }
  }
}

t.test('a session is notified of the resources it subscribed to, at every replica', async (t) => {
  const { cluster, publish } = await setUp(t)
  const [ada, bob] = [await startSession(cluster), await startSession(cluster)]
  const [adasEvents, bobsEvents] = [(await ada.get({ at: 1 })).events, (await bob.get()).events]
  t.same((await ada.post(request('resources/subscribe', { uri: 'news://today' }))).body.result, {})
  t.same(
    (await ada.post(request('resources/subscribe', { uri: 'news://7' }), { at: 1 })).body.result,
    {},
    'one of a template'
  )
  t.same(
    (await ada.post(request('resources/subscribe', { uri: 'news://7' }), { at: 1 })).body.result,
    {},
    'twice is once'
  )

  await publish('news://today', 'news://8', 'news://7')
  for (const expected of [
    updated('news://today'),
    updated('news://7'),
    LIST_CHANGED
  ]) t.match(await adasEvents.message(), expected)
  t.match(await bobsEvents.message(), LIST_CHANGED)

  t.same((await ada.post(request('resources/unsubscribe', { uri: 'news://today' }), { at: 1 })).body.result, {})
  await publish('news://today', 'news://7')
  for (const expected of [updated('news://7'), LIST_CHANGED]) t.match(await adasEvents.message(), expected)
})

t.test('a new or resumed stream knows the subscriptions of its session', async (t) => {
  const { cluster, publish } = await setUp(t)
  const session = await startSession(cluster)
  await session.post(request('resources/subscribe', { uri: 'news://today' }))
  const first = (await session.get({ at: 1 })).events
  await publish('news://today')
  t.match(await first.message(), updated('news://today'))
  t.match(await first.message(), LIST_CHANGED)
  const { lastEventId } = first
  await first.cut()
  await publish('news://8', 'news://today')
  const second = (await session.get({ lastEventId })).events
  t.match(await second.message(), updated('news://today'))
  t.match(await second.message(), LIST_CHANGED)
})

t.test('a stream finds a subscription whose message was lost', async (t) => {
  const { cluster, publish } = await setUp(t, { internals: { renewMs: 20 } })
  cluster.store.isLost = ({ kind }) => kind === 'subscriptions-changed'
  const session = await startSession(cluster)
  const { events } = await session.get({ at: 1 })
  await session.post(request('resources/subscribe', { uri: 'news://today' }))
  const before = cluster.store.calls.length
  await until(
    () => cluster.store.calls.slice(before).filter(([method]) => method === 'get').length > 1,
    'the streams are renewed'
  )
  await publish('news://today')
  t.match(await events.message(), updated('news://today'))
})

t.test('a subscription that is added while they are read counts', async (t) => {
  const { cluster, publish } = await setUp(t)
  const session = await startSession(cluster)
  const { events } = await session.get({ at: 1 })
  await session.post(request('resources/subscribe', { uri: 'news://7' }))
  const { get } = cluster.store
  let held = 0
  cluster.store.get = async (key) => {
    const value = await get(key)
    // The stream looks; before it has its answer, there is one more subscription.
    if (key.startsWith('session:') && held++ === 1) {
      cluster.store.get = get
      await session.post(request('resources/subscribe', { uri: 'news://today' }), { at: 0 })
      await settle()
    }
    return value
  }
  await publish('news://7', 'news://today')
  t.match(await events.message(), updated('news://7'))
  t.match(await events.message(), updated('news://today'))
})

t.test('a stream ends when it finds that its session has ended', async (t) => {
  const { cluster, publish } = await setUp(t)
  const session = await startSession(cluster)
  const { events } = await session.get({ at: 1 })
  await session.post(request('resources/subscribe', { uri: 'news://7' }))
  cluster.store.isLost = ({ kind }) => kind === 'session-ended'
  await session.end()
  await publish('news://7')
  t.same((await events.rest()).filter(({ method }) => method === 'notifications/resources/updated'), [])
})

t.test('subscriptions to missing and hidden resources, or to too many, are refused', async (t) => {
  const { cluster } = await setUp(t)
  const session = await startSession(cluster, { principal: asPrincipal('ada') })
  for (const uri of ['news://nowhere', 'news://board', 'file:///etc/passwd']) {
    t.match(
      (await session.post(request('resources/subscribe', { uri }))).body.error,
      { code: -32602, data: { uri } },
      uri
    )
  }
  for (let day = 0; day < 50; day++) await session.post(request('resources/subscribe', { uri: `news://${day}` }))
  t.match(
    (await session.post(request('resources/subscribe', { uri: 'news://50' }))).body.error,
    { code: -32602, message: /50 resources at most/ }
  )
  const board = await startSession(cluster, { principal: asPrincipal('bob', { groups: ['board'] }) })
  t.same((await board.post(request('resources/subscribe', { uri: 'news://board' }))).body.result, {})
})

t.test('a client that subscribes while its stream opens is notified', async (t) => {
  const { cluster, publish } = await setUp(t)
  const session = await startSession(cluster)
  const { set } = cluster.store
  cluster.store.set = async (...args) => {
    cluster.store.set = set
    await session.post(request('resources/subscribe', { uri: 'news://today' }), { at: 1 })
    await set(...args)
  }
  const { events } = await session.get()
  await publish('news://today')
  t.match(await events.message(), updated('news://today'))
  await events.cut()
})

t.test('a session that ends meanwhile gets no subscription', async (t) => {
  const { cluster } = await setUp(t)
  const session = await startSession(cluster)
  const { compareAndSet } = cluster.store
  cluster.store.compareAndSet = async (...args) => {
    cluster.store.compareAndSet = compareAndSet
    await session.end({ at: 1 })
    return await compareAndSet(...args)
  }
  t.match(
    (await session.post(request('resources/subscribe', { uri: 'news://today' }))).body.error,
    { code: -32000, message: /ended/ }
  )
})

t.test('2026-07-28: a subscription leaves out resources that are hidden from the caller', async (t) => {
  const { cluster, publish } = await setUp(t)
  const [body, options] = modern('subscriptions/listen', {
    notifications: {
      resourcesListChanged: true,
      resourceSubscriptions: ['news://today', 'news://board', 'news://nowhere']
    }
  }, { id: 'sub' })
  const { events } = await send(cluster.engines[0]!, body, { ...options, principal: asPrincipal('ada') })
  t.match(await events.message(), {
    method: 'notifications/subscriptions/acknowledged',
    params: { notifications: { resourcesListChanged: true, resourceSubscriptions: ['news://today'] } }
  })
  await publish('news://board', 'news://nowhere', 'news://today')
  t.match(await events.message(), {
    ...updated('news://today'),
    params: { uri: 'news://today', _meta: { 'io.modelcontextprotocol/subscriptionId': 'sub' } }
  })
  t.match(await events.message(), LIST_CHANGED)
  await events.cut()
})

t.test('2026-07-28: a stream is subscribed to fifty resources at most, and the acknowledgement names these', async (t) => {
  const { cluster, publish } = await setUp(t)
  const uris = Array.from({ length: 60 }, (_, day) => `news://${day}`)
  const [body, options] = modern('subscriptions/listen', {
    notifications: { resourceSubscriptions: ['news://0', ...uris] }
  }, { id: 'sub' })
  const { events } = await send(cluster.engines[0]!, body, { ...options, principal: asPrincipal('ada') })
  const acknowledged = await events.message()
  t.match(acknowledged, { method: 'notifications/subscriptions/acknowledged' })
  t.same(acknowledged!.params!['notifications'], { resourceSubscriptions: uris.slice(0, 50) })
  await publish('news://50', 'news://49')
  t.match(await events.message(), updated('news://49'))
  await events.cut()
})

t.test('a watched resource notifies its subscribers until it is no longer offered', async (t) => {
  let tell: () => void = () => {}
  let watching = 0
  const watched = defineResource({
    uri: 'clock://now',
    name: 'now',
    read: () => 'now',
    watch (changed) {
      watching++
      tell = changed
      return () => { watching-- }
    }
  })
  const breaks = defineResource({
    uri: 'clock://broken',
    name: 'broken',
    read: () => 'x',
    watch () { throw new Error('no such clock') }
  })
  const stuck = defineResource({
    uri: 'clock://stuck',
    name: 'stuck',
    read: () => 'x',
    watch: () => () => { throw new Error('cannot stop') }
  })
  const cluster = startEngines(t, { count: 1, definitions: [breaks, watched, stuck] })
  t.equal(watching, 1, 'a watcher that fails does not affect the others')
  t.match(
    cluster.lines.find(({ handler }) => handler === 'watching clock://broken'),
    { err: { message: 'no such clock' }, message: 'A handler failed' }
  )
  const session = await startSession(cluster)
  const { events } = await session.get()
  await session.post(request('resources/subscribe', { uri: 'clock://now' }))
  tell()
  t.match(await events.message(), updated('clock://now'))

  cluster.engines[0]!.replace([watched])
  t.equal(watching, 1, 'an offered resource is watched again')
  t.match(cluster.lines.find(({ handler }) => String(handler).startsWith('stopping the watch of ')), { err: { message: 'cannot stop' } })
  t.match(await events.message(), LIST_CHANGED)
  cluster.engines[0]!.replace([])
  t.equal(watching, 0)
})

t.test('a subscription stays where a replica does not offer the resource, as during an update', async (t) => {
  const { cluster, publish } = await setUp(t)
  const session = await startSession(cluster)
  await session.post(request('resources/subscribe', { uri: 'news://today' }))
  cluster.engines[0]!.replace(definitions.filter((definition) => !('uri' in definition)))
  await settle()
  t.equal((await session.post(request('prompts/list'), { at: 0 })).status, 200)
  const { events } = await session.get({ at: 0 })
  await publish('news://today')
  t.match(await events.message(), updated('news://today'))
})
