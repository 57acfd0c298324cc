import { exportJWK, exportPKCS8, generateKeyPair } from 'jose'
import t from 'tap'
import type { DevProviderOptions } from '../../dev/provider.ts'
import { createBrowser } from '../support/browser.ts'
import { getTokens, newRequest, post, refresh, register, startBroker, toCallback } from '../support/broker.ts'
import { modernRequest, ping, sendModern } from '../support/seed.ts'
import { ADA, createPlainClient, readTokens, signedIn } from '../support/sign-in.ts'

/** Deviations that providers of no preset have, imitated by the development provider, and settings that answer them. */

/** Proxy mode hands the provider the redirect URIs of clients. */
const anyRedirectUri = { fixedRedirectUris: undefined } as unknown as DevProviderOptions

const CONFIDENTIAL = { OIDC_CLIENT_ID: 'seed-dev-confidential', OIDC_CLIENT_SECRET: 'dev-secret' }

for (const secret of ['plain', 'a-b_c.d~e*f!', "(g)'h'", 'pa+ss/wo=rd%41 x:y&z']) {
  t.test(`the client secret ${secret} signs in at a provider that decodes Basic credentials`, async (t) => {
    const env = { ...CONFIDENTIAL, OIDC_CLIENT_SECRET: secret, OIDC_CLIENT_AUTH: 'client_secret_basic' }
    const seed = await startBroker(t, { env, provider: { clientSecret: secret } })
    t.ok((await getTokens(seed)).accessToken)
    t.equal(seed.provider.lastTokenRequest().scheme, 'Basic')
  })
}

t.test('a client secret with punctuation signs in at a provider that does not decode Basic credentials', async (t) => {
  const secret = "gloas-0123_4.5~6*7!(8)'9/="
  const env = { ...CONFIDENTIAL, OIDC_CLIENT_SECRET: secret, OIDC_CLIENT_AUTH: 'client_secret_basic' }
  const seed = await startBroker(t, { env, provider: { clientSecret: secret, quirks: { undecodedBasic: true } } })
  t.ok((await getTokens(seed)).accessToken)
  t.equal(seed.provider.lastTokenRequest().scheme, 'Basic')
})

for (const [answer, refusal] of [
  ['401 invalid_client', { status: 401, json: { error: 'invalid_client' } }],
  ['400 invalid_client', { status: 400, json: { error: 'invalid_client' } }],
  ['403 unauthorized_client', { status: 403, json: { error: 'unauthorized_client' } }],
  ['403 without a body', { status: 403 }]
] as const) {
  t.test(`a client registered for client_secret_post that gets ${answer} for Basic signs in all the same`, async (t) => {
    const seed = await startBroker(t, {
      env: { OIDC_CLIENT_ID: 'seed-dev-post', OIDC_CLIENT_SECRET: 'dev-secret' },
      provider: { quirks: { refuseOtherAuthMethod: refusal } }
    })
    const { clientId, refreshToken } = await getTokens(seed)
    t.match(seed.logs.filter(({ level, setting }) => level === 40 && setting !== undefined), [{
      setting: 'OIDC_CLIENT_AUTH=client_secret_post', msg: /refused the client with OIDC_CLIENT_AUTH=client_secret_basic/
    }], 'the log names the setting')
    const before = seed.provider.hits()['/token']!
    t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200)
    t.equal(seed.provider.hits()['/token'], before + 1, 'the first attempt is made once')
  })
}

