import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { Fault } from '../../dev/provider.ts'
import { digest } from '../../src/crypto/hash.ts'
import { keys } from '../../src/store/keys.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import { isError, withoutReference } from '../support/oauth-error.ts'
import { createBrowser } from '../support/browser.ts'
import { allowSignIn, challengeOf } from '../support/proxy.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

const REDIRECT = 'http://127.0.0.1:51004/callback'
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'
/** Nothing listens on this port. */
const DEAD_REDIS = 'redis://127.0.0.1:1'
const SECRET_WORDS = 'AADSTS70000: <script>user ada@example.com, trace 10.0.0.5</script>'

type Fields = Record<string, string | undefined>

/** Seed next to the real provider. */
const seed = await startSeed(t, { env: { DCR_LIMIT_PER_ADDRESS: '1000' } })
await ready(seed)
const registered = await register(seed, [REDIRECT])

/** Seed next to the same provider, whose token endpoint is ours: it records what Seed sends and answers as told. */
const endpoint = await startTokenEndpoint(t)
const recorded = await startSeed(t, {
  sharedProvider: seed.provider,
  env: { OAUTH_TOKEN_URL: `${endpoint.url}?tenant=a` }
})
await ready(recorded)

const codeGrant = (changes: Fields = {}): Fields => ({
  grant_type: 'authorization_code',
  client_id: 'claude-code',
  code: 'c',
  redirect_uri: REDIRECT,
  code_verifier: VERIFIER,
  ...changes
})
const refreshGrant = (changes: Fields = {}): Fields => ({
  grant_type: 'refresh_token',
  client_id: 'claude-code',
  refresh_token: 'r',
  ...changes
})

/** A code grant that a person has allowed at this server. */
async function approvedCode (at: TestSeed, changes: Fields = {}): Promise<Fields> {
  const grant = codeGrant(changes)
  const { client_id: clientId, redirect_uri: redirectUri } = grant
  await allowSignIn(at, { clientId: clientId!, redirectUri: redirectUri!, verifier: VERIFIER })
  return grant
}

/** A refresh grant whose token is good: it holds the provider's token `r`. */
async function issuedRefresh (at: TestSeed, changes: Fields = {}): Promise<Fields> {
  const { answer } = endpoint
  endpoint.answer = async () => ({ access_token: await seed.provider.mint(), refresh_token: 'r' })
  const { client_id: clientId = 'claude-code' } = changes
  const tokens = await post(at, await approvedCode(at, { client_id: clientId }))
  endpoint.answer = answer
  return refreshGrant({ refresh_token: tokens.json<{ refresh_token: string }>().refresh_token, ...changes })
}

t.test("a code is exchanged for the provider's access token, which /mcp accepts", async (t) => {
  for (const [path, clientId] of [['/oauth/token', registered], ['/token', 'claude-code']] as const) {
    const grant = await signIn(seed, clientId)
    const response = await post(seed, { ...grant, resource: `${seed.url}/mcp` }, path)
    t.equal(response.statusCode, 200, response.body)
    const tokens = response.json<Record<string, unknown>>()
    t.match(tokens, {
      access_token: /^[\w-]+\.[\w-]+\.[\w-]+$/,
      token_type: 'Bearer',
      expires_in: 3600,
      refresh_token: String,
      scope: 'openid profile email'
    })
    t.notOk('id_token' in tokens, 'the ID token stays here')
    t.equal(response.headers['cache-control'], 'no-store')
    t.equal(response.headers['pragma'], 'no-cache')
    t.match(response.headers['content-type'], /^application\/json/)
    t.equal(response.headers['set-cookie'], undefined)
    t.equal((await ping(seed.url, tokens['access_token'] as string)).status, 200)

    const again = await post(seed, grant, path)
    isError(t, again, 400, 'invalid_grant', 'a code is good once')
  }
})

t.test('a code is bound to its code verifier and redirect URI', async (t) => {
  const other = randomBytes(32).toString('base64url')
  const grant = await signIn(seed, registered)
  isError(t, await post(seed, { ...grant, code_verifier: other }), 400, 'invalid_grant', 'the verifier of another flow')
  isError(
    t,
    await post(seed, { ...grant, code_verifier: createHash('sha256').update(grant.code_verifier).digest('base64url') }),
    400,
    'invalid_grant',
    'the challenge itself'
  )

  const moved = await signIn(seed, registered)
  isError(
    t,
    await post(seed, { ...moved, redirect_uri: 'http://127.0.0.1:51005/callback' }),
    400,
    'invalid_grant',
    'another port than the one of the request'
  )
})

