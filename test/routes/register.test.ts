import t from 'tap'
import type { Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { isError, withoutReference } from '../support/oauth-error.ts'
import { captureLogs } from '../support/seed.ts'

const REDIRECT = 'https://client.example/cb'
/** Nothing listens on this port. */
const DEAD_REDIS = 'redis://127.0.0.1:1'

/** Registration needs no provider: this one is never asked. */
const { app } = await startApp(t, {
  DCR_LIMIT_PER_ADDRESS: '10000',
  DCR_LIMIT_TOTAL: '10000',
  OAUTH_LIMIT_PER_ADDRESS: '10000'
})

t.test('gives a client an id and returns what was registered', async (t) => {
  // The second is told of the first's registration.
  const before = Math.floor(Date.now() / 1_000)
  for (const url of ['/oauth/register', '/register']) {
    const response = await register({
      redirect_uris: [REDIRECT, 'http://localhost:8080/callback'],
      client_name: 'A client',
      client_uri: 'https://client.example',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      scope: 'openid email'
    }, { url })
    t.equal(response.statusCode, 201)
    const { client_id: id, client_id_issued_at: issuedAt, ...metadata } = response.json<Record<string, unknown>>()
    t.match(id, /^seed-[\w-]{24}$/, '144 random bits')
    t.ok(Number(issuedAt) >= before && Number(issuedAt) <= Date.now() / 1_000)
    t.same(metadata, {
      redirect_uris: [REDIRECT, 'http://localhost:8080/callback'],
      client_name: 'A client',
      client_uri: 'https://client.example',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      scope: 'openid email'
    })
    t.equal(response.headers['cache-control'], 'no-store')
    t.equal(response.headers['pragma'], 'no-cache')
    t.match(response.headers['content-type'], /^application\/json/)
    t.equal(response.headers['set-cookie'], undefined)
  }
})

t.test('each client has its own id, and gets it again when it registers the same metadata', async (t) => {
  const metadata = Array.from({ length: 20 }, (_, index) => ({
    redirect_uris: [`${REDIRECT}/${index}`],
    client_name: 'Twenty'
  }))
  const first = await Promise.all(metadata.map(async (given) => (await register(given)).body))
  t.equal(new Set(first.map((body) => (JSON.parse(body) as { client_id: string }).client_id)).size, 20)
  for (const [index, given] of metadata.entries()) {
    const again = await register({ ...given, software_version: '2', contacts: ['ada@example.com'] })
    t.equal(again.statusCode, 201)
    t.equal(again.body, first[index], 'what is not kept makes no difference')
  }
  for (const change of [
    { client_name: 'twenty' },
    { redirect_uris: [`${REDIRECT}/0`, REDIRECT] },
    { grant_types: ['authorization_code'] },
    { scope: 'openid' },
    { application_type: 'native' },
    { client_uri: 'https://client.example' }
  ]) {
    t.not((await register({ ...metadata[0], ...change })).body, first[0], JSON.stringify(change))
  }
})

t.test('an expired registration is not returned again', async (t) => {
  const metadata = { redirect_uris: [`${REDIRECT}/gone`] }
  const first = (await register(metadata)).json<{ client_id: string }>().client_id
  await app.store.delete(`client:${first}`)
  const second = (await register(metadata)).json<{ client_id: string }>().client_id
  t.not(second, first)
  t.equal((await register(metadata)).json<{ client_id: string }>().client_id, second)
})

t.test('fills in what a client omits, and returns what differs from its request', async (t) => {
  const rest = {
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none'
  }
  for (const [given, expected] of [
    [{ redirect_uris: [REDIRECT] }, { ...rest, application_type: 'web' }],
    [{ redirect_uris: ['http://127.0.0.1/cb'] }, { ...rest, application_type: 'native' }],
    [
      {
        redirect_uris: [
          'cursor://anysphere.cursor-mcp/oauth/callback',
          'https://www.cursor.com/agents/mcp/oauth/callback'
        ]
      },
      { ...rest, application_type: 'native' }
    ],
    [
      { redirect_uris: ['http://localhost/cb'], application_type: 'web' },
      { ...rest, application_type: 'web' }
    ],
    [
      { redirect_uris: [REDIRECT], application_type: 'native' },
      { ...rest, application_type: 'native' }
    ],
    [
      { redirect_uris: [REDIRECT], token_endpoint_auth_method: 'client_secret_post' },
      { ...rest, application_type: 'web' }
    ],
    [
      { redirect_uris: [REDIRECT], token_endpoint_auth_method: 'private_key_jwt' },
      { ...rest, application_type: 'web' }
    ],
    [
      {
        redirect_uris: [REDIRECT],
        grant_types: ['authorization_code', 'implicit', 'urn:x'],
        response_types: ['code', 'token']
      },
      { ...rest, grant_types: ['authorization_code'], application_type: 'web' }
    ]
  ] as const) {
    const response = await register(given)
    t.equal(response.statusCode, 201, JSON.stringify(given))
    const { client_id: id, client_id_issued_at: issuedAt, ...metadata } = response.json<Record<string, unknown>>()
    t.same(metadata, { redirect_uris: given.redirect_uris, ...expected }, 'and never a secret')
  }
})

t.test('accepts every form of redirect URI that real clients use', async (t) => {
  for (const uri of [
    'https://claude.ai/api/mcp/auth_callback',
    'https://claude.com/api/mcp/auth_callback',
    'https://chatgpt.com/connector/oauth/abc',
    'https://vscode.dev/redirect',
    'https://www.cursor.com/agents/mcp/oauth/callback',
    'http://127.0.0.1:33418',
    'http://127.0.0.1:33418/',
    'http://localhost/callback',
    'http://localhost:8787/callback',
    'http://127.0.0.1:3334/oauth_callback',
    'http://[::1]:8080/cb',
    'http://localhost:6274/oauth/callback/debug',
    'cursor://anysphere.cursor-mcp/oauth/callback',
    'vscode://vscode.github-authentication/did-authenticate',
    'vscode-insiders://x/y',
    'https://client.example',
    'https://client.example/',
    'https://client.example:8443/cb?tenant=a&x=%20',
    'https://xn--bcher-kva.example/cb',
    'https://10.0.0.1/cb',
    `https://client.example/${'c'.repeat(2_023)}`
  ]) {
    const response = await register({ redirect_uris: [uri] })
    t.equal(response.statusCode, 201, uri)
    t.same(response.json<{ redirect_uris: string[] }>().redirect_uris, [uri], 'as it was sent')
  }
})

t.test('a client that lists a scheme which is not allowed is registered with its other redirect URIs', async (t) => {
  const local = 'http://127.0.0.1:33418/'
  const response = await register({ redirect_uris: [local, 'workbuddy://workbuddy/mcp/oauth/callback'] })
  t.equal(response.statusCode, 201)
  t.same(response.json<{ redirect_uris: string[] }>().redirect_uris, [local], 'as WorkBuddy does')
})

t.test('refuses every redirect URI that is ambiguous or that a browser would execute', async (t) => {
  for (const uri of [
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    ' javascript:alert(1)',
    'jav\tascript:alert(1)',
    'java\nscript:alert(1)',
    '\u0001javascript:alert(1)',
    'javascript://client.example/%0aalert(1)',
    'data:text/html,<script>alert(1)</script>',
    'data:,x',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://client.example/x',
    'mailto:a@b.c',
    'about:blank',
    'view-source:https://client.example',
    'intent://x#Intent;end',
    'ws://localhost/cb',
    'ftp://client.example/cb',
    'workbuddy://cb',
    'com.example.app:/cb',
    'urn:ietf:wg:oauth:2.0:oob',
    'http://client.example/cb',
    'http://127.0.0.2/cb',
    'http://127.1/cb',
    'http://2130706433/cb',
    'http://0x7f.1/cb',
    'http://0177.0.0.1/cb',
    'http://0.0.0.0/cb',
    'http://localhost./cb',
    'http://localhost.evil.example/cb',
    'http://127.0.0.1.nip.io/cb',
    'http://[::ffff:127.0.0.1]/cb',
    'http://10.0.0.1/cb',
    'https://user:pw@client.example/cb',
    'https://client.example@evil.example/cb',
    'https://@client.example/cb',
    'https://client.example\\@evil.example/cb',
    'http://user@localhost/cb',
    'https://client.example/cb#',
    'https://client.example/cb#x',
    'https://evil.example#@client.example/cb',
    'cursor://x#y',
    'https://*.client.example/cb',
    'https://client.example/*',
    'http://localhost:*/cb',
    '/cb',
    'cb',
    '//client.example/cb',
    'client.example/cb',
    'https://',
    'https:///cb',
    'https:client.example/cb',
    'https:/client.example/cb',
    '?',
    '#',
    'https://client.example/../cb',
    'https://client.example/a/../cb',
    'https://client.example/./cb',
    'https://client.example/a/%2e%2e/cb',
    'https://client.example:443/cb',
    'http://localhost:80/cb',
    'https://CLIENT.example/cb',
    'HTTPS://client.example/cb',
    'https://client.example?x',
    'https://bücher.example/cb',
    'https://сlient.example/cb',
    'https://client。example/cb',
    'https://client%2eevil.example/cb',
    'https://client.example/ü',
    'https://client.example/c b',
    ' https://client.example/cb',
    'https://client.example/cb ',
    'https://client.example/c\tb',
    'https://client.example/cb\r\nSet-Cookie: x=1',
    'https://client.example/cb\u0000',
    'https://client.example/cb\u007f',
    'https://client.example/cb\u0085',
    'https://client.example/cb\u2028',
    'https://client.example/cb%0d%0aSet-Cookie:x=1',
    'https://client.example/cb%00',
    'https://client.example/cb%1F',
    'https://client.example/cb%7f',
    'https://client.example/cb?',
    'http://localhost/cb?',
    ...[
      'code',
      'state',
      'iss',
      'error',
      'error_description',
      'error_uri',
      'id_token',
      'access_token',
      'token',
      'response'
    ].map((name) => `https://client.example/cb?x=1&${name}=1`),
    'https://client.example/cb?c%6fde=1',
    'cursor://x/y?code=1',
    'http://localhost:99999/cb',
    'https://[::1/cb',
    'https://exa mple/cb',
    ''
  ]) {
    const response = await register({ redirect_uris: [uri] })
    isError(t, response, 400, 'invalid_redirect_uri', encodeURIComponent(uri))
    t.equal(response.headers['set-cookie'], undefined)
    if (uri.length > 3) t.notOk(response.body.includes(uri), 'what was sent is not sent back')
    if (uri === '') continue
    const beside = await register({ redirect_uris: [uri, REDIRECT] })
    t.equal(beside.statusCode, 201, `${encodeURIComponent(uri)} beside one that is accepted`)
    t.same(beside.json().redirect_uris, [REDIRECT], 'the response says which were registered (RFC 7591 3.2.1)')
  }
})

t.test('a native client with another port each time is one registration', async (t) => {
  const at = async (...uris: string[]) =>
    await register({ client_name: 'Native', redirect_uris: uris, application_type: 'native' })
  const first = (await at('http://localhost:50001/callback')).json()
  for (let port = 50_002; port < 50_030; port++) {
    const response = await at(`http://localhost:${port}/callback`)
    t.equal(response.statusCode, 201, 'however many start in an hour')
    t.same(response.json(), { ...first, redirect_uris: [`http://localhost:${port}/callback`] })
  }
  t.not((await at('http://127.0.0.1:50001/callback')).json().client_id, first.client_id, 'another host')
  t.not((await at('http://localhost:50001/other')).json().client_id, first.client_id, 'another path')
})

t.test('null members are absent ones', async (t) => {
  const nulls = { client_name: null, client_uri: null, application_type: null, scope: null, software_statement: null }
  const response = await register({ redirect_uris: [REDIRECT], ...nulls })
  t.equal(response.statusCode, 201)
  t.notOk('client_uri' in response.json())
})

t.test('reports bad redirect_uris with their own error code', async (t) => {
  for (const uris of [
    undefined,
    null,
    [],
    'https://client.example/cb',
    {},
    [null],
    [1],
    [[REDIRECT]],
    [{}],
    Array(11).fill(REDIRECT),
    [`https://client.example/${'c'.repeat(3_000)}`]
  ]) {
    isError(
      t,
      await register({ redirect_uris: uris }),
      400,
      'invalid_redirect_uri',
      JSON.stringify(uris)?.slice(0, 60) ?? 'absent'
    )
  }
  t.equal((await register({ redirect_uris: Array(10).fill(REDIRECT) })).statusCode, 201, 'ten are taken')
})

t.test('refuses metadata of a wrong type, size or meaning', async (t) => {
  for (const metadata of [
    { client_name: 7 },
    { client_name: ['x'] },
    { client_name: 'x'.repeat(201) },
    ...['client_uri', 'logo_uri', 'tos_uri', 'policy_uri'].flatMap((name) =>
      [
        'javascript:alert(1)',
        'data:image/png;base64,x',
        'file:///x',
        'x',
        '',
        ' https://x',
        'https://',
        'https://x y',
        'https://x\n',
        7,
        `https://x/${'x'.repeat(2_048)}`
      ].map((value) => ({ [name]: value }))
    ),
    { grant_types: 'authorization_code' },
    { grant_types: [] },
    { grant_types: ['refresh_token'] },
    { grant_types: ['client_credentials'] },
    { grant_types: [7] },
    { grant_types: Array(21).fill('authorization_code') },
    { response_types: [] },
    { response_types: ['token'] },
    { response_types: ['code token'] },
    { response_types: 'code' },
    { token_endpoint_auth_method: 7 },
    { application_type: 'service' },
    { application_type: '' },
    { scope: 7 },
    { scope: ['openid'] },
    { scope: 's'.repeat(4_097) }
  ]) {
    isError(
      t,
      await register({ redirect_uris: [REDIRECT], ...metadata }),
      400,
      'invalid_client_metadata',
      JSON.stringify(metadata).slice(0, 80)
    )
  }
})

t.test('refuses software statements', async (t) => {
  for (const statement of [
    'eyJhbGciOiJub25lIn0.eyJyZWRpcmVjdF91cmlzIjpbImh0dHBzOi8vZXZpbC5leGFtcGxlL2NiIl19.',
    '',
    {}
  ]) {
    isError(
      t,
      await register({ redirect_uris: [REDIRECT], software_statement: statement }),
      400,
      'invalid_software_statement',
      JSON.stringify(statement)
    )
  }
})

t.test('stores and returns only known members, and fetches nothing', async (t) => {
  const sink = 'http://127.0.0.1:1/sink'
  const unknown = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`x_${index}`, { deep: [index] }]))
  const response = await register({
    redirect_uris: [REDIRECT],
    client_id: 'chosen',
    client_secret: 'chosen-secret',
    client_id_issued_at: 1,
    registration_access_token: 'x',
    registration_client_uri: sink,
    jwks_uri: sink,
    jwks: { keys: [] },
    sector_identifier_uri: sink,
    request_uris: [sink],
    initiate_login_uri: sink,
    logo_uri: 'http://127.0.0.1:1/logo.png',
    tos_uri: 'https://client.example/tos',
    policy_uri: 'https://client.example/policy',
    software_id: 'x',
    contacts: ['a@b.c'],
    ...unknown
  })
  t.equal(response.statusCode, 201)
  t.same(Object.keys(response.json()).sort(), [
    'application_type',
    'client_id',
    'client_id_issued_at',
    'grant_types',
    'redirect_uris',
    'response_types',
    'token_endpoint_auth_method'
  ])
  const id = response.json<{ client_id: string }>().client_id
  t.match(id, /^seed-/)
  t.same(
    JSON.parse((await app.store.get(`client:${id}`))!),
    { form: 1, ...response.json<object>() },
    'the record holds no more'
  )
})

