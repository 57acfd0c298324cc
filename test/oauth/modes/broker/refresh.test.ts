import t from 'tap'
import type { DevUser } from '../../../../dev/provider.ts'
import { createGrants } from '../../../../src/oauth/modes/broker/grants.ts'
import type { Grant } from '../../../../src/oauth/modes/broker/grant.ts'
import type { GrantsOptions } from '../../../../src/oauth/modes/broker/grants.ts'
import { createIdentityReader } from '../../../../src/oauth/modes/broker/identity.ts'
import type { IdentityOptions } from '../../../../src/oauth/modes/broker/identity.ts'
import { createRefreshRotation } from '../../../../src/oauth/modes/broker/refresh-rotation.ts'
import { createUpstreamRefresh } from '../../../../src/oauth/modes/broker/upstream-refresh.ts'
import type { UpstreamRefreshOptions } from '../../../../src/oauth/modes/broker/upstream-refresh.ts'
import { OAuthError } from '../../../../src/errors/oauth-error.ts'
import { IdTokenError } from '../../../../src/provider/id-token.ts'
import { createRevocations } from '../../../../src/tokens/revocations.ts'
import { createKeyring } from '../../../../src/crypto/keyring.ts'
import { keys } from '../../../../src/store/keys.ts'
import { createMemoryStore } from '../../../../src/store/memory.ts'
import { StoreUnavailableError } from '../../../../src/store/store.ts'
import { SEED_SECRET, ageRotation, editGrant, getTokens, grantKey, post, readTokens, redeem, refresh, register, signIn, startBroker } from '../../../support/broker.ts'
import { isError } from '../../../support/oauth-error.ts'
import { ping } from '../../../support/seed.ts'

/** Refresh tokens in broker mode: over real HTTP where that can show it, with a clock of their own where it is about time. */

/** Of the provider's token endpoint. */
const tokenHits = ({ provider }: { provider: { hits (): Record<string, number> } }): number => provider.hits()['/token'] ?? 0

/** The objects are shared by all providers of this process: only the list is this one's. */
function changeAda ({ provider: { users } }: { provider: { users: DevUser[] } }, change: Partial<DevUser>): void {
  const index = users.findIndex(({ login }) => login === 'ada')
  users[index] = { ...users[index]!, ...change }
}

t.test('each use gives a successor, and the provider is asked each time', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  t.match(refreshToken, /^[\w-]{22}\.1\.[\w-]{8}\.[\w-]{43}$/)
  const hits = tokenHits(seed)

  const second = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  t.not(second.refreshToken, refreshToken)
  t.not(second.accessToken, accessToken)
  const third = readTokens(clientId, await refresh(seed.url, clientId, second.refreshToken))
  t.not(third.refreshToken, second.refreshToken)
  t.equal(tokenHits(seed), hits + 2)
  t.match(seed.provider.lastTokenRequest().form, { grant_type: 'refresh_token', client_id: seed.provider.clientId })
  for (const token of [accessToken, second.accessToken, third.accessToken]) {
    t.equal((await ping(seed.url, token)).status, 200, 'every access token lives out its time')
  }
})

t.test('a repeat within the grace window gets the same successor, without asking the provider again (T140)', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const first = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  const hits = tokenHits(seed)
  await ageRotation(seed, refreshToken, 25)
  const again = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  t.equal(again.refreshToken, first.refreshToken)
  t.equal(tokenHits(seed), hits)
  t.equal((await ping(seed.url, again.accessToken)).status, 200)
  t.equal((await refresh(seed.url, clientId, first.refreshToken)).statusCode, 200, 'and the successor is good')
})

