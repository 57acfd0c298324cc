import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { buildApp } from '../../src/app.ts'
import { allowedOrigins } from '../../src/http/host-and-origin.ts'
import { createBrowser } from '../support/browser.ts'
import { captureLogs, modernRequest, ping, ready, startSeed } from '../support/seed.ts'

const APP_ORIGIN = 'https://app.example'
const REDIRECT = 'http://localhost:53217/callback'
const { body: LIST, headers: LIST_HEADERS } = modernRequest('tools/list')
const AUTHORIZE = `/oauth/authorize?response_type=code&client_id=cli&redirect_uri=${encodeURIComponent(REDIRECT)}&code_challenge=${'x'.repeat(43)}&code_challenge_method=S256`
const FORM = 'application/x-www-form-urlencoded'
const JSON_TYPE = 'application/json'

const seed = await startSeed(t, {
  env: {
    CORS_EXTRA_ORIGINS: APP_ORIGIN,
    ALLOWED_HOSTS: 'Seed.internal:8080,seed',
    DCR_LIMIT_PER_ADDRESS: '10000',
    DCR_LIMIT_TOTAL: '10000'
  }
})
await ready(seed)
const own = new URL(seed.url).host
const token = await seed.provider.mint()

/** One good request for each class of route, with the form its errors have. */
interface Target {
  method: 'GET' | 'POST'
  url: string
  status: number
  errors: 'plain' | 'page' | 'oauth' | 'json-rpc'
  payload?: string
  headers?: Record<string, string>
}
const targets: Target[] = [
  ...[
    'oauth-protected-resource',
    'oauth-protected-resource/mcp',
    'oauth-authorization-server',
    'openid-configuration'
  ].map((path): Target => ({ method: 'GET', url: `/.well-known/${path}`, status: 200, errors: 'plain' })),
  ...['', '/oauth'].flatMap((prefix): Target[] => [
    { method: 'GET', url: AUTHORIZE.replace('/oauth', prefix), status: 200, errors: 'page' },
    {
      method: 'POST',
      url: `${prefix}/token`,
      status: 400,
      errors: 'oauth',
      payload: 'grant_type=refresh_token&client_id=cli&refresh_token=r',
      headers: { 'content-type': FORM }
    },
    {
      method: 'POST',
      url: `${prefix}/revoke`,
      status: 400,
      errors: 'oauth',
      payload: 'client_id=cli',
      headers: { 'content-type': FORM }
    },
    {
      method: 'POST',
      url: `${prefix}/register`,
      status: 201,
      errors: 'oauth',
      payload: JSON.stringify({ redirect_uris: [REDIRECT] }),
      headers: { 'content-type': JSON_TYPE }
    }
  ]),
  {
    method: 'POST',
    url: '/oauth/consent',
    status: 400,
    errors: 'page',
    payload: 'consent=unknown&decision=approve',
    headers: { 'content-type': FORM }
  },
  {
    method: 'POST',
    url: '/mcp',
    status: 200,
    errors: 'json-rpc',
    payload: LIST,
    headers: { ...LIST_HEADERS, 'content-type': JSON_TYPE, authorization: `Bearer ${token}` }
  }
]
const browserTargets = targets.filter(({ errors }) => errors !== 'page')

// One hook checks the Host of every request. So it is enough that one target meets every host, and every target one.
const mcp = targets.at(-1)!

t.test('answers to the names it is configured with, and to those of this machine', async (t) => {
  for (const host of [
    own, 'seed.internal:8080', 'SEED.internal:8080', 'seed', 'localhost', 'localhost:1', 'LOCALHOST:3000', '127.0.0.1',
    '127.0.0.1:99999', '[::1]', '[::1]:3000'
  ]) t.equal((await ask(mcp, { host })).statusCode, mcp.status, host)
  for (const target of targets) t.equal((await ask(target, { host: 'seed' })).statusCode, target.status, target.url)
})

t.test('refuses every other Host on every route, in the form that the route has for errors', async (t) => {
  for (const host of [
    'evil.example', `${own}.evil.example`, 'localhost.evil.example', 'evil.localhost', 'localhost.', '127.0.0.2',
    '127.1', '0.0.0.0', '[::]', 'seed.internal', 'seed.internal:8081', 'seed:8080', 'user@localhost',
    'localhost:3000:3000', 'localhost:', 'localhost:x', 'localhost, evil.example', '"><script>', '.'
  ]) {
    const response = await ask(mcp, { host })
    isRefusal(t, response, mcp, 421, host)
    if (host.length > 9) t.notOk(everything(response).includes(host), 'and does not repeat it')
  }
  for (const host of ['evil.example', '"><script>alert(1)']) {
    for (const target of targets) {
      const response = await ask(target, { host })
      isRefusal(t, response, target, 421, `${host} ${target.url}`)
      t.notOk(everything(response).includes(host), 'and does not repeat it')
    }
    const preflight = { origin: APP_ORIGIN, 'access-control-request-method': 'POST' }
    t.equal(
      (await seed.app.inject({ method: 'OPTIONS', url: '/oauth/token', headers: { host, ...preflight } })).statusCode,
      421,
      'preflights too'
    )
    t.equal((await seed.app.inject({ url: '/nothing', headers: { host } })).statusCode, 404)
  }
})

