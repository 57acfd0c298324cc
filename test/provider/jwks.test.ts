import { generateKeyPairSync } from 'node:crypto'
import type { JsonWebKey, KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as settled } from 'node:timers/promises'
import type { CryptoKey, JWSHeaderParameters } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider, Fault } from '../../dev/provider.ts'
import { fetchJson } from '../../src/net/fetch.ts'
import { createJwks } from '../../src/provider/jwks.ts'
import { KeyNotFoundError } from '../../src/provider/key-set.ts'
import type { JwksOptions } from '../../src/provider/jwks.ts'
import { ProviderUnavailableError } from '../../src/provider/discovery.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

type Jwk = JsonWebKey & { kid?: string }

function generate (type: string, options: object): { jwk: Jwk, privateJwk: Jwk } {
  const { publicKey, privateKey } = (
    generateKeyPairSync as (type: string, options: object) => { publicKey: KeyObject, privateKey: KeyObject }
  )(type, options)
  return { jwk: publicKey.export({ format: 'jwk' }), privateJwk: privateKey.export({ format: 'jwk' }) }
}

const P256 = { namedCurve: 'P-256' }
const published = (kid: string): Jwk => ({ ...generate('ec', P256).jwk, kid, use: 'sig', alg: 'ES256' })
const [ONE, TWO, THREE] = [published('one'), published('two'), published('three')]
const RSA = generate('rsa', { modulusLength: 2048 })
const WEAK_RSA = generate('rsa', { modulusLength: 1024 }).jwk

// The cache keeps no process alive, and most of these tests hold nothing else that would.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => { clearInterval(alive) })

const ES256 = (kid?: string): JWSHeaderParameters => ({ alg: 'ES256', ...(kid !== undefined && { kid }) })

/** A key endpoint that the test controls: each fetch waits until it is answered. */
function createEndpoint () {
  interface PendingFetch {
    answer (...keys: unknown[]): void
    answerWith (document: Record<string, unknown>): void
    fail (reason: string): void
  }
  const pending: PendingFetch[] = []
  const takers: Array<(fetch: PendingFetch) => void> = []
  const endpoint = {
    fetches: 0,
    /** Answers every fetch at once, instead of `next`. */
    always: undefined as ((fetch: PendingFetch) => void) | undefined,
    /** Takes the next fetch, or the first that was not taken yet. */
    next: async (): Promise<PendingFetch> =>
      pending.shift() ?? await new Promise((resolve) => { takers.push(resolve) }),
    fetchJson: (async () => {
      endpoint.fetches++
      return await new Promise((resolve, reject) => {
        const fetch: PendingFetch = {
          answer: (...keys) => { resolve({ keys }) },
          answerWith: resolve,
          fail: (reason) => { reject(new Error(reason)) }
        }
        const taker = endpoint.always ?? takers.shift()
        if (taker === undefined) pending.push(fetch)
        else taker(fetch)
      })
    }) as typeof fetchJson
  }
  return endpoint
}

/** A key cache with 20 ms between forced refreshes, and none in the background. */
function createFixture (t: Test, options: Partial<JwksOptions> = {}) {
  const endpoint = createEndpoint()
  const state = {
    later: 0,
    changes: 0,
    lines: [] as Array<{ level: string, message: string, [name: string]: unknown }>
  }
  const log = (level: string) => (fields: object, message: string) => {
    state.lines.push({ level, message, ...fields })
  }
  const jwks = createJwks({
    jwksUri: () => 'https://id.example.com/jwks',
    fetchJson: endpoint.fetchJson,
    log: { info: log('info'), warn: log('warn'), error: log('error') },
    onChange: () => { state.changes++ },
    now: () => performance.now() + state.later,
    refreshMs: 600_000,
    forcedRefreshMs: 20,
    ...options
  })
  t.teardown(jwks.close)
  const get = async (kid?: string): Promise<CryptoKey> => await jwks.getKey(ES256(kid))
  return { jwks, get, endpoint, state }
}

