import { createHash } from 'node:crypto'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import t from 'tap'
import { Type } from 'typebox'
import { defineTool } from '../../src/define/tool.ts'
import { CAUSES } from '../../src/errors/causes.ts'
import type { CauseCode } from '../../src/errors/causes.ts'
import { keys } from '../../src/store/keys.ts'
import { readTrace } from '../../src/trace/traces.ts'
import { formatStory, tellStory } from '../../src/trace/story.ts'
import type { Story } from '../../src/trace/story.ts'
import {
  REDIRECT_URI, ageRotation, byHand, getTokens, newRequest, post, redeem, refresh, register, signIn, startBroker,
  toCallback
} from '../support/broker.ts'
import { createBrowser } from '../support/browser.ts'
import { ping } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { createPlainClient } from '../support/sign-in.ts'
import { until } from '../support/until.ts'
import { githubClaims } from '../support/workload-issuer.ts'

/** Sign-ins that break. Each leads, by the reference that its user sees, to the step, the cause and what helps. */

type Broker = Parameters<typeof startBroker>[1]

interface Row {
  broken: string
  setup?: Broker
  /** Breaks a sign-in. @returns what the user sees: a page, a redirect, an error's JSON */
  attempt (seed: TestSeed): Promise<string>
  stoppedAt: string
  cause: CauseCode
}

const proxy: Broker = { env: { OAUTH_MODE: 'proxy' }, provider: { fixedRedirectUris: [REDIRECT_URI] } }
const UNKNOWN = 'A'.repeat(24)

/** The page or redirect that answers an authorization request. */
async function authorize (seed: TestSeed, parameters: Record<string, string>, clientId?: string): Promise<string> {
  const { url } = newRequest(seed, clientId ?? await register(seed.url), parameters)
  return await shown(url)
}

async function shown (url: string | URL, init: RequestInit = {}): Promise<string> {
  const response = await fetch(url, { redirect: 'manual', ...init })
  return response.headers.get('location') ?? await response.text()
}

/** The page or redirect that answers the callback, with the sign-in's own browser. */
async function atCallback (seed: TestSeed, change: (callback: URL) => void = () => {}): Promise<string> {
  const { browser, callback } = await toCallback(seed)
  change(callback)
  const page = await browser.get(callback)
  return page.status === 0 ? page.url.href : page.body
}

const idTokenWith = (claims: Record<string, unknown>): Broker =>
  ({ provider: { quirks: { idToken: (usual) => ({ claims: { ...usual, ...claims } }) } } })

const seconds = (): number => Math.floor(Date.now() / 1_000)

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const SERVICE = { client_id: 'nightly', client_secret: 'the secret of the nightly job' }
const COMPANY_APP = { client_id: 'company-app', client_secret: 'the secret of the company app' }
const BY_POST = { token_endpoint_auth_method: 'client_secret_post' }
/** A service, and the client of a company whose provider issues ID-JAGs. */
const withoutBrowser = (env: Record<string, string> = {}): Broker => ({
  env: {
    OAUTH_CLIENTS: JSON.stringify([
      { ...SERVICE, ...BY_POST, grant_types: ['client_credentials'], scope: 'tickets:read' },
      { ...COMPANY_APP, ...BY_POST, grant_types: [JWT_BEARER] }
    ]),
    ENTERPRISE_AUTHORIZATION: 'also',
    ...env
  }
})

/** What the token endpoint answers to a service. */
async function asService (seed: TestSeed, form: Record<string, string>): Promise<string> {
  return (await post(`${seed.url}/oauth/token`, { grant_type: 'client_credentials', ...SERVICE, ...form })).body
}

/** What the token endpoint answers to an ID-JAG for Ada, the last time. */
async function withAssertion (seed: TestSeed, claims: Record<string, unknown> = {}, times = 1): Promise<string> {
  const assertion = await seed.provider.mint({
    aud: seed.url,
    client_id: COMPANY_APP.client_id,
    resource: `${seed.url}/mcp`,
    scope: 'openid',
    jti: 'one',
    iat: seconds(),
    exp: seconds() + 300,
    ...claims
  }, { typ: 'oauth-id-jag+jwt' })
  let body = ''
  for (let time = 0; time < times; time++) {
    body = (await post(`${seed.url}/oauth/token`, { grant_type: JWT_BEARER, assertion, ...COMPANY_APP })).body
  }
  return body
}

