import { once } from 'node:events'
import type { IncomingHttpHeaders, RequestListener } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { FetchError } from '../../../src/net/fetch.ts'
import { createPublicFetcher } from '../../../src/net/public-fetch.ts'
import type { PublicDocument } from '../../../src/net/public-fetch.ts'
import { isMetadataDocumentUrl } from '../../../src/oauth/clients/metadata-document.ts'
import { createMetadataDocuments } from '../../../src/oauth/clients/metadata-documents.ts'
import type { MetadataDocumentsOptions } from '../../../src/oauth/clients/metadata-documents.ts'
import { selfSigned } from '../../support/tls.ts'

const PROBE = 'https://probe.example/client'
const ID = 'https://client.example/oauth/client.json'
const JWKS_URI = 'https://client.example/oauth/keys.json'
const KEY = { kty: 'EC', crv: 'P-256', x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU', y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0', kid: 'one' }

type Members = Record<string, unknown>
type Answer = Error | { status?: number, headers?: IncomingHttpHeaders, body: string }

const document = (id: string, members: Members = {}): Members => ({ client_id: id, client_name: 'Client', redirect_uris: ['http://localhost/callback'], ...members })
const json = (value: unknown, headers: IncomingHttpHeaders = {}): Answer => ({ headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) })
const away = () => new FetchError('https://somewhere cannot be reached (ENOTFOUND)', { network: true })

/** A world of documents: every URL has a valid one unless `answers` says otherwise, and a clock that the test moves. */
function start (t: Test, options: Partial<MetadataDocumentsOptions> = {}) {
  const answers = new Map<string, Answer>()
  const fetched: string[] = []
  const logged: Array<{ level: string, fields: object, message: string }> = []
  const world = { ms: 0, offline: false }
  const log = (level: string) => (fields: object, message: string) => { logged.push({ level, fields, message }) }
  const documents = createMetadataDocuments({
    async fetchDocument (url): Promise<PublicDocument> {
      fetched.push(url)
      await Promise.resolve()
      const answer = world.offline ? away() : answers.get(url) ?? json(document(url))
      if (answer instanceof Error) throw answer
      return { status: 200, headers: {}, ...answer }
    },
    enabled: true,
    probeUrl: PROBE,
    allowedHosts: [],
    redirectUriSchemes: ['cursor'],
    log: { info: log('info'), warn: log('warn') },
    now: () => world.ms,
    ...options
  })
  t.teardown(() => { documents.close() })
  return { documents, answers, fetched, logged, world }
}

/** What was asked for in the background has happened. */
const settled = async () => { await new Promise((resolve) => { setImmediate(resolve) }) }

const invalid = (message: string | RegExp) => ({ name: 'OAuthError', code: 'invalid_client', message })
const notAccepted = (why: string) => invalid(`The client metadata document is not accepted: ${why}`)
const later = (statusCode: number, retryAfterSeconds: number) => ({ name: 'OAuthError', code: 'temporarily_unavailable', statusCode, retryAfterSeconds })

