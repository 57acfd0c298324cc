import { KeyObject, createHmac, createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import type { JsonWebKey } from 'node:crypto'
import { base64url, importPKCS8 } from 'jose'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { startDevProvider } from '../../dev/provider.ts'
import { defineTool } from '../../src/define/tool.ts'
import { whoami } from '../../src/tools/whoami.ts'
import { getTokens, post, startBroker, startReplica } from '../support/broker.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { modernRequest, sendModern, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import { startWorkloadIssuer } from '../support/workload-issuer.ts'
import type { WorkloadIssuer } from '../support/workload-issuer.ts'

/** Access tokens of other issuers at /mcp (TRUSTED_ISSUERS with access_tokens), over HTTP. */

const AUDIENCE = 'api://seed'
const CLIENT_ID = 'nightly-at-the-issuer'
const RULE = {
  service: 'nightly',
  match: { azp: CLIENT_ID },
  scope: 'tickets:read',
  groups: ['jobs'],
  claims: { department: 'it' }
}

const guarded = (name: string, policy: object) =>
  defineTool({ name, description: 'x', input: Type.Object({}), ...policy, handler: () => 'done' })
const definitions = [
  whoami,
  guarded('tidy', { principalKind: 'service', groups: ['jobs'], claims: { department: 'it' } }),
  guarded('read', { scopes: ['tickets:read'] }),
  guarded('write', { scopes: ['tickets:write'] }),
  guarded('manage', { groups: ['admins'] }),
  guarded('pay', { claims: { department: 'finance' } }),
  guarded('approve', { principalKind: 'person' })
]

const seconds = (): number => Math.floor(Date.now() / 1_000)

/** The claims of an access token for an application, as RFC 9068 has them. */
function claims (changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    aud: AUDIENCE,
    sub: CLIENT_ID,
    azp: CLIENT_ID,
    jti: randomUUID(),
    iat: seconds(),
    exp: seconds() + 3_900,
    ...changes
  }
}

const ACCESS_TOKEN = { typ: 'at+jwt' }

const entryOf = ({ issuer, jwksUri }: Pick<WorkloadIssuer, 'issuer' | 'jwksUri'>, changes: object = {}) =>
  ({ issuer, jwks_uri: jwksUri, access_tokens: true, audience: AUDIENCE, rules: [RULE], ...changes })

interface Fixture extends TestSeed {
  issuer: WorkloadIssuer
}

async function start (t: Test, { entry = {}, others = [], env = {} }: {
  entry?: object, others?: object[], env?: Record<string, string>
} = {}): Promise<Fixture> {
  const issuer = await startWorkloadIssuer(t)
  const seed = await startBroker(t, {
    definitions,
    timings: { forcedKeyRefreshMs: 200 },
    env: { TRUSTED_ISSUERS: JSON.stringify([entryOf(issuer, entry), ...others]), ...env }
  })
  const isOff = (entry as { access_tokens?: boolean }).access_tokens === false
  await until(() => isOff || issuer.requests.length > 0, 'keys are asked for')
  return { ...seed, issuer }
}

interface ToolResponse {
  result: { structuredContent: Record<string, unknown> }
  error: { message: string }
}

async function call ({ url }: Pick<TestSeed, 'url'>, token: string, name = 'whoami') {
  const response = await sendModern(url, modernRequest('tools/call', { name, arguments: {} }), token)
  return { status: response.status, headers: response.headers, body: await response.json() as ToolResponse }
}

t.test('a service calls with the access token of another issuer, as the service of the rule that fits', async (t) => {
  const seed = await start(t, { env: { AUDIT_LOG: 'stdout' } })
  const token = await seed.issuer.mint(claims(), ACCESS_TOKEN)
  const { status, body } = await call(seed, token)
  t.equal(status, 200)
  t.match(body.result.structuredContent, {
    kind: 'service',
    subject: 'nightly',
    clientId: 'nightly',
    issuer: seed.issuer.issuer,
    groups: ['jobs'],
    scopes: ['tickets:read']
  })
  t.equal(body.result.structuredContent.grantType, undefined, 'the token does not say how it was got')
  t.match((await call(seed, token, 'tidy')).body.result, { content: [{ text: 'done' }] })
  t.match((await call(seed, token, 'read')).body.result, { content: [{ text: 'done' }] })
  t.equal((await call(seed, token, 'write')).status, 403, 'a scope that the rule lacks')
  t.equal(seed.issuer.requests.filter((path) => path === '/jwks').length, 1, 'keys are fetched once')
  const line = await seed.logged((line) => line['audit'] !== undefined || line['event'] === 'call')
  t.match(JSON.stringify(line), /nightly/)
  t.notOk(JSON.stringify(seed.logs).includes(token.split('.')[2]!), 'no token is logged')
})