t.test("a redirect URI that is not the client's own never reaches the provider", async (t) => {
  const hits = seed.provider.hits()['/token'] ?? 0
  for (const [clientId, uri] of [
    [registered, 'http://127.0.0.1:51004/other'],
    [registered, 'http://localhost:51004/callback'],
    [registered, 'https://evil.example/cb'],
    ['claude-code', 'https://client.example/cb'],
    ['claude-code', 'javascript:alert(1)'],
    ['claude-code', 'http://localhost.evil.example/']
  ] as const) {
    isError(t, await post(seed, codeGrant({ client_id: clientId, redirect_uri: uri })), 400, 'invalid_grant', uri)
  }

  isError(
    t,
    await post(seed, codeGrant({ client_id: registered, redirect_uri: '' })),
    400,
    'invalid_request',
    'one on this machine must be named, as its port varies'
  )
  const two = await register(seed, [REDIRECT, 'https://client.example/cb'])
  isError(
    t,
    await post(seed, codeGrant({ client_id: two, redirect_uri: undefined })),
    400,
    'invalid_request',
    'one of two must be named'
  )
  isError(
    t,
    await post(seed, codeGrant({ redirect_uri: undefined })),
    400,
    'invalid_request',
    'an unregistered client must name its own'
  )
  await seed.app.store.set(
    'client:seed-planted',
    JSON.stringify({
      client_id: 'seed-planted',
      client_id_issued_at: 1_800_000_000,
      redirect_uris: ['javascript:alert(1)'],
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      application_type: 'native'
    }),
    60
  )
  isError(
    t,
    await post(seed, codeGrant({ client_id: 'seed-planted', redirect_uri: undefined })),
    400,
    'invalid_grant',
    'an old record is judged by the rules of today'
  )
  t.equal(seed.provider.hits()['/token'] ?? 0, hits, 'the provider is not asked')
})

t.test('refuses invalid requests without asking the provider', async (t) => {
  const hits = seed.provider.hits()['/token'] ?? 0
  const cases: Array<[fields: Fields, error: string, status?: number]> = [
    [{}, 'invalid_request'],
    [codeGrant({ grant_type: undefined }), 'invalid_request'],
    [codeGrant({ grant_type: '' }), 'invalid_request'],
    ...[
      'password',
      'client_credentials',
      'urn:ietf:params:oauth:grant-type:jwt-bearer',
      'urn:ietf:params:oauth:grant-type:device_code',
      'implicit',
      'AUTHORIZATION_CODE',
      '__proto__',
      'constructor'
    ].map((type) => [codeGrant({ grant_type: type }), 'unsupported_grant_type'] as [Fields, string]),
    [codeGrant({ code: undefined }), 'invalid_request'],
    [codeGrant({ code: '' }), 'invalid_request'],
    [codeGrant({ code: 'c'.repeat(8_193) }), 'invalid_request'],
    [refreshGrant({ refresh_token: undefined }), 'invalid_request'],
    [refreshGrant({ refresh_token: '' }), 'invalid_request'],
    [refreshGrant({ refresh_token: undefined, code: 'c', code_verifier: VERIFIER }), 'invalid_request'],
    ...[
      undefined,
      '',
      'v'.repeat(42),
      'v'.repeat(129),
      `${VERIFIER}+`,
      `${VERIFIER}=`,
      `${VERIFIER} `,
      `${VERIFIER}\n`,
      `${VERIFIER}ü`
    ].map((verifier) => [codeGrant({ code_verifier: verifier }), 'invalid_request'] as [Fields, string]),
    ...['https://other.example/mcp', `${seed.url}/mcpx`, `${seed.url}/MCP`, 'mcp'].flatMap(
      (resource) =>
        [
          [codeGrant({ resource }), 'invalid_target'],
          [refreshGrant({ resource }), 'invalid_target']
        ] as Array<[Fields, string]>
    ),
    ...[codeGrant, refreshGrant].flatMap(
      (grant) =>
        [
          [grant({ client_id: undefined }), 'invalid_client', 401],
          [grant({ client_id: 'seed-gone' }), 'invalid_client', 401],
          [grant({ client_id: 'https://client.example/metadata.json' }), 'invalid_client', 401],
          [grant({ client_id: '' }), 'invalid_client', 401],
          [grant({ client_id: registered, client_secret: 'a-secret' }), 'invalid_client', 401],
          [
            grant({
              client_assertion: 'eyJhbGciOiJub25lIn0.e30.',
              client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
            }),
            'invalid_client',
            401
          ]
        ] as Array<[Fields, string, number?]>
    )
  ]
  for (const [fields, error, status = 400] of cases) {
    const response = await post(seed, fields)
    isError(t, response, status, error, JSON.stringify(fields).slice(0, 120))
    t.equal(response.headers['www-authenticate'], status === 401 ? 'Basic realm="Seed"' : undefined)
  }
  t.equal(seed.provider.hits()['/token'] ?? 0, hits, 'the provider is not asked')
})

t.test('every form of this resource that clients send is accepted, and none is forwarded', async (t) => {
  endpoint.answer = async () => ({ access_token: await seed.provider.mint() })
  for (const resource of [
    `${recorded.url}/mcp`,
    `${recorded.url}/mcp/`,
    recorded.url,
    `${recorded.url}/`,
    `${recorded.url.toUpperCase()}/mcp`
  ]) {
    for (const grant of [approvedCode, issuedRefresh]) {
      t.equal((await post(recorded, await grant(recorded, { resource }))).statusCode, 200, resource)
      t.notOk(endpoint.requests.at(-1)!.body.has('resource'))
    }
  }
})

