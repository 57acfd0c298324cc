import { SignJWT, createLocalJWKSet, exportJWK, exportPKCS8, generateKeyPair, jwtVerify } from 'jose'
import type { JSONWebKeySet } from 'jose'
import { Redis } from 'ioredis'
import t from 'tap'
import type { DevProviderOptions } from '../../dev/provider.ts'
import { createKeyring } from '../../src/crypto/keyring.ts'
import { createBrowser } from '../support/browser.ts'
import {
  REDIRECT_URI,
  SEED_SECRET,
  byHand,
  getTokens,
  grantKey,
  newRequest,
  post,
  readTokens,
  redeem,
  refresh,
  register,
  signIn,
  startBroker
} from '../support/broker.ts'
import { createPlainClient, readTokens as readAnswer } from '../support/sign-in.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { ping, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** Broker mode from registration to revocation, over real HTTP, with a provider that knows one redirect URI. */

const claimsOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString('utf8')) as Record<string, unknown>

interface Way {
  env: Record<string, string>
  provider?: DevProviderOptions
  /** The credentials of the token request at the provider. */
  sent: { scheme: string | undefined, form: string[] }
}

async function ways (): Promise<Record<string, Way>> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const publicJwk = { ...await exportJWK(publicKey), alg: 'ES256', use: 'sig', kid: 'seed-1' }
  const key = { OIDC_CLIENT_ID: 'seed-dev-key', OIDC_CLIENT_KEY: (await exportPKCS8(privateKey)).trim() }
  return {
    'none: a public client': { env: {}, sent: { scheme: undefined, form: ['client_id'] } },
    client_secret_basic: {
      env: { OIDC_CLIENT_ID: 'seed-dev-confidential', OIDC_CLIENT_SECRET: 'dev-secret' },
      sent: { scheme: 'Basic', form: [] }
    },
    client_secret_post: {
      env: {
        OIDC_CLIENT_ID: 'seed-dev-post',
        OIDC_CLIENT_SECRET: 'dev-secret',
        OIDC_CLIENT_AUTH: 'client_secret_post'
      },
      sent: { scheme: undefined, form: ['client_id', 'client_secret'] }
    },
    private_key_jwt: {
      env: key,
      provider: { clientPublicJwks: { keys: [publicJwk] } },
      sent: { scheme: undefined, form: ['client_id', 'client_assertion', 'client_assertion_type'] }
    },
    'private_key_jwt with a key id': {
      env: { ...key, OIDC_CLIENT_KEY_ID: 'seed-1', OIDC_CLIENT_AUTH: 'private_key_jwt' },
      provider: { clientPublicJwks: { keys: [publicJwk] } },
      sent: { scheme: undefined, form: ['client_id', 'client_assertion', 'client_assertion_type'] }
    }
  }
}

t.test('the whole way works with each client authentication method at the provider', async (t) => {
  for (const [name, { env, provider = {}, sent }] of Object.entries(await ways())) {
    t.test(name, async (t) => {
      const seed = await startBroker(t, { env, provider })
      const authenticates = (step: string): void => {
        const { scheme, form } = seed.provider.lastTokenRequest()
        t.equal(scheme, sent.scheme, step)
        t.same(Object.keys(form).filter((key) => key.startsWith('client_')).sort(), [...sent.form].sort(), step)
      }
      const { clientId, accessToken, refreshToken } = await getTokens(seed)
      authenticates('code')
      t.equal((await ping(seed.url, accessToken)).status, 200)
      const next = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
      authenticates('refresh')
      t.equal((await ping(seed.url, next.accessToken)).status, 200)
      // Without OIDC_CLIENT_AUTH, Seed has revoked a made-up token to find out which method is right.
      const before = seed.provider.hits()['/token/revocation'] ?? 0
      t.equal(
        (await post(`${seed.url}/oauth/revoke`, { client_id: clientId, token: next.refreshToken })).statusCode,
        200
      )
      t.equal((await ping(seed.url, next.accessToken)).status, 401)
      t.equal(seed.provider.hits()['/token/revocation'], before + 1)
      t.notOk(
        seed.logs.some(({ msg }) => msg.startsWith('A grant has ended here;')),
        'the provider took the revocation'
      )
    })
  }
})

t.test("a provider with opaque tokens: the client gets Seed's JWT and nothing of the provider's", async (t) => {
  const seed = await startBroker(t, { provider: { quirks: { opaqueTokens: true } } })
  const { clientId, accessToken, refreshToken } = await getTokens(seed)
  t.equal((await ping(seed.url, accessToken)).status, 200)
  t.match(claimsOf(accessToken), { iss: seed.url, sub: 'ada', email: 'ada@example.com' })
  t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200)
})