/** A key cache with a first set of keys. */
async function createFixtureWith (t: Test, keys: unknown[], options: Partial<JwksOptions> = {}) {
  const fixture = createFixture(t, options)
  fixture.jwks.start()
  const first = await fixture.endpoint.next()
  first.answer(...keys)
  await settled()
  return fixture
}

/** Counts lookups by their outcome. */
async function tally (lookups: Array<Promise<unknown>>): Promise<Record<string, number>> {
  const ends: Record<string, number> = {}
  for (const lookup of await Promise.allSettled(lookups)) {
    const end = lookup.status === 'fulfilled' ? 'found' : (lookup.reason as Error).name
    ends[end] = (ends[end] ?? 0) + 1
  }
  return ends
}

const unavailable = (message: string | RegExp) => ({ name: 'ProviderUnavailableError', message })

t.test('has no keys until they have been fetched', async (t) => {
  const { jwks, get, endpoint } = createFixture(t)
  await t.rejects(get('one'), unavailable('the signing keys have not been fetched yet'))
  t.equal(jwks.problem(), 'the signing keys have not been fetched yet')
  t.equal(endpoint.fetches, 0, 'and a token does not make it fetch')
  jwks.start()
  jwks.start()
  const first = await endpoint.next()
  await t.rejects(get('one'), unavailable(/not been fetched yet/))
  first.answer(ONE)
  await settled()
  t.equal(jwks.problem(), undefined)
  t.match(await get('one'), { type: 'public' })
  t.equal(endpoint.fetches, 1)
})

t.test('waits for discovery without logging', async (t) => {
  let found = false
  const { jwks, endpoint, state, get } = createFixture(t, {
    jwksUri () {
      if (!found) throw new ProviderUnavailableError('discovery has not finished yet')
      return 'https://id.example.com/jwks'
    }
  })
  jwks.start()
  await settled()
  t.equal(jwks.problem(), 'discovery has not finished yet')
  await t.rejects(get('one'), unavailable('discovery has not finished yet'))
  found = true
  const fetched = await endpoint.next()
  fetched.answer(ONE)
  await settled()
  t.match(await get('one'), { type: 'public' })
  t.strictSame(state.lines, [])
})

t.test('refreshes in the background', async (t) => {
  const { endpoint, get, state } = await createFixtureWith(t, [ONE], { refreshMs: 10, forcedRefreshMs: 1e6 })
  const second = await endpoint.next()
  second.answer(ONE, TWO)
  await settled()
  t.match(await get('two'), { type: 'public' })
  t.match(state.lines, [{ level: 'info', message: "The provider's signing keys have changed", kids: ['one', 'two'] }])
  t.equal(state.changes, 1)
  const third = await endpoint.next()
  third.answer(ONE, TWO)
  await settled()
  t.equal(state.changes, 1, 'the same keys are no change')
})

t.test('an unknown key makes it fetch the keys, once for all tokens', async (t) => {
  const { endpoint, get, state } = await createFixtureWith(t, [ONE])
  const lookups = Array.from({ length: 20 }, () => get('two'))
  const fetched = await endpoint.next()
  t.match(await get('one'), { type: 'public' }, 'known keys do not wait')
  fetched.answer(TWO, ONE)
  const keys = await Promise.all(lookups)
  t.equal(new Set(keys).size, 1)
  t.equal(endpoint.fetches, 2)
  t.equal(state.changes, 1)
})

t.test('withdrawn keys are refused', async (t) => {
  const { endpoint, get, state } = await createFixtureWith(t, [ONE])
  const lookup = get('two')
  ;(await endpoint.next()).answer(TWO)
  await lookup
  t.equal(state.changes, 1)
  const withdrawn = get('one')
  ;(await endpoint.next()).answer(TWO)
  await t.rejects(withdrawn, { name: 'KeyNotFoundError', message: 'no key "one" in the provider\'s key set' })
})

t.test('a token that arrives during a fetch of older keys is not refused', async (t) => {
  const { endpoint, get } = await createFixtureWith(t, [ONE])
  const unknown = get('unknown')
  const older = await endpoint.next()
  const valid = get('two')
  older.answer(ONE)
  await t.rejects(unknown, KeyNotFoundError)
  const newer = await endpoint.next()
  newer.answer(ONE, TWO)
  t.match(await valid, { type: 'public' })
  t.equal(endpoint.fetches, 3)
})

