import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import type { JSONWebKeySet } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import type { Quirks } from '../../../../dev/provider.ts'
import { createKeyring } from '../../../../src/crypto/keyring.ts'
import { defineTool } from '../../../../src/define/tool.ts'
import type { ToolDefinition } from '../../../../src/define/tool.ts'
import { createTokenExchange } from '../../../../src/oauth/modes/broker/token-exchange.ts'
import { TokenExchangeError } from '../../../../src/oauth/modes/broker/token-exchange-error.ts'
import type { DelegationRequest } from '../../../../src/oauth/modes/broker/token-exchange.ts'
import type { Grant, StoredTokens } from '../../../../src/oauth/modes/broker/grant.ts'
import type { Principal } from '../../../../src/tokens/principal.ts'
import { keys } from '../../../../src/store/keys.ts'
import { StoreUnavailableError } from '../../../../src/store/store.ts'
import {
  SEED_SECRET,
  editGrant,
  getTokens,
  grantKey,
  post,
  readTokens,
  refresh,
  startBroker,
  startReplica
} from '../../../support/broker.ts'
import type { Tokens } from '../../../support/broker.ts'
import { ownRedisForTests } from '../../../support/redis.ts'
import { modernRequest, startSeed } from '../../../support/seed.ts'
import type { TestSeed } from '../../../support/seed.ts'

/** Tokens for tools that call another API, over HTTP: Seed in broker mode with a signed-in person. */
const API = 'urn:company:orders'
const CONFIDENTIAL = { OIDC_CLIENT_ID: 'seed-dev-confidential', OIDC_CLIENT_SECRET: 'dev-secret' }
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

interface Fixture extends TestSeed {
  tokens: Tokens
  tokenFor (request?: DelegationRequest, signal?: AbortSignal): Promise<string>
  /** Requests to the provider's token endpoint so far. */
  hits (): number
}

async function start (
  t: Test,
  {
    env = {},
    quirks = {},
    accessTokenTtlSeconds,
    tools
  }: {
    env?: Record<string, string>
    quirks?: Partial<Quirks>
    accessTokenTtlSeconds?: number
    tools?: readonly ToolDefinition[]
  } = {}
): Promise<Fixture> {
  const seed = await startBroker(t, {
    env: { ...CONFIDENTIAL, ...env },
    ...(tools !== undefined && { definitions: tools }),
    provider: {
      quirks: { exchangeAudiences: [API, 'urn:company:other'], rotateAlways: true, ...quirks },
      ...(accessTokenTtlSeconds !== undefined && { accessTokenTtlSeconds })
    }
  })
  return await withTokens(seed, await getTokens(seed))
}

async function withTokens (seed: TestSeed, tokens: Tokens): Promise<Fixture> {
  const principal = await principalOf(seed, tokens.accessToken)
  return {
    ...seed,
    tokens,
    tokenFor: async (request = { audience: API }, signal) =>
      await seed.app.tokenExchange.tokenFor(principal, request, signal),
    hits: () => seed.provider.hits()['/token'] ?? 0
  }
}

/** The caller, as /mcp knows them. */
async function principalOf ({ app }: TestSeed, accessToken: string): Promise<Principal> {
  return await app.accessTokens.verifier.verify(accessToken)
}

async function upstreamOf ({ app, tokens }: Fixture): Promise<StoredTokens> {
  const key = grantKey(tokens.refreshToken)
  const { upstream } = JSON.parse((await app.store.get(key))!) as Grant
  return JSON.parse(createKeyring(SEED_SECRET, undefined).open(upstream, key)!) as StoredTokens
}

/** Changes what the grant keeps of the provider's. */
async function editUpstream (fixture: Fixture, change: Partial<StoredTokens>): Promise<void> {
  const upstream = JSON.stringify({ ...await upstreamOf(fixture), ...change })
  await editGrant(fixture, fixture.tokens.refreshToken, {
    upstream: createKeyring(SEED_SECRET, undefined).seal(upstream, grantKey(fixture.tokens.refreshToken))
  })
}

