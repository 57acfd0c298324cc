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
import { SEED_SECRET, editGrant, getTokens, grantKey, post, readTokens, refresh, startBroker, startReplica } from '../../../support/broker.ts'
import type { Tokens } from '../../../support/broker.ts'
import { ownRedisForTests } from '../../../support/redis.ts'
import { modernRequest, startSeed } from '../../../support/seed.ts'
import type { TestSeed } from '../../../support/seed.ts'

/** Tokens for tools that call another API, on the wire: Seed in broker mode, a person who has signed in, and the development provider. */
const API = 'urn:company:orders'
const CONFIDENTIAL = { OIDC_CLIENT_ID: 'seed-dev-confidential', OIDC_CLIENT_SECRET: 'dev-secret' }
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

interface World extends TestSeed {
  tokens: Tokens
  tokenFor (request?: DelegationRequest, signal?: AbortSignal): Promise<string>
  /** Requests to the provider's token endpoint so far. */
  hits (): number
}

async function start (t: Test, { env = {}, quirks = {}, accessTokenTtlSeconds, tools }: { env?: Record<string, string>, quirks?: Partial<Quirks>, accessTokenTtlSeconds?: number, tools?: readonly ToolDefinition[] } = {}): Promise<World> {
  const seed = await startBroker(t, {
    env: { ...CONFIDENTIAL, ...env },
    ...(tools !== undefined && { definitions: tools }),
    provider: { quirks: { exchangeAudiences: [API, 'urn:company:other'], rotateAlways: true, ...quirks }, ...(accessTokenTtlSeconds !== undefined && { accessTokenTtlSeconds }) }
  })
  return await withTokens(seed, await getTokens(seed))
}

async function withTokens (seed: TestSeed, tokens: Tokens): Promise<World> {
  const principal = await principalOf(seed, tokens.accessToken)
  return {
    ...seed,
    tokens,
    tokenFor: async (request = { audience: API }, signal) => await seed.app.tokenExchange.tokenFor(principal, request, signal),
    hits: () => seed.provider.hits()['/token'] ?? 0
  }
}

/** The caller, as /mcp knows them. */
async function principalOf ({ app }: TestSeed, accessToken: string): Promise<Principal> {
  return await app.accessTokens.verifier.verify(accessToken)
}

async function upstreamOf ({ app, tokens }: World): Promise<StoredTokens> {
  const key = grantKey(tokens.refreshToken)
  const { upstream } = JSON.parse((await app.store.get(key))!) as Grant
  return JSON.parse(createKeyring(SEED_SECRET, undefined).open(upstream, key)!) as StoredTokens
}

/** Changes what the grant keeps of the provider's. */
async function editUpstream (world: World, change: Partial<StoredTokens>): Promise<void> {
  const upstream = JSON.stringify({ ...await upstreamOf(world), ...change })
  await editGrant(world, world.tokens.refreshToken, { upstream: createKeyring(SEED_SECRET, undefined).seal(upstream, grantKey(world.tokens.refreshToken)) })
}

/** As if the provider's access token had run out. */
const expireUpstream = async (world: World): Promise<void> => { await editUpstream(world, { accessExpiresAt: Math.floor(Date.now() / 1_000) - 1 }) }

const refreshed = async ({ url, tokens: { clientId, refreshToken } }: World): Promise<Tokens> => readTokens(clientId, await refresh(url, clientId, refreshToken))

t.test('a tool gets a token of the provider for the API it names, in the name of its caller (RFC 8693)', async (t) => {
  const world = await start(t)
  const token = await world.tokenFor({ audience: API, scopes: ['mcp:write', 'mcp:read', 'mcp:write'] })
  const jwks = await (await fetch(`${world.provider.issuer}/jwks`)).json() as JSONWebKeySet
  const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), { issuer: world.provider.issuer, audience: API })
  t.match(payload, { sub: 'ada', act: { sub: 'seed-dev-confidential' }, azp: 'seed-dev-confidential', scope: 'mcp:read mcp:write' })

  const { form, scheme } = world.provider.lastTokenRequest()
  const { accessToken } = await upstreamOf(world)
  t.equal(scheme, 'Basic', "with Seed's own client authentication")
  t.same(form, { grant_type: TOKEN_EXCHANGE, subject_token: accessToken, subject_token_type: ACCESS_TOKEN, requested_token_type: ACCESS_TOKEN, audience: API, scope: 'mcp:read mcp:write' })
  t.match(await world.logged(({ msg }) => msg === 'The provider issued a token for another API'), { subject: 'ada', audience: API, scopes: ['mcp:read', 'mcp:write'] })

  await world.tokenFor({ audience: API })
  t.notOk('scope' in world.provider.lastTokenRequest().form, 'without scopes the provider decides')
})