t.test('the documents of real clients', async (t) => {
  const { documents, answers } = start(t)
  const claudeCode = 'https://claude.ai/oauth/claude-code-client-metadata'
  answers.set(claudeCode, json({
    client_id: claudeCode,
    client_name: 'Claude Code',
    client_uri: 'https://claude.ai',
    redirect_uris: ['http://localhost/callback', 'http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none'
  }))
  t.strictSame(await documents.find(claudeCode), {
    clientId: claudeCode,
    name: 'Claude Code',
    redirectUris: ['http://localhost/callback', 'http://127.0.0.1/callback'],
    uri: 'https://claude.ai/',
    grantTypes: ['authorization_code', 'refresh_token'],
    tokenEndpointAuthMethod: 'none'
  })
  const signing = 'https://signing.example/client'
  answers.set(signing, json({
    ...document(signing),
    redirect_uris: ['https://signing.example/callback', 'cursor://callback'],
    grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code', 'none'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [KEY] },
    application_type: 'web',
    logo_uri: 'https://signing.example/logo.png',
    contacts: ['someone@signing.example']
  }, { 'content-type': 'application/cimd+json; charset=utf-8' }))
  t.strictSame(await documents.find(signing), {
    clientId: signing,
    name: 'Client',
    redirectUris: ['https://signing.example/callback', 'cursor://callback'],
    uri: undefined,
    grantTypes: ['authorization_code'],
    tokenEndpointAuthMethod: 'private_key_jwt',
    jwks: { keys: [KEY] },
    applicationType: 'web'
  })
})

t.test('which ids are URLs of documents', async (t) => {
  for (const id of [ID, 'HTTPS://client.example/x', 'https://', 'https://client.example']) t.equal(isMetadataDocumentUrl(id), true, id)
  for (const id of ['', 'seed-1', 'http://client.example/x', ' https://client.example/x', 'https:/client.example/x', 'https', 'my https://']) t.equal(isMetadataDocumentUrl(id), false, id)
})

t.test('an id that is not an https URL in its normal form with a path is refused unfetched', async (t) => {
  const { documents, fetched } = start(t)
  const cases: Record<string, string[]> = {
    'must be well-formed, of at most 2048 characters': ['https://', 'https://[::1/x', 'client', '', 'https://client.example:99999/x', `https://client.example/${'a'.repeat(2_026)}`],
    'must use https': ['http://client.example/x', 'ftp://client.example/x', 'javascript://client.example/x', 'file:///etc/passwd'],
    'must have a path': ['https://client.example', 'https://client.example/', 'https://client.example/.', 'https://client.example/a/..', 'https://client.example/?a=b'],
    'must not contain a fragment': ['https://client.example/x#y', 'https://client.example/x#'],
    'must not contain a user name or password': ['https://user@client.example/x', 'https://user:secret@client.example/x', 'https://:secret@client.example/x'],
    'must not contain control characters': ['https://client.example/x%0d%0ay', 'https://client.example/%00', 'https://client.example/x?y=%7F'],
    'must be written in its normal form': ['HTTPS://client.example/x', 'https://CLIENT.example/x', 'https://client.example:443/x', 'https://client.example:08443/x', 'https://client.example/a/../x', 'https://client.example/./x',
      'https://client.example/%2e%2e/x', 'https://client.example/a/%2E/x', 'https:\\\\client.example\\x', 'https:client.example/x', 'https:///client.example/x', ' https://client.example/x', 'https://client.example/x\n', 'https://client.exa\tmple/x',
      'https://@client.example/x', 'https://clïent.example/x', 'https://client。example/x', 'https://client.example/ü', 'https://client.example./x', 'https://2130706433/x', 'https://0x7f.1/x', 'https://127.1/x', 'https://[::ffff:127.0.0.1]/x']
  }
  for (const [why, ids] of Object.entries(cases)) {
    for (const id of ids) await t.rejects(documents.find(id), invalid(`A client ID that is a URL ${why}`), JSON.stringify(id))
  }
  t.strictSame(fetched, [])
  for (const id of ['https://client.example/x?version=1', 'https://client.example:8443/x', 'https://client.example/x/', `https://client.example/${'a'.repeat(2_025)}`]) {
    t.match(await documents.find(id), { clientId: id })
  }
})

t.test('an answer that is no JSON object with status 200 is refused and not kept', async (t) => {
  const body = JSON.stringify(document(ID))
  const cases: Array<[Answer, string]> = [
    ...[201, 204, 206, 400, 404, 410, 429, 500, 503].map((status): [Answer, string] => [{ ...json(document(ID)), status } as Answer, `its URL answered ${status}`]),
    ...[undefined, '', 'text/html', 'text/json', 'application/jsonp', 'application/octet-stream', 'application/+json', 'xapplication/json'].map((type): [Answer, string] => [{ headers: { 'content-type': type }, body }, 'its content type is not JSON']),
    ...['', '<html>', '[]', `[${body}]`, 'null', '"text"', '1', body.slice(0, -1), `\ufeff${body}`, `${body},`].map((text): [Answer, string] => [{ headers: { 'content-type': 'application/json' }, body: text }, 'it is not a JSON object']),
    [new FetchError(`${ID} answered with a redirect, which is not followed`, { status: 302 }), 'it cannot be fetched from its URL'],
    [new FetchError(`${ID} is not at a public address`), 'it cannot be fetched from its URL']
  ]
  for (const [answer, why] of cases) {
    const { documents, answers, fetched } = start(t)
    answers.set(ID, answer)
    await t.rejects(documents.find(ID), { ...notAccepted(why), statusCode: 401 }, JSON.stringify(answer))
    await t.rejects(documents.find(ID), notAccepted(why))
    answers.delete(ID)
    t.match(await documents.find(ID), { clientId: ID })
    t.equal(fetched.length, 3)
  }
  for (const type of ['application/json', 'Application/JSON', 'application/json;charset=utf-8', 'application/json ; charset=utf-8', 'application/vnd.client.v1+json']) {
    const { documents, answers } = start(t)
    answers.set(ID, { headers: { 'content-type': type }, body })
    await t.resolves(documents.find(ID), type)
  }
})

/** Members that make a valid document invalid, by what is answered; undefined takes a member away. */
const refusals: Record<string, Members[]> = {
  'its client_id must be its own URL, byte for byte': [undefined, null, '', 1, [ID], `${ID}/`, `${ID}?`, `${ID}#`, 'https://client.example:443/oauth/client.json', 'https://CLIENT.example/oauth/client.json', 'https://client.example/oauth/Client.json', 'https://client.example/oauth/%63lient.json', 'https://other.example/oauth/client.json'].map((id) => ({ client_id: id })),
  'it must not contain client_secret': [{ client_secret: 'secret' }, { client_secret: '' }, { client_secret: null }],
  'it must not contain client_secret_expires_at': [{ client_secret_expires_at: 0 }],
  'token_endpoint_auth_method must be none or private_key_jwt': ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'tls_client_auth', 'None', '', 1, ['none']].map((method) => ({ token_endpoint_auth_method: method, jwks: { keys: [KEY] } })),
  'private_key_jwt needs jwks or jwks_uri': [{ token_endpoint_auth_method: 'private_key_jwt' }],
  'it must contain jwks or jwks_uri, not both': [{ jwks: { keys: [KEY] }, jwks_uri: JWKS_URI }],
  'its key set must contain at least one key': [null, 'text', 1, [], {}, { keys: null }, { keys: {} }, { keys: [] }, { keys: [null] }, { keys: ['key'] }, { keys: [{}] }, { keys: [{ kty: 1 }] }, { keys: [KEY, {}] }].map((jwks) => ({ jwks })),
  'its key set must contain public keys only': ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].map((member) => ({ jwks: { keys: [KEY, { ...KEY, [member]: '' }] } })),
  'response_types must include code': [['token'], [], 'code', [1, 'code'], {}].map((types) => ({ response_types: types })),
  'client_name must be a text of 1 to 200 characters': [undefined, null, '', ' \u202e\u0000\u200b ', 1, ['Client'], 'a'.repeat(201)].map((name) => ({ client_name: name })),
  'redirect_uris must be a list of 1 to 20 URIs': [undefined, null, 'https://client.example/cb', {}, [], [1], ['https://client.example/cb', null], Array.from({ length: 21 }, (_, index) => `https://client.example/${index}`)].map((uris) => ({ redirect_uris: uris })),
  'A redirect URI must be an absolute URI': [{ redirect_uris: ['/callback'] }],
  'A redirect URI must use https, or http on localhost, 127.0.0.1 or [::1]': [{ redirect_uris: ['https://client.example/cb', 'http://client.example/cb'] }],
  'A redirect URI must use https, http on this machine, or a scheme that the server lists (REDIRECT_URI_SCHEMES)': [{ redirect_uris: ['javascript:alert(1)'] }, { redirect_uris: ['other://callback'] }],
  'A redirect URI must not contain a fragment': [{ redirect_uris: ['https://client.example/cb#x'] }],
  'client_uri must be an http(s) URL': [null, 1, '', 'client.example', 'javascript:alert(1)', 'file:///etc/passwd', 'https://', `https://client.example/${'a'.repeat(2_048)}`].map((uri) => ({ client_uri: uri })),
  'grant_types must include authorization_code': [[], ['refresh_token'], ['implicit'], 'authorization_code', ['authorization_code', 1]].map((types) => ({ grant_types: types })),
  'application_type must be native or web': [null, 'browser', 1].map((type) => ({ application_type: type }))
}

