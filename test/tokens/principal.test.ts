import t from 'tap'
import { ClaimError, GRANT_TYPE_CLAIM, KIND_CLAIM, toPrincipal } from '../../src/tokens/principal.ts'

const BASE = { iss: 'https://id.example.com', sub: 'ada', exp: 1_800_000_000 }

const principalOf = (claims: Record<string, unknown>, groupsClaim = 'groups', groupPaths = false) =>
  toPrincipal({ ...BASE, ...claims }, { groupsClaim, groupPaths })
const keyOf = (claims: Record<string, unknown>) => principalOf(claims).key
const scopesOf = (claims: Record<string, unknown>) => [...principalOf(claims).scopes]

t.test('keeps issuer, subject, expiry and all claims unchanged', async (t) => {
  t.match(principalOf({ custom: { a: 1 } }), {
    issuer: BASE.iss,
    subject: 'ada',
    expiresAt: BASE.exp,
    clientId: undefined,
    name: undefined,
    email: undefined,
    groups: [],
    claims: { ...BASE, custom: { a: 1 } }
  })
})

t.test('finds the client in client_id, then azp, cid, appid', async (t) => {
  const all = { client_id: 'one', azp: 'two', cid: 'three', appid: 'four' }
  t.equal(principalOf(all).clientId, 'one')
  t.equal(principalOf({ ...all, client_id: undefined }).clientId, 'two')
  t.equal(principalOf({ cid: 'three', appid: 'four' }).clientId, 'three', 'Okta')
  t.equal(principalOf({ appid: 'four' }).clientId, 'four', 'Entra')
  t.equal(principalOf({ ...all, client_id: 7, azp: '' }).clientId, 'three', 'what is no name is passed over')
})

t.test('reads the name of the person', async (t) => {
  t.match(principalOf({ name: 'Ada', preferred_username: 'ada', email: 'ada@example.com' }), {
    name: 'Ada',
    email: 'ada@example.com'
  })
  t.equal(principalOf({ preferred_username: 'ada' }).name, 'ada')
  t.match(principalOf({ name: ['Ada'], email: { address: 'a' } }), { name: undefined, email: undefined })
})

t.test('reads scopes as exact members', async (t) => {
  const cases: Array<[Record<string, unknown>, string[]]> = [
    [{}, []],
    [{ scope: '' }, []],
    [{ scope: 'openid mcp:read' }, ['openid', 'mcp:read']],
    [{ scope: ' openid  openid ' }, ['openid']],
    [{ scope: 'xmcp:admin' }, ['xmcp:admin']],
    [{ scope: 'mcp:admin:read' }, ['mcp:admin:read']],
    [{ scope: 'mcp:admin,mcp:read' }, ['mcp:admin,mcp:read']],
    [{ scope: 'MCP:ADMIN' }, ['MCP:ADMIN']],
    [{ scope: 'a\tmcp:admin' }, ['a\tmcp:admin']],
    [{ scp: 'a b' }, ['a', 'b']],
    [{ scp: ['a', 'b', ''] }, ['a', 'b']],
    [{ scp: ['a mcp:admin'] }, ['a mcp:admin']],
    [{ scp: [] }, []],
    [{ scope: 'a', scp: ['b'] }, ['a', 'b']]
  ]
  for (const [claims, expected] of cases) {
    t.strictSame(scopesOf(claims), expected, JSON.stringify(claims))
    t.notOk(principalOf(claims).scopes.has('mcp:admin'))
  }
})

t.test('refuses scopes of a wrong type', async (t) => {
  for (const value of [['mcp:admin'], { 'mcp:admin': 1 }, 1, true, null]) {
    t.throws(() => principalOf({ scope: value }), new ClaimError('scope must be a string'), JSON.stringify(value))
  }
  for (const value of [{ 'mcp:admin': 1 }, ['a', 1], [['a']], 1, true, null]) {
    t.throws(
      () => principalOf({ scp: value }),
      new ClaimError('scp must be a string or an array of strings'),
      JSON.stringify(value)
    )
  }
})

t.test('finds groups by the exact name of the claim, otherwise by a path', async (t) => {
  t.strictSame(principalOf({ groups: ['a', 'b'] }).groups, ['a', 'b'])
  t.strictSame(principalOf({ realm_access: { roles: ['a'] } }, 'realm_access.roles').groups, ['a'], 'Keycloak')
  t.strictSame(
    principalOf({ 'https://example.com/groups': ['a'] }, 'https://example.com/groups').groups,
    ['a'],
    'Auth0'
  )
  t.strictSame(principalOf({ 'a.b': ['exact'], a: { b: ['path'] } }, 'a.b').groups, ['exact'])
  t.strictSame(principalOf({ a: { b: ['path'] } }, 'a.b').groups, ['path'])
})

t.test('drops the leading slash of groups if they are paths', async (t) => {
  t.strictSame(
    principalOf({ groups: ['/engineering', '/a/b', 'c', '//d'] }, 'groups', true).groups,
    ['engineering', 'a/b', 'c', '/d'],
    'Keycloak'
  )
  t.strictSame(principalOf({ groups: ['/engineering'] }).groups, ['/engineering'])
})

t.test('a string is one group, as LemonLDAP::NG sends the only group of a person', async (t) => {
  t.strictSame(principalOf({ groups: 'engineering' }).groups, ['engineering'])
  t.strictSame(principalOf({ groups: '/engineering, europe' }, 'groups', true).groups, ['engineering, europe'])
})

