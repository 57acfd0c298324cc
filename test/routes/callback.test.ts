import { generateKeyPair } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import type { TokenOverrides } from '../../dev/provider.ts'
import { createKeyring } from '../../src/crypto/keyring.ts'
import { digest } from '../../src/crypto/hash.ts'
import { keys } from '../../src/store/keys.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import { createBrowser } from '../support/browser.ts'
import type { Page } from '../support/browser.ts'
import { REDIRECT_URI, byHand, post, signIn, startBroker, toCallback } from '../support/broker.ts'
import type { AtCallback } from '../support/broker.ts'
import { startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** GET /oauth/callback: the browser returns from the provider (broker mode), with the right response or another. */

const tokenHits = ({ provider }: TestSeed): number => provider.hits()['/token'] ?? 0

/** The callback's URL with other parameters; undefined takes one away. */
function changed ({ callback }: AtCallback, parameters: Record<string, string | undefined>): URL {
  const url = new URL(callback)
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) url.searchParams.delete(name)
    else url.searchParams.set(name, value)
  }
  return url
}

/** A page of ours that no other site can frame, that loads nothing and leaks nothing. */
function isErrorPage (t: Test, { status, headers, body }: Page, expected: number, about: string): void {
  t.equal(status, expected, `${about}: ${expected}`)
  t.match(headers, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer'
  }, `${about}: headers`)
  t.match(headers['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/, `${about}: policy`)
  t.notMatch(headers['content-security-policy'], /unsafe/, `${about}: policy`)
  t.match(body, /Reference <code>[\w-]{12}<\/code>/, `${about}: reference`)
  t.notMatch(body, /<script|<img|<iframe|src=|<form/i, `${about}: nothing but text`)
}

/** The link of an error page that takes the error back to the client. */
function returnLink ({ body }: Page): { target: string, parameters: Record<string, string> } | undefined {
  const href = /<a class="button primary" href="([^"]+)"/.exec(body)?.[1]?.replace(/&(amp|#38|#x26);/g, '&')
  if (href === undefined) return undefined
  const url = new URL(href)
  return { target: `${url.origin}${url.pathname}`, parameters: Object.fromEntries(url.searchParams) }
}

/** A page, and a way back to the client that tells it the error; no code anywhere. */
function endsOnPage (
  t: Test,
  seed: TestSeed,
  page: Page,
  { state }: AtCallback,
  status: number,
  error: string,
  about: string
): void {
  isErrorPage(t, page, status, about)
  const link = returnLink(page)
  t.match(
    link,
    { target: REDIRECT_URI, parameters: { error, state, iss: seed.url, error_description: /./ } },
    `${about}: way back`
  )
  t.notOk('code' in link!.parameters, `${about}: no code`)
}

t.test('the right browser returns to the client with a code, and its sign-in cookie is cleared', async (t) => {
  const seed = await startBroker(t)
  const { callback, cookie, request } = await byHand(seed)
  const response = await fetch(callback, { redirect: 'manual', headers: { cookie } })
  t.equal(response.status, 303)
  t.equal(response.headers.get('cache-control'), 'no-store')
  const location = new URL(response.headers.get('location')!)
  t.equal(`${location.origin}${location.pathname}`, REDIRECT_URI)
  t.same([...location.searchParams.keys()].sort(), ['code', 'iss', 'state'], 'each once')
  t.match(Object.fromEntries(location.searchParams), { state: request.state, iss: seed.url, code: /^[\w-]{43}$/ })
  const [cleared, ...others] = response.headers.getSetCookie()
  t.match(cleared, new RegExp(`^${cookie.split('=')[0]}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax$`))
  t.same(others, [])
})