t.test('the SDKs call with such a token, in both eras', async (t) => {
  const seed = await start(t)
  const url = new URL(`${seed.url}/mcp`)
  const requestInit = { headers: { authorization: `Bearer ${await seed.issuer.mint(claims(), ACCESS_TOKEN)}` } }
  const info = { name: 'agent', version: '1' }
  const expected = { kind: 'service', subject: 'nightly' }
  for (const [mode, protocol] of [['auto', '2026-07-28'], ['legacy', '2025-11-25']] as const) {
    const client = new Client(info, { versionNegotiation: { mode } })
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit }))
    t.match((await client.callTool({ name: 'whoami', arguments: {} })).structuredContent, expected, `SDK v2, ${mode}`)
    t.equal(client.getNegotiatedProtocolVersion(), protocol)
    await client.close()
  }
  const client = new ClientV1(info)
  await client.connect(new TransportV1(url, { requestInit }) as never)
  t.match((await client.callTool({ name: 'whoami', arguments: {} })).structuredContent, expected, 'SDK v1')
  await client.close()
})

t.test('access tokens of applications are known in the forms of Entra ID, Okta and Auth0', async (t) => {
  const rules = ['azp', 'appid', 'cid'].map((claim) => ({ ...RULE, match: { [claim]: CLIENT_ID } }))
  const seed = await start(t, { entry: { rules } })
  const none = { azp: undefined, jti: undefined }
  for (const [about, form] of [
    ['Entra ID, v2.0', { ...none, azp: CLIENT_ID, sub: 'o-1', oid: 'o-1', roles: ['Tickets.Read'], uti: 'u' }],
    ['Entra ID, v1.0 with idtyp', { ...none, appid: CLIENT_ID, sub: 'o-1', oid: 'o-1', idtyp: 'app' }],
    ['Okta', { ...none, cid: CLIENT_ID, jti: 'AT.1', scp: ['tickets'], ver: 1 }],
    ['Auth0', { azp: CLIENT_ID, sub: `${CLIENT_ID}@clients`, gty: 'client-credentials' }]
  ] as const) {
    const token = await seed.issuer.mint(claims(form), { typ: 'JWT' })
    t.match((await call(seed, token)).body.result?.structuredContent, { kind: 'service', subject: 'nightly' }, about)
  }
})

t.test('OIDC_ISSUER may be such an issuer: its services come in, and its people do not', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const { issuer } = provider
  const rules = [RULE, { ...RULE, service: 'ada', match: { sub: 'ada' } }]
  const entry = { issuer, access_tokens: true, audience: AUDIENCE, rules }
  const seed = await startSeed(t, {
    sharedProvider: provider, definitions, env: { OAUTH_MODE: 'broker', TRUSTED_ISSUERS: JSON.stringify([entry]) }
  })
  const mint = async (changes: object, header: object = ACCESS_TOKEN) =>
    await provider.mint({ ...claims(), client_id: undefined, scope: undefined, ...changes }, { ...header })
  await until(async () => (await call(seed, await mint({}))).status !== 503, 'the keys have been fetched')
  t.match((await call(seed, await mint({}))).body, { result: { structuredContent: { kind: 'service', issuer } } })

  const person = { sub: 'ada', azp: CLIENT_ID }
  for (const [about, changes, header] of [
    ["a person's access token", { ...person, scope: 'openid' }],
    ["a person's access token for the application of the service", { sub: 'bob', scope: 'openid tickets:read' }],
    ["a person's access token with the rights of services", { ...person, groups: ['jobs'], roles: ['jobs'] }],
    ["a person's access token that names no client", { ...person, azp: undefined }],
    ['a person whom token exchange gave a token for this server', { ...person, act: { sub: CLIENT_ID } }],
    ["a person's ID token", { ...person, nonce: 'n', at_hash: 'h' }, { typ: 'JWT' }],
    ["a person's ID token of another client", { ...person, aud: provider.clientId }, { typ: 'JWT' }]
  ] as Array<[string, object, object?]>) {
    const { status, body } = await call(seed, await mint(changes, header))
    t.equal(status, 401, about)
    t.match(body.error, { message: /not accepted|not an access token/ }, about)
  }
})

