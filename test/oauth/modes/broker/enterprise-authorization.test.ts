import { createHmac, createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto'
import { SignJWT, decodeJwt } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../../../src/define/tool.ts'
import { startDevProvider } from '../../../../dev/provider.ts'
import {
  SEED_SECRET, getTokens, newRequest, post, register, startBroker, startReplica
} from '../../../support/broker.ts'
import type { Answer } from '../../../support/broker.ts'
import { isError, withoutReference } from '../../../support/oauth-error.ts'
import { startOtlpReceiver } from '../../../support/otlp-receiver.ts'
import { ownRedisForTests } from '../../../support/redis.ts'
import { modernRequest, ping, ready, sendModern, startSeed } from '../../../support/seed.ts'
import type { TestSeed } from '../../../support/seed.ts'
import { until } from '../../../support/until.ts'

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const CLIENT = { client_id: 'company-client', client_secret: 'secret of the company client' }
const OTHER = { client_id: 'other-client', client_secret: 'secret of the other client' }
const named = (client: typeof CLIENT) =>
  ({ ...client, grant_types: [JWT_BEARER], token_endpoint_auth_method: 'client_secret_post' })
const ENV = {
  ENTERPRISE_AUTHORIZATION: 'also',
  OAUTH_CLIENTS: JSON.stringify([named(CLIENT), named(OTHER)]),
  OIDC_SCOPES: 'openid profile email offline_access',
  AUDIT_LOG: 'stdout'
}

const seconds = (): number => Math.floor(Date.now() / 1_000)

/** The claims of a good ID-JAG for Ada; undefined leaves one out. */
function assertionClaims ({ url }: Pick<TestSeed, 'url'>, changes: Record<string, unknown> = {}) {
  return {
    aud: url,
    client_id: CLIENT.client_id,
    resource: `${url}/mcp`,
    scope: 'openid email',
    email: 'ada@example.com',
    jti: randomUUID(),
    iat: seconds(),
    exp: seconds() + 300,
    ...changes
  }
}

async function mintAssertion (
  seed: TestSeed, changes: Record<string, unknown> = {}, header: Record<string, unknown> = {},
  key?: Parameters<TestSeed['provider']['mint']>[2]
): Promise<string> {
  return await seed.provider.mint(assertionClaims(seed, changes), { typ: 'oauth-id-jag+jwt', ...header }, key)
}

async function send (
  { url }: Pick<TestSeed, 'url'>, assertion: string, form: Record<string, string> = {}
): Promise<Answer> {
  return await post(`${url}/oauth/token`, {
    grant_type: JWT_BEARER, assertion, resource: `${url}/mcp`, ...CLIENT, ...form
  })
}

function isRefused (t: Test, answer: Answer, error: string, reason: RegExp, about: string): void {
  isError(t, answer, 400, error, about)
  t.match(withoutReference(answer.json['error_description']), reason, `${about}: the client is told why`)
}

t.test('the ID-JAG of a person becomes a short access token, without a page and without a refresh token', async (t) => {
  const seed = await startBroker(t, { env: { ...ENV, ACCESS_TOKEN_TTL: '3600' } })
  const answer = await send(seed, await mintAssertion(seed))
  const { access_token: token, ...rest } = answer.json
  t.same({ status: answer.statusCode, ...rest }, {
    status: 200, token_type: 'Bearer', expires_in: 900, scope: 'openid email'
  })
  const whoami = await callWhoami(seed, String(token))
  t.match(whoami, {
    kind: 'person', grantType: JWT_BEARER, subject: 'ada', email: 'ada@example.com', clientId: CLIENT.client_id
  })
  const { accessToken } = await getTokens(seed)
  t.match([decodeJwt(accessToken).sub, decodeJwt(accessToken).iss], [whoami['subject'], whoami['issuer']],
    'the same person as after a sign-in')
  const audited = seed.logs.find((line) => line['event'] === 'sign_in' && line['client'] === CLIENT.client_id)
  t.match(audited, { outcome: 'ok', subject: 'ada', issuer: seed.url, kind: 'configured', grantType: JWT_BEARER })
})

t.test('an ID-JAG may write the audience and the resource as real providers do', async (t) => {
  const seed = await startBroker(t, { env: ENV })
  for (const changes of [
    { aud: `${seed.url}/` },
    { aud: [seed.url] },
    { resource: undefined },
    { resource: [`${seed.url}/mcp`] },
    { resource: `${seed.url}/mcp/` },
    { iat: seconds() + 20 },
    { iat: seconds() - 0.5, exp: seconds() + 60.5 },
    { exp: seconds() - 20, iat: seconds() - 300 }
  ]) {
    t.equal((await send(seed, await mintAssertion(seed, changes))).statusCode, 200, JSON.stringify(changes))
  }
})

t.test('scopes are those of the request, the ID-JAG and the server', async (t) => {
  const seed = await startBroker(t, { env: ENV })
  const scopeOf = async (held: string | undefined, form: Record<string, string> = {}) =>
    (await send(seed, await mintAssertion(seed, { scope: held }), form)).json['scope']
  t.equal(await scopeOf('email unknown:scope'), 'email', 'an unknown scope of the ID-JAG')
  t.equal(await scopeOf('openid email', { scope: 'email profile' }), 'email', 'a scope beyond the ID-JAG')
  t.equal(await scopeOf(undefined), 'openid profile email', 'an ID-JAG that says nothing about scopes')
  t.equal(await scopeOf('openid offline_access'), 'openid', 'there is no refresh token')
  const answer = await send(seed, await mintAssertion(seed), { scope: 'profile' })
  isRefused(t, answer, 'invalid_scope', /No scope is left/, 'none in common')
})

t.test('what is no good ID-JAG for this server, this client and now is an invalid_grant, and in no record', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const seed = await startBroker(t, { env: { ...ENV, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url } })
  const { keys: [published] } = await (await fetch(`${seed.provider.issuer}/jwks`)).json() as { keys: [{ kid: string }] }
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const signedIn = await getTokens(seed)
  const good = await mintAssertion(seed)
  const [header, payload] = good.split('.') as [string, string]
  const hs256 = Buffer.from(JSON.stringify({ alg: 'HS256', typ: 'oauth-id-jag+jwt', kid: published.kid }))
    .toString('base64url')
  const mac = createHmac('sha256', JSON.stringify(published)).update(`${hs256}.${payload}`).digest('base64url')
  const strangersJwk = createPublicKey(stranger).export({ format: 'jwk' })
  const criticalHeader = Buffer.from(JSON.stringify({
    ...JSON.parse(Buffer.from(header, 'base64url').toString()) as object, crit: ['exp'], exp: 1
  })).toString('base64url')
  const nested = JSON.parse(`${'{"a":'.repeat(200)}1${'}'.repeat(200)}`) as unknown

  const rows: Array<[about: string, assertion: string, reason: RegExp, form?: Record<string, string>]> = [
    ['another audience', await mintAssertion(seed, { aud: 'https://other.example' }), /aud must be/],
    ['two audiences', await mintAssertion(seed, { aud: [seed.url, 'https://other.example'] }), /aud must be/],
    ['no audience', await mintAssertion(seed, { aud: undefined }), /aud must be/],
    ['the resource as audience', await mintAssertion(seed, { aud: `${seed.url}/mcp` }), /aud must be/],
    ['another resource', await mintAssertion(seed, { resource: 'https://other.example/mcp' }), /resource must be/],
    ['two resources', await mintAssertion(seed, { resource: [`${seed.url}/mcp`, 'https://other.example'] }), /resource/],
    ['an empty list of resources', await mintAssertion(seed, { resource: [] }), /resource must be/],
    ['a resource that is no text', await mintAssertion(seed, { resource: 1 }), /resource must be/],
    ['another client', good, /client_id must be/, OTHER],
    ['no client', await mintAssertion(seed, { client_id: undefined }), /client_id must be/],
    ['another issuer with the same key id',
      await mintAssertion(seed, { iss: 'https://evil.example' }, {}, stranger), /iss must be/],
    ['another issuer with the signature of the provider',
      await mintAssertion(seed, { iss: `${seed.provider.issuer}/` }), /iss must be/],
    ['no issuer', await mintAssertion(seed, { iss: undefined }), /iss must be/],
    ['the issuer named, signed by a stranger', await mintAssertion(seed, {}, {}, stranger), /signature is not valid/],
    ['a changed payload', `${header}.${payload.slice(0, -4)}AAAA.${good.split('.')[2]}`, /./],
    ['without typ', await mintAssertion(seed, {}, { typ: undefined }), /typ in its header/],
    ['typ JWT', await mintAssertion(seed, {}, { typ: 'JWT' }), /typ in its header/],
    ['typ at+jwt', await mintAssertion(seed, {}, { typ: 'at+jwt' }), /typ in its header/],
    ['typ in upper case', await mintAssertion(seed, {}, { typ: 'OAUTH-ID-JAG+JWT' }), /typ in its header/],
    ['expired', await mintAssertion(seed, { iat: seconds() - 400, exp: seconds() - 60 }), /has expired/],
    ['without exp', await mintAssertion(seed, { exp: undefined }), /exp is missing/],
    ['without iat', await mintAssertion(seed, { iat: undefined }), /iat is missing/],
    ['exp that is no number', await mintAssertion(seed, { exp: 'tomorrow' }), /exp is missing or not/],
    ['too long a life', await mintAssertion(seed, { exp: seconds() + 3_600 }), /at most 600 seconds/],
    ['an exp beyond all dates', await mintAssertion(seed, { exp: 1e300 }), /at most 600 seconds/],
    ['from the future', await mintAssertion(seed, { iat: seconds() + 90 }), /future/],
    ['not yet valid', await mintAssertion(seed, { nbf: seconds() + 90 }), /nbf/],
    ['without jti', await mintAssertion(seed, { jti: undefined }), /jti must be/],
    ['a jti that is no text', await mintAssertion(seed, { jti: { $ne: 1 } }), /jti must be/],
    ['an endless jti', await mintAssertion(seed, { jti: 'j'.repeat(600) }), /jti must be/],
    ['without sub', await mintAssertion(seed, { sub: undefined }), /sub must be/],
    ['an empty sub', await mintAssertion(seed, { sub: '' }), /sub must be/],
    ['scope that is no text', await mintAssertion(seed, { scope: ['openid'] }), /scope must be/],
    ['bound to a key', await mintAssertion(seed, { cnf: { jkt: 'x' } }), /cnf/],
    ['authorization details', await mintAssertion(seed, { authorization_details: [] }), /authorization_details/],
    ['a key that its header brings along', await mintAssertion(seed, {}, { jwk: strangersJwk }, stranger), /signature/],
    ['a key that its header says where to fetch',
      await mintAssertion(seed, {}, { jku: 'https://evil.example/jwks' }, stranger), /signature is not valid/],
    ['the key id of nobody', await mintAssertion(seed, {}, { kid: 'nobody' }), /signature is not valid/],
    ['a critical header', `${criticalHeader}.${payload}.${good.split('.')[2]}`, /signature is not valid/],
    ['alg none', await mintAssertion(seed, {}, { alg: 'none' }), /algorithm/],
    ['alg none, typ hidden in another case', await mintAssertion(seed, {}, { alg: 'None' }, stranger).catch(() =>
      `${Buffer.from('{"alg":"nOnE","typ":"oauth-id-jag+jwt"}').toString('base64url')}.${payload}.`), /algorithm/],
    ['HS256 with the public key', `${hs256}.${payload}.${mac}`, /algorithm/],
    ['claims nested without end', await mintAssertion(seed, { nested }), /signed JWT/],
    ['an access token of this server', signedIn.accessToken, /typ in its header/],
    ['an access token of the provider', await seed.provider.mint({ aud: seed.url, client_id: CLIENT.client_id }), /typ/],
    ['a logout token', await seed.provider.mint({
      aud: seed.url, events: { 'http://schemas.openid.net/event/backchannel-logout': {} }
    }, { typ: 'logout+jwt' }), /typ in its header/],
    ['an ID token', await seed.provider.mint({ aud: seed.url, nonce: 'n' }, { typ: undefined }), /typ in its header/],
    ['a refresh token', signedIn.refreshToken, /signed JWT/],
    ['no JWT', 'x', /signed JWT/],
    ['an encrypted JWT', 'a.b.c.d.e', /signed JWT/]
  ]
  for (const [about, assertion, reason, form] of rows) {
    isRefused(t, await send(seed, assertion, form), 'invalid_grant', reason, about)
  }
  t.equal((await send(seed, good)).statusCode, 200, 'the good one is still good')
  await seed.app.close()
  const records = JSON.stringify(seed.logs) + receiver.received()
  t.match(records, 'POST /oauth/token', 'the spans have arrived')
  for (const [about, assertion] of [...rows, ['a good one', good] as const]) {
    const parts = assertion.split('.').filter((part) => part.length > 24)
    t.notOk(parts.some((part) => records.includes(part)), `${about}: in no log, audit line or span`)
  }
})