t.test('a document that is not valid is refused with what is wrong, and not kept', async (t) => {
  for (const [why, cases] of Object.entries(refusals)) {
    t.match(why, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/, 'can go out as an error description (RFC 6749 section 5.2)')
    for (const members of cases) {
      const { documents, answers, fetched } = start(t)
      answers.set(ID, json(document(ID, members)))
      await t.rejects(documents.find(ID), notAccepted(why), `${why}: ${JSON.stringify(members)?.slice(0, 200)}`)
      answers.delete(ID)
      await t.resolves(documents.find(ID))
      t.equal(fetched.length, 2)
    }
  }
})

t.test('what a document may say', async (t) => {
  const cases: Array<[Members, Members]> = [
    [{ client_name: 'a'.repeat(200) }, { name: 'a'.repeat(200) }],
    [{ client_name: ' Cl\u202eie\u0007nt\n\u200b ' }, { name: 'Client' }],
    [{ client_uri: 'http://client.example/\u202egpj' }, { uri: 'http://client.example/%E2%80%AEgpj' }],
    [{ redirect_uris: Array.from({ length: 20 }, (_, index) => `https://client.example/${index}`) }, { redirectUris: { length: 20 } }],
    [{ application_type: 'native' }, { applicationType: 'native' }],
    [{}, { grantTypes: ['authorization_code', 'refresh_token'], tokenEndpointAuthMethod: 'none', uri: undefined }],
    [{ jwks: { keys: [KEY] } }, { tokenEndpointAuthMethod: 'none', jwks: undefined }],
    [{ jwks_uri: 'http://10.0.0.1/' }, { tokenEndpointAuthMethod: 'none', jwks: undefined }]
  ]
  for (const [members, expected] of cases) {
    const { documents, answers, fetched } = start(t)
    answers.set(ID, json(document(ID, members)))
    t.match(await documents.find(ID), expected, JSON.stringify(members).slice(0, 200))
    t.strictSame(fetched, [ID], 'nothing that the document names is fetched')
  }
})

