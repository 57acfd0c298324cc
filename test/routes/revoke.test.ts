import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import {
  getTokens,
  grantKey,
  post,
  readTokens,
  refresh,
  register,
  startBroker
} from '../support/broker.ts'
import type { Answer } from '../support/broker.ts'
import { isError } from '../support/oauth-error.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { createPlainClient, readTokens as readOAuthTokens, signedIn } from '../support/sign-in.ts'

/** POST /oauth/revoke (RFC 7009): broker mode, and what proxy mode does with the provider's tokens. */

const revoke = async (
  seed: TestSeed,
  clientId: string,
  token: string,
  more: Record<string, string> = {}
): Promise<Answer> => await post(`${seed.url}/oauth/revoke`, { client_id: clientId, token, ...more })

const upstreamRevocations = ({ provider }: TestSeed): number => provider.hits()['/token/revocation'] ?? 0

for (const kind of ['refresh token', 'access token'] as const) {
  t.test(`revoking a ${kind} ends its grant immediately, here and at the provider`, async (t) => {
    const seed = await startBroker(t)
    const { clientId, accessToken, refreshToken } = await getTokens(seed)
    const next = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
    for (const token of [accessToken, next.accessToken]) {
      t.equal((await ping(seed.url, token)).status, 200, 'remembered as good')
    }

    const answer = await revoke(seed, clientId, kind === 'access token' ? next.accessToken : next.refreshToken)
    t.match(answer, { statusCode: 200, body: '{}', headers: { 'cache-control': 'no-store', pragma: 'no-cache' } })
    t.notOk('set-cookie' in answer.headers)
    for (const token of [accessToken, next.accessToken]) t.equal((await ping(seed.url, token)).status, 401)
    isError(t, await refresh(seed.url, clientId, next.refreshToken), 400, 'invalid_grant', 'the refresh token')
    t.equal(upstreamRevocations(seed), 1)
    t.match(await seed.logged(({ msg }) => msg === 'A grant has ended'), {
      reason: 'revoked by the client',
      subject: 'ada',
      clientId
    })
    t.equal((await revoke(seed, clientId, next.refreshToken)).statusCode, 200, 'once more means nothing')
    t.equal((await revoke(seed, clientId, next.accessToken)).statusCode, 200)
    t.equal(upstreamRevocations(seed), 1)
  })
}

t.test("the provider's refresh token is revoked there", async (t) => {
  const seed = await startBroker(t)
  const { clientId, refreshToken } = await getTokens(seed)
  const record = await seed.app.store.get(grantKey(refreshToken))
  await revoke(seed, clientId, refreshToken)
  // As if the grant had come back: the provider has the last word.
  await seed.app.store.set(grantKey(refreshToken), record!, 600)
  isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'ended at the provider')
  t.match(await seed.logged(({ reason }) => reason === 'ended by the provider'), { msg: 'A grant has ended' })
})

t.test('without a refresh token of the provider its access token is revoked there', async (t) => {
  const seed = await startBroker(t, { provider: { quirks: { noRefreshToken: true, opaqueTokens: true } } })
  const { clientId, refreshToken } = await getTokens(seed)
  t.equal((await revoke(seed, clientId, refreshToken)).statusCode, 200)
  t.equal(upstreamRevocations(seed), 1)
  t.notOk(seed.logs.some(({ msg }) => msg.startsWith('A grant has ended here;')), 'and it went well')
})

t.test("revoking another client's token is 200 and changes nothing", async (t) => {
  const seed = await startBroker(t)
  const { clientId, accessToken, refreshToken } = await getTokens(seed)
  const stranger = await register(seed.url)
  for (const token of [accessToken, refreshToken]) t.equal((await revoke(seed, stranger, token)).statusCode, 200)
  t.equal((await ping(seed.url, accessToken)).status, 200)
  t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200)
  t.equal(upstreamRevocations(seed), 0)
})

t.test('revoking an unknown, forged or malformed token is 200 and ends nothing', async (t) => {
  const seed = await startBroker(t)
  const { clientId, accessToken, refreshToken } = await getTokens(seed)
  const [grantId, number, keyId, mac] = refreshToken.split('.')
  for (const [what, token] of [
    ['no token', 'x'],
    ['a grant that never was', ['x'.repeat(22), number, keyId, mac].join('.')],
    ['a forged MAC', [grantId, number, keyId, 'x'.repeat(43)].join('.')],
    ['a key that never was', [grantId, number, 'x'.repeat(8), mac].join('.')],
    ['an access token with another signature', `${accessToken.split('.').slice(0, 2).join('.')}.${'x'.repeat(86)}`],
    ["the provider's access token", await seed.provider.mint()]
  ] as const) {
    const answer = await revoke(seed, clientId, token)
    t.match(answer, { statusCode: 200, body: '{}' }, what)
  }
  t.equal((await ping(seed.url, accessToken)).status, 200)
  t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200)
})

