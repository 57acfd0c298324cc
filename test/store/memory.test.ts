import { mock } from 'node:test'
import t from 'tap'
import { createMemoryStore } from '../../src/store/memory.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import { storeContract } from './contract.ts'

t.test('the contract', async (t) => {
  await storeContract(t, async (t) => {
    let passed = 0
    const store = createMemoryStore({ now: () => Date.now() + passed })
    t.teardown(() => store.close())
    return { store, elapse: async (seconds) => { passed += seconds * 1000 } }
  })
})

t.test('its kind is memory', async (t) => {
  const store = createMemoryStore()
  t.equal(store.kind, 'memory')
  await store.close()
})

t.test('a key expires in its millisecond, not one earlier', async (t) => {
  let time = 0
  const store = createMemoryStore({ now: () => time })
  await store.set('key', 'value', 1)
  time = 999
  t.equal(await store.get('key'), 'value')
  time = 1000
  t.equal(await store.get('key'), undefined)
  time = 0
  t.equal(await store.get('key'), undefined, 'and is removed, not only hidden')
  await store.close()
})

t.test('a full store', async (t) => {
  let time = 0
  const store = createMemoryStore({ now: () => time, maxKeys: 3 })
  t.teardown(() => store.close())
  await store.set('short', 'value', 1)
  await store.set('long', 'value', 10)
  await store.set('count', '1', 10)

  t.test('refuses a new key and says so', async (t) => {
    await t.rejects(store.set('new', 'value', 10), StoreUnavailableError)
    await t.rejects(store.setIfAbsent('new', 'value', 10), StoreUnavailableError)
    await t.rejects(store.addMember('new', 'member', 10), StoreUnavailableError)
    await t.rejects(store.addMemberWithin('new', 'member', 10, 1), StoreUnavailableError)
    await t.rejects(store.append('new', 'entry', { ttlSeconds: 10, maxEntries: 1 }), StoreUnavailableError)
    await t.rejects(store.ping(), StoreUnavailableError)
  })

  t.test('takes a mark that must not wait for room', async (t) => {
    await store.set('mark', '1', 10, { evenIfFull: true })
    t.equal(await store.take('mark'), '1')
  })

  t.test('serves the keys it has', async (t) => {
    await store.set('long', 'other', 10)
    t.equal(await store.get('long'), 'other')
    t.equal(await store.get('short'), 'value', 'nothing was evicted')
    t.same(await store.increment('count', 10), { count: 2, resetSeconds: 10 })
    t.equal(await store.touch('long', 20), 'other')
    t.equal(await store.setIfAbsent('long', 'third', 10), false)
    t.equal(await store.compareAndSet('long', 'other', 'other', 20), true)
    t.equal(await store.compareAndSet('new', 'other', 'value', 20), false)
  })

  t.test('accepts new keys when old ones have expired', async (t) => {
    time = 1000
    await store.ping()
    t.equal(await store.setIfAbsent('new', 'value', 10), true)
    t.equal(await store.get('long'), 'other')
    await t.rejects(store.set('newer', 'value', 10), StoreUnavailableError, 'and no more than that')
    time = 15_000
    await store.set('newer', 'value', 10)
    t.equal(await store.get('long'), 'other', 'a touched key lives on')
    await store.set('newest', 'value', 10)
    await t.rejects(store.set('one too many', 'value', 10), StoreUnavailableError)
  })

  t.test('accepts new keys when old ones were taken', async () => {
    await store.take('newest')
    await store.set('one too many', 'value', 10)
  })
})

t.test('counters have room of their own, and the oldest makes room for a new one', async (t) => {
  const store = createMemoryStore({ maxKeys: 3 })
  t.teardown(() => store.close())
  for (const key of ['a', 'b', 'c', 'd']) await store.increment(key, 10)
  for (const key of ['x', 'y', 'z']) await store.set(key, 'value', 10)
  await t.rejects(store.set('one too many', 'value', 10), StoreUnavailableError)
  t.same((await store.increment('d', 10)).count, 2)
  t.same((await store.increment('a', 10)).count, 1, 'the oldest was forgotten')
  t.equal(await store.take('c'), '1')
  t.equal(await store.get('c'), undefined)
  await store.take('x')
  await store.set('d', 'text', 10)
  t.equal(await store.get('d'), 'text', 'a key has one value')
  await store.delete('d')
  t.equal(await store.get('d'), undefined)
})

t.test('a full store accepts a new key as each old one expires', async (t) => {
  let time = 0
  const store = createMemoryStore({ now: () => time, maxKeys: 2 })
  await store.set('first', 'value', 1)
  await store.set('second', 'value', 2)
  time = 1000
  await store.set('third', 'value', 100)
  await t.rejects(store.set('fourth', 'value', 100), StoreUnavailableError)
  time = 2000
  await store.set('fourth', 'value', 100)
  t.equal(await store.get('fourth'), 'value')
  await store.close()
})

t.test('entries that nobody reads are swept', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  let time = 0
  const store = createMemoryStore({ now: () => time })
  await store.set('short', 'value', 1)
  await store.set('long', 'value', 100)
  mock.timers.tick(60_000)
  t.equal(await store.get('short'), 'value', 'not before it has expired')
  time = 50_000
  mock.timers.tick(60_000)
  time = 0
  t.equal(await store.get('short'), undefined, 'gone, although nobody asked')
  t.equal(await store.get('long'), 'value')
  await store.close()
})

t.test('the sweep does not keep the process alive', async (t) => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  const store = createMemoryStore()
  t.equal(timers(), before)
  await store.close()
})