t.test('a repeat after the grace window is theft: everything of the grant ends', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  const next = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  await ageRotation(seed, refreshToken, 31)
  const revocations = seed.provider.hits()['/token/revocation'] ?? 0

  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'the spent one')
  isError(t, await refresh(seed.url, clientId, next.refreshToken), 400, 'invalid_grant', 'the current one')
  for (const token of [accessToken, next.accessToken]) t.equal((await ping(seed.url, token)).status, 401)
  t.equal(seed.provider.hits()['/token/revocation'], revocations + 1, 'the provider is told')
  t.match(await seed.logged(({ msg }) => msg.startsWith('A refresh token was used again')), { level: 40, subject: 'ada', clientId, number: 1, current: 2 })
})

t.test('one that is older than the last is theft within the grace window too', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const second = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  const third = readTokens(clientId, await refresh(seed.url, clientId, second.refreshToken))
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'two rotations ago, a moment ago')
  isError(t, await refresh(seed.url, clientId, third.refreshToken), 400, 'invalid_grant', 'the current one')
})

t.test('50 parallel refreshes in one process give one successor, and ask the provider once (T139)', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const hits = tokenHits(seed)
  const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(seed.url, clientId, refreshToken)))
  t.same([...new Set(answers.map(({ statusCode }) => statusCode))], [200])
  t.equal(new Set(answers.map(({ json }) => json['refresh_token'])).size, 1)
  t.equal(tokenHits(seed), hits + 1)
})

for (const [name, fault] of [
  ['500', 500], ['503', 503], ['429', 429], ['a page', 'html'], ['a dropped connection', 'down'], ['a redirect', 'redirect'],
  ['temporarily_unavailable', { status: 400, json: { error: 'temporarily_unavailable' } }]
] as const) {
  t.test(`the provider answers the refresh with ${name}: the client may try again, and then it works (T145)`, async (t) => {
    const seed = await startBroker(t)
    const { clientId, refreshToken, accessToken } = await getTokens(seed)
    seed.provider.setFault('/token', fault)
    const refused = await refresh(seed.url, clientId, refreshToken)
    if (fault === 'html') isError(t, refused, 500, 'server_error', 'no usable answer')
    else {
      isError(t, refused, 503, 'temporarily_unavailable', 'away')
      t.equal(refused.headers['retry-after'], '5')
    }
    t.equal((await ping(seed.url, accessToken)).status, 200, 'the grant lives')
    seed.provider.setFault('/token', undefined)
    const after = await refresh(seed.url, clientId, refreshToken)
    t.equal(after.statusCode, 200, 'the same token works afterwards')
    t.match(after.json['refresh_token'], /\.2\./, 'as if it had not been tried before')
  })
}

t.test('the refreshed ID token is unbelievable: 503, and the grant lives', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  seed.provider.quirks.idToken = (claims) => ({ claims: { ...claims, aud: 'somebody-else' } })
  const refused = await refresh(seed.url, clientId, refreshToken)
  isError(t, refused, 503, 'temporarily_unavailable', 'for another audience')
  t.equal(refused.headers['retry-after'], '5')
  seed.provider.quirks.idToken = undefined
  // A public client at the provider: its refresh token rotated with the useless answer, and the spent one would end everything.
  const after = await refresh(seed.url, clientId, refreshToken)
  t.equal(after.statusCode, 200, 'the same token works afterwards')
  t.match(after.json['refresh_token'], /\.2\./)
})

t.test('the refreshed ID token is of another subject: the grant ends', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  seed.provider.quirks.idToken = (claims) => ({ claims: { ...claims, sub: 'bob' } })
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'bob is not ada')
  t.equal((await ping(seed.url, accessToken)).status, 401)
})

t.test("the provider's own invalid_grant ends the grant (T145)", async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  seed.provider.revoke('ada')
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'the provider has ended it')
  t.equal((await ping(seed.url, accessToken)).status, 401)
  t.equal(await seed.app.store.get(grantKey(refreshToken)), undefined)
  t.match(await seed.logged(({ msg }) => msg === 'A grant has ended'), { reason: 'ended by the provider', subject: 'ada' })
})

t.test('a person who was removed at the provider is out at the next refresh', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  seed.provider.users.splice(seed.provider.users.findIndex(({ login }) => login === 'ada'), 1)
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'ada has left')
  t.equal((await ping(seed.url, accessToken)).status, 401)
})