t.test('no state, a random or a repeated one gets a page and leads to no token request', async (t) => {
  const seed = await startBroker(t)
  const attempt = await toCallback(seed)
  const hits = tokenHits(seed)
  for (const [what, url] of [
    ['no state', changed(attempt, { state: undefined })],
    ['random state', changed(attempt, { state: 'x'.repeat(43) })],
    ['empty state', changed(attempt, { state: '' })],
    ['state beyond its length', changed(attempt, { state: 'x'.repeat(513) })],
    ['nothing at all', new URL(`${seed.url}/oauth/callback`)],
    ['repeated state', new URL(`${attempt.callback.href}&state=x`)],
    ['an error without state', new URL(`${seed.url}/oauth/callback?error=access_denied`)]
  ] as const) {
    const page = await attempt.browser.get(url)
    isErrorPage(t, page, 400, what)
    t.equal(returnLink(page), undefined, `${what}: nobody to return to`)
  }
  t.equal(tokenHits(seed), hits)
  t.ok((await attempt.browser.get(attempt.callback)).url.searchParams.get('code'), 'the sign-in itself is still good')
})

t.test('another browser than the one that consented is refused (CVE-2026-27124)', async (t) => {
  const seed = await startBroker(t)
  const victim = createBrowser()
  // The victim has a sign-in of its own under way, and with it cookies.
  const own = await toCallback(seed, { browser: victim, login: 'bob' })
  const attacker = await toCallback(seed)
  const hits = tokenHits(seed)

  for (const [what, browser] of [
    ['without cookies', createBrowser()],
    ['with cookies of its own sign-in', victim]
  ] as const) {
    const page = await browser.get(attacker.callback)
    isErrorPage(t, page, 403, what)
    t.match(page.body, 'started in another browser')
    t.equal(returnLink(page), undefined, `${what}: nothing leads to the attacker's client`)
  }
  t.equal(tokenHits(seed), hits, 'no token request')
  t.ok((await attacker.browser.get(attacker.callback)).url.searchParams.get('code'))
  t.ok((await victim.get(own.callback)).url.searchParams.get('code'))
})

t.test('a forged cookie, or one of another sign-in, is no consent', async (t) => {
  const seed = await startBroker(t)
  const [one, other] = [await byHand(seed), await byHand(seed)]
  const name = one.cookie.split('=')[0]!
  for (const [what, cookie] of [
    ['made up', `${name}=${'x'.repeat(43)}`],
    ['empty', `${name}=`],
    ["another sign-in's value under the right name", `${name}=${other.cookie.split('=')[1]}`],
    ["another sign-in's cookie", other.cookie],
    ['the right value under the name that https has', `__Host-${one.cookie}`]
  ] as const) {
    t.equal((await fetch(one.callback, { redirect: 'manual', headers: { cookie } })).status, 403, what)
  }
  t.equal((await fetch(one.callback, { redirect: 'manual', headers: { cookie: `a=b; ${one.cookie}` } })).status, 303)
})

t.test('a callback works once, replayed or sent ten times at once', async (t) => {
  const seed = await startBroker(t)
  const first = await byHand(seed)
  const go = async ({ callback, cookie }: { callback: URL; cookie: string }): Promise<number> =>
    (await fetch(callback, { redirect: 'manual', headers: { cookie } })).status
  t.equal(await go(first), 303)
  t.equal(await go(first), 400, 'again, with the cookie kept')

  const second = await byHand(seed)
  const hits = tokenHits(seed)
  const statuses = await Promise.all(Array.from({ length: 10 }, () => go(second)))
  t.same(statuses.sort(), [303, ...Array<number>(9).fill(400)])
  t.equal(tokenHits(seed), hits + 1, 'one token request')
})

t.test('when two requests race for the same sign-in, one wins and the other is refused', async (t) => {
  const seed = await startBroker(t)
  const attempt = await toCallback(seed)
  const { store } = seed.app
  const take = store.take.bind(store)
  store.take = async (key) => {
    await store.delete(key)
    return await take(key)
  }
  isErrorPage(t, await attempt.browser.get(attempt.callback), 400, 'taken in between')
  t.match(await seed.logged(({ path }) => path === '/oauth/callback'), {
    reason: 'the state was used at the same moment'
  })
})