t.test('each person has tokens of their own', async (t) => {
  const world = await start(t)
  const bob = await withTokens(world, await getTokens(world, { login: 'bob' }))
  t.equal(decodeJwt(await world.tokenFor()).sub, 'ada')
  t.equal(decodeJwt(await bob.tokenFor()).sub, 'bob')
  t.equal(decodeJwt(await world.tokenFor()).sub, 'ada')
})

t.test('a token is asked for once for each audience and set of scopes, also by many at once', async (t) => {
  const world = await start(t)
  const hits = world.hits()
  const [first, ...others] = await Promise.all(Array.from({ length: 20 }, async () => await world.tokenFor()))
  t.ok(others.every((token) => token === first))
  t.equal(await world.tokenFor(), first)
  t.equal(await world.tokenFor({ audience: API, scopes: [] }), first)
  t.equal(world.hits(), hits + 1)
  await world.tokenFor({ audience: 'urn:company:other' })
  await world.tokenFor({ audience: API, scopes: ['mcp:read', 'mcp:write'] })
  await world.tokenFor({ audience: API, scopes: ['mcp:write', 'mcp:read'] })
  t.equal(world.hits(), hits + 3)
})

t.test('a token that is about to expire, or does not say when, is not handed out again', async (t) => {
  for (const quirks of [{ exchangedTtlSeconds: 30 }, { noExpiresIn: true }]) {
    const world = await start(t, { quirks })
    const first = await world.tokenFor()
    t.not(await world.tokenFor(), first, JSON.stringify(quirks))
  }
  const world = await start(t)
  const { grantServices, keyring, store, log } = world.app
  const first = await world.tokenFor()
  const principal = await principalOf(world, world.tokens.accessToken)
  for (const [seconds, again] of [[265, true], [271, false]] as const) {
    const later = createTokenExchange({ ...grantServices, keyring, store, log, now: () => Date.now() + seconds * 1_000 })
    t.equal(await later.tokenFor(principal, { audience: API }) === first, again, `after ${seconds} of its 300 seconds`)
  }
})

t.test('what another replica was given is good here too, and sealed in the store', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const world = await start(t, { env: { REDIS_URL: redis.url } })
  const other = await startReplica(t, world, { ...CONFIDENTIAL, REDIS_URL: redis.url })
  const hits = world.hits()
  const token = await world.tokenFor()
  const there = await withTokens(other, world.tokens)
  t.equal(await there.tokenFor(), token)
  t.equal(world.hits(), hits + 1)

  await expireUpstream(world)
  const both = await Promise.all([world.tokenFor({ audience: 'urn:company:other' }), there.tokenFor({ audience: API, scopes: ['mcp:read'] })])
  t.same(both.map((one) => decodeJwt(one).aud), ['urn:company:other', API])
  t.equal(world.hits(), hits + 4, 'one refresh for the two replicas, and two exchanges')
  await refreshed(world)
})

t.test("the provider's access token has expired: it is refreshed first, and nothing of the rotation is lost", async (t) => {
  const world = await start(t)
  const before = await upstreamOf(world)
  await expireUpstream(world)
  const hits = world.hits()
  t.equal(decodeJwt(await world.tokenFor()).sub, 'ada')
  t.equal(world.hits(), hits + 2, 'a refresh and an exchange')
  const after = await upstreamOf(world)
  t.not(after.accessToken, before.accessToken)
  t.not(after.refreshToken, before.refreshToken, 'the provider has rotated')
  t.ok(after.accessExpiresAt! > Date.now() / 1_000 + 3_000)
  t.match(JSON.parse((await world.app.store.get(grantKey(world.tokens.refreshToken)))!), { number: 1 }, "the client's has not")

  const next = await refreshed(world)
  t.equal(decodeJwt(await (await withTokens(world, next)).tokenFor({ audience: 'urn:company:other' })).sub, 'ada')
  t.equal((await refresh(world.url, next.clientId, next.refreshToken)).statusCode, 200)
})

t.test('an access token that lives for a moment only is refreshed each time, and used', async (t) => {
  const world = await start(t, { accessTokenTtlSeconds: 10, quirks: { exchangedTtlSeconds: 30 } })
  const hits = world.hits()
  await world.tokenFor()
  await world.tokenFor()
  t.equal(world.hits(), hits + 4)
})

