import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { SignJWT } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { keys } from '../../src/store/keys.ts'
import { createBrowser } from '../support/browser.ts'
import type { Page } from '../support/browser.ts'
import { editConsent } from '../support/consent-form.ts'
import { isError } from '../support/oauth-error.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { ping, ready, startSeed, subscribe } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { createPlainClient, readTokens, signedIn } from '../support/sign-in.ts'

/**
 * Hostile requests over real HTTP in both modes: those that no other file tests, or tests for one mode only.
 * docs/requirements.md lists every threat with its tests.
 */

type Mode = 'proxy' | 'broker'
type Changes = Record<string, string | undefined>

const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
const STATE = 'state-of-the-client'
const WEB = 'https://client.example/cb'
const LOOPBACK = 'http://127.0.0.1:51004/cb'
const EVIL = 'https://evil.example/cb'
const SCRIPT = '"><svg onload=alert(1)>'
const SECRET = 'the secret of the configured client'
const FORM = 'application/x-www-form-urlencoded'
const JSON_TYPE = 'application/json'
const CONFIGURED = [{ client_id: 'portal', client_name: 'Portal', redirect_uris: [LOOPBACK], client_secret: SECRET }]

interface Fixture extends TestSeed {
  mode: Mode
  /** Client ids: a web site, a program on this machine, an app with a scheme of its own. */
  web: string
  native: string
  app3: string
}

async function start (t: Test, mode: Mode, env: Record<string, string> = {}): Promise<Fixture> {
  const seed = await startSeed(t, {
    sharedProvider: provider,
    env: {
      OAUTH_MODE: mode,
      OAUTH_CLIENTS: JSON.stringify(CONFIGURED),
      REDIRECT_URI_SCHEMES: 'cursor,com.example.app',
      DCR_LIMIT_PER_ADDRESS: '1000',
      ...env
    }
  })
  await ready(seed)
  const id = async (uris: string[]) => String((await register(seed, { redirect_uris: uris })).json['client_id'])
  return {
    ...seed,
    mode,
    web: await id([WEB]),
    native: await id(['http://127.0.0.1/cb', 'http://localhost/cb']),
    app3: await id(['com.example.app:/cb'])
  }
}

const provider = await startDevProvider({ algorithm: 'ES256' })
t.teardown(async () => { await provider.close() })
const fixtures = [await start(t, 'proxy'), await start(t, 'broker')] as const

/** In each mode, as a test of its own. */
function inBothModes (name: string, check: (t: Test, seed: Fixture) => Promise<void>): void {
  for (const seed of fixtures) t.test(`${name} (${seed.mode})`, (t) => check(t, seed))
}

// Metadata and challenges

inBothModes('forwarding headers change no response, and the log has the real address', async (t, seed) => {
  const spoofed = {
    'x-forwarded-host': 'a", error="insufficient_scope", scope="admin',
    'x-forwarded-proto': 'gopher',
    'x-forwarded-for': '192.0.2.66',
    'x-real-ip': '192.0.2.66',
    forwarded: 'for=192.0.2.66;host=evil.example;proto=gopher'
  }
  for (const { path, method = 'GET' } of [
    { path: '/mcp', method: 'POST' },
    ...[
      'oauth-protected-resource',
      'oauth-protected-resource/mcp',
      'oauth-authorization-server',
      'openid-configuration'
    ].map((name) => ({ path: `/.well-known/${name}`, method: 'GET' })),
    { path: `/oauth/authorize?${search(seed.web, EVIL)}` }
  ]) {
    const [plain, other] = [
      await send(seed.url + path, { method }),
      await send(seed.url + path, { method, headers: spoofed })
    ]
    const comparable = ({ statusCode, headers, body }: Answer) => {
      const { date, 'x-request-id': reference, ...rest } = headers
      return { statusCode, rest, body: body.replaceAll(reference!, 'REFERENCE') }
    }
    t.same(comparable(other), comparable(plain), path)
    t.notMatch(JSON.stringify(other), /insufficient_scope|evil\.example|gopher|192\.0\.2/)
    t.equal((await lineOf(seed, other))['address'], '127.0.0.1', 'the socket, as no proxy is trusted')
  }
})

inBothModes('no error without a credential, and invalid_token for every bad token', async (t, seed) => {
  const where = `resource_metadata="${seed.url}/.well-known/oauth-protected-resource/mcp"`
  const asked = await ping(seed.url)
  t.equal(asked.status, 401)
  t.match(asked.headers.get('www-authenticate'), /^Bearer scope="openid [\w ]+", resource_metadata="[^"]+"$/)
  t.ok(asked.headers.get('www-authenticate')!.endsWith(where))
  t.notMatch(asked.headers.get('www-authenticate'), 'offline_access')

  const now = Math.floor(Date.now() / 1_000)
  const good = await access(seed, { iat: now, exp: now + 300 })
  t.equal((await ping(seed.url, good)).status, 200, 'one like those below')
  const [head, , signature] = good.split('.')
  for (const [about, token] of [
    ['expired', await access(seed, { iat: now - 600, exp: now - 60 })],
    ['for another server', await access(seed, { iat: now, exp: now + 300, aud: 'https://other.example/mcp' })],
    ['of another issuer', await access(seed, { iat: now, exp: now + 300, iss: 'https://other.example' })],
    [
      'with other claims under the same signature',
      `${head}.${Buffer.from(JSON.stringify({ sub: 'bob' })).toString('base64url')}.${signature}`
    ],
    ['no token', 'x.y.z']
  ] as const) {
    const refused = await ping(seed.url, token)
    t.equal(refused.status, 401, about)
    t.match(
      refused.headers.get('www-authenticate'),
      /^Bearer error="invalid_token", error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]+", scope="[^"]+", resource_metadata=/
    )
    t.ok(refused.headers.get('www-authenticate')!.endsWith(where))
  }
})