t.test('keys behind a jwks_uri are fetched by the same rules and kept with the document', async (t) => {
  const { documents, answers, fetched, world } = start(t)
  const signs = (jwksUri: unknown = JWKS_URI) => json(document(ID, { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: jwksUri }), { 'cache-control': 'max-age=600' })
  answers.set(ID, signs())
  answers.set(JWKS_URI, json({ keys: [KEY] }, { 'cache-control': 'max-age=100', 'content-type': 'application/jwk-set+json' }))
  t.match(await documents.find(ID), { tokenEndpointAuthMethod: 'private_key_jwt', jwks: { keys: [KEY] } })
  world.ms = 99_999
  await documents.find(ID)
  t.strictSame(fetched, [ID, JWKS_URI])
  world.ms = 100_000
  await documents.find(ID)
  t.strictSame(fetched, [ID, JWKS_URI, ID, JWKS_URI], 'for the shorter time of the two')

  for (const [answer, expected] of [
    [json({ keys: [{ ...KEY, d: 'private' }] }), notAccepted('its key set must contain public keys only')],
    [json({ keys: [] }), notAccepted('its key set must contain at least one key')],
    [json([KEY]), notAccepted('it is not a JSON object')],
    [{ status: 404, body: '' }, notAccepted('its URL answered 404')],
    [new FetchError('no public address'), notAccepted('it cannot be fetched from its URL')],
    [away(), later(503, 5)]
  ] as const) {
    world.ms += 100_000
    answers.set(JWKS_URI, answer)
    await t.rejects(documents.find(ID), expected)
  }
  for (const [uri, why] of [
    ['http://client.example/keys', 'must use https'],
    ['https://client.example/', 'must have a path'],
    ['https://user:secret@client.example/keys', 'must not contain a user name or password'],
    ['https://127.1/keys', 'must be written in its normal form'],
    ['keys', 'must be well-formed, of at most 2048 characters'],
    [1, 'must be well-formed, of at most 2048 characters']
  ] as const) {
    world.ms += 100_000
    answers.set(ID, signs(uri))
    await t.rejects(documents.find(ID), invalid(`The jwks_uri of a client ${why}`))
  }
})

