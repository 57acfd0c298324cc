import t from 'tap'
import { createRegistrations } from '../../../src/oauth/clients/registrations.ts'
import type { ClientMetadata } from '../../../src/oauth/clients/registrations.ts'
import { createMemoryStore } from '../../../src/store/memory.ts'

const DAY = 86_400_000
const METADATA: ClientMetadata = {
  redirect_uris: ['https://client.example/cb'],
  client_name: 'A client',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
  application_type: 'web'
}

/** Registrations with a clock that the test moves. */
function setUp (ttlDays: number) {
  const state = { now: 1_800_000_000_000 }
  const store = createMemoryStore({ now: () => state.now })
  t.teardown(async () => { await store.close() })
  return { state, registrations: createRegistrations(store, ttlDays * 86_400, () => state.now) }
}

t.test('an unused client lives a day, however often it is looked up', async (t) => {
  const { state, registrations } = setUp(30)
  const client = await registrations.register(METADATA)
  t.same(client, { client_id: client.client_id, client_id_issued_at: 1_800_000_000, ...METADATA })
  for (const hours of [12, 11]) {
    state.now += hours * DAY / 24
    t.same(await registrations.find(client.client_id), client)
    t.same(await registrations.findByMetadata(METADATA), client)
  }
  state.now += DAY / 24
  t.equal(await registrations.find(client.client_id), undefined)
  t.equal(await registrations.findByMetadata(METADATA), undefined, 'and its id is not issued again')
})

t.test('every use of a client extends its life to DCR_CLIENT_TTL', async (t) => {
  const { state, registrations } = setUp(30)
  const client = await registrations.register(METADATA)
  state.now += DAY - 1
  await registrations.keepAlive(client.client_id)
  for (let month = 0; month < 3; month++) {
    state.now += 30 * DAY - 1
    t.same(await registrations.find(client.client_id), client)
    await registrations.keepAlive(client.client_id)
  }
  state.now += 30 * DAY
  t.equal(await registrations.find(client.client_id), undefined)
  await registrations.keepAlive(client.client_id)
  t.equal(await registrations.find(client.client_id), undefined, 'a use does not bring it back')
})

t.test('DCR_CLIENT_TTL may be shorter than a day', async (t) => {
  const { state, registrations } = setUp(0.5)
  const client = await registrations.register(METADATA)
  state.now += DAY / 2 - 1
  t.same(await registrations.find(client.client_id), client)
  state.now += 1
  t.equal(await registrations.find(client.client_id), undefined)
})

t.test('exactly the same metadata gets the same client while it lives', async (t) => {
  const { state, registrations } = setUp(30)
  const client = await registrations.register(METADATA)
  const reordered = Object.fromEntries(Object.entries(METADATA).reverse()) as ClientMetadata
  t.same(await registrations.findByMetadata(reordered), client, 'whatever order its members are in')
  for (const change of [
    { client_name: 'a client' },
    { redirect_uris: ['https://client.example/cb2'] },
    { application_type: 'native' },
    { scope: 'openid' }
  ] as const) {
    t.equal(
      await registrations.findByMetadata({ ...METADATA, ...change } as ClientMetadata),
      undefined,
      JSON.stringify(change)
    )
  }
  await registrations.keepAlive(client.client_id)
  state.now += 20 * DAY
  t.same(await registrations.findByMetadata(METADATA), client, 'one that is used is found longer than a day')
})