t.test('removes deceptive characters from a name', async (t) => {
  for (const [given, kept] of [
    ['Claude', 'Claude'],
    [' Werkzeug für Ärzte 医 ', 'Werkzeug für Ärzte 医'],
    ['a\u202eb\u2066c\u200bd\u0000e\u001b[31mf\r\ng\u2028h\u2029i\ufeffj\u{e0041}k\u0085', 'abcde[31mfghijk'],
    ['<b>"bold"</b>', '<b>"bold"</b>'],
    ['\u200b\u202e', undefined],
    ['', undefined]
  ] as const) {
    t.equal(
      (await register({ redirect_uris: [REDIRECT], client_name: given })).json<{ client_name?: string }>().client_name,
      kept
    )
  }
})

t.test('accepts only JSON objects of at most 16 KiB and 64 levels', async (t) => {
  const good = JSON.stringify({ redirect_uris: [REDIRECT] })
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonx',
    'application/json, text/plain',
    'text/plain; application/json',
    'application/jose'
  ]) {
    isError(t, await send(good, { 'content-type': type }), 415, 'invalid_request', type)
  }
  t.equal((await send(good, { 'content-type': 'application/json; charset=utf-8' })).statusCode, 201)
  isError(t, await send(good, {}), 415, 'invalid_request', 'no content type')

  for (const body of [
    '',
    '{',
    '{"redirect_uris":["https://client.example/cb"],}',
    `${good}${good}`,
    '{"__proto__":{"client_name":"x"},"redirect_uris":["https://client.example/cb"]}',
    '{"constructor":{"prototype":{"x":1}}}',
    '{"\\u005f_proto__":1}',
    'redirect_uris=x',
    '\u0000'
  ]) {
    isError(t, await send(body), 400, 'invalid_request', encodeURIComponent(body).slice(0, 60))
  }
  for (const body of ['null', '1', 'true', '"1"', '[]', `[${good}]`]) {
    isError(t, await send(body), 400, 'invalid_client_metadata', body)
  }
  t.equal(({} as { x?: unknown }).x, undefined)

  const nested = (levels: number): string =>
    `{"redirect_uris":["${REDIRECT}"],"x":${'['.repeat(levels)}1${']'.repeat(levels)}}`
  t.equal((await send(nested(60))).statusCode, 201)
  for (const levels of [64, 65, 1_000, 8_000]) {
    isError(t, await send(nested(levels)), 400, 'invalid_request', `${levels} levels`)
  }

  const padded = (length: number): string => `${good.slice(0, -1)},"x":"${'x'.repeat(length - good.length - 7)}"}`
  t.equal(padded(16_384).length, 16_384)
  t.equal((await send(padded(16_384))).statusCode, 201)
  isError(t, await send(padded(16_385)), 413, 'invalid_request', 'one byte more')
})

