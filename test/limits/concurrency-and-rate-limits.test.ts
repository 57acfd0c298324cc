import { LimitError } from '../../src/errors/http-error.ts'
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { createMcpLimits } from '../../src/limits/concurrency-and-rate-limits.ts'
import { createSharedCounters } from '../../src/limits/shared-counters.ts'
import { openRedisClient } from '../../src/store/redis-client.ts'
import { createRedisStore } from '../../src/store/redis.ts'
import { until } from '../support/until.ts'
import { PATIENT } from '../store/open-redis.ts'
import { redisForTests } from '../support/redis.ts'
import { startCounting } from '../support/shared-counters.ts'
import type { Test } from 'tap'

const TICKS = 25
const HERE = '192.0.2.1'
const of = (personKey: string | undefined, address: string) => ({
  principal: personKey === undefined ? undefined : { personKey }, address
})
const LIMITS = {
  requestsPerAddress: 20,
  requestsPerPrincipal: 10,
  refusedPerAddress: 4,
  callsPerPrincipal: 3,
  streamsPerPrincipal: 2
}

function setUp (t: Test, limits: Partial<typeof LIMITS> = {}) {
  const replicas = startCounting(t)
  return {
    ...replicas,
    limitsOf: (id: string) => createMcpLimits(replicas.replica(id).counters, { ...LIMITS, ...limits })
  }
}

/** Returns the number of attempts that are admitted. */
function admitted (times: number, attempt: () => unknown): number {
  let count = 0
  for (let time = 0; time < times; time++) {
    try {
      attempt()
      count++
    } catch (err) {
      if (!(err instanceof LimitError)) throw err
    }
  }
  return count
}

function refusal (attempt: () => unknown): LimitError | undefined {
  try {
    attempt()
  } catch (err) {
    if (err instanceof LimitError) return err
    throw err
  }
}

t.test('requests of a principal are limited over all replicas and addresses, until the minute is over', async (t) => {
  const { limitsOf, elapse, settle } = setUp(t)
  const [one, other] = [limitsOf('a'), limitsOf('b')]
  await elapse(1)
  t.equal(admitted(10, () => { one.countRequest(HERE, 'ada') }), 10)
  await settle()
  const refused = refusal(() => { other.countRequest('192.0.2.2', 'ada') })
  t.match(refused, { name: 'LimitError', statusCode: 429, retryAfterSeconds: 60 })
  t.equal(refused?.message, 'Too many requests: at most 10 a minute; try again in 60 seconds')
  t.equal(refused?.detail, '10 requests of one person in this minute (MCP_LIMIT_PER_PRINCIPAL)')
  other.countRequest(HERE, 'bob')
  await elapse(59_500)
  t.equal(
    refusal(() => { one.countRequest(HERE, 'ada') })?.message,
    'Too many requests: at most 10 a minute; try again in 1 second'
  )
  await elapse(500)
  t.equal(admitted(20, () => { other.countRequest(HERE, 'ada') }), 10)
})

t.test('requests of an address; a refused request does not count', async (t) => {
  const { limitsOf } = setUp(t)
  const limits = limitsOf('a')
  t.equal(admitted(100, () => { limits.countRequest(HERE, 'ada') }), 10)
  t.equal(admitted(100, () => { limits.countRequest(HERE, undefined) }), 10, 'of the 20 of the address 10 are left')
  const refused = refusal(() => { limits.countRequest(HERE, 'bob') })
  t.equal(refused?.detail, '20 requests of one address in this minute (MCP_LIMIT_PER_ADDRESS, TRUST_PROXY)')
  t.equal(
    admitted(20, () => { limits.countRequest('192.0.2.2', 'bob') }),
    10,
    'neither against the address nor the principal'
  )
})

t.test('addresses of one /64 network count together, and go to other replicas as a digest', async (t) => {
  const { limitsOf, elapse, messages } = setUp(t)
  const [one] = [limitsOf('a'), limitsOf('b')]
  await elapse(1)
  t.equal(admitted(20, () => { one.countRequest('2001:db8::1', undefined) }), 20)
  t.equal(admitted(20, () => { one.countRequest('2001:db8:0:0:ffff::9', undefined) }), 0, 'the same /64')
  t.equal(admitted(20, () => { one.countRequest('2001:db8:0:1::1', undefined) }), 20)
  one.beginCall(of(undefined, HERE))
  await elapse(TICKS)
  const names = messages.flatMap(({ values }) => values.map(([, name]) => name))
  t.ok(names.length > 0)
  t.ok(names.every((name) => /^[\w-]{43}$/.test(name)))
})

t.test('cached digests of addresses are bounded', (t) => {
  const { limitsOf } = setUp(t)
  const limits = limitsOf('a')
  t.equal(admitted(20, () => { limits.countRequest(HERE, undefined) }), 20)
  for (let address = 0; address < 10_001; address++) limits.checkRefused(`10.0.${address >> 8}.${address & 255}`)
  t.equal(
    admitted(20, () => { limits.countRequest(HERE, undefined) }),
    0,
    'an address that was evicted has the same digest again'
  )
  t.end()
})