t.test('userinfo adds what the ID token lacks, and sign-in works without it', async (t) => {
  const seed = await startBroker(t, {
    env: { OIDC_SCOPES: 'openid profile email groups' },
    provider: { quirks: { idTokenClaims: false, opaqueTokens: true } }
  })
  t.match(claimsOf((await getTokens(seed)).accessToken), {
    name: 'Ada Lovelace',
    email: 'ada@example.com',
    groups: ['engineering', 'admins']
  })

  for (const [what, fault] of [
    ['it is down', 'down'], ['it answers 500', 500], ['it answers with a page', 'html'],
    ["it answers with another person's claims", { status: 200, json: { sub: 'bob', name: 'Bob' } }]
  ] as const) {
    seed.provider.setFault('/me', fault)
    const warnings = seed.logs.filter(({ msg }) => msg.startsWith('The userinfo endpoint could not be used')).length
    const { clientId, accessToken, refreshToken } = await getTokens(seed)
    t.match(claimsOf(accessToken), { sub: 'ada' }, what)
    t.notOk('name' in claimsOf(accessToken), what)
    t.equal((await ping(seed.url, accessToken)).status, 200, what)
    t.equal(
      seed.logs.filter(({ msg, level }) => level === 40 && msg.startsWith('The userinfo endpoint could not be used'))
        .length,
      warnings + 1,
      what
    )
    seed.provider.setFault('/me', undefined)
    t.match(
      claimsOf(readTokens(clientId, await refresh(seed.url, clientId, refreshToken)).accessToken),
      { name: 'Ada Lovelace' },
      `${what}: the next refresh brings it`
    )
  }
})

t.test("the provider gets Seed's own state, nonce and challenge, and only listed parameters", async (t) => {
  const seed = await startBroker(t)
  const { url, answer } = await signIn(seed, {
    parameters: {
      nonce: 'of-the-client',
      claims: '{}',
      ui_locales: 'de',
      display: 'popup',
      id_token_hint: 'x',
      audience: 'x',
      access_type: 'offline'
    }
  })
  const sent = seed.provider.lastAuthorization()
  t.same(Object.keys(sent).sort(), [
    'client_id',
    'code_challenge',
    'code_challenge_method',
    'nonce',
    'redirect_uri',
    'response_type',
    'scope',
    'state'
  ])
  t.match(sent, {
    client_id: seed.provider.clientId,
    response_type: 'code',
    redirect_uri: `${seed.url}/oauth/callback`,
    scope: 'openid profile email offline_access',
    code_challenge_method: 'S256',
    state: /^[\w-]{43}$/,
    nonce: /^[\w-]{43}$/,
    code_challenge: /^[\w-]{43}$/
  })
  const asked = new URL(url).searchParams
  t.not(sent['state'], asked.get('state'))
  t.not(sent['nonce'], asked.get('nonce'))
  t.not(sent['code_challenge'], asked.get('code_challenge'))
  t.equal(answer.searchParams.get('state'), asked.get('state'), 'the client gets its own state back')

  await signIn(seed)
  const another = seed.provider.lastAuthorization()
  for (const name of ['state', 'nonce', 'code_challenge']) t.not(another[name], sent[name], `${name} is new each time`)
})

t.test('prompt, max_age and login_hint are forwarded to the provider', async (t) => {
  const seed = await startBroker(t)
  await signIn(seed, { parameters: { prompt: 'login unknown', max_age: '300', login_hint: 'ada' } })
  t.match(seed.provider.lastAuthorization(), { prompt: 'login', max_age: '300', login_hint: 'ada' })
})

t.test('an authorization request without a redirect URI reaches the provider and cannot be finished', async (t) => {
  const seed = await startBroker(t)
  const response = await fetch(`${seed.url}/oauth/authorize?response_type=code&client_id=test`, { redirect: 'manual' })
  t.equal(response.status, 302)
  const location = new URL(response.headers.get('location')!)
  t.equal(location.origin, seed.provider.issuer)
  const callback = await createBrowser().signIn(
    location,
    { login: 'ada', password: 'ada' },
    ({ pathname }) => pathname === '/oauth/callback'
  )
  const hits = seed.provider.hits()['/token'] ?? 0
  t.equal((await fetch(callback, { redirect: 'manual' })).status, 400)
  t.equal(seed.provider.hits()['/token'] ?? 0, hits)
})

