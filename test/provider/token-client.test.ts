import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { findPreset } from '../../src/provider-presets/find-preset.ts'
import { createProviderContact } from '../../src/provider/contact.ts'
import { findUnlistedScopes } from '../../src/provider/metadata-problems.ts'
import { createTokenClient } from '../../src/provider/token-client.ts'
import type { TokenClient, TokenClientOptions } from '../../src/provider/token-client.ts'

/** A client of a provider whose document lists these scopes. */
function listing (scopes: string[] | undefined, options: Partial<TokenClientOptions>): TokenClient {
  return createTokenClient({
    provider: () => ({ issuer: 'https://idp.example', tokenEndpoint: 'https://idp.example/token', scopes }) as never,
    preset: findPreset('generic', ''),
    clientId: 'seed',
    contact: createProviderContact(),
    clientSecret: undefined,
    clientKey: undefined,
    clientKeyId: undefined,
    clientAuth: undefined,
    assertionAudience: undefined,
    audience: '',
    resource: undefined,
    scopes: [],
    pushesRequests: undefined,
    log: { info () {}, warn () {}, error () {} },
    ...options
  })
}

t.test('an OIDC_CLIENT_KEY that is neither P-256 nor RSA is named in the log', async (t) => {
  const { privateKey } = generateKeyPairSync('ed25519')
  const upstream = listing(undefined, { clientKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string })
  await t.rejects(upstream.requestTokens('refresh_token', {}), { code: 'server_error', detail: /OIDC_CLIENT_KEY/ })
})

t.test('a provider that lists no scopes is missing none of OIDC_SCOPES', async (t) => {
  const unlisted = (listed: string[] | undefined): string[] =>
    findUnlistedScopes({ scopes: listed }, { preset: findPreset('generic', ''), scopes: ['openid', 'groups'] })
  t.same(unlisted(undefined), [])
  t.same(unlisted(['openid']), ['groups'])
})

t.test("the scopes that a preset adds are sent if the provider's document lists them", async (t) => {
  const scopesOf = (preset: 'okta' | 'generic', listed: string[] | undefined): string[] =>
    listing(listed, { preset: findPreset(preset, '') }).effectiveScopes(['openid'])
  t.same(scopesOf('okta', ['openid', 'groups']), ['openid', 'groups'])
  t.same(scopesOf('okta', ['openid']), ['openid'])
  t.same(scopesOf('generic', ['openid', 'groups']), ['openid'])
})
