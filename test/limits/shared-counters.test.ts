import t from 'tap'
import { createTallies } from '../../src/limits/shared-counters.ts'
import type { Count } from '../../src/limits/shared-counters.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { until } from '../store/contract.ts'
import { startReplicas } from '../support/shared-counters.ts'

const TICKS = 25
const MISSED = 9_000

function add (count: Count, name: string, times: number): void {
  for (let time = 0; time < times; time++) count.add(name)
}

t.test('a gauge is known to the other replica 25 ms after it changed, up and down', async (t) => {
  const { replica, elapse } = startReplicas(t)
  const [here, there] = [replica('a').tallies.gauge('calls'), replica('b').tallies.gauge('calls')]
  await elapse(5)
  here.add('ada', 3)
  here.add('bob', 1)
  there.add('ada', 2)
  t.same([here.total('ada'), there.total('ada')], [3, 2], 'at first each knows its own')
  await elapse(TICKS)
  t.same([here.total('ada'), there.total('ada'), there.total('bob'), there.total('eve')], [5, 5, 1, 0])
  here.add('ada', -2)
  here.add('bob', -1)
  await elapse(TICKS)
  t.same([here.total('ada'), there.total('ada'), there.total('bob')], [3, 3, 0])
})

t.test('a gauge never falls below 0', async (t) => {
  const { replica, elapse } = startReplicas(t)
  const [here, there] = [replica('a').tallies.gauge('calls'), replica('b').tallies.gauge('calls')]
  here.add('ada', -1)
  here.add('ada', 1)
  here.add('ada', -5)
  here.add('ada', 1)
  await elapse(TICKS)
  t.same([here.total('ada'), there.total('ada')], [1, 1])
})

t.test('short calls tell nothing, however many there are; when nothing goes on no timer but the beat runs', async (t) => {
  const { replica, elapse, messages, timers } = startReplicas(t)
  const [here, there] = [replica('a').tallies.gauge('calls'), replica('b').tallies.gauge('calls')]
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
  t.equal(there.total('ada'), 2, 'of what varies, what holds is told')
  t.equal(messages.filter(({ whole }) => !whole).length, 1)
})

t.test('who is alone tells only its presence', async (t) => {
  const { replica, elapse, messages } = startReplicas(t)
  const { tallies } = replica('a')
  const [calls, requests] = [tallies.gauge('calls'), tallies.count('requests', 100)]
  await elapse(TICKS)
  calls.add('ada', 5)
  add(requests, 'ada', 100)
  await elapse(500)
  t.same(messages, [])
  t.same([calls.total('ada'), requests.total('ada')], [5, 100])
})

t.test('a replica that starts later knows at once what goes on', async (t) => {
  const { replica, elapse, settle } = startReplicas(t)
  const { tallies } = replica('a')
  const [calls, requests] = [tallies.gauge('calls'), tallies.count('requests', 100)]
  calls.add('ada', 5)
  add(requests, 'ada', 50)
  await elapse(300)
  const late = replica('b').tallies
  const [lateCalls, lateRequests] = [late.gauge('calls'), late.count('requests', 100)]
  await settle()
  t.same([lateCalls.total('ada'), lateRequests.total('ada')], [5, 50])
  const later = late.gauge('streams')
  t.equal(later.total('ada'), 0)
})

t.test('a replica that was killed is forgotten after three beats; what it counted has happened', async (t) => {
  const { replica, elapse } = startReplicas(t)
  const [one, other] = [replica('a'), replica('b')]
  const [here, there] = [one.tallies.gauge('calls'), other.tallies.gauge('calls')]
  const [countHere, countThere] = [one.tallies.count('requests', 100), other.tallies.count('requests', 100)]
  await elapse(1)
  here.add('ada', 4)
  there.add('ada', 1)
  add(countHere, 'ada', 20)
  await elapse(TICKS)
  t.equal(there.total('ada'), 5)
  one.kill()
  await elapse(4_000)
  t.equal(there.total('ada'), 5, 'one beat may be lost')
  await elapse(MISSED - 4_000)
  t.same([there.total('ada'), countThere.total('ada')], [1, 20])
})

