import { randomUUID } from 'node:crypto'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import t from 'tap'
import type { Test } from 'tap'

import { keys } from '../../../src/store/keys.ts'
import { StoreUnavailableError } from '../../../src/store/store.ts'
import { ping, ready, startSeed } from '../../support/seed.ts'
import type { TestSeed } from '../../support/seed.ts'
import { createPlainClient, readTokens } from '../../support/sign-in.ts'

/**
 * Configured clients, with and without a secret or key, at the token and revocation endpoints (RFC 6749 section 2.3,
 * RFC 7523).
 */
const REDIRECT_URI = 'https://client.example/callback'
const SECRET = 'a secret with % and : and + in it'
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

function basic (id: string, secret: string): string {
  const credentials = `${encodeURIComponent(id)}:${encodeURIComponent(secret)}`
  return `Basic ${Buffer.from(credentials).toString('base64')}`
}

const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
const stranger = await generateKeyPair('ES256')
const clients = [
  { client_id: 'open-client', client_name: 'Open', redirect_uris: [REDIRECT_URI] },
  { client_id: 'basic+client', redirect_uris: [REDIRECT_URI], client_secret: SECRET },
  {
    client_id: 'post-client',
    redirect_uris: [REDIRECT_URI],
    client_secret: SECRET,
    token_endpoint_auth_method: 'client_secret_post'
  },
  { client_id: 'key-client', redirect_uris: [REDIRECT_URI], jwks: { keys: [await exportJWK(publicKey)] } }
]

async function start (t: Test): Promise<TestSeed> {
  const seed = await startSeed(
    t,
    { env: { OAUTH_MODE: 'broker', OAUTH_CLIENTS: JSON.stringify(clients), OIDC_CLIENT_ID: 'seed-dev' } }
  )
  await ready(seed)
  return seed
}

async function assertion (
  seed: TestSeed,
  claims: Record<string, unknown> = {},
  key = privateKey,
  typ?: string
): Promise<Record<string, string>> {
  const jwt = await new SignJWT({ iss: 'key-client', sub: 'key-client', aud: seed.url, jti: randomUUID(), ...claims })
    .setProtectedHeader({ alg: 'ES256', ...(typ !== undefined && { typ }) })
    .setIssuedAt()
    .setExpirationTime('exp' in claims ? claims['exp'] as number : '1m')
    .sign(key)
  return { client_assertion: jwt, client_assertion_type: ASSERTION_TYPE }
}

/** Gets a code for this client; `send` redeems it with any credential. */
async function withCode (seed: TestSeed, clientId: string) {
  const client = await createPlainClient(seed.url, { clientId, redirectUri: REDIRECT_URI })
  const page = await client.walk()
  const form = {
    grant_type: 'authorization_code',
    code: page.url.searchParams.get('code')!,
    redirect_uri: REDIRECT_URI,
    code_verifier: client.verifier
  }
  return {
    send: async (credentials: Record<string, string>, headers: Record<string, string> = {}) =>
      await fetch(
        `${seed.url}/oauth/token`,
        { method: 'POST', headers, body: new URLSearchParams({ ...form, ...credentials }) }
      )
  }
}

t.test('each client signs in and calls with its own credential', async (t) => {
  const seed = await start(t)
  const cases: Array<[string, Record<string, string>, Record<string, string>]> = [
    ['open-client', { client_id: 'open-client' }, {}],
    ['basic+client', {}, { authorization: basic('basic+client', SECRET) }],
    ['basic+client', { client_id: 'basic+client' }, { authorization: basic('basic+client', SECRET) }],
    ['post-client', { client_id: 'post-client', client_secret: SECRET }, {}],
    ['key-client', await assertion(seed), {}],
    ['key-client', {
      client_id: 'key-client',
      ...await assertion(seed, {}, privateKey, 'client-authentication+jwt')
    }, {}],
    ['key-client', await assertion(seed, {}, privateKey, 'JWT'), {}]
  ]
  for (const [clientId, credentials, headers] of cases) {
    const { send } = await withCode(seed, clientId)
    const tokens = await readTokens(await send(credentials, headers))
    t.equal(tokens.status, 200, clientId)
    t.equal((await ping(seed.url, tokens.access_token)).status, 200)
  }
})

