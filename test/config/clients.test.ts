import { createHash } from 'node:crypto'
import t from 'tap'
import { checkConfiguredClients, readConfiguredClients } from '../../src/config/clients.ts'

const CB = 'https://ci.example.com/cb'
const SECRET = 'a-secret-of-the-client'
const JWKS = { keys: [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'one' }] }

function read (clients: unknown) {
  const text = typeof clients === 'string' ? clients : JSON.stringify(clients)
  return { clients: readConfiguredClients(text), problems: checkConfiguredClients(text) }
}

t.test('without the setting there are no clients', async (t) => {
  t.same(readConfiguredClients(undefined), [])
  t.same(checkConfiguredClients(undefined), [])
  t.same(read([]), { clients: [], problems: [] })
})

t.test('clients may be public or have a secret or a key, which decides their authentication method', async (t) => {
  const secretHash = createHash('sha256').update(SECRET).digest('base64url')
  const common = { name: undefined, redirectUris: [CB], secretHash: undefined, jwks: undefined }
  for (const [given, expected] of [
    [{}, { ...common, authMethod: 'none' }],
    [
      { client_name: 'CI', redirect_uris: [CB, 'http://localhost/cb'] },
      { ...common, name: 'CI', redirectUris: [CB, 'http://localhost/cb'], authMethod: 'none' }
    ],
    [{ token_endpoint_auth_method: 'none' }, { ...common, authMethod: 'none' }],
    [{ client_secret: SECRET }, { ...common, authMethod: 'client_secret_basic', secretHash }],
    [
      { client_secret: SECRET, token_endpoint_auth_method: 'client_secret_basic' },
      { ...common, authMethod: 'client_secret_basic', secretHash }
    ],
    [
      { client_secret: SECRET, token_endpoint_auth_method: 'client_secret_post' },
      { ...common, authMethod: 'client_secret_post', secretHash }
    ],
    [{ jwks: JWKS }, { ...common, authMethod: 'private_key_jwt', jwks: JWKS }],
    [
      { jwks: JWKS, token_endpoint_auth_method: 'private_key_jwt' },
      { ...common, authMethod: 'private_key_jwt', jwks: JWKS }
    ]
  ] as const) {
    const { clients, problems } = read([{ client_id: 'ci', redirect_uris: [CB], ...given }])
    t.same(problems, [], JSON.stringify(given))
    t.strictSame(clients, [{ id: 'ci', ...expected }])
    t.notMatch(JSON.stringify(clients), SECRET, 'the secret itself is not kept')
  }
})

t.test('a value of another form is one problem, which names the place and repeats no value', async (t) => {
  const good = { client_id: 'ci', redirect_uris: [CB] }
  for (const [given, says] of [
    ['', 'the value is not JSON'], ['not JSON', 'the value is not JSON'], [
      '{"client_id":"ci"', 'the value is not JSON'
    ], ['null', 'the value must be array'], [{}, 'the value'], [good, 'the value'], ['"ci"', 'the value'],
    [[null], '/0 '], [[7], '/0 '], [[[]], '/0 '], [[{}], '/0 '], [[good, { client_id: 'two' }], '/1 '],
    [[{ ...good, client_id: '' }], '/0/client_id '], [[{ ...good, client_id: 'c i' }], '/0/client_id '], [
      [{ ...good, client_id: 'cï' }],
      '/0/client_id '
    ], [[{ ...good, client_id: 'c'.repeat(257) }], '/0/client_id '], [[{ ...good, client_id: 7 }], '/0/client_id '],
    [
      [{ ...good, client_name: '' }],
      '/0/client_name '
    ], [[{ ...good, client_name: 'n'.repeat(201) }], '/0/client_name '],
    [[{ ...good, redirect_uris: [] }], '/0/redirect_uris '], [[{ ...good, redirect_uris: CB }], '/0/redirect_uris '], [
      [{ ...good, redirect_uris: [''] }],
      '/0/redirect_uris/0 '
    ], [[{ ...good, redirect_uris: Array(51).fill(CB) }], '/0/redirect_uris '],
    [
      [{ ...good, client_secret: 'hunter2' }],
      '/0/client_secret '
    ], [[{ ...good, client_secret: 's'.repeat(513) }], '/0/client_secret '],
    [[{ ...good, token_endpoint_auth_method: 'tls_client_auth' }], '/0/token_endpoint_auth_method '],
    [
      [{ ...good, jwks: { keys: [] } }],
      '/0/jwks/keys '
    ], [[{ ...good, jwks: [] }], '/0/jwks '], [[{ ...good, jwks: { keys: [{}] } }], '/0/jwks/keys/0 '],
    [[{ ...good, secret: 'hunter2' }], '/0/secret is not a known member']
  ] as Array<[unknown, string]>) {
    const { clients, problems } = read(given)
    t.same(clients, [])
    t.equal(problems.length, 1, JSON.stringify(given).slice(0, 80))
    t.ok(
      problems[0]!.startsWith(`must be a JSON array of clients, each with client_id and redirect_uris: ${says}`),
      String(problems[0])
    )
    t.notMatch(problems[0], 'hunter2')
  }
})

t.test('members that do not fit together are problems', async (t) => {
  for (const [given, problem] of [
    [
      { client_id: 'seed-mine' },
      'must not use the client_id "seed-mine": ids of that form are for other clients'
    ],
    [
      { client_id: 'https://ci.example.com/id' },
      'must not use the client_id "https://ci.example.com/id": ids of that form are for other clients'
    ],
    [
      { token_endpoint_auth_method: 'client_secret_post' },
      'has a client "ci" whose method client_secret_post needs a client_secret'
    ],
    [
      { token_endpoint_auth_method: 'none', client_secret: SECRET },
      'has a client "ci" whose method none allows no client_secret'
    ],
    [{ token_endpoint_auth_method: 'private_key_jwt' }, 'has a client "ci" whose method private_key_jwt needs jwks'],
    [{ token_endpoint_auth_method: 'none', jwks: JWKS }, 'has a client "ci" whose method none allows no jwks'],
    [{ client_secret: SECRET, jwks: JWKS }, 'has a client "ci" whose method client_secret_basic allows no jwks']
  ] as const) {
    t.same(read([{ client_id: 'ci', redirect_uris: [CB], ...given }]).problems, [problem])
  }
  t.same(
    read([{ client_id: 'ci', redirect_uris: [CB] }, { client_id: 'ci', redirect_uris: [`${CB}2`] }]).problems,
    ['lists a client_id twice']
  )
})
