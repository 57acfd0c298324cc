import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { challengeOf } from '../support/proxy.ts'
import { redisForTests } from '../support/redis.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import { ADA, createPlainClient, readTokens, signedIn } from '../support/sign-in.ts'

/** Proxy mode as an attacker next to the provider sees it, and as an operator without SEED_SECRET does. */
const REDIRECT_URI = 'http://localhost:51004/callback'
const SECRET = 'the secret of the confidential client'

const seed = await startSeed(t, {
  env: {
    OAUTH_CLIENTS: JSON.stringify([{ client_id: 'portal', client_secret: SECRET, redirect_uris: [REDIRECT_URI] }])
  }
})
await ready(seed)
const { provider } = seed
const sentToProvider = () => {
  const hits = provider.hits()
  return (hits['/token'] ?? 0) + (hits['/token/revocation'] ?? 0)
}

async function send (path: string, fields: Record<string, string>, headers: Record<string, string> = {}) {
  const body = new URLSearchParams(fields)
  return await readTokens(await fetch(`${seed.url}${path}`, { method: 'POST', body, headers }))
}

t.test('a code obtained straight from the provider, past the consent page, is invalid_grant', async (t) => {
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: provider.clientId,
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    nonce: 'n',
    code_challenge: challengeOf(verifier),
    code_challenge_method: 'S256'
  })
  const back = await createBrowser().signIn(`${provider.issuer}/auth?${query.toString()}`, ADA)
  const code = back.searchParams.get('code')!
  t.ok(code, 'the provider knows all clients as Seed and gives a code')
  const before = sentToProvider()
  t.match(await send('/oauth/token', {
    grant_type: 'authorization_code',
    client_id: 'never-consented',
    code,
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier
  }), { status: 400, error: 'invalid_grant' })
  t.equal(sentToProvider(), before)
})

t.test('code and refresh token of a confidential client are good for nobody without its secret', async (t) => {
  const basic = { authorization: `Basic ${Buffer.from(`portal:${SECRET}`).toString('base64')}` }
  const client = await createPlainClient(seed.url, { clientId: 'portal', redirectUri: REDIRECT_URI })
  const page = await client.walk()
  const redemption = {
    grant_type: 'authorization_code',
    code: page.url.searchParams.get('code')!,
    redirect_uri: REDIRECT_URI,
    code_verifier: client.verifier
  }
  let before = sentToProvider()
  t.match(await send('/oauth/token', { ...redemption, client_id: 'somebody' }), { status: 400, error: 'invalid_grant' })
  t.match(await send('/oauth/token', { ...redemption, client_id: 'portal' }), { status: 401, error: 'invalid_client' })
  t.equal(sentToProvider(), before)
  const tokens = await send('/oauth/token', redemption, basic)
  t.equal(tokens.status, 200, 'and nobody has used it up')

  const refresh = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token! }
  before = sentToProvider()
  for (const clientId of ['somebody', 'else']) {
    t.match(await send('/oauth/token', { ...refresh, client_id: clientId }), { status: 400, error: 'invalid_grant' })
  }
  t.equal(sentToProvider(), before)
  const next = await send('/oauth/token', refresh, basic)
  t.match(next, { status: 200, refresh_token: String })
  t.not(next.refresh_token, tokens.refresh_token, 'it rotates')
})

t.test("a stranger's unknown codes and tokens are never sent to the provider with Seed's credentials", async (t) => {
  const before = sentToProvider()
  for (let number = 0; number < 20; number++) {
    const client = { client_id: `stranger-${number}` }
    await send('/oauth/token', { ...client, grant_type: 'refresh_token', refresh_token: `junk-${number}` })
    await send('/oauth/token', {
      ...client,
      grant_type: 'authorization_code',
      code: 'junk',
      redirect_uri: REDIRECT_URI,
      code_verifier: 'v'.repeat(43)
    })
    await send('/oauth/revoke', { ...client, token: `junk-${number}` })
  }
  t.equal(sentToProvider(), before)
})

t.test('with Entra ID the consent page shows all scopes that the client will get', async (t) => {
  const entra = await startSeed(t, {
    sharedProvider: provider, env: { OIDC_PROVIDER: 'entra', OIDC_SCOPES: 'openid profile email' }
  })
  await ready(entra)
  const client = await createPlainClient(entra.url)
  const { body } = await createBrowser().get(client.authorizationUrl({ scope: 'openid' }))
  t.match(body, /See your name/)
  t.match(body, /See your e-mail address/)
  await signedIn(client, ADA, { scope: 'openid' })
  t.equal(provider.lastAuthorization()['scope'], 'openid profile email')
})

t.test('one warning at start says what only broker mode can do', async (t) => {
  const warnings = seed.logs.filter(({ msg }) => msg.startsWith('OAUTH_MODE=proxy hands out'))
  t.match(warnings, [{ level: 40, msg: /OAUTH_MODE=broker can/ }])
})

t.test('without SEED_SECRET a refresh token survives a restart, and another replica accepts it', async (t) => {
  const redis = await redisForTests(t)
  if (!redis) return
  const env = { REDIS_URL: redis.url }
  const first = await startSeed(t, { sharedProvider: provider, env })
  await ready(first)
  const client = await createPlainClient(first.url)
  const tokens = await signedIn(client)
  await first.app.close()
  const second = await startSeed(t, { sharedProvider: provider, env })
  await ready(second)
  const response = await readTokens(await fetch(`${second.url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'refresh_token', client_id: client.clientId, refresh_token: tokens.refresh_token!
    })
  }))
  t.equal(response.status, 200)
  t.equal((await ping(second.url, response.access_token)).status, 200)
})
