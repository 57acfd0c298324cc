import t from 'tap'
import { createKeyring } from '../../../src/crypto/keyring.ts'
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
  const options = { store, ttlSeconds: ttlDays * 86_400, now: () => state.now }
  /** As if Seed had been restarted with other secrets. */
  const withSecrets = (current: string, previous?: string) =>
    createRegistrations({ ...options, findKeyring: async () => createKeyring(current, previous) })
  return { state, store, withSecrets, registrations: withSecrets('a secret') }
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

t.test('a registration without a record is in its client id, for a day', async (t) => {
  const { state, store, registrations } = setUp(30)
  const client = (await registrations.registerWithoutRecord(METADATA))!
  t.same(client, { client_id: client.client_id, client_id_issued_at: 1_800_000_000, ...METADATA })
  t.equal(await store.get(`client:${client.client_id}`), undefined)
  state.now += DAY - 1_000
  t.same(await registrations.find(client.client_id), client)
  await registrations.keepAlive(client.client_id)
  t.equal(await store.get(`client:${client.client_id}`), undefined, 'whoever begins to sign in writes nothing')
  state.now += 1_000
  t.equal(await registrations.find(client.client_id), undefined)
})

t.test('once it gets tokens it has a record, which every use extends', async (t) => {
  const { state, registrations } = setUp(30)
  const client = (await registrations.registerWithoutRecord(METADATA))!
  for (let month = 0; month < 3; month++) {
    t.same(await registrations.find(client.client_id), client)
    await registrations.keepRecord(client.client_id)
    state.now += 30 * DAY - 1
  }
  t.same(await registrations.find(client.client_id), client)
  state.now += 1
  t.equal(await registrations.find(client.client_id), undefined)
})

t.test('it survives the rotation of SEED_SECRET, and with a record also the end of SEED_SECRET_PREVIOUS', async (t) => {
  const { registrations, withSecrets } = setUp(30)
  const used = (await registrations.registerWithoutRecord(METADATA))!
  const unused = (await registrations.registerWithoutRecord({ ...METADATA, client_name: 'Unused' }))!
  await registrations.keepRecord(used.client_id)
  const rotated = withSecrets('a new secret', 'a secret')
  for (const client of [used, unused]) t.same(await rotated.find(client.client_id), client)
  const later = withSecrets('a new secret')
  t.same(await later.find(used.client_id), used)
  t.equal(await later.find(unused.client_id), undefined)
})

t.test('a client id that was not issued here is unknown', async (t) => {
  const { registrations, withSecrets } = setUp(30)
  const { client_id: id } = (await registrations.registerWithoutRecord(METADATA))!
  const { client_id: foreign } = (await withSecrets('another secret').registerWithoutRecord(METADATA))!
  const [keyId, content, mac] = id.slice('seed-'.length).split('.') as [string, string, string]
  const evil = Buffer.from(JSON.stringify({
    ...METADATA, client_id_issued_at: 1_800_000_000, redirect_uris: ['https://evil.example/cb']
  })).toString('base64url')
  for (const other of [
    `seed-${keyId}.${evil}.${mac}`,
    `seed-${keyId}.${content}.${mac.split('').reverse().join('')}`,
    `seed-${keyId}.${content}.${mac.slice(1)}`,
    `seed-.${content}.${mac}`,
    foreign,
    `seed-${keyId}.e30.${createKeyring('a secret', undefined).mac(keyId, 'client-id:e30')!.slice(0, 22)}`
  ]) {
    t.equal(await registrations.find(other), undefined, other)
    await registrations.keepRecord(other)
    t.equal(await registrations.find(other), undefined, 'and its use does not make it known')
  }
})

t.test('metadata for a client id of more than 1,024 characters needs a record', async (t) => {
  const { registrations } = setUp(30)
  const long = { ...METADATA, redirect_uris: [`https://client.example/${'x'.repeat(700)}`] }
  t.equal(await registrations.registerWithoutRecord(long), undefined)
})