t.test('the issuer and the program cannot widen what the rule gives', async (t) => {
  const seed = await start(t)
  const token = await seed.issuer.mint(claims({
    scope: 'tickets:read tickets:write',
    scp: ['tickets:write'],
    groups: ['admins', 'jobs'],
    roles: ['admins'],
    department: 'finance',
    seed_principal_kind: 'person',
    seed_grant_type: 'authorization_code',
    grant: 'g',
    client_id: 'another-client',
    azp: CLIENT_ID,
    sub: 'another-client',
    name: 'Ada',
    email: 'ada@example.com'
  }), ACCESS_TOKEN)
  const { body } = await call(seed, token)
  t.match(body.result.structuredContent, {
    kind: 'service', subject: 'nightly', groups: ['jobs'], scopes: ['tickets:read'], name: undefined, email: undefined
  })
  t.equal((await call(seed, token, 'write')).status, 403)
  for (const name of ['manage', 'pay', 'approve']) {
    t.match((await call(seed, token, name)).body, { error: { message: new RegExp(name) } }, `${name} does not exist for it`)
  }
})

t.test('hostile tokens are refused, whichever way they differ from a good one', async (t) => {
  const other = await startWorkloadIssuer(t, { kid: 'platform-key' })
  const platform = await startWorkloadIssuer(t)
  const seed = await start(t, {
    others: [
      entryOf(other, { audience: 'api://other', rules: [{ ...RULE, service: 'weekly', match: { azp: 'weekly' } }] }),
      { issuer: platform.issuer, jwks_uri: platform.jwksUri, audience: AUDIENCE, rules: [{ ...RULE, service: 'job' }] }
    ]
  })
  const { issuer } = seed
  const good = await issuer.mint(claims(), ACCESS_TOKEN)
  const [header, payload, signature] = good.split('.') as [string, string, string]
  const publicKey = createPublicKey({ key: issuer.keys[0] as JsonWebKey, format: 'jwk' })
  const unsigned = (alg: string) =>
    `${base64url.encode(JSON.stringify({ alg, typ: 'at+jwt', kid: 'platform-key' }))}.${payload}`
  const hmac = createHmac('sha256', publicKey.export({ type: 'spki', format: 'pem' })).update(unsigned('HS256'))
  const duplicate = base64url.encode(JSON.stringify(claims({ iss: issuer.issuer })).replace('{', '{"sub":"ada",'))
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const mint = async (changes: Record<string, unknown>, typ = 'at+jwt', from = issuer) =>
    await from.mint(claims(changes), { typ })
  t.equal((await call(seed, good)).status, 200)
  for (const [about, token] of [
    ['another audience', await mint({ aud: `${seed.url}/mcp` })],
    ['an audience that nearly matches', await mint({ aud: `${AUDIENCE}/` })],
    ['two audiences', await mint({ aud: [AUDIENCE, 'api://other'] })],
    ['no audience', await mint({ aud: undefined })],
    ['an issuer that nobody named', await mint({ iss: 'https://stranger.example.com' })],
    ['an issuer with a slash more', await mint({ iss: `${issuer.issuer}/` })],
    ['a list of issuers', await mint({ iss: [issuer.issuer] })],
    ["this server's own issuer", await mint({ iss: seed.url })],
    ["another issuer's key with the same id", await issuer.mint(claims(), ACCESS_TOKEN, other.privateKey)],
    ["another issuer's audience", await mint({ aud: 'api://other' })],
    ["another issuer's service", await mint({ azp: 'weekly', sub: 'weekly' })],
    ["a key of nobody's", await issuer.mint(claims(), ACCESS_TOKEN, await toCryptoKey(stranger))],
    ['an unknown key id', await issuer.mint(claims(), { ...ACCESS_TOKEN, kid: 'unknown' })],
    ['alg none', `${unsigned('none')}.`],
    ['HS256 with the public key', `${unsigned('HS256')}.${hmac.digest('base64url')}`],
    ['an algorithm that is not configured', `${unsigned('PS512')}.${signature}`],
    ['another payload', `${header}.${base64url.encode(JSON.stringify(claims({ iss: issuer.issuer })))}.${signature}`],
    ['a claim twice', `${header}.${duplicate}.${signature}`],
    ['a critical header parameter', await signWith(issuer, { ...ACCESS_TOKEN, crit: ['exp'], exp: 1 })],
    ['an ID-JAG', await mint({}, 'oauth-id-jag+jwt')],
    ['a logout token', await mint({ events: {} }, 'logout+jwt')],
    ['a logout token without its typ', await mint({ events: {} }, 'JWT')],
    ['an ID token', await mint({ nonce: 'n' }, 'JWT')],
    ['an ID token of an application', await mint({ at_hash: 'h', idtyp: 'app' }, 'JWT')],
    ['a token that does not say that it is an access token', await mint({}, 'JWT')],
    ['a refresh token of Keycloak', await mint({ typ: 'Refresh', scope: 'a' }, 'JWT')],
    ['a client assertion', await mint({ iss: issuer.issuer, sub: issuer.issuer, azp: CLIENT_ID, idtyp: 'app' }, 'JWT')],
    ['a token that is bound to a key', await mint({ cnf: { jkt: 'x' } })],
    ['expired', await mint({ iat: seconds() - 600, exp: seconds() - 300 })],
    ['from the future', await mint({ iat: seconds() + 600 })],
    ['not valid yet', await mint({ nbf: seconds() + 600 })],
    ['too long a life', await mint({ exp: seconds() + 90_000 })],
    ['without exp', await mint({ exp: undefined })],
    ['without iat', await mint({ iat: undefined })],
    ['without a subject', await mint({ sub: undefined })],
    ['a client that nearly matches', await mint({ sub: `${CLIENT_ID}-2`, azp: `${CLIENT_ID}-2` })],
    ['a client in other letters', await mint({ sub: CLIENT_ID.toUpperCase(), azp: CLIENT_ID.toUpperCase() })],
    ['no JWT', 'a.b.c'],
    ['longer than any access token', await mint({ padding: 'x'.repeat(9_000) })],
    ['the token of a workload, which the token endpoint trades', await mint({}, 'at+jwt', platform)]
  ] as const) {
    const { status, headers, body } = await call(seed, token)
    t.equal(status, 401, about)
    t.match(headers.get('www-authenticate'), /error="invalid_token"/, about)
    t.notOk(JSON.stringify(body).includes(token.slice(-40)), about)
  }
  t.equal((await call(seed, good)).status, 200, 'a good one still comes in')
  t.notOk(seed.logs.some((line) => JSON.stringify(line).includes(signature)), 'no token is logged')
  t.notOk(seed.logs.some(({ level }) => level >= 50), 'none is an error')
})