/** As if the provider's access token had run out. */
const expireUpstream = async (fixture: Fixture): Promise<void> => {
  await editUpstream(fixture, { accessExpiresAt: Math.floor(Date.now() / 1_000) - 1 })
}

const refreshed = async ({ url, tokens: { clientId, refreshToken } }: Fixture): Promise<Tokens> =>
  readTokens(clientId, await refresh(url, clientId, refreshToken))

t.test('a tool gets a token for the API that it names, on behalf of its caller (RFC 8693)', async (t) => {
  const fixture = await start(t)
  const token = await fixture.tokenFor({ audience: API, scopes: ['mcp:write', 'mcp:read', 'mcp:write'] })
  const jwks = await (await fetch(`${fixture.provider.issuer}/jwks`)).json() as JSONWebKeySet
  const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), {
    issuer: fixture.provider.issuer,
    audience: API
  })
  t.match(payload, {
    sub: 'ada',
    act: { sub: 'seed-dev-confidential' },
    azp: 'seed-dev-confidential',
    scope: 'mcp:read mcp:write'
  })

  const { form, scheme } = fixture.provider.lastTokenRequest()
  const { accessToken } = await upstreamOf(fixture)
  t.equal(scheme, 'Basic', "with Seed's own client authentication")
  t.same(form, {
    grant_type: TOKEN_EXCHANGE,
    subject_token: accessToken,
    subject_token_type: ACCESS_TOKEN,
    requested_token_type: ACCESS_TOKEN,
    audience: API,
    scope: 'mcp:read mcp:write'
  })
  t.match(await fixture.logged(({ msg }) => msg === 'The provider issued a token for another API'), {
    subject: 'ada',
    audience: API,
    scopes: ['mcp:read', 'mcp:write']
  })

  await fixture.tokenFor({ audience: API, resource: 'https://orders.example.com', scopes: ['mcp:read', 'mcp:write'] })
  t.same(fixture.provider.lastTokenRequest().form, { ...form, resource: 'https://orders.example.com' },
    'another resource is another token')
  await fixture.tokenFor({ audience: API })
  t.notOk('scope' in fixture.provider.lastTokenRequest().form, 'without scopes the provider decides')
})

t.test('each caller gets their own tokens', async (t) => {
  const fixture = await start(t)
  const bob = await withTokens(fixture, await getTokens(fixture, { login: 'bob' }))
  t.equal(decodeJwt(await fixture.tokenFor()).sub, 'ada')
  t.equal(decodeJwt(await bob.tokenFor()).sub, 'bob')
  t.equal(decodeJwt(await fixture.tokenFor()).sub, 'ada')
})

t.test('one request for each audience and set of scopes, also for concurrent calls', async (t) => {
  const fixture = await start(t)
  const hits = fixture.hits()
  const [first, ...others] = await Promise.all(Array.from({ length: 20 }, async () => await fixture.tokenFor()))
  t.ok(others.every((token) => token === first))
  t.equal(await fixture.tokenFor(), first)
  t.equal(await fixture.tokenFor({ audience: API, scopes: [] }), first)
  t.equal(fixture.hits(), hits + 1)
  await fixture.tokenFor({ audience: 'urn:company:other' })
  await fixture.tokenFor({ audience: API, scopes: ['mcp:read', 'mcp:write'] })
  await fixture.tokenFor({ audience: API, scopes: ['mcp:write', 'mcp:read'] })
  t.equal(fixture.hits(), hits + 3)
})

