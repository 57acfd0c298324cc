import t from 'tap'
import { createKeyring } from '../../../src/crypto/keyring.ts'
import { createRegistrations } from '../../../src/oauth/clients/registrations.ts'
import { register } from '../../../src/oauth/endpoints/register.ts'
import { createMemoryStore } from '../../../src/store/memory.ts'

t.test('an unexpected error while a registration is counted is not taken for a limit', async (t) => {
  const store = createMemoryStore()
  t.teardown(async () => { await store.close() })
  const findKeyring = async () => createKeyring(undefined, undefined)
  const registrations = createRegistrations({ store, ttlSeconds: 60, findKeyring })
  await t.rejects(register({ redirect_uris: ['https://client.example/cb'] }, { registrations, redirectUriSchemes: [] }, {
    async countAddress () {},
    async countRecord () { throw new TypeError('a bug') }
  }), { message: 'a bug' })
})