t.test('a token that arrives during the fetch of its key needs no other fetch', async (t) => {
  const { endpoint, get } = await createFixtureWith(t, [ONE])
  const first = get('two')
  const fetched = await endpoint.next()
  const second = get('two')
  fetched.answer(ONE, TWO)
  await Promise.all([first, second])
  t.equal(endpoint.fetches, 2)
})

t.test('two quick rotations refuse no valid token in a flood of unknown keys', async (t) => {
  const { endpoint, get } = await createFixtureWith(t, [ONE])
  const flood: Array<Promise<Record<string, number>>> = []
  const gust = () => {
    flood.push(tally(Array.from({ length: 100 }, (_, index) => get(`random ${flood.length} ${index}`))))
  }
  let current = [ONE]
  const serve = async () => { (await endpoint.next()).answer(...current) }

  gust()
  const before = await endpoint.next()
  current = [TWO, ONE]
  gust()
  const second = get('two')
  before.answer(ONE)
  await serve()
  t.match(await second, { type: 'public' })

  gust()
  current = [THREE]
  const third = get('three')
  await serve()
  t.match(await third, { type: 'public' })
  t.strictSame(await Promise.all(flood), Array(3).fill({ KeyNotFoundError: 100 }))
  t.equal(endpoint.fetches, 4)
})

t.test('five hundred unknown keys cost one fetch', async (t) => {
  const { endpoint, get, state } = await createFixtureWith(t, [ONE], { forcedRefreshMs: 60_000 })
  const flood = tally(Array.from({ length: 500 }, (_, index) => get(`random ${index}`)))
  await settled()
  t.equal(endpoint.fetches, 1, 'the pause since the last fetch holds')
  t.match(await get('one'), { type: 'public' }, 'and known keys are served in it')
  state.later = 60_000
  const last = t.rejects(get('random'), KeyNotFoundError, 'the next one is looked up again')
  ;(await endpoint.next()).answer(ONE)
  await last
  t.strictSame(await flood, { KeyNotFoundError: 500 })
  t.equal(endpoint.fetches, 2)
})

t.test('an unknown key is refused at once for a while, then looked up again', async (t) => {
  const { endpoint, get, state } = await createFixtureWith(t, [ONE], { forcedRefreshMs: 60_000 })
  state.later = 60_000
  const refused = t.rejects(get('two'), KeyNotFoundError)
  ;(await endpoint.next()).answer(ONE)
  await refused
  await t.rejects(get('two'), KeyNotFoundError, 'without a fetch')
  t.equal(endpoint.fetches, 2)
  state.later = 180_000
  const found = get('two')
  ;(await endpoint.next()).answer(ONE, TWO)
  t.match(await found, { type: 'public' })
})

t.test('at most a thousand tokens wait for keys', async (t) => {
  const { endpoint, get, state } = await createFixtureWith(t, [ONE], { forcedRefreshMs: 60_000 })
  for (const [wave, later] of [[0, 60_000], [1, 120_001], [2, 180_002]] as const) {
    state.later = later
    const kids = Array.from({ length: 1_000 }, (_, index) => `wave ${wave} ${index}`)
    const waiting = tally(kids.map(get))
    await t.rejects(get('two'), unavailable('too many tokens with unknown keys are waiting for the key set'))
    t.match(await get('one'), { type: 'public' })
    ;(await endpoint.next()).answer(ONE)
    t.strictSame(await waiting, { KeyNotFoundError: 1_000 })
    t.strictSame(await tally(kids.map(get)), { KeyNotFoundError: 1_000 })
    t.equal(endpoint.fetches, 2 + wave, 'those that the set did not hold are refused without waiting, wave by wave')
  }
})