t.test('a person whom an access rule no longer admits is out at the next refresh', async (t) => {
  const seed = await startBroker(t, { env: { ACCESS_GROUPS: 'engineering', OIDC_SCOPES: 'openid profile email groups offline_access' } })
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  changeAda(seed, { groups: ['guests'] })
  const refused = await refresh(seed.url, clientId, refreshToken)
  isError(t, refused, 400, 'invalid_grant', 'no longer in the group')
  t.equal(refused.json['error_description'], 'You are not in a group that may use this server')
  t.equal((await ping(seed.url, accessToken)).status, 401)
  t.match(await seed.logged(({ msg }) => msg === 'An access rule refuses a person who was admitted before: the grant ends'), { rule: 'ACCESS_GROUPS', subject: 'ada' })
})

t.test('an outage of userinfo, which alone tells the groups, puts nobody out', async (t) => {
  const seed = await startBroker(t, { env: { ACCESS_GROUPS: 'engineering', OIDC_SCOPES: 'openid groups' }, provider: { quirks: { idTokenClaims: false, opaqueTokens: true } } })
  const { clientId, refreshToken } = await getTokens(seed)
  seed.provider.setFault('/me', 500)
  const next = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  t.equal((await ping(seed.url, next.accessToken)).status, 200)
  seed.provider.setFault('/me', undefined)
  changeAda(seed, { groups: ['guests'] })
  isError(t, await refresh(seed.url, clientId, next.refreshToken), 400, 'invalid_grant', 'once it answers again, its word counts')
})

t.test('what the provider says of the person now is in the next access token', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  changeAda(seed, { name: 'Ada King' })
  const { accessToken } = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  t.equal(JSON.parse(Buffer.from(accessToken.split('.')[1]!, 'base64url').toString())['name'], 'Ada King')
})

t.test('scope may be narrowed for one access token and never widened (T143)', async (t) => {
  const seed = await startBroker(t, { env: { OIDC_SCOPES: 'openid profile email' } })
  const { clientId, refreshToken } = await getTokens(seed, { parameters: { scope: 'openid profile' } })
  const scopeOf = (token: string): unknown => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())['scope']
  const hits = tokenHits(seed)

  for (const scope of ['openid email', 'openid profile admin', ' ']) {
    isError(t, await refresh(seed.url, clientId, refreshToken, { scope }), 400, 'invalid_scope', `"${scope}"`)
  }
  isError(t, await refresh(seed.url, clientId, refreshToken, { resource: 'https://elsewhere.example/mcp' }), 400, 'invalid_target', 'another resource')
  t.equal(tokenHits(seed), hits, 'the provider heard nothing of it')
  t.match(JSON.parse((await seed.app.store.get(grantKey(refreshToken)))!), { number: 1 }, 'and nothing rotated')

  const narrow = await refresh(seed.url, clientId, refreshToken, { scope: 'openid' })
  t.equal(narrow.json['scope'], 'openid')
  t.equal(scopeOf(String(narrow.json['access_token'])), 'openid')
  const wide = await refresh(seed.url, clientId, String(narrow.json['refresh_token']))
  t.equal(wide.json['scope'], 'openid profile', 'the grant itself is as wide as before')
})

t.test('a refresh token of another client, or without a client (T142)', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const thief = await register(seed.url)
  isError(t, await refresh(seed.url, thief, refreshToken), 400, 'invalid_grant', 'another client')
  isError(t, await refresh(seed.url, thief, refreshToken, { scope: 'admin' }), 400, 'invalid_grant', 'its scopes are not told either')
  isError(t, await post(`${seed.url}/oauth/token`, { grant_type: 'refresh_token', refresh_token: refreshToken }), 401, 'invalid_client', 'no client')
  t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200, 'its own client was harmed by none of them')
})

