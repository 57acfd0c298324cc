import { SignJWT, generateKeyPair, UnsecuredJWT } from 'jose'
import type { JWTPayload } from 'jose'
import t from 'tap'
import { logOut as logOutLimited } from '../../../src/oauth/endpoints/backchannel-logout.ts'
import type { LogoutServices } from '../../../src/oauth/endpoints/backchannel-logout.ts'
import { KeyNotFoundError } from '../../../src/provider/key-set.ts'
import { ProviderUnavailableError } from '../../../src/provider/discovery.ts'
import { createMemoryStore } from '../../../src/store/memory.ts'
import { StoreUnavailableError } from '../../../src/store/store.ts'

/** Logout tokens, valid and invalid (OpenID Connect Back-Channel Logout 1.0 section 2.6). */
const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const ISSUER = 'https://idp.example'
const { privateKey, publicKey } = await generateKeyPair('ES256')
const { privateKey: foreignKey } = await generateKeyPair('ES256')

const seconds = (): number => Math.floor(Date.now() / 1_000)
let issued = 0
const LOGOUT_TOKENS: LogoutServices['logoutTokens'] = {
  issuer: ISSUER,
  tenants: [],
  clientId: 'seed',
  algorithms: ['ES256'],
  clockSkewSeconds: 30,
  async getKey ({ kid }) {
    if (kid !== 'known') throw new KeyNotFoundError(`no key "${kid}"`)
    return publicKey
  }
}

type Claims = Record<string, unknown>

async function logOut (token: string | undefined, services: LogoutServices, limitRefused = async () => {}) {
  return await logOutLimited(token, services, limitRefused)
}

function validClaims (): Claims {
  return {
    iss: ISSUER,
    aud: 'seed',
    sub: 'ada',
    sid: 'session-1',
    iat: seconds(),
    exp: seconds() + 120,
    jti: `jti-${++issued}`,
    events: { [EVENT]: {} }
  }
}

async function sign (claims: Claims, header: Record<string, unknown> = {}, key = privateKey): Promise<string> {
  return await new SignJWT(claims as JWTPayload).setProtectedHeader({
    alg: 'ES256',
    typ: 'logout+jwt',
    kid: 'known',
    ...header
  }).sign(key)
}

function makeServices (more: Partial<LogoutServices> = {}) {
  const revoked: Array<{ subject: string } | { sid: string }> = []
  const services: LogoutServices = {
    store: createMemoryStore(),
    logoutTokens: LOGOUT_TOKENS,
    async revokeFor (who) {
      revoked.push(who)
      return 2
    },
    ...more
  }
  return { services, revoked }
}

t.test('a token with sid logs out that session, one without it the person', async (t) => {
  const { services, revoked } = makeServices()
  t.same(await logOut(await sign(validClaims()), services), { subject: 'ada', sid: 'session-1', revoked: 2 })
  t.same(
    await logOut(await sign({ ...validClaims(), sid: undefined }), services),
    { subject: 'ada', sid: undefined, revoked: 2 }
  )
  t.same(
    await logOut(await sign({ ...validClaims(), sub: undefined }), services),
    { subject: undefined, sid: 'session-1', revoked: 2 }
  )
  t.same(revoked, [
    { sid: 'session-1', subject: 'ada' }, { subject: 'ada' }, { sid: 'session-1', subject: undefined }
  ])
})

t.test('one matching audience is enough, and other events are ignored', async (t) => {
  const { services, revoked } = makeServices()
  await logOut(
    await sign({ ...validClaims(), aud: ['other', 'seed'], events: { 'urn:other': {}, [EVENT]: {} } }),
    services
  )
  for (const typ of [undefined, 'JWT', 'application/logout+jwt', 'Logout+JWT']) {
    await logOut(await sign(validClaims(), { typ }), services)
  }
  t.equal(revoked.length, 5)
})