t.test('refuses a Host that is there twice, or not at all', async (t) => {
  for (const { method, url } of targets) {
    const line = `${method} ${url} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n`
    for (const hosts of [[own, 'evil.example'], ['evil.example', own], [own, own]]) {
      t.match(
        await raw(`${line}Host: ${hosts[0]}\r\nhost: ${hosts[1]}\r\n\r\n`),
        /^HTTP\/1\.1 421 /,
        `${hosts.join()} ${url}`
      )
    }
    t.match(await raw(`${line}\r\n`), /^HTTP\/1\.1 400 /, 'HTTP/1.1 needs one')
    t.match(
      await raw(`${line.replace('HTTP/1.1', 'HTTP/1.0')}\r\n`),
      /^HTTP\/1\.1 421 /,
      'HTTP/1.0 may leave it out, and then it is not ours'
    )
  }
  const answer = await raw(
    `GET http://evil.example/.well-known/oauth-protected-resource HTTP/1.1\r\nHost: ${own}\r\nConnection: close\r\n\r\n`
  )
  t.match(answer, /^HTTP\/1\.1 200 .*"resource":"http:\/\/127\.0\.0\.1/s)
  t.notMatch(answer, 'evil', 'the absolute form changes nothing')
})

t.test('/mcp takes pages of its own origin and of those listed, compared whole, and clients that are no page', async (t) => {
  const port = new URL(seed.url).port
  for (const origin of [undefined, seed.url, `http://localhost:${port}`, `http://[::1]:${port}`, APP_ORIGIN]) {
    t.equal((await ask(mcp, origin === undefined ? {} : { origin })).statusCode, 200, String(origin))
  }
  for (const origin of [
    'https://evil.example',
    'null',
    '',
    'file://',
    `https://${own}`,
    'http://127.0.0.1',
    'http://127.0.0.1:1',
    `${seed.url}.evil.example`,
    `${seed.url}/`,
    `http://127.0.0.2:${port}`,
    'http://app.example',
    'https://app.example:443',
    'https://app.example:8443',
    'https://app.example.evil.example',
    'https://evil.example/https://app.example',
    'https://xapp.example',
    'HTTPS://app.example',
    `${APP_ORIGIN}, https://evil.example`
  ]) {
    for (const method of ['POST', 'GET', 'DELETE', 'OPTIONS'] as const) {
      const response = await seed.app.inject({
        method,
        url: '/mcp',
        headers: { ...mcp.headers, origin, 'access-control-request-method': 'POST' },
        ...(method === 'POST' && { payload: LIST })
      })
      if (method === 'OPTIONS') t.equal(response.statusCode, 403, 'nobody reads the body of a preflight')
      else isRefusal(t, response, mcp, 403, `${origin} ${method}`)
      t.equal(response.headers['access-control-allow-origin'], undefined)
      if (origin.length > 4) t.notOk(everything(response).includes(origin))
    }
  }
})

t.test('the origins of a public server are its own and those listed', async (t) => {
  t.same(allowedOrigins({ baseUrl: 'https://seed.example.com', corsExtraOrigins: [] }), ['https://seed.example.com'])
  t.same(
    allowedOrigins({
      baseUrl: 'https://seed.example.com:8443',
      corsExtraOrigins: [APP_ORIGIN, 'https://seed.example.com:8443']
    }),
    ['https://seed.example.com:8443', APP_ORIGIN]
  )
  t.same(allowedOrigins({ baseUrl: 'http://localhost:3000', corsExtraOrigins: [] }), [
    'http://localhost:3000',
    'http://127.0.0.1:3000',
    'http://[::1]:3000'
  ])
  t.same(allowedOrigins({ baseUrl: 'https://localhost', corsExtraOrigins: [] }), [
    'https://localhost',
    'https://127.0.0.1',
    'https://[::1]'
  ])
})

t.test('documents, token, revocation and registration are open to pages of any origin, without credentials', async (t) => {
  for (const target of browserTargets.filter(({ url }) => url !== '/mcp')) {
    for (const origin of ['https://anywhere.example', 'null']) {
      const preflight = await seed.app.inject({
        method: 'OPTIONS',
        url: target.url,
        headers: {
          origin,
          'access-control-request-method': target.method,
          'access-control-request-headers': 'content-type, mcp-protocol-version'
        }
      })
      t.equal(preflight.statusCode, 204, target.url)
      t.match(preflight.headers, {
        'access-control-allow-origin': '*',
        'access-control-allow-methods': target.method,
        'access-control-allow-headers': 'content-type, mcp-protocol-version',
        'access-control-max-age': '600'
      })
      const response = await ask(target, { origin })
      t.equal(response.statusCode, target.status)
      t.equal(response.headers['access-control-allow-origin'], '*')
      for (const { headers } of [preflight, response]) t.equal(headers['access-control-allow-credentials'], undefined)
    }
  }
})

t.test('/mcp is open to listed origins by name, and a preflight needs no token', async (t) => {
  const preflight = await seed.app.inject({
    method: 'OPTIONS',
    url: '/mcp',
    headers: {
      origin: APP_ORIGIN,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization, content-type, mcp-method, mcp-param-x'
    }
  })
  t.equal(preflight.statusCode, 204)
  t.match(preflight.headers, {
    'access-control-allow-origin': APP_ORIGIN,
    'access-control-allow-methods': 'POST, GET, DELETE',
    'access-control-allow-headers': 'authorization, content-type, mcp-method, mcp-param-x'
  })
  t.equal(preflight.headers['access-control-allow-credentials'], undefined)
  const exposed = (await ask(targets.at(-1)!, { origin: APP_ORIGIN })).headers['access-control-expose-headers']
  for (const name of ['WWW-Authenticate', 'Mcp-Session-Id', 'MCP-Protocol-Version', 'Retry-After']) {
    t.match(exposed, name)
  }
})

t.test('errors are readable across origins where answers are', async (t) => {
  for (const [request, status, allow] of [
    [{ method: 'POST', url: '/oauth/token', payload: '{}', headers: { 'content-type': JSON_TYPE } }, 415, '*'],
    [
      {
        method: 'POST',
        url: '/oauth/token',
        payload: 'x',
        headers: { 'content-type': FORM, authorization: 'Basic x' }
      },
      400,
      '*'
    ],
    [{ method: 'GET', url: '/oauth/token' }, 405, '*'],
    [
      { method: 'POST', url: '/oauth/register', payload: 'x'.repeat(17_000), headers: { 'content-type': JSON_TYPE } },
      413,
      '*'
    ],
    [{ method: 'PUT', url: '/.well-known/openid-configuration' }, 405, '*'],
    [
      { method: 'POST', url: '/mcp', payload: LIST, headers: { ...LIST_HEADERS, 'content-type': JSON_TYPE } },
      401,
      APP_ORIGIN
    ],
    [
      {
        method: 'POST',
        url: '/mcp',
        payload: LIST,
        headers: { ...LIST_HEADERS, 'content-type': 'text/plain', authorization: `Bearer ${token}` }
      },
      415,
      APP_ORIGIN
    ]
  ] as const) {
    const response = await seed.app.inject({
      ...request,
      headers: { ...('headers' in request && request.headers), origin: APP_ORIGIN }
    })
    t.equal(response.statusCode, status, request.url)
    t.equal(response.headers['access-control-allow-origin'], allow)
    t.equal(response.headers['access-control-allow-credentials'], undefined)
  }
})

t.test('no CORS where a browser navigates or nothing is to be read', async (t) => {
  for (const url of [
    AUTHORIZE,
    '/authorize',
    '/oauth/consent',
    '/oauth/backchannel-logout',
    '/health',
    '/health/ready',
    '/nothing',
    '/'
  ]) {
    for (const method of ['GET', 'OPTIONS'] as const) {
      const { headers } = await seed.app.inject({
        method,
        url,
        headers: { origin: APP_ORIGIN, 'access-control-request-method': 'GET' }
      })
      t.notOk(Object.keys(headers).some((name) => name.startsWith('access-control-')), `${method} ${url}`)
    }
  }
})

t.test('what a proxy or a client says of host, scheme and path changes no answer', async (t) => {
  const spoofed = {
    forwarded: 'for=192.0.2.60;proto=https;host=evil.example',
    'x-forwarded-host': 'a", error="insufficient_scope", scope="admin',
    'x-forwarded-proto': 'gopher',
    'x-forwarded-port': '666',
    'x-forwarded-prefix': '/evil',
    'x-forwarded-uri': '/evil',
    'x-forwarded-for': '192.0.2.66',
    'x-real-ip': '192.0.2.66',
    'x-original-url': '/health',
    'x-rewrite-url': '/health',
    'x-http-method-override': 'DELETE',
    'x-method-override': 'DELETE',
    'x-original-host': 'evil.example',
    'x-request-id': 'evil-id',
    'user-agent': 'kube-probe/1.30 GoogleHC/1.0'
  }
  const trusting = await startSeed(t, {
    sharedProvider: seed.provider,
    env: { TRUST_PROXY: '127.0.0.1', BASE_URL: seed.url }
  })
  await ready(trusting)
  const routes: Target[] = [
    ...targets,
    {
      method: 'POST',
      url: '/mcp',
      status: 401,
      errors: 'json-rpc',
      payload: LIST,
      headers: { ...LIST_HEADERS, 'content-type': JSON_TYPE }
    },
    { method: 'GET', url: '/nothing', status: 404, errors: 'plain' },
    { method: 'GET', url: '/health/ready', status: 200, errors: 'plain' }
  ]
  for (const { app } of [seed, trusting]) {
    for (const target of routes) {
      const [plain, other] = [await ask(target, {}, app), await ask(target, spoofed, app)]
      t.equal(other.statusCode, target.status, target.url)
      t.equal(forStrangers(other), forStrangers(plain))
      t.notMatch(everything(other), /evil|gopher|192\.0\.2\.6|insufficient_scope/)
    }
  }
})

t.test('whose address counts is TRUST_PROXY\'s to say', async (t) => {
  for (const { trust, peer, counted } of [
    { trust: '', peer: '192.0.2.1', counted: () => '192.0.2.1' },
    { trust: '192.0.2.0/24', peer: '192.0.2.1', counted: (client: string) => client },
    { trust: '192.0.2.0/24', peer: '::ffff:192.0.2.1', counted: (client: string) => client },
    { trust: '192.0.2.0/24', peer: '198.51.100.1', counted: () => '198.51.100.1' },
    { trust: '2001:db8::/32', peer: '192.0.2.1', counted: () => '192.0.2.1' }
  ]) {
    const { logged, stream } = captureLogs()
    const app = await buildApp(
      {
        OIDC_ISSUER: 'http://127.0.0.1:1',
        OIDC_AUDIENCE: 'seed',
        CIMD_ENABLED: 'false',
        TRUST_PROXY: trust,
        DCR_LIMIT_PER_ADDRESS: '2'
      },
      { logStream: stream }
    )
    t.teardown(async () => { await app.close() })
    const counts = new Map<string, number>()
    let clients = 0
    // What a client itself wrote into the header stands left of what the proxy saw, and is never believed.
    for (const client of ['203.0.113.1', '203.0.113.1', '203.0.113.1', '203.0.113.2', '203.0.113.3']) {
      const response = await app.inject({
        method: 'POST',
        url: '/oauth/register',
        payload: { redirect_uris: [`${REDIRECT}/${++clients}`] },
        remoteAddress: peer,
        headers: { 'x-forwarded-for': `10.9.8.${counts.size}, ${client}` }
      })
      const address = counted(client)
      counts.set(address, (counts.get(address) ?? 0) + 1)
      t.equal(
        response.statusCode,
        counts.get(address)! > 2 ? 429 : 201,
        `${trust || 'nobody'} trusted, ${peer} brings ${client}`
      )
      t.equal(
        (await logged(({ reqId }) => reqId === response.headers['x-request-id']))['address'],
        address,
        'the log says the same'
      )
    }
  }
})

t.test('every answer carries the security headers and a reference of its own, and no banner', async (t) => {
  const page = { method: 'GET', url: '/oauth/authorize', status: 400, errors: 'page' } as const
  const references = new Set<string>()
  const odd: Target[] = [
    page,
    { method: 'POST', url: '/oauth/authorize', status: 405, errors: 'page' },
    { method: 'GET', url: '/health', status: 200, errors: 'plain' },
    { method: 'GET', url: '/health/ready', status: 200, errors: 'plain' },
    { method: 'POST', url: '/health', status: 405, errors: 'plain' },
    { method: 'GET', url: '/nothing', status: 404, errors: 'plain' },
    {
      method: 'POST',
      url: '/oauth/token',
      status: 415,
      errors: 'oauth',
      payload: 'x',
      headers: { 'content-type': 'text/plain' }
    },
    {
      method: 'POST',
      url: '/oauth/token',
      status: 413,
      errors: 'oauth',
      payload: 'x'.repeat(17_000),
      headers: { 'content-type': FORM }
    },
    { method: 'GET', url: '/oauth/token', status: 405, errors: 'oauth' },
    { method: 'GET', url: '/oauth/consent', status: 405, errors: 'page' },
    {
      method: 'POST',
      url: '/oauth/backchannel-logout',
      status: 400,
      errors: 'oauth',
      payload: 'x',
      headers: { 'content-type': FORM }
    },
    {
      method: 'POST',
      url: '/mcp',
      status: 401,
      errors: 'json-rpc',
      payload: LIST,
      headers: { ...LIST_HEADERS, 'content-type': JSON_TYPE }
    },
    { method: 'GET', url: '/mcp', status: 401, errors: 'json-rpc' }
  ]
  for (const target of [...targets, ...odd]) {
    const { statusCode, headers } = await ask(target)
    t.equal(statusCode, target.status, target.url)
    t.match(headers, {
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': target.url.startsWith('/.well-known') ? 'cross-origin' : 'same-origin'
    })
    if (!target.url.startsWith('/.well-known')) t.equal(headers['cache-control'], 'no-store', target.url)
    for (const name of ['server', 'x-powered-by']) t.equal(headers[name], undefined)
    t.equal(
      headers['set-cookie'] !== undefined,
      target.errors === 'page' && statusCode === 200,
      'a cookie comes with the consent page and with nothing else'
    )
    if (target.errors === 'page') t.equal(headers['x-frame-options'], 'DENY')
    references.add(String(headers['x-request-id']))
  }
  t.equal(references.size, targets.length + odd.length)
  for (const reference of references) t.match(reference, /^[\w-]{12}$/)
})

t.test('an unknown path is JSON with a reference, and does not repeat the path', async (t) => {
  for (const url of [
    '/<script>alert(1)</script>',
    '/%3Csvg%20onload=alert(1)%3E',
    '/oauth',
    '/oauth/',
    '/oauth/authorize/',
    '//oauth/authorize',
    '/OAuth/Token',
    '/oauth/token;x',
    '/oauth/token%2f',
    '/oauth/%74oken/',
    '/.well-known',
    '/.env',
    '/health/',
    `/${'x'.repeat(4_000)}`,
    '/constructor',
    '/__proto__',
    '/*',
    '/oauth/token*',
    '/:x',
    '/:('
  ]) {
    for (const method of ['GET', 'POST', 'DELETE'] as const) {
      const response = await seed.app.inject({ method, url })
      t.equal(response.statusCode, 404, `${method} ${encodeURIComponent(url).slice(0, 60)}`)
      t.same(
        [
          response.headers['content-type'],
          response.headers['cache-control'],
          response.headers['x-content-type-options'],
          response.json()
        ],
        [
          'application/json; charset=utf-8',
          'no-store',
          'nosniff',
          {
            error: 'not_found',
            message: `There is nothing at this path. MCP clients connect to ${seed.url}/mcp`,
            reference: response.headers['x-request-id']
          }
        ]
      )
    }
  }
  const long = await seed.app.inject({ url: `/${'y'.repeat(10_000)}?code=secret` })
  const line = await seed.logged(({ reqId }) => reqId === long.headers['x-request-id'])
  t.equal(String(line['path']).length, 256, 'nor does the log grow by it')
})

t.test('a variant of a path is the path itself or nothing', async (t) => {
  t.equal((await seed.app.inject({ url: AUTHORIZE.replace('/oauth', '/%6fauth') })).statusCode, 200)
  for (const url of ['/%ff', '/oauth/%', '/oauth/authorize%?state=secret']) {
    const response = await seed.app.inject({ url })
    const reference = response.headers['x-request-id']
    t.match(
      response,
      { statusCode: 400, headers: { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' } },
      url
    )
    t.same(
      response.json(),
      { error: 'request_failed', message: 'The request cannot be read', reference },
      'nothing of the URL comes back'
    )
    t.match(await seed.logged(({ reqId }) => reqId === reference), { status: 400, msg: 'Request' })
  }
})

t.test('what is no HTTP, or two kinds of it at once, is refused, and the next request is served', async (t) => {
  const head = `POST /oauth/token HTTP/1.1\r\nHost: ${own}\r\nContent-Type: ${FORM}\r\n`
  const body = 'grant_type=refresh_token&client_id=cli&refresh_token=r'
  for (const request of [
    `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
    `${head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    `${head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    `${head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
    `${head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`,
    `${head}Content-Length: +5\r\n\r\nhello`,
    `${head}Content-Length: -1\r\n\r\nhello`,
    `${head}Content-Length: 0x5\r\n\r\nhello`,
    `${head}X-Folded: a\r\n b\r\nContent-Length: 0\r\n\r\n`,
    `${head}X-Nul: a\u0000b\r\nContent-Length: 0\r\n\r\n`,
    `${head}X-Large: ${'x'.repeat(17_000)}\r\nContent-Length: 0\r\n\r\n`,
    `GET /health HTTP/1.1\nHost: ${own}\n\n`,
    `GET /health\u0000 HTTP/1.1\r\nHost: ${own}\r\n\r\n`,
    'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
  ]) t.match(await raw(request), /^(HTTP\/1\.1 4\d\d |$)/, JSON.stringify(request.slice(0, 140)))

  const refused = /^HTTP\/1\.1 400 .*"error":"invalid_grant"/s
  t.match(
    await raw(`${head}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
    refused,
    'the good form of it'
  )
  t.match(
    await raw(
      `${head}Connection: close, x-content-type-options, referrer-policy\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    ),
    /x-content-type-options: nosniff.*referrer-policy: no-referrer/s,
    'hop-by-hop names take no header away'
  )
  t.match(
    await raw(
      `${head}Connection: close\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\nAuthorization: Basic eDp5\r\n\r\n`
    ),
    refused,
    'a trailer is no header'
  )
  t.match(
    await raw(`${head}Connection: close\r\nExpect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
    /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 400 /
  )
  t.notMatch(
    await raw(
      `GET /health HTTP/1.1\r\nHost: ${own}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n`
    ),
    /^HTTP\/1\.1 101/
  )
  t.equal((await ping(seed.url, token)).status, 200)
})

t.test('a body over the limit is refused before it is read whole, declared or not', async (t) => {
  for (const [url, type, limit] of [
    ['/oauth/token', FORM, 16_384],
    ['/oauth/register', JSON_TYPE, 16_384],
    ['/mcp', JSON_TYPE, 1_048_576]
  ] as const) {
    const head = `POST ${url} HTTP/1.1\r\nHost: ${own}\r\nContent-Type: ${type}\r\nAuthorization: Bearer ${token}\r\n`
    t.match(
      await raw(`${head}Content-Length: ${limit + 1}\r\n\r\n`),
      /^HTTP\/1\.1 413 /,
      `${url}, declared: not a byte of it is awaited`
    )
    t.match(
      await raw(`${head}Transfer-Encoding: chunked\r\n\r\n${(limit + 1).toString(16)}\r\n${'x'.repeat(limit + 1)}`),
      /^HTTP\/1\.1 413 /,
      `${url}, chunked: the end is not awaited`
    )
  }
})

t.test('/mcp answers in JSON-RPC whatever goes wrong', async (t) => {
  for (const [change, status, code, reason] of [
    [{ headers: { 'content-type': JSON_TYPE } }, 401, -32001, 'missing_token'],
    [{ headers: { 'content-type': JSON_TYPE, authorization: 'Bearer' } }, 401, -32001, 'invalid_format'],
    [
      { headers: { 'content-type': JSON_TYPE, authorization: `Bearer ${await seed.provider.mint({ exp: 1 })}` } },
      401,
      -32001,
      'invalid_token'
    ],
    [{ url: `/mcp?access_token=${token}` }, 400, -32001, 'invalid_request'],
    [{ payload: '{' }, 400, -32700, undefined],
    [{ payload: '' }, 400, -32700, undefined],
    [{ payload: '1' }, 400, -32600, undefined],
    [{ headers: { ...mcp.headers, 'content-type': 'text/plain' } }, 415, -32000, undefined]
  ] as Array<[Partial<Target>, number, number, string | undefined]>) {
    const response = await ask({ ...mcp, ...change })
    t.equal(response.statusCode, status, JSON.stringify(change).slice(0, 100))
    t.match(response.json(), { jsonrpc: '2.0', id: null, error: { code, message: String } })
    t.equal(response.json<{ error: { data?: { reason: string } } }>().error.data?.reason, reason)
    const challenge = response.headers['www-authenticate']
    const named =
      reason === undefined || reason === 'missing_token'
        ? undefined
        : status === 400
          ? 'invalid_request'
          : 'invalid_token'
    t.equal(/error="(\w+)"/.exec(String(challenge))?.[1], named, 'no error is named to who sent no credential')
    if (reason === undefined) t.equal(challenge, undefined)
    else t.match(challenge, `resource_metadata="${seed.url}/.well-known/oauth-protected-resource/mcp"`)
  }
})

t.test('an error that nobody expected gives away nothing, in each form', async (t) => {
  const inside = 'connect ECONNREFUSED 10.0.0.5:6379 at /srv/seed/dist/x.js:1'
  const { logged, stream } = captureLogs()
  const app = await buildApp(
    { OIDC_ISSUER: 'http://127.0.0.1:1', OIDC_AUDIENCE: 'seed', CIMD_ENABLED: 'false' },
    { logStream: stream }
  )
  t.teardown(async () => { await app.close() })
  app.accessTokens!.verifier.verify = async () => {
    throw Object.assign(new Error(inside, { cause: new Error('the cause') }), {
      request: { headers: { authorization: 'Bearer secret' } }
    })
  }
  app.store.increment = async () => { throw new Error(inside) }
  app.get('/boom', { config: { auth: 'public' } }, async () => {
    throw Object.assign(new Error(inside), { stack: undefined })
  })
  app.get('/teapot', { config: { auth: 'public' } }, async () => {
    throw Object.assign(new Error(inside), { statusCode: 418 })
  })

  const plain = await app.inject({ url: '/boom' })
  t.equal(plain.statusCode, 500)
  t.same(plain.json(), {
    error: 'request_failed',
    message: 'The server failed to answer; the reference id leads to the reason in its log',
    reference: plain.headers['x-request-id']
  })
  t.match(await logged(({ reqId, msg }) => reqId === plain.headers['x-request-id'] && msg === 'Unexpected error'), {
    level: 50,
    err: { type: 'Error', message: inside, stack: '' }
  })

  const rpc = await app.inject({
    method: 'POST',
    url: '/mcp',
    payload: LIST,
    headers: { ...LIST_HEADERS, 'content-type': JSON_TYPE, authorization: `Bearer ${token}` }
  })
  t.equal(rpc.statusCode, 500)
  t.match(rpc.json(), {
    error: { code: -32603, message: 'The server failed to answer; the reference id leads to the reason in its log' }
  })
  const line = await logged(({ reqId, msg }) => reqId === rpc.headers['x-request-id'] && msg === 'Unexpected error')
  t.match(line, { err: { message: inside, stack: String, cause: { message: 'the cause' } } })
  t.notMatch(JSON.stringify(line), /secret|headers/, 'what libraries hang on an error is not logged')

  const teapot = await app.inject({ url: '/teapot' })
  t.match(teapot.json(), { message: 'The request cannot be read' })
  t.equal(teapot.statusCode, 418)

  const oauth = await app.inject({ method: 'POST', url: '/oauth/register', payload: { redirect_uris: [REDIRECT] } })
  t.equal(oauth.statusCode, 500)
  t.match(oauth.json(), {
    error: 'server_error',
    error_description:
      /^The server failed to answer; the reference id leads to the reason in its log \(reference [\w-]{12}\)$/
  })
  const page = await app.inject({ url: AUTHORIZE })
  t.match(page, { statusCode: 500, headers: { 'content-type': 'text/html; charset=utf-8' } })
  for (const { body } of [plain, rpc, teapot, oauth, page]) t.notMatch(body, /10\.0\.0\.5|srv|ECONNREFUSED/)
})

t.test('the log has a second wall: fields that could hold a credential are struck out', async (t) => {
  const { logs, stream } = captureLogs()
  const app = await buildApp({ AUTH_REQUIRED: 'false' }, { logStream: stream })
  await app.close()
  const fields = {
    authorization: 'S3CRET',
    cookie: 'S3CRET',
    access_token: 'S3CRET',
    refresh_token: 'S3CRET',
    client_secret: 'S3CRET',
    code: 'S3CRET',
    code_verifier: 'S3CRET'
  }
  app.log.warn({ ...fields, headers: { ...fields, code: 'EADDRINUSE' } }, 'by mistake')
  const line = logs.find(({ msg }) => msg === 'by mistake')
  t.notMatch(JSON.stringify(line), 'S3CRET')
  t.match(line, { authorization: '[redacted]', headers: { cookie: '[redacted]', code: 'EADDRINUSE' } })
})

t.test('nothing secret is in the log of a whole sign-in, good and bad, at any level', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  const traced = await startSeed(t, {
    sharedProvider: provider,
    env: { LOG_LEVEL: 'trace', OIDC_CLIENT_ID: `${provider.clientId}-confidential`, OIDC_CLIENT_SECRET: 'dev-secret' }
  })
  await ready(traced)
  const secrets = new Map<string, string>([['the secret of Seed', 'dev-secret'], ['the password', 'password-of-ada']])
  provider.users.find(({ login }) => login === 'ada')!.password = 'password-of-ada'
  const keep = (name: string, value: string): string => {
    t.ok(value.length >= 8, `${name} is something to look for`)
    secrets.set(name, value)
    return value
  }
  const post = async (fields: Record<string, string>, query = '', headers: Record<string, string> = {}) =>
    await fetch(`${traced.url}/oauth/token${query}`, { method: 'POST', body: new URLSearchParams(fields), headers })

  const registration = await fetch(`${traced.url}/oauth/register`, {
    method: 'POST',
    headers: {
      'content-type': JSON_TYPE,
      authorization: `Bearer ${keep('a registration token', 'registration-token-1')}`,
      cookie: `session=${keep('a cookie', 'cookie-value-1')}`
    },
    body: JSON.stringify({
      redirect_uris: [REDIRECT],
      client_secret: keep('a secret that a client made up', 'made-up-secret')
    })
  })
  const { client_id: clientId } = await registration.json() as { client_id: string }
  const verifier = keep('the verifier', randomBytes(32).toString('base64url'))
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: REDIRECT,
    state: keep('state', randomBytes(16).toString('base64url')),
    nonce: keep('nonce', randomBytes(16).toString('base64url')),
    login_hint: keep('login_hint', 'ada-hint@example.com'),
    code_challenge: keep('the challenge', createHash('sha256').update(verifier).digest('base64url')),
    code_challenge_method: 'S256'
  })
  const authorizeUrl = `${traced.url}/oauth/authorize?${query.toString()}`
  const asked = await fetch(authorizeUrl)
  const cookie = asked.headers.get('set-cookie')!.split(';')[0]!
  keep("the browser's cookie", cookie.slice(cookie.indexOf('=') + 1))
  const question = {
    consent: keep('the id of the question', /name="consent" value="([\w.-]+)"/.exec(await asked.text())![1]!),
    decision: 'approve'
  }
  for (const status of [303, 400]) {
    t.equal(
      (
        await fetch(`${traced.url}/oauth/consent`, {
          method: 'POST',
          redirect: 'manual',
          headers: { cookie },
          body: new URLSearchParams(question)
        })
      ).status,
      status
    )
  }
  const answer = await createBrowser().signIn(authorizeUrl, { login: 'ada', password: 'password-of-ada' })
  t.equal(answer.searchParams.get('state'), secrets.get('state'))
  const grant = {
    grant_type: 'authorization_code',
    client_id: clientId,
    code: keep('the code', answer.searchParams.get('code')!),
    redirect_uri: REDIRECT,
    code_verifier: verifier
  }
  const tokens = await (await post(grant)).json() as { access_token: string, refresh_token: string }
  keep('the access token', tokens.access_token)
  keep("the access token's signature", tokens.access_token.split('.')[2]!)
  t.equal((await ping(traced.url, tokens.access_token)).status, 200)
  const refresh = {
    grant_type: 'refresh_token',
    client_id: clientId,
    refresh_token: keep('the refresh token', tokens.refresh_token)
  }
  const next = await (await post(refresh)).json() as { access_token: string, refresh_token: string }
  keep('the next access token', next.access_token)
  keep('the next refresh token', next.refresh_token)

  // And what goes wrong: the same secrets where they are refused.
  t.equal((await post(grant)).status, 400, 'spent')
  t.equal((await post({ ...grant, client_secret: 'made-up-secret' })).status, 401)
  t.equal(
    (
      await post(refresh, '', {
        authorization: `Basic ${keep('Basic', Buffer.from(`${clientId}:made-up-secret`).toString('base64'))}`
      })
    ).status,
    401
  )
  t.equal((await post({}, `?${new URLSearchParams(grant).toString()}`)).status, 400)
  t.equal((await fetch(`${traced.url}/oauth/token?${new URLSearchParams(grant).toString()}`)).status, 405)
  t.equal(
    (
      await fetch(`${traced.url}/oauth/token`, {
        method: 'POST',
        headers: { 'content-type': JSON_TYPE },
        body: JSON.stringify(grant)
      })
    ).status,
    415
  )
  t.equal((await fetch(`${traced.url}/callback?${answer.searchParams.toString()}`)).status, 404)
  t.equal((await fetch(`${authorizeUrl}&state=twice`, { redirect: 'manual' })).status, 400)
  t.equal((await fetch(authorizeUrl.replace('S256', 'plain'), { redirect: 'manual' })).status, 302)
  t.equal((await ping(traced.url, `${tokens.access_token}x`)).status, 401)
  t.equal((await fetch(`${traced.url}/mcp?access_token=${tokens.access_token}`, { method: 'POST' })).status, 401)
  provider.setFault('/token', {
    status: 400,
    json: { error: 'invalid_grant', error_description: `code ${grant.code} is spent` }
  })
  t.equal((await post(grant)).status, 400)
  provider.setFault('/token', 'down')
  t.equal((await post({ ...refresh, refresh_token: next.refresh_token })).status, 503)
  for (const token of [next.refresh_token, next.access_token]) {
    const body = new URLSearchParams({ token, client_id: clientId })
    t.equal((await fetch(`${traced.url}/oauth/revoke`, { method: 'POST', body })).status, 200)
  }

  // Each request has its line once it is answered: the last ones are awaited, then the log is whole.
  while (traced.logs.filter(({ path }) => path === '/oauth/revoke').length < 2) await turn()
  const log = traced.logs.map((line) => JSON.stringify(line)).join('\n')
  for (const [name, secret] of secrets) {
    for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')]) {
      t.notOk(log.includes(form), `${name} is not in the log`)
    }
  }
  t.notMatch(log, /\?|&state=|"authorization"|"cookie"|stack/, 'no query, no header, no stack')
  t.match(log, '"path":"/oauth/authorize"', 'the log was really written')
})

type Answer = Awaited<ReturnType<typeof ask>>

async function ask ({ method, url, payload, headers }: Target, more: Record<string, string> = {}, app = seed.app) {
  return await app.inject({ method, url, headers: { ...headers, ...more }, ...(payload !== undefined && { payload }) })
}

function isRefusal (
  t: Test,
  { statusCode, headers, body }: Answer,
  { errors }: Target,
  status: number,
  about: string
): void {
  t.equal(statusCode, status, encodeURIComponent(about))
  t.match(headers['content-type'], errors === 'page' ? /^text\/html/ : /^application\/json/)
  if (errors === 'plain') {
    t.match(JSON.parse(body), { error: 'request_failed', message: String, reference: headers['x-request-id'] })
  }
  if (errors === 'oauth') t.match(JSON.parse(body), { error: 'invalid_request', error_description: String })
  if (errors === 'json-rpc') {
    t.match(JSON.parse(body), { jsonrpc: '2.0', id: null, error: { code: -32000, message: String } })
  }
}

function everything ({ headers, body }: Answer): string {
  return JSON.stringify(headers) + body
}

/** An answer without what is new each time: references, dates, ids, cookies. */
function comparable ({ statusCode, headers, body }: Answer): string {
  const { 'x-request-id': reference, date, ...rest } = headers
  return JSON.stringify([statusCode, rest, body])
    .replaceAll(String(reference), 'REFERENCE')
    .replace(/seed-browser-[\w-]+=[\w-]+/, 'COOKIE')
    .replace(/(name=..consent.. value=..)[\w.-]+/, '$1CONSENT')
    .replace(/seed-[\w-]{24}/, 'ID')
    .replace(/client_id_issued_at[^,]+/, 'TIME')
}

/** Leaves out what only a local probe reads, which no proxy has forwarded: when the provider answered last. */
function forStrangers (answer: Answer): string {
  return comparable(answer).replace(/"content-length":"\d+",/, '').replace(/,\\"lastContact\\":\\"[^"]+"/, '')
}

async function raw (request: string): Promise<string> {
  const socket = connect(Number(new URL(seed.url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.on('error', () => {})
  socket.write(request)
  return await text(socket).catch(() => '')
}
