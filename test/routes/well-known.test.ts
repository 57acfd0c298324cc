import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/env.ts'
import { captureLogs, ready, startSeed } from '../support/seed.ts'

const PUBLIC = 'https://seed.example.com'
const DOCUMENTS = ['/oauth-protected-resource', '/oauth-protected-resource/mcp', '/oauth-authorization-server', '/openid-configuration'].map((path) => `/.well-known${path}`)

const seed = await startSeed(t, { env: { OIDC_SCOPES: 'openid email mcp:read offline_access', OIDC_ALGORITHMS: 'ES256,EdDSA' } })
await ready(seed)

t.test('the protected resource is the same document at both of its addresses', async (t) => {
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

t.test('the authorization server promises what it does', async (t) => {
  const server = await (await fetch(`${seed.url}/.well-known/oauth-authorization-server`)).json() as Record<string, unknown>
  t.same(server, {
    issuer: seed.url,
    authorization_endpoint: `${seed.url}/oauth/authorize`,
    token_endpoint: `${seed.url}/oauth/token`,
    registration_endpoint: `${seed.url}/oauth/register`,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: ['authorization_code', 'refresh_token'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['none'],
    scopes_supported: ['openid', 'email', 'mcp:read', 'offline_access']
  })
  t.same(await (await fetch(`${seed.url}/.well-known/openid-configuration`)).json(), {
    ...server,
    jwks_uri: `${seed.provider.issuer}/jwks`,
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256', 'EdDSA']
  }, 'the same to clients that look for OpenID')
})

t.test('every endpoint that is named is there', async (t) => {
  const server = await (await fetch(`${seed.url}/.well-known/openid-configuration`)).json() as Record<string, string>
  for (const [name, url] of Object.entries(server).filter(([name]) => /_(endpoint|uri)$/.test(name))) {
    t.not((await fetch(url, { redirect: 'manual' })).status, 404, name)
    t.match(url, /^http:\/\/127\.0\.0\.1:\d+\/[\w/-]+$/, 'a plain URL: clients hand it to a shell')
  }
  const { authorization_servers: [issuer], resource } = await (await fetch(`${seed.url}/.well-known/oauth-protected-resource/mcp`)).json() as { authorization_servers: string[], resource: string }
  t.equal(issuer, server['issuer'], 'byte for byte, or strict clients refuse')
  const challenge = (await fetch(resource, { method: 'POST' })).headers.get('www-authenticate')
  t.equal(challenge, `Bearer scope="openid email mcp:read", resource_metadata="${seed.url}/.well-known/oauth-protected-resource/mcp"`, 'and the challenge leads here')
})

t.test('every string comes from BASE_URL, with or without a slash behind it, whatever the request says', async (t) => {
  for (const baseUrl of [PUBLIC, `${PUBLIC}/`]) {
    const app = await startApp(t, { BASE_URL: baseUrl })
    for (const path of DOCUMENTS.slice(0, 3)) {
      const plain = await app.inject({ url: path, headers: { host: 'seed.example.com' } })
      t.equal(plain.statusCode, 200)
      t.notMatch(plain.body, 'seed.example.com/"', 'no trailing slash')
      t.notMatch(plain.body, 'localhost')
      const spoofed = await app.inject({
        url: path,
        headers: { host: 'localhost', forwarded: 'host=evil.example;proto=http', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'http', 'x-forwarded-port': '81', 'x-forwarded-prefix': '/evil', 'x-original-url': '/evil', 'x-rewrite-url': '/evil' }
      })
      t.equal(spoofed.body, plain.body)
    }
  }
})

t.test('anyone may read and keep the documents for a while, browsers too', async (t) => {
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

t.test('GET and nothing else', async (t) => {
  for (const url of DOCUMENTS) {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
      const response = await seed.app.inject({ method, url, payload: '{}', headers: { 'content-type': 'text/html' } })
      t.match(response, { statusCode: 405, headers: { allow: 'GET', 'cache-control': 'no-store' } })
      t.match(response.json(), { error: 'request_failed', message: 'This address takes GET and no other method' })
    }
    t.match(await seed.app.inject({ method: 'HEAD', url }), { statusCode: 405, body: '' })
  }
})

t.test('what is not published is not there', async (t) => {
  for (const path of ['/oauth-authorization-server/mcp', '/openid-configuration/mcp', '/oauth-protected-resource/', '/oauth-protected-resource/other', '/jwks.json', '/', '']) {
    t.equal((await fetch(`${seed.url}/.well-known${path}`)).status, 404, path)
  }
})

t.test('the provider is away: only what holds its keys must wait', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  provider.setFault('*', 'down')
  const away = await startSeed(t, { sharedProvider: provider, env: { REDIS_URL: 'redis://127.0.0.1:1' } })
  for (const path of DOCUMENTS.slice(0, 3)) t.equal((await fetch(away.url + path)).status, 200, path)
  const response = await fetch(`${away.url}/.well-known/openid-configuration`, { headers: { origin: 'https://app.example' } })
  t.equal(response.status, 503)
  t.equal(response.headers.get('retry-after'), '5')
  t.equal(response.headers.get('cache-control'), 'no-store', 'and nobody keeps that answer')
  t.equal(response.headers.get('access-control-allow-origin'), '*')
  t.same(await response.json(), { error: 'request_failed', message: 'The identity provider cannot be reached; try again shortly', reference: response.headers.get('x-request-id') })
})

t.test('without sign-in there are no such documents', async (t) => {
  const app = await startApp(t, { AUTH_REQUIRED: 'false', BASE_URL: 'http://localhost:3000' })
  for (const url of [...DOCUMENTS, '/oauth/authorize', '/oauth/token']) t.equal((await app.inject({ url })).statusCode, 404)
})

async function startApp (t: Test, env: Record<string, string>) {
  const app = await buildApp(loadConfig({ OIDC_ISSUER: 'http://127.0.0.1:1', OIDC_AUDIENCE: 'seed', ...env }), { logStream: captureLogs().stream })
  t.teardown(async () => { await app.close() })
  return app
}