t.test('a token that is about to expire, or has no expiry, is not reused', async (t) => {
  for (const quirks of [{ exchangedTtlSeconds: 30 }, { noExpiresIn: true }]) {
    const fixture = await start(t, { quirks })
    const first = await fixture.tokenFor()
    t.not(await fixture.tokenFor(), first, JSON.stringify(quirks))
  }
  const fixture = await start(t)
  const { grantServices, keyring, store, log } = fixture.app
  const first = await fixture.tokenFor()
  const principal = await principalOf(fixture, fixture.tokens.accessToken)
  for (const [seconds, again] of [[265, true], [271, false]] as const) {
    const later = createTokenExchange({
      ...grantServices,
      keyring,
      store,
      log,
      now: () => Date.now() + seconds * 1_000
    })
    t.equal(await later.tokenFor(principal, { audience: API }) === first, again, `after ${seconds} of its 300 seconds`)
  }
})

t.test('replicas share tokens, sealed in the store', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const fixture = await start(t, { env: { REDIS_URL: redis.url } })
  const other = await startReplica(t, fixture, { ...CONFIDENTIAL, REDIS_URL: redis.url })
  const hits = fixture.hits()
  const token = await fixture.tokenFor()
  const there = await withTokens(other, fixture.tokens)
  t.equal(await there.tokenFor(), token)
  t.equal(fixture.hits(), hits + 1)

  await expireUpstream(fixture)
  const both = await Promise.all([
    fixture.tokenFor({ audience: 'urn:company:other' }),
    there.tokenFor({ audience: API, scopes: ['mcp:read'] })
  ])
  t.same(both.map((one) => decodeJwt(one).aud), ['urn:company:other', API])
  t.equal(fixture.hits(), hits + 4, 'one refresh for the two replicas, and two exchanges')
  await refreshed(fixture)
})

t.test('an expired access token of the provider is refreshed first, and the rotation is kept', async (t) => {
  const fixture = await start(t)
  const before = await upstreamOf(fixture)
  await expireUpstream(fixture)
  const hits = fixture.hits()
  t.equal(decodeJwt(await fixture.tokenFor()).sub, 'ada')
  t.equal(fixture.hits(), hits + 2, 'a refresh and an exchange')
  const after = await upstreamOf(fixture)
  t.not(after.accessToken, before.accessToken)
  t.not(after.refreshToken, before.refreshToken, 'the provider has rotated')
  t.ok(after.accessExpiresAt! > Date.now() / 1_000 + 3_000)
  t.match(
    JSON.parse((await fixture.app.store.get(grantKey(fixture.tokens.refreshToken)))!),
    { number: 1 },
    "the client's has not"
  )

  const next = await refreshed(fixture)
  t.equal(decodeJwt(await (await withTokens(fixture, next)).tokenFor({ audience: 'urn:company:other' })).sub, 'ada')
  t.equal((await refresh(fixture.url, next.clientId, next.refreshToken)).statusCode, 200)
})

t.test('an access token with a very short lifetime is refreshed each time', async (t) => {
  const fixture = await start(t, { accessTokenTtlSeconds: 10, quirks: { exchangedTtlSeconds: 30 } })
  const hits = fixture.hits()
  await fixture.tokenFor()
  await fixture.tokenFor()
  t.equal(fixture.hits(), hits + 4)
})

t.test('a record of an older version, without expiry, is refreshed', async (t) => {
  const fixture = await start(t)
  await editUpstream(fixture, { accessExpiresAt: undefined })
  t.notOk('accessExpiresAt' in await upstreamOf(fixture))
  const hits = fixture.hits()
  await fixture.tokenFor()
  t.equal(fixture.hits(), hits + 2)
  t.type((await upstreamOf(fixture)).accessExpiresAt, 'number')
})

t.test('without a refresh token the access token is used until it expires', async (t) => {
  const fixture = await start(t, { quirks: { noRefreshToken: true } })
  for (const accessExpiresAt of [Math.floor(Date.now() / 1_000) + 10, undefined]) {
    await editUpstream(fixture, { accessExpiresAt })
    t.equal(
      decodeJwt(await fixture.tokenFor({ audience: API, scopes: accessExpiresAt === undefined ? [] : ['mcp:read'] }))
        .sub,
      'ada'
    )
  }
  await expireUpstream(fixture)
  await t.rejects(fixture.tokenFor({ audience: 'urn:company:other' }), {
    name: 'TokenExchangeError',
    message: /sign in again/,
    detail: /offline_access/,
    retryAfterSeconds: undefined
  })
})

