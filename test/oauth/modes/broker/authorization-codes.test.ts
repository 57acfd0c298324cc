import t from 'tap'
import { keys } from '../../../../src/store/keys.ts'
import { digest } from '../../../../src/crypto/hash.ts'
import { REDIRECT_URI, readTokens, redeem, refresh, register, signIn, startBroker } from '../../../support/broker.ts'
import { isError } from '../../../support/oauth-error.ts'
import { ping } from '../../../support/seed.ts'

/** Seed's authorization codes at the token endpoint (broker mode), over real HTTP. */
t.test('a code works once; a replay with the right verifier revokes the grant', async (t) => {
  const seed = await startBroker(t)
  const signedIn = await signIn(seed)
  const { accessToken, refreshToken } = readTokens(signedIn.clientId, await redeem(seed.url, signedIn))
  t.equal((await ping(seed.url, accessToken)).status, 200)

  isError(t, await redeem(seed.url, signedIn), 400, 'invalid_grant', 'the second redemption')
  t.equal((await ping(seed.url, accessToken)).status, 401, 'the access token of the first has ended')
  isError(
    t,
    await refresh(seed.url, signedIn.clientId, refreshToken),
    400,
    'invalid_grant',
    'and so has the refresh token'
  )
  t.match(await seed.logged(({ msg }) => msg === 'A grant has ended'), {
    reason: 'authorization code used twice',
    subject: 'ada',
    clientId: signedIn.clientId
  })
})

t.test('a replay that does not match harms nothing', async (t) => {
  const seed = await startBroker(t)
  const signedIn = await signIn(seed)
  const { accessToken, refreshToken } = readTokens(signedIn.clientId, await redeem(seed.url, signedIn))

  for (let tries = 0; tries < 6; tries++) {
    isError(
      t,
      await redeem(seed.url, { ...signedIn, verifier: 'x'.repeat(43) }),
      400,
      'invalid_grant',
      `wrong verifier, try ${tries + 1}`
    )
  }
  isError(
    t,
    await redeem(seed.url, { ...signedIn, clientId: await register(seed.url) }),
    400,
    'invalid_grant',
    'another client'
  )
  isError(
    t,
    await redeem(seed.url, signedIn, { redirect_uri: `${REDIRECT_URI}2` }),
    400,
    'invalid_grant',
    'another redirect URI'
  )
  t.equal((await ping(seed.url, accessToken)).status, 200, 'the access token serves')
  t.equal((await refresh(seed.url, signedIn.clientId, refreshToken)).statusCode, 200, 'the refresh token too')
})

t.test('a request that does not match the code does not consume it', async (t) => {
  const seed = await startBroker(t)
  const signedIn = await signIn(seed)
  const other = await signIn(seed)

  isError(t, await redeem(seed.url, { ...signedIn, clientId: other.clientId }), 400, 'invalid_grant', 'another client')
  isError(
    t,
    await redeem(seed.url, signedIn, { redirect_uri: 'http://localhost:53217/elsewhere' }),
    400,
    'invalid_grant',
    'another path on the same loopback address'
  )
  isError(
    t,
    await redeem(seed.url, signedIn, { redirect_uri: 'http://localhost:1/callback' }),
    400,
    'invalid_grant',
    'another port than at authorization'
  )
  isError(
    t,
    await redeem(seed.url, signedIn, { resource: 'https://elsewhere.example/mcp' }),
    400,
    'invalid_target',
    'another resource'
  )
  isError(
    t,
    await redeem(seed.url, { ...signedIn, verifier: other.verifier }),
    400,
    'invalid_grant',
    'the verifier of another flow'
  )
  const challenge = new URL(signedIn.url).searchParams.get('code_challenge')!
  isError(t, await redeem(seed.url, { ...signedIn, verifier: challenge }), 400, 'invalid_grant', 'the challenge itself')
  for (const [verifier, what] of [
    ['x'.repeat(42), '42 characters'],
    ['x'.repeat(129), '129 characters'],
    [`${'x'.repeat(42)}é`, 'a foreign character']
  ] as const) {
    isError(t, await redeem(seed.url, { ...signedIn, verifier }), 400, 'invalid_request', `a verifier of ${what}`)
  }
  t.equal((await redeem(seed.url, signedIn)).statusCode, 200, 'and the right request still gets its tokens')
})