t.test('accepts only POST', async (t) => {
  for (const url of ['/oauth/register', '/register']) {
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE'] as const) {
      const response = await app.inject({
        method,
        url,
        ...(method !== 'GET' && { payload: 'x', headers: { 'content-type': 'text/plain' } })
      })
      isError(t, response, 405, 'invalid_request', method)
      t.equal(response.headers.allow, 'POST')
    }
    t.match(await app.inject({ method: 'HEAD', url }), { statusCode: 405, body: '', headers: { allow: 'POST' } })
  }
})

t.test('needs no credential and ignores one', async (t) => {
  for (const authorization of ['Bearer x', 'Bearer', 'Bearer \u00ff', 'Basic !!!', '']) {
    t.equal(
      (await register({ redirect_uris: [REDIRECT] }, { headers: { authorization } })).statusCode,
      201,
      encodeURIComponent(authorization)
    )
  }
})

t.test('limits registrations per address, and nobody for those of others', async (t) => {
  const { app } = await startApp(t, { DCR_LIMIT_PER_ADDRESS: '3', DCR_LIMIT_TOTAL: '5' })
  let clients = 0
  const from = async (remoteAddress: string, redirectUri = `${REDIRECT}/${++clients}`) =>
    await app.inject({
      method: 'POST',
      url: '/oauth/register',
      payload: { redirect_uris: [redirectUri] },
      remoteAddress
    })
  const statuses = async (addresses: string[]) => {
    const seen: number[] = []
    for (const address of addresses) seen.push((await from(address)).statusCode)
    return seen
  }

  for (let i = 0; i < 5; i++) {
    isError(
      t,
      await from('192.0.2.1', 'javascript:x'),
      400,
      'invalid_redirect_uri',
      'what is refused anyway does not count'
    )
  }
  t.same(await statuses(['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.1']), [201, 201, 201, 429])
  const limited = await from('192.0.2.1')
  isError(t, limited, 429, 'temporarily_unavailable', 'over the limit of the address')
  const seconds = Number(limited.headers['retry-after'])
  t.ok(
    Number.isInteger(seconds) && seconds > 3_500 && seconds <= 3_600,
    'Retry-After in whole seconds: the window is an hour'
  )
  t.equal(
    withoutReference(limited.json<{ error_description: string }>().error_description),
    `Too many requests; try again in ${seconds} seconds`
  )
  t.equal(
    (await from('192.0.2.1', `${REDIRECT}/1`)).statusCode,
    201,
    'who is known already gets the same client, over the limit as well'
  )

  t.same(
    await statuses(['2001:db8:1:2::1', '2001:db8:1:2:ffff::2', '192.0.2.2']),
    [201, 201, 201],
    'nobody else is refused'
  )
  for (let i = 0; i < 5; i++) {
    t.equal((await from('198.51.100.1', `${REDIRECT}/2`)).statusCode, 201, 'nor does one that is known')
  }
})