t.test('serves known keys through an outage, and logs it once', async (t) => {
  const { jwks, endpoint, get, state } = await createFixtureWith(t, [ONE])
  for (const reason of ['down', 'still down', 'hanging']) {
    endpoint.always = (fetch) => { fetch.fail(reason) }
    await t.rejects(get('two'), unavailable(reason), 'an unknown key cannot be looked up')
    t.match(await get('one'), { type: 'public' })
    t.equal(jwks.problem(), undefined, 'and it is no reason to take no requests')
  }
  const loss = {
    level: 'error',
    event: 'provider.keys_unavailable',
    message: "The provider's signing keys cannot be fetched; the last good ones stay in use",
    reason: 'down',
    keysKept: 1
  }
  t.strictSame(state.lines, [loss])

  endpoint.always = undefined
  const retried = await endpoint.next()
  retried.answer(ONE)
  await settled()
  t.strictSame(state.lines, [
    loss,
    {
      level: 'info',
      event: 'provider.keys_available',
      message: "The provider's signing keys can be fetched again",
      uri: 'https://id.example.com/jwks'
    }
  ])
  t.equal(state.changes, 0)

  const lookup = t.rejects(get('two'), unavailable('down again'))
  ;(await endpoint.next()).fail('down again')
  await lookup
  t.equal(state.lines.length, 3, 'the next outage is another')
})

t.test('logs that it has no keys when the first fetch fails', async (t) => {
  const { jwks, endpoint, get, state } = createFixture(t)
  jwks.start()
  const first = await endpoint.next()
  first.fail('down')
  await settled()
  t.match(state.lines, [{ level: 'error', reason: 'down', keysKept: 0, message: /there are no earlier ones/ }])
  t.equal(jwks.problem(), 'down')
  await t.rejects(get('one'), unavailable('down'))
  ;(await endpoint.next()).answer(ONE)
  await settled()
  t.match(await get('one'), { type: 'public' })
})

t.test('old keys are used for a bounded time', async (t) => {
  const { jwks, endpoint, get, state } = await createFixtureWith(t, [ONE], { staleMs: 86_400_000, forcedRefreshMs: 1 })
  state.later = 86_400_000 - 60_000
  t.match(await get('one'), { type: 'public' })
  t.equal(jwks.problem(), undefined)
  state.later = 86_400_001
  const reason = 'the signing keys are older than 24 hours (a refresh is due)'
  await t.rejects(get('one'), unavailable(reason))
  t.equal(jwks.problem(), reason)

  const lookup = t.rejects(get('two'), unavailable('down'))
  ;(await endpoint.next()).fail('down')
  await lookup
  await t.rejects(get('one'), unavailable('the signing keys are older than 24 hours (down)'))
  t.equal(jwks.problem(), 'the signing keys are older than 24 hours (down)')
  ;(await endpoint.next()).answer(ONE)
  await settled()
  t.match(await get('one'), { type: 'public' })
  t.equal(jwks.problem(), undefined)
})

t.test('accepts only public keys for signatures', async (t) => {
  const { n, e } = RSA.jwk
  const padded = Buffer.concat([Buffer.alloc(128), Buffer.from(WEAK_RSA.n!, 'base64url')]).toString('base64url')
  const p384 = generate('ec', { namedCurve: 'P-384' }).jwk
  const refused: Record<string, unknown> = {
    'symmetric, as the one of a JWK Set': { kty: 'oct', k: 'c2VjcmV0', use: 'sig', alg: 'HS256' },
    'symmetric, no use': { kty: 'oct', k: 'c2VjcmV0' },
    'for encryption': { ...RSA.jwk, use: 'enc' },
    'of another use': { ...ONE, use: 'tls' },
    'for operations of encryption': { ...RSA.jwk, key_ops: ['encrypt', 'wrapKey'] },
    'for operations in a wrong type': { ...ONE, key_ops: 'verify' },
    'RSA of 1,024 bits': WEAK_RSA,
    'RSA of 1,024 bits, padded with zeros': { ...WEAK_RSA, n: padded },
    'RSA with exponent 1': { kty: 'RSA', n, e: 'AQ' },
    'RSA without exponent': { kty: 'RSA', n },
    'RSA with a number for a modulus': { kty: 'RSA', n: 3, e },
    'RSA with an empty modulus': { kty: 'RSA', n: '', e },
    'a point that is not on the curve': { ...ONE, y: ONE.x },
    'half a point': { ...ONE, y: undefined },
    'a curve under another name': { ...p384, crv: 'P-256' },
    'P-192': { kty: 'EC', crv: 'P-192', x: 'AAAA', y: 'AAAA' },
    secp256k1: generate('ec', { namedCurve: 'secp256k1' }).jwk,
    'no curve': { ...ONE, crv: undefined },
    'for key agreement': generate('x25519', {}).jwk,
    'Ed25519 cut short': { kty: 'OKP', crv: 'Ed25519', x: 'AAAA' },
    'of an unknown type': { kty: 'new', x: 'AAAA' }
  }
  const keys = [
    ...Object.entries(refused).map(([kid, key]) => ({ ...(key as object), kid })),
    null,
    7,
    'key',
    [],
    {},
    { ...TWO, kid: 7 },
    ONE
  ]
  const { endpoint, jwks } = await createFixtureWith(t, keys)
  t.match(await jwks.getKey(ES256()), { type: 'public' }, 'one key is left, so that no kid is needed')
  const lookups = Object.keys(refused).map(async (kid) => {
    await t.rejects(jwks.getKey({ alg: 'RS256', kid }), KeyNotFoundError, kid)
  })
  const fetch = await endpoint.next()
  fetch.answer(...keys)
  await Promise.all(lookups)
})

