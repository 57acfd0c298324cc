import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { findPreset } from '../../../src/config/presets.ts'
import { createClients } from '../../../src/oauth/clients/clients.ts'
import { createRegistrations } from '../../../src/oauth/clients/registrations.ts'
import { createTokenClient } from '../../../src/provider/token-client.ts'
import { createMemoryStore } from '../../../src/store/memory.ts'

t.test('a configured client with a redirect URI that cannot be used stops the start, by name', async (t) => {
  const store = createMemoryStore()
  t.teardown(async () => { await store.close() })
  const configured = [{ id: 'intranet', name: undefined, redirectUris: ['http://intranet.example/cb'], authMethod: 'none' as const, secretHash: undefined, jwks: undefined }]
  t.throws(() => createClients({ registrations: createRegistrations(store, 60), configured, documents: { find: async () => { throw new Error('not asked') } }, redirectUriSchemes: [] }),
    { message: /^OAUTH_CLIENTS: client "intranet": A redirect URI must use https/ })
})

t.test('a key for the provider that is neither P-256 nor RSA says so in the log', async (t) => {
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
