import { createHash } from 'node:crypto'
import t from 'tap'
import { checkConfiguredClients, readConfiguredClients } from '../../src/config/clients.ts'

const CB = 'https://ci.example.com/cb'
const SECRET = 'a-secret-of-the-client'
const JWKS = { keys: [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'one' }] }

function read (clients: unknown, mode: 'proxy' | 'broker' = 'broker') {
  const text = typeof clients === 'string' ? clients : JSON.stringify(clients)
  return { clients: readConfiguredClients(text), problems: checkConfiguredClients(text, mode) }
}

t.test('without the setting there are no clients', async (t) => {
  t.same(readConfiguredClients(undefined), [])
  t.same(checkConfiguredClients(undefined, 'broker'), [])
  t.same(read([]), { clients: [], problems: [] })
})

t.test('clients may be public or have a secret or a key, which decides their authentication method', async (t) => {
  const secretHashes = [createHash('sha256').update(SECRET).digest('base64url')]
  const common = { name: undefined, redirectUris: [CB], grantTypes: ['authorization_code', 'refresh_token'], secretHashes: [], jwks: undefined, jwksUri: undefined, service: undefined }
  for (const [given, expected] of [
    [{}, { ...common, authMethod: 'none' }],
    [
      { client_name: 'CI', redirect_uris: [CB, 'http://localhost/cb'] },
      { ...common, name: 'CI', redirectUris: [CB, 'http://localhost/cb'], authMethod: 'none' }
    ],
    [{ token_endpoint_auth_method: 'none' }, { ...common, authMethod: 'none' }],
    [{ client_secret: SECRET }, { ...common, authMethod: 'client_secret_basic', secretHashes }],
    [
      { client_secret: SECRET, token_endpoint_auth_method: 'client_secret_basic' },
      { ...common, authMethod: 'client_secret_basic', secretHashes }
    ],
    [
      { client_secret: SECRET, token_endpoint_auth_method: 'client_secret_post' },
      { ...common, authMethod: 'client_secret_post', secretHashes }
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
    [[null], '/0 '], [[7], '/0 '], [[[]], '/0 '], [[{}], '/0 '], [[good, {}], '/1 '],
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
      problems[0]!.startsWith(`must be a JSON array of clients, each with client_id: ${says}`),
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
    [{ token_endpoint_auth_method: 'private_key_jwt' }, 'has a client "ci" whose method private_key_jwt needs jwks or jwks_uri'],
    [{ token_endpoint_auth_method: 'none', jwks: JWKS }, 'has a client "ci" whose method none allows no jwks or jwks_uri'],
    [{ client_secret: SECRET, jwks: JWKS }, 'has a client "ci" whose method client_secret_basic allows no jwks or jwks_uri']
  ] as const) {
    t.same(read([{ client_id: 'ci', redirect_uris: [CB], ...given }]).problems, [problem])
  }
  t.same(
    read([{ client_id: 'ci', redirect_uris: [CB] }, { client_id: 'ci', redirect_uris: [`${CB}2`] }]).problems,
    ['lists a client_id twice']
  )
})

t.test('a service has a grant type, rights and a credential, and needs no redirect URI', async (t) => {
  const { clients, problems } = read([{
    client_id: 'nightly',
    grant_types: ['client_credentials'],
    client_secret: [SECRET, `${SECRET}-old`],
    scope: 'tickets:read  tickets:write',
    groups: ['jobs'],
    claims: { department: 'it' }
  }])
  t.same(problems, [])
  t.match(clients, [{
    redirectUris: [],
    grantTypes: ['client_credentials'],
    service: { scopes: ['tickets:read', 'tickets:write'], claims: { department: 'it', groups: ['jobs'] } }
  }])
  t.equal(clients[0]!.secretHashes.length, 2)
})

t.test('what a service may not have, or lacks, is a problem before the start', async (t) => {
  const service = { client_id: 'ci', grant_types: ['client_credentials'], client_secret: SECRET }
  for (const [given, problem, mode] of [
    [{ ...service, redirect_uris: [CB] }, 'has a client "ci" whose grant_types allow no redirect_uris'],
    [{ client_id: 'ci' }, 'has a client "ci" whose grant_types need redirect_uris'],
    [
      { ...service, grant_types: ['client_credentials', 'refresh_token'] },
      'has a client "ci" whose grant_types have refresh_token without authorization_code'
    ],
    [
      { ...service, client_secret: undefined },
      'has a client "ci" whose grant_types have client_credentials: it needs client_secret, jwks or jwks_uri'
    ],
    [
      { ...service, claims: { sub: 'root', department: 'it', seed_principal_kind: 'person' } },
      'has a client "ci" whose claims may not be sub, seed_principal_kind'
    ],
    [
      { client_id: 'ci', redirect_uris: [CB], groups: ['admins'] },
      'has a client "ci" with scope, groups or claims, which only client_credentials in grant_types allows'
    ],
    [
      { client_id: 'ci', redirect_uris: [CB], jwks: { keys: [{ ...JWKS.keys[0], d: 'private' }] } },
      'has a client "ci" whose jwks has a private key: the client alone may know that one'
    ],
    [
      { ...service, client_secret: undefined, jwks: JWKS, jwks_uri: 'https://ci.example.com/jwks' },
      'has a client "ci" with jwks and jwks_uri: it may have one of them'
    ],
    ...['http://ci.example.com/jwks', 'ci.example.com', 'https://u@ci.example.com/', 'https://:p@ci.example.com/',
      'https://ci.example.com/#x', 'file:///etc/passwd'].map((uri) => [
      { ...service, client_secret: undefined, jwks_uri: uri },
      'has a client "ci" whose jwks_uri must be an https URL without user, password and fragment ' +
        '(http on this machine only)'
    ] as const),
    [
      service,
      'has a client "ci" whose grant_types have client_credentials, which needs OAUTH_MODE=broker: ' +
        'with OAUTH_MODE=proxy let the service get its token from the provider (docs/proxy-mode.md)',
      'proxy'
    ],
    [
      { ...service, grant_types: ['urn:ietf:params:oauth:grant-type:jwt-bearer'], scope: undefined },
      'has a client "ci" whose grant_types have urn:ietf:params:oauth:grant-type:jwt-bearer, which needs ' +
        'OAUTH_MODE=broker: with OAUTH_MODE=proxy it gets its access tokens from the provider (docs/proxy-mode.md)',
      'proxy'
    ]
  ] as const) {
    t.same(read([given], mode as 'proxy' | undefined).problems, [problem])
  }
})