t.test('an IPv6 /64 counts as one address, and so do both spellings of an IPv4 address', async (t) => {
  const { app } = await startApp(t, { DCR_LIMIT_PER_ADDRESS: '1' })
  let clients = 0
  const from = async (remoteAddress: string) =>
    (
      await app.inject({
        method: 'POST',
        url: '/oauth/register',
        payload: { redirect_uris: [`${REDIRECT}/${++clients}`] },
        remoteAddress
      })
    ).statusCode
  t.equal(await from('2001:db8::1'), 201)
  for (let host = 2; host < 50; host++) t.equal(await from(`2001:db8:0:0:${host.toString(16)}:${host}::${host}`), 429)
  t.equal(await from('2001:db8:0:1::1'), 201, 'the next /64')
  t.equal(await from('192.0.2.9'), 201)
  t.equal(await from('::ffff:192.0.2.9'), 429)
})

t.test('the many networks of one IPv6 site cannot use up the registrations of everybody else', async (t) => {
  const { app } = await startApp(t, { DCR_LIMIT_PER_ADDRESS: '2', DCR_LIMIT_TOTAL: '8' })
  let registered = 0
  const from = async (remoteAddress: string) => (await app.inject({
    method: 'POST',
    url: '/oauth/register',
    payload: { redirect_uris: [`${REDIRECT}/${registered++}`] },
    remoteAddress
  })).statusCode
  for (let network = 0; network < 20; network++) {
    t.equal(await from(`2001:db8:0:${network.toString(16)}::1`), network < 6 ? 201 : 429)
  }
  t.equal(await from('192.0.2.9'), 201, 'somebody else, for the first time')
  t.equal(await from('2001:db8:1::1'), 201, 'another site')
})