t.test('a tool and a refreshing client at the same time: both succeed, in any order', async (t) => {
  for (let round = 0; round < 5; round++) {
    const fixture = await start(t)
    await expireUpstream(fixture)
    const work = [refreshed(fixture), fixture.tokenFor(), fixture.tokenFor({ audience: 'urn:company:other' })] as const
    const [next] = await Promise.all(work)
    t.equal(
      readTokens(next.clientId, await refresh(fixture.url, next.clientId, next.refreshToken)).clientId,
      next.clientId,
      'the upstream refresh token is the current one'
    )
  }
})

/** Holds the next token request of the provider until it is released. */
function holdToken (fixture: Fixture): { held: Promise<void>, release (): void } {
  const { store } = fixture.app
  const replace = store.compareAndSet.bind(store)
  let setHeld!: () => void
  let release!: () => void
  const held = new Promise<void>((resolve) => { setHeld = resolve })
  const released = new Promise<void>((resolve) => { release = resolve })
  store.compareAndSet = async (...args) => {
    store.compareAndSet = replace
    setHeld()
    await released
    return await replace(...args)
  }
  return { held, release }
}

/** Resolves when a caller has seen that the lock is held. */
async function waiting ({ app: { store }, tokens }: Fixture): Promise<void> {
  const lock = keys.refreshing(tokens.refreshToken.split('.')[0]!)
  const get = store.get.bind(store)
  await new Promise<void>((resolve) => {
    store.get = async (key) => {
      if (key === lock) {
        store.get = get
        resolve()
      }
      return await get(key)
    }
  })
}

t.test('a client that refreshes during a refresh for a tool waits, then refreshes', async (t) => {
  const fixture = await start(t)
  await expireUpstream(fixture)
  const { held, release } = holdToken(fixture)
  const tool = fixture.tokenFor()
  await held
  const seen = waiting(fixture)
  const client = refreshed(fixture)
  await seen
  release()
  t.equal(decodeJwt(await tool).sub, 'ada')
  t.match((await client).refreshToken, /\.2\./)
})

t.test("a tool that needs a token while a client refreshes uses that refresh's result", async (t) => {
  const fixture = await start(t)
  await expireUpstream(fixture)
  const hits = fixture.hits()
  const { held, release } = holdToken(fixture)
  const client = refreshed(fixture)
  await held
  const seen = waiting(fixture)
  const tool = fixture.tokenFor()
  await seen
  release()
  t.match((await client).refreshToken, /\.2\./)
  t.equal(decodeJwt(await tool).sub, 'ada')
  t.equal(fixture.hits(), hits + 2, 'one refresh, one exchange')
})

t.test('another replica finishes between the lookup and the lock: its token is used', async (t) => {
  const fixture = await start(t)
  await expireUpstream(fixture)
  const { store } = fixture.app
  const setIfAbsent = store.setIfAbsent.bind(store)
  store.setIfAbsent = async (...args) => {
    store.setIfAbsent = setIfAbsent
    await fixture.tokenFor({ audience: 'urn:company:other' })
    return await setIfAbsent(...args)
  }
  const hits = fixture.hits()
  t.equal(decodeJwt(await fixture.tokenFor()).aud, API)
  t.equal(fixture.hits(), hits + 3, 'one refresh, two exchanges')
})