// Authorization endpoint and redirect URIs

inBothModes('a redirect URI that differs in any byte gets a page and no redirect', async (t, seed) => {
  const before = provider.hits()
  await seed.app.store.set(
    keys.client('seed-planted'),
    JSON.stringify({
      client_id: 'seed-planted',
      client_id_issued_at: 1,
      redirect_uris: ['javascript:alert(1)', 'data:text/html,x', 'http://client.example/cb', 'workbuddy://cb'],
      grant_types: [],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      application_type: 'web'
    }),
    60
  )
  const cases: Record<string, [client: string, uris: string[]]> = {
    'a web site': [
      seed.web,
      [
        EVIL,
        `${WEB}/`,
        `${WEB}/x`,
        `${WEB}?x=1`,
        `${WEB}?`,
        'https://client.example/CB',
        `${WEB}%2e`,
        'https://client.example/./cb',
        'https://client.example/a/../cb',
        'https://client.example/a/%2e%2e/cb',
        '//client.example/cb',
        'https://client.example@evil.example/cb',
        'https://client.example\\@evil.example/cb',
        'https://evil.example#@client.example/cb',
        'https://user:pw@client.example/cb',
        'https://client.example.evil.example/cb',
        'https://client.example%2eevil.example/cb',
        'https://сlient.example/cb',
        'https://client。example/cb',
        'https://client.example/c\tb',
        `${WEB}\r`,
        `${WEB}\n`,
        `${WEB}\u0000`,
        ` ${WEB}`,
        `${WEB} `,
        `${WEB}\u007f`,
        `${WEB}\u0085`,
        `${WEB}%0d%0aSet-Cookie:x=1`,
        'https://client.example:444/cb',
        'http://client.example/cb'
      ]
    ],
    'a program on this machine': [
      seed.native,
      [
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
        'http://127.0.0.1:1/cb?x=1',
        'http://user@127.0.0.1:1/cb'
      ]
    ],
    'an app': [
      seed.app3,
      ['com.example.app://cb', 'com.example.app:/cb/../x', 'COM.example.app:/cb', 'com.example.app:/cb/']
    ],
    'a client that never registered': [
      'claude-code',
      [
        EVIL,
        'com.example.app:/cb',
        'cursor://anysphere.cursor-mcp/cb',
        'javascript:alert(1)',
        'JaVaScRiPt:alert(1)',
        'data:text/html,x',
        'http://localhost.evil.example/cb',
        'http://127.0.0.1:1@evil.example/cb'
      ]
    ],
    'a record that should not be': [
      'seed-planted',
      ['javascript:alert(1)', 'data:text/html,x', 'http://client.example/cb', 'workbuddy://cb']
    ]
  }
  for (const [about, [client, uris]] of Object.entries(cases)) {
    for (const uri of uris) {
      for (const changes of [{}, { response_type: 'token' }, { prompt: 'none' }]) {
        isPage(
          t,
          await authorize(seed, client, uri, changes),
          400,
          `${about}: ${encodeURIComponent(uri)} ${JSON.stringify(changes)}`
        )
      }
    }
  }
  for (const query of [
    `${search(seed.web, WEB)}&redirect_uri=${encodeURIComponent(EVIL)}`,
    `redirect_uri=${encodeURIComponent(EVIL)}&${search(seed.web, WEB)}`,
    [EVIL, WEB].reduce(
      (query, uri) => `${query}&redirect_uri[]=${encodeURIComponent(uri)}`,
      search(seed.web, undefined).replace('client_id', 'client_id[]')
    )
  ]) {
    isPage(t, await send(`${seed.url}/oauth/authorize?${query}`), 400, `repeated: ${query}`)
  }

  for (const [client, uri] of [
    [seed.web, WEB],
    [seed.native, 'http://127.0.0.1:51004/cb'],
    [seed.native, 'http://127.0.0.1:1/cb'],
    [seed.native, 'http://localhost:65535/cb'],
    [seed.native, 'http://127.0.0.1/cb'],
    [seed.app3, 'com.example.app:/cb']
  ] as const) { t.match((await authorize(seed, client, uri)).body, 'name="consent"', `${uri}`) }
  t.same(provider.hits(), before, 'the provider heard of none of it')
})

