import t from 'tap'
import { createClients } from '../../../src/oauth/clients/clients.ts'
import { createRegistrations } from '../../../src/oauth/clients/registrations.ts'
import { createKeyring } from '../../../src/crypto/keyring.ts'
import { createMemoryStore } from '../../../src/store/memory.ts'

t.test('what is nearly a URL, or cannot be read by people, is no client id', async (t) => {
  const store = createMemoryStore()
  t.teardown(async () => { await store.close() })
  const clients = createClients({
    registrations: createRegistrations({ store, ttlSeconds: 60, findKeyring: async () => createKeyring('x', undefined) }),
    configured: [],
    documents: { find: async () => { throw new Error('not asked') }, findCached: () => undefined },
    redirectUriSchemes: []
  })
  for (const id of [
    'https:/claude.ai/oauth/x',
    'https:claude.ai',
    'https:\\\\claude.ai\\x',
    'http://claude.ai/',
    'claude.ai/oauth',
    'a:b',
    'https\uff1a\u2215\u2215claude.ai',
    'Claude Code',
    'Claude\u00a0Code',
    'caf\u00e9',
    'a\nb',
    'a\0b',
    '\u2714',
    '',
    'x'.repeat(257)
  ]) {
    await t.rejects(clients.find(id, '192.0.2.1'), { code: 'invalid_client' }, JSON.stringify(id))
    await t.rejects(clients.findWithoutFetch(id), { code: 'invalid_client' }, JSON.stringify(id))
  }
  for (const id of ['claude-code', 'x'.repeat(256), '!~']) t.match(await clients.find(id, '192.0.2.1'), { id })
})

t.test('a configured client with an unacceptable redirect URI fails the start and is named', async (t) => {
  const store = createMemoryStore()
  t.teardown(async () => { await store.close() })
  const configured = [{
    id: 'intranet',
    name: undefined,
    redirectUris: ['http://intranet.example/cb'],
    authMethod: 'none' as const,
    grantTypes: ['authorization_code'],
    secretHashes: [],
    jwks: undefined,
    jwksUri: undefined,
    service: undefined
  }]
  t.throws(() => createClients({
    registrations: createRegistrations({ store, ttlSeconds: 60, findKeyring: async () => createKeyring('x', undefined) }),
    configured,
    documents: { find: async () => { throw new Error('not asked') }, findCached: () => undefined },
    redirectUriSchemes: []
  }),
  { message: /^OAUTH_CLIENTS: client "intranet": A redirect URI must use https/ })
})
