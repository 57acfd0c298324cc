import { createHmac } from 'node:crypto'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import type { JWTPayload } from 'jose'
import t from 'tap'
import { IdTokenError, verifyIdToken, verifyUserinfo } from '../../src/provider/id-token.ts'
import type { IdTokenOptions } from '../../src/provider/id-token.ts'
import { KeyNotFoundError } from '../../src/provider/key-set.ts'
import { ProviderUnavailableError } from '../../src/provider/discovery.ts'

const ISSUER = 'https://id.example.com'
const NONCE = 'nonce-of-the-request'
const EXPECTED = { nonce: NONCE }
const now = () => Math.floor(Date.now() / 1_000)

const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
const stranger = await generateKeyPair('ES256')
const publicJwk = await exportJWK(publicKey)

const options: IdTokenOptions = {
  issuer: ISSUER,
  tenants: [],
  clientId: 'seed',
  algorithms: ['ES256', 'RS256'],
  clockSkewSeconds: 30,
  getKey: async ({ kid }) => {
    if (kid !== 'known') throw new KeyNotFoundError(`no key "${kid}" in the provider's key set`)
    return publicKey
  }
}

const good = (): JWTPayload => ({ iss: ISSUER, aud: 'seed', sub: 'ada', iat: now(), exp: now() + 300, nonce: NONCE })

/** Signs an ID token with changed claims; undefined removes one. */
async function mint (
  changes: Record<string, unknown> = {},
  { key = privateKey, header = {} }: { key?: CryptoKey, header?: object } = {}
): Promise<string> {
  return await new SignJWT(JSON.parse(JSON.stringify({ ...good(), ...changes })) as JWTPayload)
    .setProtectedHeader({ alg: 'ES256', kid: 'known', ...header })
    .sign(key as never)
}

/** Returns a token of these parts, with any signature. */
function craft (header: object, payload: object, signature = ''): string {
  const parts = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
  return [...parts, signature].join('.')
}

t.test('gives the claims of a good ID token', async (t) => {
  t.match(await verifyIdToken(await mint({ email: 'ada@example.com', groups: ['a'] }), options, EXPECTED), {
    iss: ISSUER,
    sub: 'ada',
    email: 'ada@example.com',
    groups: ['a']
  })
  for (const [about, changes] of [
    ['aud as an array', { aud: ['seed'] }],
    ['several audiences, and azp', { aud: ['other', 'seed'], azp: 'seed' }],
    ['azp beside one audience', { azp: 'seed' }],
    ['as late as the skew allows', { exp: now() - 20, iat: now() - 300 }],
    ['as early as the skew allows', { nbf: now() + 20 }]
  ] as const) t.equal((await verifyIdToken(await mint(changes), options, EXPECTED)).sub, 'ada', about)
})

t.test('refuses claims that do not belong to this sign-in', async (t) => {
  for (const [about, changes] of [
    ['another nonce', { nonce: 'another' }],
    ['no nonce', { nonce: undefined }],
    ['an empty nonce', { nonce: '' }],
    ['a nonce that is no string', { nonce: [NONCE] }],
    ['another audience', { aud: 'other' }],
    ['audiences without ours', { aud: ['other', 'seed2'] }],
    ['no audience', { aud: undefined }],
    ['an empty list', { aud: [] }],
    ['several audiences without azp', { aud: ['seed', 'other'] }],
    ['several audiences, and azp of another', { aud: ['seed', 'other'], azp: 'other' }],
    ['azp of another beside one audience', { azp: 'other' }],
    ['another issuer', { iss: 'https://evil.example' }],
    ['the issuer with a slash', { iss: `${ISSUER}/` }],
    ['no issuer', { iss: undefined }],
    ['no subject', { sub: undefined }],
    ['a subject that is no string', { sub: 7 }],
    ['an empty subject', { sub: '' }],
    ['expired', { exp: now() - 31, iat: now() - 300 }],
    ['no exp', { exp: undefined }],
    ['exp that is no number', { exp: '9999999999' }],
    ['no iat', { iat: undefined }],
    ['iat that is no number', { iat: 'now' }],
    ['not yet', { nbf: now() + 120 }]
  ] as const) { await t.rejects(verifyIdToken(await mint(changes), options, EXPECTED), IdTokenError, about) }
})

t.test('auth_time is a number, if it is there; how old it may be is for the sign-in to say', async (t) => {
  for (const authTime of [undefined, now() - 10_000, 0]) {
    t.equal((await verifyIdToken(await mint({ auth_time: authTime }), options, EXPECTED)).sub, 'ada')
  }
  for (const authTime of ['1', -1, null, true]) {
    const token = await mint({ auth_time: authTime })
    await t.rejects(verifyIdToken(token, options, EXPECTED), IdTokenError, String(authTime))
  }
})

t.test('the token of a refresh needs no nonce; all other checks hold', async (t) => {
  t.equal((await verifyIdToken(await mint({ nonce: undefined }), options)).sub, 'ada')
  for (const changes of [
    { aud: 'other' },
    { iss: 'https://evil.example' },
    { exp: now() - 31, iat: now() - 300 },
    { sub: undefined },
    { aud: ['seed', 'other'] }
  ]) {
    await t.rejects(
      verifyIdToken(await mint({ nonce: undefined, ...changes }), options),
      IdTokenError,
      JSON.stringify(changes)
    )
  }
})

