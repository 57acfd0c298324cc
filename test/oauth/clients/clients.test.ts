import t from 'tap'
import { createClients } from '../../../src/oauth/clients/clients.ts'
import { createRegistrations } from '../../../src/oauth/clients/registrations.ts'
import { createMemoryStore } from '../../../src/store/memory.ts'

t.test('a configured client with an unacceptable redirect URI fails the start and is named', async (t) => {
  const store = createMemoryStore()
  t.teardown(async () => { await store.close() })
  const configured = [{
    id: 'intranet',
    name: undefined,
    redirectUris: ['http://intranet.example/cb'],
    authMethod: 'none' as const,
    secretHash: undefined,
    jwks: undefined
  }]
  t.throws(() => createClients({
    registrations: createRegistrations(store, 60),
    configured,
    documents: { find: async () => { throw new Error('not asked') }, findCached: () => undefined },
    redirectUriSchemes: []
  }),
  { message: /^OAUTH_CLIENTS: client "intranet": A redirect URI must use https/ })
})
