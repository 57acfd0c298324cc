import t from 'tap'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { buildApp } from '../../src/app.ts'
import type { FetchPublicDocument } from '../../src/net/public-fetch.ts'
import { until } from '../support/until.ts'
import { captureLogs, ready, startSeed } from '../support/seed.ts'

const PUBLIC = 'https://seed.example.com'
const DOCUMENTS = [
  '/oauth-protected-resource',
  '/oauth-protected-resource/mcp',
  '/oauth-authorization-server',
  '/openid-configuration'
].map((path) => `/.well-known${path}`)

const AUTH_METHODS = ['none', 'private_key_jwt']
const ASSERTION_ALGORITHMS = ['ES256', 'RS256', 'PS256', 'EdDSA']

const seed = await startSeed(t, {
  env: { OIDC_SCOPES: 'openid email mcp:read offline_access', OIDC_ALGORITHMS: 'ES256,EdDSA' }
})
await ready(seed)

t.test('the protected resource metadata is the same at both of its URLs', async (t) => {
  for (const path of DOCUMENTS.slice(0, 2)) {
    const response = await fetch(seed.url + path)
    t.equal(response.status, 200)
    t.same(await response.json(), {
      resource: `${seed.url}/mcp`,
      resource_name: 'Seed MCP server',
      authorization_servers: [seed.url],
      bearer_methods_supported: ['header'],
      scopes_supported: ['openid', 'email', 'mcp:read']
    }, 'without offline_access, which is the client\'s own affair')
  }
})

t.test('the authorization server metadata advertises what the server does', async (t) => {
  const server = (await (await fetch(`${seed.url}/.well-known/oauth-authorization-server`)).json()) as Record<
    string,
    unknown
  >
  t.same(server, {
    issuer: seed.url,
    authorization_endpoint: `${seed.url}/oauth/authorize`,
    token_endpoint: `${seed.url}/oauth/token`,
    registration_endpoint: `${seed.url}/oauth/register`,
    revocation_endpoint: `${seed.url}/oauth/revoke`,
    revocation_endpoint_auth_methods_supported: AUTH_METHODS,
    revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: ['authorization_code', 'refresh_token'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: AUTH_METHODS,
    token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    prompt_values_supported: ['login', 'consent', 'select_account'],
    acr_values_supported: ['urn:seed:dev:password', 'urn:seed:dev:second-factor'],
    authorization_response_iss_parameter_supported: false,
    client_id_metadata_document_supported: false,
    scopes_supported: ['openid', 'email', 'mcp:read', 'offline_access']
  })
  t.same(await (await fetch(`${seed.url}/.well-known/openid-configuration`)).json(), {
    ...server,
    jwks_uri: `${seed.provider.issuer}/jwks`,
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256', 'EdDSA']
  }, 'the same to clients that look for OpenID')
})

t.test("in broker mode the metadata advertises iss and Seed's own keys", async (t) => {
  const broker = await startSeed(t, { sharedProvider: seed.provider, env: { OAUTH_MODE: 'broker' } })
  const { jwks_uri: jwksUri, ...server } = (await (
    await fetch(`${broker.url}/.well-known/oauth-authorization-server`)
  ).json()) as Record<string, unknown>
  t.equal(jwksUri, `${broker.url}/.well-known/jwks.json`)
  t.match(server, { issuer: broker.url, authorization_response_iss_parameter_supported: true })
  t.same(await (await fetch(`${broker.url}/.well-known/openid-configuration`)).json(), {
    ...server, jwks_uri: jwksUri, subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['ES256']
  }, 'and there the provider is not needed for it')
  const response = await fetch(String(jwksUri), { headers: { origin: 'https://app.example' } })
  t.match(
    {
      status: response.status,
      cache: response.headers.get('cache-control'),
      cors: response.headers.get('access-control-allow-origin')
    },
    { status: 200, cache: 'public, max-age=300', cors: '*' }
  )
  const { keys } = await response.json() as { keys: Array<Record<string, unknown>> }
  t.ok(keys.length > 0)
  for (const key of keys) {
    t.same(Object.keys(key).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'], 'the public half')
  }
  t.equal((await fetch(String(jwksUri), { method: 'POST' })).status, 405)
})

t.test('metadata documents are advertised once one could be fetched, and never when switched off', async (t) => {
  const promised = async (app: FastifyInstance) =>
    (await app.inject({ url: DOCUMENTS[2]!, headers: { host: 'localhost' } })).json<Record<string, unknown>>()[
      'client_id_metadata_document_supported'
    ]
  let answer = (_: { status: number, headers: Record<string, string>, body: string }) => {}
  const fetched = new Promise<{ status: number; headers: Record<string, string>; body: string }>((resolve) => {
    answer = resolve
  })
  const probeUrl = 'https://client.example/metadata.json'
  const app = await startApp(t, { CIMD_PROBE_URL: probeUrl }, async () => await fetched)
  t.equal(await promised(app), false)
  answer({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_id: probeUrl, client_name: 'A client', redirect_uris: ['https://client.example/cb'] })
  })
  await until(async () => await promised(app) === true, 'the probe has succeeded')

  const off = await startApp(t, { CIMD_ENABLED: 'false' }, async () => { throw new Error('fetched all the same') })
  t.equal(await promised(off), false)
})

