import t from 'tap'
import type { DevUser } from '../../../../dev/provider.ts'
import type { Grant } from '../../../../src/oauth/modes/broker/grant.ts'
import type { UpstreamRefreshOptions } from '../../../../src/oauth/modes/broker/upstream-refresh.ts'
import { OAuthError } from '../../../../src/errors/oauth-error.ts'
import { IdTokenError } from '../../../../src/provider/id-token.ts'
import { createKeyring } from '../../../../src/crypto/keyring.ts'
import { keys } from '../../../../src/store/keys.ts'
import { StoreUnavailableError } from '../../../../src/store/store.ts'
import {
  editGrant, getTokens, grantKey, readTokens, refresh, startBroker
} from '../../../support/broker.ts'
import { createGrantFixture, createRotatingProvider, steadyProvider } from '../../../support/grants-fixture.ts'
import { isError } from '../../../support/oauth-error.ts'
import { ping } from '../../../support/seed.ts'
import type { TestSeed } from '../../../support/seed.ts'

/** Refreshing the provider's tokens: over HTTP, and failures with a store and a provider of the test's own. */

/** Requests to the provider's token endpoint so far. */
const tokenHits = ({ provider }: Pick<TestSeed, 'provider'>): number => provider.hits()['/token'] ?? 0

/** Changes Ada at this provider only: providers of one process share the objects, but not the list. */
function changeAda ({ provider: { users } }: Pick<TestSeed, 'provider'>, change: Partial<DevUser>): void {
  const index = users.findIndex(({ login }) => login === 'ada')
  users[index] = { ...users[index]!, ...change }
}

for (const [name, fault] of [
  ['500', 500],
  ['503', 503],
  ['429', 429],
  ['a page', 'html'],
  ['a dropped connection', 'down'],
  ['a redirect', 'redirect'],
  ['temporarily_unavailable', { status: 400, json: { error: 'temporarily_unavailable' } }]
] as const) {
  t.test(`the provider answers a refresh with ${name}: the client can retry, and then it works`, async (t) => {
    const seed = await startBroker(t)
    const { clientId, refreshToken, accessToken } = await getTokens(seed)
    seed.provider.setFault('/token', fault)
    const refused = await refresh(seed.url, clientId, refreshToken)
    if (fault === 'html') isError(t, refused, 502, 'server_error', 'no usable response')
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

t.test('the refreshed ID token is invalid: 503, and the grant stays', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  seed.provider.quirks.idToken = (claims) => ({ claims: { ...claims, aud: 'somebody-else' } })
  const refused = await refresh(seed.url, clientId, refreshToken)
  isError(t, refused, 503, 'temporarily_unavailable', 'for another audience')
  t.equal(refused.headers['retry-after'], '5')
  seed.provider.quirks.idToken = undefined
  // The provider has rotated its refresh token with the unusable response; the spent one would end the grant.
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

t.test('invalid_grant of the provider ends the grant', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  seed.provider.revoke('ada')
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'the provider has ended it')
  t.equal((await ping(seed.url, accessToken)).status, 401)
  t.equal(await seed.app.store.get(grantKey(refreshToken)), undefined)
  t.match(await seed.logged(({ msg }) => msg === 'A grant has ended'), {
    reason: 'ended by the provider',
    subject: 'ada'
  })
})

t.test('the grant of a person who was removed at the provider ends at the next refresh', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  seed.provider.users.splice(seed.provider.users.findIndex(({ login }) => login === 'ada'), 1)
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'ada has left')
  t.equal((await ping(seed.url, accessToken)).status, 401)
})

t.test('the grant of a person whom an access rule now refuses ends at the next refresh', async (t) => {
  const seed = await startBroker(t, {
    env: { ACCESS_GROUPS: 'engineering', OIDC_SCOPES: 'openid profile email groups offline_access' }
  })
  const { clientId, refreshToken, accessToken } = await getTokens(seed)
  changeAda(seed, { groups: ['guests'] })
  const refused = await refresh(seed.url, clientId, refreshToken)
  isError(t, refused, 400, 'invalid_grant', 'no longer in the group')
  t.match(refused.json['error_description'], /^You are not in a group that may use this server \(reference [\w-]{12}\)$/)
  t.equal((await ping(seed.url, accessToken)).status, 401)
  t.match(
    await seed.logged(({ msg }) => msg === 'An access rule refuses a person who was admitted before: the grant ends'),
    { rule: 'ACCESS_GROUPS', subject: 'ada' }
  )
})