t.test('limits requests per address as well, whatever their outcome', async (t) => {
  const { app, logged } = await startApp(t, { OAUTH_LIMIT_PER_ADDRESS: '3' })
  const ask = async (url: string, remoteAddress: string) =>
    await app.inject({ method: 'POST', url, payload: { redirect_uris: [REDIRECT] }, remoteAddress })
  for (const [url, status] of [
    ['/oauth/register', 201],
    ['/register', 201],
    ['/oauth/register', 201],
    ['/register', 429],
    ['/oauth/register', 429]
  ] as const) { t.equal((await ask(url, '192.0.2.1')).statusCode, status, url) }
  const limited = await ask('/oauth/register', '192.0.2.1')
  isError(t, limited, 429, 'temporarily_unavailable', 'the paths share the limit')
  const seconds = Number(limited.headers['retry-after'])
  t.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 60, 'a minute')
  t.match(
    (await logged(({ reqId }) => reqId === limited.headers['x-request-id']))['reason'],
    'more than 3 requests to registration in 60 s (OAUTH_LIMIT_PER_ADDRESS, TRUST_PROXY)'
  )
  t.equal((await ask('/oauth/register', '192.0.2.2')).statusCode, 201, 'the next address is not touched by it')
})

t.test('the log says who was limited and by which setting', async (t) => {
  const { app, logged } = await startApp(t, { DCR_LIMIT_PER_ADDRESS: '1' })
  for (const status of [201, 429]) {
    t.equal(
      (
        await app.inject({
          method: 'POST',
          url: '/oauth/register',
          payload: { redirect_uris: [`${REDIRECT}/${status}`] },
          remoteAddress: '192.0.2.7'
        })
      ).statusCode,
      status
    )
  }
  t.match(await logged(({ status }) => status === 429), {
    address: '192.0.2.7',
    path: '/oauth/register',
    reason: 'more than 1 requests to register in 3600 s (DCR_LIMIT_PER_ADDRESS, TRUST_PROXY)'
  })
})

