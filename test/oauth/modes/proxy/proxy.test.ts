import t from 'tap'
import { RevokedTokenError } from '../../../../src/tokens/token-error.ts'
import { AccessDeniedError } from '../../../../src/errors/sign-in-errors.ts'
import { OAuthError } from '../../../../src/errors/oauth-error.ts'
import { ProviderUnavailableError } from '../../../../src/provider/discovery.ts'
import { sidKey, subjectKey, subjectWithoutSidKey, tokenKey } from '../../../../src/tokens/revocations.ts'
import { createProxyFixture, CLIENT, REDEMPTION, REQUEST } from '../../../support/proxy-fixture.ts'

const TOKENS = {
  accessToken: 'h.p.s', refreshToken: undefined, idToken: undefined, expiresInSeconds: undefined, scope: undefined
}
const INVALID_GRANT = { name: 'OAuthError', code: 'invalid_grant' }

t.test('requests the scopes of the client, and all scopes of Entra ID at sign-in and at each refresh', async (t) => {
  for (const [provider, scopes, refreshed] of [
    ['generic', ['openid'], undefined],
    ['entra', ['openid', 'email', 'api'], 'openid email api']
  ] as const) {
    const { proxy, sent, signIn, refresh } = await createProxyFixture({ provider })
    const shown = proxy.signIn.effectiveScopes(['openid'])
    t.same(shown, scopes, 'the consent page shows them')
    const { refresh_token: token } = await signIn(CLIENT, shown)
    await refresh(token)
    t.same(sent.scopes, [scopes], provider)
    t.equal(sent.tokens.at(-1)!['scope'], refreshed, provider)
  }
})

t.test('a back-channel logout revokes the access tokens issued so far, of the subject or of the session', async (t) => {
  const { proxy, revocations, clock } = await createProxyFixture()
  const now = Math.floor(clock.now / 1_000)
  await proxy.revokeFor({ subject: 'ada' })
  await proxy.revokeFor({ sid: 'session', subject: 'bob' })
  await proxy.revokeFor({ sid: 'another' })
  for (const key of [subjectKey('ada'), sidKey('session'), subjectWithoutSidKey('bob'), sidKey('another')]) {
    t.equal(await revocations.isRevoked([key], now + 30), true, "the provider's clock may be ahead")
    t.equal(await revocations.isRevoked([key], now + 3_600), false, 'those of later sign-ins are good')
  }
})

t.test('an approval survives a provider that does not answer, and no other failure', async (t) => {
  for (const [failure, isKept] of [
    [new OAuthError('temporarily_unavailable', 'away'), true],
    [new ProviderUnavailableError('not discovered'), true],
    [new OAuthError('invalid_grant', 'no'), false],
    [new TypeError('a bug'), false]
  ] as const) {
    let failures = 1
    const { proxy } = await createProxyFixture({
      async requestTokens () {
        if (failures-- > 0) throw failure
        return TOKENS
      }
    })
    await proxy.signIn.start(REQUEST)
    await t.rejects(proxy.tokenIssuer.authorizationCode!(REDEMPTION, CLIENT), failure)
    const retry = proxy.tokenIssuer.authorizationCode!(REDEMPTION, CLIENT)
    if (isKept) t.same(await retry, { access_token: 'h.p.s', token_type: 'Bearer' })
    else await t.rejects(retry, INVALID_GRANT)
  }
})

t.test('an approval is taken once, however many redeem its code at the same time', async (t) => {
  const { proxy, sent } = await createProxyFixture()
  await proxy.signIn.start(REQUEST)
  const results = await Promise.allSettled(Array.from({ length: 10 }, async () =>
    await proxy.tokenIssuer.authorizationCode!(REDEMPTION, CLIENT)))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  t.equal(sent.tokens.length, 1)
})

t.test('clients that refresh with one token at the same time get the same successor, from one request', async (t) => {
  const { signIn, refresh, sent, clock } = await createProxyFixture()
  const { refresh_token: first } = await signIn()
  const responses = await Promise.all([refresh(first), refresh(first), refresh(first)])
  t.equal(new Set(responses.map((response) => JSON.stringify(response))).size, 1)
  clock.now += 30_000
  t.same(await refresh(first), responses[0], 'and again within 30 seconds')
  t.equal(sent.tokens.length, 2)
  t.match(sent.tokens[1], { refresh_token: 'r1' })
})

