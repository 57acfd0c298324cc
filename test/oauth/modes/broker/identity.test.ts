import t from 'tap'
import { identify, refreshIdentity, tokenIdentity } from '../../../../src/oauth/modes/broker/identity.ts'
import type { IdentityServices } from '../../../../src/oauth/modes/broker/identity.ts'
import { OAuthError } from '../../../../src/errors/oauth-error.ts'
import type { UpstreamTokens } from '../../../../src/provider/token-response.ts'
import { IdTokenError } from '../../../../src/provider/id-token.ts'
import { ProviderUnavailableError } from '../../../../src/provider/discovery.ts'

/** Who signed in, from what the ID token and userinfo say. */
const EXPECTED = { nonce: 'n', maxAgeSeconds: undefined }
const KNOWN = { name: 'Ada', groups: ['engineering'] }

function tokens (idToken: string | undefined): UpstreamTokens {
  return { accessToken: 'upstream-access', refreshToken: undefined, idToken, expiresInSeconds: undefined, scope: undefined }
}

/** What they answer; an error is thrown. */
function makeServices (idToken: Record<string, unknown> | Error, userinfo: Record<string, unknown> | undefined | Error) {
  const warnings: object[] = []
  const services: IdentityServices = {
    upstream: {
      async userinfo () {
        if (userinfo instanceof Error) throw userinfo
        return userinfo
      }
    },
    async verifyIdToken () {
      if (idToken instanceof Error) throw idToken
      return { iss: 'https://idp.example', sub: 'ada', ...idToken }
    },
    log: { warn (fields) { warnings.push(fields) } }
  }
  return { services, warnings }
}

t.test('the ID token counts more than userinfo, and what is about the token is left out', async (t) => {
  const { services } = makeServices({ name: 'of the ID token', nonce: 'n', at_hash: 'h', sid: 'session', amr: ['pwd'] }, { sub: 'ada', name: 'of userinfo', email: 'ada@example.com', iss: 'x', exp: 1 })
  t.same(await identify(tokens('id'), EXPECTED, services), { subject: 'ada', sid: 'session', claims: { name: 'of the ID token', email: 'ada@example.com' } })
})

t.test('a session id that is no text is none', async (t) => {
  const { services } = makeServices({ sid: 7 }, undefined)
  t.same(await identify(tokens('id'), EXPECTED, services), { subject: 'ada', sid: undefined, claims: {} })
})

t.test('no ID token, or one that cannot be believed: nobody signed in', async (t) => {
  await t.rejects(identify(tokens(undefined), EXPECTED, makeServices({}, {}).services), { name: 'OAuthError', code: 'server_error' })
  await t.rejects(identify(tokens('id'), EXPECTED, makeServices(new IdTokenError('expired'), {}).services), IdTokenError)
})

t.test('userinfo that fails is told and done without; a mistake of ours is not', async (t) => {
  for (const [err, reason] of [
    [new OAuthError('server_error', 'no usable answer', { detail: 'it answered 500' }), 'it answered 500'],
    [new ProviderUnavailableError('not found yet'), 'not found yet']
  ] as const) {
    const { services, warnings } = makeServices({ name: 'Ada' }, err)
    t.same((await identify(tokens('id'), EXPECTED, services)).claims, { name: 'Ada' })
    t.same(warnings, [{ reason }])
  }
  await t.rejects(identify(tokens('id'), EXPECTED, makeServices({}, new TypeError('a mistake')).services), TypeError)
})

t.test('after a refresh: what the provider tells now counts, and what it no longer tells is gone', async (t) => {
  const again = async (idToken: string | undefined, claims: Record<string, unknown>, userinfo: Record<string, unknown> | undefined | Error) =>
    await refreshIdentity(tokens(idToken), 'ada', KNOWN, makeServices(claims, userinfo).services)
  t.same(await again('id', { name: 'Ada King' }, undefined), { name: 'Ada King' }, 'an ID token: the groups are gone')
  t.same(await again('id', { name: 'Ada King' }, { sub: 'ada', groups: [] }), { name: 'Ada King', groups: [] }, 'both')
  t.same(await again(undefined, {}, { sub: 'ada', groups: [] }), { name: 'Ada', groups: [] }, 'userinfo alone changes what it tells')
  t.same(await again(undefined, {}, undefined), KNOWN, 'neither: nothing is known to have changed')
  t.same(await again(undefined, {}, new ProviderUnavailableError('away')), KNOWN)
  t.same(await again('id', { name: 'Ada King' }, new ProviderUnavailableError('away')), { name: 'Ada King', groups: ['engineering'] }, 'userinfo fails: it may well have told the groups')
})

t.test('after a refresh: an ID token of somebody else ends it, one that cannot be believed does not', async (t) => {
  await t.rejects(refreshIdentity(tokens('id'), 'bob', KNOWN, makeServices({}, {}).services), { name: 'OAuthError', code: 'invalid_grant' })
  await t.rejects(refreshIdentity(tokens('id'), 'ada', KNOWN, makeServices(new IdTokenError('expired'), {}).services), IdTokenError)
})

t.test('an access token tells of the person what tools use, and groups under one name', async (t) => {
  const claims = { name: 'Ada', email: 'ada@example.com', email_verified: false, phone_number: '1', realm_access: { roles: ['/engineering'] }, address: {} }
  t.same(tokenIdentity(claims, 'openid profile email', { groupsClaim: 'realm_access.roles', groupPaths: true }, []), { name: 'Ada', email: 'ada@example.com', email_verified: false, groups: ['engineering'] })
  t.same(tokenIdentity({ hd: 'example.com', preferred_username: 'ada' }, 'openid profile email', { groupsClaim: 'groups', groupPaths: false }, []), { hd: 'example.com', preferred_username: 'ada' })
  t.same(tokenIdentity({ name: 'Ada', email: 'ada@example.com', groups: ['engineering'] }, 'openid', { groupsClaim: 'groups', groupPaths: false }, []), { groups: ['engineering'] }, 'no more than was consented to')
  t.same(tokenIdentity(claims, 'openid', { groupsClaim: 'groups', groupPaths: false }, ['phone_number', 'realm_access.roles', 'nothing']), { phone_number: '1', realm_access: claims.realm_access }, 'and what policies of tools ask for')
})