for (const [mode, endpoint, quirks] of [
  ['broker', 'revocation endpoint', {}],
  ['broker', 'token endpoint, as there is no other', { noRevocation: true }],
  ['proxy', 'revocation endpoint', {}]
] as const) {
  t.test('a provider that uses up the code of a client that it refuses: the first sign-in works, ' +
    `since the ${endpoint} has been asked first (${mode})`, async (t) => {
    const seed = await startBroker(t, {
      env: { OAUTH_MODE: mode, OIDC_CLIENT_ID: 'seed-dev-post', OIDC_CLIENT_SECRET: 'dev-secret' },
      provider: {
        ...anyRedirectUri,
        quirks: { ...quirks, refuseOtherAuthMethod: { status: 401, json: { error: 'invalid_client' } }, refusalEndsCode: true }
      }
    })
    const client = await createPlainClient(seed.url)
    const tokens = await signedIn(client)
    t.match(seed.logs.filter(({ level, setting }) => level === 40 && setting !== undefined), [{
      setting: 'OIDC_CLIENT_AUTH=client_secret_post'
    }])
    t.equal(seed.provider.hits()['/token/revocation'] ?? 0, 'noRevocation' in quirks ? 0 : 2, 'one refusal, one success')
    const before = seed.provider.hits()['/token']!
    t.equal((await client.refresh(tokens.refresh_token!)).status, 200)
    await signedIn(client)
    t.equal(seed.provider.hits()['/token'], before + 2, 'what was learned stays')
  })
}

t.test('no probe is sent where there is nothing to learn', async (t) => {
  for (const env of [{}, { ...CONFIDENTIAL, OIDC_CLIENT_AUTH: 'client_secret_basic' }]) {
    const seed = await startBroker(t, { env })
    await getTokens(seed)
    t.equal(seed.provider.hits()['/token/revocation'], undefined)
    t.equal(seed.provider.hits()['/token'], 1)
  }
})

t.test('a probe that fails delays nobody, and is made again at the next sign-in', async (t) => {
  for (const fault of ['down', 503, 429] as const) {
    const seed = await startBroker(t, { env: CONFIDENTIAL })
    seed.provider.setFault('/token/revocation', fault)
    const { browser, callback } = await toCallback(seed)
    t.equal(seed.provider.hits()['/token/revocation'], 1)
    seed.provider.setFault('/token/revocation', undefined)
    t.equal((await browser.get(callback)).status, 0)
    t.equal(seed.provider.hits()['/token/revocation'], 2)
    await getTokens(seed)
    t.equal(seed.provider.hits()['/token/revocation'], 2, 'a sign-in has shown that the method is right')
  }
})

t.test('a client that is refused in both ways ends on a page, and the log names the settings', async (t) => {
  const seed = await startBroker(t, { env: { ...CONFIDENTIAL, OIDC_CLIENT_SECRET: 'another' } })
  const { browser, callback } = await toCallback(seed)
  t.match(await browser.get(callback), { status: 502, body: /its operator must check the client settings/ })
  t.equal(seed.provider.hits()['/token'], 2, 'one attempt with each method')
  t.match(await seed.logged(({ path, status }) => path === '/oauth/callback' && status === 502), {
    reason: /401 "invalid_client" \(.+\): check OIDC_CLIENT_ID, OIDC_CLIENT_SECRET and OIDC_CLIENT_AUTH/
  })
})

t.test('with OIDC_CLIENT_AUTH set, no other method is tried', async (t) => {
  const seed = await startBroker(t, {
    env: {
      OIDC_CLIENT_ID: 'seed-dev-post', OIDC_CLIENT_SECRET: 'dev-secret', OIDC_CLIENT_AUTH: 'client_secret_basic'
    },
    provider: { quirks: { refuseOtherAuthMethod: { status: 403 } } }
  })
  const { browser, callback } = await toCallback(seed)
  t.match(await browser.get(callback), { status: 502, body: /its operator must check the client settings/ })
  t.equal(seed.provider.hits()['/token'], 1)
})

async function keyClient (quirks: DevProviderOptions['quirks'] = {}) {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const publicJwk = { ...await exportJWK(publicKey), alg: 'ES256', use: 'sig', kid: 'seed-1' }
  return {
    env: { OIDC_CLIENT_ID: 'seed-dev-key', OIDC_CLIENT_KEY: (await exportPKCS8(privateKey)).trim() },
    provider: { clientPublicJwks: { keys: [publicJwk] }, quirks }
  }
}