t.test('accepts keys of every type that it can verify with', async (t) => {
  const keys: Array<[string, Jwk]> = [
    ['RS256', RSA.jwk],
    ['PS256', RSA.jwk],
    ['RS512', { ...RSA.jwk, key_ops: ['verify'] }],
    ['ES256', ONE],
    ['ES384', generate('ec', { namedCurve: 'P-384' }).jwk],
    ['ES512', generate('ec', { namedCurve: 'P-521' }).jwk],
    ['EdDSA', generate('ed25519', {}).jwk]
  ]
  const { jwks } = await createFixtureWith(t, keys.map(([kid, jwk]) => ({ ...jwk, kid })))
  for (const [alg] of keys) t.match(await jwks.getKey({ alg, kid: alg }), { type: 'public' }, alg)
  await t.rejects(jwks.getKey({ alg: 'ES384', kid: 'ES256' }), {
    name: 'KeyNotFoundError',
    message: 'no key "ES256" fits algorithm ES384'
  })
  await t.rejects(jwks.getKey({ alg: 'HS256', kid: 'ES256' }), KeyNotFoundError)
})

t.test('drops private members', async (t) => {
  const { jwks } = await createFixtureWith(t, [{ ...RSA.privateJwk, kid: 'rsa' }])
  t.match(await jwks.getKey({ alg: 'RS256', kid: 'rsa' }), { type: 'public', usages: ['verify'] })
})

t.test('of two keys with one kid the first is used', async (t) => {
  const { get } = await createFixtureWith(t, [ONE, { ...TWO, kid: 'one' }])
  const exported = await crypto.subtle.exportKey('jwk', await get('one'))
  t.equal(exported.x, ONE.x)
})

t.test('a token without a kid needs a set of one key', async (t) => {
  const { kid: _, ...nameless } = TWO
  for (const [name, keys, accepted] of [
    ['one key with a name', [ONE], true],
    ['one key without a name', [nameless], true],
    ['one key and one for encryption', [ONE, { ...RSA.jwk, kid: 'enc', use: 'enc' }], true],
    ['two keys', [ONE, TWO], false],
    ['two keys, one of them without a name', [ONE, nameless], false],
    ['two keys without names', [nameless, { ...nameless, x: THREE.x!, y: THREE.y! }], false],
    ['two keys of different kinds', [ONE, { ...RSA.jwk, kid: 'rsa' }], false]
  ] as const) {
    const { endpoint, get } = await createFixtureWith(t, [...keys])
    if (accepted) {
      t.match(await get(), { type: 'public' }, name)
      t.equal(endpoint.fetches, 1)
    } else {
      const refused = t.rejects(get(), KeyNotFoundError, name)
      ;(await endpoint.next()).answer(...keys)
      await refused
    }
  }
  const { endpoint, get } = await createFixtureWith(t, [nameless])
  const named = t.rejects(get('two'), KeyNotFoundError, 'a key without a name is not the one that a token names')
  ;(await endpoint.next()).answer(nameless)
  await named
})

