import { createLocalJWKSet, jwtVerify } from 'jose'
import t from 'tap'
import { createKeyring } from '../../src/crypto/keyring.ts'
import { createCallerAssertions, isPassableClaim } from '../../src/tokens/caller-assertion.ts'
import { toPrincipal } from '../../src/tokens/principal.ts'
import { createSigningKeys } from '../../src/tokens/signing-keys.ts'

const [OLD, NEW] = ['the first SEED_SECRET, 44 characters in all..', 'the second SEED_SECRET, with 44 characters...']
const ISSUER = 'https://seed.example'
const AUDIENCE = 'https://tickets.example/mcp'

const signingKeys = createSigningKeys(createKeyring(OLD, undefined))
const issue = createCallerAssertions({ signingKeys, issuer: ISSUER })

function principal (claims: Record<string, unknown> = {}) {
  return toPrincipal({
    iss: ISSUER,
    sub: 'ada',
    exp: 2e9,
    client_id: 'editor',
    name: 'Ada',
    email: 'ada@example.com',
    groups: ['a', 'b'],
    department: 'x',
    grant: 'g1',
    ...claims
  }, { groupsClaim: 'groups', groupPaths: false, areOwn: true })
}

async function verify (assertion: string, keys = signingKeys) {
  return await jwtVerify(assertion, createLocalJWKSet(keys.published()), {
    issuer: ISSUER, audience: AUDIENCE, typ: 'caller-assertion+jwt', algorithms: ['ES256']
  })
}

t.test('a server verifies who calls, by which client, for a minute', async (t) => {
  const { payload, protectedHeader } = await verify(issue(principal(), { audience: AUDIENCE }))
  t.match(protectedHeader, { alg: 'ES256', typ: 'caller-assertion+jwt', kid: signingKeys.current().kid })
  t.match(payload, {
    iss: ISSUER,
    sub: 'ada',
    sub_id: { format: 'iss_sub', iss: ISSUER, sub: 'ada' },
    aud: AUDIENCE,
    client_id: 'editor',
    seed_principal_kind: 'person',
    jti: /^[\w-]{22}$/
  })
  t.equal(payload.exp! - payload.iat!, 60)
  t.same(Object.keys(payload).sort(),
    ['aud', 'client_id', 'exp', 'iat', 'iss', 'jti', 'seed_principal_kind', 'sub', 'sub_id'], 'nothing that was not asked for')
  const { payload: { jti } } = await verify(issue(principal(), { audience: AUDIENCE }))
  t.not(jti, payload.jti)
})

t.test('an assertion is refused by another server, and when its minute is over', async (t) => {
  await t.rejects(verify(issue(principal(), { audience: 'https://other.example/mcp' })), /unexpected "aud"/)
  const early = createCallerAssertions({ signingKeys, issuer: ISSUER, now: () => Date.now() - 61_000 })
  await t.rejects(verify(early(principal(), { audience: AUDIENCE })), { code: 'ERR_JWT_EXPIRED' })
})

t.test('claims that the operator names are in it where they are known, and none of Seed\'s own is replaced', async (t) => {
  const claims = ['name', 'email', 'groups', 'department', 'unknown', 'sub', 'exp', 'grant', '__proto__']
  const { payload } = await verify(issue(principal({ sub: 'ada' }), { audience: AUDIENCE, claims }))
  t.match(payload, { sub: 'ada', name: 'Ada', email: 'ada@example.com', groups: ['a', 'b'], department: 'x' })
  t.notOk('unknown' in payload || 'grant' in payload)
  t.equal(payload.exp! - payload.iat!, 60)
  const { payload: without } = await verify(issue(principal({ name: undefined, email: 7 }), { audience: AUDIENCE, claims: ['name', 'email'] }))
  t.notOk('name' in without || 'email' in without)
  for (const name of ['iss', 'sub', 'aud', 'client_id', 'cnf', 'act', 'seed_principal_kind']) t.notOk(isPassableClaim(name), name)
  t.ok(isPassableClaim('auth_time'))
})

t.test('a service of another issuer is told apart from a person with the same sub, and Seed from both', async (t) => {
  const service = { ...principal(), kind: 'service' as const, issuer: 'https://issuer.example' }
  t.match((await verify(issue(service, { audience: AUDIENCE }))).payload, {
    sub: 'ada', seed_principal_kind: 'service', sub_id: { iss: 'https://issuer.example', sub: 'ada' }
  })
  const { payload } = await verify(issue(undefined, { audience: AUDIENCE, claims: ['email'] }))
  t.match(payload, { sub: ISSUER, seed_principal_kind: 'service', sub_id: { iss: ISSUER, sub: ISSUER } })
  t.notOk('client_id' in payload || 'email' in payload)
})

t.test('assertions of before SEED_SECRET was changed verify with SEED_SECRET_PREVIOUS', async (t) => {
  const assertion = issue(principal(), { audience: AUDIENCE })
  await verify(assertion, createSigningKeys(createKeyring(NEW, OLD)))
  await t.rejects(verify(assertion, createSigningKeys(createKeyring(NEW, undefined))), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
})
