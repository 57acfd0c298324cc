import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { findPreset } from '../../src/config/provider-presets.ts'
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
    audience: ''
  })
  await t.rejects(upstream.requestTokens('refresh_token', {}), { code: 'server_error', detail: /OIDC_CLIENT_KEY/ })
})