t.test('a request that is no request of the client is refused before the ID-JAG is used up', async (t) => {
  const seed = await startBroker(t, { env: ENV })
  const assertion = await mintAssertion(seed)
  isError(t, await send(seed, assertion, { client_secret: 'another secret' }), 401, 'invalid_client', 'another secret')
  isError(t, await send(seed, ''), 400, 'invalid_request', 'no assertion')
  isError(t, await send(seed, 'x'.repeat(9_000)), 400, 'invalid_request', 'an assertion of 9,000 characters')
  isError(t, await send(seed, assertion, { resource: 'https://other.example' }), 400, 'invalid_target', 'resource')
  const unregistered = await mintAssertion(seed, { client_id: 'claude-code' })
  const asNobody = await post(`${seed.url}/oauth/token`, {
    grant_type: JWT_BEARER, assertion: unregistered, client_id: 'claude-code'
  })
  isError(t, asNobody, 400, 'unauthorized_client', 'a client id that belongs to nobody')
  const registered = await register(seed.url)
  const asRegistered = await post(`${seed.url}/oauth/token`, {
    grant_type: JWT_BEARER, assertion: await mintAssertion(seed, { client_id: registered }), client_id: registered
  })
  isError(t, asRegistered, 400, 'unauthorized_client', 'a client that registered itself')
  t.equal((await send(seed, assertion)).statusCode, 200)
})