t.test('a replica that closes is forgotten at once; what it counted has happened', async (t) => {
  const { replica, elapse, settle, timers, messages } = startReplicas(t)
  const [one, other] = [replica('a'), replica('b')]
  const [here, there] = [one.tallies.gauge('calls'), other.tallies.gauge('calls')]
  const [countHere, countThere] = [one.tallies.count('requests', 100), other.tallies.count('requests', 100)]
  await elapse(1)
  here.add('ada', 4)
  add(countHere, 'ada', 12)
  await elapse(TICKS)
  here.add('bob', 1)
  add(countHere, 'ada', 2)
  await Promise.all([one.tallies.close(), one.tallies.close()])
  t.same([there.total('ada'), countThere.total('ada')], [0, 12])
  t.equal(timers.size, 1, "the other's beat")
  const told = messages.length
  here.add('ada', -4)
  here.add('eve', 1)
  add(countHere, 'ada', 50)
  there.add('eve', 1)
  await elapse(TICKS)
  await settle()
  t.equal(messages.length, told + 1, 'it tells nothing more')
  t.equal(here.total('eve'), 1, 'nor does it hear')
})

t.test('a close that is asked for before the first turn of the event loop tells nothing after it', async (t) => {
  const { replica, settle, messages } = startReplicas(t)
  const { tallies } = replica('a')
  tallies.count('requests', 10).add('ada')
  await tallies.close()
  const told = messages.length
  await settle()
  t.equal(messages.length, told)
})

t.test('a count is told from a tenth of its limit on, then in steps of a twentieth, at once; in between each 250 ms', async (t) => {
  const { replica, elapse, settle, messages } = startReplicas(t)
  const [here, there] = [replica('a').tallies.count('requests', 600), replica('b').tallies.count('requests', 600)]
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
  const told = messages.length
  add(here, 'ada', 600 - 93)
  await settle()
  t.equal(messages.length, told + 1, 'steps of one turn go in one message')
  add(here, 'ada', 1_000)
  await elapse(1_000)
  t.same([here.total('ada'), there.total('ada')], [1_600, 600], 'beyond its limit nothing needs to be told')
})

t.test('a step that comes before the tick leaves it nothing to tell', async (t) => {
  const { replica, elapse, messages } = startReplicas(t)
  const [here] = [replica('a').tallies.count('requests', 100), replica('b').tallies.count('requests', 100)]
  await elapse(1)
  add(here, 'ada', 11)
  add(here, 'ada', 4)
  await elapse(500)
  t.same(messages.map(({ told }) => told), [[['requests', 'ada', 10], ['requests', 'ada', 15]]])
})

t.test('the more replicas there are the smaller is what is not told', async (t) => {
  const { replica, elapse } = startReplicas(t)
  const counts = ['a', 'b', 'c', 'd', 'e'].map((id) => replica(id).tallies.count('requests', 100))
  await elapse(1)
  for (const count of counts) add(count, 'ada', 19)
  await elapse(1)
  t.same(counts.map((count) => count.total('ada')), Array(5).fill(19 + 4 * 18), 'of 95, at most a tenth of the limit is unknown')
})

t.test('the numbers of a minute are gone with it, on the wall clock, on all replicas', async (t) => {
  const { replica, elapse, settle } = startReplicas(t)
  const [one, other] = [replica('a').tallies, replica('b').tallies]
  const [here, there] = [one.count('requests', 10), other.count('requests', 10)]
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
  t.equal(callsThere.total('ada'), 1, 'what goes on goes on')
})

