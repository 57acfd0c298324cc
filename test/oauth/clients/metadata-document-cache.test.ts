import { once } from 'node:events'
import type { IncomingHttpHeaders, RequestListener } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { FetchError } from '../../../src/net/fetch.ts'
import { createPublicFetcher } from '../../../src/net/public-fetch.ts'
import { createMetadataDocuments } from '../../../src/oauth/clients/metadata-document-cache.ts'
import {
  ADDRESS, createFixture, document, ID, invalid, json, JWKS_URI, KEY, limited, PROBE, settle, unreachable, unusable
} from '../../support/metadata-documents.ts'
import type { StubResponse } from '../../support/metadata-documents.ts'
import { selfSigned } from '../../support/tls.ts'

t.test('the documents of real clients', async (t) => {
  const { documents, responses } = createFixture(t)
  const claudeCode = 'https://claude.ai/oauth/claude-code-client-metadata'
  responses.set(claudeCode, json({
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
  responses.set(signing, json({
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

t.test('a client id that is not an https URL with a path, in normal form, is refused without a fetch', async (t) => {
  const { documents, fetched } = createFixture(t)
  const cases: Record<string, string[]> = {
    'must be well-formed, of at most 2048 characters': [
      'https://',
      'https://[::1/x',
      'client',
      '',
      'https://client.example:99999/x',
      `https://client.example/${'a'.repeat(2_026)}`
    ],
    'must use https': [
      'http://client.example/x',
      'ftp://client.example/x',
      'javascript://client.example/x',
      'file:///etc/passwd'
    ],
    'must have a path': [
      'https://client.example',
      'https://client.example/',
      'https://client.example/.',
      'https://client.example/a/..',
      'https://client.example/?a=b'
    ],
    'must not contain a fragment': ['https://client.example/x#y', 'https://client.example/x#'],
    'must not contain a user name or password': [
      'https://user@client.example/x',
      'https://user:secret@client.example/x',
      'https://:secret@client.example/x'
    ],
    'must not contain control characters': [
      'https://client.example/x%0d%0ay',
      'https://client.example/%00',
      'https://client.example/x?y=%7F'
    ],
    'must be written in its normal form': [
      'HTTPS://client.example/x', 'https://CLIENT.example/x', 'https://client.example:443/x',
      'https://client.example:08443/x', 'https://client.example/a/../x', 'https://client.example/./x',
      'https://client.example/%2e%2e/x', 'https://client.example/a/%2E/x', 'https:\\\\client.example\\x',
      'https:client.example/x', 'https:///client.example/x', ' https://client.example/x',
      'https://client.example/x\n', 'https://client.exa\tmple/x', 'https://@client.example/x',
      'https://clïent.example/x', 'https://client。example/x', 'https://client.example/ü', 'https://client.example./x',
      'https://2130706433/x', 'https://0x7f.1/x', 'https://127.1/x', 'https://[::ffff:127.0.0.1]/x'
    ]
  }
  for (const [why, ids] of Object.entries(cases)) {
    for (const id of ids) {
      await t.rejects(
        documents.find(id),
        invalid(`A client ID that is a URL ${why}`),
        JSON.stringify(id)
      )
    }
  }
  t.strictSame(fetched, [])
  for (const id of [
    'https://client.example/x?version=1',
    'https://client.example/x/',
    `https://client.example/${'a'.repeat(2_025)}`
  ]) {
    t.match(await documents.find(id), { clientId: id })
  }
})

t.test('every failure of a document has the same answer, a reason for the log only, and is not cached', async (t) => {
  const body = JSON.stringify(document(ID))
  const cases: Array<[StubResponse, string]> = [
    ...[201, 204, 206, 400, 404, 410, 429, 500, 503].map((status): [StubResponse, string] => [
      { ...json(document(ID)), status } as StubResponse,
      `its URL answered ${status}`
    ]),
    ...[
      undefined,
      '',
      'text/html',
      'text/json',
      'application/jsonp',
      'application/octet-stream',
      'application/+json',
      'xapplication/json'
    ].map((type): [StubResponse, string] => [
      { headers: { 'content-type': type }, body },
      'its content type is not JSON'
    ]),
    ...['', '<html>', '[]', `[${body}]`, 'null', '"text"', '1', body.slice(
      0,
      -1
    ), `\ufeff${body}`, `${body},`].map((text): [StubResponse, string] => [
      { headers: { 'content-type': 'application/json' }, body: text },
      'it is not a JSON object'
    ]),
    [
      new FetchError(`${ID} answered with a redirect, which is not followed`, { status: 302 }),
      `it cannot be fetched from its URL: ${ID} answered with a redirect, which is not followed`
    ],
    [
      new FetchError(`${ID} is not at a public address`),
      `it cannot be fetched from its URL: ${ID} is not at a public address`
    ],
    [unreachable(), 'it cannot be fetched from its URL: https://somewhere cannot be reached (ENOTFOUND)'],
    [json(document(ID, { client_secret: 'secret' })), 'it must not contain client_secret']
  ]
  for (const [response, why] of cases) {
    const { documents, responses, fetched } = createFixture(t)
    responses.set(ID, response)
    await t.rejects(documents.find(ID), unusable(why), JSON.stringify(response))
    await t.rejects(documents.find(ID), unusable(why))
    responses.delete(ID)
    t.match(await documents.find(ID), { clientId: ID })
    t.equal(fetched.filter((url) => url === ID).length, 3)
  }
  for (const type of [
    'application/json',
    'Application/JSON',
    'application/json;charset=utf-8',
    'application/json ; charset=utf-8',
    'application/vnd.client.v1+json'
  ]) {
    const { documents, responses } = createFixture(t)
    responses.set(ID, { headers: { 'content-type': type }, body })
    await t.resolves(documents.find(ID), type)
  }
})

t.test('nothing that the document of a public client names is fetched', async (t) => {
  const { documents, responses, fetched } = createFixture(t)
  responses.set(ID, json(document(ID, {
    jwks_uri: 'http://10.0.0.1/',
    client_uri: 'https://client.example/home',
    logo_uri: 'https://client.example/logo.png'
  })))
  t.match(await documents.find(ID), { tokenEndpointAuthMethod: 'none', jwks: undefined })
  t.strictSame(fetched, [ID])
})

t.test('keys behind a jwks_uri are fetched by the same rules and cached with the document', async (t) => {
  const { documents, responses, fetched, state } = createFixture(t)
  const signs = (jwksUri: unknown = JWKS_URI) => json(
    document(ID, { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: jwksUri }),
    { 'cache-control': 'max-age=600' }
  )
  responses.set(ID, signs())
  responses.set(
    JWKS_URI,
    json({ keys: [KEY] }, { 'cache-control': 'max-age=100', 'content-type': 'application/jwk-set+json' })
  )
  t.match(await documents.find(ID), { tokenEndpointAuthMethod: 'private_key_jwt', jwks: { keys: [KEY] } })
  state.ms = 99_999
  await documents.find(ID)
  t.strictSame(fetched, [ID, JWKS_URI])
  state.ms = 100_000
  await documents.find(ID)
  t.strictSame(fetched, [ID, JWKS_URI, ID, JWKS_URI], 'for the shorter of both times')

  for (const [response, expected] of [
    [json({ keys: [{ ...KEY, d: 'private' }] }), unusable('its key set must contain public keys only')],
    [json({ keys: [] }), unusable('its key set must contain at least one key')],
    [json([KEY]), unusable('it is not a JSON object')],
    [{ status: 404, body: '' }, unusable('its URL answered 404')],
    [new FetchError('no public address'), unusable('it cannot be fetched from its URL: no public address')]
  ] as const) {
    state.ms += 100_000
    responses.set(JWKS_URI, response)
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
    state.ms += 100_000
    responses.set(ID, signs(uri))
    await t.rejects(documents.find(ID), unusable(`its jwks_uri ${why}`))
  }
})

t.test('a document is cached for as long as its headers allow, from 30 seconds to a day', async (t) => {
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
    const { documents, responses, fetched, state } = createFixture(t)
    responses.set(ID, json(document(ID), headers))
    const first = await documents.find(ID)
    state.ms = seconds * 1_000 - 1
    t.equal(await documents.find(ID), first)
    t.equal(fetched.length, 1)
    state.ms++
    t.not(await documents.find(ID), first)
    t.equal(fetched.length, 2, `${JSON.stringify(headers).slice(0, 100)}: ${seconds} s`)
  }
})

t.test('a document that its host has changed, removed or spoilt is not used any more', async (t) => {
  for (const response of [json(document(PROBE)), { status: 404, body: '' }, json({})]) {
    const { documents, responses, fetched, state } = createFixture(t)
    await documents.find(ID)
    responses.set(ID, response)
    state.ms += 300_000
    await t.rejects(documents.find(ID), unusable(/./))
    t.equal(documents.findCached(ID), undefined)
    await t.rejects(documents.find(ID), unusable(/./))
    t.equal(fetched.filter((url) => url === ID).length, 3, 'no failure is cached')
    responses.delete(ID)
    t.match(await documents.find(ID), { clientId: ID })
  }
})

t.test("for a day, people can sign in with a client whose document's host is away", async (t) => {
  for (const response of [unreachable(), { status: 503, body: '' }, { status: 429, body: '' }]) {
    const { documents, responses, fetched, state } = createFixture(t)
    const first = await documents.find(ID)
    responses.set(ID, response)
    state.ms = 300_000
    t.equal(await documents.find(ID), first)
    state.ms += 29_999
    t.equal(await documents.find(ID), first)
    t.equal(fetched.filter((url) => url === ID).length, 2, 'and its host is asked again every 30 seconds only')
    state.ms = 300_000 + 86_399_999
    t.equal(await documents.find(ID), first)
    t.equal(documents.findCached(ID), first)
    state.ms++
    t.equal(documents.findCached(ID), undefined)
    await t.rejects(documents.find(ID), unusable(/./))
    responses.delete(ID)
    t.not(await documents.find(ID), first)
  }
})

t.test('a hundred simultaneous requests for a URL cause one fetch', async (t) => {
  const { documents, responses, fetched } = createFixture(t)
  const found = await Promise.all(Array.from({ length: 100 }, () => documents.find(ID)))
  t.ok(found.every((client) => client === found[0]))
  t.strictSame(fetched, [ID])
  const broken = `${ID}?broken`
  responses.set(broken, json({}))
  const failed = await Promise.allSettled(Array.from({ length: 100 }, () => documents.find(broken)))
  t.ok(failed.every(({ status }) => status === 'rejected'))
  t.strictSame(fetched, [ID, broken])
})

t.test('an address that names ten URLs a minute keeps nobody else from signing in', async (t) => {
  const { documents, responses, fetched, state } = createFixture(t)
  const url = (index: number) => `https://client.example/${index}`
  responses.set(url(3), unreachable())
  for (let index = 0; index < 10; index++) {
    await documents.find(url(index)).catch(() => {})
    state.ms += 1_000
  }
  const many = await Promise.allSettled(Array.from({ length: 1_000 }, (_, index) => documents.find(url(100 + index))))
  t.ok(many.every(({ status }) => status === 'rejected'))
  await t.rejects(documents.find(url(10)), {
    ...limited(50),
    message: 'Too many client metadata documents; try again in 50 seconds',
    detail: '10 documents were fetched for one address within a minute'
  })
  t.equal(fetched.filter((fetched) => fetched !== PROBE).length, 10)
  await t.resolves(documents.find(url(0)), 'a cached document costs nothing')
  await t.resolves(documents.find(url(10), '192.0.2.2'), 'another address has a limit of its own, for the same host')
  state.ms = 59_999
  await t.rejects(documents.find(url(11)), limited(1))
  state.ms++
  await t.resolves(documents.find(url(11)))
})

t.test('the 65,536 networks of one IPv6 site have thirty fetches a minute together', async (t) => {
  const { documents } = createFixture(t)
  for (let index = 0; index < 30; index++) {
    await documents.find(`https://client.example/${index}`, `2001:db8:1:${index.toString(16)}::1`)
  }
  await t.rejects(
    documents.find('https://client.example/x', '2001:db8:1:ffff::1'),
    { ...limited(60), detail: '30 documents were fetched for one network within a minute' }
  )
  await t.resolves(documents.find('https://client.example/x', '2001:db8:2::1'))
})

t.test('strangers at many addresses keep nobody from a client that was used before', async (t) => {
  const { documents, responses, fetched, state } = createFixture(t)
  const signing = 'https://signing.example/client'
  responses.set(signing, json(document(signing, { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: JWKS_URI })))
  await documents.find(ID)
  state.ms = 300_000
  let strangers = 0
  const fromStranger = async (url: string) => await documents.find(url, `198.51.100.${strangers++}`)
  responses.set('https://nowhere.example/x', unreachable())
  for (let index = 0; index < 50; index++) await t.rejects(fromStranger('https://nowhere.example/x'), unusable(/./))
  for (let index = 0; index < 299; index++) {
    await documents.find(`https://host-${index}.example/x`, `203.0.${index}.1`)
  }
  await t.rejects(
    fromStranger(signing),
    { ...limited(60), detail: '300 documents were fetched in total within a minute' },
    'key sets count too, and fetches that reach no server do not'
  )
  await t.rejects(fromStranger('https://host-299.example/x'), limited(60))
  documents.start()
  await settle()
  t.ok(documents.advertised(), 'the probe is not counted')
  fetched.length = 0
  t.match(await documents.find(ID), { clientId: ID })
  t.strictSame(fetched, [ID], 'documents that were valid before have a total of their own')
  state.ms += 60_000
  await t.resolves(fromStranger('https://host-299.example/x'))
})

t.test('known documents beyond their own total are used although they are stale', async (t) => {
  const { documents, fetched, state } = createFixture(t)
  const url = (index: number) => `https://host-${index}.example/x`
  for (let index = 0; index <= 300; index++) {
    await documents.find(url(index), `203.0.${index % 256}.${index}`)
    state.ms += 500
  }
  state.ms += 300_000
  fetched.length = 0
  for (let index = 0; index <= 300; index++) t.match(await documents.find(url(index)), { clientId: url(index) })
  t.equal(fetched.length, 300)
})

t.test('a thousand documents are cached, and the least recently used go first', async (t) => {
  const { documents, fetched, state, responses } = createFixture(t)
  const url = (index: number) => `https://host-${index}.example/x`
  const day = { 'cache-control': 'max-age=86400' }
  for (let index = 0; index <= 1_000; index++) {
    responses.set(url(index), json(document(url(index)), day))
    await documents.find(url(index))
    state.ms += 10_000
  }
  fetched.length = 0
  state.ms += 60_000
  for (let index = 1; index <= 1_000; index++) await documents.find(url(index))
  t.strictSame(fetched, [])
  await documents.find(url(0))
  await documents.find(url(1))
  t.strictSame(fetched, [url(0), url(1)])
})

t.test('a stranger cannot find out which other ports than 443 are open at a host', async (t) => {
  const { documents, responses, fetched } = createFixture(t)
  const id = 'https://client.example:22/x'
  const refused = invalid('Client metadata documents of this host are not accepted here (CIMD_HOSTS)')
  await t.rejects(documents.find(id), refused)
  const signing = 'https://client.example/signing'
  const method = { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://client.example:22/keys' }
  responses.set(signing, json(document(signing, method)))
  await t.rejects(documents.find(signing), unusable('its jwks_uri is at client.example:22, which CIMD_HOSTS does not list'))
  t.strictSame(fetched, [signing])
})

t.test('only documents of listed hosts, if hosts are listed', async (t) => {
  const { documents, responses, fetched } = createFixture(t, { allowedHosts: ['client.example', 'other.example:8443'] })
  const refused = { ...invalid('Client metadata documents of this host are not accepted here (CIMD_HOSTS)') }
  for (const id of [
    'https://evil.example/x',
    'https://sub.client.example/x',
    'https://client.example.evil.example/x',
    'https://client.example:8443/x',
    'https://other.example/x',
    'https://xclient.example/x'
  ]) {
    await t.rejects(documents.find(id), { ...refused, detail: `the host is ${new URL(id).host}` })
  }
  t.strictSame(fetched, [])
  await t.resolves(documents.find(ID))
  await t.resolves(documents.find('https://other.example:8443/x'))
  const signing = 'https://client.example/signing'
  responses.set(
    signing,
    json(document(signing, { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://evil.example/keys' }))
  )
  await t.rejects(documents.find(signing), unusable('its jwks_uri is at evil.example, which CIMD_HOSTS does not list'))
  t.notOk(fetched.includes('https://evil.example/keys'))
  documents.start()
  await settle()
  t.ok(documents.advertised(), 'CIMD_HOSTS does not apply to the probe')
  await t.rejects(documents.find(PROBE), refused, 'which does not make it a client')
})

t.test('with CIMD_ENABLED=false nothing is fetched, advertised or found', async (t) => {
  const { documents, fetched } = createFixture(t, { enabled: false })
  documents.start()
  await settle()
  t.equal(documents.advertised(), false)
  await t.rejects(
    documents.find(ID),
    invalid('Client metadata documents are not accepted here (CIMD_ENABLED): register instead')
  )
  t.strictSame(fetched, [])
})

t.test('an unexpected error is not mistaken for a network failure', async (t) => {
  const { documents } = createFixture(t, { fetchDocument: () => Promise.reject(new TypeError('a mistake')) })
  await t.rejects(documents.find(ID), new TypeError('a mistake'))
})

t.test('over the wire: documents, redirects, sizes, and addresses that are not public', async (t) => {
  const { key, cert } = selfSigned(t, ['client.example'])
  const asked: string[] = []
  const routes: Record<string, RequestListener> = {
    '/good': (_req, res) => {
      res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document(`${base}/good`)))
    },
    '/moved': (_req, res) => { res.writeHead(302, { location: '/good' }).end() },
    '/large': (_req, res) => {
      res.writeHead(
        200,
        { 'content-type': 'application/json' }
      ).end(JSON.stringify(document(`${base}/large`, { filler: 'a'.repeat(5_120) })))
    },
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
    allowedHosts: [new URL(base).host],
    redirectUriSchemes: [],
    log: { info: (_fields, message) => { t.fail(message) }, warn: (_fields, message) => { t.fail(message) } }
  })
  t.teardown(documents.close)
  t.match(await documents.find(`${base}/good`, ADDRESS), { clientId: `${base}/good`, name: 'Client' })
  await t.rejects(
    documents.find(`${base}/moved`, ADDRESS),
    unusable(`it cannot be fetched from its URL: ${base}/moved answered with a redirect, which is not followed`)
  )
  await t.rejects(
    documents.find(`${base}/large`, ADDRESS),
    unusable(`it cannot be fetched from its URL: ${base}/large answered with more than 5120 bytes`)
  )
  await t.rejects(documents.find(`${base}/drop`, ADDRESS), unusable(/it cannot be fetched from its URL/))
  t.strictSame(asked.slice(0, 4), ['/good', '/moved', '/large', '/drop'])
  t.strictSame((await documents.find(`${base}/good`, ADDRESS)).redirectUris, ['http://localhost/callback'])
  while (!documents.advertised()) await settle()

  asked.length = 0
  const guarded = createFixture(t, {
    fetchDocument: createPublicFetcher({ lookup, ca: cert }), allowedHosts: [new URL(base).host]
  })
  await t.rejects(
    guarded.documents.find(`${base}/good`),
    unusable(`it cannot be fetched from its URL: ${base}/good is not at a public address`)
  )
  t.strictSame(asked, [])
})
