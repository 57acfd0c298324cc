import t from 'tap'
import type { Test } from 'tap'
import { createKeyring } from '../../../src/crypto/keyring.ts'
import { HeldCallLostError } from '../../../src/mcp/cluster/continued-calls.ts'
import { createCluster } from '../../../src/mcp/cluster/cluster.ts'
import { createHeldCalls } from '../../../src/mcp/cluster/held-calls.ts'
import { keys } from '../../../src/store/keys.ts'
import { captureLog, settle, stayAwake, testStore } from '../../support/mcp.ts'
import { until } from '../../support/until.ts'

const OWNER = 'ada with her client'

/** Two replicas, of which the first one holds a call. */
function setUp (t: Test, { deadAfterMs = 60_000, now = Date.now } = {}) {
  stayAwake(t)
  const store = testStore(t, { now })
  const keyring = createKeyring('a secret of these two replicas, 44 bytes long', undefined)
  const [holder, other] = [0, 1].map(() => {
    const cluster = createCluster(store, captureLog().log)
    return { cluster, calls: createHeldCalls(cluster, keyring, { pollMs: 10, deadAfterMs }) }
  }) as [Replica, Replica]
  t.teardown(async () => {
    for (const { calls, cluster } of [holder, other]) {
      calls.close()
      await cluster.replicas.close()
    }
  })
  const id = holder.calls.createId()
  const call = {
    messages: [] as string[],
    abandoned: 0,
    note: async (_text: string, _isProgress = false): Promise<void> => {},
    finish: (_answer: string): void => {}
  }
  const answer = new Promise<string>((resolve) => { call.finish = resolve })
  const release = holder.calls.hold(id, {
    owner: OWNER,
    async continue (message, note) {
      call.messages.push(message)
      call.note = async (text, isProgress = false) => { await note(text, isProgress) }
      return await answer
    },
    abandon () {
      call.abandoned++
      call.finish('given up')
    }
  })
  const notes: string[] = []
  const abort = new AbortController()
  const goOn = async (owner = OWNER): Promise<string> => await other.calls.continueElsewhere(id, {
    owner, message: 'yes', signal: abort.signal, onNote: (text) => { notes.push(text) }
  })
  return { store, holder, other, id, call, release, notes, abort, goOn }
}

interface Replica { cluster: ReturnType<typeof createCluster>, calls: ReturnType<typeof createHeldCalls> }

t.test('a call is continued at the replica that holds it, once, and what it says reaches the other one', async (t) => {
  const { store, holder, other, id, call, notes, goOn } = setUp(t)
  t.equal(other.calls.isElsewhere(id), true)
  for (const text of [id, 'a state of something else', '']) t.equal(holder.calls.isElsewhere(text), false)
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  call.note('half')
  await until(() => notes.length === 1, 'the note is there')
  t.notMatch(JSON.stringify([await store.get(keys.heldCall(id)), await store.entries(keys.heldCallEvents(id), 0)]),
    /yes|half/, 'all is sealed')
  const whole = 'ü👍'.repeat(300_000)
  call.finish(whole)
  t.ok(await going === whole, 'whatever its size')
  await holder.calls.idle()
  t.same([call.messages, notes, call.abandoned], [['yes'], ['half'], 0])
  const left = [keys.heldCall(id), keys.heldCallPart(id, 0), keys.heldCallPart(id, 1)]
  await until(async () => (await Promise.all(left.map(async (key) => await store.get(key)))).join('') === '', 'nothing is left')
  await t.rejects(goOn(), new HeldCallLostError('The call that asked is no longer open: call again'))
  t.same(call.messages, ['yes'])
})

t.test('a call that is not held any more is not continued', async (t) => {
  const { release, goOn, call } = setUp(t)
  release()
  await t.rejects(goOn(), /no longer open/)
  t.same(call.messages, [])
})

t.test('nobody continues the call of another', async (t) => {
  const { call, goOn } = setUp(t)
  await t.rejects(goOn('bob'), /no longer open/)
  t.same(call.messages, [])
  call.finish('done')
  t.equal(await goOn(), 'done', 'it is still open for its owner')
})

