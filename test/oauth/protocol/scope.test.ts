import t from 'tap'
import { describeScope, grantedScopes, narrowScope } from '../../../src/oauth/protocol/scope.ts'

const CONFIGURED = ['openid', 'profile', 'email', 'offline_access']

t.test('a client is granted what it asked for of OIDC_SCOPES, in the order of that list, and always openid', async (t) => {
  for (const [asked, granted] of [
    ['openid', ['openid']],
    ['email', ['openid', 'email']],
    ['offline_access email openid', ['openid', 'email', 'offline_access']],
    ['email admin', ['openid', 'email']],
    ['email email', ['openid', 'email']]
  ] as const) t.same(grantedScopes(asked, CONFIGURED), granted, asked)
  t.same(grantedScopes('email', ['email', 'openid']), ['openid', 'email'])
})

t.test('who asks for nothing that there is gets all', async (t) => {
  for (const asked of [undefined, '', ' ', 'admin', 'EMAIL', 'email,profile', 'openidx']) t.same(grantedScopes(asked, CONFIGURED), CONFIGURED, String(asked))
  const granted = grantedScopes(undefined, CONFIGURED)
  granted.push('admin')
  t.same(CONFIGURED, ['openid', 'profile', 'email', 'offline_access'], 'a list of its own')
})

t.test('a refreshed token has the granted scopes, or fewer', async (t) => {
  for (const [asked, narrowed] of [
    [undefined, 'openid email'],
    ['openid email', 'openid email'],
    ['email', 'email'],
    [' email  openid ', 'email openid']
  ] as const) t.equal(narrowScope(asked, 'openid email'), narrowed, String(asked))
  for (const asked of ['', ' ', 'profile', 'openid profile', 'OPENID', 'openid,email', 'openid\temail']) {
    t.throws(() => narrowScope(asked, 'openid email'), { name: 'OAuthError', code: 'invalid_scope', statusCode: 400, message: 'scope must be within the scopes that were granted' }, `"${asked}"`)
  }
})

t.test('scopes have words for people, and those that Seed does not know are named as such', async (t) => {
  t.equal(new Set(['openid', 'profile', 'email', 'groups', 'offline_access'].map((scope) => {
    const words = describeScope(scope)
    t.notMatch(words, 'permission', scope)
    return words
  })).size, 5)
  t.equal(describeScope('mcp:read'), 'Use the permission "mcp:read"')
  for (const inherited of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) t.equal(describeScope(inherited), `Use the permission "${inherited}"`)
})