t.test('garbage and forgeries end nothing, whichever part is changed', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  const other = await getTokens(seed, { clientId })
  const next = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  const parts = next.refreshToken.split('.')
  const flip = (text: string): string => `${text.startsWith('A') ? 'B' : 'A'}${text.slice(1)}`
  const forgeries: Array<[what: string, token: string]> = [
    ['grant id', [flip(parts[0]!), ...parts.slice(1)].join('.')],
    ['number, back', [parts[0], '1', ...parts.slice(2)].join('.')],
    ['number, to the first', [parts[0], '0', ...parts.slice(2)].join('.')],
    ['number, ahead', [parts[0], '3', ...parts.slice(2)].join('.')],
    ['number, far ahead', [parts[0], '999999999', ...parts.slice(2)].join('.')],
    ['number, negative', [parts[0], '-1', ...parts.slice(2)].join('.')],
    ['key id', [...parts.slice(0, 2), flip(parts[2]!), parts[3]].join('.')],
    ['MAC', [...parts.slice(0, 3), flip(parts[3]!)].join('.')],
    ['MAC of another grant', [...parts.slice(0, 3), other.refreshToken.split('.')[3]].join('.')],
    ['grant of another token', [other.refreshToken.split('.')[0], ...parts.slice(1)].join('.')],
    ['leading zero', [parts[0], '02', ...parts.slice(2)].join('.')],
    ['a part too many', `${next.refreshToken}.x`],
    ['no part', 'x'],
    ['an access token (T146)', accessToken]
  ]
  for (const [what, token] of forgeries) isError(t, await refresh(seed.url, clientId, token), 400, 'invalid_grant', what)

  t.equal((await ping(seed.url, next.refreshToken)).status, 401, 'a refresh token is no bearer token (T146)')
  t.equal((await ping(seed.url, accessToken)).status, 200)
  t.equal((await refresh(seed.url, clientId, next.refreshToken)).statusCode, 200)
  t.equal((await refresh(seed.url, clientId, other.refreshToken)).statusCode, 200)
})

t.test('a client without the refresh_token grant gets no refresh token', async (t) => {
  const seed = await startBroker(t)
  const clientId = await register(seed.url, { grant_types: ['authorization_code'] })
  const answer = await redeem(seed.url, await signIn(seed, { clientId }))
  t.equal(answer.statusCode, 200)
  t.notOk('refresh_token' in answer.json)
  t.equal((await ping(seed.url, String(answer.json['access_token']))).status, 200)
})

t.test('a grant at its greatest age is over, and its last access token ends with it (GRANT_MAX_AGE)', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const now = Math.floor(Date.now() / 1_000)
  await editGrant(seed, refreshToken, { expiresAt: now + 100 })
  const last = await refresh(seed.url, clientId, refreshToken)
  t.equal(last.statusCode, 200)
  t.ok(Number(last.json['expires_in']) <= 100, 'not the usual 900 seconds')
  const { exp } = JSON.parse(Buffer.from(String(last.json['access_token']).split('.')[1]!, 'base64url').toString()) as { exp: number }
  t.ok(exp <= now + 101)

  await editGrant(seed, refreshToken, { expiresAt: now - 1 })
  isError(t, await refresh(seed.url, clientId, String(last.json['refresh_token'])), 400, 'invalid_grant', 'too old')
})

t.test('a provider that gives no refresh token cannot be asked: the grant lives GRANT_MAX_AGE_UNCHECKED', async (t) => {
  const seed = await startBroker(t, { env: { GRANT_MAX_AGE: '5000', GRANT_MAX_AGE_UNCHECKED: '1000' }, provider: { quirks: { noRefreshToken: true } } })
  const before = Math.floor(Date.now() / 1_000)
  const { clientId, refreshToken } = await getTokens(seed)
  const hits = tokenHits(seed)
  const { expiresAt } = JSON.parse((await seed.app.store.get(grantKey(refreshToken)))!) as Grant
  t.ok(expiresAt >= before + 1_000 && expiresAt <= before + 1_060)
  t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200)
  t.equal(tokenHits(seed), hits)
})