t.test('a sign-in expires after ten minutes', async (t) => {
  const seed = await startBroker(t)
  const ttls: number[] = []
  const { store } = seed.app
  const set = store.set.bind(store)
  store.set = async (key, value, ttlSeconds) => {
    if (key.startsWith('sign-in:')) ttls.push(ttlSeconds)
    await set(key, value, ttlSeconds)
  }
  const attempt = await toCallback(seed)
  t.same(ttls, [600])
  // What the end of its time to live leaves behind.
  t.equal(await store.delete(keys.signIn(digest(attempt.callback.searchParams.get('state')!))), true)
  const page = await attempt.browser.get(attempt.callback)
  isErrorPage(t, page, 400, 'expired')
  t.match(page.body, 'This sign-in has expired or was already completed.')
})

t.test('a foreign iss, or none from a provider that sends it, leads to no token request (RFC 9207)', async (t) => {
  const seed = await startBroker(t, { provider: { quirks: { issParameter: true } } })
  for (const [what, iss] of [
    ['another issuer', 'https://evil.example'],
    ['with a slash more', `${seed.provider.issuer}/`],
    ['none', undefined],
    ['an empty one', '']
  ] as const) {
    const attempt = await toCallback(seed)
    t.equal(attempt.callback.searchParams.get('iss'), seed.provider.issuer)
    const hits = tokenHits(seed)
    endsOnPage(t, seed, await attempt.browser.get(changed(attempt, { iss })), attempt, 502, 'server_error', what)
    t.equal(tokenHits(seed), hits, `${what}: no token request`)
  }
  t.equal(
    (await signIn(seed)).answer.searchParams.get('iss'),
    seed.url,
    'with the right one it works, and what the client gets is ours'
  )

  const silent = await startBroker(t)
  const attempt = await toCallback(silent)
  endsOnPage(
    t,
    silent,
    await attempt.browser.get(changed(attempt, { iss: 'https://evil.example' })),
    attempt,
    502,
    'server_error',
    'a wrong one from a provider that sends none'
  )
})

for (const [error, told] of [
  ['access_denied', 'access_denied'],
  ['temporarily_unavailable', 'temporarily_unavailable'],
  ['login_required', 'interaction_required'],
  ['interaction_required', 'interaction_required'],
  ['consent_required', 'interaction_required'],
  ['account_selection_required', 'interaction_required'],
  ['invalid_scope', 'server_error'],
  ['<script>alert(1)</script>', 'server_error']
] as const) {
  t.test(`the provider's error ${error} reaches the client as ${told}, in Seed's words`, async (t) => {
    const seed = await startBroker(t)
    const attempt = await toCallback(seed)
    const hits = tokenHits(seed)
    const { url, status } = await attempt.browser.get(changed(attempt, {
      code: undefined, error, error_description: '<script>alert(2)</script>', error_uri: 'javascript:alert(3)'
    }))
    t.equal(status, 0, 'the browser goes to the client')
    t.equal(`${url.origin}${url.pathname}`, REDIRECT_URI)
    t.same([...url.searchParams.keys()].sort(), ['error', 'error_description', 'iss', 'state'], 'each once')
    t.match(Object.fromEntries(url.searchParams), { error: told, state: attempt.state, iss: seed.url })
    t.notMatch(decodeURIComponent(url.href), /<script|alert|javascript/)
    t.equal(tokenHits(seed), hits)
    const line = await seed.logged(({ path }) => path === '/oauth/callback')
    t.match(line, { error: told, client: attempt.clientId, status: 303 })
    t.ok(String(line['reason']).includes(JSON.stringify(error)), "the provider's own word is in the log")
    t.match(String(line['reason']), 'alert(2)', 'and so is its description')
  })
}

t.test('a callback with both an error and a code is an error', async (t) => {
  const seed = await startBroker(t)
  const attempt = await toCallback(seed)
  const hits = tokenHits(seed)
  const { url } = await attempt.browser.get(changed(attempt, { error: 'access_denied' }))
  t.match(Object.fromEntries(url.searchParams), { error: 'access_denied', state: attempt.state })
  t.notOk(url.searchParams.has('code'))
  t.equal(tokenHits(seed), hits, 'the code is not used')
})

