import t from 'tap'
import { createSharedCounters } from '../../src/limits/shared-counters.ts'
import type { Counter } from '../../src/limits/shared-counter.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { until } from '../support/until.ts'
import { startCounting } from '../support/shared-counters.ts'

const TICKS = 25
const MISSED = 9_000

function add (counter: Counter, name: string, times: number): void {
  for (let time = 0; time < times; time++) counter.add(name)
}

t.test('a gauge reaches the other replica within 25 ms of a change, up and down', async (t) => {
  const { replica, elapse } = startCounting(t)
  const [here, there] = [replica('a').counters.gauge('calls'), replica('b').counters.gauge('calls')]
  await elapse(5)
  here.add('ada', 3)
  here.add('bob', 1)
  there.add('ada', 2)
  t.same([here.total('ada'), there.total('ada')], [3, 2], 'at first each replica knows its own')
  await elapse(TICKS)
  t.same([here.total('ada'), there.total('ada'), there.total('bob'), there.total('eve')], [5, 5, 1, 0])
  here.add('ada', -2)
  here.add('bob', -1)
  await elapse(TICKS)
  t.same([here.total('ada'), there.total('ada'), there.total('bob')], [3, 3, 0])
})

t.test('a gauge never falls below 0', async (t) => {
  const { replica, elapse } = startCounting(t)
  const [here, there] = [replica('a').counters.gauge('calls'), replica('b').counters.gauge('calls')]
  here.add('ada', -1)
  here.add('ada', 1)
  here.add('ada', -5)
  here.add('ada', 1)
  await elapse(TICKS)
  t.same([here.total('ada'), there.total('ada')], [1, 1])
})

t.test('short calls cost no messages; while nothing is going on only the heartbeat timer runs', async (t) => {
  const { replica, elapse, messages, timers } = startCounting(t)
  const [here, there] = [replica('a').counters.gauge('calls'), replica('b').counters.gauge('calls')]
  for (let call = 0; call < 100; call++) {
    here.add('ada', 1)
    await elapse(call % 12)
    here.add('ada', -1)
    await elapse(1)
  }
  t.same(messages, [])
  await elapse(TICKS)
  t.same([...timers].map(({ ms }) => ms), [2_000, 2_000])
  here.add('ada', 2)
  for (let call = 0; call < 30; call++) {
    here.add('ada', 1)
    await elapse(3)
    here.add('ada', -1)
    await elapse(3)
  }
  t.equal(there.total('ada'), 2, 'of a value that varies, the part that holds is announced')
  t.equal(messages.filter(({ isSnapshot }) => !isSnapshot).length, 1)
})

t.test('a single replica sends only heartbeats', async (t) => {
  const { replica, elapse, messages } = startCounting(t)
  const { counters } = replica('a')
  const [calls, requests] = [counters.gauge('calls'), counters.counter('requests', 100)]
  await elapse(TICKS)
  calls.add('ada', 5)
  add(requests, 'ada', 100)
  await elapse(500)
  t.same(messages, [])
  t.same([calls.total('ada'), requests.total('ada')], [5, 100])
})

t.test('a replica that starts later gets a snapshot at once', async (t) => {
  const { replica, elapse, settle } = startCounting(t)
  const { counters } = replica('a')
  const [calls, requests] = [counters.gauge('calls'), counters.counter('requests', 100)]
  calls.add('ada', 5)
  add(requests, 'ada', 50)
  await elapse(300)
  const late = replica('b').counters
  const [lateCalls, lateRequests] = [late.gauge('calls'), late.counter('requests', 100)]
  await settle()
  t.same([lateCalls.total('ada'), lateRequests.total('ada')], [5, 50])
  const later = late.gauge('streams')
  t.equal(later.total('ada'), 0)
})

t.test('the gauges of a killed replica are forgotten after three heartbeats; its counts stay', async (t) => {
  const { replica, elapse } = startCounting(t)
  const [one, other] = [replica('a'), replica('b')]
  const [here, there] = [one.counters.gauge('calls'), other.counters.gauge('calls')]
  const [countHere, countThere] = [one.counters.counter('requests', 100), other.counters.counter('requests', 100)]
  await elapse(1)
  here.add('ada', 4)
  there.add('ada', 1)
  add(countHere, 'ada', 20)
  await elapse(TICKS)
  t.equal(there.total('ada'), 5)
  one.kill()
  await elapse(4_000)
  t.equal(there.total('ada'), 5, 'one heartbeat may be lost')
  await elapse(MISSED - 4_000)
  t.same([there.total('ada'), countThere.total('ada')], [1, 20])
})

