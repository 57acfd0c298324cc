import t from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import { whoami } from '../../src/tools/whoami.ts'
import { modernRequest, sendModern, startSeed } from '../support/seed.ts'
import { readTokens } from '../support/sign-in.ts'

/** Callers without a browser in proxy mode: what the provider issues is accepted, and Seed issues nothing. */

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

const AUDIENCE = 'seed-dev-confidential'
const definitions = [
  whoami,
  defineTool({ name: 'tidy', description: 'x', input: Type.Object({}), principalKind: 'service', handler: () => 'done' }),
  defineTool({
    name: 'tickets',
    description: 'x',
    input: Type.Object({}),
    handler: async (_input, { tokenFor }) => await tokenFor('tickets-api')
  })
]

const seed = await startSeed(t, {
  definitions,
  env: { OIDC_AUDIENCE: AUDIENCE },
  provider: { quirks: { exchangeAudiences: [AUDIENCE] } }
})
const { provider } = seed

async function call (name: string, token: string): Promise<{ status: number, body: any }> {
  const response = await sendModern(seed.url, modernRequest('tools/call', { name, arguments: {} }), token)
  return { status: response.status, body: await response.json() }
}

async function askProvider (form: Record<string, string>): Promise<string> {
  const response = await fetch(`${provider.issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${AUDIENCE}:dev-secret`).toString('base64')}` },
    body: new URLSearchParams(form)
  })
  t.equal(response.status, 200)
  return (await response.json() as { access_token: string }).access_token
}

t.test('a service calls with the access token that the provider gave it for client credentials', async (t) => {
  const token = await askProvider({ grant_type: 'client_credentials', audience: AUDIENCE, scope: 'openid' })
  t.match((await call('whoami', token)).body.result.structuredContent, { kind: 'service', subject: AUDIENCE })
  t.match((await call('tidy', token)).body.result, { content: [{ text: 'done' }] })
})

t.test('with token exchange at the provider another server calls on behalf of a person', async (t) => {
  const token = await provider.mint({ aud: AUDIENCE, act: { sub: 'portal' } }, { typ: 'at+jwt' })
  t.match((await call('whoami', token)).body.result.structuredContent, { kind: 'person', subject: 'ada' })
  t.match((await call('tidy', token)).body, { error: { message: /tidy/ } }, 'no tool for services')
})

t.test('a mapper of the provider makes a service account with a subject of its own a service', async (t) => {
  const account = { aud: AUDIENCE, sub: 'f3a1', azp: 'nightly', client_id: 'nightly' }
  t.match((await call('tidy', await provider.mint(account))).body, { error: {} }, 'without it counts as a person')
  const mapped = await provider.mint({ ...account, gty: 'client-credentials' })
  t.match((await call('tidy', mapped)).body.result, { content: [{ text: 'done' }] })
})

t.test("an ID-JAG, an ID token or the token of a workload's platform is no access token", async (t) => {
  const jag = { aud: AUDIENCE, client_id: 'company-app', resource: `${seed.url}/mcp`, jti: 'j' }
  for (const [about, token] of [
    ['an ID-JAG', await provider.mint(jag, { typ: 'oauth-id-jag+jwt' })],
    ['an ID token', await provider.mint({ aud: AUDIENCE, scope: undefined, nonce: 'n' }, { typ: 'JWT' })],
    ['a token of another issuer', await provider.mint({ aud: AUDIENCE, iss: 'https://token.actions.githubusercontent.com' })]
  ] as const) {
    t.equal((await call('whoami', token)).status, 401, about)
  }
})

t.test('the token endpoint issues nothing to callers without a browser, and names who does', async (t) => {
  const before = provider.hits()['/token']
  for (const form of [
    { grant_type: 'client_credentials', client_id: 'nightly', client_secret: 'a secret of the nightly job' },
    { grant_type: JWT_BEARER, client_id: 'company-app', assertion: await provider.mint() },
    { grant_type: TOKEN_EXCHANGE, subject_token: await provider.mint(), subject_token_type: ACCESS_TOKEN }
  ]) {
    const body = new URLSearchParams(form as Record<string, string>)
    const answer = await readTokens(await fetch(`${seed.url}/oauth/token`, { method: 'POST', body }))
    t.match(answer, { status: 400, error: 'unsupported_grant_type' }, form.grant_type)
    t.match(JSON.stringify(answer), `the identity provider, ${provider.issuer}, issues the access tokens of this server`)
  }
  t.equal(provider.hits()['/token'], before, 'the provider is not asked')
  const metadata = await fetch(`${seed.url}/.well-known/oauth-authorization-server`)
  t.same((await metadata.json() as { grant_types_supported: string[] }).grant_types_supported,
    ['authorization_code', 'refresh_token'])
})

t.test('a tool gets no token for another API, and the log says which mode has them', async (t) => {
  t.match((await call('tickets', await provider.mint({ aud: AUDIENCE }))).body, { result: { isError: true } })
  t.match(await seed.logged(({ msg }) => msg === 'A handler failed'), {
    err: { message: /OAUTH_MODE=broker/ }, handler: 'tickets'
  })
})
