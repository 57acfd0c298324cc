import { createHmac, randomUUID } from 'node:crypto'
import { base64url, decodeJwt } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { post, getTokens, startBroker, startReplica } from '../../../support/broker.ts'
import type { Answer } from '../../../support/broker.ts'
import { isError, withoutReference } from '../../../support/oauth-error.ts'
import { ownRedisForTests } from '../../../support/redis.ts'
import { modernRequest, ping, sendModern } from '../../../support/seed.ts'
import type { TestSeed } from '../../../support/seed.ts'
import { until } from '../../../support/until.ts'
import { githubClaims, gitlabClaims, kubernetesClaims, spiffeClaims, startWorkloadIssuer } from '../../../support/workload-issuer.ts'

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const AUDIENCE = 'https://seed.example.com'
/** Claims of a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.4). */
const LOGOUT = { jti: 'l-1', sid: 's-1', events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }
const seconds = (): number => Math.floor(Date.now() / 1_000)

async function startPlatform (t: Test, entry: object = {}, rule: object = {}) {
  const platform = await startWorkloadIssuer(t)
  const issuer = {
    issuer: platform.issuer,
    preset: 'github-actions',
    audience: AUDIENCE,
    rules: [{
      service: 'deploy',
      match: { repository_id: '74', environment: 'production' },
      scope: 'tickets:read tickets:write',
      groups: ['ci'],
      claims: { department: 'it' },
      ...rule
    }],
    ...entry
  }
  const mint = async (changes: Record<string, unknown> = {}, header = {}) =>
    await platform.mint(githubClaims(AUDIENCE, changes), header)
  return { platform, issuer, mint, env: { TRUSTED_ISSUERS: JSON.stringify([issuer]), AUDIT_LOG: 'stdout' } }
}

type Form = Record<string, string>

async function send (
  { url }: Pick<TestSeed, 'url'>, assertion: string, form: Form = {}, headers: Form = {}
): Promise<Answer> {
  return await post(`${url}/oauth/token`, { grant_type: JWT_BEARER, assertion, resource: `${url}/mcp`, ...form }, headers)
}

/** Waits until Seed has the keys of the issuers: until then it answers 503. */
async function loadKeys (seed: TestSeed, ...assertions: string[]): Promise<void> {
  for (const assertion of assertions) {
    await until(async () => (await send(seed, assertion, { scope: 'unknown' })).statusCode !== 503, 'keys are loaded')
  }
}

async function callWhoami ({ url }: Pick<TestSeed, 'url'>, token: unknown): Promise<Record<string, unknown>> {
  const response = await sendModern(url, modernRequest('tools/call', { name: 'whoami', arguments: {} }), String(token))
  const { result } = await response.json() as { result: { structuredContent: Record<string, unknown> } }
  return result.structuredContent
}

async function statusOfPing ({ url }: Pick<TestSeed, 'url'>, token: unknown): Promise<number> {
  const response = await ping(url, String(token))
  await response.body?.cancel()
  return response.status
}

function isRefused (t: Test, answer: Answer, error: string, reason: RegExp, about: string): void {
  isError(t, answer, 400, error, about)
  t.match(withoutReference(answer.json['error_description']), reason, `${about}: the client is told why`)
}

t.test('a GitHub job calls a tool without any secret, and is known by the name of its service', async (t) => {
  const { mint, env } = await startPlatform(t)
  const seed = await startBroker(t, { env })
  await loadKeys(seed, await mint())
  const assertion = await mint({}, { typ: 'JWT' })
  const answer = await send(seed, assertion)
  const { access_token: token, ...rest } = answer.json
  t.same({ status: answer.statusCode, ...rest }, {
    status: 200, token_type: 'Bearer', expires_in: 900, scope: 'tickets:read tickets:write'
  }, 'no refresh token')
  t.match(await callWhoami(seed, token), {
    kind: 'service', grantType: JWT_BEARER, subject: 'deploy', clientId: 'deploy', issuer: seed.url, groups: ['ci']
  })
  t.match(decodeJwt(String(token)), { department: 'it', aud: `${seed.url}/mcp`, repository_id: undefined })
  t.match(seed.logs.find((line) => line['event'] === 'sign_in' && line['outcome'] === 'ok'), {
    client: 'deploy', subject: 'deploy', kind: 'configured', principalKind: 'service', grantType: JWT_BEARER
  }, 'the audit log has it')
  t.match(await seed.logged((line) => line['event'] === 'tools/call'), { client: 'deploy', kind: 'configured' })
  t.notMatch(JSON.stringify(seed.logs), assertion.split('.')[2])
})

