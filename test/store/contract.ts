import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'
import type { Test } from 'tap'
import { until } from '../support/until.ts'

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

/** Proves the contract of src/store/store.ts, sentence by sentence, for any implementation of it. */
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

  await t.test('strings are kept unchanged', async (t) => {
    const { store } = await makeStore(t)
    for (const text of [
      '',
      ' ',
      '0',
      'null',
      '{"a":"\\u0000"}',
      'line\r\n$5\r\nhello\r\n',
      '\0',
      'ключ 🌱',
      '__proto__',
      'x'.repeat(100_000)
    ]) {
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

  await t.test('compareAndSet', async (t) => {
    const { store, elapse } = await makeStore(t)
    for (const expected of [
      '', 'undefined', 'null', 'first'
    ]) t.equal(await store.compareAndSet('key', expected, 'new', 10), false)
    t.equal(await store.get('key'), undefined, 'an absent key is never written')
    await store.set('key', 'first', 10)
    for (const expected of [
      '', 'firs', 'First', 'first ', 'second'
    ]) t.equal(await store.compareAndSet('key', expected, 'new', 100), false, `not "${expected}"`)
    t.equal(await store.get('key'), 'first', 'what is there stays')
    await elapse(8)
    t.equal(await store.get('key'), 'first')
    t.equal(await store.compareAndSet('key', 'first', 'second', 10), true)
    await elapse(8)
    t.equal(await store.get('key'), 'second', 'the time to live is replaced')
    t.equal(await store.compareAndSet('key', 'first', 'third', 100), false, 'by what was there before')
    await elapse(3)
    t.equal(await store.get('key'), undefined, 'and who loses does not prolong it')
    t.equal(await store.compareAndSet('key', 'second', 'third', 10), false, 'an expired value is absent')
    await store.set('key', 'value', 100)
    t.equal(await store.compareAndSet('key', 'value', 'value', 2), true)
    await elapse(3)
    t.equal(await store.get('key'), undefined, 'a shorter time counts too')
    await store.set('key', '', 10)
    t.equal(await store.compareAndSet('key', '', 'x', 10), true, 'an empty value is there')
  })

  await t.test('compareAndSet has exactly one winner', async (t) => {
    const { store } = await makeStore(t)
    await store.set('key', 'expected', 10)
    let caller = 0
    const won = await together(async () => {
      const name = String(caller++)
      return await store.compareAndSet('key', 'expected', name, 10) ? name : undefined
    })
    const winners = won.filter((name) => name !== undefined)
    t.equal(winners.length, 1)
    t.equal(await store.get('key'), winners[0], 'whose value is the one that stays')
  })

  await t.test('members', async (t) => {
    const { store, elapse } = await makeStore(t)
    const members = async (key = 'set') => {
      const found = await store.members(key)
      t.equal(await store.countMembers(key), found.length)
      return found.sort()
    }
    t.same(await members(), [])
    await store.addMember('set', 'short', 10)
    await store.addMember('set', 'long', 20)
    await store.addMember('set', 'middle', 15)
    await store.addMember('other', 'short', 10)
    t.same(await members(), ['long', 'middle', 'short'])
    t.same(await members('other'), ['short'], 'sets are by themselves')
    await elapse(9)
    t.same(await members(), ['long', 'middle', 'short'])
    await elapse(2)
    t.same(await members(), ['long', 'middle'], 'each leaves at its time')
    t.same(await members('other'), [])
    await store.addMember('set', 'short', 5)
    t.same(await members(), ['long', 'middle', 'short'], 'and may come back')
    await elapse(6)
    t.same(await members(), ['long'])
    await elapse(4)
    t.same(await members(), [])
    await store.addMember('set', 'late', 10)
    t.same(await members(), ['late'], 'nobody comes back with another')
    t.equal(await store.delete('set'), true)
    t.same(await members(), [])
  })

  await t.test('the longest time to live of a member counts', async (t) => {
    const { store, elapse } = await makeStore(t)
    await store.addMember('set', 'a', 20)
    await store.addMember('set', 'a', 5)
    await store.addMember('set', 'b', 5)
    await store.addMember('set', 'b', 20)
    t.same((await store.members('set')).sort(), ['a', 'b'], 'once')
    await elapse(19)
    t.same((await store.members('set')).sort(), ['a', 'b'])
    await elapse(2)
    t.same(await store.members('set'), [])
  })

  await t.test('members are kept unchanged', async (t) => {
    const { store } = await makeStore(t)
    const texts = [
      '',
      ' ',
      '0',
      '-1',
      'null',
      '["a",1]',
      'line\r\n$5\r\n',
      '\0',
      'ключ 🌱',
      '__proto__',
      'x'.repeat(10_000)
    ]
    for (const text of texts) await store.addMember('set', text, 10)
    t.same((await store.members('set')).sort(), [...texts].sort())
  })

  await t.test('addMember loses no caller', async (t) => {
    const { store } = await makeStore(t)
    let caller = 0
    await together(() => store.addMember('set', String(caller++), 10))
    t.same((await store.members('set')).map(Number).sort((a, b) => a - b), Array.from({ length: CALLERS }, (_, i) => i))
    await together(() => store.addMember('set', 'the same', 10))
    t.equal((await store.members('set')).length, CALLERS + 1)
  })

  await t.test('addMemberWithin', async (t) => {
    const { store, elapse } = await makeStore(t)
    const members = async () => (await store.members('set')).sort()
    t.equal(await store.addMemberWithin('set', 'nobody', 10, 0), false, 'no room at all')
    t.equal(await store.addMemberWithin('set', 'short', 10, 2), true)
    t.equal(await store.addMemberWithin('set', 'long', 20, 2), true)
    t.equal(await store.addMemberWithin('set', 'late', 30, 2), false, 'the set is full')
    t.same(await members(), ['long', 'short'], 'and was not written to')
    t.equal(await store.addMemberWithin('set', 'long', 5, 2), true, 'who is there is not in its own way')
    t.equal(await store.addMemberWithin('set', 'long', 5, 1), false, 'but others are, where there is less room now')
    t.equal(await store.addMemberWithin('other', 'late', 10, 1), true, 'sets are by themselves')
    await elapse(11)
    t.same(await members(), ['long'], 'a shorter stay is prolonged, a longer one not shortened')
    t.equal(await store.addMemberWithin('set', 'late', 10, 2), true, 'who has left makes room')
    t.equal(await store.addMemberWithin('set', 'later', 10, 2), false)
    t.equal(await store.addMemberWithin('set', 'late', 30, 2), true, 'prolonged')
    await elapse(11)
    t.same(await members(), ['late'])
    t.equal(await store.addMemberWithin('set', 'long', 10, 1), false, 'who has left counts as anybody else')
    await store.addMember('set', 'added', 10)
    await store.addMember('set', 'also added', 10)
    t.same(await members(), ['added', 'also added', 'late'], 'addMember knows no bound')
    t.equal(await store.addMemberWithin('set', 'later', 10, 3), false)
    await elapse(20)
    t.same(await members(), [])
    t.equal(await store.addMemberWithin('set', 'later', 10, 1), true)
  })

  await t.test('addMemberWithin admits no more members than there is room for', async (t) => {
    const { store } = await makeStore(t)
    let caller = 0
    const admitted = await together(async () => {
      const name = String(caller++)
      return await store.addMemberWithin('set', name, 10, 10) ? name : undefined
    })
    const winners = admitted.filter((name) => name !== undefined)
    t.equal(winners.length, 10)
    t.same((await store.members('set')).sort(), winners.sort(), 'those who were told so')
    t.same(
      await together(() => store.addMemberWithin('other', 'the same', 10, 1)),
      Array.from({ length: CALLERS }, () => true)
    )
  })

  await t.test('removeMember', async (t) => {
    const { store, elapse } = await makeStore(t)
    await store.removeMember('set', 'a')
    t.equal(await store.delete('set'), false, 'nothing is written where no set is')
    await store.addMemberWithin('set', 'a', 10, 2)
    await store.addMember('set', 'b', 20)
    await store.removeMember('set', 'c')
    t.same((await store.members('set')).sort(), ['a', 'b'])
    t.equal(await store.addMemberWithin('set', 'c', 10, 2), false)
    await store.removeMember('set', 'a')
    t.same(await store.members('set'), ['b'])
    t.equal(await store.addMemberWithin('set', 'c', 10, 2), true, 'makes room')
    await store.removeMember('set', 'b')
    await elapse(11)
    t.same(await store.members('set'), [])
    await store.addMember('set', 'a', 10)
    await store.removeMember('set', 'a')
    t.equal(await store.delete('set'), false, 'an empty set is none')
  })

  await t.test('append and entries', async (t) => {
    const { store, elapse } = await makeStore(t)
    const options = { ttlSeconds: 10, maxEntries: 3 }
    t.same(await store.entries('log', 0), { entries: [], newest: 0 }, 'no log yet')
    t.equal(await store.append('log', 'one', options), 1)
    t.equal(await store.append('log', 'two', options), 2)
    t.equal(await store.append('other', 'else', options), 1, 'logs are by themselves')
    t.same(await store.entries('log', 0), { entries: [[1, 'one'], [2, 'two']], newest: 2 })
    t.same(await store.entries('log', 1), { entries: [[2, 'two']], newest: 2 })
    t.same(await store.entries('log', 2), { entries: [], newest: 2 }, 'nothing is newer')
    t.same(await store.entries('log', 9), { entries: [], newest: 2 })
    t.equal(await store.append('log', 'three', options), 3)
    t.equal(await store.append('log', 'four', options), 4)
    t.same(
      await store.entries('log', 0),
      { entries: [[2, 'two'], [3, 'three'], [4, 'four']], newest: 4 },
      'the oldest is dropped'
    )
    t.same(await store.entries('log', 2), { entries: [[3, 'three'], [4, 'four']], newest: 4 })
    t.equal(await store.append('log', 'five', { ttlSeconds: 10, maxEntries: 1 }), 5)
    t.same(await store.entries('log', 0), { entries: [[5, 'five']], newest: 5 }, 'and more of them with less room')
    await store.append('log', 'six', { ttlSeconds: 10, maxEntries: 0 })
    t.same(await store.entries('log', 0), { entries: [], newest: 6 }, 'without any room the number is left')
    t.equal(await store.append('log', 'seven', options), 7)
    t.same(await store.entries('log', 0), { entries: [[7, 'seven']], newest: 7 })

    await elapse(9)
    t.equal(await store.append('log', 'eight', options), 8)
    await elapse(9)
    t.equal((await store.entries('log', 0)).newest, 8, 'lives on from the last append')
    t.same(await store.entries('other', 0), { entries: [], newest: 0 }, 'without one it is gone')
    await store.append('log', 'nine', { ttlSeconds: 2, maxEntries: 3 })
    await elapse(3)
    t.same(await store.entries('log', 0), { entries: [], newest: 0 }, 'a shorter time counts too')
    t.equal(await store.append('log', 'new', options), 1, 'and the next log begins at 1')
    t.same(await store.entries('log', 0), { entries: [[1, 'new']], newest: 1 }, 'with nothing of the last')
    t.equal(await store.delete('log'), true)
    t.same(await store.entries('log', 0), { entries: [], newest: 0 })
  })

  await t.test('append with an expected number', async (t) => {
    const { store, elapse } = await makeStore(t)
    const at = async (number: number, value: string) => await store.append(
      'log',
      value,
      { ttlSeconds: 10, maxEntries: 2, expectedNumber: number }
    )
    t.equal(await at(2, 'a hole'), 0, 'no log begins with a hole')
    t.equal(await at(0, 'before the first'), 0)
    t.equal(await store.delete('log'), false, 'nothing was written')
    t.equal(await at(1, 'one'), 1)
    t.equal(await at(1, 'one again'), 1, 'once')
    t.equal(await at(2, 'two'), 2)
    t.equal(await at(4, 'a hole'), 2)
    t.equal(await at(3, 'three'), 3)
    t.equal(await at(1, 'one again'), 3, 'also when it was dropped since')
    t.same(await store.entries('log', 0), { entries: [[2, 'two'], [3, 'three']], newest: 3 })
    t.equal(await store.append('log', 'four', { ttlSeconds: 10, maxEntries: 2 }), 4)
    t.equal(await at(5, 'five'), 5)
    await elapse(6)
    t.equal(await at(5, 'five again'), 5)
    t.equal(await at(7, 'a hole'), 5)
    await elapse(5)
    t.equal(await at(6, 'six'), 0, 'what was not appended has prolonged nothing')
    t.same(await together(() => at(1, 'one')), Array.from({ length: CALLERS }, () => 1))
    t.same(await store.entries('log', 0), { entries: [[1, 'one']], newest: 1 }, 'once')
  })

  await t.test('append gives every caller its own number, without a gap', async (t) => {
    const { store } = await makeStore(t)
    let caller = 0
    const told = await together(async (): Promise<[number, string]> => {
      const value = `value ${caller++}`
      return [await store.append('log', value, { ttlSeconds: 10, maxEntries: CALLERS }), value]
    })
    told.sort(([one], [other]) => one - other)
    t.same(told.map(([number]) => number), Array.from({ length: CALLERS }, (_, i) => i + 1))
    t.same(await store.entries('log', 0), { entries: told, newest: CALLERS }, 'under which its value is found')
  })

  await t.test('a log keeps its entries unchanged, many and large ones', async (t) => {
    const { store } = await makeStore(t)
    const texts = [
      '',
      ' ',
      '0',
      'null',
      'newest',
      'line\r\n$5\r\n',
      '\0',
      'ключ 🌱',
      '__proto__',
      'x'.repeat(2 * 1024 * 1024)
    ]
    for (const text of texts) await store.append('log', text, { ttlSeconds: 10, maxEntries: 100 })
    const { entries } = await store.entries('log', 0)
    t.ok(texts.every((text, index) => entries[index]![1] === text))
    t.equal(entries.length, texts.length)

    for (let times = 0; times < 12; times++) {
      await together(() => store.append(
        'long',
        'entry',
        { ttlSeconds: 100, maxEntries: 1100 }
      ))
    }
    const long = await store.entries('long', 0)
    t.same(long.entries.map(([number]) => number), Array.from({ length: 1100 }, (_, i) => 101 + i))
    t.equal((await store.entries('long', 1199)).entries.length, 1)
  })

  await t.test('a log that is too large for one reply', async (t) => {
    const { store } = await makeStore(t)
    const texts = Array.from({ length: 20 }, (_, i) => String.fromCharCode(65 + i).repeat(2 * 1024 * 1024))
    for (const text of texts) await store.append('log', text, { ttlSeconds: 100, maxEntries: 16 })
    const { entries, newest } = await store.entries('log', 0)
    t.equal(newest, 20)
    t.same(
      entries.map(([number, text]) => [number, text[0], text.length]),
      texts.slice(4).map((text, index) => [5 + index, text[0], text.length])
    )
    t.same((await store.entries('log', 17)).entries.map(([number]) => number), [18, 19, 20])
  })

  await t.test('publish and subscribe', async (t) => {
    const { store } = await makeStore(t)
    await store.publish('channel', 'before anybody listens')
    const heard: Record<'one' | 'two' | 'other', string[]> = { one: [], two: [], other: [] }
    const gaps = { one: 0, two: 0, other: 0 }
    for (const [name, channel] of [['one', 'channel'], ['two', 'channel'], ['other', 'channel:other']] as const) {
      store.subscribe(channel, (message) => { heard[name].push(message) }, () => { gaps[name]++ })
      await until(() => gaps[name] > 0, 'the subscription has begun')
    }
    const messages = ['first', '', 'third ключ 🌱\r\n', '{"a":1}']
    for (const message of messages) await store.publish('channel', message)
    await store.publish('channel:other', 'to others')
    await store.publish('chan', 'to nobody')
    await store.publish('channel', 'last')
    await until(
      () => heard.one.at(-1) === 'last' && heard.two.at(-1) === 'last' && heard.other.length > 0,
      'the messages have come'
    )
    t.same(
      heard,
      { one: [...messages, 'last'], two: [...messages, 'last'], other: ['to others'] },
      'each once, in order, to all who listen'
    )
    t.equal(await store.get('channel'), undefined, 'a channel is no key')
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

  await t.test('increment of a value that is no count changes nothing', async (t) => {
    const { store } = await makeStore(t)
    await store.set('key', 'text', 10)
    await t.rejects(store.increment('key', 10), StoreUnavailableError)
    t.equal(await store.get('key'), 'text')
  })

  await t.test('nothing is written with a time to live that is not a positive integer', async (t) => {
    const { store } = await makeStore(t)
    for (const ttlSeconds of [0, -1, 1.5, NaN, Infinity]) {
      await t.rejects(store.set('key', 'value', ttlSeconds), StoreUnavailableError, `set ${ttlSeconds}`)
      await t.rejects(store.setIfAbsent('key', 'value', ttlSeconds), StoreUnavailableError, `setIfAbsent ${ttlSeconds}`)
      await t.rejects(store.increment('key', ttlSeconds), StoreUnavailableError, `increment ${ttlSeconds}`)
      await t.rejects(store.addMember('set', 'member', ttlSeconds), StoreUnavailableError, `addMember ${ttlSeconds}`)
      await t.rejects(
        store.addMemberWithin('set', 'member', ttlSeconds, 1),
        StoreUnavailableError,
        `admitMember ${ttlSeconds}`
      )
      await t.rejects(
        store.append('log', 'entry', { ttlSeconds, maxEntries: 1 }),
        StoreUnavailableError,
        `append ${ttlSeconds}`
      )
    }
    t.equal(await store.get('key'), undefined)
    t.same(await store.members('set'), [])
    t.same(await store.entries('log', 0), { entries: [], newest: 0 })
    await store.set('key', 'value', 10)
    await store.addMember('set', 'member', 10)
    await t.rejects(store.touch('key', 0), StoreUnavailableError)
    for (const ttlSeconds of [0, -1, 1.5, NaN, Infinity]) {
      await t.rejects(
        store.compareAndSet('key', 'value', 'new', ttlSeconds),
        StoreUnavailableError,
        `replace ${ttlSeconds}`
      )
      await t.rejects(store.addMember('set', 'other', ttlSeconds), StoreUnavailableError, `addMember ${ttlSeconds}`)
    }
    t.equal(await store.get('key'), 'value')
    t.same(await store.members('set'), ['member'])
  })

  await t.test('scan', async (t) => {
    const { store, elapse } = await makeStore(t)
    async function scan (prefix: string): Promise<string[]> {
      const batches: string[][] = []
      for await (const batch of store.scan(prefix)) batches.push(batch)
      return batches.flat().sort()
    }
    t.same(await scan('a:'), [], 'nothing in an empty store')
    const many = Array.from({ length: 1_500 }, (_, index) => `a:${String(index).padStart(4, '0')}`)
    await Promise.all(many.map((key) => store.set(key, 'value', 100)))
    await store.set('b:1', 'value', 10)
    await store.set('b:2', 'value', 100)
    await store.set('[b]:*', 'value', 100)
    await store.increment('b:count', 100)
    t.same(await scan('a:'), many, 'each once, however many')
    t.same(await scan('b:'), ['b:1', 'b:2', 'b:count'])
    t.same(await scan('[b]:*'), ['[b]:*'], 'a prefix is no pattern')
    t.same(await scan('?'), [])
    await elapse(11)
    t.same(await scan('b:'), ['b:2', 'b:count'], 'without those that have expired')
  })

  await t.test('a value expires by itself', async (t) => {
    const { store } = await makeStore(t)
    await store.set('key', 'value', 1)
    await until(async () => await store.get('key') === undefined, 'the key has expired')
    t.equal(await store.take('key'), undefined)
  })

  await t.test('ping and ready resolve', async (t) => {
    const { store } = await makeStore(t)
    await store.ping()
    await store.ready()
  })

  await t.test('close', async (t) => {
    const { store } = await makeStore(t)
    await store.set('key', 'value', 10)
    let gaps = 0
    store.subscribe('channel', () => { t.fail('nobody publishes any more') }, () => { gaps++ })
    await until(() => gaps > 0, 'the subscription has begun')
    await Promise.all([store.close(), store.close()])
    await store.close()
    await rejectsEverything(t, store)
  })
}

/** Less than ioredis waits by itself, with room for a loaded machine. */
export const PROMPT_MS = 10_000

/** Every method rejects with StoreUnavailableError, and within a second: none hangs and none says "not found". */
export async function rejectsEverything (t: Test, store: Store): Promise<void> {
  const started = performance.now()
  const calls: Record<string, Promise<unknown>> = {
    get: store.get('key'),
    set: store.set('key', 'value', 10),
    setIfAbsent: store.setIfAbsent('key', 'value', 10),
    take: store.take('key'),
    touch: store.touch('key', 10),
    replace: store.compareAndSet('key', 'value', 'new', 10),
    addMember: store.addMember('set', 'member', 10),
    members: store.members('set'),
    admitMember: store.addMemberWithin('set', 'member', 10, 10),
    removeMember: store.removeMember('set', 'member'),
    append: store.append('log', 'entry', { ttlSeconds: 10, maxEntries: 10 }),
    entries: store.entries('log', 0),
    publish: store.publish('channel', 'message'),
    delete: store.delete('key'),
    increment: store.increment('count', 10),
    scan: store.scan('key')[Symbol.asyncIterator]().next(),
    ping: store.ping()
  }
  await Promise.all(Object.entries(calls).map(async ([name, call]) => {
    await t.rejects(call.then(() => {}), StoreUnavailableError, `${name} rejects`)
  }))
  t.ok(performance.now() - started < PROMPT_MS, 'without waiting for Redis')
}