t.test('a client with a metadata document may use ID-JAGs if the document lists the grant type, with its keys if it has any', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const listed = { grant_types: ['authorization_code', JWT_BEARER] }
  const documents: Record<string, object> = {
    'https://client.example/public': { ...listed, token_endpoint_auth_method: 'none' },
    'https://client.example/keys': {
      ...listed,
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [publicKey.export({ format: 'jwk' })] }
    },
    'https://client.example/sign-in-only': {}
  }
  const redirectUris: string[] = []
  const provider = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: redirectUris })
  t.teardown(async () => { await provider.close() })
  const seed = await startSeed(t, {
    sharedProvider: provider,
    env: { ...ENV, OAUTH_MODE: 'broker', SEED_SECRET, CIMD_PROBE_URL: 'https://client.example/public' },
    fetchDocument: async (url) => ({
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        client_id: url, client_name: 'Client', redirect_uris: ['http://localhost/callback'], ...documents[url]
      })
    })
  })
  await ready(seed)
  const sendAs = async (id: string, form: Record<string, string> = {}) => await post(`${seed.url}/oauth/token`, {
    grant_type: JWT_BEARER, assertion: await mintAssertion(seed, { client_id: id }), client_id: id, ...form
  })
  const clientAssertion = await new SignJWT({ jti: randomUUID() }).setProtectedHeader({ alg: 'ES256' })
    .setIssuer('https://client.example/keys').setSubject('https://client.example/keys').setAudience(seed.url)
    .setExpirationTime('1m').sign(privateKey)
  t.equal((await sendAs('https://client.example/public')).statusCode, 200, 'without keys, client_id names it')
  t.equal((await sendAs('https://client.example/keys', {
    client_assertion: clientAssertion,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  })).statusCode, 200, 'with its key')
  isError(t, await sendAs('https://client.example/keys'), 401, 'invalid_client', 'with keys, but not authenticated')
  isError(t, await sendAs('https://client.example/sign-in-only'), 400, 'unauthorized_client', 'not in its grant_types')
})

