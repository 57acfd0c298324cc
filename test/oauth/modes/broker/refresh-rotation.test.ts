import t from 'tap'
import type { Grant } from '../../../../src/oauth/modes/broker/grant.ts'
import { createKeyring } from '../../../../src/crypto/keyring.ts'
import { keys } from '../../../../src/store/keys.ts'
import {
  SEED_SECRET,
  ageRotation,
  editGrant,
  getTokens,
  grantKey,
  post,
  readTokens,
  redeem,
  refresh,
  register,
  signIn,
  startBroker
} from '../../../support/broker.ts'
import { createGrantFixture, createRotatingProvider, steadyProvider } from '../../../support/grants-fixture.ts'
import { isError } from '../../../support/oauth-error.ts'
import { ping } from '../../../support/seed.ts'
import type { TestSeed } from '../../../support/seed.ts'

/** Rotation of refresh tokens: over HTTP where possible, with a clock of the test's own for exact times. */

/** Requests to the provider's token endpoint so far. */
const tokenHits = ({ provider }: Pick<TestSeed, 'provider'>): number => provider.hits()['/token'] ?? 0

t.test('each use gives a successor, after a refresh at the provider', async (t) => {
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

t.test('a repetition within the grace window gets the same successor, without the provider', async (t) => {
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

t.test('a repetition after the grace window is theft: the grant ends', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  const next = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  await ageRotation(seed, refreshToken, 31)
  const revocations = seed.provider.hits()['/token/revocation'] ?? 0

  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'the spent one')
  isError(t, await refresh(seed.url, clientId, next.refreshToken), 400, 'invalid_grant', 'the current one')
  for (const token of [accessToken, next.accessToken]) t.equal((await ping(seed.url, token)).status, 401)
  t.equal(seed.provider.hits()['/token/revocation'], revocations + 1, 'at the provider too')
  t.match(await seed.logged(({ msg }) => msg.startsWith('A refresh token was used again')), {
    level: 40,
    subject: 'ada',
    clientId,
    number: 1,
    current: 2
  })
})

t.test('a token older than the last one is theft within the grace window too', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const second = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  const third = readTokens(clientId, await refresh(seed.url, clientId, second.refreshToken))
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'two rotations ago, a moment ago')
  isError(t, await refresh(seed.url, clientId, third.refreshToken), 400, 'invalid_grant', 'the current one')
})

t.test('50 parallel refreshes in one process give one successor, and refresh once at the provider', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const hits = tokenHits(seed)
  const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(seed.url, clientId, refreshToken)))
  t.same([...new Set(answers.map(({ statusCode }) => statusCode))], [200])
  t.equal(new Set(answers.map(({ json }) => json['refresh_token'])).size, 1)
  t.equal(tokenHits(seed), hits + 1)
})

t.test('scope may be narrowed for one access token and never widened', async (t) => {
  const seed = await startBroker(t, { env: { OIDC_SCOPES: 'openid profile email' } })
  const { clientId, refreshToken } = await getTokens(seed, { parameters: { scope: 'openid profile' } })
  const scopeOf = (token: string): unknown =>
    JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())['scope']
  const hits = tokenHits(seed)

  for (const scope of ['openid email', 'openid profile admin', ' ']) {
    isError(t, await refresh(seed.url, clientId, refreshToken, { scope }), 400, 'invalid_scope', `"${scope}"`)
  }
  isError(
    t,
    await refresh(seed.url, clientId, refreshToken, { resource: 'https://elsewhere.example/mcp' }),
    400,
    'invalid_target',
    'another resource'
  )
  t.equal(tokenHits(seed), hits, 'without a request to the provider')
  t.match(JSON.parse((await seed.app.store.get(grantKey(refreshToken)))!), { number: 1 }, 'and nothing rotated')

  const narrow = await refresh(seed.url, clientId, refreshToken, { scope: 'openid' })
  t.equal(narrow.json['scope'], 'openid')
  t.equal(scopeOf(String(narrow.json['access_token'])), 'openid')
  const wide = await refresh(seed.url, clientId, String(narrow.json['refresh_token']))
  t.equal(wide.json['scope'], 'openid profile', 'the grant itself is as wide as before')
})

