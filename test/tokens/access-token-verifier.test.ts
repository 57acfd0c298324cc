import { createHmac, createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import type { JsonWebKey, KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider } from '../../dev/provider.ts'
import { readConfig } from '../../plugins/config.ts'
import { ConfigError } from '../../src/config/problem.ts'
import { readBearerToken } from '../../src/http/bearer.ts'
import { PING as SEED_PING, ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/**
 * Good and hostile tokens, over HTTP against a running Seed.
 *
 * The provider publishes keys of this test next to its own: with their private keys any token can be crafted.
 */
const EC = keyPair('ec', { namedCurve: 'P-256' }, 'own-ec')
const P384 = keyPair('ec', { namedCurve: 'P-384' }, 'own-p384')
const RSA = keyPair('rsa', { modulusLength: 2048 }, 'own-rsa')
const ED = keyPair('ed25519', {}, 'own-ed')
const STRANGER = keyPair('ec', { namedCurve: 'P-256' }, 'stranger')
const SECRET = Buffer.from('a secret that the provider has put into its key set')

let ahead = 0
const realNow = performance.now.bind(performance)
t.intercept(performance, 'now', { value: () => realNow() + ahead })

let provider: DevProvider
let seed: TestSeed
let good: string
let providerKey: JsonWebKey & { kid: string }
/** A server that must get no connection. */
let canary: { url: string, connections: number }

t.before(async () => {
  provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(provider.close)
  const { keys } = await (await fetch(`${provider.issuer}/jwks`)).json() as { keys: Array<typeof providerKey> }
  providerKey = keys[0]!
  const oct = { kty: 'oct', k: SECRET.toString('base64url'), use: 'sig' }
  provider.setFault('/jwks', {
    status: 200,
    json: {
      keys: [
        { ...oct, kid: providerKey.kid, alg: 'HS256' },
        providerKey,
        EC.jwk,
        P384.jwk,
        RSA.jwk,
        ED.jwk,
        { ...oct, kid: 'oct' },
        { ...oct, kid: 'oct-posing', alg: 'ES256' }
      ]
    }
  })
  seed = await startSeed(t, { sharedProvider: provider })
  await ready(seed)
  good = await provider.mint()
  canary = await startCanary()
})

async function startCanary () {
  const server = createServer((_req, res) => {
    res.end(JSON.stringify({ keys: [STRANGER.jwk] }))
  }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  const state = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`, connections: 0 }
  server.on('connection', () => { state.connections++ })
  return state
}

interface Key { jwk: JsonWebKey & { kid: string }, privateKey: KeyObject }

function keyPair (type: string, options: object, kid: string): Key {
  const { publicKey, privateKey } = (
    generateKeyPairSync as (type: string, options: object) => { publicKey: KeyObject, privateKey: KeyObject }
  )(type, options)
  return { jwk: { ...publicKey.export({ format: 'jwk' }), kid }, privateKey }
}

/** Claims that Seed accepts, with some changed; undefined takes one out. */
function claimsWith (changes: Record<string, unknown> = {}): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1_000)
  return {
    iss: provider.issuer,
    aud: provider.clientId,
    sub: 'ada',
    client_id: provider.clientId,
    scope: 'openid',
    iat: now,
    exp: now + 300,
    jti: randomUUID(),
    ...changes
  }
}

/** A compact JWS of whatever header and payload; text is taken as it is. */
function craft (header: object | string = {}, payload: object | string = {}, key: Key = EC): string {
  const head =
    typeof header === 'string' ? header : JSON.stringify({ alg: 'ES256', kid: key.jwk.kid, typ: 'at+jwt', ...header })
  const body = typeof payload === 'string' ? payload : JSON.stringify(claimsWith(payload as Record<string, unknown>))
  const input = `${Buffer.from(head).toString('base64url')}.${Buffer.from(body).toString('base64url')}`
  return `${input}.${signatureOf(input, key)}`
}

function signatureOf (input: string, { privateKey }: Key): string {
  const hash = privateKey.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  return sign(hash, Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')
}

/** The parts of a token with the signature (or all) replaced. */
function withSignature (token: string, change: (signature: Buffer) => Buffer): string {
  const [header, payload, signature] = token.split('.')
  return `${header}.${payload}.${change(Buffer.from(signature!, 'base64url')).toString('base64url')}`
}

type Reason = 'missing_token' | 'invalid_format' | 'invalid_token' | 'invalid_claim' | 'invalid_request'

/** Checks that status, challenge and body of a refusal agree, and say nothing else. @returns the message */
async function isRefusal (t: Test, response: Response, reason: Reason, name: string): Promise<string> {
  const status = reason === 'invalid_request' ? 400 : 401
  const sent = await response.text()
  if (response.status !== status) {
    t.fail(`${name}: expected ${status}`, { status: response.status, sent })
    return ''
  }
  const body = JSON.parse(sent) as { error: { message: string } }
  const { message } = body.error
  const code = status === 400 ? 'invalid_request' : 'invalid_token'
  const reference = response.headers.get('x-request-id')
  const description = `${message.replaceAll('"', "'")} (reference ${reference})`
  const challenge = [
    ...(reason === 'missing_token' ? [] : [`error="${code}"`, `error_description="${description}"`]),
    'scope="openid profile email"',
    `resource_metadata="${seed.url}/.well-known/oauth-protected-resource/mcp"`
  ]
  t.strictSame({
    status: response.status,
    challenge: response.headers.get('www-authenticate'),
    caching: response.headers.get('cache-control'),
    body
  }, {
    status,
    challenge: `Bearer ${challenge.join(', ')}`,
    caching: 'no-store',
    body: { jsonrpc: '2.0', id: null, error: { code: -32001, message, data: { reason, reference } } }
  }, name)
  return message
}

type Rows = Array<[name: string, token: () => string | Promise<string>, reason: Reason]>

/**
 * Sends each token, then a good one, which must still do. Unknown keys are looked for every five seconds by Seed's
 * own clock, so that is put forward.
 */
async function refuses (t: Test, rows: Rows): Promise<void> {
  for (const [name, token, reason] of rows) {
    ahead += 5_000
    await isRefusal(t, await ping(seed.url, await token()), reason, name)
  }
  await accepts(t, [['a good token', () => provider.mint()]])
}

async function accepts (t: Test, rows: Array<[name: string, token: () => string | Promise<string>]>): Promise<void> {
  for (const [name, token] of rows) {
    const response = await ping(seed.url, await token())
    t.equal(response.status, 200, name)
    t.match(await response.json(), { id: 1, result: { content: [{ type: 'text' }] } })
  }
}

/** Runs what depends on the second again when the second has passed meanwhile. */
async function withinOneSecond (attempt: (now: number) => Promise<Response>): Promise<Response> {
  for (;;) {
    const now = Math.floor(Date.now() / 1_000)
    const response = await attempt(now)
    if (Math.floor(Date.now() / 1_000) === now) return response
    await response.body?.cancel()
    await sleep(1)
  }
}

/** Writes a request as it stands and reads the answer to its end. */
async function raw (headers: string[], { path = '/mcp', body = '' } = {}): Promise<Response> {
  const { host, port } = new URL(seed.url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.end(
    [
      `POST ${path} HTTP/1.1`,
      `Host: ${host}`,
      'Connection: close',
      `Content-Length: ${Buffer.byteLength(body)}`,
      ...headers,
      '',
      body
    ].join('\r\n')
  )
  const answer = await text(socket)
  const [head, ...rest] = answer.split('\r\n\r\n')
  const [status, ...lines] = head!.split('\r\n')
  return new Response(rest.join('\r\n\r\n'), {
    status: Number(status!.split(' ')[1]),
    headers: lines.map((line) => line.split(/: (.*)/, 2) as [string, string])
  })
}

const JSON_TYPE = 'Content-Type: application/json'
const PING = SEED_PING.body
const PING_HEADERS = Object.entries(SEED_PING.headers).map(([name, value]) => `${name}: ${value}`)

t.test('accepts tokens of each algorithm that is configured', async (t) => {
  await accepts(t, [
    ['the provider’s', () => good],
    ['ES256', () => craft()],
    ['RS256', () => craft({ alg: 'RS256' }, {}, RSA)],
    ['PS256', () => provider.mint({}, { alg: 'PS256', kid: RSA.jwk.kid }, RSA.privateKey)],
    ['EdDSA', () => craft({ alg: 'EdDSA' }, {}, ED)]
  ])
  const line = await seed.logged(({ msg }) => msg === 'User context')
  t.match(line, { status: 200, user: { subject: 'ada', clientId: provider.clientId } })
})

t.test('refuses a token that is not signed', async (t) => {
  const unsigned = (alg: unknown) => () => withSignature(craft({ alg }), () => Buffer.alloc(0))
  await refuses(t, [
    ...['none', 'None', 'NONE', 'nOnE', '', null, undefined, 0, ['none'], { none: 1 }].map((alg): Rows[number] => [
      `alg ${JSON.stringify(alg)}, no signature`,
      unsigned(alg),
      'invalid_token'
    ]),
    ['alg none, good signature', () => craft({ alg: 'none' }), 'invalid_token']
  ])
})

t.test('refuses a token signed with the public key as an HMAC secret', async (t) => {
  const rows: Rows = []
  for (const [kid, jwk] of [[providerKey.kid, providerKey], [RSA.jwk.kid, RSA.jwk], [EC.jwk.kid, EC.jwk]] as const) {
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    const spki = key.export({ type: 'spki', format: 'pem' }).toString()
    const secrets: Record<string, string | Buffer> = {
      PEM: spki,
      'PEM without the last newline': spki.trim(),
      'PEM after a newline': `\n${spki}`,
      'PEM after a space': ` ${spki}`,
      'PEM with CRLF': spki.replaceAll('\n', '\r\n'),
      DER: key.export({ type: 'spki', format: 'der' }),
      'JWK text': JSON.stringify(jwk),
      ...(key.asymmetricKeyType === 'rsa' && {
        'PKCS1 PEM': key.export({ type: 'pkcs1', format: 'pem' }).toString(),
        'PKCS1 DER': key.export({ type: 'pkcs1', format: 'der' }),
        modulus: Buffer.from(jwk.n!, 'base64url')
      })
    }
    for (const [name, secret] of Object.entries(secrets)) {
      for (const bits of [256, 384, 512]) {
        rows.push([`HS${bits} with ${kid} as ${name}`, () => hmacToken(`HS${bits}`, kid, secret), 'invalid_token'])
      }
    }
  }
  await refuses(t, rows)
})

function hmacToken (alg: string, kid: string, secret: string | Buffer, algorithm = alg): string {
  const [header, payload] = craft({ alg: algorithm, kid }).split('.')
  return `${header}.${payload}.${createHmac(`sha${alg.slice(2)}`, secret)
    .update(`${header}.${payload}`)
    .digest('base64url')}`
}

t.test('refuses an algorithm that is not configured or does not fit the key', async (t) => {
  await refuses(t, [
    ['RS512, not configured', () => craft({ alg: 'RS512' }, {}, RSA), 'invalid_token'],
    ['es256 in lower case', () => craft({ alg: 'es256' }), 'invalid_token'],
    ['ES256 and a space', () => craft({ alg: 'ES256 ' }), 'invalid_token'],
    ['ES384, not configured', () => craft({ alg: 'ES384' }, {}, P384), 'invalid_token'],
    ['ES256 with a key of another curve', () => craft({}, {}, P384), 'invalid_token'],
    ['RS256 with a key for EdDSA', () => craft({ alg: 'RS256' }, {}, ED), 'invalid_token'],
    ['EdDSA with a key for RSA', () => craft({ alg: 'EdDSA' }, {}, RSA), 'invalid_token'],
    ['PS256 over a signature of RS256', () => craft({ alg: 'PS256' }, {}, RSA), 'invalid_token'],
    ['an algorithm for encryption', () => craft({ alg: 'RSA-OAEP' }, {}, RSA), 'invalid_token'],
    [
      'PBES2 with a count without end',
      () => craft({ alg: 'PBES2-HS256+A128KW', p2c: 2 ** 31, p2s: 'c2FsdA' }),
      'invalid_token'
    ],
    ['a name of every object', () => craft({ alg: 'constructor' }), 'invalid_token']
  ])
})

t.test('refuses a signature that does not belong to the token', async (t) => {
  const [header, payload] = good.split('.')
  await refuses(t, [
    [
      'a flipped bit',
      () =>
        withSignature(good, (signature) => {
          signature[0]! ^= 1
          return signature
        }),
      'invalid_token'
    ],
    ['cut', () => withSignature(good, (signature) => signature.subarray(0, -1)), 'invalid_token'],
    ['longer', () => withSignature(good, (signature) => Buffer.concat([signature, Buffer.alloc(1)])), 'invalid_token'],
    ['empty', () => withSignature(good, () => Buffer.alloc(0)), 'invalid_token'],
    ['all zero', () => withSignature(good, () => Buffer.alloc(64)), 'invalid_token'],
    ['of another token', async () => `${header}.${payload}.${(await provider.mint()).split('.')[2]}`, 'invalid_token'],
    [
      'over another payload',
      () => `${header}.${craft({}, { sub: 'bob' }).split('.')[1]}.${good.split('.')[2]}`,
      'invalid_token'
    ],
    [
      'DER instead of two numbers',
      () => {
        const [head, body] = craft().split('.')
        return `${head}.${body}.${sign('sha256', Buffer.from(`${head}.${body}`), EC.privateKey).toString('base64url')}`
      },
      'invalid_token'
    ],
    ['base64url of an impossible length', () => `${header}.${payload}.AAAAA`, 'invalid_token'],
    ["by another issuer's key, same kid", () => craft({ kid: providerKey.kid }, {}, STRANGER), 'invalid_token']
  ])
})

t.test('ignores symmetric keys in the key set', async (t) => {
  await refuses(t, [
    ['HS256 with the published secret', () => hmacToken('HS256', 'oct', SECRET), 'invalid_token'],
    [
      'HS256 under the kid that the public key has too',
      () => hmacToken('HS256', providerKey.kid, SECRET),
      'invalid_token'
    ],
    ['HMAC that says ES256', () => hmacToken('HS256', 'oct-posing', SECRET, 'ES256'), 'invalid_token'],
    [
      'HMAC that says ES256, kid of the public key',
      () => hmacToken('HS256', providerKey.kid, SECRET, 'ES256'),
      'invalid_token'
    ]
  ])
})

t.test('uses a kid as a name and nothing else', async (t) => {
  const unknown = [
    '../../dev/null',
    '/dev/null',
    "'; DROP TABLE keys; --",
    canary.url,
    '\0',
    `${EC.jwk.kid}\0`,
    ` ${EC.jwk.kid}`,
    EC.jwk.kid.toUpperCase(),
    '',
    '__proto__',
    'constructor',
    'k'.repeat(256),
    'oct'
  ]
  await refuses(t, [
    ...unknown.map((kid): Rows[number] => [
      `kid ${JSON.stringify(kid.slice(0, 30))}`,
      () => craft({ kid }),
      'invalid_token'
    ]),
    ['no kid, with several keys', () => craft({ kid: undefined }), 'invalid_token'],
    ...[1, { a: 1 }, [EC.jwk.kid], null, true].map((kid): Rows[number] => [
      `kid ${JSON.stringify(kid)}`,
      () => craft({ kid }),
      'invalid_token'
    ]),
    ['a kid of 257 characters', () => craft({ kid: 'k'.repeat(257) }), 'invalid_token']
  ])
  t.equal(canary.connections, 0)
  t.equal(
    (await ping(seed.url, craft({ kid: 'k'.repeat(100_000) }))).status,
    431,
    'one of 100 KB does not get past the header limit'
  )
})

t.test('ignores keys inside the header', async (t) => {
  const { jwk } = STRANGER
  await refuses(t, [
    ['jku', () => craft({ kid: EC.jwk.kid, jku: canary.url }, {}, STRANGER), 'invalid_token'],
    ['x5u', () => craft({ kid: EC.jwk.kid, x5u: canary.url }, {}, STRANGER), 'invalid_token'],
    ['jku with its own kid', () => craft({ jku: canary.url }, {}, STRANGER), 'invalid_token'],
    ['jwk', () => craft({ kid: EC.jwk.kid, jwk }, {}, STRANGER), 'invalid_token'],
    ['jwk with its own kid', () => craft({ jwk }, {}, STRANGER), 'invalid_token'],
    [
      'x5c',
      () => craft({ kid: EC.jwk.kid, x5c: [Buffer.from('certificate').toString('base64')] }, {}, STRANGER),
      'invalid_token'
    ]
  ])
  await accepts(t, [['and they do not matter in a good token', () => craft({ jku: canary.url, x5u: canary.url, jwk })]])
  t.equal(canary.connections, 0)
})

t.test('refuses critical header parameters', async (t) => {
  await refuses(
    t,
    [['x'], [], ['b64'], ['alg'], 'x', null, {}].map((crit): Rows[number] => [
      `crit ${JSON.stringify(crit)}`,
      () => craft({ crit, b64: false, x: 1 }),
      'invalid_token'
    ])
  )
})

t.test('refuses any issuer but its own', async (t) => {
  const { issuer } = provider
  await refuses(
    t,
    [
      undefined,
      '',
      `${issuer}/`,
      `${issuer}/other`,
      issuer.slice(0, -1),
      issuer.toUpperCase(),
      `${issuer} `,
      'https://id.example.com',
      [issuer],
      { issuer },
      null,
      1
    ].map((iss): Rows[number] => [`iss ${JSON.stringify(iss)}`, () => craft({}, { iss }), 'invalid_claim'])
  )
})

t.test('refuses any audience but its own', async (t) => {
  const { clientId } = provider
  const others = [
    undefined,
    '',
    [],
    'other',
    ['other'],
    [''],
    [[clientId]],
    seed.url,
    `${seed.url}/mcp`,
    `${clientId}/`,
    `${clientId}x`,
    clientId.slice(0, -1),
    clientId.toUpperCase(),
    ` ${clientId}`,
    `${clientId} other`,
    `other,${clientId}`,
    { [clientId]: 1 },
    null,
    1,
    'https://other-seed.example.com/mcp'
  ]
  await refuses(
    t,
    others.map((aud): Rows[number] => [`aud ${JSON.stringify(aud)}`, () => craft({}, { aud }), 'invalid_claim'])
  )
  await accepts(t, [
    ['one of several', () => craft({}, { aud: ['other', clientId] })],
    ['the only one of a list', () => craft({}, { aud: [clientId] })]
  ])
  t.equal(
    await isRefusal(t, await ping(seed.url, craft({}, { aud: 'account' })), 'invalid_claim', 'says so'),
    'The access token was not issued for this server'
  )
  const line = await seed.logged(({ reason }) => String(reason).includes('"account"'))
  t.match(
    line,
    { refused: 'invalid_claim', status: 401, reason: new RegExp(`^aud is "account", OIDC_AUDIENCE is "${clientId}"`) },
    'and the log says what to set'
  )
})

t.test('does not start without an audience', async (t) => {
  await t.rejects(readConfig({ environment: { OIDC_ISSUER: 'https://id.example.com' } }), {
    constructor: ConfigError,
    message: /OIDC_AUDIENCE is missing/
  })
})

t.test('refuses every other kind of token of the same issuer', async (t) => {
  const { issuer, clientId } = provider
  const event = 'http://schemas.openid.net/event/backchannel-logout'
  const row = (name: string, header: object, claims: object): Rows[number] => [
    name,
    () => craft(header, claims),
    'invalid_claim'
  ]
  const jwt = { typ: 'JWT' }
  await refuses(t, [
    row('ID token: nonce', jwt, { nonce: 'n' }),
    row('ID token of a refresh: no nonce, no at_hash, no scope', jwt, {
      scope: undefined, client_id: undefined, auth_time: 1, amr: ['pwd'], sid: 's'
    }),
    row('ID token: nonce, uid and azp', jwt, { nonce: 'n', uid: 'u', azp: clientId }),
    row('refresh token: token_use', jwt, { token_use: 'refresh' }),
    row('refresh token posing as at+jwt: token_use', {}, { token_use: 'refresh' }),
    row('ID token: nonce and azp', jwt, { nonce: 'n', azp: clientId }),
    row('ID token: nonce and uid', jwt, { nonce: 'n', uid: 'u' }),
    row('ID token: nonce, no header typ', { typ: undefined }, { nonce: 'n' }),
    row('ID token: at_hash', jwt, { at_hash: 'h' }),
    row('ID token: at_hash, posing as at+jwt', {}, { at_hash: 'h' }),
    row('ID token: at_hash, uid and azp', jwt, { at_hash: 'h', uid: 'u', azp: clientId }),
    row('ID token: c_hash', jwt, { c_hash: 'h' }),
    row('ID token of Keycloak', jwt, { typ: 'ID' }),
    row('refresh token of Keycloak', jwt, { typ: 'Refresh' }),
    row('offline token of Keycloak', jwt, { typ: 'Offline' }),
    row('logout token of Keycloak', jwt, { typ: 'Logout' }),
    row('DPoP-bound token of Keycloak', jwt, { typ: 'DPoP' }),
    row('payload typ of a wrong type', jwt, { typ: ['Bearer'] }),
    row('payload typ in another case', jwt, { typ: 'bearer' }),
    row('payload typ null', jwt, { typ: null }),
    row('refresh token posing as at+jwt', {}, { typ: 'Refresh' }),
    row('logout token: header typ', { typ: 'logout+jwt' }, {}),
    row('Cognito ID token: token_use', jwt, { token_use: 'id' }),
    row('logout token: events', jwt, { events: { [event]: {} } }),
    row('logout token: events, posing as at+jwt', {}, { events: {} }),
    row('security event token', { typ: 'secevent+jwt' }, {}),
    row('client assertion: iss equals sub', jwt, { sub: issuer }),
    row('client assertion, posing as at+jwt', {}, { sub: issuer }),
    row('DPoP proof', { typ: 'dpop+jwt' }, {}),
    row('introspection answer', { typ: 'token-introspection+jwt' }, {}),
    row('authorization request', { typ: 'oauth-authz-req+jwt' }, {}),
    row('identity assertion', { typ: 'oauth-id-jag+jwt' }, {}),
    row('header typ that only ends like one', { typ: 'xat+jwt' }, {}),
    row('header typ that only begins like one', { typ: 'at+jwt2' }, {}),
    row('header typ empty', { typ: '' }, {}),
    row('header typ of a wrong type', { typ: ['at+jwt'] }, {}),
    row('header typ null', { typ: null }, {})
  ])
})

t.test('accepts access tokens as providers make them', async (t) => {
  const { clientId } = provider
  await accepts(t, [
    ['RFC 9068', () => craft()],
    ['RFC 9068, whole media type', () => craft({ typ: 'application/at+jwt' })],
    ['RFC 9068, upper case', () => craft({ typ: 'AT+JWT' })],
    ['RFC 9068 with nonce and c_hash', () => craft({}, { nonce: 'n', c_hash: 'h' })],
    ['typ JWT', () => craft({ typ: 'JWT' })],
    ['typ jwt', () => craft({ typ: 'jwt' })],
    ['no typ', () => craft({ typ: undefined })],
    [
      'Keycloak',
      () =>
        craft({ typ: 'JWT' }, { typ: 'Bearer', azp: clientId, client_id: undefined, nonce: 'n', sid: 's', acr: '1' })
    ],
    ['Keycloak, lightweight', () => craft({ typ: 'JWT' }, { typ: 'Bearer', scope: undefined, client_id: undefined })],
    ['Auth0', () => craft({ typ: 'JWT' }, { client_id: undefined, azp: clientId, scope: 'openid offline_access' })],
    ['token_use access', () => craft({ typ: 'JWT' }, { token_use: 'access' })],
    ['payload typ JWT', () => craft({ typ: 'JWT' }, { typ: 'JWT' })],
    ['payload typ at+jwt', () => craft({ typ: 'JWT' }, { typ: 'at+jwt' })],
    [
      'Okta',
      () =>
        craft(
          { typ: undefined },
          { client_id: undefined, scope: undefined, cid: clientId, uid: 'u', scp: ['openid', 'mcp:read'], ver: 1 }
        )
    ],
    [
      'Entra',
      () =>
        craft({ typ: 'JWT' }, { client_id: undefined, scope: undefined, azp: clientId, scp: 'mcp.read', ver: '2.0' })
    ]
  ])
})

t.test("accepts authentik's access tokens, which are ID tokens with uid and azp, by its preset", async (t) => {
  const token = craft({ typ: 'JWT' }, {
    nonce: 'n',
    c_hash: 'h',
    uid: 'u',
    azp: provider.clientId,
    client_id: undefined,
    scope: undefined,
    acr: 'goauthentik.io/providers/oauth2/default',
    amr: ['pwd']
  })
  const authentik = await startSeed(t, { sharedProvider: provider, env: { OIDC_PROVIDER: 'authentik' } })
  await ready(authentik)
  t.equal((await ping(authentik.url, token)).status, 200)
  const idToken = craft({ typ: 'JWT' }, { nonce: 'n', azp: provider.clientId, client_id: undefined, scope: undefined })
  t.equal((await ping(authentik.url, idToken)).status, 401)
  await isRefusal(t, await ping(seed.url, token), 'invalid_claim', 'generic')
})

t.test('refuses a token outside its validity', async (t) => {
  const now = Math.floor(Date.now() / 1_000)
  const row = (name: string, claims: object, reason: Reason = 'invalid_claim'): Rows[number] => [
    name,
    () => craft({}, claims),
    reason
  ]
  await refuses(t, [
    row('expired 31 s ago', { exp: now - 31 }, 'invalid_token'),
    row('expired long ago', { exp: 1 }, 'invalid_token'),
    row('expired before it was issued', { exp: now - 60, iat: now }, 'invalid_token'),
    row('exp zero', { exp: 0 }, 'invalid_token'),
    row('exp negative', { exp: -1e9 }, 'invalid_token'),
    row('no exp', { exp: undefined }),
    ...[`${now + 300}`, null, [now + 300], {}, true, ''].map((exp) => row(`exp ${JSON.stringify(exp)}`, { exp })),
    row('exp in milliseconds', { exp: (now + 300) * 1_000 }),
    row('exp 1e308', { exp: 1e308 }),
    [
      'exp infinite',
      () => craft({}, JSON.stringify(claimsWith({ exp: 'EXP' })).replace('"EXP"', '1e999')),
      'invalid_claim'
    ],
    row('no iat', { iat: undefined }),
    ...[`${now}`, null, [now], {}, true].map((iat) => row(`iat ${JSON.stringify(iat)}`, { iat })),
    row('issued tomorrow', { iat: now + 86_400, exp: now + 86_700 }),
    row('iat in milliseconds', { iat: now * 1_000 }),
    row('iat long ago, lifetime above the cap', { iat: now + 300 - 86_401, exp: now + 300 }),
    row('iat negative', { iat: -1e9 }),
    row('valid for a year', { exp: now + 365 * 86_400 }),
    row('nbf tomorrow', { nbf: now + 86_400 }),
    ...[`${now}`, null, [now], {}].map((nbf) => row(`nbf ${JSON.stringify(nbf)}`, { nbf }))
  ])
})

t.test('allows clocks to differ by thirty seconds and no more', async (t) => {
  const send = (claims: (now: number) => object) =>
    withinOneSecond((now) => ping(seed.url, craft({}, { iat: now - 60, exp: now + 300, ...claims(now) })))
  for (const [name, claims] of [
    ['exp 29 s ago', (now: number) => ({ exp: now - 29 })],
    ['nbf in 29 s', (now: number) => ({ nbf: now + 29 })],
    ['iat in 29 s', (now: number) => ({ iat: now + 29 })],
    ['a lifetime of exactly the cap', (now: number) => ({ iat: now, exp: now + 86_400 })]
  ] as const) t.equal((await send(claims)).status, 200, name)
  for (const [name, claims, reason] of [
    ['exp 31 s ago', (now: number) => ({ exp: now - 31 }), 'invalid_token'],
    ['nbf in 31 s', (now: number) => ({ nbf: now + 31 }), 'invalid_claim'],
    ['iat in 31 s', (now: number) => ({ iat: now + 31 }), 'invalid_claim'],
    ['a lifetime one second above the cap', (now: number) => ({ iat: now, exp: now + 86_401 }), 'invalid_claim']
  ] as const) await isRefusal(t, await send(claims), reason, name)
  t.match(await seed.logged(({ reason }) => String(reason).includes('clock_skew_suspected')), {
    refused: 'invalid_claim'
  })
})

t.test('refuses a token without a subject', async (t) => {
  await refuses(
    t,
    [undefined, '', null, 7, 0, true, ['ada'], { name: 'ada' }].map((sub): Rows[number] => [
      `sub ${JSON.stringify(sub)}`,
      () => craft({}, { sub }),
      'invalid_claim'
    ])
  )
  for (const sub of ['a:b', 'a\nb', '*', 'a\0b', ' ', '__proto__', '\u202e']) {
    await accepts(t, [[`sub ${JSON.stringify(sub)} is a name like any other`, () => craft({}, { sub })]])
  }
})

t.test('refuses scopes of a wrong type', async (t) => {
  await refuses(t, [
    ...[['mcp:admin'], { 'mcp:admin': 1 }, 1, null, true].map((scope): Rows[number] => [
      `scope ${JSON.stringify(scope)}`,
      () => craft({}, { scope }),
      'invalid_claim'
    ]),
    ...[{ 'mcp:admin': 1 }, ['a', 1], 1, null].map((scp): Rows[number] => [
      `scp ${JSON.stringify(scp)}`,
      () => craft({}, { scp }),
      'invalid_claim'
    ])
  ])
  await accepts(t, [
    ['no scope', () => craft({}, { scope: undefined })],
    ['an empty scope', () => craft({}, { scope: '' })],
    ['scp only', () => craft({}, { scope: undefined, scp: ['openid'] })]
  ])
})

/** A good token of exactly so many characters. */
function tokenOfLength (length: number): string {
  for (let inHeader = 0; inHeader < 4; inHeader++) {
    const room = length - craft({ pad: 'p'.repeat(inHeader) }, { pad: '' }).length
    for (let inPayload = Math.floor(room * 3 / 4) - 4; inPayload < room; inPayload++) {
      const token = craft({ pad: 'p'.repeat(inHeader) }, { pad: 'p'.repeat(inPayload) })
      if (token.length === length) return token
      if (token.length > length) break
    }
  }
  throw new Error(`no token has ${length} characters`)
}

t.test('accepts tokens of up to 8 KiB', async (t) => {
  await accepts(t, [['7 KiB', () => tokenOfLength(7 * 1_024)], ['8 KiB', () => tokenOfLength(8_192)]])
  await refuses(t, [
    ['8 KiB and one character', () => tokenOfLength(8_193), 'invalid_format'],
    ['9 KiB', () => tokenOfLength(9 * 1_024), 'invalid_format']
  ])
  t.equal((await ping(seed.url, tokenOfLength(17 * 1_024))).status, 431, '17 KiB is above the limit of all headers')
  await accepts(t, [['a good token', () => provider.mint()]])
})

t.test('refuses strings that are not signed JWTs', async (t) => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const header = part({ alg: 'ES256', kid: EC.jwk.kid, typ: 'at+jwt' })
  const jwe = (head: object) => `${part(head)}.${part('key')}.${part('iv')}.${'A'.repeat(1_000)}.${part('tag')}`
  const [head, body, signature] = good.split('.')
  await refuses(t, [
    ['encrypted', () => jwe({ alg: 'RSA-OAEP-256', enc: 'A256GCM' }), 'invalid_format'],
    ['encrypted, compressed', () => jwe({ alg: 'dir', enc: 'A128GCM', zip: 'DEF' }), 'invalid_format'],
    [
      'encrypted with a password, 2^31 rounds',
      () => jwe({ alg: 'PBES2-HS256+A128KW', enc: 'A128CBC-HS256', p2c: 2 ** 31, p2s: 'c2FsdA' }),
      'invalid_format'
    ],
    ['opaque', () => randomUUID(), 'invalid_format'],
    ['one part', () => head!, 'invalid_format'],
    ['two parts', () => `${head}.${body}`, 'invalid_format'],
    ['four parts', () => `${good}.${signature}`, 'invalid_format'],
    ['a hundred parts', () => Array(100).fill('A').join('.'), 'invalid_format'],
    ['only dots', () => '..', 'invalid_format'],
    ['no header', () => `.${body}.${signature}`, 'invalid_format'],
    ['no payload', () => `${head}..${signature}`, 'invalid_format'],
    ['padded', () => `${good}=`, 'invalid_format'],
    ['base64 that is not base64url', () => `${head}.${body}.+/+/`, 'invalid_format'],
    ['header is no JSON', () => craft('not json', {}), 'invalid_format'],
    ['header is an array', () => craft('[]', {}), 'invalid_format'],
    ['header is null', () => craft('null', {}), 'invalid_format'],
    ['header is no UTF-8', () => `_w.${body}.${signature}`, 'invalid_format'],
    ['payload is no JSON', () => craft({}, 'not json'), 'invalid_format'],
    ['payload is an array', () => craft({}, '[]'), 'invalid_format'],
    ['payload is a string', () => craft({}, '"text"'), 'invalid_format'],
    ['payload is no UTF-8', () => `${header}._w.${signature}`, 'invalid_format'],
    ['payload of an impossible length', () => `${header}.AAAAA.${signature}`, 'invalid_format'],
    [
      'iss nested two thousand deep',
      () => craft({}, `{"iss":${'['.repeat(2_000)}${']'.repeat(2_000)}}`),
      'invalid_claim'
    ]
  ])
  await accepts(t, [
    [
      'a claim nested two thousand deep',
      () =>
        craft({}, JSON.stringify(claimsWith({ deep: 'DEEP' })).replace('"DEEP"', '['.repeat(2_000) + ']'.repeat(2_000)))
    ]
  ])
})

t.test('reads the token from the Authorization header and nowhere else', async (t) => {
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  for (const [name, path, headers, body] of [
    ['query', `/mcp?access_token=${good}`, {}, PING],
    ['form', '/mcp', form, `access_token=${good}`],
    ['JSON', '/mcp', {}, JSON.stringify({ access_token: good })],
    ['cookie', '/mcp', { cookie: `access_token=${good}` }, PING],
    ['another cookie', '/mcp', { cookie: `authorization=Bearer ${good}` }, PING],
    [
      'a header of another name',
      '/mcp',
      { 'x-access-token': good, 'proxy-authorization': `Bearer ${good}`, 'x-authorization': `Bearer ${good}` },
      PING
    ],
    [
      'a header that a careless proxy renames',
      '/mcp',
      { 'x-original-authorization': `Bearer ${good}`, 'x-forwarded-access-token': good },
      PING
    ]
  ] as const) {
    const response = await fetch(seed.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers },
      body
    })
    await isRefusal(t, response, 'missing_token', name)
  }
  for (const method of ['GET', 'DELETE']) {
    await isRefusal(t, await fetch(`${seed.url}/mcp`, { method }), 'missing_token', method)
    await isRefusal(
      t,
      await fetch(`${seed.url}/mcp`, {
        method,
        headers: { authorization: `Bearer ${withSignature(good, () => Buffer.alloc(64))}` }
      }),
      'invalid_token',
      method
    )
  }
  await accepts(t, [['a good token', () => good]])
})

t.test('refuses a request with two tokens', async (t) => {
  const authorization = `Authorization: Bearer ${good}`
  const common = [JSON_TYPE, 'Accept: application/json, text/event-stream', ...PING_HEADERS]
  for (const query of [
    `access_token=${good}`,
    'access_token=',
    'access_token',
    `a=b&access_token=${good}`,
    `access%5Ftoken=${good}`,
    `%61ccess_token=${good}`
  ]) {
    const response = await raw([...common, authorization], { path: `/mcp?${query}`, body: PING })
    t.equal(
      await isRefusal(t, response, 'invalid_request', `and ?${query.slice(0, 20)}`),
      'Send the access token once, in the Authorization header'
    )
  }
  const bad = `Authorization: Bearer ${withSignature(good, () => Buffer.alloc(64))}`
  for (const [name, headers] of [
    ['the same twice', [authorization, authorization]],
    ['good, bad', [authorization, bad]],
    ['bad, good', [bad, authorization]],
    [
      'apart, in other cases',
      [
        authorization.toUpperCase().replace(/: .*/, ': Basic YTpi'),
        JSON_TYPE,
        authorization.replace('Authorization', 'authorization')
      ]
    ],
    ['one empty', ['Authorization:', authorization]]
  ] as const) {
    const response = await raw([...common, ...headers], { body: PING })
    t.equal(await isRefusal(t, response, 'invalid_request', name), 'Send one Authorization header')
  }
  t.equal(
    (await raw([...common, authorization], { path: '/mcp?a=access_token&not_access_token=1', body: PING })).status,
    200,
    'a query that holds no token is none of ours'
  )
})

t.test('refuses an Authorization header that is not "Bearer" and one token', async (t) => {
  const common = [JSON_TYPE, 'Accept: application/json, text/event-stream', ...PING_HEADERS]
  for (const value of [
    '',
    'Bearer',
    'Bearer ',
    'Basic YTpi',
    'Token abc',
    `DPoP ${good}`,
    `Bearer${good}`,
    good,
    `Bearer\t${good}`,
    `Bearer ${good} ${good}`,
    `Bearer ${good} x`,
    `Bearer ${good},`,
    `Bearer ${good}, Bearer ${good}`,
    `Bearer "${good}"`,
    `Bearer token=${good}`,
    `Bearer ${good}é`,
    `Bearer: ${good}`,
    `Basic YTpi, Bearer ${good}`,
    `Bearer ${good}=x`,
    `Bearer =${good}`,
    `Bearer \t${good}`,
    `Bearer \u00a0${good}`
  ]) {
    const response = await raw([...common, `Authorization: ${value}`], { body: PING })
    // One word after the scheme is taken for a token; only spaces separate words (RFC 9110 section 11.4).
    const isOneWord = /^Bearer [^ ]+$/.test(value)
    t.equal(
      await isRefusal(t, response, 'invalid_format', value.replaceAll(good, '…')),
      isOneWord
        ? 'The access token is not a signed JWT'
        : 'The Authorization header must be "Bearer" and one access token'
    )
  }
  for (const value of [
    `Bearer ${good}`,
    `bearer ${good}`,
    `BEARER ${good}`,
    `Bearer   ${good}`,
    `  Bearer ${good}  `
  ]) {
    t.equal((await raw([...common, `Authorization: ${value}`], { body: PING })).status, 200, value.replace(good, '…'))
  }
})

t.test('none of these requests logged an error or a token', async (t) => {
  const atStart = /^(REDIS_URL is not set|OAUTH_MODE=proxy hands out)/
  t.strictSame(seed.logs.filter(({ level, msg }) => level >= 40 && !atStart.test(msg)), [])
  const log = JSON.stringify(seed.logs)
  t.notOk(log.includes(good.split('.')[1]!))
  t.notOk(log.includes(good.split('.')[2]!))
  t.equal(canary.connections, 0)
})

t.test('a request without a query has no second token', async (t) => {
  t.equal(readBearerToken({ rawHeaders: ['Authorization', 'Bearer abc='], url: undefined }), 'abc=')
})
