import { SignJWT, createLocalJWKSet, jwtVerify } from 'jose'
import t from 'tap'
import { issueAccessToken } from '../../src/tokens/issue-access-token.ts'
import { GRANT_TYPE_CLAIM, KIND_CLAIM } from '../../src/tokens/principal.ts'
import { createSigningKeys } from '../../src/tokens/signing-keys.ts'
import { createKeyring } from '../../src/crypto/keyring.ts'
import { KeyNotFoundError } from '../../src/provider/key-set.ts'

/** The keys of Seed's access tokens, month after month. */
const [OLD, NEW] = ['the first SEED_SECRET, 44 characters in all..', 'the second SEED_SECRET, with 44 characters...']
const MONTH_MS = 30 * 86_400_000
const START = 700 * MONTH_MS + 1_000

function keysAt (now: number, secret = OLD, previous?: string) {
  return createSigningKeys(createKeyring(secret, previous), () => now)
}

const kids = (keys: ReturnType<typeof createSigningKeys>): string[] => keys.published().keys.map(({ kid }) => kid)

t.test('the same secret gives all replicas the same keys; another secret or month gives others', async (t) => {
  t.same(keysAt(START).published(), keysAt(START).published())
  t.equal(keysAt(START).current().kid, keysAt(START + MONTH_MS - 2_000).current().kid, 'all month long')
  t.not(keysAt(START).current().kid, keysAt(START + MONTH_MS).current().kid)
  t.same(kids(keysAt(START)).filter((kid) => kids(keysAt(START, NEW)).includes(kid)), [])
})

t.test('publishes three ES256 keys, the current one among them, and nothing private', async (t) => {
  const { keys } = keysAt(START).published()
  t.equal(keys.length, 3)
  for (const key of keys) {
    t.same(Object.keys(key).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    t.match(key, {
      alg: 'ES256',
      crv: 'P-256',
      kty: 'EC',
      use: 'sig',
      kid: /^[\w-]{43}$/,
      x: /^[\w-]{43}$/,
      y: /^[\w-]{43}$/
    })
  }
  t.equal(new Set(kids(keysAt(START))).size, 3)
  t.equal(keys[0]!.kid, keysAt(START).current().kid)
})

t.test('a token of the previous month still verifies, one of the month before does not', async (t) => {
  let now = START
  const keys = createSigningKeys(createKeyring(OLD, undefined), () => now)
  const { kid, privateKey } = keys.current()
  const token = await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'ES256', kid }).sign(privateKey)
  for (const months of [0, 1]) {
    now = START + months * MONTH_MS
    t.equal(
      (await jwtVerify(token, createLocalJWKSet(keys.published()))).payload.sub,
      'ada',
      `${months} months later, by the published set`
    )
    t.equal(
      (await jwtVerify(token, (header) => keys.getKey(header))).payload.sub,
      'ada',
      `${months} months later, by Seed itself`
    )
  }
  now = START + 2 * MONTH_MS
  t.throws(() => keys.getKey({ alg: 'ES256', kid }), KeyNotFoundError)
  t.notOk(kids(keys).includes(kid))
})

t.test('the next key is published a month before it signs', async (t) => {
  for (let month = 0; month < 14; month++) {
    const [now, next] = [keysAt(START + month * MONTH_MS), keysAt(START + (month + 1) * MONTH_MS)]
    t.ok(kids(now).includes(next.current().kid), `month ${month}`)
    t.ok(kids(next).includes(now.current().kid), `month ${month}, looking back`)
  }
})

t.test('after a change of SEED_SECRET its keys sign, and the previous ones still verify', async (t) => {
  const [before, during, after] = [keysAt(START), keysAt(START, NEW, OLD), keysAt(START, NEW)]
  t.equal(during.current().kid, after.current().kid)
  t.equal(during.published().keys.length, 6)
  t.ok(during.getKey({ alg: 'ES256', kid: before.current().kid }).equals(before.current().publicKey))
  t.throws(() => after.getKey({ alg: 'ES256', kid: before.current().kid }), {
    name: 'KeyNotFoundError',
    message: /SEED_SECRET_PREVIOUS/
  })
})

t.test('a header with no kid or an unknown one finds no key', async (t) => {
  const keys = keysAt(START)
  for (const kid of [undefined, '', 'x', '__proto__']) {
    t.throws(() => keys.getKey({ alg: 'ES256', ...(kid !== undefined && { kid }) }), KeyNotFoundError)
  }
})

const CONTENTS = {
  subject: 'ada',
  clientId: 'client',
  scope: 'openid',
  grantId: 'grant',
  resource: 'https://seed.example/mcp',
  authentication: undefined,
  kind: 'person',
  grantType: 'authorization_code'
} as const

t.test('an access token that would be too long for /mcp is not issued', async (t) => {
  const signingKeys = createSigningKeys(createKeyring(OLD, undefined))
  const mint = async (groups: string[]): Promise<string> => await issueAccessToken(
    { ...CONTENTS, identity: { groups } },
    { signingKeys, issuer: 'https://seed.example', ttlSeconds: 900 }
  )
  t.ok((await mint(['engineering'])).length < 1_000)
  const many = Array.from({ length: 400 }, (_, index) => `a-group-of-some-length-${index}`)
  await t.rejects(mint(many), {
    name: 'OAuthError',
    code: 'server_error',
    statusCode: 403,
    detail: /OIDC_GROUPS_CLAIM/
  })
})

t.test("claims about the person cannot override the token's own", async (t) => {
  const signingKeys = createSigningKeys(createKeyring(OLD, undefined))
  const token = await issueAccessToken(
    {
      ...CONTENTS,
      identity: {
        sub: 'bob',
        aud: 'elsewhere',
        scope: 'admin',
        grant: 'other',
        exp: 1,
        [KIND_CLAIM]: 'service',
        [GRANT_TYPE_CLAIM]: 'client_credentials'
      }
    },
    { signingKeys, issuer: 'https://seed.example', ttlSeconds: 900 }
  )
  const { payload } = await jwtVerify(token, createLocalJWKSet(signingKeys.published()), {
    issuer: 'https://seed.example',
    audience: 'https://seed.example/mcp'
  })
  t.match(payload, { sub: 'ada', scope: 'openid', grant: 'grant', client_id: 'client' })
  t.notOk(KIND_CLAIM in payload || GRANT_TYPE_CLAIM in payload)
})
