import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { revoke } from '../../src/commands/revoke.ts'
import { until } from '../support/until.ts'
import {
  SEED_SECRET,
  ageRotation,
  byHand,
  getTokens,
  grantKey,
  post,
  readTokens,
  redeem,
  refresh,
  signIn,
  startBroker,
  startReplica
} from '../support/broker.ts'
import type { Answer } from '../support/broker.ts'
import { isError } from '../support/oauth-error.ts'
import { ownRedisForTests } from '../support/redis.ts'
import type { RedisServer } from '../support/redis.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** Broker mode on two replicas and one real Redis, and what Redis may lose on the way. */

const PREFIX = 'replicas:'

interface Pair {
  redis: RedisServer
  one: TestSeed
  two: TestSeed
}

async function startPair (
  t: Test,
  { args = [], env = {} }: { args?: string[]; env?: Record<string, string> } = {}
): Promise<Pair | undefined> {
  const redis = await ownRedisForTests(t, { args })
  if (!redis) return undefined
  const one = await startBroker(t, { env: { ...env, REDIS_URL: redis.url, REDIS_KEY_PREFIX: PREFIX } })
  const two = await startReplica(t, one, { ...env, REDIS_URL: redis.url, REDIS_KEY_PREFIX: PREFIX })
  return { redis, one, two }
}

/** One replica, where the other adds nothing. */
async function startOne (
  t: Test,
  { args = [], env = {} }: { args?: string[]; env?: Record<string, string> } = {}
): Promise<Omit<Pair, 'two'> | undefined> {
  const redis = await ownRedisForTests(t, { args })
  if (!redis) return undefined
  return { redis, one: await startBroker(t, { env: { ...env, REDIS_URL: redis.url, REDIS_KEY_PREFIX: PREFIX } }) }
}

const tokenHits = ({ provider }: TestSeed): number => provider.hits()['/token'] ?? 0
const statusOf = async (seed: TestSeed, token: string): Promise<number> => (await ping(seed.url, token)).status

/** A revocation reaches the other replica by message; whoever asks in the moment before is not wrong. */
async function stops (seed: TestSeed, token: string): Promise<void> {
  await until(async () => await statusOf(seed, token) === 401, 'the access token is refused')
}

const isStarved = ({ statusCode }: Answer): boolean => statusCode === 503
const isRefused = ({ statusCode }: Answer): boolean => statusCode !== 200 && statusCode !== 503

/**
 * Redis has 300 ms to answer. In one process on a busy machine a burst may miss that, and 503 is then the right
 * response. What must never happen is asserted in every round; what must happen, in a round without such a 503.
 */
async function withoutStarving (t: Test, round: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 10; tries++) {
    if (await round()) return
  }
  t.fail('this machine is too busy for a burst')
}

/** Provider clients with a secret keep their refresh token: what Redis forgets is then all there is to it. */
const CONFIDENTIAL = { OIDC_CLIENT_ID: 'seed-dev-confidential', OIDC_CLIENT_SECRET: 'dev-secret' }

t.test('any replica continues what another began, from the consent page to the call', async (t) => {
  const pair = await startPair(t)
  if (!pair) return
  const { one, two } = pair
  const { request, callback, cookie } = await byHand(one, { consentAt: two.url })
  const answered = await fetch(`${two.url}${callback.pathname}${callback.search}`, {
    redirect: 'manual',
    headers: { cookie }
  })
  const code = new URL(answered.headers.get('location')!).searchParams.get('code')!
  const tokens = readTokens(request.clientId, await redeem(one.url, { ...request, code }))
  t.equal(await statusOf(two, tokens.accessToken), 200)
  const next = readTokens(request.clientId, await refresh(two.url, request.clientId, tokens.refreshToken))
  t.equal(await statusOf(one, next.accessToken), 200)
  const sets = await Promise.all(
    [one, two].map(async ({ url }) => await (await fetch(`${url}/.well-known/jwks.json`)).json())
  )
  t.same(sets[0], sets[1], 'one set of keys')
})

