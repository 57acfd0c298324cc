import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { findPreset } from '../../src/provider-presets/find-preset.ts'
import { createTokenClient } from '../../src/provider/token-client.ts'

t.test('an OIDC_CLIENT_KEY that is neither P-256 nor RSA is named in the log', async (t) => {
  const { privateKey } = generateKeyPairSync('ed25519')
  const upstream = createTokenClient({
    provider: () => ({ issuer: 'https://idp.example', tokenEndpoint: 'https://idp.example/token' }) as never,
    preset: findPreset('generic', ''),
    clientId: 'seed',
    clientSecret: undefined,
    clientKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    clientKeyId: undefined,
    clientAuth: undefined,
    assertionAudience: undefined,
    audience: '',
    scopes: [],
    log: { info () {}, warn () {} }
  })
  await t.rejects(upstream.requestTokens('refresh_token', {}), { code: 'server_error', detail: /OIDC_CLIENT_KEY/ })
})

t.test('a provider that lists no scopes is missing none of OIDC_SCOPES', async (t) => {
  const unlisted = (listed: string[] | undefined): string[] => createTokenClient({
    provider: () => ({ issuer: 'https://idp.example', scopes: listed }) as never,
    preset: findPreset('generic', ''),
    clientId: 'seed',
    clientSecret: undefined,
    clientKey: undefined,
    clientKeyId: undefined,
    clientAuth: undefined,
    assertionAudience: undefined,
    audience: '',
    scopes: ['openid', 'groups'],
    log: { info () {}, warn () {} }
  }).unlistedScopes()
  t.same(unlisted(undefined), [])
  t.same(unlisted(['openid']), ['groups'])
})

t.test("the scopes that a preset adds are sent if the provider's document lists them", async (t) => {
  const scopesOf = (preset: 'okta' | 'generic', listed: string[] | undefined): string[] => createTokenClient({
    provider: () => ({ issuer: 'https://idp.example', scopes: listed }) as never,
    preset: findPreset(preset, ''),
    clientId: 'seed',
    clientSecret: undefined,
    clientKey: undefined,
    clientKeyId: undefined,
    clientAuth: undefined,
    assertionAudience: undefined,
    audience: '',
    scopes: [],
    log: { info () {}, warn () {} }
  }).effectiveScopes(['openid'])
  t.same(scopesOf('okta', ['openid', 'groups']), ['openid', 'groups'])
  t.same(scopesOf('okta', ['openid']), ['openid'])
  t.same(scopesOf('generic', ['openid', 'groups']), ['openid'])
})