t.test('a provider that needs its scopes repeated gets them at each refresh (entra)', async (t) => {
  const seed = await startBroker(t, { env: { OIDC_PROVIDER: 'entra', OIDC_SCOPES: 'openid profile' }, provider: { quirks: { refreshNeedsScope: true } } })
  const { clientId, refreshToken } = await getTokens(seed)
  t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200)
  t.equal(seed.provider.lastTokenRequest().form['scope'], 'openid profile')
})

t.test('a refresh token that is genuine, whose upstream tokens no secret opens: sign in again', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  await editGrant(seed, refreshToken, { upstream: createKeyring('another SEED_SECRET, of 44 bytes as the first', undefined).seal('{}', grantKey(refreshToken)) })
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'not a 500')
})

t.test('the store goes away between the answer of the provider and the write: the next try does not need the spent upstream token', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const { store } = seed.app
  const replace = store.compareAndSet.bind(store)
  store.compareAndSet = async () => { throw new StoreUnavailableError() }
  const refused = await refresh(seed.url, clientId, refreshToken)
  isError(t, refused, 503, 'temporarily_unavailable', 'the store')
  t.equal(refused.headers['retry-after'], '1')
  store.compareAndSet = replace

  // A public client at the provider: its refresh token has rotated there, and the old one would end everything.
  const after = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  t.equal((await refresh(seed.url, clientId, after.refreshToken)).statusCode, 200)
})

/** `refresh` by itself: with a clock, a store and a provider of the test's. */
const CLIENT = 'client'

interface FixtureOptions extends Partial<Pick<GrantsOptions, 'keyring' | 'store'>>, Partial<Pick<IdentityOptions, 'verifyIdToken'>> {
  requestTokens: UpstreamRefreshOptions['upstream']['requestTokens']
  upstreamScope?: string | undefined
  now?: () => number
}

function createFixture ({ keyring = createKeyring(SEED_SECRET, undefined), store = createMemoryStore(), now = Date.now, requestTokens, upstreamScope, ...identityOptions }: FixtureOptions) {
  const log = { info () {}, warn () {} }
  const revocations = createRevocations(store, 960)
  const upstream = { requestTokens, userinfo: async () => undefined, revoke: async () => true }
  const lifetimes = { accessTokenTtlSeconds: 900, refreshTokenTtlSeconds: 10_000, maxAgeSeconds: 20_000, maxAgeUncheckedSeconds: 5_000 }
  const grants = createGrants({ store, keyring, revocations, upstream, lifetimes, log, now })
  const access = { groups: [], emailDomains: [], unverifiedEmail: false, hostedDomains: [], claims: [], contact: undefined, groupsClaim: 'groups', groupPaths: false }
  const identity = createIdentityReader({ upstream, access, log, verifyIdToken: async () => ({ iss: 'https://idp.example', sub: 'ada' }), ...identityOptions })
  return {
    store,
    grants,
    /** The rotation of one replica: it shares nothing but the store with the others. */
    replica () {
      const upstreamRefresh = createUpstreamRefresh({ grants, store, upstream, identity, upstreamScope, log, now })
      const { rotate } = createRefreshRotation({ grants, upstreamRefresh, log, now })
      return async (token: string): Promise<Grant> => (await rotate(token, CLIENT, undefined)).grant
    },
    async createGrant (): Promise<{ grant: Grant, token: string }> {
      const grant = await grants.activate(await grants.create({ clientId: CLIENT, subject: 'ada', scope: 'openid', claims: {}, sid: undefined, refreshes: true, upstream: { accessToken: 'upstream-access', refreshToken: 'upstream-1' } }))
      return { grant, token: grants.refreshToken(grant) }
    }
  }
}

