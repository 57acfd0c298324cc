import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { SEED_SECRET, getTokens, post, redeem, refresh, register, signIn, startBroker } from '../support/broker.ts'
import { isError } from '../support/oauth-error.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { LogLine, TestSeed } from '../support/seed.ts'

/**
 * POST /oauth/backchannel-logout: the provider says that somebody logged out. The checks of logout tokens are tested in
 * test/oauth/endpoints/backchannel-logout.test.ts.
 */
const endpoint = ({ url }: TestSeed): string => `${url}/oauth/backchannel-logout`

t.test('logging out a session stops its tokens immediately and leaves other sessions and users alone', async (t) => {
  const seed = await startBroker(t)
  const first = await getTokens(seed, { browser: createBrowser() })
  const bob = await getTokens(seed, { login: 'bob' })
  const second = await getTokens(seed, { browser: createBrowser() })
  for (const { accessToken } of [first, second, bob]) t.equal((await ping(seed.url, accessToken)).status, 200)

  // The provider's last session of ada is the second one.
  const answer = await seed.provider.backchannelLogout('ada', endpoint(seed))
  t.equal(answer.status, 200)
  t.match(Object.fromEntries(answer.headers), { 'cache-control': 'no-store' })
  t.equal((await ping(seed.url, second.accessToken)).status, 401)
  isError(
    t,
    await refresh(seed.url, second.clientId, second.refreshToken),
    400,
    'invalid_grant',
    'the session that ended'
  )
  for (const { clientId, accessToken, refreshToken } of [first, bob]) {
    t.equal((await ping(seed.url, accessToken)).status, 200)
    t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200)
  }
  t.match(await seed.logged(({ path }) => path === '/oauth/backchannel-logout'), {
    subject: 'ada',
    sid: /./,
    revoked: 1,
    status: 200
  })
  t.match(await seed.logged(({ msg }) => msg === 'A grant has ended'), {
    reason: 'logged out at the provider',
    subject: 'ada'
  })
})

t.test('a logout token without a session logs the user out of every client', async (t) => {
  const seed = await startBroker(t)
  const [first, second, bob] = [await getTokens(seed), await getTokens(seed), await getTokens(seed, { login: 'bob' })]
  t.equal((await seed.provider.backchannelLogout('ada', endpoint(seed), { claims: { sid: undefined } })).status, 200)
  for (const { clientId, accessToken, refreshToken } of [first, second]) {
    t.equal((await ping(seed.url, accessToken)).status, 401)
    isError(t, await refresh(seed.url, clientId, refreshToken), 400, 'invalid_grant', 'ended')
  }
  t.equal((await ping(seed.url, bob.accessToken)).status, 200)
  t.match(await seed.logged(({ path }) => path === '/oauth/backchannel-logout'), { subject: 'ada', revoked: 2 })
  t.equal((await ping(seed.url, (await getTokens(seed)).accessToken)).status, 200, 'and ada may sign in again')
})

t.test('a logout also ends a sign-in whose code is not redeemed yet', async (t) => {
  const seed = await startBroker(t)
  const signedIn = await signIn(seed)
  t.equal((await seed.provider.backchannelLogout('ada', endpoint(seed))).status, 200)
  const { json } = await redeem(seed.url, signedIn)
  t.equal((await ping(seed.url, String(json['access_token']))).status, 401)
})

t.test('an invalid logout token is 400 and ends nothing', async (t) => {
  const seed = await startBroker(t, { timings: { forcedKeyRefreshMs: 100 } })
  const { accessToken } = await getTokens(seed)
  for (const [what, overrides] of [
    ['for another client', { claims: { aud: 'somebody-else' } }],
    ['of another issuer', { claims: { iss: 'https://evil.example' } }],
    ['with a nonce', { claims: { nonce: 'x' } }],
    ['without event', { claims: { events: {} } }],
    ['of an unknown key', { header: { kid: 'unknown' } }],
    ['unsigned', { header: { alg: 'none' } }],
    ['of nobody', { claims: { sub: undefined, sid: undefined } }]
  ] as const) {
    const answer = await seed.provider.backchannelLogout('ada', endpoint(seed), overrides)
    const body = await answer.text()
    isError(
      t,
      { statusCode: answer.status, headers: Object.fromEntries(answer.headers), body },
      400,
      'invalid_request',
      what
    )
  }
  isError(t, await post(endpoint(seed), {}), 400, 'invalid_request', 'no token')
  isError(
    t,
    await post(endpoint(seed), { logout_token: 'x'.repeat(8_193) }),
    400,
    'invalid_request',
    'beyond its length'
  )
  isError(
    t,
    await post(endpoint(seed), { logout_token: accessToken }),
    400,
    'invalid_request',
    'an access token of ours'
  )
  isError(
    t,
    await post(endpoint(seed), { logout_token: await seed.provider.mint() }),
    400,
    'invalid_request',
    'an access token of the provider'
  )
  t.equal((await ping(seed.url, accessToken)).status, 200)
})

t.test('a logout token works once', async (t) => {
  const seed = await startBroker(t)
  const claims = { jti: 'the-same' }
  t.equal((await seed.provider.backchannelLogout('ada', endpoint(seed), { claims })).status, 200)
  const { accessToken } = await getTokens(seed)
  t.equal((await seed.provider.backchannelLogout('ada', endpoint(seed), { claims })).status, 400, 'replayed')
  t.equal((await ping(seed.url, accessToken)).status, 200, 'the later sign-in is untouched')
})