t.test('the redirect URI may be left out at redemption (OAuth 2.1 section 4.1.3)', async (t) => {
  const seed = await startBroker(t)
  const { clientId, code, verifier } = await signIn(seed)
  const response = await fetch(`${seed.url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'authorization_code', client_id: clientId, code, code_verifier: verifier })
  })
  t.equal(response.status, 200)
})

t.test('four wrong verifiers do not consume a code, the fifth does', async (t) => {
  const seed = await startBroker(t)
  const [lucky, burnt] = [await signIn(seed), await signIn(seed)]
  const guess = async (signedIn: typeof lucky) => await redeem(seed.url, { ...signedIn, verifier: 'guess'.repeat(9) })

  for (let tries = 1; tries <= 4; tries++) isError(t, await guess(lucky), 400, 'invalid_grant', `guess ${tries}`)
  t.equal((await redeem(seed.url, lucky)).statusCode, 200, 'the right one after four')

  for (let tries = 1; tries <= 5; tries++) isError(t, await guess(burnt), 400, 'invalid_grant', `guess ${tries}`)
  isError(t, await redeem(seed.url, burnt), 400, 'invalid_grant', 'the right one after five')
})

t.test('refuses codes that never existed or have expired', async (t) => {
  const seed = await startBroker(t)
  const signedIn = await signIn(seed)
  isError(t, await redeem(seed.url, { ...signedIn, code: 'x'.repeat(43) }), 400, 'invalid_grant', 'made up')
  isError(t, await redeem(seed.url, { ...signedIn, code: `${signedIn.code}x` }), 400, 'invalid_grant', 'longer by one')

  // What the end of its time to live leaves behind.
  t.equal(await seed.app.store.delete(keys.code(digest(signedIn.code))), true)
  isError(t, await redeem(seed.url, signedIn), 400, 'invalid_grant', 'expired')
})

t.test('the store keeps a code for a minute, and a used one for ten', async (t) => {
  const seed = await startBroker(t)
  const written: Array<{ key: string, ttlSeconds: number }> = []
  const { store } = seed.app
  const [set, replace] = [store.set.bind(store), store.compareAndSet.bind(store)]
  store.set = async (key, value, ttlSeconds) => {
    written.push({ key, ttlSeconds })
    await set(key, value, ttlSeconds)
  }
  store.compareAndSet = async (key, expected, value, ttlSeconds) => {
    written.push({ key, ttlSeconds })
    return await replace(key, expected, value, ttlSeconds)
  }
  const signedIn = await signIn(seed)
  await redeem(seed.url, signedIn)
  const key = keys.code(digest(signedIn.code))
  t.same(written.filter((write) => write.key === key), [{ key, ttlSeconds: 60 }, { key, ttlSeconds: 600 }])
  t.notOk(key.includes(signedIn.code), 'its name in the store is not the code')
})

t.test('a code redeemed after a logout gives no working token', async (t) => {
  const seed = await startBroker(t)
  const signedIn = await signIn(seed)
  t.equal((await seed.provider.backchannelLogout('ada', `${seed.url}/oauth/backchannel-logout`)).status, 200)
  const answer = await redeem(seed.url, signedIn)
  const { accessToken, refreshToken } = readTokens(signedIn.clientId, answer)
  t.equal((await ping(seed.url, accessToken)).status, 401)
  isError(t, await refresh(seed.url, signedIn.clientId, refreshToken), 400, 'invalid_grant', 'nothing was stored')
})