t.test("accepts only signatures by the provider's keys", async (t) => {
  const token = await mint()
  const [header, payload, signature] = token.split('.') as [string, string, string]
  const signed = (head: object, secret: string) => {
    const text = craft(head, good()).slice(0, -1)
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
  }
  for (const [about, hostile, says] of [
    [
      'alg none',
      craft({ alg: 'none', kid: 'known' }, good()),
      /^signed with alg "none", which is never accepted: let the provider sign .+ with RS256 or ES256$/
    ],
    ['alg none with a signature', craft({ alg: 'none', kid: 'known' }, good(), signature), /^signed with alg "none"/],
    [
      'HS256 with the public key as secret',
      signed({ alg: 'HS256', kid: 'known' }, JSON.stringify(publicJwk)),
      /^signed with alg "HS256", which is never accepted: let the provider sign/
    ],
    [
      'an algorithm that is not listed',
      craft({ alg: 'ES384', kid: 'known' }, good(), signature),
      /^signed with alg "ES384"/
    ],
    [
      'an algorithm of another key',
      craft({ alg: 'RS256', kid: 'known' }, good(), signature),
      /^its signature is not valid/
    ],
    ['no algorithm', craft({ kid: 'known' }, good(), signature), /^(signed with alg undefined|it is not a signed JWT)/],
    ['a key of somebody else', await mint({}, { key: stranger.privateKey }), /^its signature is not valid/],
    [
      'an unknown key',
      await mint({}, { header: { kid: 'unknown' } }),
      /^its signature is not valid \(no key "unknown" in the provider's key set\)$/
    ],
    [
      'a key that the token brings along',
      await mint({}, { key: stranger.privateKey, header: { jwk: await exportJWK(stranger.publicKey) } }),
      /^its signature is not valid/
    ],
    [
      'a changed payload',
      `${header}.${Buffer.from(JSON.stringify({ ...good(), sub: 'eve' })).toString('base64url')}.${signature}`,
      /^its signature is not valid/
    ],
    ['no signature', `${header}.${payload}.`, /^its signature is not valid/],
    [
      'critical parameters',
      await mint({}, { header: { crit: ['exp'], exp: 1 } }).catch(() =>
        craft({ alg: 'ES256', kid: 'known', crit: ['x'], x: 1 }, good(), signature)
      ),
      /^its signature is not valid/
    ]
  ] as const) {
    const err: unknown = await verifyIdToken(hostile, options, EXPECTED).catch((err) => err)
    t.ok(err instanceof IdTokenError, about)
    t.match((err as Error).message, says, about)
  }
})

t.test('refuses strings that are not signed JWTs', async (t) => {
  for (const token of [
    '',
    'x',
    'a.b',
    'a.b.c',
    'a.b.c.d.e',
    `${Buffer.from('{}').toString('base64url')}..`,
    craft({ alg: 'ES256' }, []),
    `${craft({ alg: 'ES256' }, {}).split('.')[0]}.!!.x`
  ]) {
    await t.rejects(verifyIdToken(token, options, EXPECTED), IdTokenError, `"${token}"`)
  }
})

t.test('keys that are unavailable are not reported as a bad token', async (t) => {
  const unavailable = new ProviderUnavailableError('down')
  await t.rejects(
    verifyIdToken(
      await mint(),
      {
        ...options,
        getKey: async () => {
          throw unavailable
        }
      },
      EXPECTED
    ),
    unavailable
  )
})

t.test('with OIDC_TENANTS a token must name the issuer of its own tenant, which must be listed', async (t) => {
  const several = {
    ...options,
    issuer: 'https://login.microsoftonline.com/common/v2.0',
    tenants: ['tenant-a', 'tenant-b']
  }
  const of = (tenant: string) => `https://login.microsoftonline.com/${tenant}/v2.0`
  for (const tid of several.tenants) {
    t.equal((await verifyIdToken(await mint({ tid, iss: of(tid) }), several, EXPECTED)).iss, of(tid))
  }
  for (const [changes, says] of [
    [{ iss: of('tenant-c'), tid: 'tenant-c' }, 'its tid is not one of OIDC_TENANTS'],
    [{ iss: of('tenant-a') }, 'its tid is not one of OIDC_TENANTS'],
    [{ iss: of('tenant-c'), tid: 'tenant-a' }, /iss/],
    [{ iss: of('tenant-b'), tid: 'tenant-a' }, /iss/],
    [{ iss: of('common'), tid: 'tenant-a' }, /iss/],
    [{ iss: of('common'), tid: 'common' }, 'its tid is not one of OIDC_TENANTS']
  ] as const) {
    await t.rejects(
      verifyIdToken(await mint(changes), several, EXPECTED),
      { name: 'IdTokenError', message: says },
      JSON.stringify(changes)
    )
  }
})

t.test('signed userinfo may lack iss and aud; what is there must be right', async (t) => {
  const claims = { iss: undefined, aud: undefined, nonce: undefined }
  t.match(await verifyUserinfo(await mint(claims), options), { sub: 'ada' })
  t.match(await verifyUserinfo(await mint(), options), { sub: 'ada' })
  await t.rejects(verifyUserinfo(await mint({ aud: 'another' }), options), IdTokenError)
  await t.rejects(verifyUserinfo(await mint({ iss: 'https://evil.example' }), options), IdTokenError)
  const severalTenants = { ...options, issuer: `${ISSUER}/{tenantid}`, tenants: ['one'] }
  await t.rejects(verifyUserinfo(await mint({ tid: 'two' }), severalTenants), /OIDC_TENANTS/)
})