const PLATFORM = 'https://token.actions.githubusercontent.com'
const JOB_AUDIENCE = 'https://seed.example.com'
const platform = await generateKeyPair('RS256')
const PLATFORM_KEY = { ...await exportJWK(platform.publicKey), alg: 'RS256' }
/** A platform whose jobs are services. */
const withPlatform = (keys: object): Broker => ({
  env: {
    TRUSTED_ISSUERS: JSON.stringify([{
      preset: 'github-actions',
      audience: JOB_AUDIENCE,
      rules: [{ service: 'deploy', match: { repository_id: '74', environment: 'production' } }],
      ...keys
    }])
  }
})

/** What the token endpoint answers to the token of a job, the last time. */
async function asJob (seed: TestSeed, claims: Record<string, unknown> = {}, times = 1): Promise<string> {
  const assertion = await new SignJWT({ iss: PLATFORM, ...githubClaims(JOB_AUDIENCE, claims) })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT' }).sign(platform.privateKey)
  let body = ''
  for (let time = 0; time < times; time++) {
    body = (await post(`${seed.url}/oauth/token`, { grant_type: JWT_BEARER, assertion })).body
  }
  return body
}

/** The consent page of a sign-in that goes on up to the page for which `isLast` holds, and no further. */
async function leaveAt (seed: TestSeed, isLast: (url: URL) => boolean): Promise<string> {
  const browser = createBrowser()
  const page = await browser.get(newRequest(seed, await register(seed.url)).url)
  await browser.submit(page.forms[0]!, { decision: 'approve' }, isLast)
  return page.body
}