t.test("the store fails after the provider's rotation: the next attempt uses the new upstream token", async (t) => {
  const fixture = await start(t)
  await expireUpstream(fixture)
  const { store } = fixture.app
  const replace = store.compareAndSet.bind(store)
  store.compareAndSet = async () => { throw new StoreUnavailableError() }
  await t.rejects(fixture.tokenFor(), {
    name: 'TokenExchangeError',
    message: /try again shortly/,
    retryAfterSeconds: 1
  })
  store.compareAndSet = replace
  const next = await refreshed(fixture)
  t.equal(
    decodeJwt(await (await withTokens(fixture, next)).tokenFor()).sub,
    'ada',
    'the client has what the tool was given'
  )
})

t.test('a revoked grant gives no token, stored ones included', async (t) => {
  const fixture = await start(t)
  await fixture.tokenFor()
  const hits = fixture.hits()
  const { clientId, refreshToken: token } = fixture.tokens
  t.equal((await post(`${fixture.url}/oauth/revoke`, { token, client_id: clientId })).statusCode, 200)
  await t.rejects(fixture.tokenFor(), {
    name: 'TokenExchangeError',
    message: 'The sign-in that this call belongs to has ended: sign in again'
  })
  await t.rejects(fixture.tokenFor({ audience: 'urn:company:other' }), { name: 'TokenExchangeError' })
  t.equal(fixture.hits(), hits, 'without a request to the provider')
})

t.test('a grant that is revoked during the exchange gives no token', async (t) => {
  const fixture = await start(t)
  const { store } = fixture.app
  const set = store.set.bind(store)
  store.set = async (key, ...rest) => {
    if (key.startsWith('delegated:')) {
      await fixture.app.grantServices.grants.revoke(
        fixture.tokens.refreshToken.split('.')[0]!,
        'revoked by the operator'
      )
    }
    await set(key, ...rest)
  }
  await t.rejects(fixture.tokenFor(), { name: 'TokenExchangeError', message: /has ended/ })
})

t.test('a grant that is revoked while its tokens are refreshed stays ended', async (t) => {
  const fixture = await start(t)
  await expireUpstream(fixture)
  const { held, release } = holdToken(fixture)
  const tool = fixture.tokenFor()
  const outcome = t.rejects(tool, { name: 'TokenExchangeError', message: /has ended/, detail: /ended while/ })
  await held
  await fixture.app.grantServices.grants.revoke(fixture.tokens.refreshToken.split('.')[0]!, 'revoked by the operator')
  release()
  await outcome
  t.equal(await fixture.app.store.get(grantKey(fixture.tokens.refreshToken)), undefined)
})

t.test('an expired grant, or none, gives no token', async (t) => {
  const fixture = await start(t)
  await editGrant(fixture, fixture.tokens.refreshToken, { expiresAt: Math.floor(Date.now() / 1_000) - 1 })
  await t.rejects(fixture.tokenFor(), { name: 'TokenExchangeError', message: /has ended/ })
  const principal = await principalOf(fixture, fixture.tokens.accessToken)
  await t.rejects(fixture.app.tokenExchange.tokenFor({ ...principal, claims: {} }, { audience: API }), {
    name: 'TokenExchangeError',
    message: /has ended/
  })
})

t.test('invalid_grant of the provider at a refresh ends the grant', async (t) => {
  const fixture = await start(t)
  await expireUpstream(fixture)
  fixture.provider.revoke('ada')
  await t.rejects(fixture.tokenFor(), { name: 'TokenExchangeError', message: /has ended/ })
  t.equal(await fixture.app.store.get(grantKey(fixture.tokens.refreshToken)), undefined)
  t.match(await fixture.logged(({ msg }) => msg === 'A grant has ended'), {
    reason: 'ended by the provider',
    subject: 'ada'
  })
})

