import { generateKeyPairSync, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { CompactSign } from 'jose'
import t from 'tap'
import type { Arbitrary } from 'fast-check'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider } from '../../dev/provider.ts'
import { createBrowser } from '../support/browser.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { ready } from '../support/seed.ts'
import { createPlainClient } from '../support/sign-in.ts'
import type { PlainClient } from '../support/sign-in.ts'
import { damaged, formOf, headerValue, hugeValue, jsonOf, oddString, spoilt, toJson, toQuery } from './arbitraries.ts'
import { check, startFuzzServer } from './fuzz-server.ts'
import type { FuzzRequest, FuzzServer } from './fuzz-server.ts'

/** The OAuth endpoints and metadata documents of the server that ships, in both modes, with Redis and a provider. */

const SECRET = 'a client secret of the fuzz suite, long enough'
const KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const CLIENTS = JSON.stringify([
  {
    client_id: 'confidential',
    client_name: 'Confidential',
    client_secret: SECRET,
    token_endpoint_auth_method: 'client_secret_basic',
    redirect_uris: ['https://client.example/cb']
  },
  {
    client_id: 'key',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [{ ...KEY.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256' }] },
    redirect_uris: ['https://client.example/cb']
  },
  { client_id: 'public', client_name: 'Public', redirect_uris: ['http://localhost/cb'] }
])
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const METADATA = {
  redirect_uris: ['http://localhost:1234/cb', 'https://client.example/cb', 'cursor://x/cb'],
  client_name: 'Fuzz',
  client_uri: 'https://client.example',
  logo_uri: 'https://client.example/logo.png',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
  application_type: 'native',
  scope: 'openid email',
  software_statement: 'a.b.c',
  jwks: { keys: [{ kty: 'EC', crv: 'P-256', x: 'a', y: 'b' }] },
  contacts: ['a@example.com']
}

for (const mode of ['broker', 'proxy'] as const) {
  t.test(`the OAuth endpoints in ${mode} mode`, async (t) => {
    const redis = await ownRedisForTests(t)
    if (redis === undefined) return
    const provider = await startDevProvider({ algorithm: 'ES256' })
    t.teardown(async () => { await provider.close() })
    const server = await startFuzzServer(t, {
      OAUTH_MODE: mode,
      SEED_SECRET: randomBytes(32).toString('base64url'),
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.clientId,
      OAUTH_CLIENTS: CLIENTS,
      REDIS_URL: redis.url
    })
    await ready(server)
    const fixture = await signInOnce(server, provider)

    for (const [name, request, runs] of requestsFor(server, fixture)) {
      t.test(name, async () => {
        await check(fc.asyncProperty(request, async (request) => { await server.answers(request) }), { runs })
        await server.isWell()
      })
    }

    t.test('client assertions', async () => {
      const assertion = fc.tuple(spoilt([{ alg: 'ES256', kid: 'k', typ: 'client-authentication+jwt' }]), spoilt([{
        iss: 'key', sub: 'key', aud: server.url, jti: 'j', iat: 1, exp: Math.floor(Date.now() / 1_000) + 250
      }]))
      await check(fc.asyncProperty(assertion, async ([header, claims]) => {
        const signer = new CompactSign(toJson(claims)).setProtectedHeader({ ...header as object, alg: 'ES256' })
        const token = await signer.sign(KEY.privateKey).catch(() => undefined)
        if (token === undefined) return
        await server.answers({
          path: '/oauth/token',
          headers: FORM,
          body: toQuery(Object.entries({
            grant_type: 'refresh_token',
            refresh_token: 'a.b.c',
            client_assertion: token,
            client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
          }))
        })
      }), { runs: 60 })
      await server.isWell()
    })
  })
}

interface Fixture {
  client: PlainClient
  tokens: { access_token: string, refresh_token?: string }
  code: string
  cookie: string
  consent: string
  logoutToken: string
}

/** What a client holds after a sign-in, and what is in the middle of another. */
async function signInOnce (server: FuzzServer, provider: DevProvider): Promise<Fixture> {
  const client = await createPlainClient(server.url)
  const browser = createBrowser()
  const parameters = { scope: 'openid profile email offline_access' }
  const tokens = await (await client.redeem(await client.walk(undefined, parameters, browser))).json() as Fixture['tokens']
  const page = await client.walk(undefined, parameters)
  const form = await fetch(client.authorizationUrl())
  return {
    client,
    tokens,
    code: page.url.searchParams.get('code')!,
    cookie: form.headers.get('set-cookie')!.split(';')[0]!,
    consent: /name="consent" value="([^"]+)"/.exec(await form.text())![1]!,
    logoutToken: await provider.mint({ sub: 'bob', aud: provider.clientId, events: EVENTS }, { typ: 'logout+jwt' })
  }
}

const EVENTS = { 'http://schemas.openid.net/event/backchannel-logout': {} }

type Named = [name: string, request: Arbitrary<FuzzRequest>, runs: number]

