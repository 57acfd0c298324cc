import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import {
  SEED_SECRET, editGrant, getTokens, newRequest, post, readTokens, redeem, refresh, register, signIn,
  startBroker, startReplica,
  toCallback
} from '../support/broker.ts'
import { createBrowser } from '../support/browser.ts'
import { writeEndpoints } from '../support/endpoints.ts'
import { createOAuthClient } from '../support/oauth-client.ts'
import { signInV1, signInV2 } from '../support/sign-in-clients.ts'
import type { SignInAndConnect } from '../support/sign-in-clients.ts'
import { isError } from '../support/oauth-error.ts'
import { emptyFolder } from '../support/process.ts'
import { modernRequest, ready, sendModern, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { startDevProvider } from '../../dev/provider.ts'
import { issueAccessToken } from '../../src/tokens/issue-access-token.ts'
import { createTestPrincipal } from '../../src/testing/principal.ts'
import { readTrace } from '../../src/trace/traces.ts'
import { until } from '../support/until.ts'
import { runCommand } from '../support/run-command.ts'
import { startWorkloadIssuer } from '../support/workload-issuer.ts'

/** Several MCP endpoints behind one authorization server, over HTTP. Bob is in engineering, Ada in admins too. */

const ENDPOINTS = {
  endpoints: {
    sales: { title: 'Sales tools', scopes: ['email', 'sales'] },
    ops: { access: { groups: ['admins', 'robots'], claims: { name: ['Ada Lovelace', 'the deploy job'] } } }
  }
}
const SCOPES = 'openid profile email groups offline_access'

async function start (
  t: Test, { env = {}, endpoints = ENDPOINTS }: { env?: Record<string, string>, endpoints?: object } = {}
): Promise<TestSeed> {
  const SEED_ENDPOINTS = await writeEndpoints(endpoints)
  return await startBroker(t, { env: { SEED_ENDPOINTS, OIDC_SCOPES: SCOPES, ...env } })
}

/** The claims of a token of the deploy job. */
function claims (aud: string): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1_000)
  return { sub: 'job', azp: 'job', aud, jti: randomUUID(), iat: now, exp: now + 300 }
}

/** Calls whoami at an endpoint. */
async function callAt (url: string, token?: string): Promise<Response> {
  return await sendModern(url, modernRequest('tools/call', { name: 'whoami', arguments: {} }), token, {}, '')
}

t.test('a client finds the metadata of an endpoint from its URL alone, and the challenge names it', async (t) => {
  const seed = await start(t, { env: { SERVER_TITLE: 'Acme' } })
  for (const [path, name, scopes] of [
    ['/mcp', 'Acme', ['openid', 'profile', 'email', 'groups']],
    ['/mcp/ops', 'Acme: ops', ['openid', 'profile', 'email', 'groups']],
    ['/mcp/sales', 'Sales tools', ['email', 'sales']]
  ] as const) {
    const { status, headers } = await callAt(`${seed.url}${path}`)
    t.equal(status, 401)
    const metadata = `${seed.url}/.well-known/oauth-protected-resource${path}`
    t.equal(headers.get('www-authenticate'), `Bearer scope="${scopes.join(' ')}", resource_metadata="${metadata}"`)
    t.match(await (await fetch(metadata)).json(), {
      resource: `${seed.url}${path}`,
      resource_name: name,
      authorization_servers: [seed.url],
      scopes_supported: scopes
    })
  }
  const root = await fetch(`${seed.url}/.well-known/oauth-protected-resource`)
  t.match(await root.json(), { resource: `${seed.url}/mcp` }, 'the document at the root is that of /mcp')
  t.equal((await fetch(`${seed.url}/.well-known/oauth-protected-resource/mcp/other`)).status, 404)
  const server = await (await fetch(`${seed.url}/.well-known/oauth-authorization-server`)).json()
  t.match(server, { scopes_supported: ['openid', 'profile', 'email', 'groups', 'offline_access', 'sales'] })
})