t.test('a full Redis (noeviction) keeps nobody from revoking, and what is revoked stays so on every replica', async (t) => {
  const pair = await startPair(t, { args: ['--maxmemory-policy', 'noeviction'] })
  if (!pair) return
  const { redis, one, two } = pair
  const [revoked, ended, bystander] = [await getTokens(one), await getTokens(one), await getTokens(one)]
  const loggedOut = await getTokens(one, { login: 'bob' })
  const admin = new Redis(redis.url)
  t.teardown(() => { admin.disconnect() })
  await admin.set('filler', 'x'.repeat(1_000_000))
  await admin.config('SET', 'maxmemory', '1mb')
  for (const replica of [one, two]) t.equal(await statusOf(replica, revoked.accessToken), 200)
  const registration = await fetch(`${one.url}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ redirect_uris: ['http://localhost/cb'] })
  })
  t.equal(registration.status, 503, 'what is new finds no room')

  const form = { client_id: revoked.clientId, token: revoked.refreshToken }
  t.equal((await post(`${one.url}/oauth/revoke`, form)).statusCode, 200)
  t.equal((await one.provider.backchannelLogout('bob', `${one.url}/oauth/backchannel-logout`)).status, 200)
  const options = { clientId: ended.clientId }
  t.equal(await revoke(one.app.config, options, one.app.log), 'One grant has ended')

  for (const { accessToken } of [revoked, loggedOut, ended]) {
    for (const replica of [one, two]) await stops(replica, accessToken)
  }
  const late = await startSeed(t, {
    sharedProvider: one.provider,
    env: {
      OAUTH_MODE: 'broker', SEED_SECRET, BASE_URL: one.url, REDIS_URL: redis.url, REDIS_KEY_PREFIX: PREFIX
    }
  })
  t.equal(await statusOf(late, bystander.accessToken), 200)
  for (const { accessToken } of [revoked, loggedOut, ended]) t.equal(await statusOf(late, accessToken), 401)
})

t.test('the same callback at both replicas at once yields one code', async (t) => {
  const pair = await startPair(t)
  if (!pair) return
  const { one, two } = pair
  const { callback, cookie } = await byHand(one)
  const hits = tokenHits(one)
  const statuses = await Promise.all(Array.from({ length: 20 }, async (_, index) => {
    const { url } = index % 2 === 0 ? one : two
    return (await fetch(`${url}${callback.pathname}${callback.search}`, { redirect: 'manual', headers: { cookie } }))
      .status
  }))
  t.same(statuses.sort(), [303, ...Array<number>(19).fill(400)])
  t.equal(tokenHits(one), hits + 1)
})

t.test('100 parallel redemptions of one code at two replicas: one succeeds, and its tokens are revoked', async (t) => {
  const pair = await startPair(t)
  if (!pair) return
  const { one, two } = pair
  await withoutStarving(t, async () => {
    const signedIn = await signIn(one)
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => redeem((index % 2 === 0 ? one : two).url, signedIn))
    )
    const good = answers.filter(({ statusCode }) => statusCode === 200)
    t.ok(good.length <= 1, 'never two')
    const refused = answers.filter(isRefused)
    t.same(refused.filter(({ json }) => json['error'] !== 'invalid_grant'), [])
    if (answers.some(isStarved)) return false
    t.equal(good.length, 1)
    t.equal(refused.length, 99)
    const { accessToken, refreshToken } = readTokens(signedIn.clientId, good[0]!)
    for (const seed of [one, two]) {
      await stops(seed, accessToken)
      isError(t, await refresh(seed.url, signedIn.clientId, refreshToken), 400, 'invalid_grant', 'the refresh token')
    }
    return true
  })
})

t.test('a redeemed code is refused at the other replica, and after restarts of Redis and Seed', async (t) => {
  const pair = await startPair(t)
  if (!pair) return
  const { redis, one, two } = pair
  const signedIn = await signIn(one)
  const { accessToken } = readTokens(signedIn.clientId, await redeem(one.url, signedIn))
  t.equal(await statusOf(one, accessToken), 200)
  isError(t, await redeem(two.url, signedIn), 400, 'invalid_grant', 'at the other')
  await stops(one, accessToken)

  await redis.kill('SIGKILL')
  await redis.restart()
  await ready(one)
  const after = await startReplica(t, one, { REDIS_URL: redis.url, REDIS_KEY_PREFIX: PREFIX })
  const clientId = JSON.parse(
    await (
      await fetch(`${one.url}/oauth/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ redirect_uris: ['http://localhost:53217/callback'] })
      })
    ).text()
  ).client_id as string
  for (const { url } of [one, after]) {
    isError(t, await redeem(url, { ...signedIn, clientId }), 400, 'invalid_grant', 'after the restart')
    isError(t, await redeem(url, signedIn), 401, 'invalid_client', 'its client is to register again')
  }
})