t.test('private_key_jwt at a provider that wants its token endpoint as audience', async (t) => {
  const { env, provider } = await keyClient({ assertionAudience: '/token' })
  const seed = await startBroker(t, { env, provider })
  const { clientId, refreshToken } = await getTokens(seed)
  t.ok(await seed.logged(({ setting }) => setting === 'OIDC_ASSERTION_AUDIENCE=token_endpoint'))
  const answer = await post(`${seed.url}/oauth/revoke`, { client_id: clientId, token: refreshToken })
  t.equal(answer.statusCode, 200)
  t.notOk(seed.logs.some(({ msg }) => msg.startsWith('A grant has ended here;')), 'and so does revocation')

  for (const [value, hits] of [['token_endpoint', 1], ['issuer', 1]] as const) {
    const fixed = await startBroker(t, { env: { ...env, OIDC_ASSERTION_AUDIENCE: value }, provider })
    const { browser, callback } = await toCallback(fixed)
    t.equal((await browser.get(callback)).status, value === 'issuer' ? 502 : 0, value)
    t.equal(fixed.provider.hits()['/token'], hits, 'the setting leaves nothing to try')
    if (value === 'token_endpoint') continue
    t.match(await fixed.logged(({ path, status }) => path === '/oauth/callback' && status === 502), {
      reason: /403 without an OAuth error: .*OIDC_ASSERTION_AUDIENCE/
    })
  }
})

for (const mode of ['broker', 'proxy']) {
  for (const [answer, deadRefreshToken] of [
    ['400 invalid_request', { status: 400, json: { error: 'invalid_request' } }],
    ['400 without a body', { status: 400 }],
    ['401 invalid_token', { status: 401, json: { error: 'invalid_token' } }]
  ] as const) {
    t.test(`a refresh token that the provider ended and answers with ${answer} ends here too (${mode})`, async (t) => {
      const seed = await startBroker(t, {
        env: { OAUTH_MODE: mode }, provider: { ...anyRedirectUri, quirks: { deadRefreshToken } }
      })
      const client = await createPlainClient(seed.url)
      const first = await signedIn(client)
      const tokens = await readTokens(await client.refresh(first.refresh_token!))
      seed.provider.revoke('ada')
      const refused = await client.refresh(tokens.refresh_token!)
      t.match(await readTokens(refused), { status: 400, error: 'invalid_grant' })
      t.match(await seed.logged(({ reqId }) => reqId === refused.headers.get('x-request-id')), {
        reason: /as to a refresh token that does not exist/
      })
      t.match(await seed.logged(({ msg }) => msg.startsWith('The provider answers a refresh token')), { level: 30 })
      if (mode === 'broker') t.equal((await ping(seed.url, tokens.access_token)).status, 401, 'the grant has ended')

      const second = await signedIn(client)
      seed.provider.revoke('ada')
      const before = seed.provider.hits()['/token']!
      t.match(await readTokens(await client.refresh(second.refresh_token!)), { status: 400, error: 'invalid_grant' })
      t.equal(seed.provider.hits()['/token'], before + 1, 'the provider is asked with a made-up token once')
    })
  }
}

for (const mode of ['broker', 'proxy']) {
  t.test(`a person's only group that comes as a string admits the person, and tools see it (${mode})`, async (t) => {
    const seed = await startBroker(t, {
      env: { OAUTH_MODE: mode, ACCESS_GROUPS: 'engineering', OIDC_SCOPES: 'openid groups' },
      provider: { ...anyRedirectUri, quirks: { singleGroupAsString: true } }
    })
    const { access_token: token } = await signedIn(await createPlainClient(seed.url), { login: 'bob', password: 'bob' })
    const request = modernRequest('tools/call', { name: 'whoami', arguments: {} })
    const response = await sendModern(seed.url, request, token)
    t.match(await response.json(), { result: { structuredContent: { groups: ['engineering'] } } })
  })
}

t.test('who is in another group, or at another domain, is refused with both lists in the log', async (t) => {
  for (const [env, reason] of [
    [{ ACCESS_GROUPS: 'Engineering' },
      'ACCESS_GROUPS: the groups sent ["engineering"], admitted ["Engineering"]'],
    [{ ACCESS_EMAIL_DOMAINS: '@example.org' },
      'ACCESS_EMAIL_DOMAINS: the domain sent ["example.com"], admitted ["example.org"]'],
    [{ ACCESS_HOSTED_DOMAINS: 'example.org' }, 'ACCESS_HOSTED_DOMAINS: no claim "hd"']
  ] as const) {
    const seed = await startBroker(t, { env: { OIDC_SCOPES: 'openid email groups', ...env } })
    const { browser, callback } = await toCallback(seed, { login: 'bob' })
    t.equal((await browser.get(callback)).status, 403)
    t.match(await seed.logged(({ path, status }) => path === '/oauth/callback' && status === 403), { reason })
  }
})