inBothModes('other response types and modes, prompt=none and no PKCE S256 get no code', async (t, seed) => {
  const before = provider.hits()
  const wrong: Array<[changes: Changes, error: string]> = [
    ...['token', 'id_token', 'code token', 'none', 'CODE'].map((type): [Changes, string] => [
      { response_type: type },
      'unsupported_response_type'
    ]),
    [{ response_type: undefined }, 'invalid_request'],
    ...['fragment', 'form_post', 'web_message', 'jwt', 'junk'].map((mode): [Changes, string] => [
      { response_mode: mode },
      'invalid_request'
    ]),
    ...['plain', undefined, 's256', 'S512'].map((method): [Changes, string] => [
      { code_challenge_method: method },
      'invalid_request'
    ]),
    ...[undefined, '', 'short', `${CHALLENGE}A`].map((challenge): [Changes, string] => [
      { code_challenge: challenge },
      'invalid_request'
    ]),
    [{ code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
    [{ request_uri: 'http://127.0.0.1:9/request' }, 'invalid_request'],
    [{ request: 'eyJhbGciOiJub25lIn0.e30.' }, 'invalid_request'],
    [{ prompt: 'none' }, 'interaction_required'],
    [{ resource: 'https://other.example/mcp' }, 'invalid_target']
  ]
  for (const [changes, error] of wrong) {
    isPage(
      t,
      await authorize(seed, seed.web, WEB, changes),
      400,
      `a web site is not called: ${JSON.stringify(changes)}`
    )
    for (const client of [seed.native, 'claude-code', 'portal']) {
      const { statusCode, headers } = await authorize(seed, client, LOOPBACK, changes)
      t.equal(statusCode, 302, `${client} ${JSON.stringify(changes)}`)
      const { error_description: description, ...sent } = Object.fromEntries(new URL(headers['location']!).searchParams)
      // Proxy mode does not advertise `iss` (RFC 9207 section 2.3).
      const iss = seed.app.config.oauth.mode === 'broker' ? { iss: seed.url } : {}
      t.same(sent, { error, state: STATE, ...iss }, 'error, state and iss; nothing else of the request')
      t.ok(headers['location']!.startsWith(`${LOOPBACK}?`))
      t.match(description, /^[\x20-\x7e]+$/)
      t.notOk('set-cookie' in headers)
    }
  }
  t.same(provider.hits(), before, 'the provider heard of none of it')
})

inBothModes('a repeated parameter is refused, whichever value was the good one', async (t, seed) => {
  const good = Object.entries(
    parameters('claude-code', LOOPBACK, {
      scope: 'openid',
      resource: `${seed.url}/mcp`,
      nonce: 'n',
      prompt: 'login',
      max_age: '60',
      login_hint: 'ada',
      response_mode: 'query'
    })
  )
  t.equal((await send(`${seed.url}/oauth/authorize?${new URLSearchParams(good)}`)).statusCode, 200)
  for (const [name, value] of good) {
    for (const other of [value, 'x']) {
      for (const pairs of [
        [...good, [name, other]],
        [[name, other], ...good]
      ]) { isPage(t, await send(`${seed.url}/oauth/authorize?${new URLSearchParams(pairs as string[][])}`), 400, name) }
    }
  }
})

inBothModes('only listed parameters reach the provider, and no value becomes another one', async (t, seed) => {
  const client = await createPlainClient(seed.url)
  const page = await client.walk(undefined, {
    login_hint: 'a&scope=admin&client_id=evil&redirect_uri=https://evil.example/cb#x',
    redirect_uri2: EVIL,
    audience: 'https://other.example',
    claims: '{}',
    ui_locales: 'de',
    client_secret: 'x',
    max_age: '600'
  })
  t.ok(page.url.searchParams.get('code'), 'and the sign-in goes well')
  const sent = provider.lastAuthorization()
  t.same(
    Object.keys(sent)
      .filter((name) => name !== 'state')
      .sort(),
    [
      'client_id',
      'code_challenge',
      'code_challenge_method',
      'login_hint',
      'max_age',
      'nonce',
      'redirect_uri',
      'response_type',
      'scope'
    ]
  )
  t.match(sent, {
    client_id: provider.clientId,
    redirect_uri: seed.mode === 'broker' ? `${seed.url}/oauth/callback` : client.redirectUri,
    login_hint: 'a&scope=admin&client_id=evil&redirect_uri=https://evil.example/cb#x'
  })
  t.notMatch(sent['scope'], 'admin')
})

inBothModes('state is returned unchanged and once, or refused with a page', async (t, seed) => {
  const client = await createPlainClient(seed.url)
  for (const state of [SCRIPT, 'a b+c%20d&e=f#g', '~'.repeat(2_048), undefined]) {
    const { url } = await client.walk(undefined, { state })
    t.ok(url.searchParams.get('code'))
    t.same(url.searchParams.getAll('state'), state === undefined ? [] : [state])
  }
  for (const state of ['x'.repeat(2_049), 'x'.repeat(10_240), 'a\r\nSet-Cookie: x=1', 'ümlaut']) {
    isPage(t, await authorize(seed, 'claude-code', LOOPBACK, { state }), 400, encodeURIComponent(state).slice(0, 40))
  }
})

// Consent, HTML

inBothModes('no page may be framed, stored or scripted, and none loads anything', async (t, seed) => {
  // The one registration that gets through is that of the web site.
  const limited = await start(t, seed.mode, { OAUTH_LIMIT_PER_ADDRESS: '1' })
  const form = { 'content-type': FORM }
  const pages: Array<[status: number, about: string, answer: Promise<Answer> | Answer]> = [
    [200, 'the question', authorize(seed, seed.web, WEB)],
    [400, 'a wrong request', authorize(seed, seed.web, EVIL)],
    [400, 'an unknown client', authorize(seed, 'seed-gone', WEB)],
    [400, 'no request', send(`${seed.url}/oauth/authorize`)],
    [405, 'another method', send(`${seed.url}/oauth/authorize`, { method: 'POST', headers: form, body: 'x=y' })],
    [
      421,
      'another host',
      send(`${seed.url}/oauth/authorize?${search(seed.web, WEB)}`, { headers: { host: 'evil.example' } })
    ],
    [
      400,
      'an answer to no question',
      send(`${seed.url}/oauth/consent`, { method: 'POST', headers: form, body: 'consent=x&decision=approve' })
    ],
    [
      403,
      'an answer from another site',
      send(`${seed.url}/oauth/consent`, {
        method: 'POST',
        headers: { ...form, 'sec-fetch-site': 'cross-site' },
        body: 'consent=x&decision=approve'
      })
    ],
    [
      415,
      'an answer that is no form',
      send(`${seed.url}/oauth/consent`, { method: 'POST', headers: { 'content-type': JSON_TYPE }, body: '{}' })
    ],
    [
      413,
      'an answer that is too long',
      send(`${seed.url}/oauth/consent`, { method: 'POST', headers: form, body: `x=${'x'.repeat(34_000)}` })
    ],
    [405, 'no answer', send(`${seed.url}/oauth/consent`)],
    [200, 'the first of one', await authorize(limited, limited.web, WEB)],
    [429, 'the second of one', await authorize(limited, limited.web, WEB)],
    ...(seed.mode === 'broker'
      ? ([
          [
            400,
            'a callback of no sign-in',
            send(`${seed.url}/oauth/callback?code=x&state=${encodeURIComponent(SCRIPT)}`)
          ],
          [
            405,
            'a callback by form',
            send(`${seed.url}/oauth/callback`, { method: 'POST', headers: form, body: 'code=x&state=y' })
          ]
        ] as Array<[number, string, Promise<Answer>]>)
      : [])
  ]
  for (const [status, about, answer] of pages) {
    const { statusCode, headers, body } = await answer
    t.equal(statusCode, status, about)
    t.match(
      headers,
      {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy':
          /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none';( form-action 'none';)? frame-ancestors 'none'$/,
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
        'cache-control': 'no-store'
      },
      about
    )
    for (const name of [
      'server',
      'x-powered-by',
      'location',
      'access-control-allow-origin',
      'cross-origin-opener-policy'
    ]) { t.notOk(name in headers, `${about}: ${name}`) }
    t.notMatch(
      body.replaceAll(`${seed.url}/mcp`, '').replaceAll(`${limited.url}/mcp`, '')
        .replace(/(<p class="address"><code><bdi>)(?:<strong>)?[a-z.+-]+:\/\//, '$1'),
      /https?:|<script|<svg|<img|<link|<iframe|src=|url\(|@import|\son\w+=/i,
      about
    )
  }
})

inBothModes('a client may call itself Claude, but the page says that nobody verified it', async (t, seed) => {
  const registered = await register(seed, {
    client_name: 'Claude',
    client_uri: 'https://claude.ai',
    logo_uri: 'https://claude.ai/logo.png',
    redirect_uris: ['https://evil.example:8443/cb']
  })
  t.equal(registered.statusCode, 201)
  const page = await authorize(seed, String(registered.json['client_id']), 'https://evil.example:8443/cb')
  t.equal(page.statusCode, 200)
  t.match(page.body, /<h1>.*<bdi>Claude<\/bdi>/)
  t.match(page.body, /<p class="address"><code><bdi>https:\/\/<strong>evil\.example:8443<\/strong>\//)
  t.match(page.body, 'The application chose this name itself; nobody has verified it.')
  t.equal(page.body.match(/verified/g)!.length, 1, 'no badge')
  t.notMatch(page.body, /claude\.ai|<img|Published|The operator of this server/)
})

// Codes, refresh tokens, client authentication

inBothModes('a malformed code verifier is invalid_request and does not consume the code', async (t, seed) => {
  const client = await createPlainClient(seed.url)
  const code = (await client.walk()).url.searchParams.get('code')!
  const grant = { grant_type: 'authorization_code', client_id: client.clientId, code, redirect_uri: client.redirectUri }
  for (const verifier of [
    'v'.repeat(42),
    'v'.repeat(129),
    `${client.verifier}+`,
    `${client.verifier}=`,
    `${client.verifier} `,
    `${client.verifier}ü`,
    ''
  ]) {
    isError(t, await token(seed, { ...grant, code_verifier: verifier }), 400, 'invalid_request', `"${verifier}"`)
  }
  isError(t, await token(seed, grant), 400, 'invalid_request', 'none')
  for (const twice of [
    [client.verifier, client.verifier],
    [client.verifier, 'v'.repeat(43)],
    ['v'.repeat(43), client.verifier]
  ]) {
    isError(
      t,
      await token(seed, [
        ...Object.entries(grant),
        ...twice.map((verifier): [string, string] => ['code_verifier', verifier])
      ]),
      400,
      'invalid_request',
      'two'
    )
  }
  t.equal((await token(seed, { ...grant, code_verifier: client.verifier })).statusCode, 200, 'the right one')
})

inBothModes('a code needs its redirect URI, which only broker mode lets a client omit', async (t, seed) => {
  const client = await createPlainClient(seed.url, { clientId: 'claude-code', redirectUri: LOOPBACK })
  const grant = {
    grant_type: 'authorization_code',
    client_id: client.clientId,
    code: (await client.walk()).url.searchParams.get('code')!,
    code_verifier: client.verifier
  }
  if (seed.mode === 'broker') {
    for (const uri of [
      'http://127.0.0.1:51004/other',
      'http://127.0.0.1:51005/cb',
      'http://localhost:51004/cb',
      EVIL
    ]) {
      isError(t, await token(seed, { ...grant, redirect_uri: uri }), 400, 'invalid_grant', uri)
    }
    t.equal((await token(seed, grant)).statusCode, 200, 'left out: OAuth 2.1 section 4.1.3')
  } else {
    isError(
      t,
      await token(seed, { ...grant, redirect_uri: EVIL }),
      400,
      'invalid_grant',
      'one that is none of the client, which the provider does not hear of'
    )
    isError(t, await token(seed, grant), 400, 'invalid_request', 'left out: the provider needs it')
    t.equal((await token(seed, { ...grant, redirect_uri: LOOPBACK })).statusCode, 200)
  }
})

inBothModes('a refresh token is no access token, and an access token is no refresh token', async (t, seed) => {
  const client = await createPlainClient(seed.url)
  const tokens = await signedIn(client)
  t.equal((await ping(seed.url, tokens.refresh_token)).status, 401)
  t.match(await readTokens(await client.refresh(tokens.access_token)), { status: 400, error: 'invalid_grant' })
  t.equal((await ping(seed.url, tokens.access_token)).status, 200)
  t.match(
    await readTokens(await client.refresh(tokens.refresh_token!)),
    { status: 200 },
    'and both are still good for what they are for'
  )
})

inBothModes('token request parameters in the query are ignored and consume nothing', async (t, seed) => {
  const client = await createPlainClient(seed.url)
  const grant = {
    grant_type: 'authorization_code',
    client_id: client.clientId,
    code: (await client.walk()).url.searchParams.get('code')!,
    redirect_uri: client.redirectUri,
    code_verifier: client.verifier
  }
  const query = new URLSearchParams(grant)
  for (const path of ['/oauth/token', '/token']) {
    isError(
      t,
      await send(`${seed.url}${path}?${query}`, { method: 'POST', headers: { 'content-type': FORM } }),
      400,
      'invalid_request',
      'no body'
    )
    isError(
      t,
      await send(`${seed.url}${path}?${query}`, {
        method: 'POST',
        headers: { 'content-type': FORM },
        body: 'grant_type=authorization_code'
      }),
      401,
      'invalid_client',
      'the rest in the query'
    )
    const get = await send(`${seed.url}${path}?${query}`)
    isError(t, get, 405, 'invalid_request', 'GET')
    t.equal(get.headers['allow'], 'POST')
  }
  t.equal((await token(seed, grant)).statusCode, 200, 'the code is still good')
})

inBothModes('no token, registration or revocation response is stored or sets a cookie', async (t, seed) => {
  const limited = await start(t, seed.mode, { OAUTH_LIMIT_PER_ADDRESS: '4', DCR_LIMIT_PER_ADDRESS: '3' })
  const client = await createPlainClient(seed.url)
  const page = await client.walk()
  const good = {
    grant_type: 'authorization_code',
    client_id: client.clientId,
    code: page.url.searchParams.get('code')!,
    redirect_uri: client.redirectUri,
    code_verifier: client.verifier
  }
  const tokens = await token(seed, good)
  const refresh = {
    grant_type: 'refresh_token',
    client_id: client.clientId,
    refresh_token: String(tokens.json['refresh_token'])
  }
  const refreshed = await token(seed, refresh)
  const post = async (path: string, body: string, headers: Record<string, string> = { 'content-type': FORM }) =>
    await send(seed.url + path, { method: 'POST', headers, body })
  provider.setFault('/token', 500)
  const away = await token(seed, { ...refresh, refresh_token: String(refreshed.json['refresh_token']) })
  provider.setFault('/token', undefined)
  const revoke = (fields: Record<string, string>) => post('/oauth/revoke', new URLSearchParams(fields).toString())
  const answers: Array<[status: number, about: string, answer: Promise<Answer> | Answer]> = [
    [200, 'tokens', tokens],
    [200, 'refreshed', refreshed],
    [503, 'the provider is down', away],
    [400, 'a used code', token(seed, good)],
    [400, 'no form', token(seed, {})],
    [400, 'another grant type', token(seed, { ...good, grant_type: 'password' })],
    [401, 'an unknown client', token(seed, { ...good, client_id: 'seed-gone' })],
    [
      401,
      'a wrong secret',
      post('/oauth/token', new URLSearchParams({ ...good, client_id: 'portal' }).toString(), {
        'content-type': FORM,
        authorization: 'Basic cG9ydGFsOng='
      })
    ],
    [405, 'GET', send(`${seed.url}/oauth/token`)],
    [415, 'JSON', post('/oauth/token', '{}', { 'content-type': JSON_TYPE })],
    [413, 'too long', post('/oauth/token', 'x'.repeat(17_000))],
    [421, 'another host', post('/oauth/token', 'x=y', { 'content-type': FORM, host: 'evil.example' })],
    [201, 'a registration', register(seed, { redirect_uris: [`${WEB}/t154`] })],
    [201, 'the same again', register(seed, { redirect_uris: [`${WEB}/t154`] })],
    [400, 'a bad registration', register(seed, { redirect_uris: ['javascript:x'] })],
    [400, 'half a registration', post('/oauth/register', '{', { 'content-type': JSON_TYPE })],
    [415, 'a form for registration', post('/oauth/register', 'x=y')],
    [405, 'GET of registration', send(`${seed.url}/oauth/register`)],
    [413, 'a long registration', post('/oauth/register', 'x'.repeat(17_000), { 'content-type': JSON_TYPE })],
    [200, 'unknown token', revoke({ client_id: client.clientId, token: 'unknown' })],
    [400, 'no token', revoke({ client_id: client.clientId })],
    [401, 'no client', revoke({ token: 'x' })],
    [405, 'GET of revocation', send(`${seed.url}/oauth/revoke`)],
    [415, 'JSON for revocation', post('/oauth/revoke', '{}', { 'content-type': JSON_TYPE })],
    [429, 'too many registrations', register(limited, { redirect_uris: [`${WEB}/4`] })]
  ]
  for (let time = 0; time < 4; time++) await token(limited, refresh)
  answers.push([429, 'too many', await token(limited, refresh)])
  for (const [status, about, answer] of answers) {
    const { statusCode, headers, body } = await answer
    t.equal(statusCode, status, about)
    t.match(
      headers,
      {
        'content-type': 'application/json; charset=utf-8',
        'cache-control': 'no-store',
        pragma: 'no-cache',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer'
      },
      about
    )
    t.notOk('set-cookie' in headers, about)
    t.doesNotThrow(() => JSON.parse(body), about)
  }
})

inBothModes('there is no introspection endpoint, and none is advertised', async (t, seed) => {
  for (const path of ['/oauth/introspect', '/introspect', '/oauth/introspection']) {
    t.equal(
      (await send(seed.url + path, { method: 'POST', headers: { 'content-type': FORM }, body: 'token=x' })).statusCode,
      404,
      path
    )
  }
  for (const name of ['oauth-authorization-server', 'openid-configuration']) {
    t.notMatch((await send(`${seed.url}/.well-known/${name}`)).body, 'introspection')
  }
})

// Dynamic registration, and limits

t.test('of a thousand registrations from one address a few succeed, and Redis grows by those alone', async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const seed = await startSeed(t, {
    sharedProvider: provider,
    env: { REDIS_URL: redis.url, DCR_LIMIT_PER_ADDRESS: '10' },
    // A registration that Redis counts late is counted by the replica itself, and may succeed as the eleventh.
    timings: { commandTimeoutMs: 60_000 }
  })
  await ready(seed)
  const client = new Redis(redis.url)
  t.teardown(() => { client.disconnect() })
  const answers: Answer[] = []
  for (let first = 0; first < 1_000; first += 5) {
    answers.push(
      ...(await Promise.all(
        Array.from({ length: 5 }, (_, index) => register(seed, { redirect_uris: [`${WEB}/${first + index}`] }))
      ))
    )
  }
  t.equal(answers.filter(({ statusCode }) => statusCode === 201).length, 10)
  const limited = answers.filter(({ statusCode }) => statusCode === 429)
  t.equal(limited.length, 990)
  for (const { headers, json } of limited) {
    t.match(json, { error: 'temporarily_unavailable' })
    t.ok(Number(headers['retry-after']) > 0 && Number(headers['retry-after']) <= 3_600)
  }
  const stored = await client.keys('seed:*')
  t.equal(stored.filter((key) => key.startsWith('seed:client:')).length, 10)
  t.equal(stored.filter((key) => key.startsWith('seed:registration:')).length, 10)
  t.same(stored.filter((key) => /^seed:trace:/.test(key)).length, 5, 'of 990 refusals, five for seed trace')
  t.same(stored.filter((key) => !/^seed:(client|registration|limit|ping|replica|trace)/.test(key)), [], 'nothing else')
})

for (const mode of ['proxy', 'broker'] as const) {
  t.test(`each endpoint stays rate-limited while Redis is away, and afterwards (${mode})`, async (t) => {
    const redis = await ownRedisForTests(t)
    if (!redis) return
    const seed = await startSeed(t, {
      sharedProvider: provider,
      env: { OAUTH_MODE: mode, REDIS_URL: redis.url, SEED_SECRET: 'x'.repeat(43), OAUTH_LIMIT_PER_ADDRESS: '5' }
    })
    await ready(seed)
    await redis.kill('SIGKILL')
    const endpoints: Record<string, () => Promise<Answer>> = {
      authorize: () => authorize(seed, 'claude-code', LOOPBACK),
      consent: () =>
        send(`${seed.url}/oauth/consent`, {
          method: 'POST',
          headers: { 'content-type': FORM },
          body: 'consent=x&decision=approve'
        }),
      register: () => register(seed, { redirect_uris: [WEB] }),
      revoke: () =>
        send(`${seed.url}/oauth/revoke`, {
          method: 'POST',
          headers: { 'content-type': FORM },
          body: 'client_id=cli&token=x'
        }),
      token: () => token(seed, { grant_type: 'refresh_token', client_id: 'seed-x', refresh_token: 'x' }),
      ...(mode === 'broker' && { callback: () => send(`${seed.url}/oauth/callback?code=x&state=${'y'.repeat(43)}`) })
    }
    for (const [endpoint, ask] of Object.entries(endpoints)) {
      const answers: Answer[] = []
      for (let time = 0; time < 8; time++) answers.push(await ask())
      t.notOk(answers.slice(0, 5).some(({ statusCode }) => statusCode === 429), `${endpoint}: five are let through`)
      t.same(answers.slice(5).map(({ statusCode }) => statusCode), [429, 429, 429], `${endpoint}: and no more`)
      for (const { headers } of answers.slice(5)) {
        t.ok(Number(headers['retry-after']) > 0 && Number(headers['retry-after']) <= 60)
      }
      for (const { body } of answers) {
        t.notMatch(body, /redis|ECONN|ioredis|enableOfflineQueue/i, `${endpoint}: nothing of what is inside`)
      }
    }

    await redis.restart()
    await ready(seed)
    const answers: number[] = []
    for (let time = 0; time < 6; time++) answers.push((await endpoints['authorize']!()).statusCode)
    t.same(answers, [200, 200, 200, 200, 200, 429], 'counted in Redis again')
  })
}

inBothModes('no URL in a registration is fetched, nor on the consent page', async (t, seed) => {
  const sink = await startSink(t)
  const url = `http://127.0.0.1:${sink.port}/x`
  const answer = await register(seed, {
    client_name: 'Sink',
    redirect_uris: [`${WEB}/sink`],
    logo_uri: url,
    client_uri: url,
    tos_uri: url,
    policy_uri: url,
    jwks_uri: url,
    sector_identifier_uri: url,
    request_uris: [url],
    initiate_login_uri: url,
    registration_client_uri: url
  })
  t.equal(answer.statusCode, 201)
  const browser = createBrowser()
  const page = await browser.get(
    `${seed.url}/oauth/authorize?${search(String(answer.json['client_id']), `${WEB}/sink`)}`
  )
  t.equal(page.status, 200)
  t.notOk(page.body.includes(String(sink.port)), 'the page names none of it')
  const gone: Page = await browser.submit(page.forms[0]!, { decision: 'approve' }, ({ origin }) => origin !== seed.url)
  t.equal(gone.url.origin, provider.issuer)
  t.equal(sink.connections(), 0)
  for (const name of ['logo_uri', 'client_uri', 'tos_uri', 'policy_uri']) {
    for (const bad of ['javascript:alert(1)', 'data:image/png;base64,x']) {
      isError(
        t,
        await register(seed, { redirect_uris: [WEB], [name]: bad }),
        400,
        'invalid_client_metadata',
        `${name} ${bad}`
      )
    }
  }
})

// Client ID metadata documents, with the fetcher that ships

for (const mode of ['proxy', 'broker'] as const) {
  t.test(`a client id at a private address is refused everywhere, unfetched (${mode})`, async (t) => {
    const sink = await startSink(t)
    const hosts = [
      '127.0.0.1',
      'localhost',
      '[::1]',
      '169.254.169.254',
      '10.0.0.1',
      '100.64.0.1',
      '172.16.0.1',
      '192.168.0.1',
      '0.0.0.0',
      '[::ffff:7f00:1]',
      '[::7f00:1]',
      '[64:ff9b::7f00:1]',
      '[2002:7f00:1::]',
      '[fd00::1]',
      '[fe80::1]'
    ]
    const misspelt = [
      '2130706433',
      '0x7f.1',
      '127.1',
      '0177.0.0.1',
      'localhost.',
      '[::ffff:127.0.0.1]',
      'user@127.0.0.1'
    ]
    const start = async (): Promise<TestSeed> => {
      const seed = await startSeed(t, {
        sharedProvider: provider,
        env: {
          OAUTH_MODE: mode,
          CIMD_ENABLED: 'true',
          // Their port is allowed, so that only the address is left to refuse.
          CIMD_HOSTS: [...hosts, ...misspelt].map((host) => `${host}:${sink.port}`).join(','),
          CIMD_PROBE_URL: `https://127.0.0.1:${sink.port}/probe.json`
        }
      })
      await ready(seed)
      return seed
    }
    let seed = await start()
    for (const [index, host] of [...hosts, ...misspelt].entries()) {
      // One address may name ten documents a minute.
      if (index % 10 === 9) seed = await start()
      const id = `https://${host}:${sink.port}/client.json`
      isPage(t, await authorize(seed, id, LOOPBACK), 400, id)
      const response = await token(seed, { grant_type: 'refresh_token', client_id: id, refresh_token: 'x' })
      // No document is needed to refresh; what cannot be the URL of a document is no client at all.
      if (hosts.includes(host)) isError(t, response, 400, 'invalid_grant', id)
      else isError(t, response, 401, 'invalid_client', id)
    }
    t.equal(sink.connections(), 0)
    t.match(await seed.logged(({ msg }) => msg.startsWith('Client ID metadata documents are not advertised')), {
      level: 40,
      reason: /not at a public address/
    })
    t.match(
      (await send(`${seed.url}/.well-known/oauth-authorization-server`)).json,
      { client_id_metadata_document_supported: false },
      'and the probe is held to the same rule'
    )
  })
}

// Part 4.1

inBothModes('an open stream is neither cached nor buffered by a proxy', async (t, seed) => {
  const { access_token: accessToken } = await signedIn(await createPlainClient(seed.url))
  const stream = await subscribe(seed.url, accessToken)
  t.equal(stream.status, 200)
  t.match(stream.headers.get('content-type'), /^text\/event-stream/)
  t.match(stream.headers.get('cache-control'), /no-(cache|store)/)
  t.match(stream.headers.get('cache-control'), 'no-transform')
  t.equal(stream.headers.get('x-accel-buffering'), 'no')
  await stream.body!.cancel()
})

interface Answer {
  statusCode: number
  headers: Record<string, string>
  body: string
  json: Record<string, unknown>
}

/** One request as it is, with any Host header, without following redirects. */
async function send (
  url: string,
  { method = 'GET', headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: string } = {}
): Promise<Answer> {
  const request = httpRequest(url, { method, headers, agent: false })
  request.end(body)
  const [response] = await once(request, 'response') as [IncomingMessage]
  const content = await text(response)
  return {
    statusCode: response.statusCode!,
    headers: Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)])),
    body: content,
    json: content.startsWith('{') ? JSON.parse(content) as Record<string, unknown> : {}
  }
}