t.test('upstream tokens that cannot be opened: sign in again', async (t) => {
  const fixture = await start(t)
  await fixture.tokenFor()
  const stranger = createKeyring('another SEED_SECRET, of 44 bytes as the first', undefined)
  await editGrant(fixture, fixture.tokens.refreshToken, {
    upstream: stranger.seal('{}', grantKey(fixture.tokens.refreshToken))
  })
  await t.rejects(fixture.tokenFor({ audience: 'urn:company:other' }), {
    name: 'TokenExchangeError',
    message: /sign in again/,
    detail: /SEED_SECRET/
  })
})

t.test('a stored token that cannot be opened is requested again', async (t) => {
  const fixture = await start(t)
  const { store } = fixture.app
  const written: string[] = []
  const set = store.set.bind(store)
  store.set = async (key, ...rest) => {
    written.push(key)
    await set(key, ...rest)
  }
  const first = await fixture.tokenFor()
  const key = written.find((name) => name.startsWith('delegated:'))
  t.match(key, /^delegated:[\w-]{22}:[\w-]{43}$/, 'the audience is not in the key')
  await store.set(key!, createKeyring('another SEED_SECRET, of 44 bytes as the first', undefined).seal('{}', key!), 60)
  t.not(await fixture.tokenFor(), first)
})

t.test('a refusal of the provider: the error says what to do, the grant stays, and a retry asks again', async (t) => {
  const fixture = await start(t)
  for (const [what, error, quirks] of [
    ['the audience', 'invalid_target', { exchangeAudiences: [] }],
    ['token exchange as such', 'unsupported_grant_type', { delegation: undefined }]
  ] as Array<[string, string, Partial<Quirks>]>) {
    const before = { ...fixture.provider.quirks }
    Object.assign(fixture.provider.quirks, quirks)
    await t.rejects(
      fixture.tokenFor(),
      {
        name: 'TokenExchangeError',
        message: `The identity provider gave no token for "${API}": ` +
          'let it allow OIDC_CLIENT_ID to exchange tokens for this audience, and the scopes if any',
        detail: new RegExp(`endpoint answered 400 "${error}".*: let it allow OIDC_CLIENT_ID to exchange tokens`),
        retryAfterSeconds: undefined
      },
      what
    )
    t.match(
      await fixture.logged(({ msg, reason }) => msg === 'No token for another API' && String(reason).includes(error)),
      { level: 40, audience: API }
    )
    Object.assign(fixture.provider.quirks, before)
  }
  await t.rejects(fixture.tokenFor({ audience: API, scopes: ['nothing:known'] }), {
    name: 'TokenExchangeError',
    detail: /invalid_scope/
  })
  for (const error of ['invalid_grant', 'invalid_request', 'interaction_required']) {
    fixture.provider.setFault('/token', { status: 400, json: { error } })
    await t.rejects(
      fixture.tokenFor(),
      { name: 'TokenExchangeError', message: /let it allow/, detail: new RegExp(error) },
      error
    )
  }
  fixture.provider.setFault('/token', {
    status: 200,
    json: { access_token: 'x', issued_token_type: 'urn:ietf:params:oauth:token-type:id_token', token_type: 'N_A' }
  })
  await t.rejects(fixture.tokenFor(), { name: 'TokenExchangeError' }, 'a token of another kind')
  fixture.provider.setFault('/token', {
    status: 200,
    json: { access_token: 'y', issued_token_type: 'urn:ietf:params:oauth:token-type:jwt', token_type: 'Bearer' }
  })
  t.equal(await fixture.tokenFor(), 'y')
  fixture.provider.setFault('/token', undefined)
  t.equal(decodeJwt(await fixture.tokenFor()).sub, 'ada')
})

t.test('the provider refuses an exchange by a public client', async (t) => {
  const fixture = await start(t, { env: { OIDC_CLIENT_ID: 'seed-dev', OIDC_CLIENT_SECRET: '' } })
  await t.rejects(fixture.tokenFor(), { name: 'TokenExchangeError', detail: /unauthorized_client.*OIDC_CLIENT_SECRET/ })
})