t.test('a repeated parameter is refused', async (t) => {
  for (const grant of [codeGrant({ resource: `${seed.url}/mcp` }), refreshGrant({ scope: 'openid' })]) {
    for (const name of Object.keys(grant)) {
      const payload = `${form(grant)}&${form({ [name]: grant[name] })}`
      const response = await seed.app.inject({
        method: 'POST',
        url: '/oauth/token',
        payload,
        headers: { 'content-type': 'application/x-www-form-urlencoded' }
      })
      isError(t, response, 400, 'invalid_request', name)
      t.equal(
        withoutReference(response.json<{ error_description: string }>().error_description),
        `${name} is missing, repeated or malformed`
      )
    }
  }
})

t.test('a credential in the Authorization header of a public client is refused with a challenge', async (t) => {
  for (const authorization of [
    `Basic ${Buffer.from('claude-code:secret').toString('base64')}`,
    'Basic',
    'Basic !!!',
    'Basic Og==',
    'Bearer abc',
    'Negotiate x',
    'x'.repeat(4_000),
    ''
  ]) {
    for (const fields of [codeGrant(), refreshGrant({ client_id: undefined })]) {
      const response = await post(seed, fields, '/oauth/token', { authorization })
      isError(t, response, 401, 'invalid_client', authorization.slice(0, 40))
      t.equal(response.headers['www-authenticate'], 'Basic realm="Seed"')
    }
  }
  const basic = `Basic ${Buffer.from('claude-code:secret').toString('base64')}`
  isError(
    t,
    await post(seed, refreshGrant({ client_secret: 'too' }), '/oauth/token', { authorization: basic }),
    400,
    'invalid_request',
    'two ways at once'
  )
})

t.test('reads only the form in the body', async (t) => {
  isError(
    t,
    await seed.app.inject({ method: 'POST', url: `/oauth/token?${form(refreshGrant())}` }),
    400,
    'invalid_request',
    'credentials in the query are not read'
  )
  isError(
    t,
    await post(seed, {}, `/oauth/token?${form(codeGrant())}`),
    400,
    'invalid_request',
    'nor beside an empty body'
  )
  for (const type of [
    'application/json',
    'text/plain',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencodedx',
    'application/x-www-form-urlencoded, text/plain',
    'application/xml'
  ]) {
    isError(
      t,
      await seed.app.inject({
        method: 'POST',
        url: '/oauth/token',
        payload: JSON.stringify(refreshGrant()),
        headers: { 'content-type': type }
      }),
      415,
      'invalid_request',
      type
    )
  }
  const withoutType = await fetch(`${seed.url}/oauth/token`, { method: 'POST', body: new Blob([form(refreshGrant())]) })
  t.equal(withoutType.status, 415)
  t.equal(
    (
      await post(seed, refreshGrant(), '/oauth/token', {
        'content-type': 'application/x-www-form-urlencoded; charset=UTF-8'
      })
    ).json<{ error: string }>().error,
    'invalid_grant',
    'with a charset it is read'
  )

  isError(t, await post(seed, { ...refreshGrant(), filler: 'x'.repeat(16_384) }), 413, 'invalid_request', 'over 16 KiB')
  for (const payload of [
    'grant_type=%',
    '%ff=%ff',
    '=',
    '&&&',
    'grant_type',
    '__proto__=x',
    'constructor=x&toString=y',
    'grant_type[]=refresh_token',
    '{"grant_type":"refresh_token"}',
    '\u0000'
  ]) {
    const response = await seed.app.inject({
      method: 'POST',
      url: '/oauth/token',
      payload,
      headers: { 'content-type': 'application/x-www-form-urlencoded' }
    })
    t.equal(response.statusCode, 400, encodeURIComponent(payload))
  }
})

t.test('accepts only POST', async (t) => {
  for (const path of ['/oauth/token', '/token']) {
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE'] as const) {
      const response = await seed.app.inject({
        method,
        url: `${path}?${form(refreshGrant())}`,
        headers: { 'content-type': 'text/plain' }
      })
      t.equal(response.headers.allow, 'POST')
      if (method === 'HEAD') t.match(response, { statusCode: 405, body: '' })
      else isError(t, response, 405, 'invalid_request', method)
    }
  }
})