t.test('a callback with neither an error nor a code, or with an unknown code, is refused', async (t) => {
  const seed = await startBroker(t)
  for (const [what, code] of [['none', undefined], ['an unknown one', 'x'.repeat(43)]] as const) {
    const attempt = await toCallback(seed)
    const page = await attempt.browser.get(changed(attempt, { code }))
    endsOnPage(t, seed, page, attempt, 400, 'server_error', what)
  }
})

t.test('a code of another sign-in is refused (code injection, PKCE at the provider)', async (t) => {
  const seed = await startBroker(t)
  const [stolen, attempt] = [await toCallback(seed, { login: 'bob' }), await toCallback(seed)]
  endsOnPage(
    t,
    seed,
    await attempt.browser.get(changed(attempt, { code: stolen.callback.searchParams.get('code')! })),
    attempt,
    400,
    'server_error',
    "bob's code in ada's browser"
  )
})

type Override = (claims: Record<string, unknown>) => TokenOverrides | Promise<TokenOverrides>

/** ID tokens that must be refused (OpenID Connect Core 1.0 section 3.1.3.7). */
const BAD_ID_TOKENS: Array<[name: string, override: Override]> = [
  ['with another nonce', (claims) => ({ claims: { ...claims, nonce: 'x'.repeat(43) } })],
  ['with a claim nested so deeply that no token of ours could repeat it', (claims) => ({
    claims: { ...claims, deep: JSON.parse('['.repeat(1_000) + ']'.repeat(1_000)) as unknown }
  })],
  ['without nonce', ({ nonce, ...claims }) => ({ claims })],
  ['for another client', (claims) => ({ claims: { ...claims, aud: 'somebody-else' } })],
  [
    'for another client too, azp another',
    (claims) => ({ claims: { ...claims, aud: [claims['aud'], 'somebody-else'], azp: 'somebody-else' } })
  ],
  ['of another issuer', (claims) => ({ claims: { ...claims, iss: 'https://evil.example' } })],
  [
    'expired',
    (claims) => ({ claims: { ...claims, iat: Number(claims['iat']) - 7_200, exp: Number(claims['iat']) - 3_600 } })
  ],
  ['without exp', ({ exp, ...claims }) => ({ claims })],
  ['without sub', ({ sub, ...claims }) => ({ claims })],
  ['unsigned', (claims) => ({ claims, header: { alg: 'none' } })],
  ['of a key that nobody published', (claims) => ({ claims, header: { kid: 'unknown' } })],
  ['signed by another key under the right name', (claims) => ({ claims, key: foreignKey })],
  [
    'signed with HMAC',
    (claims) => ({ claims, header: { alg: 'HS256' }, key: new TextEncoder().encode('seed-dev'.repeat(8)) })
  ]
]
let foreignKey: Awaited<ReturnType<typeof generateKeyPair>>['privateKey']
t.before(async () => { foreignKey = (await generateKeyPair('ES256')).privateKey })

t.test('an invalid ID token gets a page and no code, and nothing is stored', async (t) => {
  const seed = await startBroker(t, { timings: { forcedKeyRefreshMs: 100 } })
  const written: string[] = []
  const { store } = seed.app
  const set = store.set.bind(store)
  store.set = async (key, value, ttlSeconds) => {
    written.push(key)
    await set(key, value, ttlSeconds)
  }
  for (const [what, override] of BAD_ID_TOKENS) {
    const attempt = await toCallback(seed)
    written.length = 0
    seed.provider.quirks.idToken = override as (claims: Record<string, unknown>) => TokenOverrides
    endsOnPage(t, seed, await attempt.browser.get(attempt.callback), attempt, 502, 'server_error', what)
    t.same(written.filter((key) => /^(code|grant)/.test(key)), [], `${what}: nothing is kept`)
  }
  seed.provider.quirks.idToken = undefined
  t.ok((await signIn(seed)).code, 'and an honest one is believed')
})