t.test('a scope that the provider does not list is named at start, and again when the provider refuses it', async (t) => {
  const seed = await startBroker(t, { provider: { quirks: { refuseOfflineAccess: true } } })
  t.match(await seed.logged(({ msg }) => msg.startsWith('OIDC_SCOPES asks for')), {
    level: 40, scopes: ['offline_access'], msg: /offline_access, which the provider does not list in scopes_supported/
  })
  const url = await createBrowser().signIn(newRequest(seed, await register(seed.url)).url, ADA)
  t.match(Object.fromEntries(url.searchParams), { error: 'server_error', error_description: /must check its settings/ })
  t.match(await seed.logged(({ msg }) => msg.startsWith('The provider refused the authorization request')), {
    level: 40,
    msg: /OIDC_SCOPES/,
    scopes: 'openid profile email offline_access',
    reason: /"invalid_scope" \(Some requested scopes were invalid. \{invalid=\[offline_access\]\}\)/
  })

  const others = await startBroker(t, { provider: { quirks: { refuseOfflineAccess: true } }, env: { OIDC_SCOPES: 'openid' } })
  t.notOk(others.logs.some(({ msg }) => msg.startsWith('OIDC_SCOPES asks for')), 'no warning without it')
})

t.test('claims of a signed userinfo response are used, and only with a valid signature for this client', async (t) => {
  const seed = await startBroker(t, {
    env: { OIDC_SCOPES: 'openid profile email groups', ACCESS_EMAIL_DOMAINS: 'example.com' },
    provider: { quirks: { idTokenClaims: false, opaqueTokens: true, signedUserinfo: true } }
  })
  t.ok((await getTokens(seed)).accessToken)

  for (const [claims, reason] of [
    [{ aud: 'another-client' }, /application\/jwt.*unexpected "aud"/],
    [{ iss: 'https://evil.example' }, /application\/jwt.*unexpected "iss"/]
  ] as const) {
    const jwt = await seed.provider.mint({ sub: 'ada', email: 'ada@example.com', email_verified: true, ...claims })
    seed.provider.setFault('/me', { status: 200, jwt })
    const { browser, callback } = await toCallback(seed)
    t.equal((await browser.get(callback)).status, 403, 'without them the rule refuses')
    await seed.logged((line) => line.msg.startsWith('The userinfo endpoint') && reason.test(String(line['reason'])))
  }
})

t.test('who has left every group is refused at the next refresh, where userinfo then lists no groups', async (t) => {
  const seed = await startBroker(t, {
    env: { OIDC_SCOPES: 'openid email groups', ACCESS_GROUPS: 'engineering' },
    provider: { quirks: { idTokenClaims: false, refreshWithoutIdToken: true } }
  })
  const client = await createPlainClient(seed.url)
  const first = await signedIn(client)
  const second = await readTokens(await client.refresh(first.refresh_token!))
  t.equal(second.status, 200)
  seed.provider.quirks.missingGroups = true
  t.match(await readTokens(await client.refresh(second.refresh_token!)), { status: 400, error: 'invalid_grant' })
})

t.test('a provider that issues no refresh token is named once, with OIDC_SCOPES', async (t) => {
  const seed = await startBroker(t, { provider: { quirks: { noRefreshToken: true } } })
  for (const attempt of ['first', 'second']) t.ok((await getTokens(seed)).accessToken, attempt)
  t.match(seed.logs.filter(({ msg }) => msg.startsWith('The provider issued no refresh token')), [{
    level: 40, msg: /OIDC_SCOPES/, maxAgeSeconds: 86400
  }])
})