t.test('a message without anything in the store continues no call', async (t) => {
  const { call, store, id, goOn } = setUp(t)
  const [, holder] = id.split('.')
  const message = JSON.stringify({ kind: 'held-call-continued', call: id, reader: 'nobody' })
  await store.publish(`replicas:${holder}`, message)
  await until(() => store.calls.some(([method, key]) => method === 'get' && key === keys.heldCall(id)), 'it is read')
  await settle()
  t.same(call.messages, [])
  call.finish('done')
  t.equal(await goOn(), 'done')
})

t.test('messages that are lost delay a call, and stop nothing', async (t) => {
  const { store, call, notes, goOn } = setUp(t)
  let lost = 0
  store.isLost = ({ kind }) => kind.startsWith('held-call') && lost++ < 3
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  store.isLost = ({ kind }) => kind === 'held-call-event'
  call.note('half')
  call.finish('done')
  t.equal(await going, 'done')
  t.same(notes, ['half'])
})

t.test('what others write into the store is no part of a call', async (t) => {
  const { store, id, call, notes, goOn } = setUp(t)
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  await store.append(keys.heldCallEvents(id), '{"kind":"answered","parts":0}', { ttlSeconds: 60, maxEntries: 9 })
  call.note('half')
  await until(() => notes.length === 1, 'the note is there')
  call.finish('done')
  t.equal(await going, 'done')
})

t.test('an answer that is gone when it is read is an error', async (t) => {
  const { store, id, call, goOn } = setUp(t)
  store.isLost = ({ kind }) => kind === 'held-call-event'
  const { entries } = store
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  store.entries = async (...args) => {
    await store.delete(keys.heldCallPart(id, 0))
    return await entries(...args)
  }
  call.finish('done')
  await t.rejects(going, /answer of the call was lost; it is unknown how far/)
})

t.test('the answer of a call that says nothing for long after a note is found', async (t) => {
  let clock = Date.now()
  const { store, id, call, notes, goOn } = setUp(t, { now: () => clock })
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  call.note('half')
  await until(() => notes.length === 1, 'the note is there')
  const countTouches = (): number => store.calls.filter(([method]) => method === 'touch').length
  const countAppends = (): number => store.calls.filter(([method, key]) =>
    method === 'append' && key === keys.heldCallEvents(id)).length
  for (let seconds = 0; seconds < 60; seconds += 20) {
    clock += 20_000
    const [touches, appends] = [countTouches(), countAppends()]
    await until(() => countTouches() > touches + 1 && countAppends() > appends + 1, 'both replicas have polled')
  }
  call.finish('done')
  t.equal(await going, 'done')
})

t.test('a call is continued while no heartbeat of its holder is in the store, as when that has started anew', async (t) => {
  const { store, holder, call, goOn } = setUp(t)
  await store.delete(keys.replica(holder.cluster.replicas.self))
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  call.finish('done')
  t.equal(await going, 'done')
})

t.test('a call whose holder is dead, or dies, is an error as soon as that is known', async (t) => {
  const one = setUp(t, { deadAfterMs: 50 })
  await one.holder.cluster.replicas.close()
  await t.rejects(one.goOn(), /has stopped; it is unknown how far the call got/)

  const two = setUp(t, { deadAfterMs: 50 })
  const going = two.goOn()
  await until(() => two.call.messages.length === 1, 'the call goes on')
  await two.holder.cluster.replicas.close()
  await t.rejects(going, /has stopped; it is unknown how far the call got/)
})

t.test('a call that nobody waits for any more is given up, in whichever state it is', async (t) => {
  const running = setUp(t)
  const going = running.goOn()
  await until(() => running.call.messages.length === 1, 'the call goes on')
  running.abort.abort(new Error('gone'))
  await t.rejects(going, { message: 'gone' })
  await until(() => running.call.abandoned === 1, 'it is given up')

  const held = setUp(t)
  held.abort.abort(new Error('gone'))
  await t.rejects(held.goOn(), { message: 'gone' })
  await until(() => held.call.abandoned === 1, 'it is given up')
  t.same(held.call.messages, [])

  const dead = setUp(t)
  const waiting = dead.goOn()
  await until(() => dead.call.messages.length === 1, 'the call goes on')
  dead.other.calls.close()
  await dead.store.delete(keys.heldCall(dead.id))
  await until(() => dead.call.abandoned === 1, 'it is given up without a message')
  waiting.catch(() => {})
})