t.test('the resource of the authorization request decides for which endpoint the tokens are, and no other takes them', async (t) => {
  const seed = await start(t)
  const [main, sales] = [`${seed.url}/mcp`, `${seed.url}/mcp/sales`]
  for (const [resource, aud] of [
    [undefined, main], [main, main], [seed.url, main], [`${sales}/`, sales], [sales, sales],
    [sales.replace('http', 'HTTP'), sales]
  ] as const) {
    const { accessToken } = await getTokens(seed, { parameters: resource === undefined ? {} : { resource } })
    t.equal(decodeJwt(accessToken).aud, aud, `resource ${resource}`)
  }
  const { accessToken } = await getTokens(seed, { parameters: { resource: sales } })
  for (const time of ['first', 'second']) {
    const refused = await callAt(main, accessToken)
    t.equal(refused.status, 401, `the ${time} request to another endpoint`)
    t.match(refused.headers.get('www-authenticate'), /error="invalid_token", error_description="The access token is for/)
    t.equal((await callAt(sales, accessToken)).status, 200)
  }
  const mainToken = (await getTokens(seed)).accessToken
  t.same([(await callAt(main, mainToken)).status, (await callAt(sales, mainToken)).status], [200, 401])
  const line = await seed.logged(({ cause }) => cause === 'token_other_endpoint')
  t.match(line, { status: 401, reason: `the token is for ${sales}, the request is for ${main}` })
  const refused = await fetch(newRequest(seed, await register(seed.url), { resource: `${main}/none` }).url, {
    redirect: 'manual'
  })
  const location = new URL(refused.headers.get('location')!)
  t.match(location.searchParams.get('error_description'), `resource must be one of ${main}, ${seed.url}/mcp/ops, ${sales}`)
  t.equal(location.searchParams.get('error'), 'invalid_target')
})

t.test('an unknown path names the endpoints to connect to, unless they are to be found nowhere (HOME_PAGE)', async (t) => {
  for (const [env, further] of [[{}, ['/mcp/ops', '/mcp/sales']], [{ HOME_PAGE: 'false' }, []]] as const) {
    const seed = await start(t, { env })
    const response = await fetch(`${seed.url}/mcp/other`, { method: 'POST' })
    t.equal(response.status, 404)
    const urls = ['/mcp', ...further].map((path) => seed.url + path)
    t.match(await response.json(), { message: `There is nothing at this path. MCP clients connect to ${urls.join(' or ')}` })
  }
})

t.test('seed trace says that a token was for another endpoint', async (t) => {
  const seed = await start(t)
  const { accessToken } = await getTokens(seed, { parameters: { resource: `${seed.url}/mcp/sales` } })
  const { headers } = await callAt(`${seed.url}/mcp`, accessToken)
  const reference = headers.get('x-request-id')!
  await until(async () => (await readTrace(seed.app.store, reference)).length > 0, 'the refused call is recorded')
  t.match(await readTrace(seed.app.store, reference), [{ status: 401, cause: 'token_other_endpoint' }])
})

t.test('the consent page names the endpoint', async (t) => {
  const seed = await start(t)
  const clientId = await register(seed.url)
  const page = await (await fetch(newRequest(seed, clientId, { resource: `${seed.url}/mcp/sales` }).url)).text()
  t.match(page, `On the server <bdi>Sales tools</bdi>, <code>${seed.url}/mcp/sales</code>`)
  t.match(page, /<code><bdi>sales<\/bdi><\/code>/, 'and the scopes that it asks for by default')
  const other = await (await fetch(newRequest(seed, clientId).url)).text()
  t.match(other, `<code>${seed.url}/mcp</code>`)
})

t.test('a code and a refresh token are good for the resource of their sign-in alone, and are not spent by another one', async (t) => {
  const seed = await start(t)
  const [main, sales] = [`${seed.url}/mcp`, `${seed.url}/mcp/sales`]
  const signedIn = await signIn(seed, { parameters: { resource: sales } })
  isError(t, await redeem(seed.url, signedIn, { resource: main }), 400, 'invalid_target', 'a code, for another endpoint')
  isError(t, await redeem(seed.url, signedIn, { resource: `${main}/none` }), 400, 'invalid_target', 'for none')
  const tokens = readTokens(signedIn.clientId, await redeem(seed.url, signedIn, { resource: sales }))
  isError(t, await redeem(seed.url, signedIn, { resource: main }), 400, 'invalid_grant', 'a code that was used')
  const again = await getTokens(seed, { parameters: { resource: sales } })
  const { clientId, refreshToken } = again
  t.equal(decodeJwt(tokens.accessToken).aud, sales)
  isError(t, await refresh(seed.url, clientId, refreshToken, { resource: main }), 400, 'invalid_target', 'a refresh')
  const refreshed = readTokens(clientId, await refresh(seed.url, clientId, refreshToken, { resource: sales }))
  t.equal(decodeJwt(refreshed.accessToken).aud, sales)
  const atMain = await getTokens(seed)
  isError(t, await refresh(seed.url, atMain.clientId, atMain.refreshToken, { resource: sales }), 400, 'invalid_target',
    'a refresh, the other way round')
  const last = readTokens(clientId, await refresh(seed.url, clientId, refreshed.refreshToken))
  t.equal(decodeJwt(last.accessToken).aud, sales, 'without resource')
})

t.test('a grant of an earlier version is for /mcp, and one for an endpoint that is gone has ended', async (t) => {
  const seed = await start(t)
  const tokens = await getTokens(seed)
  await editGrant(seed, tokens.refreshToken, { endpoint: undefined })
  const refreshed = readTokens(tokens.clientId, await refresh(seed.url, tokens.clientId, tokens.refreshToken))
  t.equal(decodeJwt(refreshed.accessToken).aud, `${seed.url}/mcp`)
  await editGrant(seed, refreshed.refreshToken, { endpoint: 'closed' })
  const answer = await refresh(seed.url, tokens.clientId, refreshed.refreshToken)
  isError(t, answer, 400, 'invalid_grant', 'an endpoint that SEED_ENDPOINTS no longer has')
  t.match(answer.json['error_description'], /endpoint of this sign-in no longer exists/)
})

t.test('a token for an endpoint that SEED_ENDPOINTS no longer has is refused everywhere', async (t) => {
  const seed = await start(t)
  const contents = decodeJwt(await getTokens(seed).then(({ accessToken }) => accessToken))
  const token = await issueAccessToken({
    resource: `${seed.url}/mcp/closed`,
    subject: contents.sub!,
    clientId: String(contents['client_id']),
    scope: 'openid',
    grantId: String(contents['grant']),
    kind: 'person',
    grantType: 'authorization_code',
    authentication: undefined,
    identity: {}
  }, { signingKeys: seed.app.signingKeys, issuer: seed.url, ttlSeconds: 60 })
  for (const path of ['/mcp', '/mcp/sales']) t.equal((await callAt(`${seed.url}${path}`, token)).status, 401)
  t.match(await seed.logged(({ cause }) => cause === 'token_audience'),
    { reason: /^aud is ".*closed", this server has .*\/mcp, / })
})

t.test('the access rules of an endpoint hold at the sign-in, and the page names the endpoint', async (t) => {
  const seed = await start(t, { endpoints: { endpoints: { ops: { title: 'Operations', access: { groups: ['admins'] } } } } })
  const ops = { resource: `${seed.url}/mcp/ops` }
  const { browser, callback } = await toCallback(seed, { login: 'bob', parameters: ops })
  const refused = await browser.get(callback)
  t.equal(refused.status, 403)
  t.match(refused.body, /You may not use Operations/)
  t.match(await seed.logged(({ cause }) => cause === 'access_groups'),
    { reason: /^access.groups of \/mcp\/ops \(SEED_ENDPOINTS\): the groups sent \["engineering"\]/ })
  t.ok(await getTokens(seed, { login: 'bob' }), 'at /mcp the same person may sign in')
  const ada = await getTokens(seed, { parameters: ops })
  t.equal((await callAt(ops.resource, ada.accessToken)).status, 200)
})

t.test('the rules of ACCESS_ hold at every endpoint', async (t) => {
  const seed = await start(t, { env: { ACCESS_GROUPS: 'admins' } })
  const { browser, callback } = await toCallback(seed, { login: 'bob', parameters: { resource: `${seed.url}/mcp/sales` } })
  const { status, body } = await browser.get(callback)
  t.equal(status, 403)
  t.match(body, /You may not use this server/)
})

t.test('the access rules of an endpoint hold at a refresh, which ends the grant', async (t) => {
  const seed = await start(t)
  const { clientId, refreshToken } = await getTokens(seed, { login: 'bob', parameters: { resource: `${seed.url}/mcp/sales` } })
  await editGrant(seed, refreshToken, { endpoint: 'ops' })
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'Bob at /mcp/ops')
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'the grant has ended')
  t.match(await seed.logged(({ event }) => event === 'grant.access_refused'), { rule: 'access.groups of /mcp/ops (SEED_ENDPOINTS)' })
})