t.test('an outage of userinfo, the only source of groups, ends no grant', async (t) => {
  const seed = await startBroker(t, {
    env: { ACCESS_GROUPS: 'engineering', OIDC_SCOPES: 'openid groups' },
    provider: { quirks: { idTokenClaims: false, opaqueTokens: true } }
  })
  const { clientId, refreshToken } = await getTokens(seed)
  seed.provider.setFault('/me', 500)
  const next = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  t.equal((await ping(seed.url, next.accessToken)).status, 200)
  seed.provider.setFault('/me', undefined)
  changeAda(seed, { groups: ['guests'] })
  isError(
    t,
    await refresh(seed.url, clientId, next.refreshToken),
    400,
    'invalid_grant',
    'once it answers again, its word counts'
  )
})

t.test('the next access token has the current claims about the person', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  changeAda(seed, { name: 'Ada King' })
  const { accessToken } = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  t.equal(JSON.parse(Buffer.from(accessToken.split('.')[1]!, 'base64url').toString())['name'], 'Ada King')
})

t.test('without a refresh token of the provider a grant ends at GRANT_MAX_AGE_UNCHECKED', async (t) => {
  const seed = await startBroker(t, {
    env: { GRANT_MAX_AGE: '5000', GRANT_MAX_AGE_UNCHECKED: '1000' },
    provider: { quirks: { noRefreshToken: true } }
  })
  const before = Math.floor(Date.now() / 1_000)
  const { clientId, refreshToken } = await getTokens(seed)
  const hits = tokenHits(seed)
  const { expiresAt } = JSON.parse((await seed.app.store.get(grantKey(refreshToken)))!) as Grant
  t.ok(expiresAt >= before + 1_000 && expiresAt <= before + 1_060)
  t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200)
  t.equal(tokenHits(seed), hits)
})

t.test('Entra gets all scopes at each refresh', async (t) => {
  const seed = await startBroker(t, {
    env: { OIDC_PROVIDER: 'entra', OIDC_SCOPES: 'openid profile' },
    provider: { quirks: { refreshNeedsScope: true } }
  })
  const { clientId, refreshToken } = await getTokens(seed)
  t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200)
  t.equal(seed.provider.lastTokenRequest().form['scope'], 'openid profile')
})

t.test('a genuine refresh token whose upstream tokens cannot be opened: sign in again', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  await editGrant(seed, refreshToken, {
    upstream: createKeyring('another SEED_SECRET, of 44 bytes as the first', undefined).seal(
      '{}',
      grantKey(refreshToken)
    )
  })
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'not a 500')
})

t.test("an outage of the store after the provider's response: a retry uses no spent upstream token", async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const { store } = seed.app
  const replace = store.compareAndSet.bind(store)
  store.compareAndSet = async () => { throw new StoreUnavailableError() }
  const refused = await refresh(seed.url, clientId, refreshToken)
  isError(t, refused, 503, 'temporarily_unavailable', 'the store')
  t.equal(refused.headers['retry-after'], '1')
  store.compareAndSet = replace

  // The provider has rotated its refresh token; the spent one would end the grant.
  const after = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  t.equal((await refresh(seed.url, clientId, after.refreshToken)).statusCode, 200)
})

function deferred (): { promise: Promise<void>, resolve (): void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((_resolve) => { resolve = _resolve })
  return { promise, resolve }
}

t.test('a refresh at another replica succeeds: both get its result', async (t) => {
  const [requested, response] = [deferred(), deferred()]
  let hits = 0
  const { createGrant, replica, grants } = createGrantFixture({
    async requestTokens () {
      hits++
      requested.resolve()
      await response.promise
      return await steadyProvider()
    }
  })
  const { token } = await createGrant()
  const first = replica()(token)
  await requested.promise
  const second = replica()(token)
  response.resolve()
  t.equal(grants.refreshToken(await second), grants.refreshToken(await first))
  t.equal(hits, 1)
})

t.test('a refresh at another replica fails: both fail, and the next attempt asks the provider again', async (t) => {
  const [requested, response] = [deferred(), deferred()]
  let hits = 0
  const { createGrant, replica, store, grants } = createGrantFixture({
    async requestTokens () {
      if (++hits > 1) return await steadyProvider()
      requested.resolve()
      await response.promise
      throw new OAuthError('temporarily_unavailable', 'The identity provider is unavailable', {
        retryAfterSeconds: 5
      })
    }
  })
  const { token, grant } = await createGrant()
  const first = replica()(token)
  await requested.promise
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
  response.resolve()
  const [one, other] = await outcomes
  t.match(one, { status: 'rejected', reason: { code: 'temporarily_unavailable', retryAfterSeconds: 5 } })
  t.match(other, {
    status: 'rejected',
    reason: { code: 'temporarily_unavailable', retryAfterSeconds: 1, detail: /another replica/ }
  })
  t.equal(hits, 1, 'no second request while the provider is in trouble')
  t.match(grants.refreshToken(await late(token)), /\.2\./)
})