t.test('any other credential is invalid_client and does not consume the code', async (t) => {
  const seed = await start(t)
  const used = await assertion(seed)
  const cases: Array<[string, string, Record<string, string>, Record<string, string>]> = [
    ['a public client with a secret', 'open-client', { client_id: 'open-client', client_secret: SECRET }, {}],
    ['a public client with Basic', 'open-client', {}, { authorization: basic('open-client', SECRET) }],
    ['a public client with an assertion', 'open-client', {
      client_id: 'open-client',
      ...await assertion(seed, { iss: 'open-client', sub: 'open-client' })
    }, {}],
    ['no secret', 'basic+client', { client_id: 'basic+client' }, {}],
    ['a wrong secret', 'basic+client', {}, { authorization: basic('basic+client', `${SECRET}!`) }],
    ['the secret in the body instead of Basic', 'basic+client', {
      client_id: 'basic+client',
      client_secret: SECRET
    }, {}],
    ['Basic instead of the body', 'post-client', {}, { authorization: basic('post-client', SECRET) }],
    ['no colon', 'basic+client', {}, { authorization: `Basic ${Buffer.from('basic+client').toString('base64')}` }],
    ['no base64', 'basic+client', {}, { authorization: 'Basic %%%' }],
    [
      'a broken escape',
      'basic+client',
      {},
      { authorization: `Basic ${Buffer.from('basic%zzclient:x').toString('base64')}` }
    ],
    ['Bearer', 'basic+client', {}, { authorization: 'Bearer abc' }],
    ['no assertion', 'key-client', { client_id: 'key-client' }, {}],
    ['an assertion of another type', 'key-client', {
      ...await assertion(seed),
      client_assertion_type: 'urn:example'
    }, {}],
    ['an assertion by a stranger', 'key-client', await assertion(seed, {}, stranger.privateKey), {}],
    ['an assertion for another server', 'key-client', await assertion(seed, { aud: 'https://other.example' }), {}],
    ['an assertion for this server and another', 'key-client', await assertion(seed, {
      aud: [seed.url, 'https://other.example']
    }), {}],
    ['an assertion for an endpoint', 'key-client', await assertion(seed, { aud: `${seed.url}/oauth/token` }), {}],
    ['a token of another kind', 'key-client', await assertion(seed, {}, privateKey, 'at+jwt'), {}],
    ['an assertion from another issuer', 'key-client', await assertion(seed, { iss: 'other' }), {}],
    ['an assertion without jti', 'key-client', await assertion(seed, { jti: undefined }), {}],
    [
      'an assertion that has expired',
      'key-client',
      await assertion(seed, { exp: Math.floor(Date.now() / 1000) - 60 }),
      {}
    ],
    [
      'an assertion that lives for an hour',
      'key-client',
      await assertion(seed, { exp: Math.floor(Date.now() / 1000) + 3_600 }),
      {}
    ],
    [
      'something that is not an assertion',
      'key-client',
      { client_id: 'key-client', client_assertion: 'abc', client_assertion_type: ASSERTION_TYPE },
      {}
    ],
    ['an assertion about a number', 'key-client', {
      client_assertion: `e30.${Buffer.from('{"sub":7}').toString('base64url')}.x`,
      client_assertion_type: ASSERTION_TYPE
    }, {}],
    ['an assertion about nobody', 'key-client', { client_assertion: 'abc', client_assertion_type: ASSERTION_TYPE }, {}]
  ]
  for (const [about, clientId, credentials, headers] of cases) {
    const { send } = await withCode(seed, clientId)
    const answer = await send(credentials, headers)
    t.match(await readTokens(answer), { status: 401, error: 'invalid_client' }, about)
    t.equal(answer.headers.get('www-authenticate'), 'Basic realm="Seed"', 'a challenge (RFC 9110 section 15.5.2)')
    const good = clientId === 'basic+client'
      ? await send({}, { authorization: basic('basic+client', SECRET) })
      : await send(clientId === 'key-client'
        ? await assertion(seed)
        : {
            client_id: clientId,
            ...(clientId === 'post-client' && { client_secret: SECRET })
          })
    t.equal(good.status, 200, 'the code is still valid')
  }

  const { send } = await withCode(seed, 'key-client')
  t.match(await readTokens(await send({ ...used, code: 'unknown' })), { error: 'invalid_grant' })
  t.match(
    await readTokens(await send(used)),
    { status: 401, error: 'invalid_client', error_description: /used before/ }
  )
  const [head, body, signature] = used['client_assertion']!.split('.')
  t.match(
    await readTokens(await send({ ...used, client_assertion: `${head}.${body}.${signature}=` })),
    { status: 401 },
    'nor with its signature in another encoding'
  )
})