t.test('seed explain lets in whom an endpoint lets in, whatever claim of the provider has the groups', async (t) => {
  const SEED_ENDPOINTS = await writeEndpoints(ENDPOINTS)
  const env = { SEED_ENDPOINTS, OIDC_SCOPES: SCOPES, OIDC_GROUPS_CLAIM: 'realm_access.roles' }
  const seed = await startBroker(t, { env, provider: { quirks: { rolesClaim: true } } })
  const ops = `${seed.url}/mcp/ops`
  const { accessToken } = await getTokens(seed, { parameters: { resource: ops } })
  const ada = decodeJwt(accessToken)
  const withoutGroups = await issueAccessToken({
    resource: ops,
    subject: ada.sub!,
    clientId: String(ada['client_id']),
    scope: String(ada['scope']),
    grantId: String(ada['grant']),
    kind: 'person',
    grantType: 'authorization_code',
    authentication: undefined,
    identity: { name: ada['name'], realm_access: { roles: ['admins'] } }
  }, { signingKeys: seed.app.signingKeys, issuer: seed.url, ttlSeconds: 60 })
  const explain = async (claims?: object) => {
    const file = join(await emptyFolder(t), 'claims.json')
    if (claims !== undefined) await writeFile(file, JSON.stringify(claims))
    const args = ['--endpoint', 'ops', ...(claims === undefined ? [] : ['--claims', file])]
    return await runCommand(['explain', '--tool', 'whoami', ...args], {
      ...env,
      OAUTH_MODE: 'broker',
      BASE_URL: seed.url,
      OIDC_ISSUER: seed.provider.issuer,
      OIDC_CLIENT_ID: seed.provider.clientId,
      SEED_SECRET
    })
  }

  t.equal((await callAt(ops, accessToken)).status, 200)
  const admitted = await explain(ada)
  t.match(admitted, { code: 0, output: /^Tool "whoami" at \/mcp\/ops: allowed\n[^]*\nGroups \(groups of Seed's tokens\): .*admins/ })
  const { iss, ...withoutIssuer } = ada
  t.same(await explain(withoutIssuer), admitted, 'claims without iss are those of this server')
  t.equal((await callAt(ops, withoutGroups)).status, 403)
  t.match(await explain(decodeJwt(withoutGroups)), { code: 1, output: /lets nobody in like this caller[^]*: none, as the token has no such claim\n/ })
  t.equal((await callAt(ops)).status, 401)
  t.match(await explain(), { code: 1, output: /lets nobody in without sign-in/ })
  const { groups, ...rest } = ada
  t.match(await explain({ ...rest, iss: seed.provider.issuer, realm_access: { roles: groups } }), {
    code: 0, output: /OIDC_GROUPS_CLAIM=realm_access.roles\): .*admins/
  }, 'claims of the provider')
})

t.test('a token from before a rule was made is refused by it', async (t) => {
  const endpoints = await writeEndpoints({ endpoints: { sales: {} } })
  const seed = await startBroker(t, { env: { SEED_ENDPOINTS: endpoints, OIDC_SCOPES: SCOPES } })
  const sales = `${seed.url}/mcp/sales`
  const { accessToken } = await getTokens(seed, { login: 'bob', parameters: { resource: sales } })
  t.equal((await callAt(sales, accessToken)).status, 200)
  const later = await startReplica(t, seed, {
    OIDC_SCOPES: SCOPES, SEED_ENDPOINTS: await writeEndpoints({ endpoints: { sales: { access: { groups: ['admins'] } } } })
  })
  const answer = await callAt(`http://127.0.0.1:${new URL(later.app.listeningOrigin).port}/mcp/sales`, accessToken)
  t.equal(answer.status, 403)
})

t.test('an email rule is judged at each call, though the client did not ask for the address', async (t) => {
  const seed = await start(t, {
    endpoints: { endpoints: { sales: { access: { emailDomains: ['example.com'] } } } }, env: { ACCESS_EMAIL_UNVERIFIED: 'true' }
  })
  const sales = `${seed.url}/mcp/sales`
  const { accessToken } = await getTokens(seed, { parameters: { resource: sales, scope: 'openid' } })
  t.match(decodeJwt(accessToken), { email: 'ada@example.com' })
  t.equal((await callAt(sales, accessToken)).status, 200)
  const main = await getTokens(seed, { parameters: { scope: 'openid' } })
  t.notOk('email' in decodeJwt(main.accessToken), 'only tokens for the endpoint have what its rules need')
})

t.test('services get tokens for the endpoint that they name, if they fulfil its rules', async (t) => {
  const client = (id: string, groups: string[]) => ({
    client_id: id,
    client_secret: 'a secret of the nightly job',
    token_endpoint_auth_method: 'client_secret_post',
    grant_types: ['client_credentials'],
    scope: 'jobs',
    groups,
    claims: { name: 'the deploy job' }
  })
  const seed = await start(t, { env: { OAUTH_CLIENTS: JSON.stringify([client('nightly', []), client('deploy', ['robots'])]) } })
  const ask = async (id: string, form: Record<string, string>) => await post(`${seed.url}/oauth/token`, {
    grant_type: 'client_credentials', client_id: id, client_secret: 'a secret of the nightly job', ...form
  })
  const ops = `${seed.url}/mcp/ops`
  const { json } = await ask('deploy', { resource: ops })
  t.equal(decodeJwt(String(json['access_token'])).aud, ops)
  t.equal((await callAt(ops, String(json['access_token']))).status, 200)
  t.equal((await callAt(`${seed.url}/mcp`, String(json['access_token']))).status, 401)
  t.equal(decodeJwt(String((await ask('nightly', {})).json['access_token'])).aud, `${seed.url}/mcp`)
  t.match((await ask('nightly', { resource: `${seed.url}/mcp/sales`, scope: 'email sales' })).json, { scope: 'jobs' },
    'scopes that clients of people ask for there are no reason to refuse')
  const refused = await ask('nightly', { resource: ops })
  isError(t, refused, 400, 'unauthorized_client', 'a service that is not in a group of the endpoint')
  t.match(refused.json['error_description'], /does not fulfil access.groups of \/mcp\/ops/)
  isError(t, await ask('nightly', { resource: `${ops}/x` }), 400, 'invalid_target', 'no endpoint')
})

t.test('workloads get tokens for the endpoint that they name', async (t) => {
  const issuer = await startWorkloadIssuer(t)
  const TRUSTED_ISSUERS = JSON.stringify([{
    issuer: issuer.issuer,
    single_use: false,
    rules: [{ service: 'deploy', match: { sub: 'job' }, scope: 'jobs', groups: ['robots'], claims: { name: 'the deploy job' } }]
  }])
  const seed = await start(t, { env: { TRUSTED_ISSUERS } })
  const ask = async (form: Record<string, string>) => await post(`${seed.url}/oauth/token`, {
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion: await issuer.mint(claims(seed.url)),
    ...form
  })
  const ops = `${seed.url}/mcp/ops`
  t.equal(decodeJwt(String((await ask({ resource: ops })).json['access_token'])).aud, ops)
  t.equal(decodeJwt(String((await ask({})).json['access_token'])).aud, `${seed.url}/mcp`)
  isError(t, await ask({ resource: `${ops}/x` }), 400, 'invalid_target', 'no endpoint')
})

t.test("another issuer's access token is for the endpoint that it names as its audience, and otherwise for /mcp", async (t) => {
  const issuer = await startWorkloadIssuer(t)
  const BASE_URL = 'http://127.0.0.1:9'
  const TRUSTED_ISSUERS = JSON.stringify([{
    issuer: issuer.issuer,
    access_tokens: true,
    audience: ['api://seed', `${BASE_URL}/mcp/sales`],
    rules: [{ service: 'deploy', match: { sub: 'job' }, scope: 'jobs' }]
  }])
  const { app } = await start(t, { env: { TRUSTED_ISSUERS, BASE_URL } })
  const origin = app.listeningOrigin
  const tokenFor = async (aud: string) => await issuer.mint(claims(aud), { typ: 'at+jwt' })
  const sales = await tokenFor(`${BASE_URL}/mcp/sales`)
  t.same([(await callAt(`${origin}/mcp/sales`, sales)).status, (await callAt(`${origin}/mcp`, sales)).status], [200, 401])
  const main = await tokenFor('api://seed')
  t.same([(await callAt(`${origin}/mcp/sales`, main)).status, (await callAt(`${origin}/mcp`, main)).status], [401, 200])
})

t.test('a consent that was given for one endpoint is asked again for another', async (t) => {
  const seed = await start(t)
  const clientId = await register(seed.url)
  const browser = createBrowser()
  await signIn(seed, { clientId, browser })
  const { status, body } = await browser.get(new URL(newRequest(seed, clientId, { resource: `${seed.url}/mcp/sales` }).url))
  t.equal(status, 200)
  t.match(body, /name="consent"/)
})

t.test('clients of both eras sign in at two endpoints at once, and each uses the tools of its own', async (t) => {
  const seed = await start(t, { endpoints: { endpoints: { sales: { tools: { allow: ['seed_ping'] } } } } })
  const connections = await Promise.all([
    ['/mcp', signInV1], ['/mcp/sales', signInV1], ['/mcp', signInV2({ pin: '2026-07-28' })],
    ['/mcp/sales', signInV2({ pin: '2026-07-28' })]
  ].map(async ([path, signInAndConnect]) => {
    const oauth = createOAuthClient()
    const connection = await (signInAndConnect as SignInAndConnect)(t, new URL(`${seed.url}${path as string}`), oauth)
    return { path, oauth, connection }
  }))
  for (const { path, oauth, connection } of connections) {
    t.equal(decodeJwt(oauth.tokens().access_token).aud, `${seed.url}${path as string}`)
    t.same((await connection.listTools()).includes('whoami'), path === '/mcp', `${path as string} has its own tools`)
    t.ok(await connection.ping())
    oauth.spoilAccessToken()
    t.ok(await connection.ping(), 'after a refresh')
    t.equal(decodeJwt(oauth.tokens().access_token).aud, `${seed.url}${path as string}`)
    await connection.close()
  }
})

t.test('an ID-JAG leads to the endpoints that it names, and to every one if it names none', async (t) => {
  const client = { client_id: 'company', client_secret: 'secret of the company client' }
  const grantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
  const seed = await start(t, {
    endpoints: { endpoints: { sales: { scopes: ['email', 'sales'] }, ops: { access: { emailDomains: ['other.example'] } } } },
    env: {
      ENTERPRISE_AUTHORIZATION: 'also',
      OAUTH_CLIENTS: JSON.stringify([{ ...client, grant_types: [grantType], token_endpoint_auth_method: 'client_secret_post' }])
    }
  })
  const [main, sales] = [`${seed.url}/mcp`, `${seed.url}/mcp/sales`]
  const ask = async (resource: unknown, form: Record<string, string> = {}, more: Record<string, unknown> = {}) => {
    const assertion = await seed.provider.mint(
      { ...claims(seed.url), sub: 'ada', client_id: 'company', resource, email: 'ada@example.com', ...more },
      { typ: 'oauth-id-jag+jwt' }
    )
    return await post(`${seed.url}/oauth/token`, { grant_type: grantType, assertion, ...client, ...form })
  }
  const audienceOf = ({ json }: Awaited<ReturnType<typeof ask>>) => decodeJwt(String(json['access_token'])).aud
  t.equal(audienceOf(await ask(undefined)), main)
  t.equal(audienceOf(await ask(undefined, { resource: sales })), sales)
  t.equal(audienceOf(await ask(sales)), sales)
  t.equal(audienceOf(await ask([main, sales], { resource: sales })), sales)
  t.match((await ask(sales, {}, { scope: 'email sales' })).json, { scope: 'email sales' })
  t.match((await ask(main, {}, { scope: 'email sales' })).json, { scope: 'email' }, 'the scopes of another endpoint')
  isError(t, await ask(main, { resource: sales }), 400, 'invalid_target', 'an endpoint that it does not name')
  for (const resource of [[], [7], `${main}/none`, [main, `${main}/none`]]) {
    isError(t, await ask(resource), 400, 'invalid_grant', `resource ${JSON.stringify(resource)} in the ID-JAG`)
  }
  const refused = await ask(`${main}/ops`)
  isError(t, refused, 400, 'invalid_grant', 'a person who may not use the endpoint')
})

t.test('a sign-in that a tool demands is demanded of the endpoint at which it was called', async (t) => {
  const seed = await start(t)
  const { find, add } = seed.app.grantServices.demands
  const [ada, sales] = [{ subject: 'ada', clientId: 'client' }, `${seed.url}/mcp/sales`]
  const principal = createTestPrincipal({ subject: 'ada', clientId: 'client', claims: { grant: 'g' } })
  await add({ ...principal, resource: sales }, { maxAge: 60, acr: undefined })
  t.match(await find({ ...ada, endpoint: 'sales' }), { maxAge: 60, grantId: 'g' })
  t.equal(await find(ada), undefined, 'not at /mcp')
  await add({ ...principal, resource: `${seed.url}/mcp` }, { maxAge: 90, acr: undefined })
  t.match(await find(ada), { maxAge: 90 })
})

t.test('the page /connections and seed connections say at which endpoint an application is', async (t) => {
  const seed = await start(t)
  const clientId = await register(seed.url)
  await getTokens(seed, { clientId, parameters: { resource: `${seed.url}/mcp/sales` } })
  await getTokens(seed, { clientId })
  const browser = createBrowser()
  await browser.signIn(`${seed.url}/connections`, { login: 'ada', password: 'ada' }, ({ pathname }) =>
    pathname === '/connections')
  const { body } = await browser.get(new URL(`${seed.url}/connections`))
  t.match(body, `It can use <code>${seed.url}/mcp/sales</code>`)
  t.match(body, `It can use <code>${seed.url}/mcp</code>`)
})

t.test('below a path of a host each endpoint has its document where clients look, and its own audience', async (t) => {
  const SEED_ENDPOINTS = await writeEndpoints(ENDPOINTS)
  const redirectUris: string[] = []
  const provider = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: redirectUris })
  t.teardown(async () => { await provider.close() })
  const seed = await startSeed(t, {
    sharedProvider: provider, basePath: '/tools', env: { OAUTH_MODE: 'broker', SEED_ENDPOINTS, SEED_SECRET }
  })
  redirectUris.push(`${seed.url}/oauth/callback`)
  const { origin } = new URL(seed.url)
  await ready({ url: origin })
  const sales = `${origin}/tools/mcp/sales`
  const metadata = `${origin}/.well-known/oauth-protected-resource/tools/mcp/sales`
  t.match((await callAt(sales)).headers.get('www-authenticate'), `resource_metadata="${metadata}"`)
  t.match(await (await fetch(metadata)).json(), { resource: sales, authorization_servers: [`${origin}/tools`] })
  const oauth = createOAuthClient()
  const connection = await signInV1(t, new URL(sales), oauth)
  t.ok(await connection.ping())
  t.equal(decodeJwt(oauth.tokens().access_token).aud, sales)
  await connection.close()
})

t.test('seed token signs in at the endpoint whose URL it is given', async (t) => {
  const seed = await start(t)
  const sales = `${seed.url}/mcp/sales`
  let visit: Promise<unknown> | undefined
  const { code, printed } = await runCommand(['token', sales], {}, (text) => {
    const url = /^http\S+$/m.exec(text)?.[0]
    if (url === undefined) return
    visit = createBrowser().signIn(new URL(url), { login: 'ada', password: 'ada' }).then(async (last) => await fetch(last))
  })
  await visit
  t.equal(code, 0)
  t.match(decodeJwt(printed.trim()), { aud: sales, scope: /sales/ })
  t.equal((await callAt(sales, printed.trim())).status, 200)
})