t.test('a document is kept for as long as its headers say, from half a minute to a day', async (t) => {
  const cases: Array<[IncomingHttpHeaders, number]> = [
    [{}, 300],
    [{ 'cache-control': '' }, 300],
    [{ 'cache-control': 'public' }, 300],
    [{ 'cache-control': 'max-age=abc' }, 300],
    [{ 'cache-control': 'max-age=600' }, 600],
    [{ 'cache-control': 'public, Max-Age=600, must-revalidate' }, 600],
    [{ 'cache-control': 'public,max-age="600"' }, 600],
    [{ 'cache-control': 's-maxage=10, max-age=600' }, 600],
    [{ 'cache-control': 's-maxage=600' }, 300],
    [{ 'cache-control': 'max-age=600', age: '100' }, 500],
    [{ 'cache-control': 'max-age=600', age: '600' }, 30],
    [{ 'cache-control': 'max-age=600', age: '999999999999' }, 30],
    [{ 'cache-control': 'max-age=600', age: '-5' }, 600],
    [{ 'cache-control': 'max-age=600', age: 'old' }, 600],
    [{ age: '100' }, 300],
    [{ 'cache-control': 'max-age=0' }, 30],
    [{ 'cache-control': 'max-age=29' }, 30],
    [{ 'cache-control': 'max-age=999999999' }, 86_400],
    [{ 'cache-control': `max-age=${'9'.repeat(400)}` }, 86_400],
    [{ 'cache-control': 'no-store' }, 30],
    [{ 'cache-control': 'max-age=600, NO-CACHE' }, 30],
    [{ 'cache-control': 'no-cache="set-cookie", max-age=600' }, 30],
    [{ 'cache-control': 'private,no-store,max-age=600' }, 30]
  ]
  for (const [headers, seconds] of cases) {
    const { documents, answers, fetched, world } = start(t)
    answers.set(ID, json(document(ID), headers))
    const first = await documents.find(ID)
    world.ms = seconds * 1_000 - 1
    t.equal(await documents.find(ID), first)
    t.equal(fetched.length, 1)
    world.ms++
    t.not(await documents.find(ID), first)
    t.equal(fetched.length, 2, `${JSON.stringify(headers).slice(0, 100)}: ${seconds} s`)
  }
})

t.test('a document that has changed or gone is not believed beyond its time', async (t) => {
  const { documents, answers, fetched, world } = start(t)
  answers.set(ID, json(document(ID, { redirect_uris: ['https://client.example/old', 'https://client.example/new'] })))
  await documents.find(ID)
  answers.set(ID, json(document(ID, { redirect_uris: ['https://client.example/new'] })))
  world.ms += 300_000
  t.strictSame((await documents.find(ID)).redirectUris, ['https://client.example/new'])
  for (const [answer, expected] of [[json(document(PROBE)), invalid(/client_id must be its own URL/)], [away(), later(503, 5)]] as const) {
    answers.set(ID, answer)
    world.ms += 300_000
    await t.rejects(documents.find(ID), expected)
    await t.rejects(documents.find(ID), expected)
  }
  t.equal(fetched.filter((url) => url === ID).length, 6, 'no failure is kept')
})

t.test('a hundred who name the same URL cause one fetch', async (t) => {
  const { documents, answers, fetched } = start(t)
  const found = await Promise.all(Array.from({ length: 100 }, () => documents.find(ID)))
  t.ok(found.every((client) => client === found[0]))
  t.strictSame(fetched, [ID])
  const broken = `${ID}?broken`
  answers.set(broken, json({}))
  const failed = await Promise.allSettled(Array.from({ length: 100 }, () => documents.find(broken)))
  t.ok(failed.every(({ status }) => status === 'rejected'))
  t.strictSame(fetched, [ID, broken])
})

