import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import {
  SignJWT,
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  jwtVerify
} from 'jose'
import t from 'tap'
import { createStorage, startDevProvider } from '../../dev/provider.ts'
import { createBrowser } from '../support/browser.ts'
import type { AddressInfo } from 'node:net'
import type { JSONWebKeySet, JWTVerifyOptions } from 'jose'
import type { DevProvider, DevProviderOptions } from '../../dev/provider.ts'
import type { Test } from 'tap'
import type { Browser } from '../support/browser.ts'

type Tokens = Record<'access_token' | 'refresh_token' | 'id_token' | 'scope' | 'error', string>

const ADA = { login: 'ada', password: 'ada' }
const ADAS_GROUPS = ['engineering', 'admins']
const REDIRECT_URI = 'http://127.0.0.1:9/anywhere/at/all'
const SCOPE = 'openid profile email groups mcp:read'
const DISCOVERY = '/.well-known/openid-configuration'

/** With ES256, as a key for RS256 takes long to make. */
async function start (t: Test, options: DevProviderOptions = {}): Promise<DevProvider> {
  const dev = await startDevProvider({ algorithm: 'ES256', ...options })
  t.teardown(dev.close)
  return dev
}

async function getJson<T> (dev: DevProvider, path: string): Promise<T> {
  return await (await fetch(dev.issuer + path)).json() as T
}

function verify (token: string, keys: JSONWebKeySet, options?: JWTVerifyOptions) {
  return jwtVerify(token, createLocalJWKSet(keys), options)
}

/** An authorization request; a parameter is left out with undefined. */
function authorize (dev: DevProvider, overrides: Record<string, string | undefined> = {}) {
  const verifier = randomBytes(32).toString('base64url')
  const parameters = {
    response_type: 'code',
    client_id: dev.clientId,
    redirect_uri: REDIRECT_URI,
    scope: SCOPE,
    state: 'a state',
    nonce: 'a nonce',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...overrides
  }
  const sent = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return { url: `${dev.issuer}/auth?${new URLSearchParams(sent)}`, verifier }
}

async function postToken (dev: DevProvider, parameters: Record<string, string>, headers: Record<string, string> = {}) {
  const response = await fetch(`${dev.issuer}/token`, {
    method: 'POST',
    headers,
    body: new URLSearchParams(parameters)
  })
  return { status: response.status, body: await response.json() as Tokens }
}

/** The whole code flow, from the authorization request to the tokens. */
async function signIn (
  dev: DevProvider,
  overrides: Record<string, string | undefined> = {},
  browser: Browser = createBrowser()
): Promise<Tokens> {
  return (await postToken(dev, await getCode(dev, overrides, browser))).body
}

/** The token request that is due after a sign-in, by the public client unless `client_id` says otherwise. */
async function getCode (
  dev: DevProvider,
  overrides: Record<string, string | undefined> = {},
  browser: Browser = createBrowser()
) {
  const { url, verifier } = authorize(dev, overrides)
  const answer = await browser.signIn(url, ADA)
  return {
    grant_type: 'authorization_code',
    client_id: overrides['client_id'] ?? dev.clientId,
    code: answer.searchParams.get('code')!,
    redirect_uri: overrides['redirect_uri'] ?? REDIRECT_URI,
    code_verifier: verifier
  }
}

/** The error and its description that an authorization request ends with. */
async function errorOf (dev: DevProvider, overrides: Record<string, string | undefined>) {
  const { searchParams } = await createBrowser().signIn(authorize(dev, overrides).url, ADA)
  return [searchParams.get('error'), searchParams.get('error_description')]
}