t.test('50 parallel refreshes of one token at two replicas: one successor, one request to the provider', async (t) => {
  const pair = await startPair(t)
  if (!pair) return
  const { one, two } = pair
  await withoutStarving(t, async () => {
    const { clientId, refreshToken } = await getTokens(one)
    const hits = tokenHits(one)
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => refresh((index % 2 === 0 ? one : two).url, clientId, refreshToken))
    )
    t.same(answers.filter(isRefused), [])
    const successors = [
      ...new Set(
        answers.filter(({ statusCode }) => statusCode === 200).map(({ json }) => String(json['refresh_token']))
      )
    ]
    t.ok(successors.length <= 1, 'never two')
    if (answers.some(isStarved)) return false
    t.equal(successors.length, 1)
    t.equal(tokenHits(one), hits + 1)
    t.equal((await refresh(two.url, clientId, successors[0]!)).statusCode, 200, 'and it is good')
    return true
  })
})

t.test('the provider is down: both replicas answer a refresh with 503, and the token works later', async (t) => {
  const pair = await startPair(t)
  if (!pair) return
  const { one, two } = pair
  const { clientId, refreshToken } = await getTokens(one)
  one.provider.setFault('/token', 500)
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) => refresh((index % 2 === 0 ? one : two).url, clientId, refreshToken))
  )
  for (const answer of answers) {
    t.match(answer, {
      statusCode: 503,
      json: { error: 'temporarily_unavailable' },
      headers: { 'retry-after': /^[15]$/ }
    })
  }
  one.provider.setFault('/token', undefined)
  for (const { url } of [one, two]) t.match((await refresh(url, clientId, refreshToken)).json['refresh_token'], /\.2\./)
})

t.test('a refresh token reused after the grace window revokes the grant at both replicas', async (t) => {
  const pair = await startPair(t)
  if (!pair) return
  const { one, two } = pair
  const { clientId, refreshToken, accessToken } = await getTokens(one)
  const next = readTokens(clientId, await refresh(one.url, clientId, refreshToken))
  for (const token of [accessToken, next.accessToken]) {
    t.same([await statusOf(one, token), await statusOf(two, token)], [200, 200], 'remembered as good at both')
  }
  t.equal(
    (await refresh(two.url, clientId, refreshToken)).json['refresh_token'],
    next.refreshToken,
    'within the window the other replica gives the same successor'
  )

  await ageRotation(one, refreshToken, 31)
  isError(t, await refresh(two.url, clientId, refreshToken), 400, 'invalid_grant', 'theft')
  for (const seed of [one, two]) {
    for (const token of [accessToken, next.accessToken]) await stops(seed, token)
    isError(t, await refresh(seed.url, clientId, next.refreshToken), 400, 'invalid_grant', 'the current one')
  }
})

t.test('revoking either token at one replica stops access tokens at both immediately', async (t) => {
  const pair = await startPair(t)
  if (!pair) return
  const { one, two } = pair
  for (const which of ['accessToken', 'refreshToken'] as const) {
    const tokens = await getTokens(one)
    t.same([await statusOf(one, tokens.accessToken), await statusOf(two, tokens.accessToken)], [200, 200])
    t.equal(
      (await post(`${two.url}/oauth/revoke`, { client_id: tokens.clientId, token: tokens[which] })).statusCode,
      200
    )
    t.equal(await statusOf(two, tokens.accessToken), 401, 'here with the answer')
    await stops(one, tokens.accessToken)
    isError(t, await refresh(one.url, tokens.clientId, tokens.refreshToken), 400, 'invalid_grant', which)
  }
})

