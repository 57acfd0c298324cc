import { createHash } from 'node:crypto'
import t from 'tap'
import { OAuthError } from '../../src/errors/oauth-error.ts'
import { createRateLimiter } from '../../src/limits/rate-limit.ts'
import type { RateLimiter } from '../../src/limits/rate-limit.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'

const LIMIT = { most: 2, windowSeconds: 60, setting: 'A_SETTING' }

/** A store whose counters can be taken away, and a limiter on it, by one clock. */
function setUp (maxKeys?: number) {
  const state = { now: 1_800_000_000_000, away: false, asked: [] as string[] }
  const memory = createMemoryStore({ now: () => state.now, ...(maxKeys !== undefined && { maxKeys }) })
  t.teardown(async () => { await memory.close() })
  const store: Store = {
    ...memory,
    async increment (key, ttlSeconds) {
      state.asked.push(key)
      if (state.away) throw new StoreUnavailableError()
      return await memory.increment(key, ttlSeconds)
    }
  }
  return { state, store, limiter: createRateLimiter(store, () => state.now) }
}

/** For each of so many requests in a row: undefined when it is let through, otherwise the Retry-After. */
async function ask (limiter: RateLimiter, times: number, whose = '192.0.2.1', endpoint = 'token'): Promise<Array<number | undefined>> {
  const answers: Array<number | undefined> = []
  for (let time = 0; time < times; time++) {
    answers.push(await limiter.count(endpoint, whose, LIMIT).then(() => undefined, (err: OAuthError) => err.retryAfterSeconds))
  }
  return answers
}

for (const away of [false, true]) {
  t.test(`lets through as many as the limit says in a window, for each name and endpoint (the store is ${away ? 'away' : 'there'})`, async (t) => {
    const { state, limiter } = setUp()
    state.away = away
    t.same(await ask(limiter, 2), [undefined, undefined])
    state.now += 20_000
    t.same(await ask(limiter, 2), [40, 40], 'the window is not prolonged')
    t.same(await ask(limiter, 3, '192.0.2.2'), [undefined, undefined, 60])
    t.same(await ask(limiter, 3, '192.0.2.1', 'authorize'), [undefined, undefined, 60])
    state.now += 39_999
    t.same(await ask(limiter, 1), [1], 'at least one second')
    state.now += 1
    t.same(await ask(limiter, 3), [undefined, undefined, 60], 'the next window')
  })

  t.test(`says what was asked too often, and for the log by how much (the store is ${away ? 'away' : 'there'})`, async (t) => {
    const { state, limiter } = setUp()
    state.away = away
    await ask(limiter, 3)
    const refused: unknown = await limiter.count('token', '192.0.2.1', LIMIT).catch((err) => err)
    t.ok(refused instanceof OAuthError)
    t.match(refused, {
      statusCode: 429,
      code: 'temporarily_unavailable',
      message: 'Too many requests; try again in 60 seconds',
      retryAfterSeconds: 60,
      detail: '4 requests to token in 60 s, the limit is 2 (A_SETTING, TRUST_PROXY)'
    })
  })
}

t.test('what is counted is not named in the store', async (t) => {
  const { state, limiter } = setUp()
  await ask(limiter, 1, '192.0.2.1')
  t.same(state.asked, [`limit:token:${createHash('sha256').update('192.0.2.1').digest('base64url')}`])
})

t.test('replicas count together, and each for itself while the store is away', async (t) => {
  const { state, store, limiter: one } = setUp()
  const two = createRateLimiter(store, () => state.now)
  t.same([...await ask(one, 1), ...await ask(two, 2)], [undefined, undefined, 60])
  state.away = true
  t.same(await ask(one, 3), [undefined, undefined, 60])
  t.same(await ask(two, 3), [undefined, undefined, 60])
  state.away = false
  t.same(await ask(one, 1), [60], 'what the store has counted still counts')
})

t.test('a full store is no way round the limit', async (t) => {
  const { limiter } = setUp(1)
  await ask(limiter, 1, 'fills it')
  t.same(await ask(limiter, 3), [undefined, undefined, 60])
})

t.test('a replica by itself counts a hundred thousand names, and forgets the oldest for more', async (t) => {
  const { state, limiter } = setUp()
  state.away = true
  t.same(await ask(limiter, 3, 'oldest'), [undefined, undefined, 60])
  for (let other = 0; other < 99_999; other++) await limiter.count('token', `other ${other}`, LIMIT)
  t.same(await ask(limiter, 1, 'oldest'), [60], 'a hundred thousand are held')
  await limiter.count('token', 'one more', LIMIT)
  t.same(await ask(limiter, 1, 'oldest'), [undefined], 'the oldest begins anew')
})

t.test('a fault of the store that is no outage is not taken for one', async (t) => {
  const fault = new TypeError('a bug')
  const { store } = setUp()
  await t.rejects(createRateLimiter({ ...store, async increment () { throw fault } }).count('token', 'x', LIMIT), fault)
})
