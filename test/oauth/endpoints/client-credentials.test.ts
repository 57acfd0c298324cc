import { createHmac, randomUUID } from 'node:crypto'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../../src/define/tool.ts'
import { whoami } from '../../../src/tools/whoami.ts'
import { getTokens, post, register, startBroker } from '../../support/broker.ts'
import type { Answer } from '../../support/broker.ts'
import { startOtlpReceiver } from '../../support/otlp-receiver.ts'
import { modernRequest, postMcp, sendModern } from '../../support/seed.ts'
import type { TestSeed } from '../../support/seed.ts'

/** Services: clients of OAUTH_CLIENTS that act for themselves (RFC 6749 section 4.4), over HTTP. */

const SECRET = 'a secret of the nightly job'
const OLD_SECRET = 'its secret before that one'
const SERVICE = {
  client_id: 'nightly',
  client_name: 'Nightly job',
  grant_types: ['client_credentials'],
  client_secret: [SECRET, OLD_SECRET],
  scope: 'tickets:read tickets:write',
  groups: ['jobs'],
  claims: { department: 'it' }
}
const OTHERS = [
  { client_id: 'website', redirect_uris: ['https://client.example/cb'], client_secret: SECRET }
]

const guarded = (name: string, policy: object) =>
  defineTool({ name, description: 'x', input: Type.Object({}), ...policy, handler: () => 'done' })
const definitions = [
  whoami,
  guarded('approve', { principalKind: 'person' }),
  guarded('tidy', { principalKind: 'service', groups: ['jobs'], claims: { department: 'it' } }),
  guarded('write', { scopes: ['tickets:write'] }),
  defineTool({
    name: 'delegate',
    description: 'x',
    input: Type.Object({}),
    handler: async (_input, { tokenFor }) => await tokenFor('tickets-api')
  })
]

async function start (t: Test, { client = {}, env = {} }: { client?: object, env?: Record<string, string> } = {}) {
  const clients = [{ ...SERVICE, ...client }, ...OTHERS]
  return await startBroker(t, { definitions, env: { OAUTH_CLIENTS: JSON.stringify(clients), ...env } })
}