t.test('each platform has its service, also where tokens have no iss and no jti, or come again', async (t) => {
  const [gitlab, cluster] = [await startWorkloadIssuer(t), await startWorkloadIssuer(t)]
  const spire = await startWorkloadIssuer(t, { algorithm: 'ES256' })
  const entries = [
    {
      issuer: gitlab.issuer,
      preset: 'gitlab-ci',
      rules: [{ service: 'pipeline', match: { project_id: '20', ref: 'main', ref_protected: 'true' } }]
    },
    {
      issuer: cluster.issuer,
      preset: 'kubernetes',
      single_use: false,
      rules: [{ service: 'nightly', match: { sub: 'system:serviceaccount:reports:nightly' } }]
    },
    {
      preset: 'spiffe',
      trust_domain: 'example.org',
      jwks_uri: spire.jwksUri,
      rules: [{ service: 'job', match: { sub: 'spiffe://example.org/ns/reports/job' } }]
    }
  ].map((entry) => ({ ...entry, audience: AUDIENCE }))
  const seed = await startBroker(t, { env: { TRUSTED_ISSUERS: JSON.stringify(entries) } })
  const tokens = {
    pipeline: await gitlab.mint(gitlabClaims(AUDIENCE)),
    nightly: await cluster.mint(kubernetesClaims(AUDIENCE)),
    job: await spire.mint(spiffeClaims(AUDIENCE, { iat: undefined }))
  }
  await loadKeys(seed, ...Object.values(tokens))
  for (const [service, assertion] of Object.entries(tokens)) {
    const answer = await send(seed, assertion)
    t.match(await callWhoami(seed, answer.json['access_token']), { kind: 'service', subject: service })
    const again = await send(seed, assertion)
    if (service === 'pipeline') isRefused(t, again, 'invalid_grant', /was used before/, service)
    else t.equal(again.statusCode, 200, `${service}: without jti, or with single_use false, it is good again`)
  }
})