t.test('an ID-JAG is good once, at whichever replica, also many times at once', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const env = { ...ENV, REDIS_URL: redis.url, OAUTH_CLIENTS: ENV.OAUTH_CLIENTS }
  const one = await startBroker(t, { env })
  const two = await startReplica(t, one, env)
  const address = two.app.server.address() as { port: number }
  const replica = { url: `http://127.0.0.1:${address.port}` }
  const sendAt = async (at: { url: string }, assertion: string) =>
    await post(`${at.url}/oauth/token`, { grant_type: JWT_BEARER, assertion, ...CLIENT })

  const assertion = await mintAssertion(one)
  t.equal((await sendAt(one, assertion)).statusCode, 200)
  isRefused(t, await sendAt(replica, assertion), 'invalid_grant', /used before/, 'at the other replica')
  const many = await mintAssertion(one)
  const answers = await Promise.all([one, replica, one, replica, one, replica].map((at) => sendAt(at, many)))
  t.equal(answers.filter(({ statusCode }) => statusCode === 200).length, 1)
  const jti = randomUUID()
  t.equal((await sendAt(one, await mintAssertion(one, { jti }))).statusCode, 200)
  t.equal((await sendAt(replica, await mintAssertion(one, { jti, sub: 'bob' }))).statusCode, 200, 'of another person')
  isRefused(t, await sendAt(replica, await mintAssertion(one, { jti })), 'invalid_grant', /used before/, 'jti again')

  await redis.kill('SIGKILL')
  const unused = await mintAssertion(one)
  isError503(t, await sendAt(one, unused))
})