t.test('what was to be told when the minute ended is not told of the next', async (t) => {
  const { replica, elapse, settle } = startReplicas(t)
  const wallClock = { now: 0 }
  const clocks = { wallClock: () => 1_800_000_000_000 + wallClock.now }
  const [here, there] = [replica('a', clocks).tallies.count('requests', 10), replica('b', clocks).tallies.count('requests', 10)]
  await elapse(1)
  add(here, 'ada', 5)
  wallClock.now = 60_000
  here.add('bob')
  await settle()
  t.same([there.total('ada'), there.total('bob')], [0, 1])
})

t.test('a replica whose clock is in another minute is not counted in this one', async (t) => {
  const { replica, elapse } = startReplicas(t)
  const [here, there] = [replica('a').tallies.count('requests', 10), replica('b', { aheadMs: 60_000 }).tallies.count('requests', 10)]
  await elapse(1)
  add(here, 'ada', 5)
  await elapse(TICKS)
  t.equal(there.total('ada'), 0)
})

t.test('while the store is away each counts for itself; when it is back all is told', async (t) => {
  const { replica, state, elapse, warnings } = startReplicas(t)
  const [one, other] = [replica('a'), replica('b')]
  const [here, there] = [one.tallies.gauge('calls'), other.tallies.gauge('calls')]
  const [countHere, countThere] = [one.tallies.count('requests', 100), other.tallies.count('requests', 100)]
  await elapse(1)
  there.add('ada', 1)
  await elapse(TICKS)
  state.away = true
  here.add('ada', 3)
  add(countHere, 'ada', 50)
  await elapse(MISSED)
  t.same([here.total('ada'), countHere.total('ada')], [3, 50], 'its own still counts, that of the others is not known any more')
  t.same([there.total('ada'), countThere.total('ada')], [1, 0])
  state.away = false
  one.comeBack()
  await elapse(1)
  t.same([here.total('ada'), there.total('ada'), countThere.total('ada')], [4, 4, 50])
  t.same(warnings, [], 'the store itself logs its loss')
})

t.test('lost messages are made up for by the next beat, repeated ones do no harm', async (t) => {
  const { replica, state, store, elapse, messages } = startReplicas(t)
  const [one, other] = [replica('a').tallies, replica('b').tallies]
  const [here, there] = [one.gauge('calls'), other.gauge('calls')]
  const [countHere, countThere] = [one.count('requests', 100), other.count('requests', 100)]
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
  t.same([there.total('ada'), there.total('eve'), countThere.total('ada')], [3, 0, 20], 'what began, what ended, what happened')
  for (const message of messages.slice(-1)) await store.publish('tallies', JSON.stringify(message))
  t.same([there.total('ada'), countThere.total('ada')], [3, 20])
})

t.test('what is no message of this kind is ignored', async (t) => {
  const { replica, store, elapse } = startReplicas(t)
  const { tallies } = replica('a')
  const [calls, requests] = [tallies.gauge('calls'), tallies.count('requests', 100)]
  await elapse(1)
  const good = { from: 'b', beat: 1, window: 30_000_000, whole: false, asks: false, told: [['calls', 'ada', 3], ['requests', 'ada', 3]] }
  const bad = [
    '', 'no JSON', 'null', '[]', '{}', `"${'x'.repeat(300_000)}"`,
    ...[
      { from: '' }, { from: 7 }, { from: 'x'.repeat(65) }, { beat: -1 }, { beat: '1' }, { window: 1.5 }, { whole: 1 }, { asks: null },
      { told: {} }, { told: [['calls', 'ada']] }, { told: [['calls', 'ada', -1]] }, { told: [['calls', 'ada', 1.5]] },
      { told: [['calls', 'ada', 1e12]] }, { told: [['calls', '', 1]] }, { told: [['calls', 'x'.repeat(65), 1]] }, { told: [[7, 'ada', 1]] },
      { told: Array(1_001).fill(['calls', 'ada', 3]) }
    ].map((change) => JSON.stringify({ ...good, ...change }))
  ]
  for (const message of bad) await store.publish('tallies', message)
  t.same([calls.total('ada'), requests.total('ada')], [0, 0])
  for (const change of [{ told: [['__proto__', 'ada', 3], ['other', 'ada', 3], ['calls', 'ada', 0]] }, { from: 'a' }]) {
    await store.publish('tallies', JSON.stringify({ ...good, ...change }))
  }
  t.same([calls.total('ada'), requests.total('ada')], [0, 0], 'unknown kinds; its own echo')
  await store.publish('tallies', JSON.stringify(good))
  t.same([calls.total('ada'), requests.total('ada')], [3, 3])
})

