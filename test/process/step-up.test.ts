import { decodeJwt } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider } from '../../dev/provider.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startServerProcess } from '../support/process.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { startRoundRobin } from '../support/round-robin.ts'
import { modernRequest, postMcp, ready } from '../support/seed.ts'
import { createPlainClient, readTokens } from '../support/sign-in.ts'
import { startUpstream, writeMounts } from '../support/upstream.ts'

/** Step-up (RFC 9470) where two processes take turns: each request reaches the other one than the request before. */

const LEVEL = 'urn:seed:dev:second-factor'

async function startPair (t: Test): Promise<{ url: string, provider: DevProvider } | undefined> {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return undefined
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const upstream = await startUpstream(t)
  upstream.tools = ['pay', 'sign'].map((name) => ({ name, inputSchema: { type: 'object' as const } }))
  const ports = [await freePort(), await freePort()]
  const { url } = await startRoundRobin(t, ports)
  const overrides = { pay: { maxAge: 60 }, sign: { acr: [LEVEL] } }
  const env = {
    BASE_URL: url,
    OAUTH_MODE: 'broker',
    OIDC_ISSUER: provider.issuer,
    OIDC_CLIENT_ID: provider.clientId,
    REDIS_URL: redis.url,
    SEED_SECRET: 'a secret of more than thirty-two characters',
    SEED_MOUNTS: await writeMounts({ bank: { url: upstream.url, connectTimeoutSeconds: 60, tools: { overrides } } })
  }
  for (const port of ports) {
    const replica = await startServerProcess(t, { ...env, PORT: String(port) })
    await replica.printed(/mount\.connected/)
    await ready({ url: `http://127.0.0.1:${port}` })
  }
  return { url, provider }
}

t.test('a call that one replica refuses is answered by a sign-in and a call at the others', async (t) => {
  const pair = await startPair(t)
  if (pair === undefined) return
  const { url, provider } = pair
  const client = await createPlainClient(url)
  const browser = createBrowser()
  const trips = (): number => provider.hits()['/auth'] ?? 0
  const signIn = async () => {
    const page = await client.walk(undefined, {}, browser)
    return page.status === 0 ? await readTokens(await client.redeem(page)) : page
  }
  const signedIn = async () => {
    const tokens = await signIn()
    if (!('access_token' in tokens)) throw new Error(`The sign-in ended at ${tokens.url.href}: ${tokens.body}`)
    return tokens
  }
  const call = async (tool: string, token: string) =>
    await postMcp({ url }, modernRequest('tools/call', { name: `bank_${tool}`, arguments: {} }), token)

  let tokens = await signedIn()
  for (const [tool, asked, claim] of [
    ['pay', { max_age: '60' }, 'auth_time'], ['sign', { acr_values: LEVEL }, 'acr']
  ] as const) {
    const refused = await call(tool, tokens.access_token)
    t.equal(refused.status, 401)
    t.match(refused.headers.get('www-authenticate'), /error="insufficient_user_authentication"/)
    t.match(await readTokens(await client.refresh(tokens.refresh_token!)), { status: 400, error: 'invalid_grant' },
      'no refresh at the other replica takes the place of the sign-in')
    const before = trips()
    tokens = await signedIn()
    t.equal(trips(), before + 2, 'the replica of the callback sends the person to the provider again')
    t.match(provider.lastAuthorization(), asked)
    t.ok(claim in decodeJwt(tokens.access_token))
    for (const replica of ['one', 'the other']) {
      t.match((await call(tool, tokens.access_token)).body, { result: { content: [{ text: '{}' }] } }, replica)
    }
  }
  const refreshed = await readTokens(await client.refresh(tokens.refresh_token!))
  t.equal(refreshed.status, 200, 'what was demanded is answered, for all replicas')

  provider.quirks.idToken = ({ auth_time: _, ...claims }) => ({ claims })
  const old = await signedIn()
  t.equal((await call('pay', old.access_token)).status, 401)
  const before = trips()
  t.match(await signIn(), { status: 400, body: /You were not signed in as is needed/ })
  t.equal(trips(), before + 2)
  await signedIn()
  t.equal(trips(), before + 3, 'a provider that does not do it is asked once, by all replicas together')
})