t.test('every advertised endpoint exists', async (t) => {
  const server = await (await fetch(`${seed.url}/.well-known/openid-configuration`)).json() as Record<string, string>
  for (const [name, url] of Object.entries(server).filter(([name]) => /_(endpoint|uri)$/.test(name))) {
    t.not((await fetch(url, { redirect: 'manual' })).status, 404, name)
    t.match(url, /^http:\/\/127\.0\.0\.1:\d+\/[\w/-]+$/, 'a plain URL: clients hand it to a shell')
  }
  const {
    authorization_servers: [issuer],
    resource
  } = (await (await fetch(`${seed.url}/.well-known/oauth-protected-resource/mcp`)).json()) as {
    authorization_servers: string[]
    resource: string
  }
  t.equal(issuer, server['issuer'], 'byte for byte, or strict clients refuse')
  const challenge = (await fetch(resource, { method: 'POST' })).headers.get('www-authenticate')
  t.equal(
    challenge,
    `Bearer scope="openid email mcp:read", resource_metadata="${seed.url}/.well-known/oauth-protected-resource/mcp"`,
    'and the challenge leads here'
  )
})

t.test('every URL comes from BASE_URL, with or without a trailing slash, whatever the request says', async (t) => {
  for (const baseUrl of [PUBLIC, `${PUBLIC}/`]) {
    const app = await startApp(t, { BASE_URL: baseUrl })
    for (const path of DOCUMENTS.slice(0, 3)) {
      const plain = await app.inject({ url: path, headers: { host: 'seed.example.com' } })
      t.equal(plain.statusCode, 200)
      t.notMatch(plain.body, 'seed.example.com/"', 'no trailing slash')
      t.notMatch(plain.body, 'localhost')
      const spoofed = await app.inject({
        url: path,
        headers: {
          host: 'localhost',
          forwarded: 'host=evil.example;proto=http',
          'x-forwarded-host': 'evil.example',
          'x-forwarded-proto': 'http',
          'x-forwarded-port': '81',
          'x-forwarded-prefix': '/evil',
          'x-original-url': '/evil',
          'x-rewrite-url': '/evil'
        }
      })
      t.equal(spoofed.body, plain.body)
    }
  }
})

t.test('anyone, browsers included, may read and cache the documents', async (t) => {
  for (const path of DOCUMENTS) {
    const response = await fetch(seed.url + path, { headers: { origin: 'https://app.example' } })
    t.equal(response.headers.get('cache-control'), 'public, max-age=300')
    t.match(response.headers.get('content-type'), /^application\/json/)
    t.equal(response.headers.get('access-control-allow-origin'), '*')
    t.equal(response.headers.get('access-control-allow-credentials'), null)
    t.equal(response.headers.get('cross-origin-resource-policy'), 'cross-origin')
    t.equal(response.headers.get('set-cookie'), null)
    t.equal(response.headers.get('vary'), null, 'nothing of the request changes them')
  }
})