t.test('a record of an older version does not say when the access token expires: it is refreshed', async (t) => {
  const world = await start(t)
  await editUpstream(world, { accessExpiresAt: undefined })
  t.notOk('accessExpiresAt' in await upstreamOf(world))
  const hits = world.hits()
  await world.tokenFor()
  t.equal(world.hits(), hits + 2)
  t.type((await upstreamOf(world)).accessExpiresAt, 'number')
})

t.test('without a refresh token the access token is used as long as it lives', async (t) => {
  const world = await start(t, { quirks: { noRefreshToken: true } })
  for (const accessExpiresAt of [Math.floor(Date.now() / 1_000) + 10, undefined]) {
    await editUpstream(world, { accessExpiresAt })
    t.equal(decodeJwt(await world.tokenFor({ audience: API, scopes: accessExpiresAt === undefined ? [] : ['mcp:read'] })).sub, 'ada')
  }
  await expireUpstream(world)
  await t.rejects(world.tokenFor({ audience: 'urn:company:other' }), { name: 'TokenExchangeError', message: /sign in again/, detail: /offline_access/, retryAfterSeconds: undefined })
})

t.test('tools and the refresh of the client at the same time: neither loses, whoever is first', async (t) => {
  for (let round = 0; round < 5; round++) {
    const world = await start(t)
    await expireUpstream(world)
    const work = [refreshed(world), world.tokenFor(), world.tokenFor({ audience: 'urn:company:other' })] as const
    const [next] = await Promise.all(work)
    t.equal(readTokens(next.clientId, await refresh(world.url, next.clientId, next.refreshToken)).clientId, next.clientId, 'the upstream refresh token is the current one')
  }
})

/** Holds the next token request of the provider until it is told to go on. */
function holdToken (world: World): { held: Promise<void>, release (): void } {
  const { store } = world.app
  const replace = store.compareAndSet.bind(store)
  let tell!: () => void
  let release!: () => void
  const held = new Promise<void>((resolve) => { tell = resolve })
  const released = new Promise<void>((resolve) => { release = resolve })
  store.compareAndSet = async (...args) => {
    store.compareAndSet = replace
    tell()
    await released
    return await replace(...args)
  }
  return { held, release }
}