/** Responses of the provider, and those that the client gets for them when redeeming a code and when refreshing. */
const providerErrors: Array<[name: string, fault: Fault, code: [number, string], refresh: [number, string]]> = [
  ['the standard refusal', refusal(400, 'invalid_grant'), [400, 'invalid_grant'], [400, 'invalid_grant']],
  ['the standard refusal under 401', refusal(401, 'invalid_grant'), [400, 'invalid_grant'], [400, 'invalid_grant']],
  ['an error under 200', refusal(200, 'invalid_grant'), [400, 'invalid_grant'], [400, 'invalid_grant']],
  ['403 invalid_code', refusal(403, 'invalid_code'), [400, 'invalid_grant'], [400, 'invalid_grant']],
  ['400 without a body, as to a made-up token', 400, [400, 'invalid_grant'], [400, 'invalid_grant']],
  [
    '400 with an error that is no string',
    { status: 400, json: { error: { code: 7 } } },
    [400, 'invalid_grant'],
    [400, 'invalid_grant']
  ],
  [
    'invalid_request where invalid_grant is meant',
    refusal(400, 'invalid_request'),
    [400, 'invalid_grant'],
    [502, 'server_error']
  ],
  ['200 with a page', 'html', [502, 'server_error'], [502, 'server_error']],
  ['200 without a token', { status: 200, json: {} }, [502, 'server_error'], [502, 'server_error']],
  ['200 with null', { status: 200, json: null }, [502, 'server_error'], [502, 'server_error']],
  ['200 with an array', { status: 200, json: ['access_token'] }, [502, 'server_error'], [502, 'server_error']],
  [
    '200 with a token that is no string',
    { status: 200, json: { access_token: 7 } },
    [502, 'server_error'],
    [502, 'server_error']
  ],
  ['a wrong secret of ours', refusal(401, 'invalid_client'), [502, 'server_error'], [502, 'server_error']],
  ['a client of ours that may not', refusal(400, 'unauthorized_client'), [502, 'server_error'], [502, 'server_error']],
  [
    'a grant type it does not know',
    refusal(400, 'unsupported_grant_type'),
    [502, 'server_error'],
    [502, 'server_error']
  ],
  ['an error nobody knows', refusal(400, `x"\n${'y'.repeat(1_000)}`), [502, 'server_error'], [502, 'server_error']],
  ['401 without a body', 401, [502, 'server_error'], [502, 'server_error']],
  ['404', 404, [502, 'server_error'], [502, 'server_error']],
  ['a scope it does not grant', refusal(400, 'invalid_scope'), [400, 'invalid_scope'], [400, 'invalid_scope']],
  ['a target it does not know', refusal(400, 'invalid_target'), [400, 'invalid_target'], [400, 'invalid_target']],
  ['busy', 429, [503, 'temporarily_unavailable'], [503, 'temporarily_unavailable']],
  [
    'busy, in words',
    refusal(400, 'temporarily_unavailable'),
    [503, 'temporarily_unavailable'],
    [503, 'temporarily_unavailable']
  ],
  ['500', 500, [503, 'temporarily_unavailable'], [503, 'temporarily_unavailable']],
  ['503', 503, [503, 'temporarily_unavailable'], [503, 'temporarily_unavailable']],
  [
    '500 that speaks of the grant',
    refusal(500, 'invalid_grant'),
    [503, 'temporarily_unavailable'],
    [503, 'temporarily_unavailable']
  ],
  ['a dropped connection', 'down', [503, 'temporarily_unavailable'], [503, 'temporarily_unavailable']],
  ['a redirect', 'redirect', [503, 'temporarily_unavailable'], [503, 'temporarily_unavailable']],
  ['16 MiB', 'huge', [503, 'temporarily_unavailable'], [503, 'temporarily_unavailable']]
]

