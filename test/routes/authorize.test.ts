import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { keys } from '../../src/store/keys.ts'
import { createBrowser } from '../support/browser.ts'
import { ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
const STATE = 'state-of-the-client'
const LOOPBACK = 'http://127.0.0.1:51004/cb'
const EVIL = 'https://evil.example/cb'
/** Nothing listens on this port. */
const DEAD_REDIS = 'redis://127.0.0.1:1'
const SCRIPT = '"><svg onload=alert(1)>'

const seed = await startSeed(t, {
  env: {
    OIDC_SCOPES: 'openid profile email groups offline_access',
    REDIRECT_URI_SCHEMES: 'cursor,vscode,com.example.app',
    DCR_LIMIT_PER_ADDRESS: '1000'
  }
})
await ready(seed)

/** c1: a web site. c2: a program on this machine. c3: an app with a scheme of its own. c4: two redirect URIs. */
const c1 = await register(['https://client.example/cb'])
const c2 = await register(['http://127.0.0.1/cb', 'http://localhost/cb'])
const c3 = await register(['com.example.app:/cb'])
const c4 = await register(['https://client.example/one', 'https://client.example/two?tenant=a'])
const CLI_URI = 'http://localhost:8080/callback'
const cli = await register([CLI_URI])

t.test('asks for consent first, then redirects to the provider with an allow-listed request', async (t) => {
  for (const path of ['/oauth/authorize', '/authorize']) {
    const asked = await seed.app.inject({
      url: `${path}?${search(c1, 'https://client.example/cb', { resource: `${seed.url}/mcp` })}`
    })
    t.equal(asked.statusCode, 200, path)
    t.match(asked.headers, {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      location: undefined
    })
    const answer = await approve(seed, asked)
    t.equal(answer.statusCode, 303)
    t.equal(answer.headers['cache-control'], 'no-store')
    t.equal(answer.body, '')
    const target = new URL(answer.headers.location!)
    t.equal(target.origin + target.pathname, `${seed.provider.issuer}/auth`)
    const { nonce, ...sent } = Object.fromEntries(target.searchParams)
    t.same(sent, {
      response_type: 'code',
      client_id: seed.provider.clientId,
      redirect_uri: 'https://client.example/cb',
      scope: 'openid profile email groups offline_access',
      state: STATE,
      code_challenge: CHALLENGE,
      code_challenge_method: 'S256'
    }, 'the client id of Seed, no resource')
    t.match(nonce, /^[\w-]{22}$/, 'a nonce, as some providers refuse openid without')
  }
})

t.test('adds a nonce to each request, and keeps the one that a client sent', async (t) => {
  const nonces = await Promise.all([1, 2, 3].map(async () => (await upstream(t, cli, CLI_URI)).get('nonce')))
  t.equal(new Set(nonces).size, 3)
  t.equal((await upstream(t, cli, CLI_URI, { nonce: 'n-0S6_WzA2Mj' })).get('nonce'), 'n-0S6_WzA2Mj')
})

t.test('forwards only listed parameters, and no value can break out of its parameter', async (t) => {
  const sent = await upstream(t, cli, CLI_URI, {
    login_hint: 'a&scope=admin&redirect_uri=https://evil.example/cb#x',
    acr_values: ' phr  mfa&x=y',
    redirect_uri2: EVIL,
    audience: 'https://other.example',
    claims: '{"id_token":{}}',
    display: 'popup',
    ui_locales: 'de',
    access_type: 'offline',
    __proto__x: 'x',
    client_secret: 'x',
    max_age: '0'
  })
  t.same([...sent.keys()].sort(), [
    'acr_values',
    'client_id',
    'code_challenge',
    'code_challenge_method',
    'login_hint',
    'max_age',
    'nonce',
    'redirect_uri',
    'response_type',
    'scope',
    'state'
  ])
  t.equal(sent.get('login_hint'), 'a&scope=admin&redirect_uri=https://evil.example/cb#x')
  t.equal(sent.get('max_age'), '0')
  t.equal(sent.get('acr_values'), 'phr mfa&x=y')
  t.same(sent.getAll('redirect_uri'), ['http://localhost:8080/callback'])
  t.same(sent.getAll('client_id'), [seed.provider.clientId])
})

t.test('asks the provider for those requested scopes that OIDC_SCOPES lists, always with openid', async (t) => {
  for (const [asked, sent] of [
    [undefined, 'openid profile email groups offline_access'],
    ['', 'openid profile email groups offline_access'],
    ['mcp:unknown', 'openid profile email groups offline_access'],
    ['email', 'openid email'],
    ['email openid', 'openid email'],
    ['offline_access profile admin', 'openid profile offline_access'],
    ['EMAIL emailx xemail email,profile', 'openid profile email groups offline_access']
  ] as const) {
    t.equal(
      (await upstream(t, cli, CLI_URI, { ...(asked !== undefined && { scope: asked }) })).get('scope'),
      sent,
      String(asked)
    )
  }
})

t.test('forwards only the prompt values that a provider may be asked', async (t) => {
  for (const [prompt, sent] of [
    ['login', 'login'],
    ['consent login', 'consent login'],
    ['select_account create', 'select_account'],
    ['create', null],
    ['', null],
    ['None', null]
  ] as const) {
    t.equal((await upstream(t, cli, CLI_URI, { prompt })).get('prompt'), sent, prompt)
  }
})

t.test('a probe without a redirect URI reaches the provider and can never be finished', async (t) => {
  const challenges = new Set<string>()
  for (const more of [
    '',
    `&code_challenge=${CHALLENGE}&code_challenge_method=S256`,
    '&code_challenge_method=plain&code_challenge=x'
  ]) {
    const response = await seed.app.inject({ url: `/oauth/authorize?response_type=code&client_id=test${more}` })
    t.equal(response.statusCode, 302)
    const sent = new URL(response.headers.location!).searchParams
    t.equal(sent.has('redirect_uri'), false)
    t.equal(sent.has('state'), false)
    t.equal(sent.get('code_challenge_method'), 'S256')
    t.match(sent.get('code_challenge'), /^[\w-]{43}$/)
    challenges.add(sent.get('code_challenge')!)
  }
  t.equal(challenges.size, 3)
  t.notOk(challenges.has(CHALLENGE), 'a challenge whose verifier nobody holds')
})

t.test('an unregistered client may use only loopback redirect URIs', async (t) => {
  for (const uri of [
    'http://localhost:8080/callback',
    'http://127.0.0.1/',
    'http://127.0.0.1:65535/a?b=c',
    'http://[::1]:3000/cb'
  ]) {
    t.equal((await upstream(t, 'claude-code', uri)).get('redirect_uri'), uri)
  }
  for (const uri of [
    EVIL,
    'https://localhost/cb',
    'https://client.example/cb',
    'cursor://anysphere.cursor-mcp/oauth/callback',
    'com.example.app:/cb',
    'http://localhost.evil.example/cb',
    'http://localhost.:8080/cb',
    'http://127.0.0.1:1@evil.example/cb',
    'http://evil.example:80/127.0.0.1',
    'http://10.0.0.1/cb',
    'javascript:alert(1)',
    'http://localhost/cb#f',
    'http://LOCALHOST/cb',
    'http://localhost:80/cb',
    'http://localhost/cb?code=1',
    'localhost'
  ]) {
    isPage(t, await ask('claude-code', uri), 400, uri)
  }
})

t.test('a redirect URI must equal a registered one in every byte', async (t) => {
  for (const uri of [
    EVIL,
    'https://client.example/cb/',
    'https://client.example/cb/x',
    'https://client.example/cb?x=1',
    'https://client.example/cb?',
    'https://client.example/CB',
    'https://client.example/cb%2e',
    'https://client.example/./cb',
    'https://client.example/a/../cb',
    'https://client.example/a/%2e%2e/cb',
    '//client.example/cb',
    '/cb',
    'cb',
    'https://client.example@evil.example/cb',
    'https://client.example\\@evil.example/cb',
    'https://evil.example#@client.example/cb',
    'https://user:pw@client.example/cb',
    'https://client.example.evil.example/cb',
    'https://client.example%2eevil.example/cb',
    'https://сlient.example/cb',
    'https://client。example/cb',
    'https://client.example:444/cb',
    'https://client.example:443/cb',
    'https://client.example./cb',
    'HTTPS://client.example/cb',
    'https://CLIENT.example/cb',
    'http://client.example/cb',
    'https://client.example/cb#',
    'https://client.example/cb#x',
    'https://client.example/cb ',
    ' https://client.example/cb',
    'https://client.example/c\tb',
    'https://client.example/cb\r\n',
    'https://client.example/cb\u0000',
    'https://client.example/cb\u007f',
    'https://client.example/cb\u0085',
    'https://client.example/cb%0d%0aSet-Cookie:x=1',
    'https:client.example/cb',
    'https:///client.example/cb',
    `https://client.example/${'c'.repeat(2_100)}`,
    'javascript:alert(1)',
    'data:text/html,x'
  ]) { isPage(t, await ask(c1, uri), 400, encodeURIComponent(uri).slice(0, 80)) }

  for (const uri of [
    'com.example.app://cb',
    'com.example.app:/cb/../x',
    'COM.example.app:/cb',
    'com.example.app:/cb/',
    'com.example.app:cb',
    'com.example.app:/cb?x'
  ]) { isPage(t, await ask(c3, uri), 400, uri) }
  t.equal((await upstream(t, c3, 'com.example.app:/cb')).get('redirect_uri'), 'com.example.app:/cb')
  t.equal(
    (await upstream(t, c4, 'https://client.example/two?tenant=a')).get('redirect_uri'),
    'https://client.example/two?tenant=a'
  )
})

t.test('a loopback redirect URI may differ in its port only', async (t) => {
  for (const uri of [
    'http://127.0.0.1:51004/cb',
    'http://127.0.0.1/cb',
    'http://127.0.0.1:1/cb',
    'http://localhost:65535/cb',
    'http://localhost/cb'
  ]) {
    t.equal((await upstream(t, c2, uri)).get('redirect_uri'), uri)
  }
  for (const uri of [
    'http://127.0.0.2:1/cb',
    'http://[::1]:1/cb',
    'http://127.1/cb',
    'http://2130706433/cb',
    'http://0x7f.1/cb',
    'http://0177.0.0.1/cb',
    'http://0.0.0.0/cb',
    'http://localhost./cb',
    'http://localhost.evil.example/cb',
    'http://127.0.0.1.nip.io/cb',
    'https://127.0.0.1:1/cb',
    'http://127.0.0.1:1/other',
    'http://127.0.0.1:1/cb?x',
    'http://127.0.0.1:1/cb/',
    'http://user@127.0.0.1:1/cb',
    'http://127.0.0.1:99999/cb',
    'http://127.0.0.1:80/cb',
    'http://127.0.0.1:1/cb?',
    'http://127.0.0.1:1/cb#',
    'http://127.0.0.1:1/cb?code=x'
  ]) { isPage(t, await ask(c2, uri), 400, uri) }
})

t.test('a sole registered redirect URI may be omitted, but PKCE may not', async (t) => {
  t.equal((await upstream(t, c1, undefined)).get('redirect_uri'), 'https://client.example/cb')
  isPage(t, await ask(cli, undefined), 400, 'one on this machine, whose port varies')
  isPage(t, await ask(c4, undefined), 400, 'one of two')
  isPage(t, await seed.app.inject({ url: `/oauth/authorize?response_type=code&client_id=${c1}` }), 400, 'no challenge')
})

t.test("the redirect URIs of an old record are checked against today's rules", async (t) => {
  for (const uri of [
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    ' javascript:alert(1)',
    'jav\tascript:alert(1)',
    'data:text/html,<script>',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://x/y',
    'mailto:a@b.c',
    'about:blank',
    'view-source:https://x',
    'intent://x',
    'http://client.example/cb',
    'https://a@client.example/cb',
    'https://client.example/cb#x',
    'https://*.client.example/cb',
    'https://client.example/%0d%0a',
    'windsurf://cb'
  ]) {
    await seed.app.store.set(
      keys.client('seed-planted'),
      JSON.stringify({
        client_id: 'seed-planted',
        client_id_issued_at: 1,
        redirect_uris: [uri],
        grant_types: [],
        response_types: ['code'],
        token_endpoint_auth_method: 'none',
        application_type: 'web'
      }),
      60
    )
    for (const query of [
      search('seed-planted', uri),
      search('seed-planted', undefined),
      search('seed-planted', uri, { prompt: 'none' }),
      search('seed-planted', uri, { response_type: 'token' })
    ]) {
      isPage(t, await seed.app.inject({ url: `/oauth/authorize?${query}` }), 400, uri)
    }
  }
})

t.test('a client id that is expired or impossible is told to register again', async (t) => {
  for (const id of ['seed-gone', 'http://localhost/x', 'seed-']) {
    const response = await ask(id, LOOPBACK)
    isPage(t, response, 400, id)
    t.match(response.body, 'This application is not registered here any more.')
    t.match(response.body, 'sign out of this server there (or remove it) and connect it again')
  }
  const document = await ask('https://client.example/metadata.json', LOOPBACK)
  isPage(
    t,
    document,
    400,
    'a document while these are switched off: a page, and no 401 that would ask the browser for a credential'
  )
  t.match(document.body, 'Client metadata documents are not accepted here (CIMD_ENABLED): register instead.')
})

/** A request that is wrong beyond client and redirect URI. */
const badRequests: Array<[change: Record<string, string | undefined>, error: string]> = [
  ...[undefined, ''].map(
    (type) => [{ response_type: type }, 'invalid_request'] as [Record<string, string | undefined>, string]
  ),
  ...['token', 'id_token', 'code token', 'code id_token', 'none', 'CODE'].map(
    (type) => [{ response_type: type }, 'unsupported_response_type'] as [Record<string, string>, string]
  ),
  ...['fragment', 'form_post', 'web_message', 'jwt', 'query.jwt'].map(
    (mode) => [{ response_mode: mode }, 'invalid_request'] as [Record<string, string>, string]
  ),
  [{ request: 'eyJhbGciOiJub25lIn0.e30.' }, 'invalid_request'],
  [{ request_uri: 'http://127.0.0.1:9/request' }, 'invalid_request'],
  ...[
    'https://other.example/mcp',
    'https://other.example',
    `${seed.url}/mcpx`,
    `${seed.url}/mcp/x`,
    `${seed.url}/MCP`,
    `${seed.url}.evil.example/mcp`,
    `${seed.url}/mcp#x`,
    `${seed.url}/mcp?x`,
    'mcp'
  ].map((resource) => [{ resource }, 'invalid_target'] as [Record<string, string>, string]),
  ...['none', 'none login', 'login none'].map(
    (prompt) => [{ prompt }, 'interaction_required'] as [Record<string, string>, string]
  ),
  [{ code_challenge: undefined }, 'invalid_request'],
  [{ code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
  ...[undefined, 'plain', 's256', 'S512', ''].map(
    (method) => [{ code_challenge_method: method }, 'invalid_request'] as [Record<string, string | undefined>, string]
  ),
  ...['', 'short', `${CHALLENGE}A`, CHALLENGE.replace('-', '+'), CHALLENGE.replace('-', '='), `${CHALLENGE}\n`].map(
    (challenge) => [{ code_challenge: challenge }, 'invalid_request'] as [Record<string, string>, string]
  )
]

t.test('an invalid request of a loopback client is redirected back to it', async (t) => {
  for (const [change, error] of badRequests) {
    for (const [client, uri] of [
      [c2, 'http://localhost:7777/cb'],
      ['claude-code', 'http://localhost:7777/cb?keep=1']
    ] as const) {
      const response = await seed.app.inject({ url: `/oauth/authorize?${search(client, uri, change)}` })
      t.equal(response.statusCode, 302, JSON.stringify(change))
      const back = new URL(response.headers.location!)
      const { keep, error_description: description, ...sent } = Object.fromEntries(back.searchParams)
      t.same(
        { to: back.href.slice(0, uri.length), hash: back.hash, sent },
        { to: uri, hash: '', sent: { error, state: STATE } },
        'with state, and nothing else of the request'
      )
      t.match(description, /^[\x20-\x7e]+$/)
    }
  }
  const response = await seed.app.inject({
    url: `/oauth/authorize?${search('claude-code', LOOPBACK, { state: undefined, prompt: 'none' })}`
  })
  t.equal(new URL(response.headers.location!).searchParams.has('state'), false, 'no state came, none goes back')
})

t.test('an invalid request of any other client gets a page and no redirect', async (t) => {
  for (const [change] of badRequests) {
    isPage(
      t,
      await seed.app.inject({ url: `/oauth/authorize?${search(c1, 'https://client.example/cb', change)}` }),
      400,
      JSON.stringify(change)
    )
    isPage(
      t,
      await seed.app.inject({ url: `/oauth/authorize?${search(c3, 'com.example.app:/cb', change)}` }),
      400,
      JSON.stringify(change)
    )
  }
})

t.test('every form of this resource that clients send is accepted', async (t) => {
  for (const resource of [
    `${seed.url}/mcp`,
    `${seed.url}/mcp/`,
    seed.url,
    `${seed.url}/`,
    seed.url.replace('http', 'HTTP'),
    `${seed.url.toUpperCase()}/mcp`
  ]) {
    t.equal((await upstream(t, cli, CLI_URI, { resource })).has('resource'), false, resource)
  }
})

t.test('a repeated parameter is refused, whichever value was the good one', async (t) => {
  const good = Object.fromEntries(
    new URLSearchParams(
      search(c2, LOOPBACK, {
        scope: 'openid',
        resource: `${seed.url}/mcp`,
        nonce: 'n',
        prompt: 'login',
        max_age: '1',
        login_hint: 'ada',
        response_mode: 'query'
      })
    )
  )
  t.equal((await seed.app.inject({ url: `/oauth/authorize?${new URLSearchParams(good).toString()}` })).statusCode, 200)
  for (const name of Object.keys(good)) {
    for (const second of [good[name]!, 'x']) {
      for (const pairs of [[...Object.entries(good), [name, second]], [[name, second], ...Object.entries(good)]]) {
        const response = await seed.app.inject({
          url: `/oauth/authorize?${new URLSearchParams(pairs as string[][]).toString()}`
        })
        isPage(t, response, 400, name)
        t.match(response.body, `${name} is missing, repeated or malformed`)
      }
    }
  }
  for (const query of [
    `${search(c2, undefined)}&redirect_uri[]=${EVIL}`,
    `${search(c2, undefined)}&redirect_uri[0]=${EVIL}`
  ]) {
    isPage(
      t,
      await seed.app.inject({ url: `/oauth/authorize?${query}` }),
      400,
      'an array in the style of PHP is no redirect_uri'
    )
  }
})

t.test('accepts state unchanged, up to 2 KB of printable ASCII', async (t) => {
  for (const state of ['a', SCRIPT, 'a b+c%20d&e=f#g', '~'.repeat(2_048)]) {
    t.equal((await upstream(t, cli, CLI_URI, { state })).get('state'), state)
  }
  for (const state of [
    'x'.repeat(2_049),
    'x'.repeat(10_240),
    'a\r\nSet-Cookie: x=1',
    'a\u0000',
    'a\tb',
    'ümlaut',
    '\u2028',
    '\ud83d\ude00'
  ]) {
    const response = await ask(c1, 'https://client.example/cb', { state })
    isPage(t, response, 400, encodeURIComponent(state).slice(0, 40))
    t.equal(response.headers['set-cookie'], undefined)
  }
})

t.test('refuses malformed requests before looking anything up', async (t) => {
  for (const query of [
    '',
    'response_type=code',
    'client_id=',
    `client_id=${'c'.repeat(2_049)}`,
    search(cli, CLI_URI, { max_age: '-1' }),
    search(cli, CLI_URI, { max_age: 'soon' }),
    search(cli, CLI_URI, { max_age: '1'.repeat(10) }),
    search(cli, CLI_URI, { nonce: 'n'.repeat(1_025) }),
    search(cli, CLI_URI, { login_hint: 'l'.repeat(321) }),
    search(cli, CLI_URI, { scope: 's'.repeat(4_097) }),
    search(cli, CLI_URI, { resource: `${seed.url}/${'r'.repeat(2_048)}` }),
    `${search(cli, CLI_URI).replace(CHALLENGE, '%')}`,
    `${search(cli, CLI_URI).replace(CHALLENGE, '%ff%00')}`
  ]) {
    const response = await seed.app.inject({ url: `/oauth/authorize?${query}` })
    if (response.statusCode !== 302) isPage(t, response, 400, query.slice(0, 60))
    else t.equal(new URL(response.headers.location!).searchParams.get('error'), 'invalid_request', query.slice(-60))
  }
  const tooLong = await fetch(`${seed.url}/oauth/authorize?${'x'.repeat(17_000)}`)
  t.equal(tooLong.status, 431)
  t.equal((await fetch(`${seed.url}/health`)).status, 200)
})

t.test('the error page is inert: nothing of the request, no script, nothing from elsewhere', async (t) => {
  for (const query of [
    search(SCRIPT, SCRIPT, { state: SCRIPT }),
    search(`seed-${SCRIPT}`, SCRIPT),
    search(c1, `https://evil.example/${SCRIPT}`),
    search(c1, 'https://client.example/cb', {
      scope: SCRIPT,
      response_type: SCRIPT,
      response_mode: SCRIPT,
      prompt: SCRIPT
    }),
    `${encodeURIComponent(SCRIPT)}=${encodeURIComponent(SCRIPT)}`
  ]) {
    const response = await seed.app.inject({ url: `/oauth/authorize?${query}` })
    isPage(t, response, 400, query)
    t.notMatch(response.body, /svg|evil\.example|onload|<script|<img|<form|<a |<link|src=|href=|url\(|@import/i)
    const csp = String(response.headers['content-security-policy'])
    t.match(
      csp,
      /default-src 'none'; style-src 'sha256-[\w+/=]{44}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'/
    )
    t.notMatch(csp, 'unsafe')
    t.match(response.headers, {
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store'
    })
    const reference = String(response.headers['x-request-id'])
    t.match(response.body, `<code>${reference}</code>`)
    await seed.logged((line) => line['reqId'] === reference && line['status'] === 400 && line['reason'] !== undefined)
  }
})

t.test('only browsers navigate here: GET only, no CORS', async (t) => {
  for (const path of ['/oauth/authorize', '/authorize']) {
    for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
      const response = await seed.app.inject({
        method,
        url: `${path}?${search(cli, CLI_URI)}`,
        headers: {
          origin: 'https://app.example',
          'access-control-request-method': 'GET',
          'content-type': 'application/x-www-form-urlencoded'
        },
        ...(method === 'POST' && { payload: search(cli, CLI_URI) })
      })
      isPage(t, response, 405, method)
      t.equal(response.headers.allow, 'GET')
    }
    for (const [query, status] of [
      [search(cli, CLI_URI), 200],
      ['response_type=code&client_id=test', 302]
    ] as const) {
      const answer = await seed.app.inject({ url: `${path}?${query}`, headers: { origin: 'https://app.example' } })
      t.equal(answer.statusCode, status)
      t.same(Object.keys(answer.headers).filter((name) => name.startsWith('access-control-')), [])
      t.equal(answer.headers['set-cookie'] === undefined, status === 302, 'the one cookie is that of the question')
    }
  }
})

t.test('an unexpected error gets a page with a reference, and its message is only in the log', async (t) => {
  const { get } = seed.app.store
  seed.app.store.get = async () => { throw new Error('connect 10.0.0.5:6379 at ReplyParser.parse') }
  t.teardown(() => { seed.app.store.get = get })
  const response = await ask(cli, CLI_URI)
  isPage(t, response, 500, 'unexpected')
  t.notMatch(response.body, /10\.0\.0\.5|ReplyParser|parse/)
  const line = await seed.logged(
    (line) => line['reqId'] === response.headers['x-request-id'] && line.msg === 'Unexpected error'
  )
  t.match(line, { level: 50, err: { message: 'connect 10.0.0.5:6379 at ReplyParser.parse', stack: String } })
})

t.test('while the store is away no client is called unknown, and the page says to try again', async (t) => {
  const away = await startSeed(t, { sharedProvider: seed.provider, env: { REDIS_URL: DEAD_REDIS } })
  await away.logged(({ msg }) => msg === 'OpenID provider discovered')
  for (const [client, uri] of [[c1, 'https://client.example/cb'], ['claude-code', LOOPBACK]] as const) {
    const response = await away.app.inject({ url: `/oauth/authorize?${search(client, uri)}` })
    isPage(t, response, 503, client)
    t.equal(response.headers['retry-after'], '1')
    t.match(response.body, /Sign-in is not available right now.*Try again in a minute/s)
    t.notMatch(response.body, /redis|127\.0\.0\.1/i)
  }
  t.equal(
    (await away.app.inject({ url: '/oauth/authorize?response_type=code&client_id=test' })).statusCode,
    302,
    'a probe needs no store'
  )
})

t.test('while the provider is away there is a page, for loopback clients too', async (t) => {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await provider.close() })
  provider.setFault('/.well-known/openid-configuration', 500)
  const away = await startSeed(t, { sharedProvider: provider })
  const asked = await away.app.inject({ url: `/oauth/authorize?${search('claude-code', LOOPBACK)}` })
  t.equal(asked.statusCode, 200, 'what a person is asked needs no provider')
  for (const [about, response] of [
    ['the answer', await approve(away, asked)],
    ['the probe', await away.app.inject({ url: '/oauth/authorize?response_type=code&client_id=test' })]
  ] as const) {
    isPage(t, response, 503, about)
    t.equal(response.headers['retry-after'], '5')
    t.match(response.body, 'The identity provider cannot be reached.')
    t.notMatch(response.body, provider.issuer)
  }
  isPage(
    t,
    await away.app.inject({ url: `/oauth/authorize?${search('claude-code', EVIL)}` }),
    400,
    'what is wrong stays wrong'
  )
})

t.test('an authorization endpoint with a query keeps it', async (t) => {
  const custom = await startSeed(t, {
    sharedProvider: seed.provider,
    env: {
      OAUTH_AUTHORIZATION_URL: 'https://login.example/authorize?p=b2c_1&client_id=other',
      OIDC_CLIENT_ID: 'seed-at-the-provider'
    }
  })
  await ready(custom)
  const asked = await custom.app.inject({ url: `/oauth/authorize?${search('claude-code', LOOPBACK)}` })
  const target = new URL((await approve(custom, asked)).headers.location!)
  t.equal(target.origin + target.pathname, 'https://login.example/authorize')
  t.equal(target.searchParams.get('p'), 'b2c_1')
  t.same(target.searchParams.getAll('client_id'), ['seed-at-the-provider'])
})

async function register (uris: string[]): Promise<string> {
  const response = await seed.app.inject({ method: 'POST', url: '/oauth/register', payload: { redirect_uris: uris } })
  return response.json<{ client_id: string }>().client_id
}

/** A good authorization request with changes; undefined takes a parameter out. */
function search (
  clientId: string,
  redirectUri: string | undefined,
  changes: Record<string, string | undefined> = {}
): string {
  const all: Record<string, string | undefined> = {
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    state: STATE,
    code_challenge: CHALLENGE,
    code_challenge_method: 'S256',
    ...changes
  }
  return new URLSearchParams(
    Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== undefined)
  ).toString()
}