t.test('a back-channel logout at one replica stops access tokens at both', async (t) => {
  const pair = await startPair(t)
  if (!pair) return
  const { one, two } = pair
  const [ada, bob] = [await getTokens(one), await getTokens(one, { login: 'bob' })]
  for (const { accessToken } of [ada, bob]) {
    t.same([await statusOf(one, accessToken), await statusOf(two, accessToken)], [200, 200])
  }
  t.equal((await one.provider.backchannelLogout('ada', `${two.url}/oauth/backchannel-logout`)).status, 200)
  for (const seed of [one, two]) {
    await stops(seed, ada.accessToken)
    t.equal(await statusOf(seed, bob.accessToken), 200, 'bob goes on')
  }
})

t.test('after Redis restarts empty no refresh token works, rotated or not (CVE-2026-9802)', async (t) => {
  const started = await startOne(t)
  if (!started) return
  const { redis, one } = started
  const { clientId, refreshToken, accessToken } = await getTokens(one, { clientId: 'unregistered-cli' })
  const next = readTokens(clientId, await refresh(one.url, clientId, refreshToken))
  await redis.kill('SIGKILL')
  const away = await refresh(one.url, clientId, next.refreshToken)
  isError(t, away, 503, 'temporarily_unavailable', 'while it is away')
  t.equal(away.headers['retry-after'], '1')
  t.equal(await statusOf(one, accessToken), 200, 'calls need no Redis')

  await redis.restart()
  await ready(one)
  for (const token of [refreshToken, next.refreshToken]) {
    isError(t, await refresh(one.url, clientId, token), 400, 'invalid_grant', 'lost')
  }
  t.equal((await getTokens(one, { clientId })).clientId, clientId, 'signing in again works')
})

t.test('an evicted grant is invalid_grant, and nothing restores it', async (t) => {
  const started = await startOne(t)
  if (!started) return
  const { redis, one } = started
  const { clientId, refreshToken } = await getTokens(one)
  const next = readTokens(clientId, await refresh(one.url, clientId, refreshToken))
  const client = new Redis(redis.url)
  t.equal(await client.del(`${PREFIX}${grantKey(refreshToken)}`), 1)
  for (const token of [next.refreshToken, refreshToken]) {
    isError(t, await refresh(one.url, clientId, token), 400, 'invalid_grant', 'evicted')
  }
  t.equal(await client.exists(`${PREFIX}${grantKey(refreshToken)}`), 0)
  await client.quit()
})

t.test('Redis lost its last write: the newer token works, and the older one never again', async (t) => {
  const started = await startOne(t, { env: CONFIDENTIAL })
  if (!started) return
  const { one } = started
  const { clientId, refreshToken } = await getTokens(one)
  const before = (await one.app.store.get(grantKey(refreshToken)))!
  const second = readTokens(clientId, await refresh(one.url, clientId, refreshToken))
  await one.app.store.set(grantKey(refreshToken), before, 3_600)

  const third = readTokens(clientId, await refresh(one.url, clientId, second.refreshToken))
  t.match(third.refreshToken, /\.3\./)
  t.match(await one.logged(({ msg }) => msg.startsWith('The store has lost a rotation')), {
    level: 40,
    number: 2,
    current: 1
  })
  t.equal((await refresh(one.url, clientId, third.refreshToken)).statusCode, 200)
  isError(t, await refresh(one.url, clientId, refreshToken), 400, 'invalid_grant', 'the first one is theft')
  isError(t, await refresh(one.url, clientId, third.refreshToken), 400, 'invalid_grant', 'and ends the grant')
})

t.test('Redis lost its last write and the older token is used: there is still one successor', async (t) => {
  const started = await startOne(t, { env: CONFIDENTIAL })
  if (!started) return
  const { one } = started
  const { clientId, refreshToken } = await getTokens(one)
  const before = (await one.app.store.get(grantKey(refreshToken)))!
  const second = readTokens(clientId, await refresh(one.url, clientId, refreshToken))
  await one.app.store.set(grantKey(refreshToken), before, 3_600)

  const again = readTokens(clientId, await refresh(one.url, clientId, refreshToken))
  t.equal(again.refreshToken, second.refreshToken, 'its successor is the one that the client holds')
  const third = readTokens(clientId, await refresh(one.url, clientId, second.refreshToken))
  await ageRotation(one, refreshToken, 31)
  isError(
    t,
    await refresh(one.url, clientId, again.refreshToken),
    400,
    'invalid_grant',
    'spent: whoever is second is noticed'
  )
  isError(t, await refresh(one.url, clientId, third.refreshToken), 400, 'invalid_grant', 'and all of it ends')
})