t.test("every refusal of the provider becomes an OAuth error without the provider's text", async (t) => {
  t.teardown(() => { seed.provider.setFault('/token', undefined) })
  for (const [name, fault, code, refresh] of providerErrors) {
    seed.provider.setFault('/token', undefined)
    const signedIn = await post(seed, await signIn(seed, 'claude-code'))
    const { refresh_token: token } = signedIn.json<Record<string, string>>()
    const refreshing = refreshGrant({ refresh_token: token })
    seed.provider.setFault('/token', fault)
    for (const [fields, [status, error]] of [[await approvedCode(seed), code], [refreshing, refresh]] as const) {
      const response = await post(seed, fields)
      isError(t, response, status, error, `${name}: ${fields['grant_type']}`)
      t.equal(response.headers['retry-after'], status === 503 ? '5' : undefined)
      t.notMatch(response.body, /AADSTS|<script|ada@|10\.0\.0\.5|127\.0\.0\.1|yyyy|redirected/)
      const line = await seed.logged((line) => line['reqId'] === response.headers['x-request-id'])
      t.match(
        line['reason'],
        /the provider's token endpoint answered \d{3}|cannot be reached|answered with (a redirect|more than)/,
        'the log says what the provider did'
      )
      const description = JSON.stringify(fault).includes('AADSTS') ? /\(AADSTS70000: <script>user ada@/ : /^[^(]+(\(.*)?$/
      t.match(line['reason'], description, "the provider's words are for the operator")
      t.ok(String(line['reason']).length < 400)
    }
  }
  t.match(
    seed.logs.find(({ reason }) => String(reason).includes('"invalid_client"')),
    { reason: /check OIDC_CLIENT_ID, and that the client there is public; otherwise set OIDC_CLIENT_SECRET/ },
    'and what to look at'
  )
})

t.test('an access token that /mcp would refuse is refused here, and the log says why', async (t) => {
  seed.provider.quirks.opaqueTokens = true
  t.teardown(() => { seed.provider.quirks.opaqueTokens = false })
  const response = await post(seed, await signIn(seed, registered))
  isError(t, response, 502, 'server_error', 'opaque')
  t.equal(
    withoutReference(response.json<{ error_description: string }>().error_description),
    'The identity provider issued an access token that this server cannot accept; ' +
      'its operator must check the provider settings'
  )
  const opaque = await seed.logged((line) => line['reqId'] === response.headers['x-request-id'])
  t.match(opaque['reason'], /not three base64url parts: does the provider issue opaque or encrypted access tokens\?/)

  for (const [token, cause] of [
    [await seed.provider.mint({ aud: 'account' }), /aud is "account", OIDC_AUDIENCE is "seed-dev"/],
    [
      await seed.provider.mint({ iss: 'https://sts.example/' }),
      /iss is "https:\/\/sts\.example\/", expected is "http:/
    ],
    [await seed.provider.mint({ exp: 1 }), /exp was 1/],
    ['', /not three base64url parts/]
  ] as const) {
    for (const grant of [approvedCode, issuedRefresh]) {
      const fields = await grant(recorded)
      endpoint.answer = async () => ({ access_token: token, refresh_token: 'next' })
      const refused = await post(recorded, fields)
      isError(t, refused, 502, 'server_error', String(cause))
      const line = await recorded.logged((line) => line['reqId'] === refused.headers['x-request-id'])
      t.match(line['reason'], cause)
      if (token !== '') t.notMatch(JSON.stringify(line), token)
    }
  }
})

t.test('a token that cannot be verified now is passed on, and /mcp will verify it', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  provider.setFault('/jwks', 500)
  const keyless = await startSeed(t, { sharedProvider: provider, env: { OAUTH_TOKEN_URL: endpoint.url } })
  await keyless.logged(({ msg }) => msg.startsWith("The provider's signing keys cannot be fetched"))
  const token = await provider.mint()
  endpoint.answer = async () => ({ access_token: token })
  const response = await post(keyless, await approvedCode(keyless))
  t.equal(response.statusCode, 200)
  t.equal(response.json<{ access_token: string }>().access_token, token)
  t.equal((await ping(keyless.url, token)).status, 503)
})

t.test('a refresh returns a new refresh token, also when the provider keeps the old one', async (t) => {
  const first = (await post(seed, await signIn(seed, registered))).json<Record<string, string>>()
  const second = await post(
    seed,
    refreshGrant({ client_id: registered, refresh_token: first['refresh_token'], resource: `${seed.url}/mcp` })
  )
  t.equal(second.statusCode, 200)
  t.match(second.json(), { access_token: String, token_type: 'Bearer', expires_in: 3600, refresh_token: String })
  t.notOk('id_token' in second.json())
  t.not(second.json<Record<string, string>>()['refresh_token'], first['refresh_token'], 'rotated')
  t.equal((await ping(seed.url, second.json<Record<string, string>>()['access_token'])).status, 200)
  for (const refreshToken of [undefined, '', null, 7]) {
    endpoint.answer = async () => ({
      access_token: await seed.provider.mint(),
      token_type: 'bearer',
      expires_in: 300,
      refresh_token: refreshToken
    })
    const answer = endpoint.answer
    const grant = await issuedRefresh(recorded)
    endpoint.answer = answer
    const next = (await post(recorded, grant)).json<Record<string, string>>()
    t.same(Object.keys(next).sort(), ['access_token', 'expires_in', 'refresh_token', 'token_type'])
    t.not(next['refresh_token'], grant['refresh_token'])
    await post(recorded, refreshGrant({ refresh_token: next['refresh_token'] }))
    t.equal(endpoint.requests.at(-1)!.body.get('refresh_token'), 'r', 'it holds the one that the provider keeps')
  }
})

t.test("a refresh requests the client's scopes that OIDC_SCOPES lists, or none", async (t) => {
  endpoint.answer = async () => ({ access_token: await seed.provider.mint() })
  for (const [asked, sent] of [
    [undefined, null],
    ['openid email', 'openid email'],
    ['email admin', 'openid email']
  ] as const) {
    await post(recorded, await issuedRefresh(recorded, { scope: asked }))
    t.equal(endpoint.requests.at(-1)!.body.get('scope'), sent)
  }
  const good = await issuedRefresh(recorded)
  const before = endpoint.requests.length
  for (const scope of ['admin', 'openid.x']) {
    isError(t, await post(recorded, { ...good, scope }), 400, 'invalid_scope', `scope "${scope}"`)
  }
  t.equal(endpoint.requests.length, before, 'the provider is not asked, and nothing is rotated')
})

t.test('normalizes what providers omit or spell their own way', async (t) => {
  const token = await seed.provider.mint()
  for (const [given, expected] of [
    [
      {
        token_type: 'bearer',
        expires_in: 300,
        scope: 'openid',
        id_token: 'x.y.z',
        refresh_token: 'r2',
        session_state: 's',
        not_before: 0
      },
      { expires_in: 300, scope: 'openid', refresh_token: String }
    ],
    [{}, {}],
    [{ expires_in: '3599', scope: '' }, { expires_in: 3_599 }],
    ...['', 'soon', null, true, [], {}, -1, '-1', 1.5, '1e3', ' 5'].map(
      (expiresIn) => [{ expires_in: expiresIn }, {}] as const
    ),
    [{ expires_in: 0 }, { expires_in: 0 }],
    ...[null, 7, ['openid']].map((scope) => [{ scope }, {}] as const)
  ] as Array<[Record<string, unknown>, Record<string, unknown>]>) {
    endpoint.answer = async () => ({ access_token: token, ...given })
    const response = (await post(recorded, await approvedCode(recorded))).json<Record<string, unknown>>()
    t.match(response, { access_token: token, token_type: 'Bearer', ...expected }, JSON.stringify(given))
    t.same(Object.keys(response).sort(), ['access_token', ...Object.keys(expected), 'token_type'].sort())
  }
})

t.test('a public client sends its id and no more than the grant needs', async (t) => {
  endpoint.answer = async () => ({ access_token: await seed.provider.mint() })
  await post(
    recorded,
    await approvedCode(recorded, {
      scope: 'openid admin', resource: recorded.url, audience: 'x', client_assertion_type: 'x', extra: 'x'
    })
  )
  const { headers, body, url } = endpoint.requests.at(-1)!
  t.same(Object.fromEntries(body), {
    grant_type: 'authorization_code',
    client_id: seed.provider.clientId,
    code: 'c',
    redirect_uri: REDIRECT,
    code_verifier: VERIFIER
  })
  t.equal(url, '/token?tenant=a', "the endpoint's own query is kept")
  t.equal(headers.authorization, undefined)
  t.match(headers['content-type'], 'application/x-www-form-urlencoded')
  await post(recorded, await issuedRefresh(recorded, { extra: 'x' }))
  t.same(Object.fromEntries(endpoint.requests.at(-1)!.body), {
    grant_type: 'refresh_token',
    client_id: seed.provider.clientId,
    refresh_token: 'r'
  })
})

t.test('Seed authenticates at the provider by Basic, which the provider confirms', async (t) => {
  const confidential = await startSeed(t, {
    sharedProvider: seed.provider,
    env: { OIDC_CLIENT_ID: `${seed.provider.clientId}-confidential`, OIDC_CLIENT_SECRET: 'dev-secret' }
  })
  await ready(confidential)
  const response = await post(confidential, await signIn(confidential, 'claude-code'))
  t.equal(response.statusCode, 200, response.body)
  const refreshed = await post(
    confidential,
    refreshGrant({ refresh_token: response.json<Record<string, string>>()['refresh_token'] })
  )
  t.equal(refreshed.statusCode, 200, refreshed.body)

  const wrong = await startSeed(t, {
    sharedProvider: seed.provider,
    env: { OIDC_CLIENT_ID: `${seed.provider.clientId}-confidential`, OIDC_CLIENT_SECRET: 'not-the-secret' }
  })
  await ready(wrong)
  const refused = await post(wrong, await signIn(wrong, 'claude-code'))
  isError(
    t,
    refused,
    502,
    'server_error',
    "a wrong secret is the operator's to mend: the client must not forget its registration"
  )
  t.notMatch(JSON.stringify(wrong.logs), 'not-the-secret')
})

t.test("the client secret is sent by Basic, or in the body when the provider's metadata lacks Basic", async (t) => {
  const secret = 'a:b c%+ü'
  const document = (await (await fetch(`${seed.provider.issuer}/.well-known/openid-configuration`)).json()) as Record<
    string,
    unknown
  >
  t.teardown(() => { seed.provider.setFault('/.well-known/openid-configuration', undefined) })
  endpoint.answer = async () => ({ access_token: await seed.provider.mint() })
  for (const [methods, by] of [
    [['client_secret_basic', 'client_secret_post'], 'basic'],
    [undefined, 'basic'],
    [['client_secret_post', 'private_key_jwt'], 'post']
  ] as const) {
    seed.provider.setFault('/.well-known/openid-configuration', {
      status: 200,
      json: { ...document, token_endpoint_auth_methods_supported: methods }
    })
    const confidential = await startSeed(t, {
      sharedProvider: seed.provider,
      env: { OAUTH_TOKEN_URL: endpoint.url, OIDC_CLIENT_ID: 'seed at work', OIDC_CLIENT_SECRET: secret }
    })
    await ready(confidential)
    t.equal((await post(confidential, await approvedCode(confidential))).statusCode, 200)
    const { headers, body } = endpoint.requests.at(-1)!
    if (by === 'basic') {
      const [id, password] = Buffer.from(headers.authorization!.slice('Basic '.length), 'base64')
        .toString()
        .split(':')
        .map((part) => new URLSearchParams(`v=${part}`).get('v'))
      t.same([id, password], ['seed at work', secret], 'form-encoded first (RFC 6749 section 2.3.1)')
      t.notOk(body.has('client_secret'))
    } else {
      t.equal(headers.authorization, undefined)
      t.equal(body.get('client_id'), 'seed at work')
      t.equal(body.get('client_secret'), secret)
    }
  }
})

t.test('tokens are returned although the store is lost before the registration is extended', async (t) => {
  endpoint.answer = async () => ({ access_token: await seed.provider.mint() })
  const clientId = await register(recorded, [REDIRECT])
  const { touch } = recorded.app.store
  t.teardown(() => { recorded.app.store.touch = touch })
  const asked: string[] = []
  for (const [fault, status] of [[new StoreUnavailableError(), 200], [new TypeError('a bug'), 500]] as const) {
    recorded.app.store.touch = touch
    const grant = await approvedCode(recorded, { client_id: clientId })
    recorded.app.store.touch = async (key) => {
      asked.push(key)
      throw fault
    }
    t.equal((await post(recorded, grant)).statusCode, status, fault.name)
  }
  t.same(asked, [`client:${clientId}`, `client:${clientId}`])
})

t.test('each token response extends a registration, and a refused request does not', async (t) => {
  const clientId = await register(recorded, [REDIRECT])
  const touched: string[] = []
  const { touch } = recorded.app.store
  recorded.app.store.touch = async (key, ttlSeconds) => {
    touched.push(`${key} ${ttlSeconds}`)
    return await touch(key, ttlSeconds)
  }
  t.teardown(() => { recorded.app.store.touch = touch })
  endpoint.answer = async () => ({})
  for (const grant of [approvedCode, issuedRefresh]) {
    const fields = await grant(recorded, { client_id: clientId })
    touched.length = 0
    t.equal((await post(recorded, fields)).statusCode, 502)
    t.same(touched, [])
  }
  endpoint.answer = async () => ({ access_token: await seed.provider.mint() })
  for (const grant of [approvedCode, issuedRefresh]) {
    const fields = await grant(recorded, { client_id: clientId })
    touched.length = 0
    t.equal((await post(recorded, fields)).statusCode, 200)
    t.equal(touched.pop(), `client:${clientId} 2592000`)
    t.equal((await post(recorded, await grant(recorded))).statusCode, 200)
    t.same(touched, [], 'nothing is kept of a client that never registered')
  }
})

t.test('limits requests a minute per address; strangers cannot use up the limit of a public client', async (t) => {
  const limited = await startSeed(t, {
    sharedProvider: seed.provider,
    env: { OAUTH_LIMIT_PER_ADDRESS: '4', OAUTH_LIMIT_PER_CLIENT: '3' }
  })
  await ready(limited)
  const ask = async (remoteAddress: string, clientId: string, url = '/oauth/token') =>
    await limited.app.inject({
      method: 'POST',
      url,
      payload: form(refreshGrant({ client_id: clientId })),
      remoteAddress,
      headers: { 'content-type': 'application/x-www-form-urlencoded' }
    })
  const isLimited = async (response: Awaited<ReturnType<typeof ask>>, reason: RegExp) => {
    isError(t, response, 429, 'temporarily_unavailable', String(reason))
    const seconds = Number(response.headers['retry-after'])
    t.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 60, 'Retry-After in whole seconds')
    t.match((await limited.logged(({ reqId }) => reqId === response.headers['x-request-id']))['reason'], reason)
  }
  const isJudged = (response: Awaited<ReturnType<typeof ask>>, about: string) => {
    isError(t, response, 400, 'invalid_grant', about)
  }
  for (const url of ['/oauth/token', '/token', '/oauth/token']) isJudged(await ask('192.0.2.1', 'one', url), url)
  await isLimited(
    await ask('192.0.2.1', 'one'),
    /^more than 3 requests to token:client in 60 s \(OAUTH_LIMIT_PER_CLIENT\b/
  )
  for (const url of ['/oauth/token', '/token', '/oauth/token']) {
    isJudged(await ask('192.0.2.2', 'one', url), 'the same client at another address')
  }
  isJudged(await ask('192.0.2.2', 'two'), 'another client of that address')
  for (const url of ['/oauth/token', '/token']) {
    await isLimited(
      await ask('192.0.2.2', 'two', url),
      /^more than 4 requests to token in 60 s \(OAUTH_LIMIT_PER_ADDRESS, TRUST_PROXY\)$/
    )
  }
})

t.test('a user whom an access rule refuses gets no tokens and is told whom to ask', async (t) => {
  const closed = await startSeed(t, {
    sharedProvider: seed.provider,
    env: { OAUTH_TOKEN_URL: endpoint.url, ACCESS_GROUPS: 'engineering', ACCESS_CONTACT: 'Zoë "IT", C:\\it' }
  })
  await ready(closed)
  for (const [groups, admitted] of [[['engineering', 'x'], true], [['sales'], false], [undefined, false]] as const) {
    const token = await seed.provider.mint({ groups })
    const member = await seed.provider.mint({ groups: ['engineering'] })
    endpoint.answer = async () => ({ access_token: member, refresh_token: 'r' })
    const { refresh_token: issued } = (await post(closed, await approvedCode(closed))).json<Record<string, string>>()
    endpoint.answer = async () => ({ access_token: token, refresh_token: 'next' })
    for (const grant of [await approvedCode(closed), refreshGrant({ refresh_token: issued })]) {
      const response = await post(closed, grant)
      t.equal((await ping(closed.url, token)).status, admitted ? 200 : 403, 'the same answer at /mcp')
      if (admitted) {
        t.equal(response.statusCode, 200)
        continue
      }
      isError(t, response, 403, 'access_denied', JSON.stringify(groups))
      t.equal(
        withoutReference(response.json<{ error_description: string }>().error_description),
        'You are not in a group that may use this server; ask Zoe \'IT\', C:\'it',
        'in the characters of RFC 6749 section 5.2'
      )
      t.match(
        (await closed.logged(({ reqId }) => reqId === response.headers['x-request-id']))['reason'],
        /^ACCESS_GROUPS: /
      )
    }
  }
})

t.test('while the store is away the response is 503 with Retry-After, never "unknown client"', async (t) => {
  const away = await startSeed(t, { sharedProvider: seed.provider, env: { REDIS_URL: DEAD_REDIS } })
  await away.logged(({ msg }) => msg === 'OpenID provider discovered')
  for (const grant of [codeGrant, refreshGrant]) {
    const response = await post(away, grant({ client_id: registered }))
    isError(t, response, 503, 'temporarily_unavailable', 'registered')
    t.equal(response.headers['retry-after'], '1')
    t.notMatch(response.body, /redis|127\.0\.0\.1/i)
  }
})

t.test('without the provider since start the response is 503 with Retry-After', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  provider.setFault('/.well-known/openid-configuration', 'down')
  const away = await startSeed(t, { sharedProvider: provider })
  const key = keys.approval(digest(challengeOf(VERIFIER)))
  const approval = {
    clientId: 'claude-code',
    redirectUriHash: digest(REDIRECT),
    scope: 'openid',
    expiresAt: Math.floor(Date.now() / 1_000) + 60,
    unfinished: { id: 'consent', countedUnder: [] }
  }
  await away.app.store.set(key, JSON.stringify(approval), 60)
  for (const attempt of ['the first', 'and again']) {
    const response = await post(away, codeGrant())
    isError(t, response, 503, 'temporarily_unavailable', attempt)
    t.equal(response.headers['retry-after'], '5')
    t.notMatch(response.body, provider.issuer)
  }
})

t.test('an unexpected error is server_error, and its message is only in the log', async (t) => {
  const { get } = seed.app.store
  seed.app.store.get = async () => { throw new TypeError('cannot read "secret" at /srv/app.js') }
  t.teardown(() => { seed.app.store.get = get })
  const response = await post(seed, refreshGrant({ client_id: registered }))
  isError(t, response, 500, 'server_error', 'unexpected')
  t.notMatch(response.body, /secret|srv/)
  t.match(
    await seed.logged((line) => line['reqId'] === response.headers['x-request-id'] && line.msg === 'Unexpected error'),
    { err: { type: 'TypeError' } }
  )
})

/** Signs Ada in with a browser and gives what the token endpoint is to be asked with. */
async function signIn (seed: TestSeed, clientId: string) {
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: REDIRECT,
    state: 's',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    resource: `${seed.url}/mcp`
  })
  const answer = await createBrowser().signIn(`${seed.url}/oauth/authorize?${query.toString()}`, {
    login: 'ada',
    password: 'ada'
  })
  return {
    grant_type: 'authorization_code',
    client_id: clientId,
    code: answer.searchParams.get('code')!,
    redirect_uri: REDIRECT,
    code_verifier: verifier
  }
}