/** A provider whose refresh tokens rotate: upstream-1, upstream-2, … and each is good once. */
function rotatingProvider () {
  const asked: string[] = []
  let current = 1
  return {
    asked,
    async requestTokens (_grant: string, { refresh_token: given }: Record<string, string>) {
      asked.push(given!)
      if (given !== `upstream-${current}`) throw new OAuthError('invalid_grant', 'The identity provider refused the grant: sign in again')
      current++
      return { accessToken: `access-${current}`, refreshToken: `upstream-${current}`, idToken: undefined, expiresInSeconds: 60, scope: undefined }
    }
  }
}

/** A refresh token that does not end a grant: the provider keeps its own. */
const steadyProvider = async () => ({ accessToken: 'upstream-access', refreshToken: undefined, idToken: undefined, expiresInSeconds: 60, scope: undefined })

function deferred (): { promise: Promise<void>, resolve (): void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((_resolve) => { resolve = _resolve })
  return { promise, resolve }
}

t.test('the grace window is thirty seconds, to the millisecond', async (t) => {
  let now = 1_000_000_000_000
  const { createGrant, replica, grants } = createFixture({ now: () => now, requestTokens: steadyProvider })
  const { token, grant } = await createGrant()
  const refresh = replica()
  const next = grants.refreshToken(await refresh(token))
  now += 30_000
  t.equal(grants.refreshToken(await refresh(token)), next)
  now += 1
  await t.rejects(refresh(token), { code: 'invalid_grant', detail: 'it was replaced before: its grant has ended' })
  t.equal(await grants.find(grant.id), undefined)
})

t.test('a grant lives for its greatest age, to the second, however often it is refreshed', async (t) => {
  let now = 1_000_000_000_000
  const { createGrant, replica, grants } = createFixture({ now: () => now, requestTokens: steadyProvider })
  const refresh = replica()
  let { token } = await createGrant()
  for (let step = 0; step < 3; step++) {
    now += 6_000_000
    token = grants.refreshToken(await refresh(token))
  }
  now += 1_999_000
  token = grants.refreshToken(await refresh(token))
  now += 1_000
  await t.rejects(refresh(token), { code: 'invalid_grant', detail: /GRANT_MAX_AGE/ })
})

t.test('another replica asks the provider: its success is ours', async (t) => {
  const [asked, answer] = [deferred(), deferred()]
  let hits = 0
  const { createGrant, replica, grants } = createFixture({
    async requestTokens () {
      hits++
      asked.resolve()
      await answer.promise
      return await steadyProvider()
    }
  })
  const { token } = await createGrant()
  const first = replica()(token)
  await asked.promise
  const second = replica()(token)
  answer.resolve()
  t.equal(grants.refreshToken(await second), grants.refreshToken(await first))
  t.equal(hits, 1)
})

t.test('another replica was done between the look and the lock: its success is ours', async (t) => {
  const provider = rotatingProvider()
  const { createGrant, replica, store, grants } = createFixture({ requestTokens: provider.requestTokens })
  const { token } = await createGrant()
  const [one, other] = [replica(), replica()]
  const setIfAbsent = store.setIfAbsent.bind(store)
  const first: Grant[] = []
  store.setIfAbsent = async (...args) => {
    store.setIfAbsent = setIfAbsent
    first.push(await other(token))
    return await setIfAbsent(...args)
  }
  t.equal(grants.refreshToken(await one(token)), grants.refreshToken(first[0]!))
  t.same(provider.asked, ['upstream-1'])
})

t.test('another replica asks the provider: its failure is ours, and the next try asks again', async (t) => {
  const [asked, answer] = [deferred(), deferred()]
  let hits = 0
  const { createGrant, replica, store, grants } = createFixture({
    async requestTokens () {
      if (++hits > 1) return await steadyProvider()
      asked.resolve()
      await answer.promise
      throw new OAuthError('temporarily_unavailable', 'The identity provider cannot answer now', { retryAfterSeconds: 5 })
    }
  })
  const { token, grant } = await createGrant()
  const first = replica()(token)
  await asked.promise
  const polled = deferred()
  const get = store.get.bind(store)
  store.get = async (key) => {
    if (key === keys.refreshing(grant.id)) polled.resolve()
    return await get(key)
  }
  const late = replica()
  const second = late(token)
  // Handled from the start, whichever of the two is first.
  const outcomes = Promise.allSettled([first, second])
  await polled.promise
  answer.resolve()
  const [one, other] = await outcomes
  t.match(one, { status: 'rejected', reason: { code: 'temporarily_unavailable', retryAfterSeconds: 5 } })
  t.match(other, { status: 'rejected', reason: { code: 'temporarily_unavailable', retryAfterSeconds: 1, detail: /another replica/ } })
  t.equal(hits, 1, 'no second request while the provider is in trouble')
  t.match(grants.refreshToken(await late(token)), /\.2\./)
})

