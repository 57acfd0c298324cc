import t from 'tap'
import { AccessDeniedError } from '../../../../src/errors/sign-in-errors.ts'
import { createForwardTokens } from '../../../../src/oauth/modes/proxy/forward-tokens.ts'
import type { VerifyAccessToken } from '../../../../src/oauth/modes/proxy/forward-tokens.ts'
import { ProviderUnavailableError } from '../../../../src/provider/discovery.ts'

const TOKENS = {
  accessToken: 'a', refreshToken: 'r', idToken: 'never passed on', expiresInSeconds: undefined, scope: undefined
}

/** Forwards the provider's tokens for client `cli`. */
function setUp (verifyAccessToken: VerifyAccessToken) {
  const issued: unknown[] = []
  const forwardTokens = createForwardTokens({
    verifyAccessToken,
    issuedTokens: { async add (...entry) { issued.push(entry) } },
    clockSkewSeconds: 30,
    maxLifetimeSeconds: 3_600
  })
  return { issued, forward: async () => await forwardTokens(TOKENS, 'cli') }
}

t.test('an error while the new access token is verified is an error, and not an acceptable token', async (t) => {
  const fault = new Error('a bug')
  await t.rejects(setUp(async () => { throw fault }).forward(), fault)
})

t.test('a token that cannot be verified now is passed on, its client remembered for long', async (t) => {
  const { forward, issued } = setUp(async () => { throw new ProviderUnavailableError('no keys') })
  t.same(await forward(), { access_token: 'a', token_type: 'Bearer' })
  t.same(issued, [['a', 'cli', 3_660]])
})

t.test('the client of an access token is remembered until the token is refused everywhere', async (t) => {
  for (const [expiresIn, ttl] of [[60, 90], [-29, 1], [-40, 1]] as const) {
    const { forward, issued } = setUp(async () => ({ expiresAt: Math.floor(Date.now() / 1_000) + expiresIn }))
    await forward()
    const [[, , ttlSeconds]] = issued as [[string, string, number]]
    t.ok(ttlSeconds >= Math.max(1, ttl - 2) && ttlSeconds <= ttl, `${ttlSeconds}`)
  }
})

t.test('a person whom a rule refuses is told so, with whom to ask, and the log has the rule', async (t) => {
  for (const [contact, detail, message, logged] of [
    [undefined, undefined, 'Not you', 'ACCESS_GROUPS: Not you'],
    ['it@example.com', 'no groups', 'Not you; ask it@example.com', 'ACCESS_GROUPS: no groups']
  ] as const) {
    const { forward } = setUp(async () => { throw new AccessDeniedError('ACCESS_GROUPS', 'Not you', { contact, detail }) })
    await t.rejects(forward(), { name: 'OAuthError', statusCode: 403, code: 'access_denied', message, detail: logged })
  }
})