t.test('token_type_hint changes nothing, whatever it says', async (t) => {
  const seed = await startBroker(t)
  const clientId = await register(seed.url)
  for (const [hint, which] of [
    ['access_token', 'refreshToken'],
    ['refresh_token', 'accessToken'],
    ['something_else', 'refreshToken'],
    ['', 'accessToken']
  ] as const) {
    const tokens = await getTokens(seed, { clientId })
    t.equal((await revoke(seed, clientId, tokens[which], { token_type_hint: hint })).statusCode, 200)
    t.equal((await ping(seed.url, tokens.accessToken)).status, 401, `${which} with hint "${hint}"`)
  }
})

t.test('revoking an older refresh token ends the grant too', async (t) => {
  const seed = await startBroker(t)
  const { clientId, accessToken, refreshToken } = await getTokens(seed)
  await refresh(seed.url, clientId, refreshToken)
  t.equal((await revoke(seed, clientId, refreshToken)).statusCode, 200)
  t.equal((await ping(seed.url, accessToken)).status, 401)
})

for (const [what, fault] of [
  ['is down', 'down'],
  ['answers 500', 500],
  ['answers 400', { status: 400, json: { error: 'invalid_request' } }]
] as const) {
  t.test(`when the provider's revocation endpoint ${what}, the response is 200 and the log says so`, async (t) => {
    const seed = await startBroker(t)
    const { clientId, accessToken, refreshToken } = await getTokens(seed)
    seed.provider.setFault('/token/revocation', fault)
    t.equal((await revoke(seed, clientId, refreshToken)).statusCode, 200)
    t.equal((await ping(seed.url, accessToken)).status, 401)
    const grant = refreshToken.split('.')[0]
    const [text, expected] = what === 'answers 400'
      ? ['The provider refused to revoke a token: it has ended here, and lives on there', { reason: /invalid_request/ }]
      : ["A grant has ended here; the provider's token could not be revoked", { grant, reason: /./ }]
    t.match(await seed.logged(({ msg }) => msg === text), { level: 40, ...expected })
    t.equal(upstreamRevocations(seed), 1)
  })
}

t.test('a provider without a revocation endpoint is not asked, and a warning at start says so', async (t) => {
  const seed = await startBroker(t, { provider: { quirks: { noRevocation: true } } })
  t.match(await seed.logged(({ msg }) => msg.startsWith('The provider lists no revocation_endpoint')), {
    level: 40, msg: /seed revoke.*OAUTH_REVOCATION_URL/
  })
  const { clientId, accessToken, refreshToken } = await getTokens(seed)
  t.equal((await revoke(seed, clientId, refreshToken)).statusCode, 200)
  t.equal((await ping(seed.url, accessToken)).status, 401)
  t.equal(upstreamRevocations(seed), 0)
})

t.test('OAUTH_REVOCATION_URL revokes at a provider whose document does not list the endpoint', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256', quirks: { unlistedRevocation: true } })
  t.teardown(async () => { await provider.close() })
  const seed = await startSeed(t, {
    sharedProvider: provider,
    env: { OAUTH_MODE: 'broker', OAUTH_REVOCATION_URL: `${provider.issuer}/token/revocation` }
  })
  await ready(seed)
  const { clientId, refreshToken } = await getTokens(seed)
  t.equal((await revoke(seed, clientId, refreshToken)).statusCode, 200)
  t.equal(upstreamRevocations(seed), 1)
  t.notOk(seed.logs.some(({ msg }) => msg.startsWith('The provider lists no revocation_endpoint')))
})