t.test('another replica died while it asked: whoever waits is told to come again', async (t) => {
  const { createGrant, replica, store } = createFixture({ requestTokens: steadyProvider })
  const { token, grant } = await createGrant()
  const lock = keys.refreshing(grant.id)
  await store.set(lock, 'refresh', 3_600)
  let polls = 0
  const [get, clock] = [store.get.bind(store), performance.now.bind(performance)]
  t.teardown(() => { performance.now = clock })
  store.get = async (key) => {
    // As if these polls had taken thirty seconds.
    if (key === lock && ++polls === 3) performance.now = () => clock() + 30_000
    return await get(key)
  }
  await t.rejects(replica()(token), { code: 'temporarily_unavailable', retryAfterSeconds: 1 })
  t.equal(polls, 3)
})

t.test('a grant that ends while it is refreshed stays ended', async (t) => {
  const parts: { end?: () => Promise<unknown> } = {}
  const { createGrant, replica, grants } = createFixture({
    async requestTokens () {
      await parts.end!()
      return await steadyProvider()
    }
  })
  const { token, grant } = await createGrant()
  parts.end = async () => { await grants.revoke(grant.id, 'revoked by the client') }
  await t.rejects(replica()(token), { code: 'invalid_grant', detail: /ended while it was refreshed/ })
  t.equal(await grants.find(grant.id), undefined)
})

t.test('a token of the right number that another secret made is not the current one', async (t) => {
  const keyring = createKeyring('another SEED_SECRET, of 44 bytes as the first', SEED_SECRET)
  const { createGrant, replica, grants } = createFixture({ keyring, requestTokens: steadyProvider })
  const { token, grant } = await createGrant()
  const twin = grants.refreshToken({ ...grant, keyId: keyring.generations[1]!.id })
  t.not(twin, token)
  await t.rejects(replica()(twin), { code: 'invalid_grant', detail: 'it is not the current one' })
  t.match(await replica()(token), { number: 2 })
})

t.test('the scope is repeated to the provider only where it must be', async (t) => {
  const sent: Array<Record<string, string>> = []
  const requestTokens: UpstreamRefreshOptions['upstream']['requestTokens'] = async (_grant, parameters) => {
    sent.push(parameters)
    return await steadyProvider()
  }
  for (const upstreamScope of [undefined, 'openid profile']) {
    const { createGrant, replica } = createFixture({ requestTokens, upstreamScope })
    await replica()((await createGrant()).token)
  }
  t.same(sent, [{ refresh_token: 'upstream-1' }, { refresh_token: 'upstream-1', scope: 'openid profile' }])
})

t.test('the lock that cannot be given back runs out by itself; what is no outage is told', async (t) => {
  const { createGrant, replica, store } = createFixture({ requestTokens: steadyProvider })
  const [first, second] = [await createGrant(), await createGrant()]
  store.delete = async () => { throw new StoreUnavailableError() }
  t.match(await replica()(first.token), { number: 2 }, 'the refresh is done all the same')
  store.delete = async () => { throw new TypeError('a mistake of ours') }
  await t.rejects(replica()(second.token), TypeError)
})

