import t from 'tap'
import type { AuditEntry } from '../../../../src/audit/record.ts'
import { createGrants } from '../../../../src/oauth/modes/broker/grants.ts'
import type { NewGrant } from '../../../../src/oauth/modes/broker/grants.ts'
import type { GrantLifetimes } from '../../../../src/oauth/modes/broker/grants-options.ts'
import { createRefreshTokens, parseRefreshToken } from '../../../../src/oauth/modes/broker/refresh-token-format.ts'
import { OAuthError } from '../../../../src/errors/oauth-error.ts'
import { clientKey, createRevocations, grantKey, subjectKey, withoutGrantKey } from '../../../../src/tokens/revocations.ts'
import { digest } from '../../../../src/crypto/hash.ts'
import { createKeyring } from '../../../../src/crypto/keyring.ts'
import { ProviderUnavailableError } from '../../../../src/provider/discovery.ts'
import { keys } from '../../../../src/store/keys.ts'
import { createMemoryStore } from '../../../../src/store/memory.ts'
import { StoreUnavailableError } from '../../../../src/store/store.ts'
import { SEED_SECRET } from '../../../support/broker.ts'

/** Grants in the store: how long they stay, how they are found again, how they end. */
const DETAILS: NewGrant = {
  clientId: 'client',
  clientKind: 'registered',
  clientAuthMethod: 'none',
  subject: 'ada',
  scope: 'openid',
  claims: { name: 'Ada' },
  sid: 'session',
  refreshes: true,
  upstream: { accessToken: 'upstream-access', refreshToken: 'upstream-refresh' }
}

const LIFETIMES: GrantLifetimes = {
  accessTokenTtlSeconds: 900, refreshTokenTtlSeconds: 10_000, maxAgeSeconds: 20_000, maxAgeUncheckedSeconds: 5_000
}

function makeGrants ({ now = Date.now, markSeconds = 960 }: { now?: () => number, markSeconds?: number } = {}) {
  const store = createMemoryStore({ now })
  const revocations = createRevocations(store, markSeconds)
  const revoked: Array<[token: string, hint: string | undefined]> = []
  const recorded: AuditEntry[] = []
  const grants = createGrants({
    store,
    keyring: createKeyring(SEED_SECRET, undefined),
    revocations,
    upstream: {
      async revoke (token, hint) {
        revoked.push([token, hint])
        return true
      }
    },
    lifetimes: LIFETIMES,
    log: { info () {}, warn () {} },
    audit: { record (entry) { recorded.push(entry) } },
    now
  })
  return { store, revocations, grants, revoked, recorded }
}

t.test('a revocation outlives access tokens without a grant, which may be valid for longer than any grant', async (t) => {
  let now = 1_000_000_000_000
  const { grants, revocations } = makeGrants({ now: () => now, markSeconds: 86_400 })
  const issuedAt = now / 1_000
  await grants.revokeAll({ clientId: 'nightly' }, 'revoked by the operator')
  now += (LIFETIMES.maxAgeSeconds + 60_000) * 1_000
  t.equal(await revocations.isRevoked([withoutGrantKey(clientKey('nightly'))], issuedAt), true)
})

t.test('a grant is stored for as long as its refresh token, or else its access token, can be used', async (t) => {
  let now = 1_000_000_000_000
  const { grants } = makeGrants({ now: () => now })
  const createActive = async (details: Partial<NewGrant>): Promise<string> =>
    (await grants.activate(await grants.create({ ...DETAILS, ...details }))).id
  const [refreshing, once, unchecked] = [
    await createActive({}),
    await createActive({ refreshes: false }),
    await createActive({ upstream: { accessToken: 'a', refreshToken: undefined } })
  ]
  const live = async (): Promise<boolean[]> =>
    await Promise.all([refreshing, once, unchecked].map(async (id) => (await grants.find(id)) !== undefined))
  now += 899_000
  t.same(await live(), [true, true, true])
  now += 1_000
  t.same(await live(), [true, false, true])
  now += 4_100_000
  t.same(await live(), [true, false, false], 'GRANT_MAX_AGE_UNCHECKED')
  now += 5_000_000
  t.same(await live(), [false, false, false], 'REFRESH_TOKEN_TTL')
})

t.test('a new grant is not stored, and can be revoked before its code is redeemed', async (t) => {
  const { grants, store, revocations } = makeGrants()
  const begun = await grants.create(DETAILS)
  t.equal(await grants.find(begun.id), undefined)
  t.equal(await grants.revokeAll({ subject: 'ada' }, 'logged out at the provider'), 0, 'none was live')
  await grants.activate(begun)
  t.equal(await store.get(keys.grant(begun.id)), undefined)
  t.equal(await revocations.isRevoked([grantKey(begun.id)], 0), true)
})