function requestsFor (server: FuzzServer, fixture: Fixture): Named[] {
  const { client, tokens, code, cookie, consent, logoutToken } = fixture
  const authorization = Object.fromEntries(client.authorizationUrl({
    scope: 'openid email',
    nonce: 'n',
    prompt: 'consent',
    max_age: '10',
    login_hint: 'ada',
    response_mode: 'query',
    request: 'a.b.c',
    request_uri: 'https://client.example/r'
  }).searchParams)
  const credentials = {
    client_id: client.clientId,
    client_secret: SECRET,
    client_assertion: tokens.access_token,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  }
  const basic = fc.oneof(
    { weight: 4, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: headerValue.map((authorization) => ({ authorization })) },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.constantFrom('confidential', 'public', client.clientId, '%'), oddString)
        .map(([id, secret]) => ({ authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` }))
    }
  )
  const cookies = fc.oneof(
    { weight: 2, arbitrary: fc.constant({ cookie }) },
    { weight: 1, arbitrary: headerValue.map((value) => ({ cookie: value })) },
    { weight: 1, arbitrary: headerValue.map((value) => ({ cookie: `${cookie.split('=')[0]}=${value}` })) }
  )
  const contentType = fc.oneof(
    { weight: 6, arbitrary: fc.constant(FORM) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('application/json', 'text/plain', 'multipart/form-data; boundary=a', 'a/b',
        'application/x-www-form-urlencoded; charset=utf-16').map((type) => ({ 'content-type': type }))
    },
    { weight: 1, arbitrary: headerValue.map((type) => ({ 'content-type': type })) }
  )
  const bodyOf = (form: Record<string, string>): Arbitrary<Buffer> => {
    const text = formOf(form).map((pairs) => Buffer.from(toQuery(pairs)))
    return fc.oneof(
      { weight: 8, arbitrary: text },
      { weight: 2, arbitrary: damaged(text) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)) },
      {
        weight: 1,
        arbitrary: fc.tuple(fc.constantFrom('a', '&', '=', '%', '%41', 'a&'), fc.integer({ max: 50_000, min: 1 }))
          .map(([part, count]) => Buffer.from(part.repeat(count)).subarray(0, 60_000))
      }
    )
  }
  const post = (
    paths: string[], form: Record<string, string>, more: Arbitrary<object> = basic
  ): Arbitrary<FuzzRequest> =>
    fc.tuple(fc.constantFrom(...paths), bodyOf(form), contentType, more).map(([path, body, type, headers]) =>
      ({ path, body, headers: { ...type, ...headers } }))
  const get = (paths: string[], query: Record<string, string>): Arbitrary<FuzzRequest> => {
    const text = formOf(query).map(toQuery)
    const damagedQuery = damaged(text.map((query) => Buffer.from(query)))
      .map((bytes) => bytes.toString('latin1').replace(/[^\x21-\x7e\x80-\xff]/g, '+'))
    const queries = fc.oneof({ weight: 4, arbitrary: text }, { weight: 1, arbitrary: damagedQuery })
    return fc.tuple(fc.constantFrom(...paths), queries, cookies).map(([path, query, headers]) => ({ method: 'GET', path: `${path}?${query}`.slice(0, 14_000), headers }))
  }

  const metadata = fc.oneof(
    { weight: 6, arbitrary: jsonOf(spoilt([METADATA])) },
    { weight: 1, arbitrary: hugeValue.map(toJson).map((body) => body.subarray(0, 60_000)) }
  )
  return [
    ['authorization requests', get(['/oauth/authorize', '/authorize'], authorization), 150],
    ['consent', post(['/oauth/consent'], { consent, decision: 'approve' }, cookies), 60],
    ['the callback', get(['/oauth/callback'], { state: 'a', code, iss: 'https://id.example', error: 'access_denied' }), 60],
    ['redeeming codes', post(['/oauth/token', '/token'], {
      grant_type: 'authorization_code',
      code,
      redirect_uri: client.redirectUri,
      code_verifier: client.verifier,
      resource: `${server.url}/mcp`,
      ...credentials
    }), 120],
    ['refreshing', post(['/oauth/token'], {
      grant_type: 'refresh_token', refresh_token: String(tokens.refresh_token), scope: 'openid', ...credentials
    }), 120],
    ['revoking', post(['/oauth/revoke', '/revoke'], {
      token: tokens.access_token, token_type_hint: 'access_token', ...credentials
    }), 100],
    ['registering', metadata.map((body) => (
      { path: '/oauth/register', headers: { 'content-type': 'application/json' }, body }
    )), 120],
    ['logout tokens', fc.oneof(
      post(['/oauth/backchannel-logout'], { logout_token: logoutToken }),
      spoilt([{ iss: 'a', aud: 'seed-dev', sub: 'bob', iat: 1, exp: 2, jti: 'j', events: EVENTS }]).map((claims) => ({
        path: '/oauth/backchannel-logout',
        headers: FORM,
        body: `logout_token=${logoutToken.split('.')[0]}.${toJson(claims).toString('base64url')}.${logoutToken.split('.')[2]}`
      }))
    ), 60],
    ['other methods and paths', fc.record({
      method: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'),
      path: fc.tuple(fc.constantFrom(
        '/oauth/authorize', '/oauth/token', '/oauth/register', '/oauth/revoke', '/oauth/introspect', '/oauth/consent',
        '/oauth/callback', '/oauth/backchannel-logout', '/.well-known/oauth-authorization-server', '/.well-known/jwks.json',
        '/.well-known/openid-configuration', '/.well-known/oauth-protected-resource/mcp', '/health/ready', '/'
      ), fc.constantFrom('', '/', '?', '/%00', '/..%2f', '?a=%', '//', ';a')).map((parts) => parts.join('')),
      headers: fc.dictionary(fc.constantFrom('origin', 'accept', 'if-none-match', 'range', 'access-control-request-method',
        'access-control-request-headers', 'sec-fetch-site', 'x-http-method-override'), headerValue, { maxKeys: 3 })
    }), 80]
  ]
}