t.test('a token that does not belong here is an invalid_grant, and no log line has it', async (t) => {
  const { platform, issuer, mint } = await startPlatform(t)
  const other = await startWorkloadIssuer(t)
  const entries = [issuer, {
    issuer: other.issuer, audience: AUDIENCE, rules: [{ service: 'other', match: { sub: 'other' } }]
  }]
  const seed = await startBroker(t, {
    env: { TRUSTED_ISSUERS: JSON.stringify(entries) }, timings: { forcedKeyRefreshMs: 20 }
  })
  const good = await mint()
  const of = async (claims: object) => await other.mint({ sub: 'other', aud: AUDIENCE, iat: seconds(), exp: seconds() + 60, ...claims })
  await loadKeys(seed, good, await of({}))
  const [header, payload, signature] = good.split('.') as [string, string, string]
  const encode = (value: unknown): string => base64url.encode(JSON.stringify(value))
  const unsigned = `${encode({ alg: 'HS256', kid: 'platform-key' })}.${payload}`
  const twice = base64url.encode(`${base64url.decode(payload).toString()}`.replace('{', '{"repository_id":"74",'))
  const { accessToken } = await getTokens(seed)
  const cases: Record<string, [token: string, reason: RegExp]> = {
    'another audience': [await mint({ aud: 'https://github.com/octo-org' }), /aud must be https:\/\/seed.example.com alone/],
    'two audiences': [await mint({ aud: [AUDIENCE, 'https://other.example.com'] }), /aud must be/],
    'another issuer with the same key id': [await other.mint(githubClaims(AUDIENCE, { iss: platform.issuer })), /signature/],
    'claims of another issuer': [await other.mint(githubClaims(AUDIENCE)), /no rule of its issuer fits/],
    'an issuer that is not trusted': [await mint({ iss: 'https://evil.example.com' }), /iss must be an issuer/],
    'an ID-JAG': [await mint({}, { typ: 'oauth-id-jag+jwt' }), /typ in its header/],
    'an access token': [accessToken, /typ in its header/],
    'an ID token of the provider': [await seed.provider.mint({ aud: AUDIENCE, nonce: 'n' }, { typ: 'JWT' }), /iss must be an issuer/],
    'a logout token of a trusted issuer': [await of(LOGOUT), /it must have no .*: ID tokens of people and logout tokens are not accepted/],
    'a logout token of a platform': [await mint(LOGOUT), /logout tokens are not accepted/],
    'a logout token that says so': [await of({ ...LOGOUT, typ: 'Logout' }), /logout tokens are not accepted/],
    'a logout token with a typ of its own': [
      await other.mint({ sub: 'other', aud: AUDIENCE, iat: seconds(), exp: seconds() + 60, ...LOGOUT }, { typ: 'logout+jwt' }),
      /typ in its header must be jwt or jose, or absent/
    ],
    'a logout token of the provider': [await seed.provider.mint({ aud: AUDIENCE, ...LOGOUT }, { typ: 'JWT' }), /iss must be an issuer/],
    'an ID token of a trusted issuer': [await of({ nonce: 'n' }), /ID tokens of people/],
    expired: [await mint({ iat: seconds() - 600, exp: seconds() - 60 }), /it has expired/],
    'too long': [await mint({ exp: seconds() + 86_400 }), /at most 3600 seconds/],
    'from the future': [await mint({ iat: seconds() + 300 }), /iat is in the future/],
    'algorithm none': [`${encode({ alg: 'none' })}.${payload}.`, /algorithm/],
    'HS256 with the public key': [
      `${unsigned}.${createHmac('sha256', JSON.stringify(platform.keys[0])).update(unsigned).digest('base64url')}`,
      /algorithm/
    ],
    'a changed signature': [`${header}.${payload}.${signature.slice(0, -8)}AAAAAAAA`, /signature/],
    'a claim twice': [`${header}.${twice}.${signature}`, /without a claim twice/],
    'an unknown key id': [await mint({}, { kid: 'made-up' }), /its key is not one of its issuer/],
    'a sub that nearly matches': [await of({ sub: 'other2' }), /no rule/],
    'a fork': [await mint({ repository: 'evil/octo-repo', repository_id: '75', environment: 'production' }), /no rule/],
    'a repository of the old name': [await mint({ repository_id: '7474' }), /no rule/],
    'a pull request, which has no environment': [await mint({ ref: 'refs/pull/7/merge', environment: undefined }), /no rule/],
    'a text': ['not a token', /must be a signed JWT/]
  }
  for (const [about, [token, reason]] of Object.entries(cases)) {
    isRefused(t, await send(seed, token), 'invalid_grant', reason, about)
    t.notMatch(JSON.stringify(seed.logs), token.split('.').at(-1) || token, `${about}: not in the log`)
  }
  t.ok(seed.logs.some(({ cause, level }) => cause === 'workload_token' && level === 30), 'the log has the cause')
  t.match(JSON.stringify(seed.logs), 'wants another repository_id', 'the log names the claims that do not fit')
  isError(t, await send(seed, `${header}.${payload}.${'A'.repeat(9_000)}`), 400, 'invalid_request', 'too large')
  const huge = await send(seed, 'A'.repeat(1_048_576))
  t.equal(huge.statusCode, 413, 'a megabyte is not read')
  t.match(huge.json, { error: 'invalid_request' })
  t.equal((await send(seed, good)).statusCode, 200, 'the good one is good')
})

t.test('the token of a person is no service, whatever a rule pins; those of programs are', async (t) => {
  const issuer = await startWorkloadIssuer(t)
  const rules = ['azp', 'appid', 'cid', 'client_id', 'sub'].map((claim) => ({ service: 'robot', match: { [claim]: 'app' } }))
  const seed = await startBroker(t, {
    env: { TRUSTED_ISSUERS: JSON.stringify([{ issuer: issuer.issuer, audience: AUDIENCE, rules }]) }
  })
  const mint = async (changes: object) =>
    await issuer.mint({ aud: AUDIENCE, iat: seconds(), exp: seconds() + 300, ...changes }, { typ: 'JWT' })
  await loadKeys(seed, await mint({ sub: 'app' }))
  const signIn = { sub: 'alice', name: 'Alice', scope: 'openid email', oid: 'o-1' }
  for (const [about, claims] of Object.entries({
    'after a sign-in': { ...signIn, azp: 'app', sid: 's', auth_time: seconds() - 60, email: 'alice@example.com' },
    'of Entra ID': { ...signIn, appid: 'app', idtyp: 'user' },
    'of Okta': { ...signIn, cid: 'app', uid: 'u' },
    'by RFC 9068': { ...signIn, client_id: 'app' },
    'with the client as a list': { ...signIn, azp: ['app'] },
    'whose subject is pinned': { sub: 'app', azp: 'portal' },
    'with a session alone': { sub: 'app', sid: 's' },
    'with a time of the sign-in alone': { sub: 'app', auth_time: seconds() },
    'with a method of the sign-in alone': { sub: 'app', amr: ['pwd'] },
    'with an email address alone': { sub: 'app', email: 'alice@example.com' },
    'with a user name alone': { sub: 'app', preferred_username: 'alice' },
    'of a session, where a mapper writes gty for all': { sub: 'alice', azp: 'app', gty: 'client-credentials', sid: 's' }
  })) isRefused(t, await send(seed, await mint(claims)), 'invalid_grant', /it must be that of a service/, about)
  t.match(JSON.stringify(seed.logs), 'tokens of people of other issuers are not accepted (TRUSTED_ISSUERS)')
  for (const [about, claims] of Object.entries({
    'a job of a platform without clients': { sub: 'app' },
    'RFC 9068': { sub: 'app', client_id: 'app' },
    Okta: { sub: 'app', cid: 'app' },
    'Entra ID': { sub: 'o-1', oid: 'o-1', azp: 'app' },
    Auth0: { sub: 'app@clients', azp: 'app', gty: 'client-credentials' },
    'a service account of Google, which has an email address': { sub: 'app', azp: 'app', email: 'a@p.iam.gserviceaccount.com' }
  })) t.equal((await send(seed, await mint(claims))).statusCode, 200, about)
})

