import t from 'tap'
import { describeScope, grantedScopes, narrowScope } from '../../../src/oauth/protocol/scope.ts'

const CONFIGURED = ['openid', 'profile', 'email', 'offline_access']

t.test('a client is granted the requested scopes of OIDC_SCOPES, in that order, and always openid', async (
  t
) => {
  for (const [requested, granted] of [
    ['openid', ['openid']],
    ['email', ['openid', 'email']],
    ['offline_access email openid', ['openid', 'email', 'offline_access']],
    ['email admin', ['openid', 'email']],
    ['email email', ['openid', 'email']]
  ] as const) t.same(grantedScopes(requested, CONFIGURED), granted, requested)
  t.same(grantedScopes('email', ['email', 'openid']), ['openid', 'email'])
})

t.test('a request without a known scope is granted all of OIDC_SCOPES', async (t) => {
  for (const requested of [undefined, '', ' ', 'admin', 'EMAIL', 'email,profile', 'openidx']) {
    t.same(
      grantedScopes(requested, CONFIGURED),
      CONFIGURED,
      String(requested)
    )
  }
  const granted = grantedScopes(undefined, CONFIGURED)
  granted.push('admin')
  t.same(CONFIGURED, ['openid', 'profile', 'email', 'offline_access'], 'the result is a new list')
})

t.test('a refreshed token has the granted scopes, or fewer', async (t) => {
  for (const [requested, narrowed] of [
    [undefined, 'openid email'],
    ['openid email', 'openid email'],
    ['email', 'email'],
    [' email  openid ', 'email openid']
  ] as const) t.equal(narrowScope(requested, 'openid email'), narrowed, String(requested))
  for (const requested of ['', ' ', 'profile', 'openid profile', 'OPENID', 'openid,email', 'openid\temail']) {
    t.throws(() => narrowScope(requested, 'openid email'), {
      name: 'OAuthError',
      code: 'invalid_scope',
      statusCode: 400,
      message: 'scope must be within the scopes that were granted'
    }, `"${requested}"`)
  }
})

t.test('known scopes are described in words, and unknown ones by name', async (t) => {
  t.equal(new Set(['openid', 'profile', 'email', 'groups', 'offline_access'].map((scope) => {
    const words = describeScope(scope)
    t.notMatch(words, 'permission', scope)
    return words
  })).size, 5)
  t.equal(describeScope('mcp:read'), 'Use the permission "mcp:read"')
  for (const inherited of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    t.equal(
      describeScope(inherited),
    `Use the permission "${inherited}"`
    )
  }
})