const basic = (secret: string, id = 'nightly') =>
  ({ authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}` })

async function getToken (seed: TestSeed, form: Record<string, string> = {}, headers = basic(SECRET)): Promise<Answer> {
  return await post(`${seed.url}/oauth/token`, { grant_type: 'client_credentials', ...form }, headers)
}

async function accessToken (seed: TestSeed, form?: Record<string, string>): Promise<string> {
  return String((await getToken(seed, form)).json['access_token'])
}

interface CallAnswer {
  result: { structuredContent?: Record<string, unknown>, content: unknown[], isError?: boolean }
  error?: { message: string }
}

async function call (seed: TestSeed, token: string, name: string): Promise<{ status: number, body: CallAnswer }> {
  const response = await sendModern(seed.url, modernRequest('tools/call', { name, arguments: {} }), token)
  return { status: response.status, body: await response.json() as CallAnswer }
}

const seconds = (): number => Math.floor(Date.now() / 1_000)

const claimsOf = (token: unknown): Record<string, unknown> =>
  JSON.parse(Buffer.from(String(token).split('.')[1]!, 'base64url').toString()) as Record<string, unknown>

t.test('a service gets a short token without refresh token, and is known as a service from then on', async (t) => {
  const seed = await start(t, { env: { AUDIT_LOG: 'stdout' } })
  const { statusCode, json, headers } = await getToken(seed, { resource: `${seed.url}/mcp` })
  t.equal(statusCode, 200)
  t.equal(headers['cache-control'], 'no-store')
  t.same(Object.keys(json), ['access_token', 'token_type', 'expires_in', 'scope'])
  t.match(json, { expires_in: 900, scope: 'tickets:read tickets:write' })
  const token = String(json['access_token'])

  const { body } = await call(seed, token, 'whoami')
  t.match(body.result.structuredContent, {
    signedIn: true,
    kind: 'service',
    grantType: 'client_credentials',
    subject: 'nightly',
    clientId: 'nightly',
    issuer: seed.url,
    groups: ['jobs'],
    scopes: ['tickets:read', 'tickets:write']
  })
  t.match((await call(seed, token, 'tidy')).body.result, { content: [{ text: 'done' }] })
  t.match((await call(seed, token, 'write')).body.result, { content: [{ text: 'done' }] })
  t.match((await call(seed, token, 'approve')).body.error, { message: /approve/ }, 'people only')
  await seed.logged((line) => line['event'] === 'tools/call' && line['target'] === 'whoami')
  const audited = seed.logs.filter((line) => 'audit' in line && line['subject'] === 'nightly')
  t.match(audited, [{ event: 'sign_in', client: 'nightly', kind: 'configured', principalKind: 'service' }])
  t.match(audited.find(({ event }) => event === 'tools/call'), { principalKind: 'service', client: 'nightly' })
})

t.test('both secrets of a rotation work; a third, another client\'s way and another resource do not', async (t) => {
  const seed = await start(t)
  t.equal((await getToken(seed, {}, basic(OLD_SECRET))).statusCode, 200)
  for (const [what, form, headers, error] of [
    ['a wrong secret', {}, basic(`${SECRET}!`), 'invalid_client'],
    ['no secret', { client_id: 'nightly' }, {}, 'invalid_client'],
    ['the secret in the body', { client_id: 'nightly', client_secret: SECRET }, {}, 'invalid_client'],
    ['a client without this grant type', {}, basic(SECRET, 'website'), 'unauthorized_client'],
    ['a client of its own choice', { client_id: 'claude-code' }, {}, 'unauthorized_client'],
    ['another resource', { resource: 'https://other.example/mcp' }, basic(SECRET), 'invalid_target'],
    ['a code', { grant_type: 'authorization_code', code: 'x' }, basic(SECRET), 'unauthorized_client'],
    ['a refresh token', { grant_type: 'refresh_token', refresh_token: 'x' }, basic(SECRET), 'unauthorized_client'],
    ['a scope beyond', { scope: 'tickets:read admin' }, basic(SECRET), 'invalid_scope']
  ] as const) {
    const { statusCode, json } = await getToken(seed, form, headers as ReturnType<typeof basic>)
    t.match({ statusCode, json }, { statusCode: /^40[01]$/, json: { error } }, what)
  }
})

t.test('the scopes are those that it asks for, and the usual ones of people are ignored', async (t) => {
  const seed = await start(t)
  const scopeFor = async (scope: string) => (await getToken(seed, { scope })).json['scope']
  t.equal(await scopeFor('tickets:read'), 'tickets:read')
  t.equal(await scopeFor('openid email tickets:read'), 'tickets:read')
  t.equal(await scopeFor('openid profile email'), 'tickets:read tickets:write')
  const response = await call(seed, await accessToken(seed, { scope: 'tickets:read' }), 'write')
  t.equal(response.status, 403)
})

t.test('the access rules hold for services, with the groups that the operator wrote', async (t) => {
  const seed = await start(t, { env: { ACCESS_GROUPS: 'engineering' } })
  t.match(await getToken(seed), { statusCode: 400, json: { error: 'unauthorized_client', error_description: /ACCESS_GROUPS/ } })
  const other = await start(t, { env: { ACCESS_GROUPS: 'jobs' } })
  t.equal((await getToken(other)).statusCode, 200)
})

t.test('its tokens end when it revokes them, and when the operator revokes its client or its subject', async (t) => {
  const seed = await start(t)
  const isAccepted = async (token: string) => (await call(seed, token, 'whoami')).status === 200
  const [one, other] = [await accessToken(seed), await accessToken(seed)]
  t.ok(await isAccepted(one))
  t.equal((await post(`${seed.url}/oauth/revoke`, { token: one }, basic(SECRET, 'website'))).statusCode, 200)
  t.ok(await isAccepted(one), 'another client cannot')
  t.equal((await post(`${seed.url}/oauth/revoke`, { token: one }, basic(SECRET))).statusCode, 200)
  t.notOk(await isAccepted(one))
  t.ok(await isAccepted(other))
  for (const owner of [{ clientId: 'nightly' }, { subject: 'nightly' }]) {
    // A revocation ends the tokens of its own second too, so that each needs a server that has seen none.
    const fresh = await start(t)
    const token = await accessToken(fresh)
    t.equal((await call(fresh, token, 'whoami')).status, 200)
    await fresh.app.grantServices.grants.revokeAll(owner, 'revoked by the operator')
    t.equal((await call(fresh, token, 'whoami')).status, 401, JSON.stringify(owner))
  }
})

t.test('a service cannot sign a person in, and the metadata follows what is configured', async (t) => {
  const metadata = async (seed: TestSeed) =>
    await (await fetch(`${seed.url}/.well-known/oauth-authorization-server`)).json() as Record<string, unknown>
  const seed = await start(t)
  const page = await fetch(`${seed.url}/oauth/authorize?response_type=code&client_id=nightly&redirect_uri=${
    encodeURIComponent('http://localhost/cb')}&code_challenge=${'x'.repeat(43)}&code_challenge_method=S256`)
  t.equal(page.status, 400)
  t.match(await page.text(), /This client may not use authorization_code/)
  t.match(await metadata(seed), {
    grant_types_supported: ['authorization_code', 'refresh_token', 'client_credentials'],
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'private_key_jwt']
  })

  const without = await startBroker(t)
  t.same((await metadata(without))['grant_types_supported'], ['authorization_code', 'refresh_token'])
  t.match((await getToken(without)).json, {
    error: 'unsupported_grant_type',
    error_description: /grant_type must be one of authorization_code, refresh_token/
  })
})

t.test('a claim of the operator for a service cannot make it a person or another service', async (t) => {
  const seed = await start(t, { client: { claims: { name: 'Ada', email: 'ada@example.com' } } })
  t.match(claimsOf(await accessToken(seed)), {
    sub: 'nightly', client_id: 'nightly', seed_principal_kind: 'service', seed_grant_type: 'client_credentials'
  })
})

t.test('a tool gets no token for another API on behalf of a service, and the error says why', async (t) => {
  const seed = await start(t)
  t.match((await call(seed, await accessToken(seed), 'delegate')).body.result, {
    isError: true, content: [{ text: /comes from a service: there is no person/ }]
  })
  t.match(await seed.logged(({ event }) => event === 'token_exchange.failed'), {
    level: 40, subject: 'nightly', clientId: 'nightly', audience: 'tickets-api', reason: 'a service calls, without allowServerToken'
  })
})

t.test('an assertion without kid fits one of two keys; every other one is invalid_client, and no record has any', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const pairs = await Promise.all([1, 2, 3].map(async () => await generateKeyPair('ES256', { extractable: true })))
  const [one, two, stranger] = pairs.map(({ privateKey }) => privateKey)
  const publicKeys = await Promise.all(pairs.map(async ({ publicKey }) => await exportJWK(publicKey)))
  const [publicOne, publicTwo, publicStranger] = publicKeys
  const seed = await start(t, {
    client: { client_secret: undefined, jwks: { keys: [publicOne, publicTwo] } },
    env: { AUDIT_LOG: 'stdout', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
  })
  const claims = (changes: object = {}) => ({
    iss: 'nightly', sub: 'nightly', aud: seed.url, jti: randomUUID(), iat: seconds(), exp: seconds() + 60, ...changes
  })
  const sign = async (changes: object = {}, key = two!, header: object = {}): Promise<string> =>
    await new SignJWT(claims(changes)).setProtectedHeader({ alg: 'ES256', ...header }).sign(key)
  const send = async (assertion: string, form: Record<string, string> = {}) => await post(`${seed.url}/oauth/token`, {
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
    ...form
  })
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const unsigned = (alg: string): string => `${encode({ alg })}.${encode(claims())}.`
  const macInput = `${encode({ alg: 'HS256' })}.${encode(claims())}`
  const mac = createHmac('sha256', JSON.stringify(publicTwo)).update(macInput).digest('base64url')
  const good = await sign()
  const [header, payload, signature] = good.split('.') as [string, string, string]

  t.equal((await send(await sign({}, one!))).statusCode, 200)
  t.equal((await send(good)).statusCode, 200)
  t.equal((await send(await sign({ iat: undefined }))).statusCode, 200, 'without iat, which RFC 7523 leaves to the client')
  t.equal((await send(await sign({ iat: seconds() + 20 }))).statusCode, 200, 'a clock that is a little ahead')
  const rows: Array<[about: string, assertion: string]> = [
    ['the key of a stranger', await sign({}, stranger)],
    ['another audience', await sign({ aud: 'https://other.example' })],
    ['the resource as audience', await sign({ aud: `${seed.url}/mcp` })],
    ['two audiences', await sign({ aud: [seed.url, 'https://other.example'] })],
    ['no audience', await sign({ aud: undefined })],
    ['another client', await sign({ iss: 'website', sub: 'website' })],
    ['another issuer', await sign({ iss: 'website' })],
    ['no issuer', await sign({ iss: undefined })],
    ['no subject', await sign({ sub: undefined })],
    ['no jti', await sign({ jti: undefined })],
    ['no exp', await sign({ exp: undefined })],
    ['expired', await sign({ iat: seconds() - 300, exp: seconds() - 60 })],
    ['too long a life', await sign({ exp: seconds() + 3_600 })],
    ['an exp beyond all dates', await sign({ exp: 1e300 })],
    ['from the future', await sign({ iat: seconds() + 120, exp: seconds() + 180 })],
    ['not yet valid', await sign({ nbf: seconds() + 120 })],
    ['the type of an ID-JAG', await sign({}, two, { typ: 'oauth-id-jag+jwt' })],
    ['the type of an access token', await sign({}, two, { typ: 'at+jwt' })],
    ['the type of a logout token', await sign({}, two, { typ: 'logout+jwt' })],
    ['a key that its header brings along', await sign({}, stranger, { jwk: publicStranger })],
    ['a key that its header says where to fetch', await sign({}, stranger, { jku: 'https://evil.example/jwks' })],
    ['the key id of nobody', await sign({}, two, { kid: 'nobody' })],
    ['a critical header', `${encode({ alg: 'ES256', crit: ['exp'], exp: 1 })}.${payload}.${signature}`],
    ['alg none', unsigned('none')],
    ['alg none in another case', unsigned('nOnE')],
    ['HS256 with the public key', `${macInput}.${mac}`],
    ['a changed payload', `${header}.${encode(claims({ scope: 'admin' }))}.${signature}`],
    ['an access token of this server', String((await send(await sign())).json['access_token'])],
    ['an ID token of the provider', await seed.provider.mint({ aud: seed.url, nonce: 'n' }, { typ: undefined })],
    ['a second time', good],
    ['a second time, its signature padded', `${good}=`],
    ['no JWT', 'x'],
    ['an encrypted JWT', 'a.b.c.d.e']
  ]
  for (const [about, assertion] of rows) {
    const { statusCode, json } = await send(assertion, { client_id: 'nightly' })
    t.match({ statusCode, json }, { statusCode: 401, json: { error: 'invalid_client' } }, about)
  }
  t.match(await send(await sign(), { scope: 'admin' }), { statusCode: 400, json: { error: 'invalid_scope' } })
  await seed.app.close()
  const records = JSON.stringify(seed.logs) + receiver.received()
  t.match(records, 'POST /oauth/token', 'the spans have arrived')
  for (const [about, assertion] of rows) {
    t.notOk(assertion.split('.').some((part) => part.length > 24 && records.includes(part)), `${about}: in no record`)
  }
})

t.test('a client that registered itself gets only what it registered for', async (t) => {
  const seed = await start(t)
  const clientId = await register(seed.url, { grant_types: ['authorization_code'] })
  for (const form of [{ grant_type: 'refresh_token', refresh_token: 'x' }, { grant_type: 'client_credentials' }]) {
    t.match(await post(`${seed.url}/oauth/token`, { client_id: clientId, ...form }), {
      statusCode: 400, json: { error: 'unauthorized_client' }
    }, form.grant_type)
  }
})

t.test('the server declares the extension in both eras, where a service is configured', async (t) => {
  const declared = async (seed: TestSeed, token: string) => {
    const { body: modern } = await postMcp(seed, modernRequest('server/discover'), token)
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
    const body = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params })
    const legacy = await postMcp(seed, { body, headers: {} }, token)
    return [modern.result.capabilities.extensions, legacy.body.result.capabilities.extensions]
  }
  const seed = await start(t)
  const extension = { 'io.modelcontextprotocol/oauth-client-credentials': {} }
  t.same(await declared(seed, await accessToken(seed)), [extension, extension])
  const without = await startBroker(t)
  t.same(await declared(without, (await getTokens(without)).accessToken), [undefined, undefined])
})
