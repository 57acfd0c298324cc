import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { createBrowser } from '../support/browser.ts'
import { ready } from '../support/seed.ts'
import { startServerProcess } from '../support/process.ts'

/** The curl commands that the documents show, run by curl against the built server: `node dist/src/server.js`. */
t.test('the documented curl commands get the documented responses', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const server = await startServerProcess(t, { OIDC_ISSUER: provider.issuer, OIDC_AUDIENCE: provider.clientId })
  const { url } = server
  await ready(server)

  t.test('health check', async (t) => {
    const { status, body } = await curl([`${url}/health`])
    t.equal(status, 200)
    t.match(JSON.parse(body), { status: 'ok', timestamp: /^\d{4}-\d\d-\d\dT/ })
    t.same(Object.keys(JSON.parse(body)), ['status', 'timestamp'])
  })

  t.test('OAuth discovery', async (t) => {
    const { status, body } = await curl([`${url}/.well-known/oauth-authorization-server`])
    t.equal(status, 200)
    t.match(JSON.parse(body), {
      issuer: url,
      authorization_endpoint: `${url}/oauth/authorize`,
      token_endpoint: `${url}/oauth/token`,
      registration_endpoint: `${url}/oauth/register`
    })
  })

  t.test('the MCP endpoint requires authentication', async (t) => {
    const { status, headers } = await curl([`${url}/mcp`])
    t.equal(status, 401)
    t.equal(
      headers['www-authenticate'],
      `Bearer scope="openid profile email", resource_metadata="${url}/.well-known/oauth-protected-resource/mcp"`
    )
  })

  t.test('the authorization endpoint redirects to the provider', async (t) => {
    const { status, headers } = await curl([`${url}/oauth/authorize?response_type=code&client_id=test`])
    t.equal(status, 302)
    const location = new URL(headers['location']!)
    t.equal(location.origin, provider.issuer)
    t.match(Object.fromEntries(location.searchParams), {
      client_id: provider.clientId,
      response_type: 'code',
      code_challenge_method: 'S256',
      code_challenge: /^[\w-]{43}$/
    })
  })

  t.test('the token endpoint responds with an OAuth error', async (t) => {
    const { status, headers, body } = await curl(['-X', 'POST', `${url}/oauth/token`])
    t.equal(status, 400)
    t.equal(headers['cache-control'], 'no-store')
    t.match(JSON.parse(body), { error: 'invalid_request' })
  })

  t.test('a client registers', async (t) => {
    const { status, body } = await curl(['-X', 'POST', `${url}/oauth/register`,
      '-H', 'Content-Type: application/json',
      '-d', '{\n  "client_name": "Test Client",\n  "redirect_uris": ["http://localhost:8080/callback"]\n}'])
    t.equal(status, 201)
    t.match(JSON.parse(body), {
      client_id: /^seed-/,
      client_id_issued_at: Number,
      client_name: 'Test Client',
      redirect_uris: ['http://localhost:8080/callback']
    })
  })

  t.test("initialize with a token and curl's own Accept gets plain JSON", async (t) => {
    const { status, headers, body } = await curl(['-X', 'POST', `${url}/mcp`,
      '-H', 'Content-Type: application/json',
      '-H', `Authorization: Bearer ${await provider.mint()}`,
      '-d', JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'test', version: '1.0' } }
      })])
    t.equal(status, 200)
    t.match(headers['content-type'], /^application\/json/)
    t.match(JSON.parse(body), {
      jsonrpc: '2.0',
      id: 1,
      result: {
        protocolVersion: '2024-11-05',
        serverInfo: { name: 'seed', version: '0.1.3' },
        capabilities: { tools: {} }
      }
    })
    t.ok(
      await server.printed(/"user":\{"subject":"ada".*"msg":"User context"/),
      'and the log shows the user: grep "User context"'
    )
  })

  t.test('Claude Code may use any client id and signs in with the documented configuration', async (t) => {
    const redirectUri = 'http://localhost:51234/callback'
    const verifier = 'a-verifier-of-at-least-forty-three-characters-0'
    const challenge = Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))).toString(
      'base64url'
    )
    const query = new URLSearchParams({
      response_type: 'code',
      client_id: 'claude-code',
      redirect_uri: redirectUri,
      scope: 'openid',
      state: 's',
      code_challenge: challenge,
      code_challenge_method: 'S256'
    })
    const back = await createBrowser().signIn(`${url}/oauth/authorize?${query.toString()}`, {
      login: 'ada',
      password: 'ada'
    })
    t.equal(back.searchParams.get('state'), 's')
    const { status, body } = await curl([
      '-X',
      'POST',
      `${url}/oauth/token`,
      '-d',
      new URLSearchParams({
        grant_type: 'authorization_code',
        client_id: 'claude-code',
        redirect_uri: redirectUri,
        code: back.searchParams.get('code')!,
        code_verifier: verifier
      }).toString()
    ])
    t.equal(status, 200)
    t.match(JSON.parse(body), { access_token: String, token_type: 'Bearer', expires_in: Number })
  })
})

async function curl (args: string[]): Promise<{ status: number, headers: Record<string, string>, body: string }> {
  const child = spawn('curl', ['--silent', '--include', '--max-time', '10', ...args], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  if (code !== 0) throw new Error(`curl ended with ${String(code)}`)
  const [head = '', ...rest] = output.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()])
  )
  return { status: Number(statusLine.split(' ')[1]), headers, body: rest.join('\r\n\r\n') }
}