async function askUserinfo (dev: DevProvider, token: string | undefined) {
  const response = await fetch(`${dev.issuer}/me`, {
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` }
  })
  return {
    status: response.status,
    challenge: response.headers.get('www-authenticate'),
    body: (await response.json()) as Record<string, unknown>
  }
}

function refresh (dev: DevProvider, token: string, more: Record<string, string> = {}) {
  return postToken(dev, { grant_type: 'refresh_token', client_id: dev.clientId, refresh_token: token, ...more })
}

t.test('listens on loopback and nowhere else', async (t) => {
  for (const host of ['0.0.0.0', '::', '192.168.0.1', 'example.com', '']) {
    await t.rejects(startDevProvider({ host }), { message: /not on/ }, host)
  }
  const dev = await start(t, { host: 'localhost' })
  t.match(dev.issuer, /^http:\/\/localhost:\d+$/)
  await t.rejects(startDevProvider({ host: 'localhost', port: Number(new URL(dev.issuer).port) }), {
    code: 'EADDRINUSE'
  })
})

t.test('describes itself', async (t) => {
  const dev = await startDevProvider()
  t.teardown(dev.close)
  const document = await getJson<Record<string, unknown>>(dev, DISCOVERY)
  t.match(document, {
    issuer: dev.issuer,
    authorization_endpoint: `${dev.issuer}/auth`,
    token_endpoint: `${dev.issuer}/token`,
    jwks_uri: `${dev.issuer}/jwks`,
    revocation_endpoint: `${dev.issuer}/token/revocation`,
    userinfo_endpoint: `${dev.issuer}/me`,
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    backchannel_logout_supported: true,
    code_challenge_methods_supported: ['S256'],
    id_token_signing_alg_values_supported: ['RS256']
  })
  t.ok((document['scopes_supported'] as string[]).includes('mcp:read'))
  t.notHas(document, 'authorization_response_iss_parameter_supported')
  t.strictSame(dev.hits(), { [DISCOVERY]: 1 })
  t.equal((await fetch(`${dev.issuer}/.well-known/nothing`)).status, 404)
})

t.test('signs a user in and gives tokens', async (t) => {
  const dev = await start(t, { audience: 'api://seed' })
  const { url, verifier } = authorize(dev)
  const answer = await createBrowser().signIn(url, ADA)
  t.equal(answer.origin + answer.pathname, REDIRECT_URI)
  t.strictSame([...answer.searchParams.keys()].sort(), ['code', 'state'], 'no iss')

  const form = {
    grant_type: 'authorization_code',
    client_id: dev.clientId,
    code: answer.searchParams.get('code')!,
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier
  }
  t.match(await postToken(dev, { ...form, redirect_uri: `${REDIRECT_URI}/other` }), {
    status: 400,
    body: { error: 'invalid_grant' }
  })
  t.match(await postToken(dev, { ...form, code_verifier: 'x'.repeat(43) }), {
    status: 400,
    body: { error: 'invalid_grant' }
  })
  const { status, body } = await postToken(dev, form)
  t.equal(status, 200)
  t.equal(body.scope, SCOPE)

  const keys = await getJson<JSONWebKeySet>(dev, '/jwks')
  const access = await verify(body.access_token, keys, { issuer: dev.issuer, audience: 'api://seed', typ: 'at+jwt' })
  t.match(access.payload, {
    sub: 'ada',
    client_id: 'seed-dev',
    scope: SCOPE,
    name: 'Ada Lovelace',
    email: 'ada@example.com',
    email_verified: true,
    groups: ['engineering', 'admins']
  })
  t.equal(access.payload.exp! - access.payload.iat!, 3600)
  t.type(access.payload.jti, 'string')
  const identity = await verify(body.id_token, keys, { issuer: dev.issuer, audience: 'seed-dev' })
  t.match(identity.payload, { sub: 'ada', nonce: 'a nonce', name: 'Ada Lovelace', groups: ['engineering', 'admins'] })
  t.strictSame(dev.hits(), { '/auth': 1, '/interaction/:uid': 2, '/auth/:uid': 1, '/token': 3, '/jwks': 1 })
})

t.test('signs with ES256, for a confidential client, with a lifetime of choice', async (t) => {
  const dev = await start(t, { algorithm: 'ES256', accessTokenTtlSeconds: 5, log: (line) => lines.push(line) })
  const lines: string[] = []
  const id = `${dev.clientId}-confidential`
  const { url, verifier } = authorize(dev, { client_id: id })
  const answer = await createBrowser().signIn(url, { login: 'bob', password: 'bob' })
  const form = {
    grant_type: 'authorization_code',
    code: answer.searchParams.get('code')!,
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier
  }
  t.match(await postToken(dev, { ...form, client_id: id }), { status: 401, body: { error: 'invalid_client' } })
  const { body } = await postToken(dev, form, {
    authorization: `Basic ${Buffer.from(`${id}:dev-secret`).toString('base64')}`
  })
  const { payload, protectedHeader } = await verify(body.access_token, await getJson<JSONWebKeySet>(dev, '/jwks'), {
    audience: dev.clientId
  })
  t.match(payload, { sub: 'bob', groups: ['engineering'], client_id: id })
  t.equal(payload.exp! - payload.iat!, 5)
  t.equal(protectedHeader.alg, 'ES256')
  t.match(lines, ['GET /auth', 'GET /interaction/:uid', 'POST /interaction/:uid', 'GET /auth/:uid', 'POST /token'])
})

t.test('a browser with a session is not asked again', async (t) => {
  const dev = await start(t)
  const browser = createBrowser()
  await signIn(dev, {}, browser)
  const page = await browser.get(authorize(dev).url)
  t.equal(page.status, 0)
  t.ok(page.url.searchParams.has('code'))
  const again = await browser.get(authorize(dev, { prompt: 'login' }).url)
  t.match(again.body, /name="password"/, 'unless the client insists')
})

t.test('a wrong password shows the page again', async (t) => {
  const dev = await start(t, {
    users: [{ login: 'ev<e', password: 'eve', name: '"Eve"', email: 'eve@example.com', groups: [] }]
  })
  const browser = createBrowser()
  const page = await browser.get(authorize(dev).url)
  t.match(page, { status: 200, headers: { 'cache-control': 'no-store' } })
  t.match(page.body, 'ev&#60;e')
  t.notMatch(page.body, /<script|ev</)
  t.strictSame(page.forms[0]!.names, ['login', 'password'])
  for (const wrong of [{ login: 'ev<e', password: 'ada' }, { login: 'nobody', password: 'eve' }, {}]) {
    const again = await browser.submit(page.forms[0]!, wrong)
    t.match(again, { status: 200, body: /do not match. Please try again/ })
  }
  const { url } = await browser.submit(page.forms[0]!, { login: 'ev<e', password: 'eve' })
  t.ok(url.searchParams.has('code'))
  await t.rejects(createBrowser().signIn(authorize(dev).url, ADA), { message: /Asked to sign in again/ })
})

t.test('a sign-in page that belongs to no request says what to do', async (t) => {
  const lines: string[] = []
  const dev = await start(t, { log: (line) => lines.push(line) })
  t.match(await createBrowser().get(`${dev.issuer}/interaction/made-up`), { status: 400, body: /start again/ })
  t.match(lines, ['GET /interaction/:uid', /^error SessionNotFound/])
})

t.test('sends codes to loopback addresses only', async (t) => {
  const dev = await start(t)
  const send = async (uri: string | undefined) => createBrowser().get(authorize(dev, { redirect_uri: uri }).url)
  for (const uri of ['http://localhost:1/cb', 'http://127.0.0.1/', 'http://[::1]:33418/a/b?c=d']) {
    t.match(await send(uri), { status: 200, body: /name="password"/ }, uri)
  }
  for (const uri of [
    'https://localhost/cb',
    'http://example.com/cb',
    'http://localhost.example.com/',
    'http://localhost@example.com/',
    'http://ada@localhost/',
    'http://127.0.0.1/#x',
    'http://10.0.0.1/',
    'seed://cb',
    'nonsense',
    undefined
  ]) {
    t.match(await send(uri), { status: 400, body: /redirect_uri/ }, uri ?? 'none')
  }
})

t.test('refuses what it should', async (t) => {
  const dev = await start(t)
  const refusal = async (overrides: Record<string, string | undefined>) => (await errorOf(dev, overrides))[0]
  t.equal(await refusal({ nonce: undefined }), 'invalid_request')
  t.equal(await refusal({ code_challenge: undefined, code_challenge_method: undefined }), 'invalid_request')
  t.equal(await refusal({ resource: 'http://localhost:3000/mcp' }), 'invalid_target')
  t.equal(await refusal({ scope: undefined, nonce: undefined }), 'access_denied', 'nothing was asked for')
  t.equal(await refusal({ scope: 'mcp:read', nonce: undefined }), null, 'a nonce belongs to openid')
  dev.quirks.requireNonce = false
  t.equal(await refusal({ nonce: undefined }), null)
})

t.test('refresh tokens rotate, and a spent one ends the grant', async (t) => {
  const dev = await start(t)
  const first = await signIn(dev)
  t.match(await refresh(dev, first.refresh_token, { resource: 'http://localhost:3000/mcp' }), {
    status: 400,
    body: { error: 'invalid_target' }
  })
  const second = await refresh(dev, (await signIn(dev)).refresh_token)
  t.match(decodeJwt(second.body.access_token), {
    sub: 'ada',
    aud: dev.clientId,
    scope: SCOPE,
    groups: ['engineering', 'admins']
  })

  const spent = await signIn(dev)
  const { body: successor } = await refresh(dev, spent.refresh_token)
  t.not(successor.refresh_token, spent.refresh_token)
  t.match(await refresh(dev, spent.refresh_token), { status: 400, body: { error: 'invalid_grant' } })
  t.match(await refresh(dev, successor.refresh_token), { status: 400, body: { error: 'invalid_grant' } })
  t.match(await refresh(dev, second.body.refresh_token), { status: 200 }, 'other grants of the user live')
})

t.test('revokes one token, all of a user, and forgets users', async (t) => {
  const dev = await start(t)
  const [one, two, three] = [await signIn(dev), await signIn(dev), await signIn(dev)]
  const revoked = await fetch(`${dev.issuer}/token/revocation`, {
    method: 'POST',
    body: new URLSearchParams({ client_id: dev.clientId, token: one.refresh_token })
  })
  t.equal(revoked.status, 200)
  t.match(await refresh(dev, one.refresh_token), { status: 400 })
  const { body: successor } = await refresh(dev, two.refresh_token)
  dev.revoke('bob')
  t.match(await refresh(dev, successor.refresh_token), { status: 200 })
  dev.revoke('ada')
  t.match(await refresh(dev, three.refresh_token), { status: 400, body: { error: 'invalid_grant' } })

  const last = await signIn(dev)
  dev.users.splice(0, 1)
  t.match(await refresh(dev, last.refresh_token), { status: 400, body: { error: 'invalid_grant' } })
  t.equal((await start(t)).users.length, 2, 'another provider keeps its own users')
})

t.test('has the quirks of real providers', async (t) => {
  const dev = await start(t, {
    quirks: { opaqueTokens: true, noRefreshToken: true, missingGroups: true, emailVerified: false, issParameter: true }
  })
  t.match(await getJson(dev, DISCOVERY), { authorization_response_iss_parameter_supported: true })
  t.equal((await createBrowser().signIn(authorize(dev).url, ADA)).searchParams.get('iss'), dev.issuer)
  const tokens = await signIn(dev)
  t.notMatch(tokens.access_token, /\./)
  t.equal(tokens.refresh_token, undefined)
  t.match(decodeJwt(tokens.id_token), { email_verified: false, groups: undefined })

  Object.assign(dev.quirks, { opaqueTokens: false, noRefreshToken: false, refreshWithoutConsent: false })
  t.match(decodeJwt((await signIn(dev)).access_token), { email_verified: false, groups: undefined })
  const scope = 'openid offline_access'
  t.equal((await signIn(dev, { scope })).refresh_token, undefined, 'offline_access is dropped')
  t.type((await signIn(dev, { scope, prompt: 'consent' })).refresh_token, 'string')
})

t.test('userinfo answers for the access tokens that live, of either form', async (t) => {
  const dev = await start(t)
  const ada = {
    sub: 'ada',
    name: 'Ada Lovelace',
    preferred_username: 'ada',
    email: 'ada@example.com',
    email_verified: true,
    groups: ['engineering', 'admins']
  }
  for (const opaqueTokens of [false, true]) {
    Object.assign(dev.quirks, { opaqueTokens, groupsByScope: false })
    const tokens = await signIn(dev)
    t.equal(tokens.access_token.includes('.'), !opaqueTokens)
    t.strictSame(await askUserinfo(dev, tokens.access_token), { status: 200, challenge: null, body: ada })
    const narrow = await signIn(dev, { scope: 'openid email' })
    dev.quirks.groupsByScope = true
    t.strictSame((await askUserinfo(dev, narrow.access_token)).body, {
      sub: 'ada',
      email: ada.email,
      email_verified: true
    })
    const other = await signIn(dev, { scope: 'mcp:read', nonce: undefined })
    t.match(await askUserinfo(dev, other.access_token), {
      status: 403,
      challenge: 'Bearer error="insufficient_scope"',
      body: { error: 'insufficient_scope' }
    })
    dev.revoke('ada')
    t.match(await askUserinfo(dev, tokens.access_token), { status: 401 }, 'revoked')
  }
  const { id_token: identity, access_token: opaque } = await signIn(dev)
  dev.quirks.opaqueTokens = false
  const { access_token: jwt } = await signIn(dev)
  const { privateKey: stranger } = await generateKeyPair('ES256')
  const bad = [
    undefined,
    'made-up',
    'a.b.c',
    identity,
    await dev.mint(),
    await dev.mint({}, { kid: 'unknown' }),
    await dev.mint(decodeJwt(jwt), {}, stranger),
    await dev.mint({ ...decodeJwt(jwt), iss: 'http://localhost' }),
    await dev.mint({ ...decodeJwt(jwt), exp: 1 })
  ]
  for (const token of bad) {
    t.match(await askUserinfo(dev, token), { status: 401, challenge: 'Bearer error="invalid_token"' }, token ?? 'none')
  }
  t.equal((await askUserinfo(dev, await dev.mint(decodeJwt(jwt)))).status, 200)
  dev.users.splice(0, 1)
  for (const token of [opaque, jwt]) t.equal((await askUserinfo(dev, token)).status, 401, 'of a user who is gone')
})

t.test('ID tokens that say who signed in, and nothing else', async (t) => {
  const dev = await start(t, { quirks: { idTokenClaims: false } })
  const { id_token: token, access_token: access } = await signIn(dev)
  t.strictSame(Object.keys(decodeJwt(token)).sort(), ['aud', 'exp', 'iat', 'iss', 'nonce', 'sid', 'sub'])
  t.match((await askUserinfo(dev, access)).body, { name: 'Ada Lovelace', email: 'ada@example.com' })
  dev.quirks.idTokenClaims = true
  t.match(decodeJwt((await signIn(dev, { scope: 'openid' })).id_token), {
    name: undefined,
    email: undefined,
    groups: ['engineering', 'admins']
  })
})

t.test('fixed redirect URIs', async (t) => {
  const fixed = ['http://localhost:3000/oauth/callback', 'https://mcp.example.com/oauth/callback']
  const dev = await start(t, { fixedRedirectUris: fixed })
  const send = (uri: string | undefined) => createBrowser().get(authorize(dev, { redirect_uri: uri }).url)
  for (const uri of fixed) t.match(await send(uri), { status: 200, body: /name="password"/ }, uri)
  for (const uri of [
    'http://localhost:3001/oauth/callback',
    'http://localhost:3000/oauth/callback/',
    'http://127.0.0.1:3000/oauth/callback',
    REDIRECT_URI,
    'http://127.0.0.1/',
    undefined
  ]) {
    t.match(await send(uri), { status: 400, body: /redirect_uri/ }, uri ?? 'none')
  }
  t.type((await postToken(dev, await getCode(dev, { redirect_uri: fixed[0] }))).body.access_token, 'string')
})

t.test('clients that authenticate in every way', async (t) => {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const dev = await start(t, {
    clientPublicJwks: { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] }
  })
  const id = `${dev.clientId}-key`
  const assertion = (audience: string, key = privateKey) =>
    new SignJWT({ jti: randomUUID() })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer(id)
      .setSubject(id)
      .setAudience(audience)
      .setExpirationTime('1m')
      .sign(key)
  const byKey = async (proof: string) => postToken(dev, {
    ...await getCode(dev, { client_id: id }),
    client_assertion: proof,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  })
  for (const audience of [dev.issuer, `${dev.issuer}/token`]) {
    t.match(await byKey(await assertion(audience)), { status: 200, body: { token_type: 'Bearer' } }, audience)
  }
  t.equal(dev.lastTokenRequest().scheme, undefined)
  dev.quirks.trailingSlashIssuer = true
  t.match(await byKey(await assertion(`${dev.issuer}/`)), { status: 200 }, 'the issuer as it is called now')
  const { privateKey: stranger } = await generateKeyPair('ES256')
  for (const wrong of [await assertion('http://localhost'), await assertion(dev.issuer, stranger)]) {
    t.match(await byKey(wrong), { status: 401, body: { error: 'invalid_client' } })
  }

  const post = `${dev.clientId}-post`
  t.match(await postToken(dev, await getCode(dev, { client_id: post })), { status: 401 })
  t.match(await postToken(dev, { ...(await getCode(dev, { client_id: post })), client_secret: 'dev-secret' }), {
    status: 200
  })
  t.match(dev.lastTokenRequest().form, { client_id: post, client_secret: 'dev-secret' })
  t.match(
    await createBrowser().get(authorize(await start(t), { client_id: id }).url),
    { status: 400, body: /invalid_client/ },
    'no keys, no client'
  )
})

t.test('is like Google', async (t) => {
  const dev = await start(t, {
    quirks: {
      opaqueTokens: true,
      refuseOfflineAccess: true,
      offlineByParameter: true,
      scopeAliases: true,
      hostedDomain: 'example.com'
    }
  })
  t.match(await errorOf(dev, { scope: 'openid offline_access' }), ['invalid_scope', /offline_access/])
  for (const parameters of [
    {},
    { access_type: 'offline' },
    { prompt: 'consent' },
    { access_type: 'online', prompt: 'consent' }
  ]) {
    t.equal((await signIn(dev, parameters)).refresh_token, undefined, JSON.stringify(parameters))
  }
  const tokens = await signIn(dev, { access_type: 'offline', prompt: 'select_account consent' })
  const scope =
    'openid https://www.googleapis.com/auth/userinfo.profile https://www.googleapis.com/auth/userinfo.email groups mcp:read'
  t.equal(tokens.scope, scope)
  t.match(decodeJwt(tokens.id_token), { hd: 'example.com', name: 'Ada Lovelace', email: 'ada@example.com' })
  t.match((await askUserinfo(dev, tokens.access_token)).body, { hd: 'example.com', email: 'ada@example.com' })
  const { body } = await refresh(dev, tokens.refresh_token)
  t.equal(body.scope, scope)
  t.match(
    await refresh(dev, body.refresh_token, { scope }),
    { status: 200, body: { scope } },
    'understands its own names'
  )
  dev.quirks.noRefreshToken = true
  t.equal((await signIn(dev, { access_type: 'offline', prompt: 'consent' })).refresh_token, undefined)
})

t.test('is like Entra', async (t) => {
  const tid = '11111111-2222-3333-4444-555555555555'
  const dev = await start(t, {
    quirks: { refuseResource: true, refreshNeedsScope: true, issuerTemplate: tid, groupsOverage: true }
  })
  const iss = `${dev.issuer}/${tid}/v2.0`
  for (const path of [DISCOVERY, `/common/v2.0${DISCOVERY}`]) {
    t.match(await getJson(dev, path), { issuer: `${dev.issuer}/{tenantid}/v2.0`, jwks_uri: `${dev.issuer}/jwks` }, path)
  }
  t.match(await getJson(dev, `/${tid}/v2.0${DISCOVERY}`), { issuer: iss, token_endpoint: `${dev.issuer}/token` })
  t.strictSame(dev.hits(), { [DISCOVERY]: 3 })

  const resource = 'urn:seed:dev'
  t.match(await errorOf(dev, { resource }), ['invalid_request', /^AADSTS9010010/])
  t.match(await postToken(dev, { ...(await getCode(dev)), resource }), {
    status: 400,
    body: { error: 'invalid_request', error_description: /^AADSTS9010010/ }
  })

  const tokens = await signIn(dev)
  const keys = await getJson<JSONWebKeySet>(dev, '/jwks')
  const identity = (await verify(tokens.id_token, keys, { issuer: iss, audience: dev.clientId })).payload
  t.match(identity, {
    tid,
    hasgroups: true,
    _claim_names: { groups: 'src1' },
    _claim_sources: { src1: { endpoint: /ada/ } },
    groups: undefined
  })
  t.match((await verify(tokens.access_token, keys, { issuer: iss, audience: dev.clientId, typ: 'at+jwt' })).payload, {
    tid
  })
  t.equal((await askUserinfo(dev, tokens.access_token)).body['tid'], tid)
  t.equal(decodeJwt(await dev.mint()).iss, iss)

  t.match(await refresh(dev, tokens.refresh_token, { resource }), { status: 400, body: { error: 'invalid_request' } })
  const { body: useless } = await refresh(dev, tokens.refresh_token)
  t.equal(decodeJwt(useless.access_token).aud, '00000003-0000-0000-c000-000000000000')
  const { body: useful } = await refresh(dev, useless.refresh_token, { scope: SCOPE })
  t.equal(decodeJwt(useful.access_token).aud, dev.clientId)
})

t.test('is like Auth0', async (t) => {
  const dev = await start(t, {
    audience: 'api://seed',
    quirks: { audienceParameter: true, trailingSlashIssuer: true, issParameter: true }
  })
  t.match(await getJson(dev, DISCOVERY), { issuer: `${dev.issuer}/` })
  t.equal((await createBrowser().signIn(authorize(dev).url, ADA)).searchParams.get('iss'), `${dev.issuer}/`)
  for (const audience of [undefined, 'api://other']) {
    const tokens = await signIn(dev, { audience })
    t.notMatch(tokens.access_token, /\./)
    t.equal((await askUserinfo(dev, tokens.access_token)).status, 200)
    t.equal(decodeJwt(tokens.id_token).iss, `${dev.issuer}/`)
    t.notMatch((await refresh(dev, tokens.refresh_token)).body.access_token, /\./)
  }
  const tokens = await signIn(dev, { audience: 'api://seed' })
  t.match(decodeJwt(tokens.access_token), { iss: `${dev.issuer}/`, aud: 'api://seed' })
  t.match(decodeJwt((await refresh(dev, tokens.refresh_token)).body.access_token), { aud: 'api://seed' })
})

t.test('is like Okta, Keycloak and authentik', async (t) => {
  const dev = await start(t, { quirks: { groupsByScope: true } })
  const groupsIn = async (scope: string) => {
    const { id_token: identity, access_token: access } = await signIn(dev, { scope })
    return [decodeJwt(identity), decodeJwt(access)].map(({ groups, realm_access: realm }) => groups ?? realm)
  }
  t.strictSame(await groupsIn('openid profile'), [undefined, undefined])
  t.strictSame(await groupsIn('openid groups'), [ADAS_GROUPS, ADAS_GROUPS])
  dev.quirks.groupsByScope = false
  t.strictSame(await groupsIn('openid'), [ADAS_GROUPS, ADAS_GROUPS])
  dev.quirks.groupPaths = true
  t.strictSame(await groupsIn('openid'), [['/engineering', '/admins'], ['/engineering', '/admins']])
  dev.quirks.rolesClaim = true
  t.strictSame(await groupsIn('openid'), [{ roles: ADAS_GROUPS }, { roles: ADAS_GROUPS }])
  dev.quirks.emptyJwks = true
  t.strictSame(await getJson(dev, '/jwks'), { keys: [] })
})

t.test('gives the company\'s client an ID-JAG for a server, for whom and for what its policy says', async (t) => {
  const rule = {
    client: 'company-app',
    audience: 'https://seed.example',
    resource: 'https://seed.example/mcp',
    clientIdThere: 'app-at-seed',
    users: ['ada'],
    scopes: ['openid', 'mcp:read']
  }
  const dev = await start(t, { enterpriseRules: [rule] })
  const credentials = { client_id: 'company-app', client_secret: 'dev-secret' }
  const idTokenOf = async (login: string, client = credentials) => {
    const { url, verifier } = authorize(dev, { client_id: client.client_id })
    const answer = await createBrowser().signIn(url, { login, password: login })
    const parameters = { grant_type: 'authorization_code', code: answer.searchParams.get('code')!, ...client }
    return (await postToken(dev, { ...parameters, redirect_uri: REDIRECT_URI, code_verifier: verifier })).body.id_token
  }
  const idToken = await idTokenOf('ada')
  const exchange = (changes: Record<string, string> = {}) => postToken(dev, {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    requested_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
    subject_token: idToken,
    subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
    audience: 'https://seed.example/',
    resource: 'https://seed.example/mcp',
    ...credentials,
    ...changes
  })

  const { status, body } = await exchange({ scope: 'mcp:read mcp:write' })
  t.match({ status, body }, {
    status: 200,
    body: { issued_token_type: 'urn:ietf:params:oauth:token-type:id-jag', token_type: 'N_A', scope: /^mcp:read$/ }
  })
  const keys = await getJson<JSONWebKeySet>(dev, '/jwks')
  const { payload, protectedHeader } = await verify(body.access_token, keys)
  const { iat, exp, jti, ...claims } = payload
  t.same([protectedHeader.typ, exp! - iat!, typeof jti], ['oauth-id-jag+jwt', 300, 'string'])
  t.same(claims, {
    iss: dev.issuer,
    sub: 'ada',
    aud: 'https://seed.example',
    client_id: 'app-at-seed',
    resource: 'https://seed.example/mcp',
    scope: 'mcp:read',
    email: 'ada@example.com'
  })
  t.match((await exchange()).body, { scope: /^openid mcp:read$/ }, 'without a scope, all that the rule allows')

  const publicClients = await idTokenOf('ada', { client_id: dev.clientId } as typeof credentials)
  for (const [error, changes] of [
    ['invalid_target', { audience: 'https://other.example' }],
    ['invalid_target', { resource: 'https://seed.example/other' }],
    ['invalid_target', { subject_token: await idTokenOf('bob') }],
    ['invalid_target', { ...{ client_id: dev.clientId, client_secret: '' }, subject_token: publicClients }],
    ['invalid_request', { subject_token: publicClients }],
    ['invalid_request', { subject_token: 'no.jwt.at-all' }],
    ['invalid_request', { subject_token_type: 'urn:ietf:params:oauth:token-type:access_token' }]
  ] as Array<[string, Record<string, string>]>) {
    t.match(await exchange(changes), { status: 400, body: { error } }, JSON.stringify(changes).slice(0, 80))
  }

  delete (dev.enterpriseRules[0] as { users?: string[] }).users
  delete (dev.enterpriseRules[0] as { scopes?: string[] }).scopes
  const bobs = (await exchange({ subject_token: await idTokenOf('bob') })).body
  t.match(decodeJwt(bobs.access_token), { sub: 'bob', scope: undefined }, 'a rule for everybody that names no scope')
})

/** An access token of the confidential client's, which is the one to exchange it. */
async function subjectToken (dev: DevProvider): Promise<string> {
  const { client_id: clientId, ...form } = await getCode(dev, { client_id: 'seed-dev-confidential' })
  const { body } = await postToken(dev, form, basic(clientId))
  return body.access_token
}

const basic = (clientId: string) => ({
  authorization: `Basic ${Buffer.from(`${clientId}:dev-secret`).toString('base64')}`
})

t.test('exchanges an access token for one for another API (RFC 8693)', async (t) => {
  const token = 'urn:ietf:params:oauth:token-type:access_token'
  for (const opaqueTokens of [false, true]) {
    const dev = await start(t, { quirks: { opaqueTokens, exchangeAudiences: ['orders'], exchangedTtlSeconds: 60 } })
    const form = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: await subjectToken(dev),
      subject_token_type: token,
      audience: 'orders'
    }
    const exchange = (changes: Record<string, string> = {}, client = 'seed-dev-confidential') =>
      postToken(dev, { ...form, ...changes }, basic(client))

    const { status, body } = await exchange({ scope: 'mcp:read' })
    t.match(
      { status, body },
      { status: 200, body: { issued_token_type: token, token_type: 'Bearer', expires_in: 60, scope: 'mcp:read' } }
    )
    const { payload } = await verify(body.access_token, await getJson(dev, '/jwks'), {
      issuer: dev.issuer,
      audience: 'orders',
      typ: 'at+jwt'
    })
    t.match(payload, {
      sub: 'ada',
      azp: 'seed-dev-confidential',
      act: { sub: 'seed-dev-confidential' },
      scope: 'mcp:read'
    })
    t.notHas((await exchange()).body, { scope: '' })
    t.equal((await askUserinfo(dev, body.access_token)).status, 401, 'it is for that API and for nothing here')

    for (const [changes, error] of [
      [{ audience: 'salaries' }, 'invalid_target'],
      [{ audience: '' }, 'invalid_target'],
      [{ scope: 'everything' }, 'invalid_scope'],
      [{ subject_token: 'x' }, 'invalid_request'],
      [{ subject_token: '' }, 'invalid_request'],
      [{ subject_token: await dev.mint() }, 'invalid_request'],
      [{ subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' }, 'invalid_request'],
      [{ requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }, 'invalid_request']
    ] as Array<[Record<string, string>, string]>) {
      t.match(await exchange(changes), { status: 400, body: { error } }, JSON.stringify(changes))
    }
    t.match(
      await exchange({ client_id: 'seed-dev-post', client_secret: 'dev-secret' }, 'seed-dev-post'),
      { status: 400 },
      'two ways of authentication'
    )
    t.match(
      await postToken(dev, { ...form, client_id: 'seed-dev-post', client_secret: 'dev-secret' }),
      { status: 400, body: { error: 'invalid_request' } },
      "another client's token"
    )
    t.match(
      await postToken(dev, { ...form, client_id: dev.clientId }),
      { status: 400, body: { error: 'unauthorized_client' } },
      'a public client'
    )
    t.match(
      await postToken(dev, { grant_type: 'client_credentials', audience: 'orders', client_id: dev.clientId }),
      { status: 400, body: { error: 'unauthorized_client' } },
      'a public client has no credentials'
    )
    t.match(await postToken(dev, form, { authorization: 'Basic eDp5' }), {
      status: 401,
      body: { error: 'invalid_client' }
    })

    for (const delegation of ['on-behalf-of', undefined] as const) {
      dev.quirks.delegation = delegation
      t.match(await exchange(), { status: 400, body: { error: 'unsupported_grant_type' } })
    }
    dev.quirks.delegation = 'token-exchange'
    dev.revoke('ada')
    t.match(await exchange(), { status: 400, body: { error: 'invalid_request' } }, 'a token that was revoked')
  }
})

t.test("gives tokens on behalf of a user, in Entra's way", async (t) => {
  const dev = await start(t, { quirks: { delegation: 'on-behalf-of', exchangeAudiences: ['api://orders'] } })
  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion: await subjectToken(dev),
    requested_token_use: 'on_behalf_of',
    scope: 'api://orders/Read api://orders/Write'
  }
  const send = (changes: Record<string, string> = {}) =>
    postToken(dev, { ...form, ...changes }, basic('seed-dev-confidential'))
  const { body } = await send()
  t.match(decodeJwt(body.access_token), { aud: 'api://orders', sub: 'ada', scope: 'Read Write' })
  t.notHas(body, { issued_token_type: '' })
  for (const [changes, error] of [
    [{ scope: 'api://salaries/.default' }, 'invalid_scope'],
    [{ scope: 'api://orders/Read api://salaries/Read' }, 'invalid_scope'],
    [{ scope: '' }, 'invalid_scope'],
    [{ requested_token_use: '' }, 'invalid_request'],
    [{ assertion: '' }, 'invalid_grant'],
    [{ assertion: await dev.mint() }, 'invalid_grant']
  ] as Array<[Record<string, string>, string]>) {
    t.match(await send(changes), { status: 400, body: { error } }, JSON.stringify(changes))
  }
  dev.quirks.delegation = 'token-exchange'
  t.match(await send(), { status: 400, body: { error: 'unsupported_grant_type' } })
})

t.test('rotates refresh tokens of confidential clients, and does not say how long a token lives, when told so', async (t) => {
  const dev = await start(t)
  const { client_id: clientId, ...form } = await getCode(dev, { client_id: 'seed-dev-confidential' })
  const { refresh_token: first } = (await postToken(dev, form, basic(clientId))).body
  const use = async () =>
    (await postToken(dev, { grant_type: 'refresh_token', refresh_token: first }, basic(clientId))).body
  const usual = await use()
  t.equal(usual.refresh_token, first)
  t.has(usual, { expires_in: 3600 })
  Object.assign(dev.quirks, { rotateAlways: true, noExpiresIn: true })
  const changed = await use()
  t.not(changed.refresh_token, first)
  t.notOk('expires_in' in changed)
})

t.test('has no revocation endpoint when told so', async (t) => {
  const dev = await start(t, { quirks: { noRevocation: true } })
  t.notHas(await getJson(dev, DISCOVERY), 'revocation_endpoint')
  const { refresh_token: token } = await signIn(dev)
  const revoke = () =>
    fetch(`${dev.issuer}/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: dev.clientId, token })
    })
  t.equal((await revoke()).status, 404)
  t.match(await refresh(dev, token), { status: 200 })
})