t.test('refuses requests with missing, repeated or misplaced parameters', async (t) => {
  const seed = await startBroker(t)
  const { clientId, accessToken } = await getTokens(seed)
  const url = `${seed.url}/oauth/revoke`
  isError(t, await post(url, { client_id: clientId }), 400, 'invalid_request', 'no token')
  isError(t, await post(url, { client_id: clientId, token: '' }), 400, 'invalid_request', 'an empty token')
  isError(
    t,
    await post(url, { client_id: clientId, token: 'x'.repeat(8_193) }),
    400,
    'invalid_request',
    'a token beyond its length'
  )
  isError(t, await post(url, { token: accessToken }), 401, 'invalid_client', 'no client')
  isError(
    t,
    await post(url, { client_id: 'seed-gone', token: accessToken }),
    401,
    'invalid_client',
    'an unknown client'
  )
  isError(
    t,
    await post(url, { client_id: clientId, client_secret: 'x', token: accessToken }),
    401,
    'invalid_client',
    'a public client with a secret'
  )
  isError(
    t,
    await post(url, { client_id: clientId, token: accessToken }, { authorization: 'Bearer x' }),
    401,
    'invalid_client',
    'another scheme'
  )
  const repeated = await fetch(url, {
    method: 'POST',
    body: new URLSearchParams([
      ['client_id', clientId],
      ['token', accessToken],
      ['token', 'x']
    ])
  })
  t.equal(repeated.status, 400, 'a repeated token')
  const json = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_id: clientId, token: accessToken })
  })
  t.equal(json.status, 415, 'JSON')
  const get = await fetch(`${url}?client_id=${clientId}&token=${accessToken}`)
  t.match({ status: get.status, allow: get.headers.get('allow') }, { status: 405, allow: 'POST' })
  const inQuery = await fetch(`${url}?client_id=${clientId}&token=${accessToken}`, {
    method: 'POST',
    body: new URLSearchParams({})
  })
  t.equal(inQuery.status, 400, 'nothing is read from the query')
  t.equal((await ping(seed.url, accessToken)).status, 200, 'none of it revoked anything')
})

t.test('a confidential client must authenticate to revoke', async (t) => {
  const secret = 'the secret of the confidential client'
  const seed = await startBroker(t, {
    env: {
      OAUTH_CLIENTS: JSON.stringify([
        { client_id: 'portal', client_secret: secret, redirect_uris: ['http://localhost:53217/callback'] }
      ])
    }
  })
  const basic = { authorization: `Basic ${Buffer.from(`portal:${secret}`).toString('base64')}` }
  const { clientId, refreshToken } = await getTokens(seed)
  isError(
    t,
    await post(`${seed.url}/oauth/revoke`, { client_id: 'portal', token: refreshToken }),
    401,
    'invalid_client',
    'no secret'
  )
  isError(
    t,
    await post(`${seed.url}/oauth/revoke`, { client_id: 'portal', client_secret: 'wrong', token: refreshToken }),
    401,
    'invalid_client',
    'a wrong one'
  )
  t.equal((await post(`${seed.url}/oauth/revoke`, { token: refreshToken }, basic)).statusCode, 200)
  t.equal(
    (await refresh(seed.url, clientId, refreshToken)).statusCode,
    200,
    "and another client's token is none of its business"
  )
})

t.test('pages of any origin may revoke, as cookies are ignored', async (t) => {
  const seed = await startBroker(t)
  const { clientId, accessToken } = await getTokens(seed)
  const preflight = await fetch(`${seed.url}/oauth/revoke`, {
    method: 'OPTIONS',
    headers: { origin: 'https://inspector.example', 'access-control-request-method': 'POST' }
  })
  t.equal(preflight.headers.get('access-control-allow-origin'), '*')
  t.equal(preflight.headers.get('access-control-allow-credentials'), null)
  const answer = await post(
    `${seed.url}/revoke`,
    { client_id: clientId, token: accessToken },
    { origin: 'https://inspector.example' }
  )
  t.match(answer, { statusCode: 200, headers: { 'access-control-allow-origin': '*' } }, 'at the root too')
  t.equal((await ping(seed.url, accessToken)).status, 401)
})

t.test('while the store is away a revocation is 503', async (t) => {
  const seed = await startBroker(t)
  const { clientId, accessToken, refreshToken } = await getTokens(seed)
  const { store } = seed.app
  const set = store.set.bind(store)
  store.set = async () => { throw new StoreUnavailableError() }
  for (const token of [refreshToken, accessToken]) {
    const answer = await revoke(seed, clientId, token)
    isError(t, answer, 503, 'temporarily_unavailable', 'away')
    t.equal(answer.headers['retry-after'], '1')
  }
  store.set = set
  t.equal((await ping(seed.url, accessToken)).status, 200)
  t.equal((await revoke(seed, clientId, refreshToken)).statusCode, 200, 'and later it works')
  t.equal((await ping(seed.url, accessToken)).status, 401)
})