t.test('an access token is no assertion: the token endpoint does not trade it', async (t) => {
  const seed = await start(t)
  const assertion = await seed.issuer.mint(claims(), { typ: 'JWT' })
  const grantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
  const { statusCode } = await post(`${seed.url}/oauth/token`, { grant_type: grantType, assertion })
  t.equal(statusCode, 400)
})

t.test('off by default: the tokens of a trusted issuer are not accepted without access_tokens', async (t) => {
  const seed = await start(t, { entry: { access_tokens: false } })
  const { status, body } = await call(seed, await seed.issuer.mint(claims(), ACCESS_TOKEN))
  t.equal(status, 401)
  t.match(body.error.message, /algorithm that is not accepted|another issuer/)
  t.same(await authorizationServers(seed), [seed.url])
})

async function authorizationServers ({ url }: Pick<TestSeed, 'url'>): Promise<string[]> {
  const document = await fetch(`${url}/.well-known/oauth-protected-resource/mcp`)
  return (await document.json() as { authorization_servers: string[] }).authorization_servers
}

t.test("the protected resource metadata lists the issuer after this server's own", async (t) => {
  const seed = await start(t)
  t.same(await authorizationServers(seed), [seed.url, seed.issuer.issuer])
})

t.test('the access rules hold, with the groups and claims that the operator wrote', async (t) => {
  const seed = await start(t, { env: { ACCESS_GROUPS: 'staff' } })
  t.equal((await call(seed, await seed.issuer.mint(claims({ groups: ['staff'] }), ACCESS_TOKEN))).status, 403)
  const admitted = await start(t, { env: { ACCESS_GROUPS: 'jobs', ACCESS_CLAIMS: 'department=it' } })
  t.equal((await call(admitted, await admitted.issuer.mint(claims(), ACCESS_TOKEN))).status, 200)
})