t.test('the gauges of a replica that closes are forgotten at once; its counts stay', async (t) => {
  const { replica, elapse, settle, timers, messages } = startCounting(t)
  const [one, other] = [replica('a'), replica('b')]
  const [here, there] = [one.counters.gauge('calls'), other.counters.gauge('calls')]
  const [countHere, countThere] = [one.counters.counter('requests', 100), other.counters.counter('requests', 100)]
  await elapse(1)
  here.add('ada', 4)
  add(countHere, 'ada', 12)
  await elapse(TICKS)
  here.add('bob', 1)
  add(countHere, 'ada', 2)
  await Promise.all([one.counters.close(), one.counters.close()])
  t.same([there.total('ada'), countThere.total('ada')], [0, 12])
  t.equal(timers.size, 1, "the other's heartbeat")
  const sent = messages.length
  here.add('ada', -4)
  here.add('eve', 1)
  add(countHere, 'ada', 50)
  there.add('eve', 1)
  await elapse(TICKS)
  await settle()
  t.equal(messages.length, sent + 1, 'it sends nothing more')
  t.equal(here.total('eve'), 1, 'and receives nothing')
})

t.test('counters that are closed in the turn that created them send nothing later', async (t) => {
  const { replica, settle, messages } = startCounting(t)
  const { counters } = replica('a')
  counters.counter('requests', 10).add('ada')
  await counters.close()
  const sent = messages.length
  await settle()
  t.equal(messages.length, sent)
})

t.test('a count is announced from a tenth of its limit on, then by steps and every 250 ms', async (t) => {
  const { replica, elapse, settle, messages } = startCounting(t)
  const [here, there] = [replica('a').counters.counter('requests', 600), replica('b').counters.counter('requests', 600)]
  await elapse(1)
  add(here, 'ada', 59)
  await elapse(1_000)
  t.same([here.total('ada'), there.total('ada'), messages.length], [59, 0, 0], 'a small count costs no message')
  here.add('ada')
  await settle()
  t.equal(there.total('ada'), 60)
  add(here, 'ada', 29)
  await settle()
  t.equal(there.total('ada'), 60)
  here.add('ada')
  await settle()
  t.same([there.total('ada'), messages.length], [90, 2])
  here.add('ada')
  await elapse(100)
  t.equal(there.total('ada'), 91)
  here.add('ada')
  here.add('ada')
  await elapse(20)
  t.equal(there.total('ada'), 91, 'not yet')
  await elapse(250)
  t.equal(there.total('ada'), 93)
  const sent = messages.length
  add(here, 'ada', 600 - 93)
  await settle()
  t.equal(messages.length, sent + 1, 'the steps of one turn share a message')
  add(here, 'ada', 1_000)
  await elapse(1_000)
  t.same([here.total('ada'), there.total('ada')], [1_600, 600], 'beyond the limit nothing is announced')
})

t.test('a step before the tick leaves nothing for the tick to announce', async (t) => {
  const { replica, elapse, messages } = startCounting(t)
  const [here] = [replica('a').counters.counter('requests', 100), replica('b').counters.counter('requests', 100)]
  await elapse(1)
  add(here, 'ada', 11)
  add(here, 'ada', 4)
  await elapse(500)
  t.same(messages.map(({ values }) => values), [[['requests', 'ada', 10], ['requests', 'ada', 15]]])
})

t.test('with more replicas each leaves less unannounced', async (t) => {
  const { replica, elapse } = startCounting(t)
  const counts = ['a', 'b', 'c', 'd', 'e'].map((id) => replica(id).counters.counter('requests', 100))
  await elapse(1)
  for (const count of counts) add(count, 'ada', 19)
  await elapse(1)
  t.same(
    counts.map((count) => count.total('ada')),
    Array(5).fill(19 + 4 * 18),
    'of 95, at most a tenth of the limit is missing'
  )
})

t.test('counts start again with each minute of the wall clock, on all replicas', async (t) => {
  const { replica, elapse, settle } = startCounting(t)
  const [one, other] = [replica('a').counters, replica('b').counters]
  const [here, there] = [one.counter('requests', 10), other.counter('requests', 10)]
  const [calls, callsThere] = [one.gauge('calls'), other.gauge('calls')]
  await elapse(1)
  calls.add('ada', 1)
  t.equal(here.secondsLeft(), 60)
  await elapse(59_500)
  t.equal(here.secondsLeft(), 1)
  add(here, 'ada', 7)
  await settle()
  t.equal(there.total('ada'), 7)
  add(here, 'ada', 2)
  await elapse(499)
  t.same([here.total('ada'), there.total('ada'), here.secondsLeft()], [0, 0, 60])
  here.add('ada')
  await settle()
  t.same([here.total('ada'), there.total('ada')], [1, 1])
  t.equal(callsThere.total('ada'), 1, 'gauges go on')
})