/** Resolves when somebody has seen that the lock is taken. */
async function waiting ({ app: { store }, tokens }: World): Promise<void> {
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

t.test('a client refreshes while a tool does: it waits and then has its turn', async (t) => {
  const world = await start(t)
  await expireUpstream(world)
  const { held, release } = holdToken(world)
  const tool = world.tokenFor()
  await held
  const seen = waiting(world)
  const client = refreshed(world)
  await seen
  release()
  t.equal(decodeJwt(await tool).sub, 'ada')
  t.match((await client).refreshToken, /\.2\./)
})

t.test('a tool needs a token while a client refreshes: it waits for what that brings', async (t) => {
  const world = await start(t)
  await expireUpstream(world)
  const hits = world.hits()
  const { held, release } = holdToken(world)
  const client = refreshed(world)
  await held
  const seen = waiting(world)
  const tool = world.tokenFor()
  await seen
  release()
  t.match((await client).refreshToken, /\.2\./)
  t.equal(decodeJwt(await tool).sub, 'ada')
  t.equal(world.hits(), hits + 2, 'one refresh, one exchange')
})

t.test('another one was done between the look and the lock: what it was given is used', async (t) => {
  const world = await start(t)
  await expireUpstream(world)
  const { store } = world.app
  const setIfAbsent = store.setIfAbsent.bind(store)
  store.setIfAbsent = async (...args) => {
    store.setIfAbsent = setIfAbsent
    await world.tokenFor({ audience: 'urn:company:other' })
    return await setIfAbsent(...args)
  }
  const hits = world.hits()
  t.equal(decodeJwt(await world.tokenFor()).aud, API)
  t.equal(world.hits(), hits + 3, 'one refresh, two exchanges')
})

t.test('the store goes away when the provider has just rotated: the next one goes on from what was given', async (t) => {
  const world = await start(t)
  await expireUpstream(world)
  const { store } = world.app
  const replace = store.compareAndSet.bind(store)
  store.compareAndSet = async () => { throw new StoreUnavailableError() }
  await t.rejects(world.tokenFor(), { name: 'TokenExchangeError', message: /try again shortly/, retryAfterSeconds: 1 })
  store.compareAndSet = replace
  const next = await refreshed(world)
  t.equal(decodeJwt(await (await withTokens(world, next)).tokenFor()).sub, 'ada', 'the client has what the tool was given')
})

t.test('a grant that is revoked gives no token, whatever is kept', async (t) => {
  const world = await start(t)
  await world.tokenFor()
  const hits = world.hits()
  const { clientId, refreshToken: token } = world.tokens
  t.equal((await post(`${world.url}/oauth/revoke`, { token, client_id: clientId })).statusCode, 200)
  await t.rejects(world.tokenFor(), { name: 'TokenExchangeError', message: 'The sign-in that this call belongs to has ended: sign in again' })
  await t.rejects(world.tokenFor({ audience: 'urn:company:other' }), { name: 'TokenExchangeError' })
  t.equal(world.hits(), hits, 'the provider is not asked')
})

t.test('a grant that is revoked while the provider is asked gives no token either', async (t) => {
  const world = await start(t)
  const { store } = world.app
  const set = store.set.bind(store)
  store.set = async (key, ...rest) => {
    if (key.startsWith('delegated:')) await world.app.grantServices.grants.revoke(world.tokens.refreshToken.split('.')[0]!, 'revoked by the operator')
    await set(key, ...rest)
  }
  await t.rejects(world.tokenFor(), { name: 'TokenExchangeError', message: /has ended/ })
})

t.test('a grant that is revoked while its tokens are refreshed stays ended', async (t) => {
  const world = await start(t)
  await expireUpstream(world)
  const { held, release } = holdToken(world)
  const tool = world.tokenFor()
  const outcome = t.rejects(tool, { name: 'TokenExchangeError', message: /has ended/, detail: /ended while/ })
  await held
  await world.app.grantServices.grants.revoke(world.tokens.refreshToken.split('.')[0]!, 'revoked by the operator')
  release()
  await outcome
  t.equal(await world.app.store.get(grantKey(world.tokens.refreshToken)), undefined)
})

t.test('a grant of which time has run out, and a caller without one', async (t) => {
  const world = await start(t)
  await editGrant(world, world.tokens.refreshToken, { expiresAt: Math.floor(Date.now() / 1_000) - 1 })
  await t.rejects(world.tokenFor(), { name: 'TokenExchangeError', message: /has ended/ })
  const principal = await principalOf(world, world.tokens.accessToken)
  await t.rejects(world.app.tokenExchange.tokenFor({ ...principal, claims: {} }, { audience: API }), { name: 'TokenExchangeError', message: /has ended/ })
})

t.test("the provider's own invalid_grant at the refresh ends the grant", async (t) => {
  const world = await start(t)
  await expireUpstream(world)
  world.provider.revoke('ada')
  await t.rejects(world.tokenFor(), { name: 'TokenExchangeError', message: /has ended/ })
  t.equal(await world.app.store.get(grantKey(world.tokens.refreshToken)), undefined)
  t.match(await world.logged(({ msg }) => msg === 'A grant has ended'), { reason: 'ended by the provider', subject: 'ada' })
})

t.test('what the grant keeps can no longer be opened: sign in again', async (t) => {
  const world = await start(t)
  await world.tokenFor()
  const stranger = createKeyring('another SEED_SECRET, of 44 bytes as the first', undefined)
  await editGrant(world, world.tokens.refreshToken, { upstream: stranger.seal('{}', grantKey(world.tokens.refreshToken)) })
  await t.rejects(world.tokenFor({ audience: 'urn:company:other' }), { name: 'TokenExchangeError', message: /sign in again/, detail: /SEED_SECRET/ })
})

t.test('a kept token that cannot be opened is asked for anew', async (t) => {
  const world = await start(t)
  const { store } = world.app
  const written: string[] = []
  const set = store.set.bind(store)
  store.set = async (key, ...rest) => {
    written.push(key)
    await set(key, ...rest)
  }
  const first = await world.tokenFor()
  const [key] = written
  t.match(key, /^delegated:[\w-]{22}:[\w-]{43}$/, 'the audience is not in the key')
  await store.set(key!, createKeyring('another SEED_SECRET, of 44 bytes as the first', undefined).seal('{}', key!), 60)
  t.not(await world.tokenFor(), first)
})

t.test('the provider refuses: the error says what to do, the grant lives, and the next try asks again', async (t) => {
  const world = await start(t)
  for (const [what, error, quirks] of [
    ['the audience', 'invalid_target', { exchangeAudiences: [] }],
    ['token exchange as such', 'unsupported_grant_type', { delegation: undefined }]
  ] as Array<[string, string, Partial<Quirks>]>) {
    const before = { ...world.provider.quirks }
    Object.assign(world.provider.quirks, quirks)
    await t.rejects(world.tokenFor(), {
      name: 'TokenExchangeError',
      message: `The identity provider gave no token for "${API}": let it allow OIDC_CLIENT_ID to exchange tokens for this audience, and the scopes if any`,
      detail: `the provider's token endpoint answered 400 "${error}"`,
      retryAfterSeconds: undefined
    }, what)
    t.match(await world.logged(({ msg, reason }) => msg === 'No token for another API' && String(reason).includes(error)), { level: 40, audience: API })
    Object.assign(world.provider.quirks, before)
  }
  await t.rejects(world.tokenFor({ audience: API, scopes: ['nothing:known'] }), { name: 'TokenExchangeError', detail: /invalid_scope/ })
  for (const error of ['invalid_grant', 'invalid_request', 'interaction_required']) {
    world.provider.setFault('/token', { status: 400, json: { error } })
    await t.rejects(world.tokenFor(), { name: 'TokenExchangeError', message: /let it allow/, detail: new RegExp(error) }, error)
  }
  world.provider.setFault('/token', { status: 200, json: { access_token: 'x', issued_token_type: 'urn:ietf:params:oauth:token-type:id_token', token_type: 'N_A' } })
  await t.rejects(world.tokenFor(), { name: 'TokenExchangeError' }, 'a token of another kind')
  world.provider.setFault('/token', { status: 200, json: { access_token: 'y', issued_token_type: 'urn:ietf:params:oauth:token-type:jwt', token_type: 'Bearer' } })
  t.equal(await world.tokenFor(), 'y')
  world.provider.setFault('/token', undefined)
  t.equal(decodeJwt(await world.tokenFor()).sub, 'ada')
})

t.test('the provider takes no exchange from a public client', async (t) => {
  const world = await start(t, { env: { OIDC_CLIENT_ID: 'seed-dev', OIDC_CLIENT_SECRET: '' } })
  await t.rejects(world.tokenFor(), { name: 'TokenExchangeError', detail: /unauthorized_client.*OIDC_CLIENT_SECRET/ })
})

t.test('the provider is down: try again shortly, and the grant lives', async (t) => {
  for (const expired of [false, true]) {
    const world = await start(t)
    if (expired) await expireUpstream(world)
    for (const fault of ['down', 503, 429, { status: 400, json: { error: 'temporarily_unavailable' } }] as const) {
      world.provider.setFault('/token', fault)
      await t.rejects(world.tokenFor(), { name: 'TokenExchangeError', message: /try again shortly/, retryAfterSeconds: 5 }, JSON.stringify(fault))
    }
    world.provider.setFault('/token', undefined)
    t.equal(decodeJwt(await world.tokenFor()).sub, 'ada')
  }
})

t.test('the provider was never found, as after a restart', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const world = await start(t, { env: { REDIS_URL: redis.url } })
  world.provider.setFault('*', 'down')
  const lost = await startSeed(t, { sharedProvider: world.provider, env: { OAUTH_MODE: 'broker', SEED_SECRET, BASE_URL: world.url, ...CONFIDENTIAL, REDIS_URL: redis.url } })
  await lost.app.store.ready()
  const there = await withTokens(lost, world.tokens)
  await t.rejects(there.tokenFor(), { name: 'TokenExchangeError', message: /try again shortly/, retryAfterSeconds: 5 })
})