const REFUSED: Array<[what: string, token: () => Promise<string>]> = [
  ['no JWT', async () => 'x'],
  ['not signed', async () => new UnsecuredJWT(validClaims()).encode()],
  ['signed by someone else', () => sign(validClaims(), {}, foreignKey)],
  ['an unknown key', () => sign(validClaims(), { kid: 'unknown' })],
  ['an algorithm that is not accepted', async () => await new SignJWT(validClaims()).setProtectedHeader({
    alg: 'HS256',
    kid: 'known'
  }).sign(new TextEncoder().encode('x'.repeat(32)))],
  ['another issuer', () => sign({ ...validClaims(), iss: 'https://evil.example' })],
  ['the issuer with a slash', () => sign({ ...validClaims(), iss: `${ISSUER}/` })],
  ['no issuer', () => sign({ ...validClaims(), iss: undefined })],
  ['another audience', () => sign({ ...validClaims(), aud: 'somebody-else' })],
  ['no audience', () => sign({ ...validClaims(), aud: undefined })],
  ['no iat', () => sign({ ...validClaims(), iat: undefined })],
  ['issued long ago', () => sign({ ...validClaims(), iat: seconds() - 400 })],
  ['issued in the future', () => sign({ ...validClaims(), iat: seconds() + 100 })],
  ['no exp', () => sign({ ...validClaims(), exp: undefined })],
  ['expired', () => sign({ ...validClaims(), exp: seconds() - 60 })],
  ['no jti', () => sign({ ...validClaims(), jti: undefined })],
  ['no events', () => sign({ ...validClaims(), events: undefined })],
  ['events that are null', () => sign({ ...validClaims(), events: null })],
  ['events that are text', () => sign({ ...validClaims(), events: EVENT })],
  ['events that are a list', () => sign({ ...validClaims(), events: [EVENT] })],
  ['another event', () => sign({ ...validClaims(), events: { 'http://schemas.openid.net/event/other': {} } })],
  ['an event that is null', () => sign({ ...validClaims(), events: { [EVENT]: null } })],
  ['an event that is a list', () => sign({ ...validClaims(), events: { [EVENT]: [] } })],
  ['an event that is no object', () => sign({ ...validClaims(), events: { [EVENT]: true } })],
  ['a nonce: an ID token', () => sign({ ...validClaims(), nonce: 'n' })],
  ['neither sub nor sid', () => sign({ ...validClaims(), sub: undefined, sid: undefined })],
  ['a sub that is a number', () => sign({ ...validClaims(), sub: 7 })],
  ['an empty sub', () => sign({ ...validClaims(), sub: '' })],
  ['a jti that is a number', () => sign({ ...validClaims(), jti: 7 })],
  ['the type of an access token', () => sign(validClaims(), { typ: 'at+jwt' })],
  ['no sub, and a sid that is no text', () => sign({ ...validClaims(), sub: undefined, sid: 7 })]
]

for (const [what, token] of REFUSED) {
  t.test(`refused without logging anyone out: ${what}`, async (t) => {
    const { services, revoked } = makeServices()
    await t.rejects(
      logOut(await token(), services),
      { name: 'OAuthError', code: 'invalid_request', statusCode: 400, detail: /./ }
    )
    t.same(revoked, [])
  })
}

t.test('a request without a token is refused', async (t) => {
  await t.rejects(
    logOut(undefined, makeServices().services),
    { code: 'invalid_request', message: 'logout_token is required' }
  )
})

t.test('a logout token works once, and nothing but refused tokens is counted', async (t) => {
  const { services, revoked } = makeServices()
  let counted = 0
  const limitRefused = async () => { counted++ }
  const token = await sign(validClaims())
  await logOut(token, services, limitRefused)
  t.equal(counted, 0)
  await t.rejects(
    logOut(token, services, limitRefused),
    { code: 'invalid_request', detail: 'it was used before' }
  )
  t.equal(counted, 1)
  t.equal(revoked.length, 1)
})

t.test('a logout that fails half-way can be sent again with the same token', async (t) => {
  let failing = true
  const { services } = makeServices({
    async revokeFor () {
      if (failing) throw new StoreUnavailableError()
      return 1
    }
  })
  const token = await sign(validClaims())
  await t.rejects(logOut(token, services), StoreUnavailableError)
  failing = false
  t.match(await logOut(token, services), { revoked: 1 })
  await t.rejects(logOut(token, services), { code: 'invalid_request', detail: 'it was used before' })
})

t.test('the record of a used token outlives the token', async (t) => {
  let now = Date.now()
  const store = createMemoryStore({ now: () => now })
  const { services } = makeServices({ store })
  const token = await sign({ ...validClaims(), iat: seconds() + 25, exp: seconds() + 1_000 })
  await logOut(token, services)
  now += (25 + 300 + 30) * 1_000
  await t.rejects(logOut(token, services), { code: 'invalid_request', detail: 'it was used before' })
})

t.test('only listed tenants of a multi-tenant provider are accepted', async (t) => {
  const {
    services,
    revoked
  } = makeServices({ logoutTokens: { ...LOGOUT_TOKENS, issuer: `${ISSUER}/common/v2.0`, tenants: ['tenant-1'] } })
  const from = (tid: string): Claims => ({ ...validClaims(), iss: `${ISSUER}/${tid}/v2.0`, tid })
  await logOut(await sign(from('tenant-1')), services)
  await t.rejects(logOut(await sign(from('tenant-2')), services), { code: 'invalid_request', detail: 'another issuer' })
  await t.rejects(
    logOut(await sign({ ...from('tenant-1'), tid: undefined }), services),
    { code: 'invalid_request', detail: 'another issuer' }
  )
  t.equal(revoked.length, 1)
})

t.test('an outage of the provider or the store is not an invalid token', async (t) => {
  const getKey = async (): Promise<never> => { throw new ProviderUnavailableError('no keys yet') }
  const away = makeServices({ logoutTokens: { ...LOGOUT_TOKENS, getKey } })
  await t.rejects(logOut(await sign(validClaims()), away.services), ProviderUnavailableError)
  t.same(away.revoked, [])
  const store = createMemoryStore()
  store.get = async () => { throw new StoreUnavailableError() }
  const down = makeServices({ store })
  await t.rejects(logOut(await sign(validClaims()), down.services), StoreUnavailableError)
  t.same(down.revoked, [])
})