t.test('a count that was not sent when its minute ended is not sent in the next', async (t) => {
  const { replica, elapse, settle } = startCounting(t)
  const wallClock = { now: 0 }
  const clocks = { wallClock: () => 1_800_000_000_000 + wallClock.now }
  const [here, there] = [
    replica('a', clocks).counters.counter('requests', 10),
    replica('b', clocks).counters.counter('requests', 10)
  ]
  await elapse(1)
  add(here, 'ada', 5)
  wallClock.now = 60_000
  here.add('bob')
  await settle()
  t.same([there.total('ada'), there.total('bob')], [0, 1])
})

t.test('counts of a replica whose clock is in another minute are left out', async (t) => {
  const { replica, elapse } = startCounting(t)
  const [here, there] = [
    replica('a').counters.counter('requests', 10),
    replica('b', { aheadMs: 60_000 }).counters.counter('requests', 10)
  ]
  await elapse(1)
  add(here, 'ada', 5)
  await elapse(TICKS)
  t.equal(there.total('ada'), 0)
})

t.test('while the store is away each replica counts for itself; when it is back they exchange snapshots', async (t) => {
  const { replica, state, elapse, warnings } = startCounting(t)
  const [one, other] = [replica('a'), replica('b')]
  const [here, there] = [one.counters.gauge('calls'), other.counters.gauge('calls')]
  const [countHere, countThere] = [one.counters.counter('requests', 100), other.counters.counter('requests', 100)]
  await elapse(1)
  there.add('ada', 1)
  await elapse(TICKS)
  state.away = true
  here.add('ada', 3)
  add(countHere, 'ada', 50)
  await elapse(MISSED)
  t.same([here.total('ada'), countHere.total('ada')], [3, 50], 'its own counts, and no longer those of the other')
  t.same([there.total('ada'), countThere.total('ada')], [1, 0])
  state.away = false
  one.reconnect()
  await elapse(1)
  t.same([here.total('ada'), there.total('ada'), countThere.total('ada')], [4, 4, 50])
  t.same(warnings, [], 'the store itself logs its loss')
})

t.test('the next heartbeat makes up for lost messages; repeated messages do no harm', async (t) => {
  const { replica, state, store, elapse, messages } = startCounting(t)
  const [one, other] = [replica('a').counters, replica('b').counters]
  const [here, there] = [one.gauge('calls'), other.gauge('calls')]
  const [countHere, countThere] = [one.counter('requests', 100), other.counter('requests', 100)]
  await elapse(1)
  here.add('eve', 2)
  await elapse(TICKS)
  state.losing = true
  here.add('ada', 3)
  here.add('eve', -2)
  add(countHere, 'ada', 20)
  await elapse(TICKS)
  t.same([there.total('ada'), there.total('eve'), countThere.total('ada')], [0, 2, 0])
  state.losing = false
  await elapse(2_000)
  t.same([there.total('ada'), there.total('eve'), countThere.total('ada')], [
    3, 0, 20
  ], 'a call that began, a call that ended, requests')
  for (const message of messages.slice(-1)) await store.publish('shared-counters', JSON.stringify(message))
  t.same([there.total('ada'), countThere.total('ada')], [3, 20])
})

t.test('messages of another form are ignored', async (t) => {
  const { replica, store, elapse } = startCounting(t)
  const { counters } = replica('a')
  const [calls, requests] = [counters.gauge('calls'), counters.counter('requests', 100)]
  await elapse(1)
  const good = {
    from: 'b',
    heartbeat: 1,
    window: 30_000_000,
    isSnapshot: false,
    wantsSnapshot: false,
    values: [
      ['calls', 'ada', 3],
      ['requests', 'ada', 3]
    ]
  }
  const bad = [
    '', 'no JSON', 'null', '[]', '{}', `"${'x'.repeat(300_000)}"`,
    ...[
      { from: '' }, { from: 7 }, {
        from: 'x'.repeat(65)
      }, { heartbeat: -1 }, { heartbeat: '1' }, { window: 1.5 }, { isSnapshot: 1 }, { wantsSnapshot: null },
      { values: {} }, {
        values: [[
          'calls', 'ada'
        ]]
      }, { values: [['calls', 'ada', -1]] }, { values: [['calls', 'ada', 1.5]] },
      {
        values: [[
          'calls', 'ada', 1e12
        ]]
      }, { values: [['calls', '', 1]] }, { values: [['calls', 'x'.repeat(65), 1]] }, { values: [[7, 'ada', 1]] },
      { values: Array(1_001).fill(['calls', 'ada', 3]) }
    ].map((change) => JSON.stringify({ ...good, ...change }))
  ]
  for (const message of bad) await store.publish('shared-counters', message)
  t.same([calls.total('ada'), requests.total('ada')], [0, 0])
  for (const change of [
    { values: [['__proto__', 'ada', 3], ['other', 'ada', 3], ['calls', 'ada', 0]] },
    { from: 'a' }
  ]) {
    await store.publish('shared-counters', JSON.stringify({ ...good, ...change }))
  }
  t.same([calls.total('ada'), requests.total('ada')], [0, 0], 'unknown families; its own echo')
  await store.publish('shared-counters', JSON.stringify(good))
  t.same([calls.total('ada'), requests.total('ada')], [3, 3])
})