t.test('reads at most a hundred keys', async (t) => {
  const keys = Array.from({ length: 101 }, (_, index) => ({ ...ONE, kid: `${index}` }))
  const { endpoint, get } = await createFixtureWith(t, keys)
  t.match(await get('99'), { type: 'public' })
  const refused = t.rejects(get('100'), KeyNotFoundError)
  ;(await endpoint.next()).answer(...keys)
  await refused
})

t.test('releases all waiting tokens when it is closed', async (t) => {
  const { jwks, endpoint, get } = await createFixtureWith(t, [ONE], { forcedRefreshMs: 60_000 })
  const waiting = t.rejects(get('two'), unavailable('the server is shutting down'))
  jwks.close()
  await waiting
  await t.rejects(get('two'), unavailable('the server is shutting down'))
  t.match(await get('one'), { type: 'public' })
  t.equal(endpoint.fetches, 1)
})

t.test('fetches nothing after it is closed', async (t) => {
  const { jwks, endpoint, get, state } = createFixture(t, { refreshMs: 1, forcedRefreshMs: 1 })
  const timers = t.capture(globalThis, 'setTimeout', setTimeout)
  jwks.start()
  const underWay = await endpoint.next()
  jwks.close()
  underWay.answer(ONE)
  await settled()
  t.strictSame(timers(), [], 'what was under way is not followed by another')
  t.match(await get('one'), { type: 'public' })
  t.strictSame(state.lines, [])
})

/** Responses that no provider should send. */
const broken: Record<string, RequestListener> = {
  'no object': (_req, res) => {
    res.end('[]')
  },
  'no keys': (_req, res) => {
    res.end('{}')
  },
  'keys that are no list': (_req, res) => {
    res.end('{"keys":{"length":1}}')
  },
  'an empty list': (_req, res) => {
    res.end('{"keys":[]}')
  },
  'symmetric keys only': (_req, res) => {
    res.end('{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"two"}]}')
  },
  'weak keys only': (_req, res) => {
    res.end(JSON.stringify({ keys: [{ ...WEAK_RSA, kid: 'two' }] }))
  },
  'keys cut off': (_req, res) => {
    res.end(JSON.stringify({ keys: [TWO] }).slice(0, -3))
  },
  'a connection cut off': (_req, res) => {
    res.writeHead(200, { 'content-length': '1000' }).write(JSON.stringify({ keys: [TWO] }), () => {
      res.destroy()
    })
  },
  'a status of 201': (_req, res) => {
    res.writeHead(201).end(JSON.stringify({ keys: [TWO] }))
  }
}

t.test('no bad response replaces good keys', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(provider.close)
  let respond: RequestListener = () => {}
  const server = createServer((req, res) => { respond(req, res) }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')

  let uri = `${provider.issuer}/jwks`
  let timeoutMs = 5_000
  const watchers: Array<(fetch: [Promise<unknown>]) => void> = []
  const { jwks, state } = createFixture(t, {
    jwksUri: () => uri,
    fetchJson (url) {
      const fetch = fetchJson(url, { timeoutMs })
      watchers.shift()?.([fetch])
      return fetch
    }
  })
  /** Settles as the next fetch does. */
  async function nextFetch (): Promise<void> {
    const [fetch] = await new Promise<[Promise<unknown>]>((resolve) => { watchers.push(resolve) })
    await fetch
  }
  const header = JSON.parse(
    Buffer.from((await provider.mint()).split('.')[0]!, 'base64url').toString()
  ) as JWSHeaderParameters
  const firstFetch = nextFetch()
  jwks.start()
  await firstFetch
  await settled()
  const key = await jwks.getKey(header)

  async function keepsKeys (t: Test, name: string) {
    await t.rejects(jwks.getKey(ES256(`${name} two`)), ProviderUnavailableError, name)
    t.equal(await jwks.getKey(header), key)
    t.equal(jwks.problem(), undefined)
  }

  const faults: Fault[] = [
    'down', 'hang', 'html', 'huge', 'redirect', 500, 404, 204,
    { slow: 5_000 }, { status: 200, json: null }, { status: 500, json: { keys: [TWO] } }
  ]
  timeoutMs = 100
  for (const fault of faults) {
    provider.setFault('/jwks', fault)
    await keepsKeys(t, JSON.stringify(fault))
  }
  t.equal(provider.hits()['/redirected'], undefined)
  uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
  for (const [name, listener] of Object.entries(broken)) {
    respond = listener
    await keepsKeys(t, name)
  }
  t.strictSame(state.lines.map(({ level }) => level), ['error'], 'one line for the whole time')
  t.equal(state.changes, 0)

  provider.setFault('/jwks', undefined)
  uri = `${provider.issuer}/jwks`
  timeoutMs = 5_000
  for (let stale = true; stale;) stale = await nextFetch().then(() => false, () => true)
  await settled()
  t.strictSame(state.lines.map(({ level }) => level), ['error', 'info'], 'and one when it is over')
})