t.test('max_age is forwarded to the provider, and an older sign-in is refused', async (t) => {
  const seed = await startBroker(t)
  const attempt = await toCallback(seed, { parameters: { max_age: '60' } })
  t.equal(seed.provider.lastAuthorization()['max_age'], '60')
  seed.provider.quirks.idToken = (claims) => ({ claims: { ...claims, auth_time: Number(claims['iat']) - 1_000 } })
  const page = await attempt.browser.get(attempt.callback)
  endsOnPage(t, seed, page, attempt, 400, 'unmet_authentication_requirements', 'signed in long ago')
  seed.provider.quirks.idToken = undefined
  t.ok((await signIn(seed, { parameters: { max_age: '60' } })).code)
})

t.test('a token response without an ID token is refused', async (t) => {
  const seed = await startBroker(t)
  const attempt = await toCallback(seed)
  seed.provider.setFault('/token', { status: 200, json: { access_token: 'opaque', token_type: 'Bearer' } })
  endsOnPage(t, seed, await attempt.browser.get(attempt.callback), attempt, 502, 'server_error', 'no ID token')
  t.match(await seed.logged(({ path, status }) => path === '/oauth/callback' && status === 502), {
    reason: /openid must be among the scopes/
  })
})

t.test('a token of another type than Bearer is refused (RFC 6749 section 7.1)', async (t) => {
  const seed = await startBroker(t)
  for (const type of ['DPoP', 5, null]) {
    const attempt = await toCallback(seed)
    seed.provider.setFault('/token', { status: 200, json: { access_token: 'x', token_type: type } })
    endsOnPage(t, seed, await attempt.browser.get(attempt.callback), attempt, 502, 'server_error', 'token_type is')
    seed.provider.setFault('/token', undefined)
  }
})

for (const [what, fault, status, error] of [
  ['is down', 'down', 503, 'temporarily_unavailable'],
  ['does not answer', 'hang', 503, 'temporarily_unavailable'],
  ['answers 500', 500, 503, 'temporarily_unavailable'],
  ['answers 429', 429, 503, 'temporarily_unavailable'],
  ['answers with a page', 'html', 502, 'server_error'],
  ['does not know this server', { status: 401, json: { error: 'invalid_client' } }, 502, 'server_error']
] as const) {
  t.test(`when the provider's token endpoint ${what}, the page offers a way back`, async (t) => {
    const seed = await startBroker(t)
    const attempt = await toCallback(seed)
    seed.provider.setFault('/token', fault)
    const page = await attempt.browser.get(attempt.callback)
    endsOnPage(t, seed, page, attempt, status, error, what)
    if (status === 503) t.equal(page.headers['retry-after'], '5')
    seed.provider.setFault('/token', undefined)
    isErrorPage(t, await attempt.browser.get(attempt.callback), 400, 'this sign-in is over; the next one works')
    t.ok((await signIn(seed)).code)
  })
}

t.test('a slow provider is waited for and not treated as an outage', async (t) => {
  const seed = await startBroker(t)
  seed.provider.setFault('/token', { slow: 400 })
  t.ok((await signIn(seed)).code)
})

t.test("without the provider's keys the page is 503 and offers a way back", async (t) => {
  const seed = await startBroker(t, { timings: { forcedKeyRefreshMs: 100 } })
  const attempt = await toCallback(seed)
  seed.provider.setFault('/jwks', 'down')
  await seed.provider.rotateKeys()
  endsOnPage(t, seed, await attempt.browser.get(attempt.callback), attempt, 503, 'temporarily_unavailable', 'no keys')
})

t.test('a user whom an access rule refuses is told why, and the client gets access_denied', async (t) => {
  const seed = await startBroker(t, {
    env: { ACCESS_GROUPS: 'admins', ACCESS_CONTACT: 'Zoë "IT" <it@example.com>', OIDC_SCOPES: 'openid profile email groups' }
  })
  const attempt = await toCallback(seed, { login: 'bob' })
  const page = await attempt.browser.get(attempt.callback)
  endsOnPage(t, seed, page, attempt, 403, 'access_denied', 'bob is no admin')
  t.match(page.body, 'You are not in a group that may use this server.')
  t.match(page.body, 'Ask Zoë &#34;IT&#34; &#60;it@example.com&#62; for access', 'whole')
  t.match(await seed.logged(({ path, status }) => path === '/oauth/callback' && status === 403), {
    error: 'access_denied',
    reason: /ACCESS_GROUPS/
  })
  t.ok((await signIn(seed, { login: 'ada' })).code, 'ada is')
})