t.test('spoils ID tokens', async (t) => {
  const dev = await start(t)
  const keys = await getJson<JSONWebKeySet>(dev, '/jwks')
  dev.quirks.idToken = (claims) => ({ claims: { ...claims, nonce: 'another', iss: 'http://localhost' } })
  const wrong = (await verify((await signIn(dev)).id_token, keys)).payload
  t.match(wrong, { nonce: 'another', iss: 'http://localhost', aud: dev.clientId, sub: 'ada' })
  dev.quirks.idToken = (claims) => ({ claims, header: { alg: 'none' } })
  const unsigned = (await signIn(dev)).id_token
  t.match(unsigned, /\.$/)
  t.match(decodeProtectedHeader(unsigned), { alg: 'none', kid: keys.keys[0]!.kid })
  t.equal(decodeJwt(unsigned).sub, 'ada')
  const { privateKey: key } = await generateKeyPair('ES256')
  dev.quirks.idToken = (claims) => ({ claims, header: { alg: 'ES256', kid: 'unknown' }, key })
  t.match(decodeProtectedHeader((await signIn(dev)).id_token), { alg: 'ES256', kid: 'unknown' })
  dev.quirks.idToken = () => undefined
  const { id_token: fine, refresh_token: token } = await signIn(dev)
  await verify(fine, keys, { issuer: dev.issuer })
  dev.quirks.idToken = (claims) => ({ claims: { ...claims, sub: 'bob' } })
  t.equal(decodeJwt((await refresh(dev, token)).body.id_token).sub, 'bob', 'refreshed ones too')
})