t.test('while the store is away the response is 503 with Retry-After', async (t) => {
  const { app } = await startApp(t, { REDIS_URL: DEAD_REDIS })
  const response = await app.inject({ method: 'POST', url: '/oauth/register', payload: { redirect_uris: [REDIRECT] } })
  isError(t, response, 503, 'temporarily_unavailable', 'dead Redis')
  t.equal(response.headers['retry-after'], '1')
  t.equal(
    withoutReference(response.json<{ error_description: string }>().error_description),
    "The server's store cannot be reached; try again shortly"
  )
})

t.test('without sign-in there is no registration', async (t) => {
  const { app } = await startApp(t, { AUTH_REQUIRED: 'false' })
  t.equal(
    (await app.inject({ method: 'POST', url: '/oauth/register', payload: { redirect_uris: [REDIRECT] } })).statusCode,
    404
  )
})

t.test('strangers at many addresses keep no newcomer from registering, and fill no store', async (t) => {
  const { app } = await startApp(t, { DCR_LIMIT_TOTAL: '30' })
  const from = async (remoteAddress: string, payload: Record<string, unknown>) =>
    await app.inject({ method: 'POST', url: '/oauth/register', payload, remoteAddress })
  const register = async (remoteAddress: string, payload: Record<string, unknown>) => {
    const response = await from(remoteAddress, payload)
    t.equal(response.statusCode, 201)
    return response.json<{ client_id: string }>()
  }
  for (let index = 0; index < 30; index++) {
    await register(`192.0.2.${index}`, { redirect_uris: [`${REDIRECT}/${index}`] })
  }
  const newcomer = await register('198.51.100.1', CLAUDE_CODE)
  t.match(newcomer, CLAUDE_CODE)
  t.match(newcomer.client_id, /^seed-[\w.-]+$/)
  t.ok(newcomer.client_id.length < 512, `${newcomer.client_id.length} characters fit into a URL`)
  const visualStudioCode = await register('198.51.100.1', VISUAL_STUDIO_CODE)
  t.ok(visualStudioCode.client_id.length < 1_024, `${visualStudioCode.client_id.length} characters`)
  for (let index = 0; index < 50; index++) {
    const { client_id: id } = await register(`203.0.113.${index}`, { redirect_uris: [`${REDIRECT}/more/${index}`] })
    t.equal(await app.store.get(`client:${id}`), undefined)
  }

  const authorize = async (clientId: string, redirectUri: string) => await app.inject({
    url: '/oauth/authorize',
    query: {
      response_type: 'code',
      client_id: clientId,
      redirect_uri: redirectUri,
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      code_challenge_method: 'S256'
    }
  })
  const page = await authorize(newcomer.client_id, 'http://localhost:40001/callback')
  t.equal(page.statusCode, 200, 'the newcomer gets its consent page')
  t.match(page.body, 'Claude Code')
  const elsewhere = await authorize(newcomer.client_id, 'https://evil.example/cb')
  t.equal(elsewhere.statusCode, 400, 'for its own redirect URIs only')
  isError(t, await from('198.51.100.2', { redirect_uris: [`${REDIRECT}/${'x'.repeat(1_000)}`] }), 429,
    'temporarily_unavailable', 'metadata that is too long for a URL waits')
})