async function register ({ app }: TestSeed, uris: string[]): Promise<string> {
  const response = await app.inject({ method: 'POST', url: '/oauth/register', payload: { redirect_uris: uris } })
  return response.json<{ client_id: string }>().client_id
}

function form (fields: Fields): string {
  return new URLSearchParams(
    Object.entries(fields).filter((pair): pair is [string, string] => pair[1] !== undefined)
  ).toString()
}

async function post ({ app }: TestSeed, fields: Fields, url = '/oauth/token', headers: Record<string, string> = {}) {
  return await app.inject({
    method: 'POST',
    url,
    payload: form(fields),
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
  })
}

function refusal (status: number, error: string): Fault {
  return { status, json: { error, error_description: SECRET_WORDS, error_codes: [70000], trace_id: 'x' } }
}

async function startTokenEndpoint (t: Test) {
  const requests: Array<{ url: string, headers: IncomingHttpHeaders, body: URLSearchParams }> = []
  const endpoint = { url: '', requests, answer: async (): Promise<unknown> => ({}) }
  const server = createServer((req, res) => {
    text(req).then(async (body) => {
      requests.push({ url: req.url!, headers: req.headers, body: new URLSearchParams(body) })
      const answer = JSON.stringify(await endpoint.answer())
      res.writeHead(200, { 'content-type': 'application/json' }).end(answer)
    }, () => res.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close().closeAllConnections() })
  endpoint.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`
  return endpoint
}