t.test('an internal failure is not reported as success', async (t) => {
  const seed = await startBroker(t)
  const { clientId, accessToken } = await getTokens(seed)
  const { store } = seed.app
  const get = store.get.bind(store)
  store.get = async (key) => {
    if (key.startsWith('revoked:')) throw new TypeError('a mistake of ours')
    return await get(key)
  }
  isError(t, await revoke(seed, clientId, accessToken), 500, 'server_error', 'a mistake of ours')
})

/** Proxy mode, with the tokens of a sign-in. */
async function startProxy (t: Test, options: Parameters<typeof startSeed>[1] = {}) {
  const seed = await startSeed(t, options)
  await ready(seed)
  const client = await createPlainClient(seed.url)
  const { access_token: accessToken, refresh_token: refreshToken } = await signedIn(client)
  return { seed, client, accessToken, refreshToken: refreshToken! }
}

t.test('proxy mode: a revoked access token is refused here and revoked at the provider', async (t) => {
  const { seed, client, accessToken } = await startProxy(t)
  const other = (await signedIn(await createPlainClient(seed.url))).access_token
  t.equal((await ping(seed.url, accessToken)).status, 200)
  // The development provider cannot revoke JWTs (unsupported_token_type); the token has ended here all the same.
  t.equal((await revoke(seed, client.clientId, accessToken)).statusCode, 200)
  t.equal((await ping(seed.url, accessToken)).status, 401)
  t.equal((await ping(seed.url, other)).status, 200, 'the person is still signed in elsewhere')
  t.equal(upstreamRevocations(seed), 1)
})

t.test('proxy mode: a revoked refresh token ends here and at the provider, with its access tokens', async (t) => {
  const { seed, client, accessToken, refreshToken } = await startProxy(t)
  const next = await readOAuthTokens(await client.refresh(refreshToken))
  t.match(await revoke(seed, client.clientId, next.refresh_token!), { statusCode: 200, body: '{}' })
  t.match(await readOAuthTokens(await client.refresh(next.refresh_token!)), { status: 400, error: 'invalid_grant' })
  for (const token of [accessToken, next.access_token]) t.equal((await ping(seed.url, token)).status, 401)
  t.equal(upstreamRevocations(seed), 1)
})

t.test("proxy mode: a stranger's revocations are 200, end nothing, and never reach the provider", async (t) => {
  const { seed, client, accessToken, refreshToken } = await startProxy(t)
  const tokens = ['junk', 'a.b.c', accessToken, refreshToken, await seed.provider.mint()]
  for (const token of tokens) {
    for (const hint of ['access_token', 'refresh_token']) {
      const answer = await revoke(seed, 'stranger', token, { token_type_hint: hint })
      t.match(answer, { statusCode: 200, body: '{}' })
    }
  }
  t.equal((await ping(seed.url, accessToken)).status, 200)
  t.equal((await client.refresh(refreshToken)).status, 200)
  t.equal(upstreamRevocations(seed), 0)
})

t.test('proxy mode: tokens end here although the provider revokes none', async (t) => {
  const provider = { quirks: { noRevocation: true } }
  const { seed, client, accessToken, refreshToken } = await startProxy(t, { provider })
  t.equal((await revoke(seed, client.clientId, accessToken)).statusCode, 200)
  t.equal((await ping(seed.url, accessToken)).status, 401)
  t.equal((await revoke(seed, client.clientId, refreshToken)).statusCode, 200)
  t.equal((await client.refresh(refreshToken)).status, 400)
  t.equal(upstreamRevocations(seed), 0)
})

t.test('proxy mode: 503 while the provider cannot revoke; tokens end here, with a retry there too', async (t) => {
  const { seed, client, accessToken, refreshToken } = await startProxy(t)
  for (const fault of ['down', 500] as const) {
    seed.provider.setFault('/token/revocation', fault)
    for (const token of [accessToken, refreshToken]) {
      const answer = await revoke(seed, client.clientId, token)
      isError(t, answer, 503, 'temporarily_unavailable', `${fault}`)
      t.equal(answer.headers['retry-after'], '5')
    }
  }
  t.equal((await ping(seed.url, accessToken)).status, 401)
  t.equal((await client.refresh(refreshToken)).status, 400)
  seed.provider.setFault('/token/revocation', undefined)
  const before = upstreamRevocations(seed)
  for (const token of [accessToken, refreshToken]) {
    t.equal((await revoke(seed, client.clientId, token)).statusCode, 200)
  }
  t.equal(upstreamRevocations(seed), before + 2)
})