t.test('while the keys cannot be had, the answer is 503 with Retry-After', async (t) => {
  const seed = await start(t, { others: [] })
  seed.issuer.isUp = false
  const later = await startBroker(t, { definitions, env: { TRUSTED_ISSUERS: JSON.stringify([entryOf(seed.issuer)]) } })
  const { status, headers } = await call(later, await seed.issuer.mint(claims(), ACCESS_TOKEN))
  t.equal(status, 503)
  t.ok(Number(headers.get('retry-after')) > 0)
})

t.test('a key that the issuer withdraws ends what it has signed', async (t) => {
  const seed = await start(t)
  const old = await seed.issuer.mint(claims(), ACCESS_TOKEN)
  t.equal((await call(seed, old)).status, 200)
  await seed.issuer.rotate('next-key')
  t.equal((await call(seed, await seed.issuer.mint(claims(), ACCESS_TOKEN))).status, 200, 'the new key is fetched')
  t.equal((await call(seed, old)).status, 401)
})

t.test('a revocation of the subject, the client or the token alone ends it at every replica', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const issuer = await startWorkloadIssuer(t)
  const env = {
    REDIS_URL: redis.url,
    TRUSTED_ISSUERS: JSON.stringify([
      entryOf(issuer, { rules: ['nightly', 'weekly', 'daily'].map((service) => ({ ...RULE, service, match: { azp: service } })) })
    ])
  }
  const one = await startBroker(t, { definitions, env })
  const two = await startReplica(t, one, env)
  const tokenOf = async (service: string, changes: object = {}) =>
    await issuer.mint(claims({ sub: service, azp: service, ...changes }), ACCESS_TOKEN)
  const areAccepted = async (...tokens: string[]) =>
    await Promise.all(tokens.map(async (token) => (await call(two, token)).status === 200))
  const [nightly, ahead, weekly, daily, other] = await Promise.all([
    tokenOf('nightly'), tokenOf('nightly', { iat: Math.floor(Date.now() / 1_000) + 5 }), tokenOf('weekly'), tokenOf('daily'), tokenOf('daily', { jti: undefined })
  ])
  t.same(await areAccepted(nightly, weekly, daily, other), [true, true, true, true])
  await one.app.grantServices.grants.revokeAll({ subject: 'nightly' }, 'revoked by the operator')
  await until(async () => !(await areAccepted(nightly))[0], 'the other replica refuses the token of nightly')
  await one.app.grantServices.grants.revokeAll({ clientId: 'weekly' }, 'revoked by the operator')
  await until(async () => !(await areAccepted(weekly))[0], 'the other replica refuses the token of weekly')
  t.equal((await post(`${one.url}/oauth/revoke`, { token: daily, client_id: 'daily' })).statusCode, 200)
  await until(async () => !(await areAccepted(daily))[0], 'the other replica refuses the token of daily')
  t.same(await areAccepted(other), [true], 'its other token is not affected')
  t.equal((await call(one, nightly)).status, 401)
  t.equal((await call(one, ahead)).status, 401, "the issuer's clock may be ahead")
})

t.test('people sign in and call as before', async (t) => {
  const seed = await start(t)
  const { accessToken } = await getTokens(seed)
  t.match((await call(seed, accessToken)).body.result.structuredContent, {
    kind: 'person', subject: 'ada', issuer: seed.url
  })
  t.match((await call(seed, accessToken, 'approve')).body.result, { content: [{ text: 'done' }] })
})

/** Signs as jose does not: with any header. */
async function signWith (issuer: WorkloadIssuer, header: object): Promise<string> {
  const parts = [{ alg: 'RS256', kid: 'platform-key', ...header }, claims({ iss: issuer.issuer })]
  const signed = parts.map((part) => base64url.encode(JSON.stringify(part))).join('.')
  return `${signed}.${sign('sha256', Buffer.from(signed), KeyObject.from(issuer.privateKey)).toString('base64url')}`
}

const toCryptoKey = async (key: KeyObject) =>
  await importPKCS8(key.export({ type: 'pkcs8', format: 'pem' }).toString(), 'RS256')