t.test('the store is away: try again shortly; when it only cannot keep the token, that is there', async (t) => {
  const world = await start(t)
  const { store } = world.app
  const [get, set] = [store.get.bind(store), store.set.bind(store)]
  store.get = async () => { throw new StoreUnavailableError() }
  await t.rejects(world.tokenFor(), { name: 'TokenExchangeError', message: /try again shortly/, retryAfterSeconds: 1 })
  store.get = get
  store.set = async () => { throw new StoreUnavailableError() }
  t.equal(decodeJwt(await world.tokenFor()).sub, 'ada')
  store.set = async () => { throw new TypeError('a mistake of ours') }
  await t.rejects(world.tokenFor(), TypeError)
  store.set = set
})

t.test('a call that is given up does not wait, and takes nothing from the others', async (t) => {
  const world = await start(t)
  const reason = new Error('cancelled')
  await t.rejects(world.tokenFor({ audience: API }, AbortSignal.abort(reason)), reason)
  await expireUpstream(world)
  const { held, release } = holdToken(world)
  const controller = new AbortController()
  const first = t.rejects(world.tokenFor({ audience: API }, controller.signal), reason)
  const second = world.tokenFor({ audience: API }, new AbortController().signal)
  await held
  controller.abort(reason)
  await first
  release()
  t.equal(decodeJwt(await second).sub, 'ada')
})