t.test('more names than there is room for: a gauge has no room left, of a count the oldest is forgotten', async (t) => {
  const { replica, elapse, warnings } = startReplicas(t)
  const [one, other] = [replica('a', { maxNames: 2 }), replica('b')]
  const [calls, requests] = [one.tallies.gauge('calls'), one.tallies.count('requests', 10)]
  const [callsThere, requestsThere] = [other.tallies.gauge('calls'), other.tallies.count('requests', 10)]
  await elapse(1)
  for (const name of ['ada', 'bob', 'eve']) {
    calls.add(name, 1)
    add(requests, name, 3)
  }
  t.same(['ada', 'bob', 'eve'].map((name) => calls.total(name)), [1, 1, Infinity], 'nobody is unlimited')
  t.same(['ada', 'bob', 'eve'].map((name) => requests.total(name)), [0, 3, 3])
  t.same(warnings, [{ kind: 'calls', maxNames: 2 }], 'told once in a minute')
  for (const name of ['ada', 'eve', 'joe']) {
    callsThere.add(name, 2)
    add(requestsThere, name, 4)
  }
  await elapse(TICKS)
  t.same(['ada', 'eve', 'joe'].map((name) => calls.total(name)), [3, Infinity, Infinity], 'what others tell is bounded too')
  t.same(['ada', 'eve', 'joe'].map((name) => requests.total(name)), [0, 7, 0])
  calls.add('bob', -1)
  await elapse(TICKS)
  calls.add('joe', 1)
  t.equal(calls.total('joe'), 1, 'there is room again')
})

t.test('no more than a thousand other replicas are heard', async (t) => {
  const { replica, store, elapse } = startReplicas(t)
  const calls = replica('a').tallies.gauge('calls')
  await elapse(1)
  for (let id = 0; id < 1_100; id++) {
    await store.publish('tallies', JSON.stringify({ from: `r${id}`, beat: 1, window: 1, whole: false, asks: false, told: [['calls', 'ada', 1]] }))
  }
  t.equal(calls.total('ada'), 1_000)
})

t.test('many names go in several messages', async (t) => {
  const { replica, elapse, settle, messages } = startReplicas(t)
  const calls = replica('a').tallies.gauge('calls')
  for (let name = 0; name < 2_500; name++) calls.add(`name-${name}`, 1)
  await elapse(TICKS)
  const late = replica('b').tallies.gauge('calls')
  await settle()
  t.same(messages.map(({ told, whole }) => [told.length, whole]), [[1_000, false], [1_000, false], [500, true]])
  t.same([late.total('name-0'), late.total('name-2499')], [1, 1])
  await elapse(2_000)
  t.same([late.total('name-0'), late.total('name-2499')], [1, 1])
})

t.test('by the clocks and timers of the process', async (t) => {
  const store = createMemoryStore()
  t.teardown(() => store.close())
  const [one, other] = [createTallies(store, { replicaId: 'a' }), createTallies(store, { replicaId: 'b', maxNames: 1 })]
  t.teardown(() => Promise.all([one.close(), other.close()]))
  const [here, there] = [one.gauge('calls'), other.gauge('calls')]
  const count = one.count('requests', 10)
  here.add('ada', 1)
  count.add('ada')
  t.ok(count.secondsLeft() >= 1 && count.secondsLeft() <= 60)
  await until(() => there.total('ada') === 1, 'the other replica knows')
  there.add('bob', 1)
  t.equal(there.total('bob'), Infinity, 'also where nobody reads the warning')
})