// Over HTTP, with a short time between forced fetches.

const FORCED_REFRESH_MS = 200

interface Answer {
  status: number
  retryAfter: string | null
  body: { error?: { code: number, message: string, data?: { reason: string } } }
}

async function call (seed: TestSeed, token: string): Promise<Answer> {
  const response = await ping(seed.url, token)
  return {
    status: response.status,
    retryAfter: response.headers.get('retry-after'),
    body: (await response.json()) as Answer['body']
  }
}

const OK = { status: 200 }
const REFUSED = { status: 401, body: { error: { code: -32001, data: { reason: 'invalid_token' } } } }
const isRefused = ({ status, body }: Answer) =>
  status === 401 && body.error?.code === -32001 && body.error.data?.reason === 'invalid_token'
const TRY_LATER: Answer = {
  status: 503,
  retryAfter: '5',
  body: { error: { code: -32000, message: 'The identity provider cannot be reached; try again shortly' } }
}

const timings = { forcedKeyRefreshMs: FORCED_REFRESH_MS }

async function start (t: Test): Promise<{ seed: TestSeed, provider: DevProvider }> {
  const seed = await startSeed(t, { timings })
  await ready(seed)
  return { seed, provider: seed.provider }
}

const randomKid = async (provider: DevProvider, index: number) => await provider.mint({}, { kid: `random-${index}` })

t.test('keys older than a day: 503, and not ready', async (t) => {
  const { seed, provider } = await start(t)
  const [cached, unseen] = [await provider.mint(), await provider.mint()]
  t.match(await call(seed, cached), OK)
  const now = performance.now.bind(performance)
  t.intercept(performance, 'now', { value: () => now() + 86_400_001 })
  t.match(await call(seed, unseen), TRY_LATER)
  const health = await fetch(`${seed.url}/health/ready`)
  t.equal(health.status, 503)
  t.match(await health.json(), {
    parts: { keys: { status: 'failing', reason: /^the signing keys are older than 24 hours/ } }
  })
})

t.test('the provider adds a key: no valid token is refused', async (t) => {
  const { seed, provider } = await start(t)
  const old = await provider.mint()
  t.match(await call(seed, old), OK)
  await provider.rotateKeys()
  const tokens = [await provider.mint(), await provider.mint(), old]
  t.match(await Promise.all(tokens.map((token) => call(seed, token))), [OK, OK, OK])
})

t.test('the provider withdraws a key: only the new one is accepted, for cached tokens too', async (t) => {
  const { seed, provider } = await start(t)
  const [cached, unseen] = [await provider.mint(), await provider.mint()]
  t.match(await call(seed, cached), OK)
  await provider.rotateKeys({ keepOld: false })
  const current = await provider.mint()
  t.match(await call(seed, current), OK)
  t.match(await Promise.all([current, cached, unseen].map((token) => call(seed, token))), [OK, REFUSED, REFUSED])
  t.equal(seed.logs.filter(({ msg }) => msg === "The provider's signing keys have changed").length, 1)
})