t.test('a client that registers when strangers have used up DCR_LIMIT_TOTAL signs in and stays connected', async (t) => {
  for (const mode of ['broker', 'proxy']) {
    const seed = mode === 'broker'
      ? await startBroker(t, { env: { DCR_LIMIT_TOTAL: '1' } })
      : await startSeed(t, { env: { DCR_LIMIT_TOTAL: '1' } })
    await createPlainClient(seed.url)
    const redirectUri = 'http://127.0.0.1:53220/other-callback'
    const response = await fetch(`${seed.url}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ redirect_uris: [redirectUri] })
    })
    const { client_id: clientId } = await response.json() as { client_id: string }
    t.match(clientId, /^seed-[\w-]+\.[\w-]+\.[\w-]{22}$/)
    const client = await createPlainClient(seed.url, { clientId, redirectUri })
    const page = await client.walk()
    t.equal(await seed.app.store.get(`client:${clientId}`), undefined, 'no tokens, no record')
    const tokens = await readAnswer(await client.redeem(page))
    t.equal(tokens.status, 200)
    t.equal((await ping(seed.url, tokens.access_token)).status, 200)
    t.match(await seed.app.store.get(`client:${clientId}`), redirectUri, 'a client that is used has a record')
    t.equal((await client.refresh(tokens.refresh_token!)).status, 200)
  }
})

t.test('requests from 100,000 addresses keep nobody from signing in without Redis', async (t) => {
  const seed = await startBroker(t)
  for (let address = 0; address < 100_000; address++) await seed.app.store.increment(`limit:${address}`, 60)
  const client = await createPlainClient(seed.url)
  t.equal((await readAnswer(await client.redeem(await client.walk()))).status, 200)
})

t.test('the access token follows RFC 9068 and verifies against the published keys', async (t) => {
  const seed = await startBroker(t, { env: { ACCESS_TOKEN_TTL: '600', OIDC_SCOPES: 'openid profile email groups' } })
  const before = Math.floor(Date.now() / 1_000)
  const signedIn = await signIn(seed, { parameters: { scope: 'openid profile' } })
  const answer = await redeem(seed.url, signedIn)
  t.same(
    Object.keys(answer.json).sort(),
    ['access_token', 'expires_in', 'refresh_token', 'scope', 'token_type'],
    'no ID token, nothing of the provider'
  )
  t.match(answer, {
    statusCode: 200,
    headers: { 'cache-control': 'no-store', pragma: 'no-cache', 'content-type': /^application\/json/ },
    json: { token_type: 'Bearer', expires_in: 600, scope: 'openid profile' }
  })
  t.notOk('set-cookie' in answer.headers, 'no cookie')

  const metadata = (await (await fetch(`${seed.url}/.well-known/openid-configuration`)).json()) as {
    issuer: string
    jwks_uri: string
  }
  t.match(metadata, { issuer: seed.url, jwks_uri: `${seed.url}/.well-known/jwks.json` })
  const published = await fetch(metadata.jwks_uri)
  t.equal(published.headers.get('access-control-allow-origin'), '*')
  const keySet = await published.json() as JSONWebKeySet
  const { payload, protectedHeader } = await jwtVerify(String(answer.json['access_token']), createLocalJWKSet(keySet), {
    issuer: seed.url,
    audience: `${seed.url}/mcp`,
    typ: 'at+jwt',
    algorithms: ['ES256']
  })
  t.match(protectedHeader, { alg: 'ES256', typ: 'at+jwt', kid: keySet.keys[0]!.kid })
  t.notOk(keySet.keys.some((key) => 'd' in key), 'public keys only')
  t.strictSame(payload.aud, `${seed.url}/mcp`, 'one audience')
  t.match(payload, {
    iss: seed.url,
    sub: 'ada',
    client_id: signedIn.clientId,
    scope: 'openid profile',
    jti: /^[\w-]{22}$/,
    grant: /^[\w-]{22}$/,
    name: 'Ada Lovelace',
    groups: ['engineering', 'admins']
  })
  t.equal(payload.exp! - payload.iat!, 600)
  t.ok(payload.iat! >= before && payload.iat! <= Math.ceil(Date.now() / 1_000))
  const [one, other] = [await getTokens(seed), await getTokens(seed)].map(
    ({ accessToken }) => claimsOf(accessToken)['jti']
  )
  t.not(one, other)
})

t.test('every redirect to the client carries iss once, with a code or an error (RFC 9207)', async (t) => {
  const seed = await startBroker(t)
  const { answer } = await signIn(seed)
  t.same(answer.searchParams.getAll('iss'), [seed.url])

  const clientId = await register(seed.url)
  const browser = createBrowser()
  const denied = newRequest(seed, clientId)
  const page = await browser.get(denied.url)
  const { url: refused } = await browser.submit(page.forms[0]!, { decision: 'deny' })
  t.same(
    [refused.searchParams.getAll('error'), refused.searchParams.getAll('state'), refused.searchParams.getAll('iss')],
    [['access_denied'], [denied.state], [seed.url]]
  )
  t.equal(seed.provider.hits()['/auth'], 1, 'the provider heard nothing of the one denied')

  const mistaken = newRequest(seed, clientId, { response_type: 'token' })
  const { url: corrected } = await browser.get(mistaken.url)
  t.same(
    [
      corrected.searchParams.getAll('error'),
      corrected.searchParams.getAll('state'),
      corrected.searchParams.getAll('iss')
    ],
    [['unsupported_response_type'], [mistaken.state], [seed.url]]
  )
  const document = await (await fetch(`${seed.url}/.well-known/oauth-authorization-server`)).json()
  t.match(document, {
    issuer: seed.url,
    authorization_response_iss_parameter_supported: true,
    revocation_endpoint: `${seed.url}/oauth/revoke`
  })
})

t.test('a redirect URI keeps its query, and one with response parameters in it cannot be registered', async (t) => {
  const seed = await startBroker(t)
  const redirectUri = `${REDIRECT_URI}?tenant=7`
  const clientId = await register(seed.url, { redirect_uris: [redirectUri] })
  const { answer } = await signIn(seed, { clientId, parameters: { redirect_uri: redirectUri } })
  t.same([...answer.searchParams.keys()].sort(), ['code', 'iss', 'state', 'tenant'])
  t.equal(answer.searchParams.get('tenant'), '7')
  t.same(answer.searchParams.getAll('iss'), [seed.url])

  const refused = await fetch(`${seed.url}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ redirect_uris: [`${REDIRECT_URI}?iss=old`] })
  })
  t.match(
    { status: refused.status, body: await refused.json() },
    { status: 400, body: { error: 'invalid_redirect_uri' } }
  )
})

