import t from 'tap'
import {
  clientKey, createRevocations, grantKey, markTtlSeconds, sidKey, subjectKey, subjectWithoutSidKey, tokenKey
} from '../../src/tokens/revocations.ts'
import type { Revocation } from '../../src/tokens/revocations.ts'
import { keys } from '../../src/store/keys.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'

t.test('a revocation without a time holds for tokens issued at any time, while one can live', async (t) => {
  let now = 1_000_000
  const revocations = createRevocations(createMemoryStore({ now: () => now }), 960)
  await revocations.revoke([grantKey('one'), grantKey('two')])
  for (const issuedAt of [0, 1, Number.MAX_SAFE_INTEGER]) {
    t.equal(await revocations.isRevoked([grantKey('one')], issuedAt), true)
  }
  t.equal(await revocations.isRevoked([grantKey('two')], 0), true)
  t.equal(await revocations.isRevoked([grantKey('three')], 0), false)
  t.equal(await revocations.isRevoked([grantKey('three'), grantKey('two')], 0), true, 'one of its names is enough')
  t.equal(await revocations.isRevoked([], 0), false)
  now += 959_999
  t.equal(await revocations.isRevoked([grantKey('one')], 0), true)
  now += 1
  t.equal(await revocations.isRevoked([grantKey('one')], 0), false, 'no token of it can be left')
})

t.test('a revocation up to a time spares tokens that were issued later', async (t) => {
  const revocations = createRevocations(createMemoryStore(), 960)
  await revocations.revoke([subjectKey('ada')], 1_000)
  t.equal(await revocations.isRevoked([subjectKey('ada')], 999), true)
  t.equal(await revocations.isRevoked([subjectKey('ada')], 1_000), true, 'in the same second')
  t.equal(await revocations.isRevoked([subjectKey('ada')], 1_001), false)
  t.equal(await revocations.isRevoked([subjectKey('bob')], 999), false)
})

t.test('every listener learns of each revocation, and when some may have been missed', async (t) => {
  const store = createMemoryStore()
  const [one, other] = [createRevocations(store, 960), createRevocations(store, 960)]
  const received: Array<Revocation | undefined> = []
  one.onRevoked((revocation) => { received.push(revocation) })
  t.same(received, [undefined], 'some may have been missed before')
  await other.revoke([sidKey('s')], 1_000)
  await other.revoke([grantKey('g')])
  t.same(received.slice(1), [
    { revocationKeys: [sidKey('s')], issuedUntil: 1_000 },
    { revocationKeys: [grantKey('g')], issuedUntil: Number.MAX_SAFE_INTEGER }
  ])
})

t.test('the mark is stored before the message is sent', async (t) => {
  const store = createMemoryStore()
  const revocations = createRevocations(store, 960)
  const seen: Array<Promise<boolean>> = []
  revocations.onRevoked((revocation) => {
    if (revocation !== undefined) seen.push(revocations.isRevoked(revocation.revocationKeys, 0))
  })
  await revocations.revoke([grantKey('g')])
  t.same(await Promise.all(seen), [true])
})

t.test('while the store is unavailable nothing counts as revoked; other errors are thrown', async (t) => {
  const store = createMemoryStore()
  const revocations = createRevocations(store, 960)
  await revocations.revoke([grantKey('g')])
  store.get = async () => { throw new StoreUnavailableError() }
  t.equal(await revocations.isRevoked([grantKey('g')], 0), false)
  store.get = async () => { throw new TypeError('a mistake of ours') }
  await t.rejects(revocations.isRevoked([grantKey('g')], 0), TypeError)
  store.set = async () => { throw new StoreUnavailableError() }
  await t.rejects(revocations.revoke([grantKey('g')]), StoreUnavailableError)
})

t.test('keys of different kinds never meet, and what a provider says is not readable in the store', async (t) => {
  const ofText = [grantKey, subjectKey, subjectWithoutSidKey, sidKey, clientKey]
  const kinds = [tokenKey('x'), ...ofText.map((keyOf) => keyOf('x'))]
  t.equal(new Set(kinds).size, kinds.length)
  for (const key of [subjectKey('ada@example.com\n*'), sidKey('ada@example.com\n*')]) {
    t.match(keys.revoked(key), /^revoked:(subject|sid):[\w-]{43}$/)
  }
})

t.test('a token is named by what is signed, never by its signature', async (t) => {
  t.equal(tokenKey('header.payload.r-and-s'), tokenKey('header.payload.r-and-n-minus-s'))
  t.not(tokenKey('header.payload.s'), tokenKey('header.other.s'))
})

t.test('a mark outlives every token that a verifier accepts, also under other settings than today', async (t) => {
  t.ok(markTtlSeconds(60) >= 86_400 + 2 * 300)
  t.ok(markTtlSeconds(1_000_000) >= 1_000_000 + 2 * 300)
})

t.test('a message that no replica of Seed has sent changes nothing', async (t) => {
  const store = createMemoryStore()
  const revocations = createRevocations(store, 960)
  const heard: unknown[] = []
  revocations.onRevoked((revocation) => { heard.push(revocation) })
  const junks = ['junk', 'null', '{}', '', '[]', '{"names":"x","issuedUntil":1}', '{"names":[1],"issuedUntil":1}']
  for (const junk of junks) {
    await store.publish('revocations', junk)
  }
  t.same(heard, [undefined], 'only the gap at the beginning')
  await revocations.revoke([grantKey('g')])
  t.equal(heard.length, 2)
})