t.test('two credentials at once, or two ids, are an invalid_request', async (t) => {
  const seed = await start(t)
  const { send } = await withCode(seed, 'basic+client')
  const headers = { authorization: basic('basic+client', SECRET) }
  t.match(await readTokens(await send({ client_secret: SECRET }, headers)), { status: 400, error: 'invalid_request' })
  t.match(
    await readTokens(await send({ client_id: 'open-client' }, headers)),
    { status: 400, error: 'invalid_request' }
  )
  t.match(
    await readTokens(await send({ ...await assertion(seed), client_id: 'basic+client', client_secret: SECRET })),
    { status: 400, error: 'invalid_request' }
  )
  t.match(
    await readTokens(await send({})),
    { status: 401, error: 'invalid_client', error_description: /^client_id is required \(reference [\w-]{12}\)$/ }
  )
})

t.test('another client\'s credential does not redeem a code', async (t) => {
  const seed = await start(t)
  const { send } = await withCode(seed, 'open-client')
  t.match(
    await readTokens(await send({}, { authorization: basic('basic+client', SECRET) })),
    { status: 400, error: 'invalid_grant' }
  )
})

t.test('a confidential client must authenticate to revoke a token', async (t) => {
  const seed = await start(t)
  const { send } = await withCode(seed, 'basic+client')
  const headers = { authorization: basic('basic+client', SECRET) }
  const tokens = await readTokens(await send({}, headers))
  const revoke = async (body: Record<string, string>, init: Record<string, string> = {}) =>
    await fetch(
      `${seed.url}/oauth/revoke`,
      { method: 'POST', headers: init, body: new URLSearchParams({ token: tokens.refresh_token!, ...body }) }
    )
  t.equal((await revoke({ client_id: 'basic+client' })).status, 401)
  t.equal((await ping(seed.url, tokens.access_token)).status, 200)
  t.equal((await revoke({}, headers)).status, 200)
  t.equal((await ping(seed.url, tokens.access_token)).status, 401)
})

t.test('the consent page names a configured client as the operator does, and other redirect URIs fail', async (t) => {
  const seed = await start(t)
  const client = await createPlainClient(seed.url, { clientId: 'open-client', redirectUri: REDIRECT_URI })
  const page = await fetch(client.authorizationUrl())
  t.match(await page.text(), /Open/)
  const refused = await fetch(
    client.authorizationUrl({ redirect_uri: 'http://127.0.0.1:1/cb' }),
    { redirect: 'manual' }
  )
  t.equal(refused.status, 400)
})