t.test('a user with more groups than fit into a token is told so, and no token is issued', async (t) => {
  const groups = Array.from({ length: 400 }, (_, index) => `a-group-of-some-length-${index}`)
  const seed = await startBroker(t, {
    env: { OIDC_SCOPES: 'openid groups' },
    provider: { users: [{ login: 'ada', password: 'ada', name: 'Ada', email: 'ada@example.com', groups }] }
  })
  const answer = await redeem(seed.url, await signIn(seed))
  t.match(answer, { statusCode: 403, json: { error: 'server_error', error_description: /more groups than fit/ } })
  t.match(await seed.logged(({ status, path }) => path === '/oauth/token' && status === 403), {
    reason: /OIDC_GROUPS_CLAIM/
  })
})

t.test('no secret appears in a response, the log or Redis where it does not belong', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const seed = await startBroker(t, {
    env: {
      REDIS_URL: redis.url,
      LOG_LEVEL: 'trace',
      OIDC_CLIENT_ID: 'seed-dev-confidential',
      OIDC_CLIENT_SECRET: 'dev-secret'
    },
    provider: { quirks: { opaqueTokens: true } }
  })
  const client = new Redis(redis.url)
  t.teardown(async () => { await client.quit() })
  const dumps: string[] = []
  const answers: string[] = []

  const { request, callback, cookie, pageCookie, consent } = await byHand(seed)
  dumps.push(await dump(client))
  t.match(dumps[0], /seed:sign-in:/)
  const finished = await fetch(callback, { redirect: 'manual', headers: { cookie } })
  const code = new URL(finished.headers.get('location')!).searchParams.get('code')!
  dumps.push(await dump(client))
  t.match(dumps[1], /seed:code:/)
  const redeemed = await redeem(seed.url, { ...request, code })
  answers.push(redeemed.body)
  const first = readTokens(request.clientId, redeemed)
  const upstreamFirst = await upstreamTokens(seed, first.refreshToken)
  const refreshed = await refresh(seed.url, request.clientId, first.refreshToken)
  answers.push(refreshed.body)
  const second = readTokens(request.clientId, refreshed)
  const upstreamSecond = await upstreamTokens(seed, first.refreshToken)
  for (const token of [first.accessToken, second.accessToken]) answers.push(await (await ping(seed.url, token)).text())
  dumps.push(await dump(client))
  t.match(dumps[2], /seed:grant:/)
  seed.provider.setFault('/token/revocation', 500)
  const revoked = await post(`${seed.url}/oauth/revoke`, { client_id: request.clientId, token: second.refreshToken })
  answers.push(revoked.body)
  await seed.logged(({ path }) => path === '/oauth/revoke')
  dumps.push(await dump(client))
  t.match(dumps[3], /seed:revoked:grant:/)

  const value = (pair: string): string => pair.slice(pair.indexOf('=') + 1)
  const upstream = [
    upstreamFirst.accessToken,
    upstreamFirst.refreshToken,
    upstreamSecond.accessToken,
    upstreamSecond.refreshToken
  ]
  t.ok(upstream.every((token) => /^[\w-]{20,}$/.test(token)), 'the provider gave tokens')
  const secrets: Record<string, string[]> = {
    "the provider's tokens": upstream,
    "the provider's code and our state there": [
      callback.searchParams.get('code')!,
      callback.searchParams.get('state')!
    ],
    'our code': [code],
    'our refresh tokens': [
      first.refreshToken,
      second.refreshToken,
      ...[first, second].map(({ refreshToken }) => refreshToken.split('.')[3]!)
    ],
    'our access tokens': [first.accessToken, second.accessToken],
    cookies: [value(cookie), value(pageCookie)],
    'the id of the consent page': [consent],
    "the client's verifier": [request.verifier],
    "Seed's own secrets": [SEED_SECRET, 'dev-secret']
  }
  const log = JSON.stringify(seed.logs)
  t.match(log, '/oauth/callback', 'there is a log')
  for (const [what, values] of Object.entries(secrets)) {
    for (const secret of values) {
      for (const [stage, contents] of dumps.entries()) {
        t.notOk(contents.includes(secret), `${what} in Redis, stage ${stage}`)
      }
      t.notOk(log.includes(secret), `${what} in the log`)
    }
  }
  t.notOk(log.includes(request.state), "the client's state in the log")
  for (const token of upstream) {
    t.notOk(
      answers.some((answer) => answer.includes(token)),
      "the provider's tokens in an answer"
    )
  }
})