async function ask (
  clientId: string,
  redirectUri: string | undefined,
  changes: Record<string, string | undefined> = {}
) {
  return await seed.app.inject({ url: `/oauth/authorize?${search(clientId, redirectUri, changes)}` })
}

/** The answer to the consent page's form, as the browser that was asked gives it. */
async function approve ({ app }: TestSeed, asked: Awaited<ReturnType<typeof ask>>) {
  const [, consent] = /name="consent" value="([\w.-]+)"/.exec(asked.body)!
  return await app.inject({
    method: 'POST',
    url: '/oauth/consent',
    payload: new URLSearchParams({ consent: consent!, decision: 'approve' }).toString(),
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      cookie: String(asked.headers['set-cookie']).split(';')[0]!
    }
  })
}

/** The query that the provider gets for a request that is fine, once the person has approved. */
async function upstream (
  t: Test,
  clientId: string,
  redirectUri: string | undefined,
  changes: Record<string, string | undefined> = {}
): Promise<URLSearchParams> {
  const browser = createBrowser()
  const {
    status,
    forms: [form]
  } = await browser.get(`${seed.url}/oauth/authorize?${search(clientId, redirectUri, changes)}`)
  t.equal(status, 200, `${clientId} ${redirectUri ?? ''} ${JSON.stringify(changes).slice(0, 100)}`)
  const { url } = await browser.submit(form!, { decision: 'approve' }, ({ origin }) => origin !== seed.url)
  t.equal(url.origin + url.pathname, `${seed.provider.issuer}/auth`)
  return url.searchParams
}

/** A page, with no redirect, no cookie and no CORS. */
function isPage (
  t: Test,
  { statusCode, headers }: Awaited<ReturnType<typeof ask>>,
  status: number,
  about: string
): void {
  t.same(
    {
      status: statusCode,
      type: headers['content-type'],
      cache: headers['cache-control'],
      unwanted: Object.keys(headers).filter(
        (name) => name === 'location' || name === 'set-cookie' || name.startsWith('access-control-')
      )
    },
    { status, type: 'text/html; charset=utf-8', cache: 'no-store', unwanted: [] },
    about
  )
}
