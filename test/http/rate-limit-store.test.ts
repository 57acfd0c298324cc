import { createHash } from 'node:crypto'
import t from 'tap'
import { createRateLimitStore } from '../../src/http/rate-limit-store.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'

/** A store whose counters can be taken away, and rate limit stores on it, by one clock. */
function setUp ({ maxKeys, maxLocalKeys }: { maxKeys?: number, maxLocalKeys?: number } = {}) {
  const state = { now: 1_800_000_000_000, away: false, keys: [] as string[] }
  const memory = createMemoryStore({ now: () => state.now, ...(maxKeys !== undefined && { maxKeys }) })
  t.teardown(async () => { await memory.close() })
  const store: Store = {
    ...memory,
    async increment (key, ttlSeconds) {
      state.keys.push(key)
      if (state.away) throw new StoreUnavailableError()
      return await memory.increment(key, ttlSeconds)
    }
  }
  const replica = (options: object = {}) => {
    const Windows = createRateLimitStore(store, {
      now: () => state.now,
      ...(maxLocalKeys !== undefined && { maxLocalKeys })
    })
    return new Windows(options)
  }
  return { state, store, replica }
}

async function count (
  windows: ReturnType<ReturnType<typeof setUp>['replica']>,
  key = '192.0.2.1'
): Promise<{ current: number; ttl: number }> {
  return await new Promise((resolve, reject) => {
    windows.incr(key, (err, result) => { err === null ? resolve(result!) : reject(err) }, 60_000, 2)
  })
}

for (const away of [false, true]) {
  t.test(`counts each key in fixed windows (the store is ${away ? 'away' : 'there'})`, async (t) => {
    const { state, replica } = setUp()
    state.away = away
    const windows = replica()
    t.same(await count(windows), { current: 1, ttl: 60_000 })
    state.now += 20_000
    t.same(await count(windows), { current: 2, ttl: 40_000 }, 'the window is not prolonged')
    t.same(await count(windows, '192.0.2.2'), { current: 1, ttl: 60_000 }, 'another key')
    state.now += 40_000
    t.same(await count(windows), { current: 1, ttl: 60_000 }, 'the next window')
  })
}

t.test('a key is not readable in the store', async (t) => {
  const { state, replica } = setUp()
  await count(replica(), '192.0.2.1')
  t.same(state.keys, [`limit:${createHash('sha256').update('192.0.2.1').digest('base64url')}`])
})

t.test('replicas count together, and each for itself while the store is away', async (t) => {
  const { state, replica } = setUp()
  const [one, two] = [replica(), replica()]
  await count(one)
  t.equal((await count(two)).current, 2)
  state.away = true
  t.equal((await count(one)).current, 1)
  t.equal((await count(two)).current, 1)
  state.away = false
  t.equal((await count(one)).current, 3, 'what the store has counted still counts')
})

t.test('a local limit never asks the store', async (t) => {
  const { state, replica } = setUp()
  const local = replica().child({ local: true } as never)
  t.same([(await count(local)).current, (await count(local)).current], [1, 2])
  t.same(state.keys, [])
})

t.test('a full store does not lift the limit', async (t) => {
  const { replica } = setUp({ maxKeys: 1 })
  const windows = replica()
  await count(windows, 'fills it')
  t.equal((await count(windows)).current, 1)
  t.equal((await count(windows)).current, 2)
})

t.test('a replica that counts by itself forgets the least recently used key beyond its bound', async (t) => {
  const { state, replica } = setUp({ maxLocalKeys: 3 })
  state.away = true
  const windows = replica()
  for (const key of ['oldest', 'a', 'b']) await count(windows, key)
  t.equal((await count(windows, 'oldest')).current, 2, 'three are kept')
  await count(windows, 'c')
  t.equal((await count(windows, 'oldest')).current, 3, 'it was used after the others')
  t.equal((await count(windows, 'a')).current, 1, 'this one was forgotten')
})

t.test('an error of the store that is no outage is passed on', async (t) => {
  const fault = new TypeError('a bug')
  const { store } = setUp()
  const Windows = createRateLimitStore({ ...store, async increment () { throw fault } })
  await t.rejects(count(new Windows({})), fault)
})