t.test('a grant that the provider has ended is not revoked there', async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  seed.provider.revoke('ada')
  t.match(await refresh(seed.url, clientId, refreshToken), { statusCode: 400, json: { error: 'invalid_grant' } })
  t.equal(seed.provider.hits()['/token/revocation'], undefined)
})

for (const mode of ['broker', 'proxy']) {
  t.test(`a revocation that the provider refuses for good succeeds here, with a warning (${mode})`, async (t) => {
    const seed = await startBroker(t, { env: { OAUTH_MODE: mode }, provider: anyRedirectUri })
    const client = await createPlainClient(seed.url)
    const tokens = await signedIn(client)
    seed.provider.setFault('/token/revocation', 401)
    const answer = await post(`${seed.url}/oauth/revoke`, { client_id: client.clientId, token: tokens.refresh_token! })
    t.equal(answer.statusCode, 200, 'not "try again shortly"')
    t.match(await seed.logged(({ msg }) => msg.startsWith('The provider refused to revoke')), {
      level: 40, reason: /^401 without an OAuth error: check OIDC_CLIENT_ID/
    })
    t.match(await readTokens(await client.refresh(tokens.refresh_token!)), { error: 'invalid_grant' })
  })
}

const API = 'https://seed.example.com/mcp'

for (const mode of ['broker', 'proxy']) {
  t.test(`OIDC_RESOURCE is sent where a provider issues JWTs for a resource only (${mode})`, async (t) => {
    const provider = { ...anyRedirectUri, audience: API, quirks: { resourceParameter: true } }
    const env = { OAUTH_MODE: mode, OIDC_CLIENT_ID: 'seed-dev', OIDC_AUDIENCE: API, OIDC_RESOURCE: API }
    const seed = await startBroker(t, { env, provider })
    const client = await createPlainClient(seed.url)
    const first = await signedIn(client)
    t.equal(seed.provider.lastAuthorization()['resource'], API)
    t.equal(seed.provider.lastTokenRequest().form['resource'], API)
    const tokens = await readTokens(await client.refresh(first.refresh_token!))
    t.match(seed.provider.lastTokenRequest().form, { grant_type: 'refresh_token', resource: API })
    t.equal((await ping(seed.url, tokens.access_token)).status, 200)
  })
}

t.test('the log of an opaque access token in proxy mode names OIDC_RESOURCE and broker mode', async (t) => {
  const provider = { ...anyRedirectUri, audience: API, quirks: { resourceParameter: true } }
  const env = { OAUTH_MODE: 'proxy', OIDC_CLIENT_ID: 'seed-dev', OIDC_AUDIENCE: API }
  const seed = await startBroker(t, { env, provider })
  const client = await createPlainClient(seed.url)
  t.match(await readTokens(await client.redeem(await client.walk())), { status: 502, error: 'server_error' })
  t.match(await seed.logged(({ path, status }) => path === '/oauth/token' && status === 502), {
    reason: /opaque .*OIDC_RESOURCE.*OAUTH_MODE=broker/
  })
})

t.test('an iss that the provider sends without promising it is logged once, as proxy mode would fail', async (t) => {
  const seed = await startBroker(t, { provider: { quirks: { unpromisedIss: true } } })
  await getTokens(seed)
  await getTokens(seed)
  const lines = seed.logs.filter(({ msg }) => msg.startsWith('The provider adds "iss"'))
  t.match(lines, [{ level: 30, msg: /OAUTH_MODE=proxy .*SDK v2, mcp-remote, AI SDK/ }])
  t.equal(lines.length, 1)
})

for (const [algorithms, remedy] of [
  [['none', 'HS256', 'HS512'], /RS256 or ES256: symmetric algorithms are never accepted/],
  [['ES512'], /Add one of them to OIDC_ALGORITHMS/]
] as const) {
  t.test(`ID tokens signed with ${algorithms.join(', ')} only are an error at start that says what to change`, async (t) => {
    const seed = await startBroker(t, { provider: { quirks: { idTokenAlgorithms: [...algorithms] } } })
    const found = ({ msg }: { msg: string }) => msg.startsWith('The provider lists no algorithm for ID tokens')
    t.match(await seed.logged(found), { level: 50, msg: remedy, idTokenAlgorithms: algorithms })
  })
}