/** The parameters of a good authorization request with changes; undefined takes one out. */
function parameters (clientId: string, redirectUri: string | undefined, changes: Changes = {}): Record<string, string> {
  const all: Changes = {
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    state: STATE,
    code_challenge: CHALLENGE,
    code_challenge_method: 'S256',
    ...changes
  }
  return Object.fromEntries(Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== undefined))
}

function search (clientId: string, redirectUri: string | undefined, changes: Changes = {}): string {
  return new URLSearchParams(parameters(clientId, redirectUri, changes)).toString()
}

async function authorize (
  { url }: Pick<TestSeed, 'url'>,
  clientId: string,
  redirectUri: string | undefined,
  changes: Changes = {}
): Promise<Answer> {
  return await send(`${url}/oauth/authorize?${search(clientId, redirectUri, changes)}`)
}

async function token (
  { url }: Pick<TestSeed, 'url'>,
  fields: Record<string, string> | Array<[string, string]>
): Promise<Answer> {
  return await send(`${url}/oauth/token`, {
    method: 'POST',
    headers: { 'content-type': FORM },
    body: new URLSearchParams(fields).toString()
  })
}

async function register ({ url }: Pick<TestSeed, 'url'>, metadata: Record<string, unknown>): Promise<Answer> {
  return await send(`${url}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': JSON_TYPE },
    body: JSON.stringify(metadata)
  })
}

/** An access token as the mode has them, with these claims. */
async function access ({ app, mode, url }: Fixture, claims: Record<string, unknown>): Promise<string> {
  if (mode === 'proxy') return await provider.mint(claims)
  const { kid, privateKey } = app.signingKeys.current()
  return await new SignJWT({
    iss: url,
    aud: `${url}/mcp`,
    sub: 'ada',
    client_id: 'claude-code',
    scope: 'openid',
    grant: randomBytes(16).toString('base64url'),
    jti: randomBytes(16).toString('base64url'),
    ...claims
  })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid })
    .sign(privateKey)
}

async function lineOf (seed: TestSeed, { headers }: Answer) {
  return await seed.logged((line) => line['reqId'] === headers['x-request-id'] && line.msg === 'Request')
}

/** Listens on this machine and counts who comes. */
async function startSink (t: Test): Promise<{ port: number, connections: () => number }> {
  let connections = 0
  const server = createServer((socket) => {
    connections++
    socket.destroy()
  }).listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, connections: () => connections }
}

/** A page, with no redirect, no cookie and nothing of what was asked for in its headers. */
function isPage (t: Test, { statusCode, headers }: Answer, status: number, about: string): void {
  t.same(
    {
      status: statusCode,
      type: headers['content-type'],
      cache: headers['cache-control'],
      unwanted: Object.keys(headers).filter(
        (name) => name === 'location' || name === 'set-cookie' || name.startsWith('access-control-')
      ),
      echoed: /evil\.example|Set-Cookie:x/.test(JSON.stringify(headers))
    },
    { status, type: 'text/html; charset=utf-8', cache: 'no-store', unwanted: [], echoed: false },
    about
  )
}

t.test('a redirect URI planted in a pending consent is checked again when it is answered', async (t) => {
  for (const mode of ['proxy', 'broker']) {
    for (const decision of ['approve', 'deny']) {
      const seed = await startSeed(t, { env: { OAUTH_MODE: mode } })
      await ready(seed)
      const browser = createBrowser()
      const client = await createPlainClient(seed.url)
      const page = await browser.get(client.authorizationUrl())
      const form = page.forms[0]!
      const consent = await editConsent(seed, form.fields['consent']!, ({ request }) => {
        request.redirectUri = 'javascript:alert(1)'
      })
      const answer = await browser.submit(form, { consent, decision })
      t.match(
        { status: answer.status, location: answer.headers.location },
        { status: 400, location: undefined },
        `${mode}, ${decision}`
      )
    }
  }
})
