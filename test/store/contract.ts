import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'
import type { Test } from 'tap'

export interface StoreUnderTest {
  /** Ready to serve, empty; closed by whoever made it. */
  store: Store
  /** Lets `seconds` pass for every key of the store, without waiting for them. */
  elapse (seconds: number): Promise<void>
}

const CALLERS = 100

function together<T> (call: () => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: CALLERS }, call))
}

/** What src/store/store.ts promises, sentence by sentence, for any implementation of it. */
export async function storeContract (t: Test, makeStore: (t: Test) => Promise<StoreUnderTest>): Promise<void> {
  await t.test('get', async (t) => {
    const { store, elapse } = await makeStore(t)
    t.equal(await store.get('absent'), undefined)
    await store.set('key', 'value', 10)
    t.equal(await store.get('key'), 'value')
    t.equal(await store.get('key'), 'value', 'reading does not consume')
    await elapse(11)
    t.equal(await store.get('key'), undefined, 'expired')
  })

  await t.test('set', async (t) => {
    const { store, elapse } = await makeStore(t)
    await store.set('key', 'first', 10)
    await store.set('key', 'second', 20)
    t.equal(await store.get('key'), 'second', 'replaces the value')
    await elapse(15)
    t.equal(await store.get('key'), 'second', 'replaces the time to live')
    await store.set('key', 'third', 1)
    await elapse(1)
    t.equal(await store.get('key'), undefined, 'a shorter one too')
  })

  await t.test('keeps strings as they are', async (t) => {
    const { store } = await makeStore(t)
    for (const text of ['', ' ', '0', 'null', '{"a":"\\u0000"}', 'line\r\n$5\r\nhello\r\n', '\0', 'ключ 🌱', '__proto__', 'x'.repeat(100_000)]) {
      const key = text.slice(0, 100)
      await store.set(key, text, 10)
      t.ok(await store.get(key) === text, JSON.stringify(key))
    }
    await store.set('empty', '', 10)
    t.equal(await store.setIfAbsent('empty', 'x', 10), false, 'an empty value is there')
    t.equal(await store.touch('empty', 10), '')
    t.equal(await store.take('empty'), '')
  })

  await t.test('setIfAbsent', async (t) => {
    const { store, elapse } = await makeStore(t)
    t.equal(await store.setIfAbsent('key', 'first', 10), true)
    await elapse(6)
    t.equal(await store.setIfAbsent('key', 'second', 100), false)
    t.equal(await store.get('key'), 'first', 'the loser writes nothing')
    await elapse(6)
    t.equal(await store.get('key'), undefined, 'and does not prolong')
    t.equal(await store.setIfAbsent('key', 'third', 10), true, 'an expired key is absent')
    t.equal(await store.get('key'), 'third')
    await store.delete('key')
    t.equal(await store.setIfAbsent('key', 'fourth', 10), true, 'so is a deleted one')
  })

  await t.test('setIfAbsent has exactly one winner', async (t) => {
    const { store } = await makeStore(t)
    let caller = 0
    const won = await together(async () => {
      const name = String(caller++)
      return await store.setIfAbsent('key', name, 10) ? name : undefined
    })
    const winners = won.filter((name) => name !== undefined)
    t.equal(winners.length, 1)
    t.equal(await store.get('key'), winners[0], 'whose value is the one that stays')
  })

  await t.test('take', async (t) => {
    const { store, elapse } = await makeStore(t)
    t.equal(await store.take('absent'), undefined)
    await store.set('key', 'value', 10)
    t.equal(await store.take('key'), 'value')
    t.equal(await store.take('key'), undefined, 'once')
    t.equal(await store.get('key'), undefined, 'nothing stays')
    await store.set('key', 'value', 10)
    await elapse(11)
    t.equal(await store.take('key'), undefined, 'expired')
  })

  await t.test('take has exactly one winner', async (t) => {
    const { store } = await makeStore(t)
    await store.set('key', 'value', 10)
    const taken = await together(() => store.take('key'))
    t.equal(taken.filter((value) => value === 'value').length, 1)
    t.equal(taken.filter((value) => value === undefined).length, CALLERS - 1)
  })

  await t.test('touch', async (t) => {
    const { store, elapse } = await makeStore(t)
    await store.set('key', 'value', 10)
    for (let times = 0; times < 3; times++) {
      await elapse(8)
      t.equal(await store.touch('key', 10), 'value', 'slides')
    }
    await elapse(8)
    t.equal(await store.get('key'), 'value', 'reading finds it')
    await elapse(3)
    t.equal(await store.get('key'), undefined, 'but does not slide')

    t.equal(await store.touch('key', 10), undefined, 'an expired value does not come back')
    t.equal(await store.setIfAbsent('key', 'new', 10), true, 'and nothing was written')
    await store.touch('key', 2)
    await elapse(3)
    t.equal(await store.get('key'), undefined, 'a shorter time counts too')
  })

  await t.test('delete', async (t) => {
    const { store, elapse } = await makeStore(t)
    t.equal(await store.delete('key'), false)
    await store.set('key', 'value', 10)
    t.equal(await store.delete('key'), true)
    t.equal(await store.get('key'), undefined)
    t.equal(await store.delete('key'), false)
    await store.set('key', 'value', 10)
    await elapse(11)
    t.equal(await store.delete('key'), false, 'nothing is there when it has expired')
    await store.set('key', 'value', 10)
    t.equal((await together(() => store.delete('key'))).filter(Boolean).length, 1, 'one of many removes it')
  })

  await t.test('increment', async (t) => {
    const { store, elapse } = await makeStore(t)
    t.same(await store.increment('key', 10), { count: 1, resetSeconds: 10 })
    await elapse(4)
    t.same(await store.increment('key', 10), { count: 2, resetSeconds: 6 }, 'does not prolong the window')
    t.same(await store.increment('key', 100), { count: 3, resetSeconds: 6 }, 'whatever it asks for')
    t.same(await store.increment('other', 20), { count: 1, resetSeconds: 20 }, 'keys count for themselves')
    await elapse(5.5)
    t.same(await store.increment('key', 10), { count: 4, resetSeconds: 1 }, 'at least one second')
    await elapse(1)
    t.same(await store.increment('key', 10), { count: 1, resetSeconds: 10 }, 'the next window')
    await store.delete('key')
    t.same(await store.increment('key', 10), { count: 1, resetSeconds: 10 }, 'a deleted count starts again')
  })

  await t.test('increment counts every caller once', async (t) => {
    const { store } = await makeStore(t)
    const answers = await together(() => store.increment('key', 10))
    t.same(answers.map(({ count }) => count).sort((a, b) => a - b), Array.from({ length: CALLERS }, (_, i) => i + 1))
    t.ok(answers.every(({ resetSeconds }) => resetSeconds >= 1 && resetSeconds <= 10))
  })

  await t.test('increment of what is no count changes nothing', async (t) => {
    const { store } = await makeStore(t)
    await store.set('key', 'text', 10)
    await t.rejects(store.increment('key', 10), StoreUnavailableError)
    t.equal(await store.get('key'), 'text')
  })

  await t.test('a time to live that is no positive integer writes nothing', async (t) => {
    const { store } = await makeStore(t)
    for (const ttlSeconds of [0, -1, 1.5, NaN, Infinity]) {
      await t.rejects(store.set('key', 'value', ttlSeconds), StoreUnavailableError, `set ${ttlSeconds}`)
      await t.rejects(store.setIfAbsent('key', 'value', ttlSeconds), StoreUnavailableError, `setIfAbsent ${ttlSeconds}`)
      await t.rejects(store.increment('key', ttlSeconds), StoreUnavailableError, `increment ${ttlSeconds}`)
    }
    t.equal(await store.get('key'), undefined)
    await store.set('key', 'value', 10)
    await t.rejects(store.touch('key', 0), StoreUnavailableError)
    t.equal(await store.get('key'), 'value')
  })

  await t.test('a time to live ends by itself', async (t) => {
    const { store } = await makeStore(t)
    await store.set('key', 'value', 1)
    await until(async () => await store.get('key') === undefined, 'the key has expired')
    t.equal(await store.take('key'), undefined)
  })

  await t.test('ping resolves', async (t) => {
    const { store } = await makeStore(t)
    await store.ping()
  })

  await t.test('close', async (t) => {
    const { store } = await makeStore(t)
    await store.set('key', 'value', 10)
    await Promise.all([store.close(), store.close()])
    await store.close()
    await rejectsEverything(t, store)
  })
}

/** Every method rejects with StoreUnavailableError, and within a second: none hangs and none says "not found". */
export async function rejectsEverything (t: Test, store: Store): Promise<void> {
  const started = performance.now()
  const calls: Record<string, Promise<unknown>> = {
    get: store.get('key'),
    set: store.set('key', 'value', 10),
    setIfAbsent: store.setIfAbsent('key', 'value', 10),
    take: store.take('key'),
    touch: store.touch('key', 10),
    delete: store.delete('key'),
    increment: store.increment('count', 10),
    ping: store.ping()
  }
  await Promise.all(Object.entries(calls).map(async ([name, call]) => {
    await t.rejects(call.then(() => {}), StoreUnavailableError, `${name} rejects`)
  }))
  t.ok(performance.now() - started < 1000, 'within a second')
}

/** Waits for `condition`, ten seconds at most. */
export async function until (condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`Waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