t.test('the provider is down: try again shortly, and the grant stays', async (t) => {
  for (const expired of [false, true]) {
    const fixture = await start(t)
    if (expired) await expireUpstream(fixture)
    for (const fault of ['down', 503, 429, { status: 400, json: { error: 'temporarily_unavailable' } }] as const) {
      fixture.provider.setFault('/token', fault)
      await t.rejects(
        fixture.tokenFor(),
        { name: 'TokenExchangeError', message: /try again shortly/, retryAfterSeconds: 5 },
        JSON.stringify(fault)
      )
    }
    fixture.provider.setFault('/token', undefined)
    t.equal(decodeJwt(await fixture.tokenFor()).sub, 'ada')
  }
})

t.test('the provider has not been discovered', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const fixture = await start(t, { env: { REDIS_URL: redis.url } })
  fixture.provider.setFault('*', 'down')
  const lost = await startSeed(t, {
    sharedProvider: fixture.provider,
    env: { OAUTH_MODE: 'broker', SEED_SECRET, BASE_URL: fixture.url, ...CONFIDENTIAL, REDIS_URL: redis.url }
  })
  await lost.app.store.ready()
  const there = await withTokens(lost, fixture.tokens)
  await t.rejects(there.tokenFor(), { name: 'TokenExchangeError', message: /try again shortly/, retryAfterSeconds: 5 })
})

t.test('the store is unavailable: try again shortly; if only saving fails, the tool gets its token', async (t) => {
  const fixture = await start(t)
  const { store } = fixture.app
  const [get, set] = [store.get.bind(store), store.set.bind(store)]
  store.get = async () => { throw new StoreUnavailableError() }
  await t.rejects(fixture.tokenFor(), {
    name: 'TokenExchangeError',
    message: /try again shortly/,
    retryAfterSeconds: 1
  })
  store.get = get
  store.set = async () => { throw new StoreUnavailableError() }
  t.equal(decodeJwt(await fixture.tokenFor()).sub, 'ada')
  store.set = async () => { throw new TypeError('a mistake of ours') }
  await t.rejects(fixture.tokenFor(), TypeError)
  store.set = set
})

t.test('an aborted call stops waiting and does not affect others', async (t) => {
  const fixture = await start(t)
  const reason = new Error('cancelled')
  await t.rejects(fixture.tokenFor({ audience: API }, AbortSignal.abort(reason)), reason)
  await expireUpstream(fixture)
  const { held, release } = holdToken(fixture)
  const controller = new AbortController()
  const first = t.rejects(fixture.tokenFor({ audience: API }, controller.signal), reason)
  const second = fixture.tokenFor({ audience: API }, new AbortController().signal)
  await held
  controller.abort(reason)
  await first
  release()
  t.equal(decodeJwt(await second).sub, 'ada')
})

t.test('refuses an empty audience, scopes with spaces and a resource that is no URI', async (t) => {
  const fixture = await start(t)
  for (const request of [
    { audience: '' }, { audience: API, scopes: ['a b'] }, { audience: API, scopes: [''] },
    { audience: API, resource: '' }, { audience: API, resource: 'orders' }, { audience: API, resource: 'urn:a#b' }
  ]) {
    await t.rejects(fixture.tokenFor(request), TokenExchangeError)
  }
})

t.test('Entra: on-behalf-of, with scopes that are prefixed with their API', async (t) => {
  const audience = 'api://orders'
  const fixture = await start(t, {
    env: { OIDC_PROVIDER: 'entra', OIDC_SCOPES: 'openid profile mcp:read' },
    quirks: { delegation: 'on-behalf-of', exchangeAudiences: [audience], refreshNeedsScope: true }
  })
  t.match(decodeJwt(await fixture.tokenFor({ audience })), { aud: audience, sub: 'ada', scope: '.default' })
  const { accessToken: assertion } = await upstreamOf(fixture)
  t.same(fixture.provider.lastTokenRequest().form, {
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion,
    requested_token_use: 'on_behalf_of',
    scope: 'api://orders/.default'
  })
  t.match(decodeJwt(await fixture.tokenFor({ audience, scopes: ['Read', 'api://orders/Write'] })), {
    scope: 'Read Write'
  })
  await t.rejects(fixture.tokenFor({ audience: 'api://secret' }), {
    name: 'TokenExchangeError',
    detail: /invalid_scope/
  })

  await expireUpstream(fixture)
  await fixture.tokenFor({ audience, scopes: ['Write'] })
  t.ok(
    (await refreshed(fixture)).refreshToken,
    'the scopes were repeated, or the assertion would be for Microsoft Graph'
  )
})

