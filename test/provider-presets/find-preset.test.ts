import t from 'tap'
import { PRESET_NAMES } from '../../src/provider-presets/preset.ts'
import { findPreset } from '../../src/provider-presets/find-preset.ts'
import { upstreamScopes } from '../../src/provider-presets/upstream-scopes.ts'

t.test('the issuer identifies the provider', async (t) => {
  for (const [issuer, name] of [
    ['https://accounts.google.com', 'google'],
    ['https://accounts.google.com/', 'google'],
    ['https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0', 'entra'],
    ['https://login.microsoftonline.com/common/v2.0', 'entra'],
    ['https://login.microsoftonline.us/tenant/v2.0', 'entra'],
    ['https://login.partner.microsoftonline.cn/tenant/v2.0', 'entra'],
    ['https://sts.windows.net/tenant/', 'entra'],
    ['https://acme.okta.com', 'okta'],
    ['https://acme.okta.com/oauth2/default', 'okta'],
    ['https://acme.oktapreview.com', 'okta'],
    ['https://acme.okta-emea.com/oauth2/aus1', 'okta'],
    ['https://acme.eu.auth0.com/', 'auth0'],
    ['https://keycloak.example.com/realms/acme', 'keycloak'],
    ['https://example.com/auth/realms/acme/', 'keycloak'],
    ['http://localhost:8080/realms/master', 'keycloak'],
    ['https://auth.example.com/application/o/seed/', 'authentik'],
    ['https://example.com/sso/application/o/seed', 'authentik']
  ] as const) t.equal(findPreset(undefined, issuer).name, name, issuer)
})

t.test('an issuer that only resembles a known one is generic', async (t) => {
  for (const issuer of [
    '', 'https://id.example.com', 'https://id.example.com/',
    'https://accounts.google.com.evil.example', 'https://accounts.google.com/x', 'http://accounts.google.com',
    'https://evil.example/https://accounts.google.com',
    'https://login.microsoftonline.com', 'https://login.microsoftonline.com.evil.example/t/v2.0', 'https://okta.com',
    'https://acme.okta.com.evil.example', 'https://evil.example/acme.okta.com/', 'https://acmeokta.com',
    'https://auth0.com/', 'https://acme.auth0.com.evil.example/', 'https://id.example.com/realms',
    'https://id.example.com/realms/', 'https://id.example.com/realms/a/b', 'https://id.example.com/application/o/',
    'https://id.example.com/application/x/seed/'
  ]) t.equal(findPreset(undefined, issuer).name, 'generic', issuer)
})

t.test('OIDC_PROVIDER takes precedence over the issuer', async (t) => {
  for (const name of PRESET_NAMES) {
    t.equal(findPreset(name, 'https://id.example.com').name, name)
    t.equal(findPreset(name, 'https://accounts.google.com').name, name)
  }
})

t.test('each preset differs from the standards where its provider does, and nowhere else', async (t) => {
  const { name, ...generic } = findPreset('generic', '')
  t.equal(name, 'generic')
  t.same(generic, {
    authorizationParameters: {},
    sendsAudience: false,
    unknownScopes: [],
    extraScopes: [],
    alwaysAllScopes: false,
    scopeAliases: {},
    groupsClaim: 'groups',
    groupPaths: false,
    trustsEmail: false,
    usesUserinfo: true,
    brokerOnly: undefined,
    delegation: 'token-exchange',
    needsCredential: false,
    issuesIdentityAssertions: false,
    accessTokenClaims: []
  })
  for (const [name, differences] of [
    ['google', {
      authorizationParameters: { access_type: 'offline', prompt: 'consent' },
      unknownScopes: ['offline_access'],
      scopeAliases: {
        'https://www.googleapis.com/auth/userinfo.email': 'email',
        'https://www.googleapis.com/auth/userinfo.profile': 'profile'
      },
      brokerOnly: 'its access tokens are opaque, and redirect URIs are fixed',
      needsCredential: true
    }],
    ['entra', { alwaysAllScopes: true, usesUserinfo: false, delegation: 'on-behalf-of' }],
    ['okta', { extraScopes: ['groups'], issuesIdentityAssertions: true }],
    ['auth0', { sendsAudience: true }],
    ['keycloak', { groupPaths: true }],
    ['authentik', { trustsEmail: true, accessTokenClaims: ['uid', 'azp'] }]
  ] as const) t.same(findPreset(name, ''), { ...generic, name, ...differences }, name)
})

t.test('a provider is asked for the scopes that it knows, each once', async (t) => {
  const wanted = ['openid', 'profile', 'offline_access']
  t.same(upstreamScopes(findPreset('generic', ''), wanted, undefined), wanted)
  t.same(
    upstreamScopes(findPreset('generic', ''), wanted, ['openid']),
    wanted,
    'what the operator lists is asked for, whatever the document says'
  )
  t.same(upstreamScopes(findPreset('generic', ''), ['openid', 'openid'], undefined), ['openid'])
  t.same(upstreamScopes(findPreset('google', ''), wanted, undefined), ['openid', 'profile'])
  t.same(upstreamScopes(findPreset('okta', ''), wanted, ['openid', 'groups']), [...wanted, 'groups'])
  t.same(upstreamScopes(findPreset('okta', ''), [...wanted, 'groups'], ['openid', 'groups']), [...wanted, 'groups'])
  t.same(
    upstreamScopes(findPreset('okta', ''), wanted, ['openid']),
    wanted,
    'an authorization server without groups refuses the scope'
  )
  t.same(upstreamScopes(findPreset('okta', ''), wanted, undefined), wanted)
})