t.test('logging out everybody at once is not limited, a stream of refused tokens is', async (t) => {
  const seed = await startBroker(t, { env: { OAUTH_LIMIT_PER_ADDRESS: '5' } })
  for (let index = 0; index < 8; index++) {
    t.equal((await seed.provider.backchannelLogout(`user-${index}`, endpoint(seed))).status, 200)
  }
  const refused = await Promise.all(Array.from({ length: 8 }, () => post(endpoint(seed), { logout_token: 'x' })))
  t.same(refused.map(({ statusCode }) => statusCode).sort(), [400, 400, 400, 400, 400, 429, 429, 429])
  t.equal((await seed.provider.backchannelLogout('ada', endpoint(seed))).status, 200, 'the provider, at that address')
})

t.test('a logout of an unknown user is 200, as there is nothing left to end', async (t) => {
  const seed = await startBroker(t)
  t.equal((await seed.provider.backchannelLogout('nobody', endpoint(seed))).status, 200)
  t.match(await seed.logged(({ path }) => path === '/oauth/backchannel-logout'), { subject: 'nobody', revoked: 0 })
  const line = await seed.logged(({ event }) => event === 'logout.nothing_ended')
  t.match(line, { level: 30, msg: /no grant: none is known. Access tokens without a grant/ }, 'nobody need look')
  const ofSession = { claims: { sub: undefined, sid: 'unknown' } }
  t.equal((await seed.provider.backchannelLogout('ada', endpoint(seed), ofSession)).status, 200)
  t.match(await seed.logged(({ msg }) => msg.startsWith('A back-channel logout ended nothing')), { sid: 'unknown' })
})

t.test("without the provider's keys a logout is 503, so that the provider tries again", async (t) => {
  const seed = await startBroker(t, { timings: { forcedKeyRefreshMs: 100 } })
  seed.provider.setFault('/jwks', 'down')
  await seed.provider.rotateKeys()
  const answer = await seed.provider.backchannelLogout('ada', endpoint(seed))
  t.equal(answer.status, 503)
  t.ok(answer.headers.get('retry-after'))
})

t.test('accepts only POST and forms, without CORS', async (t) => {
  const seed = await startBroker(t)
  t.equal(
    (await fetch(endpoint(seed), { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }))
      .status,
    415
  )
  t.match(await fetch(endpoint(seed)).then(({ status, headers }) => ({ status, allow: headers.get('allow') })), {
    status: 405,
    allow: 'POST'
  })
  t.equal(
    (await post(endpoint(seed), {}, { origin: 'https://evil.example' })).headers['access-control-allow-origin'],
    undefined
  )
})

t.test('proxy mode: a logout ends the access tokens issued so far, and a later sign-in works', async (t) => {
  const seed = await startSeed(t, { env: { SEED_SECRET, TOKEN_CLOCK_SKEW_SECONDS: '1' } })
  await ready(seed)
  const now = Math.floor(Date.now() / 1_000)
  const token = async (claims: Record<string, unknown>): Promise<string> =>
    await seed.provider.mint({ iat: now - 10, ...claims })
  const [ada, adaElsewhere, bob] = [
    await token({ sid: 'one' }),
    await token({ sid: 'two' }),
    await token({ sub: 'bob' })
  ]
  for (const known of [ada, adaElsewhere, bob]) t.equal((await ping(seed.url, known)).status, 200, 'remembered as good')

  t.equal((await seed.provider.backchannelLogout('ada', endpoint(seed), { claims: { sid: 'one' } })).status, 200)
  t.same(
    [
      (await ping(seed.url, ada)).status,
      (await ping(seed.url, adaElsewhere)).status,
      (await ping(seed.url, bob)).status
    ],
    [401, 200, 200]
  )

  t.equal((await seed.provider.backchannelLogout('ada', endpoint(seed), { claims: { sid: undefined } })).status, 200)
  t.same([(await ping(seed.url, adaElsewhere)).status, (await ping(seed.url, bob)).status], [401, 200])
  // Tokens count as issued before for as long as the provider's clock may be ahead.
  const signIn = async () => await seed.provider.mint({ sid: 'three' })
  while ((await ping(seed.url, await signIn())).status !== 200) await new Promise((resolve) => setTimeout(resolve, 50))
  t.pass('a token issued later is accepted')
  t.equal((await ping(seed.url, await token({}))).status, 401, 'and one issued before, never seen here')
})

t.test('proxy mode: access tokens without sid end with a logout that names the person; a warning if it does not', async (t) => {
  const seed = await startSeed(t, { env: { SEED_SECRET, TOKEN_CLOCK_SKEW_SECONDS: '1' } })
  await ready(seed)
  const token = await seed.provider.mint({ iat: Math.floor(Date.now() / 1_000) - 10 })
  const logOut = async (claims: Record<string, unknown>) =>
    (await seed.provider.backchannelLogout('ada', endpoint(seed), { claims: { sid: 'one', ...claims } })).status
  t.equal(await logOut({ sub: undefined }), 200)
  t.equal((await ping(seed.url, token)).status, 200)
  const warned = ({ msg }: LogLine) => msg.startsWith('A back-channel logout names a session (sid) and no subject')
  t.match(await seed.logged(warned), { level: 40, sid: 'one', msg: /OAUTH_MODE=broker/ })
  t.notOk(seed.logs.some((line) => 'revoked' in line || 'ended' in line), 'nothing claims to have ended')

  t.equal(await logOut({}), 200)
  t.equal((await ping(seed.url, token)).status, 401)
  t.equal(seed.logs.filter(warned).length, 1)
})

t.test('signing out and in again within the same second works', async (t) => {
  const seed = await startBroker(t)
  const clientId = await register(seed.url)
  const before = await getTokens(seed, { clientId })
  await seed.provider.backchannelLogout('ada', endpoint(seed), { claims: { sid: undefined } })
  const after = await getTokens(seed, { clientId })
  t.same(
    [(await ping(seed.url, before.accessToken)).status, (await ping(seed.url, after.accessToken)).status],
    [401, 200]
  )
})