t.test('an address with too many refused tokens is refused, on all replicas, until the minute is over', async (t) => {
  const { limitsOf, elapse, settle } = setUp(t)
  const [one, other] = [limitsOf('a'), limitsOf('b')]
  await elapse(1)
  for (let time = 0; time < 4; time++) {
    one.checkRefused(HERE)
    one.countRefused(HERE)
  }
  await settle()
  const refused = refusal(() => { other.checkRefused(HERE) })
  t.equal(refused?.message, 'Too many requests with an invalid token: at most 4 a minute; try again in 60 seconds')
  t.equal(
    refused?.detail,
    '4 requests with an invalid token of one address in this minute (MCP_LIMIT_REFUSED, TRUST_PROXY)'
  )
  other.checkRefused('192.0.2.2')
  other.countRequest(HERE, 'ada')
  t.equal(admitted(1_000, () => { one.checkRefused(HERE) }), 0)
  await elapse(60_000)
  one.checkRefused(HERE)
  other.checkRefused(HERE)
})

t.test('running calls of one replica count on the other 25 ms later', async (t) => {
  const { limitsOf, elapse } = setUp(t)
  const [one, other] = [limitsOf('a'), limitsOf('b')]
  await elapse(1)
  const [end] = [one.beginCall(of('ada', HERE)), one.beginCall(of('ada', HERE)), one.beginCall(of('ada', HERE))]
  await elapse(TICKS)
  for (const limits of [one, other]) {
    const refused = refusal(() => limits.beginCall(of('ada', '192.0.2.2')))
    t.match(refused, { statusCode: 429, retryAfterSeconds: 1 })
    t.equal(refused?.message, 'You already have 3 calls running; wait for one to finish')
    t.equal(refused?.detail, '3 calls of one caller at once (CALLS_PER_PRINCIPAL)')
  }
  other.beginCall(of('bob', HERE))
  end!()
  await elapse(TICKS)
  t.equal(admitted(3, () => other.beginCall(of('ada', HERE))), 1)
})

t.test('ending a call twice counts once', async (t) => {
  const { limitsOf } = setUp(t)
  const limits = limitsOf('a')
  const [end] = [limits.beginCall(of('ada', HERE)), limits.beginCall(of('ada', HERE)), limits.beginCall(of('ada', HERE))]
  end!()
  end!()
  t.equal(admitted(5, () => limits.beginCall(of('ada', HERE))), 1)
})

t.test('streams have their own limit; without a principal the address counts', async (t) => {
  const { limitsOf } = setUp(t)
  const limits = limitsOf('a')
  t.equal(admitted(5, () => limits.beginCall(of(undefined, HERE))), 3)
  t.equal(admitted(5, () => limits.beginStream(of(undefined, HERE))), 2)
  t.equal(admitted(5, () => limits.beginStream(of('ada', HERE))), 2)
  const refused = refusal(() => limits.beginStream(of('ada', HERE)))
  t.equal(refused?.message, 'You already have 2 streams open; close one first')
  t.equal(refused?.detail, '2 streams of one caller at once (STREAMS_PER_PRINCIPAL)')
})

t.test('messages have the singular for a limit of one', async (t) => {
  const { limitsOf } = setUp(t, { callsPerPrincipal: 1, streamsPerPrincipal: 1 })
  const limits = limitsOf('a')
  limits.beginCall(of('ada', HERE))
  limits.beginStream(of('ada', HERE))
  t.equal(
    refusal(() => limits.beginCall(of('ada', HERE)))?.message,
    'You already have 1 call running; wait for one to finish'
  )
  t.equal(refusal(() => limits.beginStream(of('ada', HERE)))?.message, 'You already have 1 stream open; close one first')
})

t.test('while the store is away the limits hold on each replica', async (t) => {
  const { limitsOf, state, elapse } = setUp(t)
  const [one, other] = [limitsOf('a'), limitsOf('b')]
  await elapse(1)
  state.away = true
  for (const limits of [one, other]) {
    t.equal(admitted(100, () => { limits.countRequest(HERE, 'ada') }), 10)
    t.equal(admitted(100, () => limits.beginCall(of('ada', HERE))), 3)
    await elapse(TICKS)
  }
})

t.test('a burst over two replicas with Redis: at least the limit is admitted, and at most a tenth more', async (t) => {
  const redis = await redisForTests(t)
  if (!redis) return
  const max = 600
  const keyPrefix = `seed-test:${randomUUID()}:`
  const replicas = ['a', 'b'].map((replicaId) => {
    const log = { info () {}, warn () {}, error () {} }
    const store = createRedisStore(openRedisClient({ url: redis.url, keyPrefix, log, ...PATIENT }), log)
    const counters = createSharedCounters(store, { replicaId })
    t.teardown(async () => {
      await counters.close()
      await store.close()
    })
    return {
      store,
      counters,
      probe: counters.gauge('probe'),
      limits: createMcpLimits(counters, { ...LIMITS, requestsPerAddress: 100_000, requestsPerPrincipal: max })
    }
  })
  for (const { probe } of replicas) probe.add('probe', 1)
  await until(() => replicas.every(({ probe }) => probe.total('probe') === 2), 'the replicas have found each other')
  // A minute that ends within the burst would admit as much again.
  await until(() => new Date().getSeconds() < 53, 'the minute is young enough')

  // Each replica serves eight callers, who make one request after the other and each time look something up in Redis.
  let count = 0
  await Promise.all(replicas.flatMap(({ store, limits }) => Array.from({ length: 8 }, async () => {
    for (let time = 0; time < max * 10 / 16; time++) {
      await store.ping()
      count += admitted(1, () => { limits.countRequest(HERE, 'ada') })
    }
  })))
  t.ok(count >= max && count <= max * 1.1, `${count} of ${max * 10}`)
})