t.test('the grants of a client that lost its secret give nothing to whoever has the refresh token', async (t) => {
  const env = { SEED_SECRET: 'x'.repeat(44), OAUTH_MODE: 'broker' }
  const seed = await startSeed(t, { env: { ...env, OAUTH_CLIENTS: JSON.stringify(clients) } })
  await ready(seed)
  const { send } = await withCode(seed, 'post-client')
  const tokens = await readTokens(await send({ client_id: 'post-client', client_secret: SECRET }))
  const grantId = tokens.refresh_token!.split('.')[0]!
  const after = await startSeed(t, { sharedProvider: seed.provider, env: { ...env, BASE_URL: seed.url } })
  await ready(after)
  await after.app.store.set(keys.grant(grantId), (await seed.app.store.get(keys.grant(grantId)))!, 3_600)
  const post = async (path: string, form: Record<string, string>) => await fetch(
    `http://127.0.0.1:${after.app.config.port}${path}`,
    { method: 'POST', body: new URLSearchParams({ client_id: 'post-client', ...form }) }
  )
  const refreshed = await post('/oauth/token', { grant_type: 'refresh_token', refresh_token: tokens.refresh_token! })
  t.equal(refreshed.status, 400)
  t.match(await refreshed.json(), { error: 'invalid_grant' })
  t.match(await after.logged(({ reason }) => /its client was configured/.test(String(reason))), { status: 400 })
  t.equal((await post('/oauth/revoke', { token: tokens.refresh_token! })).status, 401)
})

t.test('guesses of a client secret from many addresses are stopped, and lock the client out nowhere', async (t) => {
  const seed = await startSeed(t, {
    env: {
      OAUTH_MODE: 'broker',
      OAUTH_CLIENTS: JSON.stringify(clients),
      OIDC_CLIENT_ID: 'seed-dev',
      TRUST_PROXY: '127.0.0.1',
      OAUTH_LIMIT_PER_ADDRESS: '5'
    }
  })
  const send = async (address: string, secret: string) => await fetch(`${seed.url}/oauth/token`, {
    method: 'POST',
    headers: { authorization: basic('basic+client', secret), 'x-forwarded-for': address },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'x' })
  })
  for (let address = 1; address <= 5; address++) t.equal((await send(`192.0.2.${address}`, 'wrong')).status, 401)
  for (const address of ['192.0.2.1', '192.0.2.5']) {
    const refused = await send(address, SECRET)
    t.equal(refused.status, 429, 'who has sent a wrong one waits, and learns nothing about another')
    t.equal(refused.headers.get('retry-after'), '60')
  }
  for (const address of ['198.51.100.1', '198.51.100.1', '2001:db8::1']) {
    const answer = await send(address, SECRET)
    t.match([answer.status, await answer.json()], [400, { error: 'invalid_grant' }], 'the client is served')
  }
  t.same([(await send('2001:db8:0:1::1', 'wrong')).status, (await send('2001:db8:0:2::1', SECRET)).status], [401, 429])
  const warnings = seed.logs.filter(({ msg }) => msg.includes('may be guessing'))
  t.match(warnings, [{ client: 'basic+client', level: 40 }], 'one line for the operator')
  t.match(await seed.logged(({ status }) => status === 429), { reason: /OAUTH_LIMIT_PER_ADDRESS/ })

  seed.app.store.get = async () => { throw new StoreUnavailableError() }
  seed.app.store.increment = async () => { throw new StoreUnavailableError() }
  t.equal((await send('203.0.113.1', 'wrong')).status, 401, 'an outage of the store changes nothing')
})

t.test('client secrets are never logged', async (t) => {
  const seed = await start(t)
  const { send } = await withCode(seed, 'post-client')
  await send({ client_id: 'post-client', client_secret: 'wrong-secret-in-the-open' })
  await send({ client_id: 'post-client', client_secret: SECRET })
  const log = JSON.stringify(seed.logs)
  t.notMatch(log, 'wrong-secret-in-the-open')
  t.notOk(log.includes(SECRET))
})