function isError503 (t: Test, { statusCode, json, headers }: Answer): void {
  t.match({ statusCode, json, retry: headers['retry-after'] }, {
    statusCode: 503, json: { error: 'temporarily_unavailable' }, retry: /^\d+$/
  }, 'without the store nothing is issued, and the client may try again')
}

t.test('a person who was revoked or logged out needs an ID-JAG from after that', async (t) => {
  const seed = await startBroker(t, { env: ENV })
  const tokenOf = async (sub: string) => String((await send(seed, await mintAssertion(seed, { sub }))).json['access_token'])
  const ended = async (token: string, about: string) =>
    await until(async () => (await ping(seed.url, token)).status === 401, about)

  for (const [about, end] of [
    ['seed revoke --subject', async () => { await seed.app.grantServices.grants.revokeAll({ subject: 'ada' }, 'revoked by the operator') }],
    ['a logout of a session at the provider', async () => {
      const logoutUri = `${seed.url}/oauth/backchannel-logout`
      await seed.provider.backchannelLogout('ada', logoutUri, { claims: { sub: 'ada', sid: 'any session' } })
    }],
    ['seed revoke --client', async () => { await seed.app.grantServices.grants.revokeAll({ clientId: CLIENT.client_id }, 'revoked by the operator') }]
  ] as Array<[string, () => Promise<void>]>) {
    const before = await mintAssertion(seed)
    const [adas, bobs] = [await tokenOf('ada'), await tokenOf('bob')]
    t.equal((await ping(seed.url, adas)).status, 200)
    await end()
    await ended(adas, `${about} ends the token of the very same second`)
    if (!about.includes('client')) t.equal((await ping(seed.url, bobs)).status, 200, `${about}: others go on`)
    isRefused(t, await send(seed, before), 'invalid_grant', /revoked/, `${about}: an ID-JAG from before`)
    await until(async () => {
      const { statusCode } = await send(seed, await mintAssertion(seed))
      return statusCode === 200
    }, `${about}: an ID-JAG from after it is good`)
  }
})

t.test('access rules hold, with the claims that the ID-JAG has', async (t) => {
  const seed = await startBroker(t, { env: { ...ENV, ACCESS_GROUPS: 'engineering', ACCESS_EMAIL_DOMAINS: 'example.com' } })
  const claims = { groups: ['engineering'], email_verified: true }
  t.equal((await send(seed, await mintAssertion(seed, claims))).statusCode, 200)
  isRefused(t, await send(seed, await mintAssertion(seed, { ...claims, groups: undefined })), 'invalid_grant',
    /not in a group .* claims of the ID-JAG/, 'no groups')
  isRefused(t, await send(seed, await mintAssertion(seed, { ...claims, email: 'ada@evil.example' })), 'invalid_grant',
    /e-mail address/, 'another domain')
  isRefused(t, await send(seed, await mintAssertion(seed, { ...claims, email_verified: undefined })), 'invalid_grant',
    /not confirmed/, 'an address that nobody has verified')
})