t.test('tells clients that a user signed out', async (t) => {
  const dev = await start(t)
  const seen: Array<{ type: string | undefined, token: string }> = []
  const server = createServer(async (req, res) => {
    seen.push({ type: req.headers['content-type'], token: new URLSearchParams(await text(req)).get('logout_token')! })
    res.writeHead(302, { location: 'http://example.com/' }).end()
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/logout`

  t.equal((await dev.backchannelLogout('ada', uri)).status, 302, 'redirects are not followed')
  const before = decodeJwt(seen[0]!.token)
  t.match(before, { sub: 'ada', sid: undefined })
  const { id_token: old, refresh_token: oldRefresh } = await signIn(dev)
  const { id_token: identity } = await signIn(dev)
  t.not(decodeJwt(identity)['sid'], decodeJwt(old)['sid'])
  t.equal(decodeJwt((await refresh(dev, oldRefresh)).body.id_token)['sid'], decodeJwt(old)['sid'])
  await dev.backchannelLogout('ada', uri)
  t.match(seen[1]!.type, /^application\/x-www-form-urlencoded/)
  const { payload } = await verify(seen[1]!.token, await getJson(dev, '/jwks'), {
    issuer: dev.issuer,
    audience: dev.clientId,
    typ: 'logout+jwt',
    requiredClaims: ['iat', 'exp', 'jti']
  })
  t.match(payload, {
    sub: 'ada',
    sid: decodeJwt(identity)['sid'],
    events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    nonce: undefined
  })
  t.not(payload.jti, before.jti)

  const secret = randomBytes(32)
  await dev.backchannelLogout('bob', uri, {
    claims: { sub: undefined, sid: 'x', nonce: 'n', aud: 'other' },
    header: { typ: 'JWT', alg: 'HS256' },
    key: secret
  })
  t.match((await jwtVerify(seen[2]!.token, secret, { typ: 'JWT' })).payload, {
    sub: undefined,
    sid: 'x',
    nonce: 'n',
    aud: 'other'
  })
  await t.rejects(dev.backchannelLogout('ada', 'http://example.com/logout'), { message: /stays on loopback/ })
})

t.test('remembers what it was asked', async (t) => {
  const dev = await start(t)
  t.strictSame([dev.lastAuthorization(), dev.lastTokenRequest()], [{}, { form: {}, scheme: undefined }])
  const { url } = authorize(dev, { login_hint: '"ada"', prompt: 'select_account', max_age: '600', unheard_of: 'yes' })
  const page = await createBrowser().get(url)
  t.match(page, { status: 200, body: /value="&#34;ada&#34;"/ })
  t.strictSame(dev.lastAuthorization(), Object.fromEntries(new URL(url).searchParams))
  t.equal(page.forms[0]!.fields['login'], '"ada"')

  dev.setFault('/token', 'down')
  await t.rejects(
    postToken(
      dev,
      { grant_type: 'refresh_token', refresh_token: 'x', unheard_of: 'y' },
      { authorization: 'Basic eA==' }
    )
  )
  t.strictSame(dev.lastTokenRequest(), {
    form: { grant_type: 'refresh_token', refresh_token: 'x', unheard_of: 'y' },
    scheme: 'Basic'
  })
  const { status } = await fetch(`${(await start(t)).issuer}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}'
  })
  t.equal(status, 400, 'only forms')
})

