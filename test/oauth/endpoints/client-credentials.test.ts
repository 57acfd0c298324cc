import { randomUUID } from 'node:crypto'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import type { CryptoKey } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../../src/define/tool.ts'
import { whoami } from '../../../src/tools/whoami.ts'
import { getTokens, post, register, startBroker } from '../../support/broker.ts'
import type { Answer } from '../../support/broker.ts'
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

async function call (seed: TestSeed, token: string, name: string): Promise<{ status: number, body: any }> {
  const response = await sendModern(seed.url, modernRequest('tools/call', { name, arguments: {} }), token)
  return { status: response.status, body: await response.json() }
}

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
    level: 40, subject: 'nightly', clientId: 'nightly', audience: 'tickets-api', reason: 'a service calls'
  })
})

t.test('an assertion without kid fits one of two keys; every other one is invalid_client', async (t) => {
  const pairs = await Promise.all([1, 2, 3].map(async () => await generateKeyPair('ES256', { extractable: true })))
  const [one, two, stranger] = pairs
  const jwks = { keys: [await exportJWK(one!.publicKey), await exportJWK(two!.publicKey)] }
  const seed = await start(t, { client: { client_secret: undefined, jwks } })
  const send = async (claims: object, key: CryptoKey, header: object = {}) => await post(`${seed.url}/oauth/token`, {
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await new SignJWT({ iss: 'nightly', sub: 'nightly', aud: seed.url, jti: randomUUID(), ...claims })
      .setProtectedHeader({ alg: 'ES256', ...header }).setIssuedAt().setExpirationTime('1m').sign(key)
  })
  t.equal((await send({}, one!.privateKey)).statusCode, 200)
  t.equal((await send({}, two!.privateKey)).statusCode, 200)
  for (const [what, claims, key, header] of [
    ['the key of a stranger', {}, stranger!.privateKey],
    ['another audience', { aud: 'https://other.example' }, two!.privateKey],
    ['two audiences', { aud: [seed.url, 'https://other.example'] }, two!.privateKey],
    ['another client', { iss: 'website', sub: 'website' }, two!.privateKey],
    ['another issuer', { iss: 'website' }, two!.privateKey],
    ['no jti', { jti: undefined }, two!.privateKey],
    ['the type of an ID-JAG', {}, two!.privateKey, { typ: 'oauth-id-jag+jwt' }],
    ['a key that its header brings along', {}, stranger!.privateKey, { jwk: await exportJWK(stranger!.publicKey) }]
  ] as const) {
    const { statusCode, json } = await send(claims, key, header)
    t.match({ statusCode, json }, { statusCode: 401, json: { error: 'invalid_client' } }, what)
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