t.test('a grant that ends while it is refreshed stays ended', async (t) => {
  const parts: { end?: () => Promise<unknown> } = {}
  const { createGrant, replica, grants } = createGrantFixture({
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

t.test('the scope is sent to the provider only if the preset needs it', async (t) => {
  const sent: Array<Record<string, string>> = []
  const requestTokens: UpstreamRefreshOptions['upstream']['requestTokens'] = async (_grant, parameters) => {
    sent.push(parameters)
    return await steadyProvider()
  }
  for (const upstreamScope of [undefined, 'openid profile']) {
    const { createGrant, replica } = createGrantFixture({ requestTokens, upstreamScope })
    await replica()((await createGrant()).token)
  }
  t.same(sent, [{ refresh_token: 'upstream-1' }, { refresh_token: 'upstream-1', scope: 'openid profile' }])
})

t.test('a lock that cannot be released expires by itself; an unexpected error is thrown', async (t) => {
  const { createGrant, replica, store } = createGrantFixture({ requestTokens: steadyProvider })
  const [first, second] = [await createGrant(), await createGrant()]
  store.delete = async () => { throw new StoreUnavailableError() }
  t.match(await replica()(first.token), { number: 2 }, 'the refresh is done all the same')
  store.delete = async () => { throw new TypeError('a mistake of ours') }
  await t.rejects(replica()(second.token), TypeError)
})

t.test('an unexpected error is thrown and ends nothing', async (t) => {
  const { createGrant, replica, grants } = createGrantFixture({
    requestTokens: async () => {
      throw new TypeError('a mistake of ours')
    }
  })
  const { token, grant } = await createGrant()
  await t.rejects(replica()(token), TypeError)
  t.ok(await grants.find(grant.id))
})

t.test("the store fails after the provider's rotation: the next attempt uses the new upstream token", async (t) => {
  const provider = createRotatingProvider()
  const { createGrant, replica, store, grants } = createGrantFixture({ requestTokens: provider.requestTokens })
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
  t.same(
    provider.presented,
    ['upstream-1', 'upstream-2', 'upstream-3'],
    'never with one that is spent, and never past the provider'
  )
})

t.test("the store's reply is lost after it has written: the unsaved tokens are not used later", async (t) => {
  const provider = createRotatingProvider()
  const { createGrant, replica, store, grants } = createGrantFixture({ requestTokens: provider.requestTokens })
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
  t.same(provider.presented, ['upstream-1', 'upstream-2', 'upstream-3'])
})

t.test('an unusable response while the store fails: the next attempt uses the new upstream token', async (t) => {
  const provider = createRotatingProvider()
  let isValid = false
  const { createGrant, replica, store } = createGrantFixture({
    requestTokens: async (...args) => ({ ...await provider.requestTokens(...args), idToken: 'token' }),
    async verifyIdToken () {
      if (!isValid) throw new IdTokenError('expired')
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
  isValid = true
  t.match(await replica()(token), { number: 2 }, 'any replica, now that the store has it')
  t.same(provider.presented, ['upstream-1', 'upstream-2', 'upstream-3'])
})

t.test('a replica whose refresh outlasts its lock leaves the lock of the next one alone', async (t) => {
  const { createGrant, replica, store } = createGrantFixture({
    async requestTokens () {
      // As if the lock had expired, and another replica had taken it.
      if (isSlow) await store.set(lock, 'refresh:another', 30)
      return await steadyProvider()
    }
  })
  const { token, grant } = await createGrant()
  const lock = keys.refreshing(grant.id)
  let isSlow = true
  t.match(await replica()(token), { number: 2 })
  t.equal(await store.get(lock), 'refresh:another')
  isSlow = false
  const next = await createGrant()
  await replica()(next.token)
  t.equal(await store.get(keys.refreshing(next.grant.id)), undefined, 'its own lock is released')
})

t.test('unsaved tokens are bounded: the oldest are dropped', async (t) => {
  const presented: string[] = []
  const { createGrant, replica, store } = createGrantFixture({
    async requestTokens (_grant, { refresh_token: given }) {
      presented.push(given!)
      return { ...await steadyProvider(), refreshToken: 'upstream-2' }
    }
  })
  const tokens = await Promise.all(Array.from({ length: 1_001 }, async () => (await createGrant()).token))
  const refresh = replica()
  const replace = store.compareAndSet.bind(store)
  store.compareAndSet = async () => { throw new StoreUnavailableError() }
  for (const token of tokens) {
    await refresh(token).catch((err: Error) => {
      if (!(err instanceof StoreUnavailableError)) throw err
    })
  }
  store.compareAndSet = replace
  presented.length = 0
  await refresh(tokens[1]!)
  await refresh(tokens[0]!)
  t.same(presented, ['upstream-2', 'upstream-1'])
})