t.test('says when the user signed in, to those who ask', async (t) => {
  const dev = await start(t)
  const browser = createBrowser()
  const timeOf = async (overrides: Record<string, string>) =>
    decodeJwt((await signIn(dev, overrides, browser)).id_token)['auth_time']
  t.equal(await timeOf({}), undefined)
  const first = await timeOf({ max_age: '600' })
  t.ok(Math.abs(Date.now() / 1000 - Number(first)) < 30)
  await sleep(1100)
  t.equal(await timeOf({ max_age: '600' }), first, 'the session is young enough')
  t.ok(Number(await timeOf({ max_age: '0' })) > Number(first))
  const { body } = await refresh(dev, (await signIn(dev, { max_age: '600', prompt: 'login' }, browser)).refresh_token)
  t.type(decodeJwt(body.id_token)['auth_time'], 'number')
  t.match(await errorOf(dev, { prompt: 'none' }), ['login_required'])
})

t.test('signs in at the level that is asked for, and asks again for one that the session does not have', async (t) => {
  const dev = await start(t)
  const browser = createBrowser()
  const [first, second] = ['urn:seed:dev:password', 'urn:seed:dev:second-factor']
  const levelOf = async (acrValues: string) =>
    decodeJwt((await signIn(dev, { acr_values: acrValues }, browser)).id_token)['acr']
  t.equal(await levelOf('unknown'), first)
  t.equal(await levelOf(`unknown ${second} ${first}`), second)
  t.equal((await browser.get(authorize(dev, { acr_values: second! }).url)).forms.length, 0, 'without another sign-in')
  t.equal(await levelOf(first!), first)
})