t.test('has no groups if the claim lists none', async (t) => {
  for (const groups of [undefined, null, '', 1, {}, [1], ['a', 1], { length: 1, 0: 'a' }]) {
    t.strictSame(principalOf({ groups }).groups, [], JSON.stringify(groups))
  }
  t.strictSame(principalOf({ a: 'text' }, 'a.b').groups, [])
  t.strictSame(principalOf({ a: null }, 'a.b').groups, [])
  t.strictSame(principalOf({ a: {} }, 'a.constructor.name').groups, [], 'inherited members are no claims')
})

t.test('has one key for one issuer, subject and client', async (t) => {
  const key = keyOf({ client_id: 'c' })
  t.match(key, /^[\w-]{43}$/)
  t.equal(
    keyOf({ client_id: 'c', jti: 'other', exp: 1, scope: 'a', name: 'b' }),
    key,
    'a refreshed token is still the same caller'
  )
  t.equal(keyOf({ azp: 'c' }), key)
})

t.test('has one key for a person, whatever their client is', (t) => {
  const { personKey } = principalOf({ client_id: 'c' })
  t.match(personKey, /^[\w-]{43}$/)
  for (const claims of [{ client_id: 'another' }, {}, { azp: 'c', jti: 'other' }]) {
    t.equal(principalOf(claims).personKey, personKey)
  }
  for (const claims of [{ sub: 'bob' }, { iss: 'https://other.example' }, { iss: 'https://id.example.coma', sub: 'da' }]) {
    t.not(principalOf(claims).personKey, personKey)
  }
  t.end()
})

t.test("no choice of issuer, subject or client yields another principal's key", async (t) => {
  const callers = [
    { iss: 'i', sub: 's', client_id: 'c' },
    { iss: 'i', sub: 's' },
    { iss: 'i', sub: 's:c' },
    { iss: 'i', sub: 's1:c' },
    { iss: 'i', sub: 's', client_id: ':c' },
    { iss: 'i:s', sub: 'c' },
    { iss: 'i1:s1:c', sub: '' },
    { iss: '', sub: 'i1:s1:c' },
    { iss: 'i', sub: 'sc' },
    { iss: 'is', sub: 'c' },
    { iss: 'i', sub: 's\n' },
    { iss: 'i', sub: 's\0' },
    { iss: 'i', sub: '*' },
    { iss: 'i', sub: 'S' },
    { iss: 'i', sub: 'é' },
    { iss: 'i', sub: 'e\u0301' },
    { iss: 'i', sub: '\ud800' },
    { iss: 'i', sub: '\ud801' },
    { iss: 'i', sub: '\ufffd' }
  ]
  t.equal(new Set(callers.map(keyOf)).size, callers.length)
})

t.test('a tool cannot change what its caller may do in a later call', async (t) => {
  const principal = principalOf({ groups: ['staff'], scope: 'openid', custom: { roles: ['reader'] } })
  const tries: Array<() => unknown> = [
    () => (principal.groups as string[]).push('admins'),
    () => (principal.scopes as Set<string>).add('admin'),
    () => (principal.scopes as Set<string>).delete('openid'),
    () => { (principal.scopes as Set<string>).clear() },
    () => (principal.claims['custom'] as { roles: string[] }).roles.push('admin'),
    () => { (principal as { subject: string }).subject = 'bob' }
  ]
  for (const change of tries) t.throws(change, TypeError)
  // Groups that are not the claim itself: one as text, and paths without their slash.
  for (const { groups } of [principalOf({ groups: 'staff' }), principalOf({ groups: ['/staff'] }, 'groups', true)]) {
    t.throws(() => (groups as string[]).push('admins'), TypeError)
  }
  t.same([principal.groups, [...principal.scopes], principal.subject], [['staff'], ['openid'], 'ada'])
})

t.test('the kind of caller and the grant type come from Seed\'s own tokens only', async (t) => {
  const claims = { iss: 'https://id.example', sub: 'nightly', exp: 2_000_000_000, client_id: 'nightly-client' }
  const options = { groupsClaim: 'groups', groupPaths: false }
  const own = { ...claims, [KIND_CLAIM]: 'service', [GRANT_TYPE_CLAIM]: 'client_credentials' }
  t.match(toPrincipal({ ...own }, { ...options, areOwn: true }), { kind: 'service', grantType: 'client_credentials' })
  t.match(toPrincipal({ ...claims }, { ...options, areOwn: true }), { kind: 'person', grantType: 'authorization_code' },
    'as in earlier versions')
  t.match(toPrincipal({ ...own }, options), { kind: 'person', grantType: undefined })
  t.match(toPrincipal({ ...claims, client_id: 'nightly' }, options), { kind: 'service', grantType: undefined })
})

t.test('a person whose subject is the id of a service shares neither sessions nor limits with it', async (t) => {
  const claims = { iss: 'https://id.example', sub: 'nightly', exp: 2_000_000_000, client_id: 'nightly' }
  const options = { groupsClaim: 'groups', groupPaths: false, areOwn: true }
  const person = toPrincipal({ ...claims }, options)
  const service = toPrincipal({ ...claims, [KIND_CLAIM]: 'service' }, options)
  t.equal(new Set([person.key, person.personKey, service.key, service.personKey]).size, 4)
})