t.test('accepts only GET', async (t) => {
  for (const url of DOCUMENTS) {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
      const response = await seed.app.inject({ method, url, payload: '{}', headers: { 'content-type': 'text/html' } })
      t.match(response, { statusCode: 405, headers: { allow: 'GET', 'cache-control': 'no-store' } })
      t.match(response.json(), { error: 'request_failed', message: 'This address accepts GET only' })
    }
    t.match(await seed.app.inject({ method: 'HEAD', url }), { statusCode: 405, body: '' })
  }
})

t.test('unpublished documents are 404', async (t) => {
  for (const path of [
    '/oauth-authorization-server/mcp',
    '/openid-configuration/mcp',
    '/oauth-protected-resource/',
    '/oauth-protected-resource/other',
    '/jwks.json',
    '/',
    ''
  ]) {
    t.equal((await fetch(`${seed.url}/.well-known${path}`)).status, 404, path)
  }
})

t.test('without the provider only the documents with its keys are 503', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  provider.setFault('*', 'down')
  const away = await startSeed(t, { sharedProvider: provider, env: { REDIS_URL: 'redis://127.0.0.1:1' } })
  for (const path of DOCUMENTS.slice(0, 3)) t.equal((await fetch(away.url + path)).status, 200, path)
  const response = await fetch(`${away.url}/.well-known/openid-configuration`, {
    headers: { origin: 'https://app.example' }
  })
  t.equal(response.status, 503)
  t.equal(response.headers.get('retry-after'), '5')
  t.equal(response.headers.get('cache-control'), 'no-store', 'and nobody keeps that answer')
  t.equal(response.headers.get('access-control-allow-origin'), '*')
  t.same(await response.json(), {
    error: 'request_failed',
    message: 'The identity provider cannot be reached; try again shortly',
    reference: response.headers.get('x-request-id')
  })
})

t.test('without sign-in there are no such documents', async (t) => {
  const app = await startApp(t, { AUTH_REQUIRED: 'false', BASE_URL: 'http://localhost:3000' })
  for (const url of [
    ...DOCUMENTS,
    '/.well-known/jwks.json',
    '/oauth/authorize',
    '/oauth/consent',
    '/oauth/callback',
    '/oauth/token',
    '/oauth/revoke',
    '/oauth/backchannel-logout'
  ]) { t.equal((await app.inject({ url })).statusCode, 404, url) }
})

async function startApp (t: Test, env: Record<string, string>, fetchDocument?: FetchPublicDocument) {
  const environment = {
    OIDC_ISSUER: 'http://127.0.0.1:1',
    OIDC_AUDIENCE: 'seed',
    CIMD_ENABLED: String(fetchDocument !== undefined),
    ...env
  }
  const app = await buildApp(environment, {
    logStream: captureLogs().stream,
    ...(fetchDocument !== undefined && { fetchDocument })
  })
  t.teardown(async () => { await app.close() })
  return app
}

t.test('methods with a secret are offered if a client of OAUTH_CLIENTS uses them', async (t) => {
  const client = { client_id: 'ci', client_secret: 'x'.repeat(32), redirect_uris: ['https://client.example/cb'] }
  const own = await startSeed(t, {
    env: { OAUTH_CLIENTS: JSON.stringify([{ ...client, token_endpoint_auth_method: 'client_secret_post' }]) }
  })
  await ready(own)
  const response = await fetch(`${own.url}/.well-known/oauth-authorization-server`)
  const methods = ['none', 'client_secret_post', 'private_key_jwt']
  t.match(await response.json(), {
    token_endpoint_auth_methods_supported: methods, revocation_endpoint_auth_methods_supported: methods
  })
})