const CLAUDE_CODE = {
  client_name: 'Claude Code (seed)',
  redirect_uris: ['http://localhost:51234/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
  application_type: 'native',
  scope: 'openid profile email groups offline_access'
}

const VISUAL_STUDIO_CODE = {
  client_name: 'Visual Studio Code',
  client_uri: 'https://code.visualstudio.com',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: [
    'https://insiders.vscode.dev/redirect', 'https://vscode.dev/redirect', 'http://127.0.0.1/', 'http://127.0.0.1:33418/'
  ],
  token_endpoint_auth_method: 'none',
  application_type: 'native',
  scope: 'openid profile email groups offline_access'
}

async function startApp (t: Test, env: Record<string, string>) {
  const { logged, stream } = captureLogs()
  const app = await buildApp(
    {
      BASE_URL: 'https://seed.example.com',
      OIDC_ISSUER: 'http://127.0.0.1:1',
      OIDC_AUDIENCE: 'seed',
      CIMD_ENABLED: 'false',
      ...env
    },
    { logStream: stream }
  )
  t.teardown(async () => { await app.close() })
  return { app, logged }
}

async function register (
  payload: Record<string, unknown>,
  { url = '/oauth/register', headers = {} }: { url?: string; headers?: Record<string, string> } = {}
) {
  return await app.inject({ method: 'POST', url, payload, headers })
}

async function send (payload: string, headers: Record<string, string> = { 'content-type': 'application/json' }) {
  return await app.inject({ method: 'POST', url: '/oauth/register', payload, headers })
}