t.test('breaks at userinfo, revocation and the token endpoint', async (t) => {
  const dev = await start(t)
  for (const path of ['/me', '/token/revocation', '/token']) {
    dev.setFault(path, { status: 503, json: { error: 'temporarily_unavailable' } })
    const response = await fetch(dev.issuer + path, { method: 'POST', body: new URLSearchParams({ a: 'b' }) })
    t.strictSame([response.status, await response.json()], [503, { error: 'temporarily_unavailable' }], path)
  }
  t.strictSame(dev.hits(), { '/me': 1, '/token/revocation': 1, '/token': 1 })
  dev.setFault('/me', { slow: 10 })
  t.equal((await askUserinfo(dev, undefined)).status, 401)
})

t.test('rotates its keys while it runs', async (t) => {
  const dev = await start(t)
  const browser = createBrowser()
  const before = await signIn(dev, {}, browser)
  await dev.rotateKeys()
  const both = await getJson<JSONWebKeySet>(dev, '/jwks')
  t.equal(both.keys.length, 2)
  await verify(before.access_token, both)
  const { status } = await browser.get(authorize(dev).url)
  t.equal(status, 0, 'the session lives')
  const { body: after } = await refresh(dev, before.refresh_token)
  t.not(decodeProtectedHeader(after.access_token).kid, decodeProtectedHeader(before.access_token).kid)

  await dev.rotateKeys({ keepOld: false })
  const one = await getJson<JSONWebKeySet>(dev, '/jwks')
  t.equal(one.keys.length, 1)
  await t.rejects(verify(after.access_token, one), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
  await verify(await dev.mint(), one)
  t.strictSame(Object.keys(one.keys[0]!).filter((name) => ['d', 'p', 'q'].includes(name)), [], 'no private parts')
})

t.test('mints any token', async (t) => {
  const dev = await start(t)
  const keys = await getJson<JSONWebKeySet>(dev, '/jwks')
  const good = await verify(await dev.mint(), keys, {
    issuer: dev.issuer,
    audience: dev.clientId,
    typ: 'at+jwt',
    requiredClaims: ['sub', 'client_id', 'scope', 'iat', 'exp', 'jti']
  })
  t.equal(good.payload.exp! - good.payload.iat!, 300)
  const odd = await dev.mint({ sub: 'bob', exp: undefined }, { typ: 'JWT', kid: undefined })
  t.match(decodeJwt(odd), { sub: 'bob', exp: undefined, aud: dev.clientId })
  t.strictSame(decodeProtectedHeader(odd), { alg: 'ES256', typ: 'JWT' })
  const secret = randomBytes(32)
  await jwtVerify(await dev.mint({}, { alg: 'HS256' }, secret), secret)
})

t.test('breaks on command', async (t) => {
  const dev = await start(t)
  const send = (signal?: AbortSignal) => fetch(dev.issuer + DISCOVERY, { redirect: 'manual', signal: signal ?? null })

  dev.setFault(DISCOVERY, 'down')
  await t.rejects(send(), { message: 'fetch failed' })
  dev.setFault(DISCOVERY, 'hang')
  await t.rejects(send(AbortSignal.timeout(50)), { name: 'TimeoutError' })
  dev.setFault(DISCOVERY, 503)
  const failed = await send()
  t.strictSame([failed.status, await failed.text(), failed.headers.get('content-type')], [503, '', null])
  dev.setFault(DISCOVERY, { status: 403, json: { error: 'invalid_code' } })
  const odd = await send()
  t.strictSame([odd.status, await odd.json()], [403, { error: 'invalid_code' }])
  dev.setFault(DISCOVERY, 'html')
  const page = await send()
  t.strictSame([page.status, page.headers.get('content-type')], [200, 'text/html; charset=utf-8'])
  dev.setFault(DISCOVERY, 'huge')
  const huge = await send()
  t.equal(huge.headers.get('content-length'), null)
  t.ok((await huge.text()).length > 16_000_000)
  dev.setFault(DISCOVERY, 'redirect')
  const redirect = await send()
  t.strictSame([redirect.status, redirect.headers.get('location')], [302, '/redirected'])
  dev.setFault(DISCOVERY, 'wrong-issuer')
  t.match(await getJson(dev, DISCOVERY), { issuer: `${dev.issuer}/other` })
  dev.setFault(DISCOVERY, { slow: 60 })
  const sent = Date.now()
  t.match(await getJson(dev, DISCOVERY), { issuer: dev.issuer })
  t.ok(Date.now() - sent >= 55)

  dev.setFault(DISCOVERY, undefined)
  t.equal((await send()).status, 200)
  dev.setFault('*', 500)
  t.equal((await fetch(`${dev.issuer}/jwks`)).status, 500)
})

t.test('logs its own failures', async (t) => {
  const lines: string[] = []
  const dev = await start(t, { log: (line) => lines.push(line) })
  Object.defineProperty(dev.quirks, 'opaqueTokens', { get () { throw new Error('a broken test') } })
  t.match(await createBrowser().get(authorize(dev).url), { status: 500, body: /server_error/ })
  t.ok(lines.some((line) => line.startsWith('error Error: a broken test')))
})

t.test('stops, and starts again on the same port with what it knew', async (t) => {
  const dev = await start(t)
  const { refresh_token: token } = await signIn(dev)
  dev.setFault('/jwks', 'hang')
  const hanging = fetch(`${dev.issuer}/jwks`).catch((error: Error) => error.message)
  while (dev.hits()['/jwks'] === undefined) await turn()
  await dev.stop()
  t.equal(await hanging, 'fetch failed', 'open connections are dropped')
  await t.rejects(fetch(dev.issuer + DISCOVERY), { cause: { code: 'ECONNREFUSED' } })
  await dev.stop()
  await dev.start()
  t.match(await getJson(dev, DISCOVERY), { issuer: dev.issuer })
  t.match(await refresh(dev, token), { status: 200 })
})

t.test('the adapter keeps what lives, however much, and sweeps out what does not', async (t) => {
  const { open, size } = createStorage(10)
  const sessions = open('Session')
  await sessions.upsert('dead', { uid: 'dead' }, 0)
  t.equal(await sessions.find('dead'), undefined)
  t.equal(await sessions.findByUid('dead'), undefined)
  for (let i = 0; i < 2000; i++) await open('Grant').upsert(`${i}`, { accountId: 'ada' }, 60)
  t.equal(size(), 2000)
  t.match(await open('Grant').find('0'), { accountId: 'ada' })
  await sessions.upsert('alive', { uid: 'one' }, 60)
  t.match(await sessions.findByUid('one'), { uid: 'one' })
  await sessions.consume('alive')
  t.type((await sessions.find('alive'))!.consumed, 'number')
  await t.resolves(sessions.consume('dead'))
  await sessions.destroy('alive')
  t.equal(await sessions.findByUid('one'), undefined)
})

t.test('the scripted browser stays on loopback', async (t) => {
  await t.rejects(createBrowser().get('http://example.com/'), { message: /stays on loopback/ })
  await t.rejects(createBrowser().get('https://localhost/'), { message: /stays on loopback/ })
})

t.test('the scripted browser sends forms as a real one does', async (t) => {
  const seen: Array<Record<string, unknown>> = []
  const server = createServer(async (req, res) => {
    const { origin, cookie, 'sec-fetch-site': site } = req.headers
    const fields = new URLSearchParams(await text(req))
    seen.push({ method: req.method, url: req.url, origin, cookie, site, fields: Object.fromEntries(fields) })
    if (fields.has('decision')) {
      return res
        .writeHead(303, {
          location: `http://localhost:9/cb?${fields.get('decision') === 'allow' ? 'code=c' : 'error=access_denied'}`
        })
        .end()
    }
    if (req.url!.startsWith('/search')) return res.end('nothing found')
    if (req.url!.startsWith('/consent')) {
      return res.writeHead(200, {
        'content-type': 'text/html',
        'set-cookie': [
          'gone=; Max-Age=0; Path=/',
          'later=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/',
          'bound=1; HttpOnly; Path=/consent'
        ]
      }).end(`
        <form action=/search><input name=q value='it&apos;s'></form>
        <form method="POST" action="/consent?a=1&amp;b=2">
          <input type="hidden" name="token" value="&quot;&#60;&#x3E; &nope;">
          <input type="checkbox" name="remember" value="yes"><input type="checkbox" name="seen" value="yes" checked><input>
          <button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button>
        </form>`)
    }
    res
      .writeHead(302, {
        location: req.url === '/loop' ? '/loop' : '/consent',
        'set-cookie': ['gone=1; Path=/', 'later=1; Path=/', 'elsewhere=1; Path=/elsewhere', 'kept=a=b']
      })
      .end()
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const browser = createBrowser()
  const page = await browser.get(`${origin}/`)
  t.strictSame(page.forms[1]!.buttons, [{ name: 'decision', value: 'allow' }, { name: 'decision', value: 'deny' }])
  const denied = await browser.submit(page.forms[1]!, { decision: 'deny' })
  t.match(denied, { status: 0, url: { href: 'http://localhost:9/cb?error=access_denied' } })
  await browser.submit(page.forms[0]!)
  t.strictSame(seen, [
    { method: 'GET', url: '/', origin: undefined, cookie: undefined, site: 'none', fields: {} },
    {
      method: 'GET',
      url: '/consent',
      origin: undefined,
      cookie: 'gone=1; later=1; kept=a=b',
      site: 'none',
      fields: {}
    },
    {
      method: 'POST',
      url: '/consent?a=1&b=2',
      origin,
      cookie: 'kept=a=b; bound=1',
      site: 'same-origin',
      fields: { token: '"<> &nope;', seen: 'yes', decision: 'deny' }
    },
    { method: 'GET', url: '/search?q=it%27s', origin: undefined, cookie: 'kept=a=b', site: 'same-origin', fields: {} }
  ])

  const only = (await browser.get(`${origin}/consent`)).forms[1]!
  t.match(await browser.submit(only, { decision: 'allow' }, (url) => url.port === '9'), {
    url: { href: 'http://localhost:9/cb?code=c' }
  })
  await t.rejects(browser.get(`${origin}/loop`), { message: /More than 20 redirects/ })
})

t.test('a provider that does not decode Basic credentials serves public clients, which send none', async (t) => {
  const dev = await startDevProvider({ algorithm: 'ES256', quirks: { undecodedBasic: true } })
  t.teardown(async () => { await dev.close() })
  const form = { grant_type: 'refresh_token', client_id: dev.clientId, refresh_token: 'made-up' }
  t.match(await postToken(dev, form), { status: 400, body: { error: 'invalid_grant' } })
})