t.test('ten fetches a minute for a host', async (t) => {
  const { documents, fetched, world } = start(t)
  const url = (index: number) => `https://client.example${index % 2 === 0 ? '' : ':8443'}/${index}`
  for (let index = 0; index < 10; index++) {
    await documents.find(url(index))
    world.ms += 1_000
  }
  const many = await Promise.allSettled(Array.from({ length: 1_000 }, (_, index) => documents.find(url(100 + index))))
  t.ok(many.every(({ status }) => status === 'rejected'))
  await t.rejects(documents.find(url(10)), { ...later(429, 50), message: 'Too many client metadata documents; try again in 50 seconds', detail: '10 documents were fetched from client.example within a minute' })
  t.equal(fetched.length, 10)
  await t.resolves(documents.find(url(0)), 'one that is kept costs nothing')
  await t.resolves(documents.find('https://other.example/x'), 'nor do others suffer')
  world.ms = 59_999
  await t.rejects(documents.find(url(10)), later(429, 1))
  world.ms++
  await t.resolves(documents.find(url(10)))
  await t.rejects(documents.find(url(11)), later(429, 1), 'the next second makes room for the next')
})

t.test('sixty fetches a minute in all, keys included', async (t) => {
  const { documents, answers, fetched, world } = start(t)
  const signing = 'https://signing.example/client'
  answers.set(signing, json(document(signing, { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: JWKS_URI })))
  for (let index = 0; index < 59; index++) await documents.find(`https://host-${index}.example/x`)
  await t.rejects(documents.find(signing), { ...later(429, 60), detail: '60 documents were fetched in total within a minute' })
  await t.rejects(documents.find('https://host-59.example/x'), later(429, 60))
  t.equal(fetched.length, 60)
  documents.start()
  await settled()
  t.ok(documents.advertised(), 'the probe is none of them')
  world.ms = 60_000
  await t.resolves(documents.find('https://host-59.example/x'))
})

t.test('a thousand documents are kept, the oldest leave first', async (t) => {
  const { documents, fetched, world, answers } = start(t)
  const url = (index: number) => `https://host-${index}.example/x`
  const day = { 'cache-control': 'max-age=86400' }
  for (let index = 0; index <= 1_000; index++) {
    answers.set(url(index), json(document(url(index)), day))
    await documents.find(url(index))
    world.ms += 1_000
  }
  fetched.length = 0
  world.ms += 60_000
  for (let index = 1; index <= 1_000; index++) await documents.find(url(index))
  t.strictSame(fetched, [])
  await documents.find(url(0))
  await documents.find(url(1))
  t.strictSame(fetched, [url(0), url(1)])
})

