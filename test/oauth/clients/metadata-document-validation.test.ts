import t from 'tap'
import { isMetadataDocumentUrl, validateDocument } from '../../../src/oauth/clients/metadata-document-validation.ts'
import type { MetadataDocument } from '../../../src/oauth/clients/metadata-document-validation.ts'
import { document, ID, JWKS_URI, KEY, unusable } from '../../support/metadata-documents.ts'
import type { Members } from '../../support/metadata-documents.ts'

/** Validates a document with these members, as it comes out of its JSON text. */
function validate (members: Members): MetadataDocument {
  return validateDocument(ID, JSON.parse(JSON.stringify(document(ID, members))), ['cursor'])
}

t.test('client ids that are URLs of documents', async (t) => {
  for (const id of [
    ID,
    'HTTPS://client.example/x',
    'https://',
    'https://client.example'
  ]) t.equal(isMetadataDocumentUrl(id), true, id)
  for (const id of [
    '',
    'seed-1',
    'http://client.example/x',
    ' https://client.example/x',
    'https:/client.example/x',
    'https',
    'my https://'
  ]) t.equal(isMetadataDocumentUrl(id), false, id)
})

/** Members that make a valid document invalid, by what is  takes a member unreachable. */
const refusals: Record<string, Members[]> = {
  'its client_id must be its own URL, byte for byte': [
    undefined,
    null,
    '',
    1,
    [ID],
    `${ID}/`,
    `${ID}?`,
    `${ID}#`,
    'https://client.example:443/oauth/client.json',
    'https://CLIENT.example/oauth/client.json',
    'https://client.example/oauth/Client.json',
    'https://client.example/oauth/%63lient.json',
    'https://other.example/oauth/client.json'
  ].map((id) => ({ client_id: id })),
  'it must not contain client_secret': [{ client_secret: 'secret' }, { client_secret: '' }],
  'it must not contain client_secret_expires_at': [{ client_secret_expires_at: 0 }],
  'token_endpoint_auth_method must be none or private_key_jwt': [
    'client_secret_basic',
    'client_secret_post',
    'client_secret_jwt',
    'tls_client_auth',
    'None',
    '',
    1,
    ['none']
  ].map((method) => ({ token_endpoint_auth_method: method, jwks: { keys: [KEY] } })),
  'private_key_jwt needs jwks or jwks_uri': [{ token_endpoint_auth_method: 'private_key_jwt' }],
  'it must contain jwks or jwks_uri, not both': [{ jwks: { keys: [KEY] }, jwks_uri: JWKS_URI }],
  'its key set must contain at least one key': [
    'text',
    1,
    [],
    {},
    { keys: null },
    { keys: {} },
    { keys: [] },
    { keys: [null] },
    { keys: ['key'] },
    { keys: [{}] },
    { keys: [{ kty: 1 }] },
    { keys: [KEY, {}] }
  ].map((jwks) => ({ jwks })),
  'its key set must contain public keys only': [
    'd',
    'p',
    'q',
    'dp',
    'dq',
    'qi',
    'oth',
    'k'
  ].map((member) => ({ jwks: { keys: [KEY, { ...KEY, [member]: '' }] } })),
  'response_types must include code': [['token'], [], 'code', [
    1,
    'code'
  ], {}].map((types) => ({ response_types: types })),
  'client_name must be a text of 1 to 200 characters': [
    undefined,
    null,
    '',
    ' \u202e\u0000\u200b ',
    1,
    ['Client'],
    'a'.repeat(201)
  ].map((name) => ({ client_name: name })),
  'redirect_uris must be a list of 1 to 20 URIs': [
    undefined,
    null,
    'https://client.example/cb',
    {},
    [],
    [1],
    ['https://client.example/cb', null],
    Array.from({ length: 21 }, (_, index) => `https://client.example/${index}`)
  ].map((uris) => ({ redirect_uris: uris })),
  'its redirect_uris: A redirect URI must be an absolute URI': [{ redirect_uris: ['/callback'] }],
  'its redirect_uris: A redirect URI must use https, or http on localhost, 127.0.0.1 or [::1]': [{
    redirect_uris: ['http://client.example/cb']
  }],
  ['its redirect_uris: A redirect URI must use https, http on this machine, or a scheme that the server lists ' +
    '(REDIRECT_URI_SCHEMES)']: [
    { redirect_uris: ['javascript:alert(1)'] },
    { redirect_uris: ['other://callback'] }
  ],
  'its redirect_uris: A redirect URI must not contain a fragment': [{ redirect_uris: ['https://client.example/cb#x'] }],
  'client_uri must be an http(s) URL': [
    1,
    '',
    'client.example',
    'javascript:alert(1)',
    'file:///etc/passwd',
    'https://',
    `https://client.example/${'a'.repeat(2_048)}`
  ].map((uri) => ({ client_uri: uri })),
  'grant_types must include authorization_code': [[], ['refresh_token'], ['implicit'], 'authorization_code', [
    'authorization_code',
    1
  ]].map((types) => ({ grant_types: types })),
  'application_type must be native or web': ['browser', 1].map((type) => ({ application_type: type }))
}

for (const [why, cases] of Object.entries(refusals)) {
  t.test(`refused: ${why}`, async (t) => {
    t.match(why, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/, 'can be sent as an error description (RFC 6749 section 5.2)')
    for (const members of cases) {
      t.throws(() => validate(members), unusable(why), JSON.stringify(members)?.slice(0, 200))
    }
  })
}

t.test('what a valid document may contain', async (t) => {
  const cases: Array<[Members, Members]> = [
    [{ client_name: 'a'.repeat(200) }, { name: 'a'.repeat(200) }],
    [{ client_name: ' Cl\u202eie\u0007nt\n\u200b ' }, { name: 'Client' }],
    [{ client_uri: 'http://client.example/\u202egpj' }, { uri: 'http://client.example/%E2%80%AEgpj' }],
    [
      { redirect_uris: Array.from({ length: 20 }, (_, index) => `https://client.example/${index}`) },
      { redirectUris: { length: 20 } }
    ],
    [{ application_type: 'native' }, { applicationType: 'native' }],
    [{}, { grantTypes: ['authorization_code', 'refresh_token'], tokenEndpointAuthMethod: 'none', uri: undefined }],
    [{ jwks: { keys: [KEY] } }, { tokenEndpointAuthMethod: 'none', jwks: undefined }],
    [{ jwks_uri: 'http://10.0.0.1/' }, { tokenEndpointAuthMethod: 'none', jwks: undefined }]
  ]
  for (const [members, expected] of cases) t.match(validate(members), expected, JSON.stringify(members).slice(0, 200))
})

t.test('redirect URIs that are not acceptable are left out, and null members are absent', async (t) => {
  const document = validate({
    redirect_uris: ['windsurf://oauth/cb', 'https://client.example/cb', 'http://client.example/cb'],
    client_uri: null,
    application_type: null,
    jwks: null
  })
  t.same(document.redirectUris, ['https://client.example/cb'])
  t.equal(document.uri, undefined)
})