t.test('grants are revoked by subject, by client and by session, and by nothing else', async (t) => {
  for (const [of, ends] of [
    [{ subject: 'ada' }, [true, true, false]],
    [{ clientId: 'client' }, [true, false, true]],
    [{ sid: 'session' }, [true, false, false]],
    [{ subject: 'client' }, [false, false, false]],
    [{ clientId: 'ada' }, [false, false, false]]
  ] as const) {
    const { grants, revoked } = makeGrants()
    const ids: string[] = []
    for (const details of [
      DETAILS,
      { ...DETAILS, clientId: 'other', sid: undefined },
      { ...DETAILS, subject: 'bob', sid: 'another' }
    ]) {
      ids.push((await grants.activate(await grants.create(details))).id)
    }
    t.equal(await grants.revokeAll(of, 'revoked by the operator'), ends.filter(Boolean).length)
    t.same(await Promise.all(ids.map(async (id) => await grants.find(id) === undefined)), ends, JSON.stringify(of))
    t.equal(revoked.length, ends.filter(Boolean).length, 'and each at the provider')
  }
})

t.test('a logout with subject and session ends that session, and what belongs to no session', async (t) => {
  const { grants } = makeGrants()
  const ids: string[] = []
  for (const sid of ['session', 'another', undefined]) {
    ids.push((await grants.activate(await grants.create({ ...DETAILS, sid }))).id)
  }
  t.equal(await grants.revokeAll({ subject: 'ada', sid: 'session' }, 'logged out at the provider'), 2)
  t.same(await Promise.all(ids.map(async (id) => await grants.find(id) === undefined)), [true, false, true])
})

t.test('all of a person or client ends, however many grants there are, and the call can be repeated', async (t) => {
  for (const owner of [{ subject: 'ada' }, { clientId: 'client' }]) {
    let now = 1_000_000_000_000
    const { grants, store, revocations, revoked } = makeGrants({ now: () => now })
    const ids: string[] = []
    for (let count = 0; count < 250; count++) ids.push((await grants.activate(await grants.create(DETAILS))).id)
    now += 2_000
    // The store fails after the marks, when the first grant is read.
    const { get } = store
    store.get = async () => { throw new StoreUnavailableError() }
    await t.rejects(grants.revokeAll(owner, 'revoked by the operator'), StoreUnavailableError)
    store.get = get
    for (const id of ids) t.equal(await grants.find(id), undefined, 'none can be refreshed any more')
    const key = owner.subject === undefined ? clientKey('client') : subjectKey('ada')
    t.equal(await revocations.isRevoked([key], 1_000_000_000), true, 'one mark ends the access tokens')
    t.equal(await revocations.isRevoked([key], 1_000_000_003), false, 'those of later sign-ins are good')

    t.equal(await grants.revokeAll(owner, 'revoked by the operator'), 250, 'the same call again')
    t.equal(revoked.length, 250, 'at the provider too')
    t.equal(await grants.revokeAll(owner, 'revoked by the operator'), 0)
    t.same(await store.members(keys.grantsOf(digest('subject:ada'))), [], 'the index holds no ended grants')
    const later = await grants.activate(await grants.create(DETAILS))
    t.ok(await grants.find(later.id), 'a later sign-in is another grant')
  }
})

t.test('at the provider the refresh token is revoked, or else the access token', async (t) => {
  const { grants, revoked } = makeGrants()
  for (const refreshToken of ['upstream-refresh', undefined]) {
    const { id } = await grants.activate(
      await grants.create({ ...DETAILS, upstream: { accessToken: 'upstream-access', refreshToken } })
    )
    await grants.revoke(id, 'revoked by the client')
  }
  t.same(revoked, [['upstream-refresh', 'refresh_token'], ['upstream-access', 'access_token']])
})

t.test('if the provider cannot revoke, the grant ends here and the log says why', async (t) => {
  for (const [err, reason] of [
    [new OAuthError('temporarily_unavailable', 'away', { detail: 'it answered 500' }), 'it answered 500'],
    [new ProviderUnavailableError('not found yet'), 'not found yet']
  ] as const) {
    const store = createMemoryStore()
    const warnings: Array<[object, string]> = []
    const grants = createGrants({
      store,
      keyring: createKeyring(SEED_SECRET, undefined),
      revocations: createRevocations(store, 960),
      upstream: { revoke: async () => { throw err } },
      lifetimes: LIFETIMES,
      log: { info () {}, warn (fields, message) { warnings.push([fields, message]) } }
    })
    const { id } = await grants.activate(await grants.create(DETAILS))
    await grants.revoke(id, 'revoked by the client')
    t.equal(await grants.find(id), undefined)
    t.same(warnings, [[{ event: 'grant.upstream_revocation_failed', grant: id, reason }, "A grant has ended here; the provider's token could not be revoked"]])
  }
})