t.test("Redis is killed before the provider's new tokens are saved: the next refresh saves them", async (t) => {
  const started = await startOne(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  if (!started) return
  const { redis, one } = started
  const { clientId, refreshToken } = await getTokens(one, { clientId: 'unregistered-cli' })
  const killed: Array<Promise<void>> = []
  one.provider.quirks.idToken = (claims) => {
    killed.push(redis.kill('SIGKILL'))
    return { claims }
  }
  const refused = await refresh(one.url, clientId, refreshToken)
  isError(t, refused, 503, 'temporarily_unavailable', 'the write failed')
  t.equal(killed.length, 1)
  await Promise.all(killed)
  one.provider.quirks.idToken = undefined
  await redis.restart()
  await ready(one)
  // The lock of the refresh that failed could not be given back: it runs out in thirty seconds, or is taken away here.
  await one.app.store.delete(`refreshing:${refreshToken.split('.')[0]}`)

  // A public client at the provider: the refresh token that Redis holds is spent there.
  const second = readTokens(clientId, await refresh(one.url, clientId, refreshToken))
  t.match(second.refreshToken, /\.2\./)
  t.equal((await refresh(one.url, clientId, second.refreshToken)).statusCode, 200)
})

t.test('changing SEED_SECRET with SEED_SECRET_PREVIOUS keeps tokens and sealed tokens valid', async (t) => {
  const started = await startOne(t)
  if (!started) return
  const { redis, one } = started
  const { clientId, refreshToken, accessToken } = await getTokens(one)
  const spent = await getTokens(one, { clientId })
  const current = readTokens(clientId, await refresh(one.url, clientId, spent.refreshToken))

  const after = await startReplica(t, one, {
    REDIS_URL: redis.url,
    REDIS_KEY_PREFIX: PREFIX,
    SEED_SECRET: OTHER_SECRET,
    SEED_SECRET_PREVIOUS: SEED_SECRET
  })
  t.equal(await statusOf(after, accessToken), 200, 'the access token')
  t.equal(
    (await refresh(after.url, clientId, spent.refreshToken)).json['refresh_token'],
    current.refreshToken,
    'a repeat across the change gets the same successor'
  )
  const next = readTokens(clientId, await refresh(after.url, clientId, refreshToken))
  t.not(
    next.refreshToken.split('.')[2],
    refreshToken.split('.')[2],
    'the provider was asked with what the old secret sealed; the successor is of the new one'
  )
  t.equal(await statusOf(after, next.accessToken), 200)
  t.equal((await refresh(after.url, clientId, next.refreshToken)).statusCode, 200)
})

t.test('changing SEED_SECRET without SEED_SECRET_PREVIOUS only makes everybody sign in again', async (t) => {
  const started = await startOne(t)
  if (!started) return
  const { redis, one } = started
  const { clientId, refreshToken, accessToken } = await getTokens(one)
  const after = await startReplica(t, one, {
    REDIS_URL: redis.url,
    REDIS_KEY_PREFIX: PREFIX,
    SEED_SECRET: OTHER_SECRET
  })
  t.equal(await statusOf(after, accessToken), 401)
  isError(t, await refresh(after.url, clientId, refreshToken), 400, 'invalid_grant', 'the refresh token')
  t.equal(
    (await post(`${after.url}/oauth/revoke`, { client_id: clientId, token: refreshToken })).statusCode,
    200,
    'revoking it means nothing'
  )
  t.equal((await refresh(one.url, clientId, refreshToken)).statusCode, 200, 'nothing of it was ended either')

  t.equal(
    (await after.provider.backchannelLogout('ada', `${after.url}/oauth/backchannel-logout`)).status,
    200,
    'a grant that cannot be opened can be ended'
  )
  t.match(
    await after.logged(({ msg }) => msg.startsWith('A grant has ended here;')),
    { reason: /SEED_SECRET/ },
    "only the provider's token cannot be"
  )
  t.equal(await one.app.store.get(grantKey(refreshToken)), undefined)
})

const OTHER_SECRET = 'another SEED_SECRET, of 44 bytes as the first'