const ROWS: Row[] = [
  {
    broken: 'the client is unknown',
    attempt: async (seed) => await authorize(seed, {}, `seed-${UNKNOWN}`),
    stoppedAt: 'authorize',
    cause: 'client_unknown'
  },
  {
    broken: 'the redirect URI is not registered',
    attempt: async (seed) => await authorize(seed, { redirect_uri: 'https://evil.example/callback' }),
    stoppedAt: 'authorize',
    cause: 'redirect_uri_not_registered'
  },
  {
    broken: 'the resource is another server',
    attempt: async (seed) => await authorize(seed, { resource: 'https://other.example/mcp' }),
    stoppedAt: 'authorize',
    cause: 'resource_wrong'
  },
  {
    broken: 'the application does not use PKCE',
    attempt: async (seed) => await authorize(seed, { code_challenge_method: 'plain' }),
    stoppedAt: 'authorize',
    cause: 'pkce_missing'
  },
  {
    broken: 'the application asks for a response type that there is not',
    attempt: async (seed) => await authorize(seed, { response_type: 'token' }),
    stoppedAt: 'authorize',
    cause: 'request_not_supported'
  },
  {
    broken: 'too many requests come from one address',
    setup: { env: { OAUTH_LIMIT_PER_ADDRESS: '3' } },
    async attempt (seed) {
      const clientId = await register(seed.url)
      for (let request = 0; request < 3; request++) await authorize(seed, {}, clientId)
      return await authorize(seed, {}, clientId)
    },
    stoppedAt: 'authorize',
    cause: 'limit_reached'
  },
  {
    broken: 'nobody answers the consent page',
    attempt: async (seed) => await authorize(seed, {}),
    stoppedAt: 'authorize',
    cause: 'consent_not_answered'
  },
  {
    broken: 'the person denies consent',
    async attempt (seed) {
      const browser = createBrowser()
      const page = await browser.get(newRequest(seed, await register(seed.url)).url)
      const denied = await browser.submit(page.forms[0]!, { decision: 'deny' }, ({ port }) => port === '53217')
      return denied.url.href
    },
    stoppedAt: 'consent',
    cause: 'consent_denied'
  },
  {
    broken: 'the consent page is answered twice',
    async attempt (seed) {
      const { consent, pageCookie } = await byHand(seed)
      return await shown(`${seed.url}/oauth/consent`, {
        method: 'POST', headers: { cookie: pageCookie }, body: new URLSearchParams({ consent, decision: 'approve' })
      })
    },
    stoppedAt: 'consent',
    cause: 'consent_expired'
  },
  {
    broken: 'the consent form comes from another web site',
    async attempt (seed) {
      const { consent, pageCookie } = await byHand(seed)
      return await shown(`${seed.url}/oauth/consent`, {
        method: 'POST',
        headers: { cookie: pageCookie, 'sec-fetch-site': 'cross-site' },
        body: new URLSearchParams({ consent, decision: 'approve' })
      })
    },
    stoppedAt: 'consent',
    cause: 'consent_other_site'
  },
  {
    broken: 'the person goes on in another browser',
    attempt: async (seed) => await shown((await byHand(seed)).callback),
    stoppedAt: 'callback',
    cause: 'other_browser'
  },
  {
    broken: 'the callback comes with an unknown state',
    attempt: async (seed) => await atCallback(seed, (callback) => { callback.searchParams.set('state', UNKNOWN) }),
    stoppedAt: 'callback',
    cause: 'callback_unknown'
  },
  {
    broken: 'the person cancels at the provider',
    attempt: async (seed) => await atCallback(seed, ({ searchParams }) => {
      searchParams.delete('code')
      searchParams.set('error', 'access_denied')
    }),
    stoppedAt: 'callback',
    cause: 'provider_denied'
  },
  {
    broken: 'the provider wants to ask the person something',
    attempt: async (seed) => await atCallback(seed, ({ searchParams }) => {
      searchParams.delete('code')
      searchParams.set('error', 'consent_required')
    }),
    stoppedAt: 'callback',
    cause: 'provider_needs_person'
  },
  {
    broken: 'the provider refuses a scope',
    setup: { provider: { quirks: { refuseOfflineAccess: true } } },
    attempt: async (seed) => (await createBrowser().signIn(newRequest(seed, await register(seed.url)).url,
      { login: 'ada', password: 'ada' })).href,
    stoppedAt: 'callback',
    cause: 'provider_refused_request'
  },
  {
    broken: 'the provider is down when the person comes back',
    async attempt (seed) {
      const { browser, callback } = await toCallback(seed)
      await seed.provider.stop()
      return (await browser.get(callback)).body
    },
    stoppedAt: 'callback',
    cause: 'provider_unavailable'
  },
  {
    broken: 'the provider refuses the secret of this server',
    setup: { env: { OIDC_CLIENT_ID: 'seed-dev-confidential', OIDC_CLIENT_SECRET: 'not-the-secret' } },
    attempt: async (seed) => await atCallback(seed),
    stoppedAt: 'callback',
    cause: 'provider_refused_client'
  },
  {
    broken: 'the provider refuses the code',
    attempt: async (seed) => await atCallback(seed, ({ searchParams }) => { searchParams.set('code', 'another') }),
    stoppedAt: 'callback',
    cause: 'provider_refused_grant'
  },
  {
    broken: 'the ID token has another nonce',
    setup: idTokenWith({ nonce: 'another' }),
    attempt: async (seed) => await atCallback(seed),
    stoppedAt: 'callback',
    cause: 'id_token_nonce'
  },
  {
    broken: 'the ID token is for another client',
    setup: idTokenWith({ aud: 'another' }),
    attempt: async (seed) => await atCallback(seed),
    stoppedAt: 'callback',
    cause: 'id_token_audience'
  },
  {
    broken: 'the ID token is of another issuer',
    setup: idTokenWith({ iss: 'https://other.example' }),
    attempt: async (seed) => await atCallback(seed),
    stoppedAt: 'callback',
    cause: 'id_token_issuer'
  },
  {
    broken: 'the clocks differ',
    setup: idTokenWith({ iat: seconds() - 7_200, exp: seconds() - 3_600 }),
    attempt: async (seed) => await atCallback(seed),
    stoppedAt: 'callback',
    cause: 'clock'
  },
  {
    broken: 'the person is in no group that is admitted',
    setup: { env: { OIDC_SCOPES: 'openid email groups', ACCESS_GROUPS: 'board' } },
    attempt: async (seed) => await atCallback(seed),
    stoppedAt: 'callback',
    cause: 'access_groups'
  },
  {
    broken: 'the e-mail address is of another domain',
    setup: { env: { OIDC_SCOPES: 'openid email', ACCESS_EMAIL_DOMAINS: 'example.org' } },
    attempt: async (seed) => await atCallback(seed),
    stoppedAt: 'callback',
    cause: 'access_email'
  },
  {
    broken: 'the code has expired',
    async attempt (seed) {
      const signedIn = await signIn(seed)
      await seed.app.store.delete(keys.code(createHash('sha256').update(signedIn.code).digest('base64url')))
      return (await redeem(seed.url, signedIn)).body
    },
    stoppedAt: 'token',
    cause: 'code_unknown'
  },
  {
    broken: 'the code comes with the wrong PKCE verifier',
    async attempt (seed) {
      const signedIn = await signIn(seed)
      return (await redeem(seed.url, { ...signedIn, verifier: 'v'.repeat(43) })).body
    },
    stoppedAt: 'token',
    cause: 'pkce_verifier'
  },
  {
    broken: 'the code is used a second time',
    async attempt (seed) {
      const signedIn = await signIn(seed)
      await redeem(seed.url, signedIn)
      return (await redeem(seed.url, signedIn)).body
    },
    stoppedAt: 'token',
    cause: 'code_replayed'
  },
  {
    broken: 'the code is redeemed by another client',
    async attempt (seed) {
      const signedIn = await signIn(seed)
      return (await redeem(seed.url, { ...signedIn, clientId: await register(seed.url) })).body
    },
    stoppedAt: 'token',
    cause: 'code_not_for_request'
  },
  {
    broken: 'the resource of the token request is another server',
    async attempt (seed) {
      const signedIn = await signIn(seed)
      return (await redeem(seed.url, signedIn, { resource: 'https://other.example/mcp' })).body
    },
    stoppedAt: 'token',
    cause: 'resource_wrong'
  },
  {
    broken: 'a public client sends a secret',
    async attempt (seed) {
      const signedIn = await signIn(seed)
      return (await redeem(seed.url, signedIn, { client_secret: 'something' })).body
    },
    stoppedAt: 'token',
    cause: 'client_authentication'
  },
  {
    broken: 'the grant has ended, and the application refreshes',
    async attempt (seed) {
      const { clientId, refreshToken } = await getTokens(seed)
      await post(`${seed.url}/oauth/revoke`, { client_id: clientId, token: refreshToken })
      return (await refresh(seed.url, clientId, refreshToken)).body
    },
    stoppedAt: 'refresh',
    cause: 'grant_ended'
  },
  {
    broken: 'an old refresh token is used again',
    async attempt (seed) {
      const { clientId, refreshToken } = await getTokens(seed)
      const { json } = await refresh(seed.url, clientId, refreshToken)
      await ageRotation(seed, String(json['refresh_token']), 60)
      return (await refresh(seed.url, clientId, refreshToken)).body
    },
    stoppedAt: 'refresh',
    cause: 'refresh_token_replayed'
  },
  {
    broken: 'the application asks for more scopes when it refreshes',
    async attempt (seed) {
      const { clientId, refreshToken } = await getTokens(seed)
      return (await refresh(seed.url, clientId, refreshToken, { scope: 'admin' })).body
    },
    stoppedAt: 'refresh',
    cause: 'scope_refused'
  },
  {
    broken: 'the application registers a redirect URI that is not acceptable',
    attempt: async (seed) => await shown(`${seed.url}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ redirect_uris: ['http://evil.example/callback'] })
    }),
    stoppedAt: 'register',
    cause: 'redirect_uri_not_acceptable'
  },
  {
    broken: 'the call has no token',
    attempt: async (seed) => await (await ping(seed.url)).text(),
    stoppedAt: 'refused call',
    cause: 'token_missing'
  },
  {
    broken: 'the call has a token of the provider instead of this server\'s',
    attempt: async (seed) => await (await ping(seed.url, await seed.provider.mint())).text(),
    stoppedAt: 'refused call',
    cause: 'token_issuer'
  },
  {
    broken: 'the call has a token that was revoked',
    async attempt (seed) {
      const { clientId, accessToken, refreshToken } = await getTokens(seed)
      await post(`${seed.url}/oauth/revoke`, { client_id: clientId, token: refreshToken })
      return await (await ping(seed.url, accessToken)).text()
    },
    stoppedAt: 'refused call',
    cause: 'token_revoked'
  },
  {
    broken: 'the call has an expired token (proxy)',
    setup: proxy!,
    attempt: async (seed) => await (await ping(seed.url, await seed.provider.mint({
      iat: seconds() - 7_200, exp: seconds() - 3_600
    }))).text(),
    stoppedAt: 'refused call',
    cause: 'token_expired'
  },
  {
    broken: 'the provider issues tokens for another audience (proxy)',
    setup: { ...proxy, env: { ...proxy.env, OIDC_CLIENT_ID: 'seed-dev', OIDC_AUDIENCE: 'https://another.example' } },
    async attempt (seed) {
      const client = await createPlainClient(seed.url, { clientId: 'a-client', redirectUri: REDIRECT_URI })
      return await (await client.redeem(await client.walk())).text()
    },
    stoppedAt: 'token',
    cause: 'token_audience'
  },
  {
    broken: 'the person leaves while the provider asks for the password',
    attempt: async (seed) => await leaveAt(seed, ({ origin }) => origin === new URL(seed.provider.issuer).origin),
    stoppedAt: 'consent',
    cause: 'provider_not_returned'
  },
  {
    broken: 'the person leaves while the provider asks for the password (proxy)',
    setup: proxy!,
    attempt: async (seed) => await leaveAt(seed, ({ origin }) => origin === new URL(seed.provider.issuer).origin),
    stoppedAt: 'consent',
    cause: 'provider_not_returned_proxy'
  },
  {
    broken: 'the token lacks a scope that a tool needs',
    setup: {
      definitions: [defineTool({
        name: 'seed_ping', description: 'x', input: Type.Object({}), scopes: ['tickets:write'], handler: () => 'done'
      })]
    },
    attempt: async (seed) => await (await ping(seed.url, (await getTokens(seed)).accessToken)).text(),
    stoppedAt: 'refused call',
    cause: 'scope_missing'
  },
  {
    broken: 'a service has another secret',
    setup: withoutBrowser(),
    attempt: async (seed) => await asService(seed, { client_secret: 'another' }),
    stoppedAt: 'token',
    cause: 'client_authentication'
  },
  {
    broken: 'a service asks for a scope that it may not have',
    setup: withoutBrowser(),
    attempt: async (seed) => await asService(seed, { scope: 'tickets:write' }),
    stoppedAt: 'token',
    cause: 'scope_refused'
  },
  {
    broken: 'a service asks for a token for another server',
    setup: withoutBrowser(),
    attempt: async (seed) => await asService(seed, { resource: 'https://other.example/mcp' }),
    stoppedAt: 'token',
    cause: 'resource_wrong'
  },
  {
    broken: 'a client that is no service asks for a token of its own',
    setup: withoutBrowser(),
    attempt: async (seed) => await asService(seed, COMPANY_APP),
    stoppedAt: 'token',
    cause: 'client_not_allowed'
  },
  {
    broken: 'a service is in no group that is admitted',
    setup: withoutBrowser({ ACCESS_GROUPS: 'board' }),
    attempt: async (seed) => await asService(seed, {}),
    stoppedAt: 'token',
    cause: 'access_groups'
  },
  {
    broken: 'the application asks for tokens with a password',
    attempt: async (seed) => (await post(`${seed.url}/oauth/token`, {
      grant_type: 'password', client_id: await register(seed.url), username: 'ada', password: 'ada'
    })).body,
    stoppedAt: 'token',
    cause: 'request_not_supported'
  },
  {
    broken: 'the application forgets the code',
    attempt: async (seed) => (await post(`${seed.url}/oauth/token`, {
      grant_type: 'authorization_code', client_id: await register(seed.url), code_verifier: 'v'.repeat(43)
    })).body,
    stoppedAt: 'token',
    cause: 'request_invalid'
  },
  {
    broken: 'the ID-JAG is for another server',
    setup: withoutBrowser(),
    attempt: async (seed) => await withAssertion(seed, { aud: 'https://other.example' }),
    stoppedAt: 'token',
    cause: 'identity_assertion'
  },
  {
    broken: 'the ID-JAG comes a second time',
    setup: withoutBrowser(),
    attempt: async (seed) => await withAssertion(seed, {}, 2),
    stoppedAt: 'token',
    cause: 'identity_assertion_replayed'
  },
  {
    broken: 'the person of an ID-JAG is in no group that is admitted',
    setup: withoutBrowser({ ACCESS_GROUPS: 'board' }),
    attempt: async (seed) => await withAssertion(seed),
    stoppedAt: 'token',
    cause: 'access_groups'
  },
  {
    broken: 'the company wants its own application, and the person signs in with another',
    setup: withoutBrowser({ ENTERPRISE_AUTHORIZATION: 'only' }),
    attempt: async (seed) => await authorize(seed, {}, 'another'),
    stoppedAt: 'authorize',
    cause: 'enterprise_only'
  },
  {
    broken: 'the token of a job fits no rule',
    setup: withPlatform({ jwks: { keys: [PLATFORM_KEY] } }),
    attempt: async (seed) => await asJob(seed, { repository_id: '75' }),
    stoppedAt: 'token',
    cause: 'workload_token'
  },
  {
    broken: 'the token of a job comes a second time',
    setup: withPlatform({ jwks: { keys: [PLATFORM_KEY] } }),
    attempt: async (seed) => await asJob(seed, {}, 2),
    stoppedAt: 'token',
    cause: 'workload_token_replayed'
  },
  {
    broken: 'the keys of a job\'s platform cannot be fetched',
    setup: withPlatform({ jwks_uri: 'http://127.0.0.1:1/jwks' }),
    attempt: async (seed) => await asJob(seed),
    stoppedAt: 'token',
    cause: 'issuer_unavailable'
  },
  {
    broken: 'the verifier belongs to no sign-in (proxy)',
    setup: proxy!,
    attempt: async (seed) => (await redeem(seed.url, { clientId: 'a-client', code: 'c', verifier: 'v'.repeat(43) })).body,
    stoppedAt: 'token',
    cause: 'pkce_verifier'
  }
]

for (const { broken, setup = {}, attempt, stoppedAt, cause } of ROWS) {
  t.test(`${broken}: the reference leads to the cause and to what helps`, async (t) => {
    const seed = await startBroker(t, setup)
    const seen = await attempt(seed)
    const story = await storyOf(seed, seen, (found) => found.cause === cause)
    t.match(story, { stoppedAt, cause, completed: false, remedy: CAUSES[cause].remedy })
    const text = formatStory(story)
    t.match(text, `Stopped at: ${stoppedAt} (${cause})`)
    t.ok(text.includes(CAUSES[cause].remedy), 'the remedy is printed')
    t.notMatch(text, /eyJ|code=|state=|ada@example|Ada Lovelace/, 'no token, code, state or person')
  })
}

/** The story behind the reference in what a user sees, once it is as expected. */
async function storyOf (seed: TestSeed, seen: string, isExpected: (story: Story) => boolean): Promise<Story> {
  const text = URL.canParse(seen) ? new URL(seen).searchParams.get('error_description')! : seen
  const [, reference] = /Reference <code>([\w-]{12})<|\(reference ([\w-]{12})\)|"reference":"([\w-]{12})"/.exec(text)
    ?.filter((group) => group !== undefined) ?? []
  if (reference === undefined) throw new Error(`No reference in ${text}`)
  await seed.logged((line) => line['reqId'] === reference || line['signIn'] === reference)
  const mode = seed.app.config.oauth.mode
  let story: Story | undefined
  await until(async () => {
    const steps = await readTrace(seed.app.store, reference)
    story = steps.length === 0 ? undefined : tellStory(reference, steps, mode)
    return story !== undefined && isExpected(story)
  }, `the story of ${reference} is as expected`).catch((err: unknown) => { t.comment(story); throw err })
  return story!
}