t.test('a replica that gets the lock after another one has refreshed returns the same successor', async (t) => {
  const one = await createProxyFixture()
  const { refresh_token: first } = await one.signIn()
  const responses: unknown[] = []
  const other = await createProxyFixture({
    store: {
      ...one.store,
      async setIfAbsent (...args) {
        if (responses.length === 0) responses.push(await one.refresh(first))
        return await one.store.setIfAbsent(...args)
      }
    }
  })
  t.same(await other.refresh(first), responses[0])
  t.same(other.sent.tokens, [], 'the provider is asked once')
})

t.test('a response that the store kept and that cannot be opened any more is not given out again', async (t) => {
  const { signIn, refresh, store } = await createProxyFixture()
  const { refresh_token: first } = await signIn()
  const { get } = store
  await refresh(first)
  store.get = async (key) => (await get(key))?.replace(/"response":"[^"]+"/, '"response":"x"')
  await t.rejects(refresh(first), { ...INVALID_GRANT, detail: /SEED_SECRET has changed/ })
})

t.test('a refresh token used again after 30 seconds ends its family, here and at the provider', async (t) => {
  const { signIn, refresh, sent, clock, revocations, log, audited } = await createProxyFixture()
  const { refresh_token: first } = await signIn()
  const second = await refresh(first)
  clock.now += 30_001
  await t.rejects(refresh(first), INVALID_GRANT)
  await t.rejects(refresh(second.refresh_token), INVALID_GRANT, 'the thief, or the victim, is out too')
  t.same(sent.revoked, [['r2', 'refresh_token']], 'the newest one')
  for (const accessToken of ['h1.p.s', 'h2.p.s']) {
    t.equal(await revocations.isRevoked([tokenKey(accessToken)], 0), true, accessToken)
  }
  t.match(log, [
    { message: 'A refresh token was used again after it had been replaced: its family ends', number: 1, current: 2 },
    { message: 'A family of refresh tokens has ended', clientId: 'cli' }
  ])
  t.match(audited, [{ event: 'revocation', client: 'cli' }])
})