t.test('what is neither the provider nor a rule passes by and ends nothing', async (t) => {
  const { createGrant, replica, grants } = createFixture({ requestTokens: async () => { throw new TypeError('a mistake of ours') } })
  const { token, grant } = await createGrant()
  await t.rejects(replica()(token), TypeError)
  t.ok(await grants.find(grant.id))
})

t.test('the store fails after the provider has rotated: the next try goes on from what the provider gave', async (t) => {
  const provider = rotatingProvider()
  const { createGrant, replica, store, grants } = createFixture({ requestTokens: provider.requestTokens })
  const { token, grant } = await createGrant()
  const refresh = replica()
  const replace = store.compareAndSet.bind(store)
  store.compareAndSet = async () => { throw new StoreUnavailableError() }
  await t.rejects(refresh(token), StoreUnavailableError)
  await t.rejects(refresh(token), StoreUnavailableError, 'and again')
  store.compareAndSet = replace
  const next = await refresh(token)
  t.equal(next.number, 2)
  t.match(grants.upstreamTokens((await grants.find(grant.id))!.grant), { refreshToken: 'upstream-4' })
  t.same(provider.asked, ['upstream-1', 'upstream-2', 'upstream-3'], 'never with one that is spent, and never past the provider')
})

t.test('the store did write, only its answer was lost: what was kept for the next try is not used later', async (t) => {
  const provider = rotatingProvider()
  const { createGrant, replica, store, grants } = createFixture({ requestTokens: provider.requestTokens })
  const { token } = await createGrant()
  const [one, other] = [replica(), replica()]
  const replace = store.compareAndSet.bind(store)
  store.compareAndSet = async (...args) => {
    await replace(...args)
    throw new StoreUnavailableError()
  }
  await t.rejects(one(token), StoreUnavailableError)
  store.compareAndSet = replace
  const second = grants.refreshToken(await one(token))
  t.match(second, /\.2\./, 'a repeat within the grace window')
  const third = grants.refreshToken(await other(second))
  t.match(await one(third), { number: 4 })
  t.same(provider.asked, ['upstream-1', 'upstream-2', 'upstream-3'])
})

t.test('the useless answer and the store fail together: the next try goes on from what the provider gave', async (t) => {
  const provider = rotatingProvider()
  let believable = false
  const { createGrant, replica, store } = createFixture({
    requestTokens: async (...args) => ({ ...await provider.requestTokens(...args), idToken: 'token' }),
    async verifyIdToken () {
      if (!believable) throw new IdTokenError('expired')
      return { iss: 'https://idp.example', sub: 'ada' }
    }
  })
  const { token } = await createGrant()
  const refresh = replica()
  const replace = store.compareAndSet.bind(store)
  store.compareAndSet = async () => { throw new StoreUnavailableError() }
  await t.rejects(refresh(token), { code: 'temporarily_unavailable', retryAfterSeconds: 5 })
  store.compareAndSet = replace
  await t.rejects(refresh(token), { code: 'temporarily_unavailable' })
  believable = true
  t.match(await replica()(token), { number: 2 }, 'any replica, now that the store has it')
  t.same(provider.asked, ['upstream-1', 'upstream-2', 'upstream-3'])
})

t.test('what is kept for next tries is bounded: the oldest goes', async (t) => {
  const asked: string[] = []
  const { createGrant, replica, store } = createFixture({
    async requestTokens (_grant, { refresh_token: given }) {
      asked.push(given!)
      return { ...await steadyProvider(), refreshToken: 'upstream-2' }
    }
  })
  const tokens = await Promise.all(Array.from({ length: 1_001 }, async () => (await createGrant()).token))
  const refresh = replica()
  const replace = store.compareAndSet.bind(store)
  store.compareAndSet = async () => { throw new StoreUnavailableError() }
  for (const token of tokens) await refresh(token).catch((err: Error) => { if (!(err instanceof StoreUnavailableError)) throw err })
  store.compareAndSet = replace
  asked.length = 0
  await refresh(tokens[1]!)
  await refresh(tokens[0]!)
  t.same(asked, ['upstream-2', 'upstream-1'])
})
