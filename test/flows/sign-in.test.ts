import t from 'tap'
import type { Test } from 'tap'
import { createOAuthClient } from '../support/oauth-client.ts'
import { signInV1, signInV2 } from '../support/sign-in-clients.ts'
import type { SignInAndConnect } from '../support/sign-in-clients.ts'
import { ready, startSeed } from '../support/seed.ts'
import { startDevProvider } from '../../dev/provider.ts'

/**
 * The whole way, as a real MCP client goes it: 401, protected resource, authorization server, registration,
 * authorization in a browser, token, tools/list, seed_ping; then the access token runs out, the client refreshes
 * by itself and calls again.
 */
const clients: Array<{ name: string, connect: SignInAndConnect, protocol: string }> = [
  { name: 'SDK v1', connect: signInV1, protocol: '2025-11-25' },
  { name: 'SDK v2, auto', connect: signInV2('auto'), protocol: '2026-07-28' },
  { name: 'SDK v2, pinned to 2026-07-28', connect: signInV2({ pin: '2026-07-28' }), protocol: '2026-07-28' },
  { name: 'SDK v2, legacy', connect: signInV2('legacy'), protocol: '2025-11-25' }
]

t.test('a real client signs in, lists, calls, refreshes and calls again', async (t) => {
  const provider = await startDevProvider()
  t.teardown(async () => { await provider.close() })

  for (const mode of ['proxy', 'broker']) {
    for (const documentUrl of [undefined, 'https://client.example/flow-test.json']) {
      for (const { name, connect, protocol } of clients) {
        const kind = documentUrl === undefined ? 'registered' : 'by its metadata document'
        t.test(`${name}, ${mode} mode, ${kind}`, async (t) => {
          const seed = await startSeed(t, {
            sharedProvider: provider,
            env: {
              OAUTH_MODE: mode,
              OIDC_SCOPES: 'openid profile email groups offline_access',
              ...(documentUrl !== undefined && { CIMD_PROBE_URL: documentUrl })
            },
            ...(documentUrl !== undefined && { fetchDocument })
          })
          await ready(seed)
          if (documentUrl !== undefined) await advertised(seed.url)
          await walk(t, connect, protocol, seed, mode, documentUrl)
        })
      }
    }
  }
})

/** The client's document as its maker would publish it: a loopback redirect URI without a port. */
async function fetchDocument (url: string) {
  return {
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_id: url, client_name: 'Flow test', redirect_uris: ['http://localhost/callback'] })
  }
}

async function advertised (url: string): Promise<void> {
  for (;;) {
    const metadata = (await (await fetch(`${url}/.well-known/oauth-authorization-server`)).json()) as Record<
      string,
      unknown
    >
    if (metadata['client_id_metadata_document_supported'] === true) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function walk (
  t: Test,
  connect: SignInAndConnect,
  protocol: string,
  seed: Awaited<ReturnType<typeof startSeed>>,
  mode: string,
  documentUrl: string | undefined
): Promise<void> {
  const oauth = createOAuthClient(undefined, documentUrl)
  const client = await connect(t, new URL(`${seed.url}/mcp`), oauth)
  t.equal(client.protocolVersion, protocol)
  if (documentUrl === undefined) t.match(oauth.clientId(), /^seed-/, 'registered')
  else t.notOk(seed.logs.some(({ path }) => path === '/oauth/register'), 'not registered')
  t.same(await client.listTools(), ['seed_ping', 'whoami'])
  t.match(await client.ping(), {
    status: 'ok',
    server: 'seed',
    caller: {
      subject: 'ada',
      clientId: mode === 'proxy' ? seed.provider.clientId : (documentUrl ?? oauth.clientId()),
      name: 'Ada Lovelace',
      email: 'ada@example.com',
      groups: ['engineering', 'admins']
    }
  })

  const line = await seed.logged(({ msg, tool }) => msg === 'User context' && tool === 'seed_ping')
  t.match(
    line,
    { user: { subject: 'ada', email: 'ada@example.com' }, mcpMethod: 'tools/call', status: 200 },
    'the log carries the caller'
  )

  const before = oauth.tokens()
  oauth.spoilAccessToken()
  t.match(await client.ping(), { caller: { subject: 'ada' } }, 'called again after a refresh')
  t.not(oauth.tokens().access_token, before.access_token, 'with a new access token')
  t.ok(oauth.tokens().refresh_token)
  await client.close()

  const log = JSON.stringify(seed.logs)
  for (const secret of [
    before.access_token,
    before.refresh_token!,
    oauth.tokens().access_token,
    oauth.tokens().refresh_token!
  ]) {
    t.notOk(log.includes(secret), 'no token in the log')
  }
}