t.test('a refresh token works for its own client only', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const thief = await register(seed.url)
  isError(t, await refresh(seed.url, thief, refreshToken), 400, 'invalid_grant', 'another client')
  isError(
    t,
    await refresh(seed.url, thief, refreshToken, { scope: 'admin' }),
    400,
    'invalid_grant',
    'its scopes are not revealed either'
  )
  isError(
    t,
    await post(`${seed.url}/oauth/token`, { grant_type: 'refresh_token', refresh_token: refreshToken }),
    401,
    'invalid_client',
    'no client'
  )
  t.equal(
    (await refresh(seed.url, clientId, refreshToken)).statusCode,
    200,
    'its own client was harmed by none of them'
  )
})

t.test('invalid and forged tokens end nothing, whichever part is changed', async (t) => {
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
    ['an access token', accessToken]
  ]
  for (const [what, token] of forgeries) {
    isError(t, await refresh(seed.url, clientId, token), 400, 'invalid_grant', what)
  }

  t.equal((await ping(seed.url, next.refreshToken)).status, 401, 'a refresh token is no bearer token')
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

t.test('a grant ends at GRANT_MAX_AGE, and its last access token with it', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const now = Math.floor(Date.now() / 1_000)
  await editGrant(seed, refreshToken, { expiresAt: now + 100 })
  const last = await refresh(seed.url, clientId, refreshToken)
  t.equal(last.statusCode, 200)
  t.ok(Number(last.json['expires_in']) <= 100, 'not the usual 900 seconds')
  const { exp } = JSON.parse(Buffer.from(String(last.json['access_token']).split('.')[1]!, 'base64url').toString()) as {
    exp: number
  }
  t.ok(exp <= now + 101)

  await editGrant(seed, refreshToken, { expiresAt: now - 1 })
  isError(t, await refresh(seed.url, clientId, String(last.json['refresh_token'])), 400, 'invalid_grant', 'too old')
})

t.test('the grace window is thirty seconds', async (t) => {
  let now = 1_000_000_000_000
  const { createGrant, replica, grants } = createGrantFixture({ now: () => now, requestTokens: steadyProvider })
  const { token, grant } = await createGrant()
  const refresh = replica()
  const next = grants.refreshToken(await refresh(token))
  now += 30_000
  t.equal(grants.refreshToken(await refresh(token)), next)
  now += 1
  await t.rejects(refresh(token), { code: 'invalid_grant', detail: 'it was replaced before: its grant has ended' })
  t.equal(await grants.find(grant.id), undefined)
})

t.test('refreshing does not extend the maximum age of a grant', async (t) => {
  let now = 1_000_000_000_000
  const { createGrant, replica, grants } = createGrantFixture({ now: () => now, requestTokens: steadyProvider })
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

t.test('another replica finishes between the lookup and the lock: both get its result', async (t) => {
  const provider = createRotatingProvider()
  const { createGrant, replica, store, grants } = createGrantFixture({ requestTokens: provider.requestTokens })
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
  t.same(provider.presented, ['upstream-1'])
})

t.test('another replica dies with the lock: a waiting client gets 503', async (t) => {
  const { createGrant, replica, store } = createGrantFixture({ requestTokens: steadyProvider })
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

t.test('a token with the current number but made with another secret is refused', async (t) => {
  const keyring = createKeyring('another SEED_SECRET, of 44 bytes as the first', SEED_SECRET)
  const { createGrant, replica, grants } = createGrantFixture({ keyring, requestTokens: steadyProvider })
  const { token, grant } = await createGrant()
  const twin = grants.refreshToken({ ...grant, keyId: keyring.generations[1]!.id })
  t.not(twin, token)
  await t.rejects(replica()(twin), { code: 'invalid_grant', detail: 'it is not the current one' })
  t.match(await replica()(token), { number: 2 })
})