t.test('two quick rotations in a flood of unknown keys refuse no valid token', async (t) => {
  const startedAt = performance.now()
  const { seed, provider } = await start(t)
  const flood = Promise.all(
    Array.from({ length: 200 }, async (_, index) => await call(seed, await randomKid(provider, index)))
  )
  await provider.rotateKeys()
  const first = call(seed, await provider.mint())
  await provider.rotateKeys()
  const second = call(seed, await provider.mint())
  t.match(await Promise.all([first, second]), [OK, OK])
  t.ok((await flood).every(isRefused))
  const hits = provider.hits()['/jwks']!
  const maxHits = 1 + Math.ceil((performance.now() - startedAt) / FORCED_REFRESH_MS)
  t.ok(hits <= maxHits, `${hits} fetches: at most one in ${FORCED_REFRESH_MS} ms`)
})

/** Holds requests for the key set back. @returns a function that lets them go */
function holdKeys (t: Test): () => void {
  const { fetch } = globalThis
  let release: () => void = () => {}
  const released = new Promise<void>((resolve) => { release = resolve })
  t.intercept(globalThis, 'fetch', {
    async value (...[url, init]: Parameters<typeof fetch>) {
      if (String(url).endsWith('/jwks')) await released
      return await fetch(url, init)
    }
  })
  return release
}

t.test('five hundred tokens with unknown keys cost at most two fetches, while good tokens are served', async (t) => {
  const { seed, provider } = await start(t)
  const tokens = await Promise.all(Array.from({ length: 500 }, (_, index) => randomKid(provider, index)))
  const before = provider.hits()['/jwks']!
  const releaseKeys = holdKeys(t)
  const flood = Promise.all(tokens.map((token) => call(seed, token)))
  for (let good = 0; good < 5; good++) t.match(await call(seed, await provider.mint()), OK)
  releaseKeys()
  t.ok((await flood).every(isRefused))
  t.ok(provider.hits()['/jwks']! - before <= 2)
})

t.test('the provider goes down: known keys are used, unknown ones get 503, and Seed stays ready', async (t) => {
  const { seed, provider } = await start(t)
  const cached = await provider.mint()
  t.match(await call(seed, cached), OK)
  const [unseen, unknown] = [await provider.mint(), await randomKid(provider, 1)]
  await provider.stop()
  const refused = call(seed, unknown)
  t.match(await Promise.all([call(seed, cached), call(seed, unseen)]), [OK, OK], 'while one waits')
  t.strictSame(
    await refused,
    { ...TRY_LATER, body: { jsonrpc: '2.0', id: null, ...TRY_LATER.body } },
    'not 401: the client would discard its token'
  )
  t.equal((await fetch(`${seed.url}/health/ready`)).status, 200)
  await provider.start()
  t.match(await call(seed, await randomKid(provider, 2)), REFUSED, 'it is back')
  t.equal(seed.logs.filter(({ level }) => level === 50).length, 1)
  t.match(await seed.logged(({ msg }) => msg === "The provider's signing keys can be fetched again"), { level: 30 })
})

t.test('503 before the first keys, and ready by itself when they come', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(provider.close)
  provider.setFault('/jwks', 500)
  const seed = await startSeed(t, { sharedProvider: provider, timings })
  await seed.logged(({ msg }) => msg.includes('signing keys cannot be fetched'))
  t.match(await call(seed, await provider.mint()), TRY_LATER)
  const health = await fetch(`${seed.url}/health/ready`)
  t.equal(health.status, 503)
  t.match(await health.json(), {
    parts: { provider: { status: 'ok' }, keys: { status: 'failing', reason: `${provider.issuer}/jwks answered 500` } }
  })
  const anonymous = await fetch(`${seed.url}/mcp`, { method: 'POST' })
  t.equal(anonymous.status, 401, 'a request without a token still gets the challenge')
  provider.setFault('/jwks', undefined)
  await ready(seed)
  t.match(await call(seed, await provider.mint()), OK)
})

t.test('the age of the keys is known once there are keys', async (t) => {
  t.equal(createFixture(t).jwks.loadedAt(), undefined)
  const { jwks } = await createFixtureWith(t, [ONE])
  t.type(jwks.loadedAt(), 'number')
})