t.test('the store alone cannot make a refresh token: the MAC needs the secret', async (t) => {
  const { grants, store } = makeGrants()
  const grant = await grants.activate(await grants.create(DETAILS))
  const token = grants.refreshToken(grant)
  const record = (await store.get(keys.grant(grant.id)))!
  t.notOk(record.includes(token))
  t.notOk(record.includes(token.split('.')[3]!))
  t.notOk(record.includes('upstream-refresh') || record.includes('upstream-access'))
  const stranger = createRefreshTokens(createKeyring('another SEED_SECRET, of 44 bytes as the first', undefined))
  t.equal(stranger.isGenuine(parseRefreshToken(token)!, grant), false)
  t.equal(grants.isGenuine(parseRefreshToken(token)!, grant), true)
  t.equal(grants.isGenuine(parseRefreshToken(token)!, { ...grant, salt: 'another' }), false)
  t.equal(grants.isGenuine(parseRefreshToken(token)!, { ...grant, id: 'x'.repeat(22) }), false, 'of another grant')
})

t.test('parses refresh tokens and refuses any other string', async (t) => {
  const [id, key, mac] = ['i'.repeat(22), 'k'.repeat(8), 'm'.repeat(43)]
  t.same(parseRefreshToken(`${id}.12.${key}.${mac}`), { grantId: id, number: 12, keyId: key, mac })
  for (const token of [
    '',
    'x',
    `${id}.12.${key}`,
    `${id}.x.${key}.${mac}`,
    `${id}.1234567890.${key}.${mac}`,
    `${id}.12.${key}.${mac}\n`,
    `${id}.12.${key}.${mac}=`,
    `${id}:12.${key}.${mac}`
  ]) {
    t.equal(parseRefreshToken(token), undefined, JSON.stringify(token))
  }
})

t.test('where the store fails half-way, the audit log has what ended and what may be left, whoever asked for it', async (t) => {
  for (const reason of ['revoked by the operator', 'logged out at the provider'] as const) {
    const { grants, store, recorded, revoked } = makeGrants()
    const ids: string[] = []
    for (let count = 0; count < 150; count++) ids.push((await grants.activate(await grants.create(DETAILS))).id)
    const lost = keys.grant(ids[120]!)
    const { get } = store
    store.get = async (key) => {
      if (key === lost) throw new StoreUnavailableError()
      return await get(key)
    }
    await t.rejects(grants.revokeMany(ids, reason), StoreUnavailableError)
    store.get = get
    const of = (outcome: string) =>
      recorded.filter((entry) => entry.outcome === outcome).map(({ grant }) => grant).sort()
    t.same(of('ok'), ids.toSpliced(120, 1).sort(), 'those of the same batch have ended, too')
    t.same(of('unavailable'), [ids[120]])
    t.ok(recorded.every((entry) => entry.event === 'revocation' && entry.reason === reason))
    t.match(recorded[0], { subject: 'ada', client: 'client' })
    t.equal(revoked.length, 149, 'those that have ended here have ended at the provider')

    recorded.length = 0
    t.equal(await grants.revokeMany(ids, reason), 1, 'the same call again')
    const isOfRequest = reason === 'logged out at the provider'
    t.same(recorded.map(({ grant }) => grant), isOfRequest ? [] : [ids[120]], 'a request has a line of its own')
  }
})

t.test('a grant that was marked has a line where the store fails for others of its batch, or for the message', async (t) => {
  const { grants, store, recorded, revocations } = makeGrants()
  const ids = ['one', 'two', 'three']
  const { set, publish } = store
  store.set = async (key, ...rest) => {
    if (key === keys.revoked(grantKey('two'))) throw new StoreUnavailableError()
    await set(key, ...rest)
  }
  const messages: string[] = []
  store.publish = async (channel, text) => { messages.push(text); await publish(channel, text) }
  const isRevoked = async (id: string) => await revocations.isRevoked([grantKey(id)], 0)
  await t.rejects(grants.revokeMany(ids, 'revoked by the operator'), StoreUnavailableError)
  t.same(await Promise.all(ids.map(isRevoked)), [true, false, true])
  const lines = () => recorded.map(({ grant, outcome }) => `${grant} ${outcome}`)
  t.same(lines(), ['one unavailable', 'three unavailable'])
  t.match(messages, [/grant:one.*grant:three/], 'replicas learn of what was marked')

  recorded.length = 0
  store.set = set
  store.publish = async () => { throw new StoreUnavailableError() }
  await t.rejects(grants.revokeMany(['four'], 'revoked by the operator'), StoreUnavailableError)
  t.equal(await isRevoked('four'), true)
  t.same(lines(), ['four unavailable'])
})

t.test('a store that is away from the start leaves the line to whoever asked', async (t) => {
  const { grants, store, recorded } = makeGrants()
  store.set = async () => { throw new StoreUnavailableError() }
  await t.rejects(grants.revokeMany(['one'], 'revoked by the operator'), StoreUnavailableError)
  t.same(recorded, [])
})