t.test('a tool that asks for nothing, or for two scopes in one, is told so', async (t) => {
  const world = await start(t)
  for (const request of [{ audience: '' }, { audience: API, scopes: ['a b'] }, { audience: API, scopes: [''] }]) {
    await t.rejects(world.tokenFor(request), TokenExchangeError)
  }
})

t.test("Entra's form: on behalf of, with scopes that are named with their API", async (t) => {
  const audience = 'api://orders'
  const world = await start(t, { env: { OIDC_PROVIDER: 'entra', OIDC_SCOPES: 'openid profile mcp:read' }, quirks: { delegation: 'on-behalf-of', exchangeAudiences: [audience], refreshNeedsScope: true } })
  t.match(decodeJwt(await world.tokenFor({ audience })), { aud: audience, sub: 'ada', scope: '.default' })
  const { accessToken: assertion } = await upstreamOf(world)
  t.same(world.provider.lastTokenRequest().form, { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion, requested_token_use: 'on_behalf_of', scope: 'api://orders/.default' })
  t.match(decodeJwt(await world.tokenFor({ audience, scopes: ['Read', 'api://orders/Write'] })), { scope: 'Read Write' })
  await t.rejects(world.tokenFor({ audience: 'api://secret' }), { name: 'TokenExchangeError', detail: /invalid_scope/ })

  await expireUpstream(world)
  await world.tokenFor({ audience, scopes: ['Write'] })
  t.ok((await refreshed(world)).refreshToken, 'the scopes were repeated, or the assertion would be for Microsoft Graph')
})

t.test('there is none in proxy mode, and none without sign-in', async (t) => {
  for (const env of [{ OAUTH_MODE: 'proxy' }, { AUTH_REQUIRED: 'false', OAUTH_MODE: 'broker' }]) {
    const { app } = await startSeed(t, { env })
    t.equal(app.hasDecorator('tokenExchange'), false)
  }
})

t.test("a tool calls an API with its own token: the client's goes nowhere, and no token is in a log line (T148)", async (t) => {
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
      const response = await fetch(`http://127.0.0.1:${(api.address() as AddressInfo).port}/orders`, { headers: { authorization: `Bearer ${token}` } })
      return await response.text()
    }
  })
  const world = await start(t, { tools: [orders] })

  const outbound: string[] = []
  const { fetch: realFetch } = globalThis
  t.teardown(() => { globalThis.fetch = realFetch })
  globalThis.fetch = async (url, init = {}) => {
    if (!String(url).startsWith(world.url)) outbound.push(JSON.stringify([String(url), Object.fromEntries(new Headers(init.headers)), String(init.body)]))
    return await realFetch(url, init)
  }
  await expireUpstream(world)
  const { body, headers } = modernRequest('tools/call', { name: 'orders', arguments: {} })
  const answer = await fetch(`${world.url}/mcp`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream', authorization: `Bearer ${world.tokens.accessToken}` },
    body
  })
  t.match(await answer.text(), '42 orders')
  const sent = /^Bearer (.+)$/.exec(received[0]!.headers.authorization!)![1]!
  t.match(decodeJwt(sent), { iss: world.provider.issuer, aud: API, sub: 'ada' })
  t.equal(outbound.length, 4, 'refresh, userinfo, exchange, API')
  t.notOk(outbound.join().includes(world.tokens.accessToken.split('.')[2]!), "the client's token, or a part of it")

  world.provider.quirks.exchangeAudiences = []
  const failure = await world.tokenFor({ audience: 'urn:company:other' }).catch((err: TokenExchangeError) => err) as TokenExchangeError
  world.app.log.error({ err: failure }, 'as a tool logs it')
  const upstream = await upstreamOf(world)
  const kept = await world.app.store.get(grantKey(world.tokens.refreshToken))
  for (const secret of [sent, upstream.accessToken, upstream.refreshToken!, world.tokens.accessToken, world.tokens.refreshToken, 'dev-secret']) {
    t.notOk(JSON.stringify(world.logs).includes(secret), 'in the log')
    t.notOk(`${failure.message} ${failure.detail}`.includes(secret), 'in the error')
    t.notOk(kept!.includes(secret), 'in the store')
  }
})