t.test('when names are too many, a gauge has no room for more and a counter forgets the oldest', async (t) => {
  const { replica, elapse, warnings } = startCounting(t)
  const [one, other] = [replica('a', { maxNames: 2 }), replica('b')]
  const [calls, requests] = [one.counters.gauge('calls'), one.counters.counter('requests', 10)]
  const [callsThere, requestsThere] = [other.counters.gauge('calls'), other.counters.counter('requests', 10)]
  await elapse(1)
  for (const name of ['ada', 'bob', 'eve']) {
    calls.add(name, 1)
    add(requests, name, 3)
  }
  t.same(['ada', 'bob', 'eve'].map((name) => calls.total(name)), [1, 1, Infinity], 'nobody is unlimited')
  t.same(['ada', 'bob', 'eve'].map((name) => requests.total(name)), [0, 3, 3])
  t.same(warnings, [{ event: 'limits.inexact', family: 'calls', maxNames: 2 }], 'one warning a minute')
  for (const name of ['ada', 'eve', 'joe']) {
    callsThere.add(name, 2)
    add(requestsThere, name, 4)
  }
  await elapse(TICKS)
  t.same(['ada', 'eve', 'joe'].map((name) => calls.total(name)), [
    3, Infinity, Infinity
  ], 'names of other replicas are bounded too')
  t.same(['ada', 'eve', 'joe'].map((name) => requests.total(name)), [0, 7, 0])
  calls.add('bob', -1)
  await elapse(TICKS)
  calls.add('joe', 1)
  t.equal(calls.total('joe'), 1, 'there is room again')
})

t.test('at most a thousand other replicas are counted', async (t) => {
  const { replica, store, elapse } = startCounting(t)
  const calls = replica('a').counters.gauge('calls')
  await elapse(1)
  for (let id = 0; id < 1_100; id++) {
    await store.publish('shared-counters', JSON.stringify({
      from: `r${id}`,
      heartbeat: 1,
      window: 1,
      isSnapshot: false,
      wantsSnapshot: false,
      values: [['calls', 'ada', 1]]
    }))
  }
  t.equal(calls.total('ada'), 1_000)
})

t.test('a snapshot of many names takes several messages', async (t) => {
  const { replica, elapse, settle, messages } = startCounting(t)
  const calls = replica('a').counters.gauge('calls')
  for (let name = 0; name < 2_500; name++) calls.add(`name-${name}`, 1)
  await elapse(TICKS)
  const late = replica('b').counters.gauge('calls')
  await settle()
  t.same(
    messages.map(({ values, isSnapshot }) => [values.length, isSnapshot]),
    [[1_000, false], [1_000, false], [500, true]]
  )
  t.same([late.total('name-0'), late.total('name-2499')], [1, 1])
  await elapse(2_000)
  t.same([late.total('name-0'), late.total('name-2499')], [1, 1])
})

t.test('it works with the clocks and timers of the process', async (t) => {
  const store = createMemoryStore()
  t.teardown(() => store.close())
  const [one, other] = [
    createSharedCounters(store, { replicaId: 'a' }),
    createSharedCounters(store, { replicaId: 'b', maxNames: 1 })
  ]
  t.teardown(() => Promise.all([one.close(), other.close()]))
  const [here, there] = [one.gauge('calls'), other.gauge('calls')]
  const count = one.counter('requests', 10)
  here.add('ada', 1)
  count.add('ada')
  t.ok(count.secondsLeft() >= 1 && count.secondsLeft() <= 60)
  await until(() => there.total('ada') === 1, 'the other replica knows')
  there.add('bob', 1)
  t.equal(there.total('bob'), Infinity, 'without a log too')
})
