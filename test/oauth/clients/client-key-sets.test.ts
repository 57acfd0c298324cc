import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import type { CryptoKey } from 'jose'
import t from 'tap'
import type { ConfiguredClient } from '../../../src/config/clients.ts'
import { createClientKeySets } from '../../../src/oauth/clients/client-key-sets.ts'
import { KeyNotFoundError } from '../../../src/provider/key-set.ts'
import { post, startBroker } from '../../support/broker.ts'
import { until } from '../../support/until.ts'

/** Shortest time between fetches that unknown keys force. */
const FORCED_REFRESH_MS = 100

/** A service whose keys are at a jwks_uri of its own: at first, while they change, and while its host is away. */

async function newKey (kid: string) {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  return { privateKey, jwk: { ...await exportJWK(publicKey), kid } }
}

t.test('the keys at a jwks_uri may change and may be away for a while', async (t) => {
  const [one, two, stranger] = await Promise.all(['one', 'two', 'three'].map(newKey))
  let answer: unknown
  const host = createServer((_request, response) => {
    response.writeHead(answer === undefined ? 503 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await once(host, 'listening')
  t.teardown(() => { host.close() })
  const { port } = host.address() as AddressInfo
  const service = {
    client_id: 'nightly', grant_types: ['client_credentials'], jwks_uri: `http://127.0.0.1:${port}/jwks`
  }
  const seed = await startBroker(t, {
    env: { OAUTH_CLIENTS: JSON.stringify([service]) }, timings: { forcedKeyRefreshMs: FORCED_REFRESH_MS }
  })
  const send = async ({ privateKey, jwk: { kid } }: { privateKey: CryptoKey, jwk: { kid: string } }) =>
    await post(`${seed.url}/oauth/token`, {
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: await new SignJWT({ iss: 'nightly', sub: 'nightly', aud: seed.url, jti: randomUUID() })
        .setProtectedHeader({ alg: 'ES256', kid }).setIssuedAt().setExpirationTime('1m').sign(privateKey)
    })

  const early = await send(one!)
  t.match(early, { statusCode: 503, json: { error: 'temporarily_unavailable' }, headers: { 'retry-after': String } })
  await seed.logged(({ event }) => event === 'client.keys_unavailable')

  answer = { keys: [one!.jwk] }
  await until(async () => (await send(one!)).statusCode === 200, 'the keys are fetched again')
  t.match(await seed.logged(({ event }) => event === 'client.keys_available'), { client: 'nightly' })

  answer = { keys: [one!.jwk, two!.jwk] }
  t.equal((await send(two!)).statusCode, 200, 'a new key is fetched when it is first used')
  t.match(await seed.logged(({ event }) => event === 'client.keys_changed'), { client: 'nightly', kids: ['one', 'two'] })
  t.equal((await send(one!)).statusCode, 200)

  const refused = await Promise.all(Array.from({ length: 20 }, async () => await send(stranger!)))
  for (const { statusCode, json } of refused) t.match({ statusCode, json }, { statusCode: 401, json: { error: 'invalid_client' } })

  answer = undefined
  await until(async () => (await send(stranger!)).statusCode === 503, 'its host is away')
  t.equal((await send(two!)).statusCode, 200, 'the keys that are known stay')
  const kept = await seed.logged(({ event, keysKept }) => event === 'client.keys_unavailable' && keysKept === 2)
  t.match(kept, { client: 'nightly' })
})

t.test('made-up key ids cause one fetch of a jwks_uri, however many there are, until forcedRefreshMs have passed', async (t) => {
  const { jwk } = await newKey('one')
  let fetches = 0
  const host = createServer((_request, response) => {
    fetches++
    response.end(JSON.stringify({ keys: [jwk] }))
  }).listen(0, '127.0.0.1')
  await once(host, 'listening')
  const ignore = (): void => {}
  let now = 0
  const keySets = createClientKeySets({
    configured: [{ id: 'nightly', jwksUri: `http://127.0.0.1:${(host.address() as AddressInfo).port}/` }] as ConfiguredClient[],
    log: { info: ignore, warn: ignore, error: ignore },
    forcedRefreshMs: 5_000,
    now: () => now
  })
  t.teardown(() => {
    keySets.close()
    host.close()
  })
  const getKey = keySets.keysOf({ id: 'nightly', jwks: undefined })
  const find = async (kid: string) => await getKey({ alg: 'ES256', kid }, { payload: '', signature: '' })
  keySets.start()
  await until(async () => await find('one').then(() => true, () => false), 'the keys are fetched')
  t.equal(fetches, 1)

  for (const expected of [2, 3]) {
    now += 5_000
    for (let round = 0; round < 2; round++) {
      const found = await Promise.all(Array.from({ length: 20 }, async () => await find('made up').catch((err: unknown) => err)))
      t.ok(found.every((err) => err instanceof KeyNotFoundError))
      t.equal(fetches, expected)
    }
  }
})