t.test('when the store goes away during the callback the page is 503', async (t) => {
  const seed = await startBroker(t)
  const attempt = await toCallback(seed)
  const { store } = seed.app
  store.addMember = async () => { throw new StoreUnavailableError() }
  const page = await attempt.browser.get(attempt.callback)
  isErrorPage(t, page, 503, 'no store')
  t.equal(page.headers['retry-after'], '1')
})

t.test('who reads the store while a user signs in finds neither code verifier nor nonce nor state', async (t) => {
  const seed = await startBroker(t)
  const attempt = await toCallback(seed)
  const { store, keyring } = seed.app
  const key = keys.signIn(digest(attempt.callback.searchParams.get('state')!))
  const text = (await store.get(key))!
  const record = JSON.parse(text) as { sealed: string }
  const secrets = JSON.parse(keyring.open(record.sealed, key)!) as Record<string, string>
  t.same(Object.keys(secrets), ['codeVerifier', 'nonce', 'state'])
  for (const [name, value] of Object.entries(secrets)) {
    t.ok(value.length > 5, name)
    t.notOk(text.includes(value), name)
  }

  const foreign = createKeyring('another SEED_SECRET, of 44 bytes as the first', undefined)
  const changed = { ...record, sealed: foreign.seal(JSON.stringify(secrets), key) }
  await store.set(key, JSON.stringify(changed), 600)
  isErrorPage(t, await attempt.browser.get(attempt.callback), 400, 'sealed with another SEED_SECRET')
})

t.test("a redirect URI that today's rules refuse gets no redirect, whatever the sign-in stored", async (t) => {
  const seed = await startBroker(t)
  const attempt = await toCallback(seed)
  const key = keys.signIn(digest(attempt.callback.searchParams.get('state')!))
  const record = JSON.parse((await seed.app.store.get(key))!) as { request: { redirectUri: string } }
  record.request.redirectUri = 'javascript:alert(1)'
  await seed.app.store.set(key, JSON.stringify(record), 600)
  const hits = tokenHits(seed)
  const page = await attempt.browser.get(attempt.callback)
  isErrorPage(t, page, 400, 'refused')
  t.notMatch(page.body, 'javascript:')
  t.equal(tokenHits(seed), hits)
})

t.test('the callback exists only in broker mode, accepts only GET, and has no CORS', async (t) => {
  const seed = await startBroker(t)
  const answer = await post(`${seed.url}/oauth/callback`, { state: 'x', code: 'y' })
  t.equal(answer.statusCode, 405)
  t.equal(answer.headers['allow'], 'GET')
  const cross = await fetch(`${seed.url}/oauth/callback?state=x`, { headers: { origin: 'https://evil.example' } })
  t.equal(cross.status, 400)
  t.equal(cross.headers.get('access-control-allow-origin'), null)

  const proxy = await startSeed(t)
  t.equal((await fetch(`${proxy.url}/oauth/callback?state=x&code=y`)).status, 404)
})

t.test('the log says who signed in with which client, and contains no secret', async (t) => {
  const seed = await startBroker(t)
  const attempt = await toCallback(seed)
  const { url } = await attempt.browser.get(attempt.callback)
  const line = await seed.logged(({ path }) => path === '/oauth/callback')
  t.match(line, { status: 303, client: attempt.clientId, subject: 'ada', grant: /^[\w-]{22}$/ })
  for (const name of ['code', 'state']) {
    t.notMatch(JSON.stringify(seed.logs), attempt.callback.searchParams.get(name)!, `the provider's ${name}`)
    t.notMatch(JSON.stringify(seed.logs), url.searchParams.get(name)!, `the client's ${name}`)
  }
})