t.test('only documents of listed hosts, when hosts are listed', async (t) => {
  const { documents, answers, fetched } = start(t, { allowedHosts: ['client.example', 'other.example:8443'] })
  const refused = { ...invalid('Client metadata documents of this host are not accepted here (CIMD_HOSTS)') }
  for (const id of ['https://evil.example/x', 'https://sub.client.example/x', 'https://client.example.evil.example/x', 'https://client.example:8443/x', 'https://other.example/x', 'https://xclient.example/x']) {
    await t.rejects(documents.find(id), { ...refused, detail: `the host is ${new URL(id).host}` })
  }
  t.strictSame(fetched, [])
  await t.resolves(documents.find(ID))
  await t.resolves(documents.find('https://other.example:8443/x'))
  const signing = 'https://client.example/signing'
  answers.set(signing, json(document(signing, { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://evil.example/keys' })))
  await t.rejects(documents.find(signing), { ...refused, detail: 'the host is evil.example' })
  t.notOk(fetched.includes('https://evil.example/keys'))
  documents.start()
  await settled()
  t.ok(documents.advertised(), 'the operator has named the probe')
  await t.rejects(documents.find(PROBE), refused, 'which makes it no client')
})

t.test('when the feature is off, nothing is fetched, advertised or found', async (t) => {
  const { documents, fetched } = start(t, { enabled: false })
  documents.start()
  await settled()
  t.equal(documents.advertised(), false)
  await t.rejects(documents.find(ID), invalid('Client metadata documents are not accepted here (CIMD_ENABLED): register instead'))
  t.strictSame(fetched, [])
})

t.test('advertised once the probe has given a valid document, which is then kept', async (t) => {
  const { documents, fetched, logged } = start(t)
  t.equal(documents.advertised(), false)
  await documents.find(ID)
  t.equal(documents.advertised(), false, 'nobody else decides that')
  documents.start()
  documents.start()
  t.equal(documents.advertised(), false)
  await settled()
  t.equal(documents.advertised(), true)
  await documents.find(PROBE)
  t.strictSame(fetched, [ID, PROBE])
  t.strictSame(logged, [])
})

/** Timers are kept for the test to fire, by their pause. */
function holdTimers (t: Test) {
  const timers = new Map<number, { fire: () => void, ms: number, held: boolean }>()
  let next = 0
  t.intercept(globalThis, 'setTimeout', {
    value: (fire: () => void, ms: number) => {
      const id = ++next
      timers.set(id, { fire, ms, held: true })
      return { id, unref: () => { timers.get(id)!.held = false } }
    }
  })
  t.intercept(globalThis, 'clearTimeout', { value: (timer?: { id: number }) => { timers.delete(timer?.id ?? 0) } })
  return timers
}

t.test('a probe that fails is said once, tried again every ten minutes, and said once when it is over', async (t) => {
  const timers = holdTimers(t)
  const { documents, answers, fetched, logged, world } = start(t)
  world.offline = true
  documents.start()
  await settled()
  t.equal(documents.advertised(), false)
  t.match(logged, [{ level: 'warn', fields: { probeUrl: PROBE, reason: 'https://somewhere cannot be reached (ENOTFOUND)' }, message: /CIMD_PROBE_URL.*CIMD_ENABLED=false/ }])

  world.offline = false
  for (const answer of [json({}), { status: 500, body: '' }]) {
    answers.set(PROBE, answer)
    t.match([...timers.values()], [{ ms: 600_000, held: false }])
    world.ms += 600_000
    ;[...timers.values()][0]!.fire()
    await settled()
    t.equal(documents.advertised(), false, 'a document that is not valid is as bad')
  }
  t.equal(logged.length, 1)

  answers.delete(PROBE)
  ;[...timers.values()][0]!.fire()
  await settled()
  t.equal(documents.advertised(), true)
  t.match(logged.slice(1), [{ level: 'info', fields: { probeUrl: PROBE }, message: /advertised/ }])
  t.equal(timers.size, 0)
  t.strictSame(fetched, Array(4).fill(PROBE))
})

t.test('a document that is not valid is logged with what is wrong', async (t) => {
  const { documents, answers, logged } = start(t)
  answers.set(PROBE, json({}))
  documents.start()
  await settled()
  t.match(logged, [{ fields: { reason: 'The client metadata document is not accepted: its client_id must be its own URL, byte for byte' } }])
})

t.test("a stranger's URL that cannot be reached asks for a probe, and decides nothing itself", async (t) => {
  const timers = holdTimers(t)
  const { documents, answers, fetched, logged, world } = start(t)
  documents.start()
  await settled()
  answers.set(ID, away())
  const fail = async () => {
    await t.rejects(documents.find(ID), { ...later(503, 5), message: 'The client metadata document cannot be fetched now; try again shortly', detail: 'https://somewhere cannot be reached (ENOTFOUND)', cause: Error })
    await settled()
  }
  const probes = () => fetched.filter((url) => url === PROBE).length

  world.ms = 29_999
  await fail()
  t.equal(probes(), 1, 'at most every thirty seconds')
  world.ms = 30_000
  await Promise.all([fail(), fail()])
  t.equal(probes(), 2)
  t.equal(documents.advertised(), true)
  t.strictSame(logged, [])

  world.ms = 100_000
  answers.set(ID, json({}))
  await t.rejects(documents.find(ID), invalid(/client_id/))
  answers.set(ID, new FetchError('no public address'))
  await t.rejects(documents.find(ID), invalid(/cannot be fetched/))
  await settled()
  t.equal(probes(), 2, 'an answer that is wrong says nothing about the network')

  answers.set(ID, away())
  world.offline = true
  await fail()
  t.equal(documents.advertised(), false, 'now it is Seed that reaches nobody')
  t.strictSame(logged.map(({ level }) => level), ['warn'])
  world.ms += 30_000
  await fail()
  t.equal(timers.size, 1, 'one timer, however often it is asked')
  world.offline = false
  world.ms += 30_000
  await fail()
  t.equal(documents.advertised(), true)
  t.strictSame(logged.map(({ level }) => level), ['warn', 'info'])
})

t.test('one probe at a time, however long it takes', async (t) => {
  let probes = 0
  const fails = Promise.reject<PublicDocument>(away())
  fails.catch(() => {})
  const { documents, world } = start(t, { fetchDocument: (url) => url === PROBE ? new Promise(() => { probes++ }) : fails })
  documents.start()
  world.ms = 60_000
  await t.rejects(documents.find(ID), later(503, 5))
  t.equal(probes, 1)
})

t.test('when Seed stops, probes stop', async (t) => {
  const timers = holdTimers(t)
  const { documents, fetched, logged, world } = start(t)
  world.offline = true
  documents.start()
  await settled()
  t.equal(timers.size, 1)
  const { fire } = [...timers.values()][0]!
  documents.close()
  t.equal(timers.size, 0)
  fire()
  t.strictSame(fetched, [PROBE])

  const under = start(t)
  under.world.offline = true
  under.documents.start()
  under.documents.close()
  await settled()
  t.strictSame([...under.logged, ...logged.slice(1)], [], 'nor is one under way reported')
  t.equal(timers.size, 0)
})

t.test('a failure of its own is not taken for a failure of the network', async (t) => {
  const { documents } = start(t, { fetchDocument: () => Promise.reject(new TypeError('a mistake')) })
  await t.rejects(documents.find(ID), new TypeError('a mistake'))
})

t.test('over the wire: documents, redirects, sizes, and addresses that are not public', async (t) => {
  const { key, cert } = selfSigned(t, ['client.example'])
  const asked: string[] = []
  const routes: Record<string, RequestListener> = {
    '/good': (_req, res) => { res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document(`${base}/good`))) },
    '/moved': (_req, res) => { res.writeHead(302, { location: '/good' }).end() },
    '/large': (_req, res) => { res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document(`${base}/large`, { filler: 'a'.repeat(5_120) }))) },
    '/drop': (req) => { req.socket.destroy() }
  }
  const server = createServer({ key, cert }, (req, res) => {
    asked.push(req.url!)
    routes[req.url!]!(req, res)
  }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  const base = `https://client.example:${(server.address() as AddressInfo).port}`
  const lookup = async () => [{ address: '127.0.0.1', family: 4 }]

  const documents = createMetadataDocuments({
    fetchDocument: createPublicFetcher({ lookup, isAllowed: () => true, ca: cert }),
    enabled: true,
    probeUrl: `${base}/good`,
    allowedHosts: [],
    redirectUriSchemes: [],
    log: { info: (_fields, message) => { t.fail(message) }, warn: (_fields, message) => { t.fail(message) } }
  })
  t.teardown(documents.close)
  t.match(await documents.find(`${base}/good`), { clientId: `${base}/good`, name: 'Client' })
  await t.rejects(documents.find(`${base}/moved`), { ...notAccepted('it cannot be fetched from its URL'), detail: `${base}/moved answered with a redirect, which is not followed` })
  await t.rejects(documents.find(`${base}/large`), { ...notAccepted('it cannot be fetched from its URL'), detail: `${base}/large answered with more than 5120 bytes` })
  await t.rejects(documents.find(`${base}/drop`), later(503, 5))
  t.strictSame(asked.slice(0, 4), ['/good', '/moved', '/large', '/drop'])
  t.strictSame((await documents.find(`${base}/good`)).redirectUris, ['http://localhost/callback'])
  while (!documents.advertised()) await settled()

  asked.length = 0
  const guarded = start(t, { fetchDocument: createPublicFetcher({ lookup, ca: cert }) })
  await t.rejects(guarded.documents.find(`${base}/good`), { ...notAccepted('it cannot be fetched from its URL'), detail: `${base}/good is not at a public address` })
  t.strictSame(asked, [])
})
