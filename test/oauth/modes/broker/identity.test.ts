import t from 'tap'
import { createIdentityReader } from '../../../../src/oauth/modes/broker/identity.ts'
import type { AccessRules } from '../../../../src/tokens/access-rules.ts'
import { AccessDeniedError } from '../../../../src/errors/sign-in-errors.ts'
import { OAuthError } from '../../../../src/errors/oauth-error.ts'
import type { UpstreamTokens } from '../../../../src/provider/token-response.ts'
import { IdTokenError } from '../../../../src/provider/id-token.ts'
import { ProviderUnavailableError } from '../../../../src/provider/discovery.ts'
import { MAIN_ENDPOINT } from '../../../support/endpoints.ts'

/** The identity of the person who signed in, from the ID token and userinfo. */
const EXPECTED = { nonce: 'n' }
const KNOWN = { name: 'Ada', groups: ['engineering'] }

function tokens (idToken: string | undefined): UpstreamTokens {
  return {
    accessToken: 'upstream-access',
    refreshToken: undefined,
    idToken,
    expiresInSeconds: undefined,
    scope: undefined
  }
}

const EVERYONE: AccessRules = {
  groups: [],
  emailDomains: [],
  unverifiedEmail: false,
  hostedDomains: [],
  claims: [],
  contact: undefined,
  groupsClaim: 'groups',
  groupPaths: false
}

/** A reader whose ID token and userinfo have these claims; an error is thrown. */
function makeReader (
  idToken: Record<string, unknown> | Error,
  userinfo: Record<string, unknown> | undefined | Error,
  access = EVERYONE
) {
  const warnings: object[] = []
  const reader = createIdentityReader({
    upstream: {
      async userinfo () {
        if (userinfo instanceof Error) throw userinfo
        return userinfo
      }
    },
    async verifyUserinfo () { throw new Error('not expected') },
    async verifyIdToken () {
      if (idToken instanceof Error) throw idToken
      return { iss: 'https://idp.example', sub: 'ada', ...idToken }
    },
    access,
    endpoints: [MAIN_ENDPOINT],
    log: { warn (fields) { warnings.push(fields) } }
  })
  return { ...reader, warnings }
}

t.test('the ID token overrides userinfo, which says nothing of the sign-in, and claims about the token are left out', async (t) => {
  const { identify } = makeReader(
    { name: 'of the ID token', nonce: 'n', at_hash: 'h', sid: 'session', auth_time: 7.5, amr: ['pwd'] },
    { sub: 'ada', name: 'of userinfo', email: 'ada@example.com', iss: 'x', exp: 1, auth_time: 9, acr: 'phr' }
  )
  t.same(await identify(tokens('id'), EXPECTED, {}), {
    subject: 'ada',
    sid: 'session',
    claims: { name: 'of the ID token', email: 'ada@example.com' },
    userinfoClaims: ['name', 'email'],
    authentication: { authenticatedAt: 7, acr: undefined, amr: ['pwd'] }
  })
})

t.test('ignores a session id that is not a string', async (t) => {
  const { identify } = makeReader({ sid: 7 }, undefined)
  t.same(await identify(tokens('id'), EXPECTED, {}), {
    subject: 'ada',
    sid: undefined,
    claims: {},
    userinfoClaims: [],
    authentication: { authenticatedAt: undefined, acr: undefined, amr: undefined }
  })
})

t.test('without a valid ID token nobody signed in', async (t) => {
  await t.rejects(makeReader({}, {}).identify(tokens(undefined), EXPECTED, {}), {
    name: 'OAuthError',
    code: 'server_error'
  })
  await t.rejects(makeReader(new IdTokenError('expired'), {}).identify(tokens('id'), EXPECTED, {}), IdTokenError)
})

t.test('a failure of userinfo is logged and ignored; an unexpected error is thrown', async (t) => {
  for (const [err, reason] of [
    [new OAuthError('server_error', 'no usable response', { detail: 'it answered 500' }), 'it answered 500'],
    [new ProviderUnavailableError('not found yet'), 'not found yet']
  ] as const) {
    const { identify, warnings } = makeReader({ name: 'Ada' }, err)
    t.same((await identify(tokens('id'), EXPECTED, {})).claims, { name: 'Ada' })
    t.same(warnings, [{ event: 'provider.userinfo_failed', reason }])
  }
  await t.rejects(makeReader({}, new TypeError('a mistake')).identify(tokens('id'), EXPECTED, {}), TypeError)
})

t.test('after a refresh the current claims count, and missing ones are gone', async (t) => {
  const again = async (
    idToken: string | undefined,
    claims: Record<string, unknown>,
    userinfo: Record<string, unknown> | undefined | Error,
    userinfoClaims?: string[]
  ) => (await makeReader(claims, userinfo)
    .refreshIdentity(tokens(idToken), 'ada', { claims: KNOWN, ...(userinfoClaims !== undefined && { userinfoClaims }) }))
    .claims
  t.same(await again('id', { name: 'Ada King' }, undefined), { name: 'Ada King' }, 'an ID token: the groups are gone')
  t.same(await again('id', { name: 'Ada King' }, { sub: 'ada', groups: [] }), { name: 'Ada King', groups: [] }, 'both')
  t.same(
    await again(undefined, {}, { sub: 'ada', groups: [] }),
    { name: 'Ada', groups: [] },
    'userinfo alone changes what it tells'
  )
  t.same(
    await again(undefined, {}, { sub: 'ada', name: 'Ada King' }, ['name', 'groups']),
    { name: 'Ada King' },
    'userinfo no longer tells the groups: they are gone'
  )
  t.same(
    await again(undefined, {}, { sub: 'ada' }, ['name']),
    { groups: ['engineering'] },
    'the groups came from the ID token, which is not there to say anything else'
  )
  t.same(await again(undefined, {}, new ProviderUnavailableError('away'), ['name', 'groups']), KNOWN, 'userinfo fails')
  t.same(await again(undefined, {}, undefined), KNOWN, 'neither: nothing is known to have changed')
  t.same(await again(undefined, {}, new ProviderUnavailableError('away')), KNOWN)
  t.same(
    await again('id', { name: 'Ada King' }, new ProviderUnavailableError('away')),
    { name: 'Ada King', groups: ['engineering'] },
    'userinfo fails: the groups may come from there'
  )
})

t.test('after a refresh an ID token of another subject ends the grant, an invalid one does not', async (t) => {
  await t.rejects(makeReader({}, {}).refreshIdentity(tokens('id'), 'bob', { claims: KNOWN }), {
    name: 'OAuthError',
    code: 'invalid_grant'
  })
  await t.rejects(makeReader(new IdTokenError('expired'), {}).refreshIdentity(tokens('id'), 'ada', { claims: KNOWN }), IdTokenError)
})

t.test('a person whom an access rule refuses is refused, at sign-in and at a refresh', async (t) => {
  const access = { ...EVERYONE, groups: ['engineering'] }
  t.same((await makeReader({ groups: ['engineering'] }, undefined, access).identify(tokens('id'), EXPECTED, {})).claims, {
    groups: ['engineering']
  })
  await t.rejects(makeReader({}, undefined, access).identify(tokens('id'), EXPECTED, {}), AccessDeniedError)
  await t.rejects(makeReader({}, undefined, access).refreshIdentity(tokens('id'), 'ada', { claims: KNOWN }), AccessDeniedError)
})