t.test('without the provider, an ID-JAG with an unknown key is no invalid_grant', async (t) => {
  const seed = await startBroker(t, { env: ENV, timings: { forcedKeyRefreshMs: 10 } })
  await seed.provider.rotateKeys()
  seed.provider.setFault('/jwks', 'down')
  const assertion = await mintAssertion(seed)
  isError503(t, await send(seed, assertion))
  seed.provider.setFault('/jwks', undefined)
  t.equal((await send(seed, assertion)).statusCode, 200, 'and it is still good afterwards')
})

t.test('metadata has the grant type and its profile only where it is on', async (t) => {
  const on = await startBroker(t, { env: ENV })
  t.match(await metadataOf(on), {
    grant_types_supported: ['authorization_code', 'refresh_token', JWT_BEARER],
    authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag']
  })
  const off = await startBroker(t, { env: { ...ENV, ENTERPRISE_AUTHORIZATION: 'off' } })
  t.match(await metadataOf(off), {
    grant_types_supported: ['authorization_code', 'refresh_token'], authorization_grant_profiles_supported: undefined
  })
  isError(t, await send(off, await mintAssertion(off)), 400, 'unsupported_grant_type', 'ENTERPRISE_AUTHORIZATION=off')
})

t.test('with ENTERPRISE_AUTHORIZATION=only, people are told to use the application of their company', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const before = await startBroker(t, { env: { ...ENV, REDIS_URL: redis.url } })
  const { clientId, refreshToken } = await getTokens(before)
  const seed = await startReplica(t, before, { ...ENV, REDIS_URL: redis.url, ENTERPRISE_AUTHORIZATION: 'only' })
  const { port } = seed.app.server.address() as { port: number }
  const url = `http://127.0.0.1:${port}`

  const page = await fetch(newRequest({ url }, clientId).url, { redirect: 'manual' })
  t.equal(page.status, 403)
  t.match(await page.text(), /Use the application of your company/)
  isError(t, await post(`${url}/oauth/token`, {
    grant_type: 'refresh_token', client_id: clientId, refresh_token: refreshToken
  }), 400, 'invalid_grant', 'a client from before forgets its refresh token')
  isError(t, await post(`${url}/oauth/token`, {
    grant_type: 'authorization_code', client_id: clientId, code: 'c', code_verifier: 'v'.repeat(43)
  }), 400, 'unsupported_grant_type', 'a code')
  t.same((await metadataOf({ url })).grant_types_supported, [JWT_BEARER])
  t.equal((await post(`${url}/oauth/token`, {
    grant_type: JWT_BEARER, assertion: await mintAssertion(before), ...CLIENT
  })).statusCode, 200, 'the application of the company')
})

async function metadataOf ({ url }: Pick<TestSeed, 'url'>) {
  return await (await fetch(`${url}/.well-known/oauth-authorization-server`)).json() as Record<string, unknown>
}

async function callWhoami (seed: TestSeed, token: string): Promise<Record<string, unknown>> {
  const answer = await sendModern(seed.url, modernRequest('tools/call', { name: 'whoami', arguments: {} }), token)
  const { result } = await answer.json() as { result: { structuredContent: Record<string, unknown> } }
  return result.structuredContent
}

t.test('a tool gets no token for another API for a person with an ID-JAG, and the error says why', async (t) => {
  const definitions = [defineTool({
    name: 'tickets',
    description: 'x',
    input: Type.Object({}),
    handler: async (_input, { tokenFor }) => await tokenFor('tickets-api', { allowServerToken: true })
  })]
  const seed = await startBroker(t, { env: ENV, definitions })
  const assertion = await mintAssertion(seed)
  const { json } = await send(seed, assertion)
  const call = modernRequest('tools/call', { name: 'tickets', arguments: {} })
  t.match(await (await sendModern(seed.url, call, String(json['access_token']))).json(), {
    result: { isError: true, content: [{ text: /a person with an ID-JAG .* only after a sign-in in the browser/ }] }
  })
  t.match(await seed.logged(({ event }) => event === 'token_exchange.failed'), {
    subject: 'ada', clientId: CLIENT.client_id, audience: 'tickets-api', reason: 'the person came with an ID-JAG'
  })
  t.notOk(JSON.stringify(seed.logs).includes(assertion.split('.')[2]!))
})
