import t from 'tap'
import { createSessionCache } from '../../../src/mcp/sessions/session-cache.ts'
import type { Session } from '../../../src/mcp/sessions/session.ts'

const START = 1_800_000_000_000

const session = (digest: string): Session => ({
  digest,
  principalKey: 'ada',
  clientInfo: { name: 'test', version: '1' },
  capabilities: {},
  protocolVersion: '2025-11-25',
  logLevel: undefined,
  createdAt: START,
  lastSeenAt: START
})

function setUp (maxAgeSeconds = 86_400) {
  const clock = { now: START }
  return { clock, cache: createSessionCache(1_000, maxAgeSeconds, () => clock.now) }
}

t.test('a cached session is found by its principal alone, until its time to live is over', async (t) => {
  const { clock, cache } = setUp()
  cache.beginRead()('id', session('digest'))
  t.match(cache.find('id', 'ada'), { digest: 'digest' })
  t.equal(cache.find('id', 'bob'), undefined)
  t.equal(cache.find('other', 'ada'), undefined)
  clock.now += 1_001
  t.equal(cache.find('id', 'ada'), undefined)
})

t.test('a session is not cached beyond its maximum age', async (t) => {
  const { clock, cache } = setUp(2)
  clock.now += 500
  cache.beginRead()('id', session('digest'))
  t.ok(cache.find('id', 'ada'))
  clock.now += 501
  t.equal(cache.find('id', 'ada'), undefined)
  cache.beginRead()('id', session('digest'))
  t.equal(cache.find('id', 'ada'), undefined)
})

t.test('a session that was read before a removal is not cached', async (t) => {
  const { cache } = setUp()
  for (const remove of [() => { cache.remove('another') }, () => { cache.remove() }]) {
    const setCached = cache.beginRead()
    remove()
    setCached('id', session('digest'))
    t.equal(cache.find('id', 'ada'), undefined)
  }
})

t.test('a removed session is not found, and all are removed at once', async (t) => {
  const { cache } = setUp()
  for (const name of ['one', 'other']) cache.beginRead()(name, session(`digest-${name}`))
  cache.remove('digest-one')
  t.equal(cache.find('one', 'ada'), undefined)
  t.ok(cache.find('other', 'ada'))
  cache.remove()
  t.equal(cache.find('other', 'ada'), undefined)
})

t.test('a full cache drops the session that was used least recently', async (t) => {
  const { cache } = setUp()
  for (let number = 0; number < 10_000; number++) cache.beginRead()(`id-${number}`, session(`digest-${number}`))
  t.ok(cache.find('id-0', 'ada'))
  cache.beginRead()('id-10000', session('digest-10000'))
  t.ok(cache.find('id-10000', 'ada'))
  t.equal(cache.find('id-1', 'ada'), undefined)
  t.ok(cache.find('id-0', 'ada'))
})
