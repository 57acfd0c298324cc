import t from 'tap'
import type { Test } from 'tap'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { startDevProvider } from '../../dev/provider.ts'
import { readConfig } from '../../plugins/config.ts'
import { createBrowser } from '../support/browser.ts'
import { writeEndpoints } from '../support/endpoints.ts'
import { freePort } from '../support/free-port.ts'
import { PATH_SERVER_NAME, nginxForTests } from '../support/nginx.ts'
import type { Nginx } from '../support/nginx.ts'
import { createOAuthClient } from '../support/oauth-client.ts'
import type { SignedInClient } from '../support/oauth-client.ts'
import { ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** The shipped files of deploy/nginx/path in a real nginx, in front of Seed below a path. */

const ORIGIN = `https://${PATH_SERVER_NAME}`
const BASE_URL = `${ORIGIN}/seed`
const USER = { login: 'ada', password: 'ada' }
const info = { name: 'nginx-path-test', version: '1.0.0' }

async function startBoth (t: Test, mode: 'broker' | 'proxy'): Promise<{ nginx: Nginx, seed: TestSeed } | undefined> {
  const ports: [number, number] = [await freePort(), await freePort()]
  const nginx = await nginxForTests(t, ports, { isBelowPath: true })
  if (nginx === undefined) return undefined
  const provider = await startDevProvider({
    algorithm: 'ES256', ...(mode === 'broker' && { fixedRedirectUris: [`${BASE_URL}/oauth/callback`] })
  })
  t.teardown(async () => { await provider.close() })
  // The second replica is away, which no client notices.
  const seed = await startSeed(t, {
    sharedProvider: provider,
    env: {
      OAUTH_MODE: mode,
      PORT: String(ports[0]),
      BASE_URL,
      TRUST_PROXY: '127.0.0.1',
      ...(mode === 'broker' && { SEED_ENDPOINTS: await writeEndpoints({ endpoints: { sales: {} } }) })
    }
  })
  await ready({ url: `http://127.0.0.1:${ports[0]}` })
  return { nginx, seed }
}

/** A person at the SDK's client, in a browser that reaches the host of BASE_URL. */
function clientOf ({ port, ca }: Nginx): SignedInClient {
  return createOAuthClient(USER, undefined, {
    signIn: async (url) => await createBrowser({
      [ORIGIN]: { hostname: '127.0.0.1', port, ca, servername: PATH_SERVER_NAME }
    }).signIn(url, USER)
  })
}

for (const mode of ['broker', 'proxy'] as const) {
  t.test(`real clients sign in through the shipped nginx below a path, ${mode} mode`, async (t) => {
    const started = await startBoth(t, mode)
    if (started === undefined) return
    const { nginx, seed } = started
    const url = new URL(`${BASE_URL}/mcp`)

    await t.test('SDK v1', async (t) => {
      const oauth = clientOf(nginx)
      const options = { authProvider: oauth.provider, fetch: nginx.fetch } as never
      const first = new TransportV1(url, options)
      await t.rejects(new ClientV1(info).connect(first as never), { message: 'Unauthorized' })
      await first.finishAuth((await oauth.signIn()).searchParams.get('code')!)
      const client = new ClientV1(info)
      await client.connect(new TransportV1(url, options) as never)
      t.match((await client.callTool({ name: 'seed_ping', arguments: {} })).structuredContent, { status: 'ok' })
      await client.close()
    })

    await t.test('SDK v2', async (t) => {
      const oauth = clientOf(nginx)
      const options = { authProvider: oauth.provider, fetch: nginx.fetch }
      const first = new StreamableHTTPClientTransport(url, options)
      await t.rejects(new Client(info).connect(first), { message: 'Unauthorized' })
      await first.finishAuth((await oauth.signIn()).searchParams)
      const client = new Client(info)
      await client.connect(new StreamableHTTPClientTransport(url, options))
      t.match((await client.callTool({ name: 'seed_ping', arguments: {} })).structuredContent, { status: 'ok' })
      await client.close()
    })

    t.ok(seed.logs.some(({ path, address }) => path === '/mcp' && address === '127.0.0.1'))
    t.notMatch(JSON.stringify(nginx.accessLog()) + nginx.errorLog(), /code=|state=/, 'no query is logged')
    t.ok(nginx.accessLog().every(({ path }) => /^(\/\.well-known\/[\w-]+)?\/seed(\/|$)/.test(String(path))))
  })
}

t.test('nginx passes on what is Seed\'s below the path, and nothing else of the host', async (t) => {
  const started = await startBoth(t, 'broker')
  if (started === undefined) return
  const { nginx } = started
  for (const path of [
    '/seed', '/seed/', '/seed/.well-known/openid-configuration', '/.well-known/oauth-authorization-server/seed',
    '/.well-known/openid-configuration/seed', '/.well-known/oauth-protected-resource/seed/mcp', '/seed/connections',
    '/.well-known/oauth-protected-resource/seed/mcp/sales'
  ]) t.equal((await nginx.send(path)).status, 200, path)
  const page = await nginx.send('/seed/connections')
  t.match(page.body, 'action="/seed/connections/sign-in"')
  for (const path of [
    '/', '/mcp', '/oauth/authorize', '/seedling', '/health/live', '/seed/health/live', '/seed/health/ready',
    '/seed/%68ealth/live', '/seed/x/../health/live', '/.well-known/oauth-authorization-server'
  ]) t.equal((await nginx.send(path)).status, 404, path)
})

t.test('cookies below a path over https are __Host- cookies with a name of that path', async (t) => {
  const started = await startBoth(t, 'broker')
  if (started === undefined) return
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: await register(started.nginx),
    redirect_uri: 'http://localhost:53217/callback',
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
    resource: `${BASE_URL}/mcp`,
    state: 'y'.repeat(16)
  })
  const { status, headers } = await started.nginx.send(`/seed/oauth/authorize?${query.toString()}`)
  t.equal(status, 200)
  t.match(headers['set-cookie']?.[0], /^__Host-seed_[\w-]{8}-[\w-]+=.*; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
})

async function register (nginx: Nginx): Promise<string> {
  const { body } = await nginx.send('/seed/oauth/register', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_name: 'Test', redirect_uris: ['http://localhost:53217/callback'] })
  })
  return (JSON.parse(body) as { client_id: string }).client_id
}

t.test('the BASE_URL of the shipped files is one that Seed takes', async (t) => {
  const { baseUrl, basePath } = await readConfig({
    environment: { BASE_URL, OIDC_ISSUER: 'https://id.example.com', OIDC_AUDIENCE: 'x' }
  })
  t.same([baseUrl, basePath], [BASE_URL, '/seed'])
})