t.test('a token two generations old ends the family at once, although the provider is away', async (t) => {
  const away = new OAuthError('temporarily_unavailable', 'away', { detail: 'HTTP 500' })
  for (const failure of [away, new TypeError('HTTP 500')]) {
    const { signIn, refresh, log } = await createProxyFixture({ revoke: async () => { throw failure } })
    const { refresh_token: first } = await signIn()
    const third = await refresh((await refresh(first)).refresh_token)
    await t.rejects(refresh(first), INVALID_GRANT)
    await t.rejects(refresh(third.refresh_token), INVALID_GRANT)
    t.match(log.at(-1), { message: /ended here; the provider's token could not be revoked/, reason: 'HTTP 500' })
  }
})

t.test('only the provider, when it refuses, ends a family; an outage does not', async (t) => {
  let failure: Error | undefined
  const { signIn, refresh, sent, revocations } = await createProxyFixture({
    async requestTokens () {
      if (failure !== undefined) throw failure
      return { ...TOKENS, refreshToken: 'r' }
    }
  })
  const { refresh_token: token } = await signIn()
  const away = new OAuthError('temporarily_unavailable', 'away')
  for (const error of [away, new OAuthError('server_error', 'odd'), new TypeError('a bug')]) {
    failure = error
    await t.rejects(refresh(token), error)
  }
  failure = undefined
  const next = await refresh(token)
  failure = new OAuthError('invalid_grant', 'no')
  await t.rejects(refresh(next.refresh_token), failure)
  t.equal(await revocations.isRevoked([tokenKey('h.p.s')], 0), true)
  failure = undefined
  await t.rejects(refresh(next.refresh_token), INVALID_GRANT)
  t.same(sent.revoked, [])
})

t.test("a retry uses the provider's newest refresh token, though no client has got it", async (t) => {
  let refused = true
  const { signIn, refresh, sent } = await createProxyFixture({
    async verify (token) {
      if (token === 'h2.p.s' && refused) throw new AccessDeniedError('ACCESS_GROUPS', 'Not you')
    }
  })
  const { refresh_token: token } = await signIn()
  await t.rejects(refresh(token), { code: 'access_denied' })
  refused = false
  await refresh(token)
  t.same(sent.tokens.slice(1).map(({ refresh_token: upstream }) => upstream), ['r1', 'r2'])
})

t.test('a family that ends while it is refreshed gets no new tokens', async (t) => {
  const fixture = await createProxyFixture({
    async verify (token) {
      if (token === 'h2.p.s') await fixture.proxy.tokenRevoker.revoke(first!, undefined, CLIENT)
    }
  })
  const { refresh_token: first } = await fixture.signIn()
  await t.rejects(fixture.refresh(first), INVALID_GRANT)
  await t.rejects(fixture.refresh(first), INVALID_GRANT)
})

t.test('a replica waits for another one that refreshes the same family', async (t) => {
  const { signIn, refresh, store, sent } = await createProxyFixture()
  const other = await createProxyFixture({ store })
  const { refresh_token: token } = await signIn()
  const [one, two] = await Promise.all([refresh(token), other.refresh(token)])
  t.equal(one.refresh_token, two.refresh_token)
  t.equal(sent.tokens.length + other.sent.tokens.length, 2)
})

t.test('after the store has lost its last writes, a token that is newer than its record is good', async (t) => {
  const { signIn, refresh, store } = await createProxyFixture()
  const { refresh_token: first } = await signIn()
  const records = new Map<string, string>()
  const { compareAndSet } = store
  store.compareAndSet = async (key, expected, value, ttlSeconds) => {
    records.set(key, expected)
    return await compareAndSet(key, expected, value, ttlSeconds)
  }
  const second = await refresh(first)
  for (const [key, value] of records) await store.set(key, value, 60)
  t.ok((await refresh(second.refresh_token)).refresh_token)
})

t.test('a refresh may ask for fewer of the scopes that were allowed, never for more', async (t) => {
  const { signIn, refresh, sent } = await createProxyFixture()
  const { refresh_token: token } = await signIn(CLIENT, ['openid', 'email'])
  await t.rejects(refresh(token, CLIENT, 'api'), { code: 'invalid_scope' })
  await refresh(token, CLIENT, 'email api')
  t.equal(sent.tokens.at(-1)!['scope'], 'openid email')
})

t.test('revoking an older refresh token of a family ends all of it, also when repeated after a failure', async (t) => {
  let away = true
  const { signIn, refresh, proxy, sent } = await createProxyFixture({
    revoke: async () => {
      if (away) throw new OAuthError('temporarily_unavailable', 'away')
      return false
    }
  })
  const { refresh_token: first } = await signIn()
  const second = await refresh(first)
  await t.rejects(proxy.tokenRevoker.revoke(first!, 'access_token', CLIENT), { code: 'temporarily_unavailable' })
  await t.rejects(refresh(second.refresh_token), INVALID_GRANT, 'ended here')
  away = false
  await proxy.tokenRevoker.revoke(first!, undefined, CLIENT)
  t.same(sent.revoked, [['r2', 'refresh_token'], ['r1', 'refresh_token']])
})

t.test('an access token is revoked here and at the provider, for the client that it was issued to', async (t) => {
  const { signIn, proxy, revocations, sent } = await createProxyFixture()
  const { access_token: token } = await signIn()
  const other = { ...CLIENT, id: 'other' }
  for (const [text, client] of [[token, other], ['junk', CLIENT], [`x${token}`, CLIENT]] as const) {
    await proxy.tokenRevoker.revoke(text, 'access_token', client)
  }
  t.same(sent.revoked, [])
  await proxy.tokenRevoker.revoke(token, undefined, CLIENT)
  t.equal(await revocations.isRevoked([tokenKey(token)], 0), true)
  t.same(sent.revoked, [[token, 'access_token']])
})

t.test('a refresh whose new access token was revoked in the same second asks to sign in again', async (t) => {
  const { signIn, refresh } = await createProxyFixture({
    verify: async (token) => { if (token.startsWith('h2')) throw new RevokedTokenError() }
  })
  const { refresh_token: refreshToken } = await signIn()
  await t.rejects(refresh(refreshToken), { code: 'invalid_grant', message: 'The sign-in was revoked: sign in again' })
})