/** All keys of Redis with what lies under them. */
async function dump (client: Redis): Promise<string> {
  const lines: string[] = []
  for (const key of await client.keys('*')) {
    const read: Record<string, () => Promise<unknown>> = {
      string: async () => await client.get(key),
      zset: async () => await client.zrange(key, '0', '-1'),
      hash: async () => await client.hgetall(key)
    }
    lines.push(`${key} ${JSON.stringify(await read[await client.type(key)]!())}`)
  }
  return lines.join('\n')
}

/** The sealed content of a grant. */
async function upstreamTokens (
  { app }: TestSeed,
  refreshToken: string
): Promise<{ accessToken: string; refreshToken: string }> {
  const key = grantKey(refreshToken)
  const { upstream } = JSON.parse((await app.store.get(key))!) as { upstream: string }
  return JSON.parse(createKeyring(SEED_SECRET, undefined).open(upstream, key)!) as {
    accessToken: string
    refreshToken: string
  }
}

t.test("a token with Seed's signature that does not have the form of its access tokens is 401", async (t) => {
  const seed = await startBroker(t)
  const { accessToken } = await getTokens(seed)
  const { kid, privateKey } = seed.app.signingKeys.current()
  const sign = async (changes: Record<string, unknown>, typ: string | undefined = 'at+jwt') =>
    await new SignJWT({ ...claimsOf(accessToken), ...changes })
      .setProtectedHeader({ alg: 'ES256', kid, ...(typ !== '' && { typ }) })
      .sign(privateKey)
  t.equal((await ping(seed.url, await sign({}))).status, 200)
  const forms: Array<[name: string, token: string]> = [
    ['typ JWT', await sign({}, 'JWT')],
    ['no typ', await sign({}, '')],
    ['no grant', await sign({ grant: undefined })],
    ['grant of a wrong type', await sign({ grant: 5 })],
    ['no jti', await sign({ jti: undefined })],
    ['no client_id', await sign({ client_id: undefined })]
  ]
  for (const [name, token] of forms) t.equal((await ping(seed.url, token)).status, 401, name)
})
