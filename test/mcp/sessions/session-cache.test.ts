import t from 'tap'
import { createSessionCache } from '../../../src/mcp/sessions/session-cache.ts'
import type { Session } from '../../../src/mcp/sessions/sessions.ts'

const session = (digest: string): Session => ({
  digest, principalKey: 'ada', clientInfo: { name: 'test', version: '1' }, capabilities: {}, protocolVersion: '2025-11-25', logLevel: undefined, createdAt: 0, lastSeenAt: 0
})

t.test('a copy is found by its principal alone, for as long as it lives', async (t) => {
  let now = 0
  const copies = createSessionCache(1_000, 86_400, () => now)
  copies.begin()('id', session('digest'))
  t.match(copies.find('id', 'ada'), { digest: 'digest' })
  t.equal(copies.find('id', 'bob'), undefined)
  t.equal(copies.find('other', 'ada'), undefined)
  now = 1_000
  t.equal(copies.find('id', 'ada'), undefined)
})

t.test('what was read before something was forgotten is not kept', async (t) => {
  const copies = createSessionCache(1_000, 86_400, () => 0)
  for (const forget of [() => { copies.forget('another') }, () => { copies.forget() }]) {
    const keep = copies.begin()
    forget()
    keep('id', session('digest'))
    t.equal(copies.find('id', 'ada'), undefined)
  }
  copies.begin()('id', session('digest'))
  copies.forget('digest')
  t.equal(copies.find('id', 'ada'), undefined)
})

t.test('there are so many and no more, and those that are over make room', async (t) => {
  let now = 0
  const copies = createSessionCache(1_000, 86_400, () => now)
  for (let number = 0; number <= 10_000; number++) copies.begin()(`id-${number}`, session(`digest-${number}`))
  t.ok(copies.find('id-9999', 'ada'))
  t.equal(copies.find('id-10000', 'ada'), undefined)
  now = 2_000
  copies.begin()('id-10000', session('digest-10000'))
  t.ok(copies.find('id-10000', 'ada'))
})