t.test('not available in proxy mode or without sign-in', async (t) => {
  for (const env of [{ OAUTH_MODE: 'proxy' }, { AUTH_REQUIRED: 'false', OAUTH_MODE: 'broker' }]) {
    const { app } = await startSeed(t, { env })
    t.equal(app.hasDecorator('tokenExchange'), false)
  }
})

t.test("a tool calls an API with its own token: the client's token goes nowhere, and no token is logged", async (t) => {
  const received: IncomingMessage[] = []
  const api = createServer((request, response) => {
    received.push(request)
    response.end('42 orders')
  }).listen(0, '127.0.0.1')
  await once(api, 'listening')
  t.teardown(() => { api.close() })
  const orders = defineTool({
    name: 'orders',
    description: 'tells the orders',
    input: Type.Object({}),
    async handler (_input, { tokenFor }) {
      const token = await tokenFor(API)
      const response = await fetch(`http://127.0.0.1:${(api.address() as AddressInfo).port}/orders`, {
        headers: { authorization: `Bearer ${token}` }
      })
      return await response.text()
    }
  })
  const fixture = await start(t, { tools: [orders] })

  const outbound: string[] = []
  const { fetch: realFetch } = globalThis
  t.teardown(() => { globalThis.fetch = realFetch })
  globalThis.fetch = async (url, init = {}) => {
    if (!String(url).startsWith(fixture.url)) {
      outbound.push(JSON.stringify([String(url), Object.fromEntries(new Headers(init.headers)), String(init.body)]))
    }
    return await realFetch(url, init)
  }
  await expireUpstream(fixture)
  const { body, headers } = modernRequest('tools/call', { name: 'orders', arguments: {} })
  const answer = await fetch(`${fixture.url}/mcp`, {
    method: 'POST',
    headers: {
      ...headers,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${fixture.tokens.accessToken}`
    },
    body
  })
  t.match(await answer.text(), '42 orders')
  const sent = /^Bearer (.+)$/.exec(received[0]!.headers.authorization!)![1]!
  t.match(decodeJwt(sent), { iss: fixture.provider.issuer, aud: API, sub: 'ada' })
  t.equal(outbound.length, 4, 'refresh, userinfo, exchange, API')
  t.notOk(outbound.join().includes(fixture.tokens.accessToken.split('.')[2]!), "the client's token, or a part of it")

  fixture.provider.quirks.exchangeAudiences = []
  const failure = (await fixture
    .tokenFor({ audience: 'urn:company:other' })
    .catch((err: TokenExchangeError) => err)) as TokenExchangeError
  fixture.app.log.error({ err: failure }, 'as a tool logs it')
  const upstream = await upstreamOf(fixture)
  const record = await fixture.app.store.get(grantKey(fixture.tokens.refreshToken))
  for (const secret of [
    sent,
    upstream.accessToken,
    upstream.refreshToken!,
    fixture.tokens.accessToken,
    fixture.tokens.refreshToken,
    'dev-secret'
  ]) {
    t.notOk(JSON.stringify(fixture.logs).includes(secret), 'in the log')
    t.notOk(`${failure.message} ${failure.detail}`.includes(secret), 'in the error')
    t.notOk(record!.includes(secret), 'in the store')
  }
})