t.test('a call that has an answer is not given up', async (t) => {
  const { store, id, call, abort, goOn } = setUp(t)
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  store.isDown = true
  call.finish('asked again')
  abort.abort(new Error('gone'))
  await t.rejects(going, { message: 'gone' })
  store.isDown = false
  await store.publish(`replicas:${id.split('.')[1]}`, JSON.stringify({ kind: 'held-call-abandoned', call: id }))
  t.equal(call.abandoned, 0)
})

t.test('an outage of the store fails what cannot be handed over, and delays what is to come back', async (t) => {
  const { store, holder, call, goOn } = setUp(t)
  store.isDown = true
  await t.rejects(goOn(), /could not be passed on to the server that runs this call: call again/)
  store.isDown = false
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  store.isDown = true
  call.finish('done')
  await until(() => store.calls.at(-1)![0] === 'set', 'the holder has tried to write')
  store.isDown = false
  t.equal(await going, 'done')
  await holder.calls.idle()
})

t.test('notes without an end, or too long, are left out, and hold up nothing', async (t) => {
  const { call, notes, goOn } = setUp(t)
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  call.note('x'.repeat(65_537))
  for (let count = 0; count < 1_000; count++) call.note(String(count))
  call.finish('done')
  t.equal(await going, 'done')
  t.ok(notes.length >= 100 && notes.length <= 101, `${notes.length} notes`)
})

t.test('each note that is awaited is passed on, whatever the number and the size', async (t) => {
  for (const [count, size] of [[1_000, 3], [16, 60_000]] as const) {
    const { call, notes, goOn } = setUp(t)
    const going = goOn()
    await until(() => call.messages.length === 1, 'the call goes on')
    const sent = Array.from({ length: count }, (_, number) => String(number).padEnd(size))
    for (const text of sent) await call.note(text)
    call.finish('done')
    t.equal(await going, 'done')
    t.same(notes, sent)
  }
})

t.test('notes of one call fill no store, however fast it takes them', async (t) => {
  const { store, call, notes, goOn } = setUp(t)
  const { append } = store
  const sizes: number[] = []
  store.append = async (key, data, limits) => {
    sizes.push(data.length)
    return await append(key, data, limits)
  }
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  for (let event = 0; event < 20; event++) {
    const before = sizes.length
    for (let count = 0; count < 10; count++) call.note('x'.repeat(60_000))
    if (event < 4) await until(() => sizes.length > before, 'the store has taken some')
  }
  call.finish('done')
  t.equal(await going, 'done')
  t.ok(notes.length > 8 && notes.length <= 17, `${notes.length} notes`)
  t.ok(Math.max(...sizes) < 400_000, `an event has ${Math.max(...sizes)} characters`)
})

t.test('progress that waits gives way to newer progress, and nothing else does', async (t) => {
  const { call, notes, goOn } = setUp(t)
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  call.note('first')
  await until(() => notes.length === 1, 'the note is there')
  for (const text of ['0 %', '50 %']) call.note(text, true)
  call.note('log')
  for (let count = 0; count < 1_000; count++) call.note(`${count} `.repeat(10_000), true)
  call.note('100 %', true)
  call.note('x'.repeat(65_537), true)
  call.finish('done')
  t.equal(await going, 'done')
  t.equal(notes.at(-1), '100 %')
  t.ok(notes.includes('log'))
  t.ok(notes.length <= 5, `${notes.length} notes`)
})

t.test('a replica that stops gives up what it runs for another one, and answers nothing', async (t) => {
  const { holder, call, goOn } = setUp(t, { deadAfterMs: 50 })
  const going = goOn()
  await until(() => call.messages.length === 1, 'the call goes on')
  holder.calls.close()
  await holder.calls.idle()
  t.equal(call.abandoned, 1)
  await holder.cluster.replicas.close()
  await t.rejects(going, /has stopped/)
})