t.test('requests of workloads are complete, for this server, and without other credentials', async (t) => {
  const { mint, env } = await startPlatform(t)
  const clients = [{ client_id: 'nightly', grant_types: ['client_credentials'], client_secret: 'secret of the nightly job', token_endpoint_auth_method: 'client_secret_post' }]
  const seed = await startBroker(t, { env: { ...env, OAUTH_CLIENTS: JSON.stringify(clients) } })
  await loadKeys(seed, await mint())
  const { url } = seed
  isError(t, await post(`${url}/oauth/token`, { grant_type: JWT_BEARER }), 400, 'invalid_request', 'no assertion')
  isRefused(t, await send(seed, await mint(), { resource: 'https://other.example.com/mcp' }), 'invalid_target', /resource/, 'resource')
  const credentials = { client_id: 'nightly', client_secret: 'secret of the nightly job' }
  isRefused(t, await send(seed, await mint(), credentials), 'invalid_request', /send no other one/, 'a secret')
  isRefused(t, await send(seed, await mint(), {}, { authorization: 'Basic bmlnaHRseTp4' }), 'invalid_request', /send no other one/, 'a header')
  isRefused(t, await send(seed, await mint(), { client_id: 'nightly' }), 'unauthorized_client', /name of this workload's service/, 'another id')
  t.equal((await send(seed, await mint(), { client_id: 'deploy' })).statusCode, 200, 'its own id')
  t.equal((await send(seed, await mint(), { resource: `${url}/` })).statusCode, 200)
  isRefused(t, await send(seed, await mint(), { scope: 'tickets:read admin' }), 'invalid_scope', /within the scopes of this service/, 'scope')
  t.match((await send(seed, await mint(), { scope: 'tickets:read openid' })).json, { scope: 'tickets:read' })
  const { json } = await post(`${url}/oauth/token`, { grant_type: 'client_credentials', ...credentials })
  t.match(await callWhoami(seed, json['access_token']), { subject: 'nightly' }, 'other services are as before')
})

t.test('a token is good once at all replicas, and not at all while the store is away', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const { mint, env } = await startPlatform(t)
  const one = await startBroker(t, { env: { ...env, REDIS_URL: redis.url } })
  const two = await startReplica(t, one, { ...env, REDIS_URL: redis.url })
  for (const seed of [one, two]) await loadKeys(seed, await mint())
  const at = async ({ app }: TestSeed, assertion: string) => {
    const { port } = app.server.address() as { port: number }
    return await post(`http://127.0.0.1:${port}/oauth/token`, { grant_type: JWT_BEARER, assertion }, { host: new URL(one.url).host })
  }
  const assertion = await mint()
  const answers = await Promise.all([at(one, assertion), at(two, assertion), at(one, assertion)])
  t.same(answers.map(({ statusCode }) => statusCode).sort(), [200, 400, 400], 'one of three at the same time')
  isRefused(t, await at(two, assertion), 'invalid_grant', /was used before/, 'later at the other replica')
  const token = answers.find(({ statusCode }) => statusCode === 200)!.json['access_token']
  for (const { app } of [one, two]) {
    const { port } = app.server.address() as { port: number }
    const response = await fetch(`http://127.0.0.1:${port}/mcp`, {
      method: 'POST',
      ...modernRequest('tools/list'),
      headers: {
        ...modernRequest('tools/list').headers,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${String(token)}`
      }
    })
    t.equal(response.status, 200, 'the access token is good at both')
    await response.body?.cancel()
  }
  await redis.kill('SIGKILL')
  const away = await at(one, await mint())
  t.equal(away.statusCode, 503)
  t.match(away.json, { error: 'temporarily_unavailable' })
})

t.test('a revocation of the service ends its tokens, and tokens of its platform from before', async (t) => {
  const { issuer, mint } = await startPlatform(t)
  const { platform: spire, issuer: spiffe } = await startPlatform(t, {
    issuer: undefined, preset: 'spiffe', trust_domain: 'example.org'
  }, { match: { sub: 'spiffe://example.org/ns/reports/job' } })
  const issuers = [issuer, { ...spiffe, jwks_uri: spire.jwksUri }]
  const seed = await startBroker(t, {
    env: { TRUSTED_ISSUERS: JSON.stringify(issuers), TOKEN_CLOCK_SKEW_SECONDS: '1' }
  })
  const withoutTime = await spire.mint(spiffeClaims(AUDIENCE, { iat: undefined }))
  await loadKeys(seed, await mint(), withoutTime)
  const { access_token: token } = (await send(seed, await mint())).json
  const early = {
    'from before': await mint({ iat: seconds() - 5 }),
    'from a platform whose clock is ahead': await mint({ iat: seconds() + 1 }),
    'without a time': withoutTime
  }
  t.equal(await statusOfPing(seed, token), 200)
  await seed.app.grantServices.grants.revokeAll({ clientId: 'deploy' }, 'revoked by the operator')
  await until(async () => await statusOfPing(seed, token) === 401, 'the token has ended')
  for (const [about, assertion] of Object.entries(early)) {
    isRefused(t, await send(seed, assertion), 'invalid_grant', /access was revoked after it was issued/, about)
  }
  await until(async () => {
    const { statusCode, json } = await send(seed, await mint())
    return statusCode === 200 && await statusOfPing(seed, json['access_token']) === 200
  }, 'tokens from after it are good')
})

t.test('an access token of an issuer for /mcp is no assertion, as it may come many times', async (t) => {
  const { issuer, mint } = await startPlatform(t)
  const { platform: other } = await startPlatform(t)
  const forMcp = {
    issuer: other.issuer, access_tokens: true, audience: AUDIENCE, rules: [{ service: 'agent', match: { sub: 'agent' } }]
  }
  const seed = await startBroker(t, { env: { TRUSTED_ISSUERS: JSON.stringify([issuer, forMcp]) } })
  await loadKeys(seed, await mint())
  const token = await other.mint({ sub: 'agent', aud: AUDIENCE, iat: seconds(), exp: seconds() + 60 })
  isRefused(t, await send(seed, token), 'invalid_grant', /iss must be an issuer that this server trusts/, 'for /mcp')
  const alone = await startBroker(t, { env: { TRUSTED_ISSUERS: JSON.stringify([forMcp]) } })
  isError(t, await send(alone, token), 400, 'unsupported_grant_type', 'no issuer is for the token endpoint')
})

t.test('access rules hold for workloads, with the groups and claims of their rule', async (t) => {
  const { mint, env } = await startPlatform(t)
  const seed = await startBroker(t, { env: { ...env, ACCESS_GROUPS: 'staff' } })
  await loadKeys(seed, await mint())
  isRefused(t, await send(seed, await mint()), 'unauthorized_client', /does not fulfil ACCESS_GROUPS/, 'group')
})

t.test('requests of a workload count by the name of its service, from whichever address', async (t) => {
  const { mint, env } = await startPlatform(t)
  const seed = await startBroker(t, { env: { ...env, OAUTH_LIMIT_PER_CLIENT: '3' } })
  await until(async () => (await send(seed, await mint({ aud: 'x' }))).statusCode === 400, 'ready')
  await loadKeys(seed, await mint({ environment: 'none' }))
  const statuses: number[] = []
  for (let index = 0; index < 5; index++) statuses.push((await send(seed, await mint())).statusCode)
  t.same(statuses, [200, 200, 200, 429, 429])
})

t.test('of two requests that both find a token unused, one has it', async (t) => {
  const { mint, env } = await startPlatform(t)
  const seed = await startBroker(t, { env })
  await loadKeys(seed, await mint())
  const assertion = await mint()
  t.equal((await send(seed, assertion)).statusCode, 200)
  const { store } = seed.app
  const { get } = store
  store.get = async () => undefined
  const second = await send(seed, assertion)
  store.get = get
  isRefused(t, second, 'invalid_grant', /was used before/, 'the second')
})

t.test('who finds a spent or revoked token cannot use up the requests of its service', async (t) => {
  const { mint, env } = await startPlatform(t)
  const seed = await startBroker(t, { env: { ...env, OAUTH_LIMIT_PER_CLIENT: '3', TOKEN_CLOCK_SKEW_SECONDS: '1' } })
  await loadKeys(seed, await mint({ environment: 'none' }))
  const [spent, revoked] = [await mint(), await mint({ iat: seconds() - 5 })]
  t.equal((await send(seed, spent)).statusCode, 200)
  for (let index = 0; index < 5; index++) isRefused(t, await send(seed, spent), 'invalid_grant', /was used before/, 'spent')
  t.equal((await send(seed, await mint())).statusCode, 200, 'the service goes on')
  await seed.app.grantServices.grants.revokeAll({ clientId: 'deploy' }, 'revoked by the operator')
  for (let index = 0; index < 5; index++) {
    isRefused(t, await send(seed, revoked), 'invalid_grant', /access was revoked after it was issued/, 'revoked')
  }
  await until(async () => {
    const { statusCode } = await send(seed, await mint())
    return statusCode === 200
  }, 'tokens from after it are good')
})

t.test('while the keys of an issuer cannot be had the answer is 503, not invalid_grant', async (t) => {
  const { platform, mint, env } = await startPlatform(t)
  platform.isUp = false
  const seed = await startBroker(t, { env })
  await seed.logged(({ event }) => event === 'issuer.keys_unavailable')
  const answer = await send(seed, await mint())
  t.equal(answer.statusCode, 503)
  t.equal(answer.headers['retry-after'], '5')
  t.match(answer.json, { error: 'temporarily_unavailable', error_description: /keys of the token's issuer cannot be fetched/ })
})

t.test('ID-JAGs and tokens of workloads come to one endpoint, and neither passes for the other', async (t) => {
  const { mint, env } = await startPlatform(t)
  const client = { client_id: 'company-client', client_secret: 'secret of the company client' }
  const seed = await startBroker(t, {
    env: {
      ...env,
      ENTERPRISE_AUTHORIZATION: 'only',
      OAUTH_CLIENTS: JSON.stringify([{ ...client, grant_types: [JWT_BEARER], token_endpoint_auth_method: 'client_secret_post' }])
    }
  })
  await loadKeys(seed, await mint())
  const claims = {
    aud: seed.url, client_id: client.client_id, jti: randomUUID(), iat: seconds(), exp: seconds() + 60, scope: 'openid'
  }
  const idJag = async (changes = {}, typ = 'oauth-id-jag+jwt') => await seed.provider.mint({ ...claims, jti: randomUUID(), ...changes }, { typ })
  const person = await send(seed, await idJag(), client)
  t.match(await callWhoami(seed, person.json['access_token']), { kind: 'person', subject: 'ada' })
  const service = await send(seed, await mint())
  t.match(await callWhoami(seed, service.json['access_token']), { kind: 'service', subject: 'deploy' })
  isError(t, await send(seed, await idJag()), 401, 'invalid_client', 'an ID-JAG without its client')
  isRefused(t, await send(seed, await mint(), client), 'invalid_grant', /typ in its header must be oauth-id-jag\+jwt/, 'a workload token of a client')
  isRefused(t, await send(seed, await idJag({}, 'JWT')), 'invalid_grant', /iss must be an issuer that this server trusts/, 'another typ')
  isRefused(t, await send(seed, '!.!.!'), 'invalid_grant', /must be a signed JWT/, 'no JWT')
  isError(t, await post(`${seed.url}/oauth/token`, { grant_type: JWT_BEARER, ...client }), 400, 'invalid_request', 'no assertion')
  const metadata = async ({ url }: TestSeed) =>
    await (await fetch(`${url}/.well-known/oauth-authorization-server`)).json() as Record<string, unknown>
  t.match(await metadata(seed), {
    grant_types_supported: [JWT_BEARER], authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag']
  })
  const alone = await metadata(await startBroker(t, { env }))
  t.same(alone['grant_types_supported'], ['authorization_code', 'refresh_token', JWT_BEARER])
  t.notOk(alone['authorization_grant_profiles_supported'], 'tokens of workloads are no ID-JAGs')
})
