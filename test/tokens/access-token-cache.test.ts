import { generateKeyPairSync, sign } from 'node:crypto'
import type { CryptoKey } from 'jose'
import t from 'tap'
import { ProviderUnavailableError } from '../../src/provider/discovery.ts'
import { createVerifier } from '../../src/tokens/access-token-verifier.ts'
import type { VerifierOptions } from '../../src/tokens/access-token-verifier.ts'
import { until } from '../support/until.ts'

/** The cache of the verifier, and what it looks up: keys, revocations, access rules. */

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const jwk = publicKey.export({ format: 'jwk' })
const importKey = async (): Promise<CryptoKey> =>
  await crypto.subtle.importKey('jwk', jwk, { name: 'Ed25519' }, false, ['verify']) as CryptoKey

const CLAIMS = { iss: 'https://id.example.com', aud: 'seed', sub: 'ada', iat: 1_800_000_000, exp: 1_800_000_300 }

/** Signs claims of which some are changed. */
function craft (header: object, claims: object = {}): string {
  const parts = [{ alg: 'EdDSA', ...header }, { ...CLAIMS, ...claims }]
  const input = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${input}.${sign(null, Buffer.from(input), privateKey).toString('base64url')}`
}

const mint = (claims: object = {}): string => craft({ typ: 'at+jwt' }, claims)

/** A verifier with a clock that stands still, and a count of its key lookups. */
function createFixture (changes: Partial<VerifierOptions> = {}) {
  const state = { now: 1_800_000_000_000, keyLookups: 0 }
  const verifier = createVerifier({
    issuer: CLAIMS.iss,
    tenants: [],
    audiences: [CLAIMS.aud],
    resourceOf: ({ aud }) => String(aud),
    algorithms: ['EdDSA'],
    groupsClaim: 'groups',
    groupPaths: false,
    clockSkewSeconds: 0,
    maxLifetimeSeconds: 86_400,
    now: () => state.now,
    async getKey () {
      state.keyLookups++
      return await importKey()
    },
    ...changes
  })
  return { state, verifier }
}

t.test('caches a verified token for a minute', async (t) => {
  const { state, verifier } = createFixture()
  const token = mint()
  const principal = await verifier.verify(token)
  t.match(principal, { subject: 'ada', expiresAt: 1_800_000_300 })
  state.now += 59_999
  t.equal(await verifier.verify(token), principal)
  t.equal(state.keyLookups, 1)
  state.now += 1
  t.not(await verifier.verify(token), principal)
  t.equal(state.keyLookups, 2)
})

t.test('a cached token expires at its exp', async (t) => {
  const { state, verifier } = createFixture()
  const token = mint({ exp: 1_800_000_010 })
  await verifier.verify(token)
  state.now = 1_800_000_009_999
  await verifier.verify(token)
  t.equal(state.keyLookups, 1)
  state.now = 1_800_000_010_000
  await t.rejects(async () => await verifier.verify(token), {
    name: 'TokenError',
    reason: 'invalid_token',
    message: 'The access token has expired',
    detail: 'exp was 1800000010'
  })
  await t.rejects(async () => await verifier.verify(token), { name: 'TokenError', reason: 'invalid_token' })

  const lenient = createFixture({ clockSkewSeconds: 30 })
  lenient.state.now = 1_800_000_020_000
  await lenient.verifier.verify(token)
  await lenient.verifier.verify(token)
  t.equal(lenient.state.keyLookups, 2, 'one that lives by the clock skew alone is verified anew each time')
})

t.test('caches no refused token', async (t) => {
  const { state, verifier } = createFixture()
  const token = mint({ aud: 'other' })
  await t.rejects(async () => await verifier.verify(token), { name: 'TokenError', reason: 'invalid_claim' })
  await t.rejects(async () => await verifier.verify(token), { name: 'TokenError', reason: 'invalid_claim' })
  t.equal(state.keyLookups, 2)
})

t.test('caches ten thousand tokens', async (t) => {
  const { state, verifier } = createFixture()
  const tokens = Array.from({ length: 10_001 }, (_, index) => mint({ jti: `${index}` }))
  // The first two come first; in what order the others end is theirs.
  for (const token of tokens.slice(0, 2)) await verifier.verify(token)
  for (let first = 2; first < tokens.length; first += 500) {
    await Promise.all(tokens.slice(first, first + 500).map((token) => verifier.verify(token)))
  }
  t.equal(state.keyLookups, 10_001)
  for (const token of tokens.slice(1)) await verifier.verify(token)
  t.equal(state.keyLookups, 10_001, 'ten thousand are remembered')
  await verifier.verify(tokens[0]!)
  t.equal(state.keyLookups, 10_002, 'the oldest was forgotten for the last')
  await verifier.verify(tokens[1]!)
  t.equal(state.keyLookups, 10_003)
})

t.test('clearing the cache includes tokens that are being verified', async (t) => {
  let gate: Promise<unknown> = Promise.resolve()
  const { state, verifier } = createFixture({
    async getKey () {
      state.keyLookups++
      await gate
      return await importKey()
    }
  })
  const [early, late] = [mint(), mint({ jti: 'late' })]
  await verifier.verify(early)
  let open = () => {}
  gate = new Promise<void>((resolve) => { open = resolve })
  const pending = verifier.verify(late)
  verifier.clearCache()
  open()
  await pending
  t.equal(state.keyLookups, 2)
  await verifier.verify(early)
  await verifier.verify(late)
  t.equal(state.keyLookups, 4, 'both were verified again')
  await verifier.verify(late)
  t.equal(state.keyLookups, 4)
})

t.test('needs no key to refuse a token of another issuer or form', async (t) => {
  const { state, verifier } = createFixture()
  for (const token of [
    'a.b.c',
    `${mint()}.x`,
    'x'.repeat(10_000),
    craft({ alg: 'HS256' }),
    craft({ crit: ['x'] }),
    mint({ iss: 'https://other.example.com' })
  ]) {
    await t.rejects(async () => await verifier.verify(token), { name: 'TokenError' })
  }
  t.equal(state.keyLookups, 0)
})

t.test('passes on unavailable keys and unknown errors', async (t) => {
  for (const error of [new ProviderUnavailableError('down'), new TypeError('a mistake of ours')]) {
    const { verifier } = createFixture({ async getKey () { throw error } })
    const thrown = await Promise.resolve(verifier.verify(mint())).then(() => undefined, (err: unknown) => err)
    t.equal(thrown, error)
  }
})

/** A verifier whose revocations the test controls: the marks in the store, and the messages to replicas. */
function createRevocationsFixture (changes: Partial<VerifierOptions> = {}) {
  const revoked = {
    marks: new Map<string, number>(),
    lookups: [] as Array<{ revocationKeys: string[], issuedAt: number }>,
    notify: (_: { revocationKeys: string[] } | undefined) => {},
    hold: Promise.resolve()
  }
  const fixture = createFixture({
    revocation: {
      keys: ({ sub, jti }, digest) => [
        `token:${digest.slice(0, 4)}`,
        `subject:${String(sub)}`,
        ...(typeof jti === 'string' ? [`jti:${jti}`] : [])
      ],
      async isRevoked (revocationKeys, issuedAt) {
        revoked.lookups.push({ revocationKeys, issuedAt })
        const answer = revocationKeys.some((name) => issuedAt <= (revoked.marks.get(name) ?? -1))
        await revoked.hold
        return answer
      },
      onRevoked (listener) {
        revoked.notify = listener
      }
    },
    ...changes
  })
  return { ...fixture, revoked }
}

const REVOKED = { name: 'TokenError', reason: 'invalid_token', message: 'The access token has been revoked' }

t.test('a token that is revoked by any of its keys is refused when first seen, and not cached', async (t) => {
  const { verifier, revoked } = createRevocationsFixture()
  const token = mint({ jti: 'one' })
  for (const name of ['subject:ada', 'jti:one']) {
    revoked.marks.set(name, 1_800_000_000)
    await t.rejects(async () => await verifier.verify(token), REVOKED, name)
    revoked.marks.clear()
  }
  revoked.marks.set('subject:bob', 1_900_000_000).set('jti:two', 1_900_000_000).set('subject:ada', 1_799_999_999)
  t.equal((await verifier.verify(token)).subject, 'ada', 'one that was issued after the revocation is good')
  t.match(revoked.lookups.at(-1), { revocationKeys: [/^token:/, 'subject:ada', 'jti:one'], issuedAt: 1_800_000_000 })
})

t.test('returns the revocation keys of the principals that it has verified', async (t) => {
  const { verifier, revoked } = createRevocationsFixture()
  const principal = await verifier.verify(mint())
  t.same(verifier.revocationKeys(principal), revoked.lookups[0]!.revocationKeys)
  t.same(verifier.revocationKeys({ ...principal }), [], 'and of none that verify did not give')
  const without = createFixture()
  t.same(without.verifier.revocationKeys(await without.verifier.verify(mint())), [])
})

t.test('a cached token is not looked up again until a message revokes it', async (t) => {
  const { state, verifier, revoked } = createRevocationsFixture()
  const [ada, bob] = [mint(), mint({ sub: 'bob' })]
  const principal = await verifier.verify(ada)
  await verifier.verify(bob)
  revoked.marks.set('subject:ada', 1_900_000_000)
  t.equal(await verifier.verify(ada), principal)
  revoked.notify({ revocationKeys: ['subject:eve', 'jti:one'] })
  t.equal(await verifier.verify(ada), principal, 'revocations of others change nothing')
  t.equal(revoked.lookups.length, 2)
  revoked.notify({ revocationKeys: ['jti:one', 'subject:ada'] })
  await t.rejects(async () => await verifier.verify(ada), REVOKED)
  await verifier.verify(bob)
  t.equal(state.keyLookups, 3, 'the other is still remembered')
})

t.test('a revocation whose message was lost is seen after a minute', async (t) => {
  const { state, verifier, revoked } = createRevocationsFixture()
  const token = mint()
  await verifier.verify(token)
  revoked.marks.set('subject:ada', 1_900_000_000)
  state.now += 59_999
  await verifier.verify(token)
  state.now += 1
  await t.rejects(async () => await verifier.verify(token), REVOKED)
})

t.test('after messages may have been missed every token is looked up again', async (t) => {
  const { verifier, revoked } = createRevocationsFixture()
  const tokens = [mint(), mint({ sub: 'bob' })]
  for (const token of tokens) await verifier.verify(token)
  revoked.marks.set('subject:ada', 1_900_000_000)
  revoked.notify(undefined)
  await t.rejects(async () => await verifier.verify(tokens[0]!), REVOKED)
  t.equal((await verifier.verify(tokens[1]!)).subject, 'bob')
  t.equal(revoked.lookups.length, 4)
})

t.test('a token that is revoked while it is verified is not cached', async (t) => {
  for (const message of [{ revocationKeys: ['subject:ada'] }, undefined]) {
    const { verifier, revoked } = createRevocationsFixture()
    const token = mint()
    let open = () => {}
    revoked.hold = new Promise<void>((resolve) => { open = resolve })
    const pending = verifier.verify(token)
    await until(() => revoked.lookups.length === 1, 'the store has been read')
    revoked.marks.set('subject:ada', 1_900_000_000)
    revoked.notify(message)
    open()
    await pending
    await t.rejects(async () => await verifier.verify(token), REVOKED, 'the next look sees it')
  }
})

t.test('an unexpected error of the store is thrown', async (t) => {
  const fault = new TypeError('a bug')
  const { verifier } = createFixture({
    revocation: {
      keys: () => ['x'],
      isRevoked: async () => {
        throw fault
      },
      onRevoked () {}
    }
  })
  await t.rejects(async () => await verifier.verify(mint()), fault)
})

t.test('access is checked each time for a refused person, and once a minute for an admitted one', async (t) => {
  const refused = new Error('not in the group')
  const admitted: unknown[] = []
  const rules = { open: false }
  const { state, verifier } = createFixture({
    checkAccess ({ subject }) {
      admitted.push(subject)
      if (!rules.open) throw refused
    }
  })
  const token = mint()
  for (let time = 0; time < 2; time++) await t.rejects(async () => await verifier.verify(token), refused)
  t.same(admitted, ['ada', 'ada'])
  rules.open = true
  await verifier.verify(token)
  await verifier.verify(token)
  t.equal(admitted.length, 3, 'a cached token is not checked')
  rules.open = false
  state.now += 60_000
  await t.rejects(async () => await verifier.verify(token), refused)
  await t.rejects(
    async () => await verifier.verify(mint({ exp: 1_800_000_001 })),
    { name: 'TokenError' },
    'a bad token is refused before access is checked'
  )
  t.equal(admitted.length, 4)
})

t.test('with OIDC_TENANTS a token must name the issuer of its own tenant, which must be listed', async (t) => {
  const of = (tenant: string) => `https://login.microsoftonline.com/${tenant}/v2.0`
  const { state, verifier } = createFixture({ issuer: of('common'), tenants: ['tenant-a', 'tenant-b'] })
  for (const tid of ['tenant-a', 'tenant-b']) {
    t.equal((await verifier.verify(mint({ tid, iss: of(tid) }))).issuer, of(tid))
  }
  const before = state.keyLookups
  for (const [claims, detail] of [
    [{ iss: of('tenant-c'), tid: 'tenant-c' }, `iss is "${of('tenant-c')}", expected is that of one of OIDC_TENANTS`],
    [{ iss: of('common') }, `iss is "${of('common')}", expected is that of one of OIDC_TENANTS`],
    [{ iss: of('tenant-b'), tid: 'tenant-a' }, `iss is "${of('tenant-b')}", expected is "${of('tenant-a')}"`],
    [{ iss: of('common'), tid: 'tenant-a' }, `iss is "${of('common')}", expected is "${of('tenant-a')}"`]
  ] as const) {
    await t.rejects(
      async () => await verifier.verify(mint(claims)),
      { name: 'TokenError', reason: 'invalid_claim', message: 'The access token was issued by another issuer', detail },
      JSON.stringify(claims)
    )
  }
  t.equal(state.keyLookups, before, 'and no key is looked up')
})
