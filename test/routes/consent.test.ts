import t from 'tap'
import type { LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { FetchPublicDocument } from '../../src/net/public-fetch.ts'
import { digest } from '../../src/crypto/hash.ts'
import { keys } from '../../src/store/keys.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import { createBrowser } from '../support/browser.ts'
import { editConsent } from '../support/consent-form.ts'
import { withoutReference } from '../support/oauth-error.ts'
import { ready, startSeed } from '../support/seed.ts'
import { createPlainClient, signedIn } from '../support/sign-in.ts'
import type { TestSeed } from '../support/seed.ts'

/**
 * The consent page, its answer and, in broker mode, the way back from the provider, over HTTP: what the right person
 * gets, and what anybody else gets.
 */

type Mode = 'proxy' | 'broker'

const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
const STATE = 'state-of-the-client'
const LOOPBACK = 'http://127.0.0.1:51004/cb'
const DOCUMENT_ID = 'https://published.example/oauth/client.json'
const ADA = { login: 'ada', password: 'ada' }
/** Nothing listens on this port. */
const DEAD_REDIS = 'redis://127.0.0.1:1'
const SVG = '"><svg onload=alert(1)>'

type Changes = Record<string, string | undefined>
type Answer = LightMyRequestResponse

const CONFIGURED = [
  { client_id: 'company-tool', client_name: 'Company Tool', redirect_uris: ['https://tool.example/cb?tenant=a'] }
]

/** Every URL has a document, whose client goes by the name Published. */
const documents: FetchPublicDocument = async (url) => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({
    client_id: url,
    client_name: 'Published',
    redirect_uris: ['http://localhost/cb', 'https://published.example/cb']
  })
})

interface Fixture extends TestSeed {
  mode: Mode
  registered: string
}

/** `iss` of error redirects (RFC 9207): in broker mode only, as in the metadata. */
const issOf = ({ mode, url }: Fixture) => mode === 'broker' ? { iss: url } : {}

async function start (t: Test, mode: Mode, env: Record<string, string> = {}): Promise<Fixture> {
  const seed = await startSeed(t, {
    sharedProvider: provider,
    fetchDocument: documents,
    env: { OAUTH_MODE: mode, OAUTH_CLIENTS: JSON.stringify(CONFIGURED), REDIRECT_URI_SCHEMES: 'cursor', ...env }
  })
  await ready(seed)
  return {
    ...seed,
    mode,
    registered: await register(seed, 'Registered <b>&', [
      'https://client.example/cb',
      'http://localhost/cb',
      'cursor://anysphere.cursor-mcp/cb',
      'https://xn--clude-9ze.example/cb'
    ])
  }
}

const provider = await startDevProvider({ algorithm: 'ES256' })
t.teardown(async () => { await provider.close() })
const fixtures = [await start(t, 'proxy'), await start(t, 'broker')] as const
const [, broker] = fixtures

/** In each mode, as a test of its own. */
function inBothModes (name: string, check: (t: Test, seed: Fixture) => Promise<void>): void {
  for (const seed of fixtures) t.test(`${name} (${seed.mode})`, (t) => check(t, seed))
}

inBothModes('every kind of client is named on a consent page before the provider is involved', async (t, seed) => {
  const cases: Array<[client: string, redirectUri: string, told: string[]]> = [
    [
      seed.registered,
      'https://client.example/cb',
      ['Registered &#60;b&#62;&#38;', 'client.example', 'nobody has verified']
    ],
    [seed.registered, 'http://localhost:7777/cb', ['localhost:7777', 'Only allow this if you just started']],
    [seed.registered, 'cursor://anysphere.cursor-mcp/cb', ['cursor:', 'Only allow this if you just started']],
    [seed.registered, 'https://xn--clude-9ze.example/cb', ['xn--clude-9ze.example', 'international']],
    [
      'company-tool',
      'https://tool.example/cb?tenant=a',
      ['Company Tool', 'tool.example', 'The operator of this server']
    ],
    [DOCUMENT_ID, 'https://published.example/cb', ['Published', 'published.example']],
    [
      DOCUMENT_ID,
      'http://localhost:1234/cb',
      ['Published by', 'published.example', 'localhost:1234', 'Only allow this if you just started']
    ],
    [
      'claude-code',
      LOOPBACK,
      ['claude-code', '127.0.0.1:51004', 'not registered', 'Only allow this if you just started']
    ]
  ]
  const before = provider.hits()
  for (const [client, redirectUri, told] of cases) {
    for (const site of ['none', 'cross-site', 'same-origin', undefined]) {
      const { page } = await open(
        seed,
        createJar(),
        { client, redirectUri, scope: 'openid email offline_access' },
        site === undefined ? {} : { 'sec-fetch-site': site }
      )
      isPage(t, page, 200, `${client} ${redirectUri}, Sec-Fetch-Site ${site}`)
      for (const words of [
        ...told,
        'Know who you are',
        'See your e-mail address',
        'Stay connected',
        `${seed.url}/mcp`
      ]) {
        t.ok(page.body.includes(words), `${redirectUri}: ${words}`)
      }
      t.notOk(
        page.body.split('This server itself')[0]!.includes('See your name'),
        'a scope that was not asked for is not shown'
      )
    }
  }
  t.same(provider.hits(), before, 'the provider has heard of none of it')
})

inBothModes('the whole redirect URI is shown, and who gets the code stands out', async (t, seed) => {
  for (const [redirectUri, shown] of [
    ['https://client.example/cb', 'https://<strong>client.example</strong>/cb'],
    ['http://localhost:7777/cb', 'http://<strong>localhost:7777</strong>/cb'],
    ['cursor://anysphere.cursor-mcp/cb', '<strong>cursor://anysphere.cursor-mcp</strong>/cb']
  ] as const) {
    const { page } = await open(seed, createJar(), { client: seed.registered, redirectUri })
    t.ok(page.body.includes(`<bdi>${shown}</bdi>`), shown)
  }
})

inBothModes('what happens beyond the requested scopes is shown too', async (t, seed) => {
  const { page } = await open(seed, createJar(), { scope: 'openid' })
  t.match(page.body, 'Stay connected until you or your organisation end it')
  const asked = page.body.split('This server itself will also ask')[1]
  if (seed.mode === 'proxy') {
    t.equal(asked, undefined, 'the provider is asked for the shown scopes')
  } else {
    for (const words of ['See your name', 'See your e-mail address']) t.match(asked, words)
  }
})

inBothModes('consent is asked again right after allowing the same client in the same browser', async (t, seed) => {
  const browser = createBrowser()
  const first = await browser.signIn(authorizeUrl(seed), ADA)
  t.match(first.href, /^http:\/\/127\.0\.0\.1:51004\/cb\?.*code=/, 'signed in')
  for (const client of ['claude-code', seed.registered, DOCUMENT_ID, 'company-tool']) {
    const before = provider.hits()
    const redirectUri =
      { 'company-tool': 'https://tool.example/cb?tenant=a', 'claude-code': LOOPBACK }[client] ?? 'http://localhost:9/cb'
    const page = await browser.get(authorizeUrl(seed, { client_id: client, redirect_uri: redirectUri }))
    t.equal(page.status, 200, client)
    t.same(page.forms[0]?.buttons, [{ name: 'decision', value: 'approve' }, { name: 'decision', value: 'deny' }])
    t.same(provider.hits(), before, 'with a session there, the provider would have given a code at once')
  }
})

inBothModes('a request that cannot succeed never reaches the consent page', async (t, seed) => {
  const before = provider.hits()
  for (const [change, error] of [
    [{ prompt: 'none' }, 'interaction_required'],
    [{ response_type: 'token' }, 'unsupported_response_type'],
    [{ code_challenge: undefined }, 'invalid_request'],
    [{ resource: 'https://other.example' }, 'invalid_target']
  ] as const) {
    const { page } = await open(seed, createJar(), change)
    t.equal(page.statusCode, 302)
    const { error_description: description, ...sent } = Object.fromEntries(new URL(page.headers.location!).searchParams)
    t.same(sent, { error, state: STATE, ...issOf(seed) })
    t.same(page.cookies, [])
    t.match(await logOf(seed, page), { error, reason: withoutReference(description) })
    isPage(
      t,
      (await open(seed, createJar(), { client: seed.registered, redirectUri: 'https://client.example/cb', ...change }))
        .page,
      400,
      error
    )
  }
  const probe = await seed.app.inject({ url: '/oauth/authorize?response_type=code&client_id=test' })
  t.equal(probe.statusCode, 302)
  t.ok(probe.headers.location!.startsWith(`${provider.issuer}/auth?`), 'a probe without a redirect URI')
  t.same(probe.cookies, [])
  t.same(provider.hits(), before)
})

inBothModes('allowing redirects to the provider with 303 and sets a cookie in broker mode', async (t, seed) => {
  const jar = createJar()
  const { page, consent } = await open(seed, jar)
  t.same(
    page.cookies.map(({ name }) => name.replace(/[\w-]{8}$/, '')),
    ['seed-browser-'],
    'asking sets the cookie of the question and no other'
  )
  const answer = await decide(seed, jar, consent)
  t.equal(answer.statusCode, 303)
  t.equal(answer.body, '')
  t.equal(answer.headers['cache-control'], 'no-store')
  const target = new URL(answer.headers.location!)
  t.equal(target.origin + target.pathname, `${provider.issuer}/auth`)
  const { redirect_uri: redirectUri, state } = Object.fromEntries(target.searchParams)
  if (seed.mode === 'proxy') {
    t.same([redirectUri, state], [LOOPBACK, STATE])
    t.same(answer.cookies, [])
  } else {
    t.equal(redirectUri, `${seed.url}/oauth/callback`)
    t.not(state, STATE)
    t.match(answer.cookies, [{ name: /^seed-sign-in-[\w-]{12}$/, value: /^[\w-]{43}$/, maxAge: 600 }])
  }
  const line = await logOf(seed, answer)
  t.match(line, { client: 'claude-code', decision: 'approve', status: 303, path: '/oauth/consent' })
  t.notOk(JSON.stringify(seed.logs).includes(consent), 'the id is not logged')
})

inBothModes('denying redirects to the client with access_denied, state and, where advertised, iss', async (t, seed) => {
  for (const [client, redirectUri, state] of [
    ['claude-code', LOOPBACK, SVG],
    ['claude-code', 'http://localhost:1/?keep=1', undefined],
    [seed.registered, 'cursor://anysphere.cursor-mcp/cb', STATE],
    ['company-tool', 'https://tool.example/cb?tenant=a', STATE]
  ] as const) {
    const before = provider.hits()
    const jar = createJar()
    const { consent } = await open(seed, jar, {
      client,
      redirectUri,
      state,
      scope: 'openid',
      nonce: 'n',
      login_hint: 'ada'
    })
    const answer = await decide(seed, jar, consent, { decision: 'deny' })
    t.equal(answer.statusCode, 303)
    const back = new URL(answer.headers.location!)
    const given = new URL(redirectUri)
    t.equal(back.href.split('?')[0], given.href.split('?')[0])
    const { error_description: description, ...sent } = Object.fromEntries(back.searchParams)
    t.same(sent, {
      ...Object.fromEntries(given.searchParams),
      error: 'access_denied',
      ...issOf(seed),
      ...(state !== undefined && { state })
    })
    t.equal(withoutReference(description), 'The person did not allow the application')
    t.equal(back.searchParams.getAll('state').length, state === undefined ? 0 : 1)
    t.same(answer.cookies, [])
    t.same(provider.hits(), before)
    isPage(t, await decide(seed, jar, consent), 400, 'who has denied cannot allow with the same page')
  }
})

inBothModes('an answer counts only from the browser and the page that were asked', async (t, seed) => {
  const [victim, attacker] = [createJar(), createJar()]
  const { consent } = await open(seed, victim)
  const other = await open(seed, attacker)
  const [name, value] = [...victim.cookies][0]!
  const flipped = (value.startsWith('A') ? 'B' : 'A') + value.slice(1)
  const written = watchSignIns(t, seed)
  const before = provider.hits()
  for (const [status, about, cookie, id] of [
    [403, 'no cookie', undefined, consent],
    [403, "another browser's cookie", attacker.header(), consent],
    [403, 'the id of another browser, in this one', victim.header(), other.consent],
    [403, 'a cookie that was edited', `${name}=${flipped}`, consent],
    [403, 'an empty cookie', `${name}=`, consent],
    [403, 'the hash of the cookie, as the store holds it', `${name}=${digest(value)}`, consent],
    [
      403,
      'the value under another name',
      `seed-sign-in-x=${value}; browser=${value}; seed-browser=${value}; Seed-Browser-x=${value}`,
      consent
    ],
    [403, 'a twin with the prefix of https, which http does not have', `__Host-${name}=${value}`, consent],
    [400, 'a form that was edited', victim.header(),
      `${consent.slice(0, 40)}${consent[40] === 'A' ? 'B' : 'A'}${consent.slice(41)}`],
    [400, 'a form whose last character was edited', victim.header(),
      `${consent.slice(0, -1)}${consent.endsWith('A') ? 'B' : 'A'}`],
    [400, 'a form without its last character', victim.header(), consent.slice(0, -1)],
    [400, 'an id of no page', victim.header(), 'x'],
    [400, 'an empty id', victim.header(), ''],
    [400, 'an id that is too long', victim.header(), 'x'.repeat(32_769)]
  ] as const) {
    for (const decision of ['approve', 'deny']) {
      const answer = await post(seed, { consent: id, decision }, { ...(cookie !== undefined && { cookie }) })
      isPage(t, answer, status, `${about}, ${decision}`)
    }
  }
  t.match(
    (await post(seed, { consent, decision: 'approve' })).body,
    'This page was opened in another browser, or this browser blocks cookies.'
  )
  t.same(written, [], 'no sign-in has begun')
  t.same(provider.hits(), before)
  t.equal((await decide(seed, victim, consent)).statusCode, 303, 'and the person can still answer')
  isPage(t, await decide(seed, victim, consent), 400, 'once')
  t.equal((await decide(seed, attacker, other.consent)).statusCode, 303)
})

inBothModes('a form on another web site cannot answer, whatever it knows', async (t, seed) => {
  const jar = createJar()
  for (const site of ['cross-site', 'same-site', 'none', '', 'Same-Origin', `x${SVG}`]) {
    const { consent } = await open(seed, jar)
    const answer = await decide(seed, jar, consent, {}, { 'sec-fetch-site': site })
    isPage(t, answer, 403, site)
    t.match(answer.body, 'The form was submitted by another web site.')
    t.equal(
      (await decide(seed, jar, consent, {}, { 'sec-fetch-site': 'same-origin' })).statusCode,
      303,
      'the question is still open'
    )
  }
  const { consent } = await open(seed, jar)
  t.equal(
    (await decide(seed, jar, consent, {}, { origin: 'null' })).statusCode,
    303,
    'Origin is null after a page with no-referrer, and an old browser has no Sec-Fetch-Site'
  )
})

inBothModes('an invalid form is refused, and the page can still be answered', async (t, seed) => {
  const jar = createJar()
  const { consent } = await open(seed, jar)
  const form = `consent=${consent}&decision=approve`
  const type = 'application/x-www-form-urlencoded'
  for (const [status, about, payload, contentType] of [
    [400, 'no decision', `consent=${consent}`, type],
    [400, 'an unknown decision', `consent=${consent}&decision=maybe`, type],
    [400, 'an empty decision', `consent=${consent}&decision=`, type],
    [400, 'both decisions', `${form}&decision=deny`, type],
    [400, 'two ids', `${form}&consent=x`, type],
    [400, 'no id', 'decision=approve', type],
    [400, 'nothing', '', type],
    [415, 'JSON', JSON.stringify({ consent, decision: 'approve' }), 'application/json'],
    [415, 'text', form, 'text/plain'],
    [415, 'multipart', form, 'multipart/form-data; boundary=x'],
    [413, 'too large', `${form}&more=${'x'.repeat(33_792)}`, type]
  ] as const) {
    const answer = await seed.app.inject({
      method: 'POST',
      url: '/oauth/consent',
      payload,
      headers: { 'content-type': contentType, cookie: jar.header() }
    })
    isPage(t, answer, status, about)
  }
  isPage(
    t,
    await seed.app.inject({
      method: 'POST',
      url: `/oauth/consent?${form}`,
      headers: { cookie: jar.header(), 'content-type': type }
    }),
    400,
    'in the query'
  )
  t.equal(
    (
      await seed.app.inject({
        method: 'POST',
        url: '/oauth/consent',
        payload: `${form}&extra=1`,
        headers: { 'content-type': `${type}; charset=UTF-8`, cookie: jar.header() }
      })
    ).statusCode,
    303
  )
})

inBothModes('a consent page expires', async (t, seed) => {
  const jar = createJar()
  const { consent } = await open(seed, jar)
  const expired = await editConsent(seed, consent, (form) => { form.expiresAt -= 900_000 })
  const answer = await decide(seed, jar, expired)
  isPage(t, answer, 400, 'expired')
  t.match(answer.body, 'This page has expired or was already answered.')
})

inBothModes('of three simultaneous answers one counts', async (t, seed) => {
  const jar = createJar()
  const { consent } = await open(seed, jar)
  readTogether(t, seed, 'consent:', 3)
  const answers = await Promise.all([
    decide(seed, jar, consent),
    decide(seed, jar, consent),
    decide(seed, jar, consent, { decision: 'deny' })
  ])
  t.same(answers.map(({ statusCode }) => statusCode).sort(), [303, 400, 400])
})

inBothModes('consent pages that nobody answers leave nothing in the store, beside what seed trace shows', async (t, seed) => {
  await open(seed, createJar())
  const written: string[] = []
  for (const method of ['set', 'setIfAbsent', 'addMemberWithin'] as const) {
    spy(t, seed, method, (key) => { written.push(key) })
  }
  for (let count = 0; count < 20; count++) {
    const { page } = await open(seed, createJar(), { state: 's'.repeat(1_024), nonce: 'n'.repeat(1_024) })
    t.equal(page.statusCode, 200)
  }
  t.same(written, [])
})

inBothModes('the largest request that is accepted can be answered', async (t, seed) => {
  const jar = createJar()
  const { page, consent } = await open(seed, jar, {
    redirectUri: `http://127.0.0.1:1/${'r'.repeat(2_029)}`,
    state: '"'.repeat(1_024),
    nonce: '\u0001'.repeat(1_024),
    login_hint: '\u0001'.repeat(320),
    prompt: 'login',
    max_age: '999999999'
  })
  t.equal(page.statusCode, 200)
  t.ok(consent.length > 16_000, `${consent.length} characters`)
  const answer = await decide(seed, jar, consent, { decision: 'deny' })
  t.equal(answer.statusCode, 303)
  t.equal(new URL(answer.headers.location!).searchParams.get('state'), '"'.repeat(1_024))
})

inBothModes('an address can leave only so many sign-ins unfinished, an IPv6 /48 three times as many', async (t, {
  mode
}) => {
  const seed = await startSeed(t, {
    sharedProvider: provider,
    env: { OAUTH_MODE: mode, OAUTH_LIMIT_PER_ADDRESS: '4', TRUST_PROXY: '127.0.0.1' }
  })
  await ready(seed)
  const counters: string[] = []
  spy(t, seed, 'increment', (key) => { counters.push(key) })
  const written: string[] = []
  // The steps of earlier requests are recorded while others go on (src/trace).
  const note = (key: string): void => { if (!key.startsWith('trace')) written.push(key) }
  for (const method of ['set', 'setIfAbsent'] as const) spy(t, seed, method, note)

  async function answerFrom (address: string, decision = 'approve'): Promise<Answer> {
    const headers = { 'x-forwarded-for': address }
    const jar = createJar()
    const { consent } = await open(seed, jar, {}, headers)
    return await decide(seed, jar, consent, { decision }, headers)
  }

  /** Lets the minute pass whose requests are counted. */
  async function passMinute (): Promise<void> {
    for (const key of counters.splice(0)) await seed.app.store.delete(key)
  }

  async function isRefused (address: string): Promise<void> {
    const before = written.length
    const answer = await answerFrom(address)
    isPage(t, answer, 429, address)
    t.equal(answer.headers['retry-after'], '60')
    t.match(answer.body, 'Too many sign-ins were started from your network and not completed.')
    t.match(await logOf(seed, answer), { reason: /sign-ins of one address or IPv6 \/48 .*OAUTH_LIMIT_PER_ADDRESS/ })
    t.equal(written.length, before, 'nothing is left in the store')
  }

  for (const decision of ['approve', 'deny', 'approve', 'deny']) {
    t.equal((await answerFrom('192.0.2.1', decision)).statusCode, 303)
  }
  await passMinute()
  await isRefused('192.0.2.1')
  t.equal((await answerFrom('192.0.2.2')).statusCode, 303, 'another address is not affected')

  for (let count = 0; count < 12; count++) {
    t.equal((await answerFrom(`2001:db8:1:${count % 3}::${count}`)).statusCode, 303)
  }
  await isRefused('2001:db8:1:3::1')
  await passMinute()
  await isRefused('2001:db8:1:2::1')
  t.equal((await answerFrom('2001:db8:2::1')).statusCode, 303, 'another site is not affected')
})

inBothModes('a sign-in that completes makes room for another', async (t, { mode }) => {
  const seed = await startSeed(t, { sharedProvider: provider, env: { OAUTH_MODE: mode, OAUTH_LIMIT_PER_ADDRESS: '2' } })
  await ready(seed)
  const counters: string[] = []
  spy(t, seed, 'increment', (key) => { counters.push(key) })
  for (let count = 0; count < 5; count++) {
    const client = await createPlainClient(seed.url, { clientId: 'claude-code', redirectUri: LOOPBACK })
    t.ok((await signedIn(client)).access_token)
    for (const key of counters.splice(0)) await seed.app.store.delete(key)
  }
})

inBothModes('consent pages in two tabs can both be answered, also when opened at once', async (t, seed) => {
  for (const atOnce of [false, true]) {
    const jar = createJar()
    const load = async () => await open(seed, jar, { state: 'one' })
    const pages = atOnce ? await Promise.all([load(), load()]) : [await load(), await load()]
    t.equal(jar.cookies.size, atOnce ? 2 : 1)
    for (const { consent } of pages) {
      t.equal((await decide(seed, jar, consent)).statusCode, 303, `at once: ${atOnce}`)
      isPage(t, await decide(seed, jar, consent), 400, 'once each')
    }
  }
})

inBothModes('sixty consent pages in one browser do not grow its cookies and can all be answered', async (t, seed) => {
  const jar = createJar()
  const pages = []
  for (let page = 0; page < 60; page++) pages.push(await open(seed, jar))
  t.equal(jar.cookies.size, 1)
  t.equal(new Set(pages.map(({ consent }) => consent)).size, 60)
  t.equal((await decide(seed, jar, pages[0]!.consent)).statusCode, 303)
  t.equal((await decide(seed, jar, pages[59]!.consent)).statusCode, 303)

  const burst = createJar()
  await Promise.all(pages.map(() => open(seed, burst)))
  t.ok(burst.header().length < 4_096, `sixty at once: ${burst.header().length} bytes`)
  const { consent } = await open(seed, burst)
  t.equal((await decide(seed, burst, consent)).statusCode, 303)
})

inBothModes("cookies that are not Seed's are replaced, not adopted", async (t, seed) => {
  const good = 'A'.repeat(22)
  for (const cookie of [
    'seed-browser-12345678=short',
    `seed-browser-12345678=${good}x`,
    `seed-browser-ü=${good}`,
    `seed-browser-"a=${good}`,
    `seed-browser-${'x'.repeat(100)}=${good}`,
    `seed-browser=${good}`,
    'seed-browser-12345678=%E0%A4%A',
    '=;=;;',
    `__Host-seed-browser-12345678=${good}`
  ]) {
    const page = await seed.app.inject({ url: authorizeUrl(seed), headers: { cookie } })
    isPage(t, page, 200, cookie)
    t.not(page.cookies[0]!.value, good)
    t.match(page.cookies, [{ name: /^seed-browser-[\w-]{8}$/, value: /^[\w-]{22}$/ }])
  }
})

t.test('a browser has at most eight sign-ins in progress, and the oldest are dropped', async (t) => {
  const jar = createJar()
  const callbacks: string[] = []
  for (let count = 1; count <= 12; count++) {
    const { consent } = await open(broker, jar)
    const answer = await decide(broker, jar, consent)
    callbacks.push(
      `/oauth/callback?error=access_denied&state=${new URL(answer.headers.location!).searchParams.get('state')}`
    )
    t.equal([...jar.cookies.keys()].filter((name) => name.startsWith('seed-sign-in-')).length, Math.min(count, 8))
  }
  t.ok(jar.header().length < 1_024)
  for (const [index, url] of callbacks.entries()) {
    const answer = await broker.app.inject({ url, headers: { cookie: jar.header() } })
    t.equal(answer.statusCode, index < 4 ? 403 : 303, `sign-in ${index + 1} of 12`)
  }
  const strange = [...'abcdefghij'].map((letter) => `seed-sign-in-"${letter}=x`).join('; ')
  const { consent } = await open(broker, jar)
  t.equal(
    (await post(broker, { consent, decision: 'approve' }, { cookie: `${jar.header()}; ${strange}` })).statusCode,
    303,
    'cookies of no form of ours are let be'
  )
})

inBothModes('over https every cookie is __Host-, Secure, HttpOnly and SameSite=Lax', async (t, { mode }) => {
  const seed = await startSeed(t, {
    sharedProvider: provider,
    env: { OAUTH_MODE: mode, BASE_URL: 'https://mcp.example.com' }
  })
  await ready(seed)
  const host = { host: 'mcp.example.com' }
  const jar = createJar()
  const { page, consent } = await open(seed, jar, {}, host)
  const lines = [page.headers['set-cookie']].flat()
  t.equal(lines.length, 1)
  t.match(lines[0], /^__Host-seed-browser-[\w-]{8}=[\w-]{22}; Max-Age=3600; Path=\/; HttpOnly; Secure; SameSite=Lax$/)

  const twin = jar.header().replace('__Host-', '')
  isPage(
    t,
    await post(seed, { consent, decision: 'approve' }, { ...host, cookie: twin }),
    403,
    'a twin without the prefix, as a subdomain could set it, is ignored'
  )
  const again = await seed.app.inject({ url: authorizeUrl(seed), headers: { ...host, cookie: twin } })
  t.not(again.cookies[0]!.value, twin.split('=')[1])

  const answer = await post(seed, { consent, decision: 'approve' }, { ...host, cookie: `${twin}x; ${jar.header()}` })
  t.equal(answer.statusCode, 303)
  const given = [answer.headers['set-cookie']].flat().filter((line) => line !== undefined)
  t.equal(given.length, mode === 'broker' ? 1 : 0)
  for (const line of given) {
    t.match(line, /^__Host-seed-sign-in-[\w-]{12}=[\w-]{43}; Max-Age=600; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
  }
  if (mode === 'proxy') return

  t.equal(new URL(answer.headers.location!).searchParams.get('redirect_uri'), 'https://mcp.example.com/oauth/callback')
  const [name, value] = given[0]!.split(';')[0]!.split('=') as [string, string]
  const state = new URL(answer.headers.location!).searchParams.get('state')
  const callback = `/oauth/callback?error=access_denied&state=${state}`
  isPage(
    t,
    await seed.app.inject({ url: callback, headers: { ...host, cookie: `${name.replace('__Host-', '')}=${value}` } }),
    403,
    'the twin at the callback'
  )
  const back = await seed.app.inject({
    url: callback,
    headers: { ...host, cookie: `${name.replace('__Host-', '')}=x; ${name}=${value}` }
  })
  t.equal(back.statusCode, 303)
  t.equal(new URL(back.headers.location!).searchParams.get('iss'), 'https://mcp.example.com')
  t.match(
    String(back.headers['set-cookie']),
    new RegExp(`^${name}=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax$`),
    'and the cookie has served'
  )
})

inBothModes('other methods create nothing', async (t, seed) => {
  const written: string[] = []
  spy(t, seed, 'set', (key) => { written.push(key) })
  for (const [url, allowed] of [
    [authorizeUrl(seed), 'GET'],
    ['/oauth/consent', 'POST'],
    ...(seed.mode === 'broker' ? ([['/oauth/callback?state=x&code=y', 'GET']] as const) : [])
  ] as const) {
    for (const method of ['HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', allowed === 'GET' ? 'POST' : 'GET'] as const) {
      const answer = await seed.app.inject({
        method,
        url,
        headers: { origin: 'https://app.example', 'access-control-request-method': allowed }
      })
      t.equal(answer.statusCode, 405, `${method} ${url.split('?')[0]}`)
      t.equal(answer.headers.allow, allowed)
      t.notOk(
        Object.keys(answer.headers).some(
          (name) => name.startsWith('access-control-') || name === 'set-cookie' || name === 'location'
        )
      )
    }
  }
  t.same(written.filter((key) => !key.startsWith('limit:')), [])
})

inBothModes('everything of a request is escaped in a page', async (t, seed) => {
  const { body } = (
    await open(seed, createJar(), {
      client: await register(seed, `c${SVG}`, [LOOPBACK]),
      state: SVG,
      nonce: SVG,
      login_hint: SVG,
      scope: SVG,
      [SVG]: SVG
    })
  ).page
  t.ok(body.includes('c&#34;&#62;&#60;svg onload=alert(1)&#62;'), 'the name is shown')
  t.notMatch(body, /<svg/i)
  t.equal(body.split('svg').length - 1, 2, 'the name, in the title and in the heading; nothing else of the query')
  t.equal(body.includes(STATE), false)

  const jar = createJar()
  for (const response of [
    await post(seed, { consent: SVG, decision: 'approve' }, { cookie: `seed-browser-12345678=${SVG}` }),
    await post(seed, { consent: 'x', decision: SVG }),
    await post(
      seed,
      { consent: (await open(seed, jar)).consent, decision: 'approve' },
      { cookie: jar.header(), 'sec-fetch-site': SVG }
    ),
    await seed.app.inject({ url: `/oauth/authorize?${encodeURIComponent(SVG)}=${encodeURIComponent(SVG)}` })
  ]) {
    t.ok(response.statusCode >= 400)
    t.notMatch(response.body, 'svg')
  }

  const hostile = await register(seed, `\u202eevil\u202c ${SVG}`, ['https://client.example/cb'])
  const page = await open(seed, createJar(), { client: hostile, redirectUri: 'https://client.example/cb' })
  t.notMatch(page.page.body, /[\u202a-\u202e\u2066-\u2069]|<svg/)
})

inBothModes('while the store is away the page says to try again, and nothing is forwarded', async (t, { mode }) => {
  const seed = await startSeed(t, {
    sharedProvider: provider,
    env: { OAUTH_MODE: mode, REDIS_URL: DEAD_REDIS, SEED_SECRET: 'x'.repeat(43) }
  })
  await seed.logged(({ msg }) => msg === 'OpenID provider discovered')
  const jar = createJar()
  const { page, consent } = await open(seed, jar)
  isPage(t, page, 200, 'the page needs no store')
  const answers = [
    await seed.app.inject({ url: authorizeUrl(seed, { client_id: 'seed-registered' }) }),
    await decide(seed, jar, consent),
    ...(mode === 'broker' ? [await seed.app.inject({ url: '/oauth/callback?code=x&state=y' })] : [])
  ]
  for (const answer of answers) {
    isPage(t, answer, 503, 'no store')
    t.equal(answer.headers['retry-after'], '1')
    t.match(answer.body, 'Sign-in is not available right now')
    t.notMatch(answer.body, /redis|127\.0\.0\.1/i)
    t.same(answer.cookies, [])
    t.match(await logOf(seed, answer), { reason: 'The store (REDIS_URL) does not answer' })
  }
})

inBothModes('the store is lost before the answer: the page can still be answered', async (t, { mode }) => {
  const seed = await start(t, mode)
  const jar = createJar()
  const { consent } = await open(seed, jar)
  let fail: (() => never) | undefined
  spy(t, seed, 'setIfAbsent', (key) => { if (key.startsWith('consent:')) fail?.() })

  fail = () => { throw new StoreUnavailableError() }
  const away = await decide(seed, jar, consent)
  isPage(t, away, 503, 'the store does not answer')
  t.equal(away.headers['retry-after'], '1')

  fail = () => { throw new Error('connect 10.0.0.5:6379 at ReplyParser.parse') }
  const broken = await decide(seed, jar, consent)
  isPage(t, broken, 500, 'an error that nobody expected')
  t.notMatch(broken.body, /10\.0\.0\.5|ReplyParser/)
  t.match(
    await seed.logged((line) => line['reqId'] === broken.headers['x-request-id'] && line.msg === 'Unexpected error'),
    { level: 50, err: { message: /10\.0\.0\.5/ } }
  )

  fail = undefined
  t.equal((await decide(seed, jar, consent)).statusCode, 303)
})

inBothModes('too many requests from one address get a page that says when to try again', async (t, { mode }) => {
  const seed = await startSeed(t, { sharedProvider: provider, env: { OAUTH_MODE: mode, OAUTH_LIMIT_PER_ADDRESS: '2' } })
  await ready(seed)
  for (const ask of [
    () => seed.app.inject({ url: authorizeUrl(seed) }),
    () => post(seed, { consent: 'x', decision: 'approve' }),
    ...(mode === 'broker' ? [() => seed.app.inject({ url: '/oauth/callback' })] : [])
  ]) {
    t.not((await ask()).statusCode, 429)
    t.not((await ask()).statusCode, 429)
    const answer = await ask()
    isPage(t, answer, 429, 'the third')
    t.match(answer.body, /<h1>Too many attempts<\/h1>/)
    t.ok(Number(answer.headers['retry-after']) >= 1 && Number(answer.headers['retry-after']) <= 60)
  }
})

inBothModes('allowing before the provider was discovered ends on a page', async (t, { mode }) => {
  const away = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(async () => { await away.close() })
  away.setFault('/.well-known/openid-configuration', 500)
  const seed = await startSeed(t, { sharedProvider: away, env: { OAUTH_MODE: mode } })
  const jar = createJar()
  const { consent } = await open(seed, jar)
  const answer = await decide(seed, jar, consent)
  const link = /<p><a class="button primary" href="([^"]+)" rel="noreferrer">Return to the application<\/a><\/p>/
  const [, href] = link.exec(answer.body)!
  t.match(href, /^http:\/\/127\.0\.0\.1:\d+\/cb\?error=temporarily_unavailable&/, 'the client learns it too')
  isPage(t, { ...answer, body: answer.body.replace(link, '') }, 503, 'no provider')
  t.equal(answer.headers['retry-after'], '5')
  t.match(answer.body, 'The identity provider cannot be reached.')
  t.notMatch(answer.body, away.issuer)
  t.same(answer.cookies, [])
})

t.test('proxy mode has no callback: the provider redirects to the client itself', async (t) => {
  t.equal((await fixtures[0].app.inject({ url: '/oauth/callback?code=x&state=y' })).statusCode, 404)
})

t.test('a sign-in returns to the browser that allowed it and to no other (CVE-2026-27124)', async (t) => {
  const [allowed, another] = [createBrowser(), createBrowser()]
  const callback = await allowed.signIn(authorizeUrl(broker), ADA, atCallback)
  const others = await another.signIn(authorizeUrl(broker, { state: 'another' }), ADA, atCallback)
  t.equal(callback.origin, broker.url)
  const tokenHits = provider.hits()['/token']

  for (const [browser, about] of [
    [createBrowser(), 'a browser that allowed nothing'],
    [another, 'one that allowed another sign-in']
  ] as const) {
    const page = await browser.get(callback)
    t.equal(page.status, 403, about)
    t.match(page.body, 'This sign-in was started in another browser.')
    t.notMatch(page.body, /127\.0\.0\.1:51004|code=/, 'no way on from here')
    t.equal(page.headers['set-cookie'], undefined)
  }
  const swapped = new URL(callback)
  swapped.searchParams.set('state', others.searchParams.get('state')!)
  for (const change of [
    swapped.search,
    '',
    '?code=x',
    '?code=x&state=',
    `?code=x&state=${'A'.repeat(43)}`,
    `?state=${callback.searchParams.get('state')}x&code=x`
  ]) {
    const page = await allowed.get(new URL(change, `${broker.url}/oauth/callback`))
    t.equal(page.status, change === swapped.search ? 403 : 400, change.slice(0, 20))
  }
  for (const twice of ['state', 'code', 'iss', 'error']) {
    const page = await allowed.get(`${callback.href}&error=x&iss=x&${twice}=second`)
    t.equal(page.status, 400, `${twice} twice`)
    t.match(page.body, `${twice} is missing, repeated or malformed.`)
  }
  t.equal(provider.hits()['/token'], tokenHits, 'the token endpoint of the provider was never asked')

  const back = await allowed.get(callback)
  t.equal(back.status, 0)
  t.match(back.url.href, LOOPBACK)
  t.same([...back.url.searchParams.keys()].sort(), ['code', 'iss', 'state'])
  t.match(Object.fromEntries(back.url.searchParams), { code: /^[\w-]{43}$/, iss: broker.url, state: STATE })
  t.not(back.url.searchParams.get('code'), callback.searchParams.get('code'))
  const replay = await allowed.get(callback)
  t.equal(replay.status, 400)
  t.match(replay.body, 'This sign-in has expired or was already completed.')
  t.equal(provider.hits()['/token'], tokenHits! + 1)
  t.match((await another.get(others)).url.href, LOOPBACK, 'and the other browser finishes its own')
})

t.test('the cookie of one sign-in does not finish another, under whatever name it is sent', async (t) => {
  const [mine, theirs] = [await begin(broker), await begin(broker)]
  const forged = `${theirs.cookie.name}=${mine.cookie.value}; ${mine.cookie.name}=${mine.cookie.value}`
  isPage(
    t,
    await broker.app.inject({
      url: `/oauth/callback?error=access_denied&state=${theirs.state}`,
      headers: { cookie: forged }
    }),
    403,
    'forged'
  )
  for (const value of ['', digest(theirs.cookie.value), `${theirs.cookie.value}x`, theirs.cookie.value.slice(1)]) {
    isPage(
      t,
      await broker.app.inject({
        url: `/oauth/callback?error=access_denied&state=${theirs.state}`,
        headers: { cookie: `${theirs.cookie.name}=${value}` }
      }),
      403,
      'edited'
    )
  }
  for (const { state, cookie } of [mine, theirs]) {
    const answer = await broker.app.inject({
      url: `/oauth/callback?error=access_denied&state=${state}`,
      headers: { cookie: `${cookie.name}=${cookie.value}` }
    })
    t.equal(answer.statusCode, 303, 'each finishes its own')
    t.match(answer.cookies, [{ name: cookie.name, value: '', maxAge: 0 }])
  }
})

t.test('the same provider response twice at once finishes one sign-in', async (t) => {
  const { state, cookie } = await begin(broker)
  const url = `/oauth/callback?error=access_denied&state=${state}`
  readTogether(t, broker, 'sign-in:', 3)
  const answers = await Promise.all(
    [1, 2, 3].map(() => broker.app.inject({ url, headers: { cookie: `${cookie.name}=${cookie.value}` } }))
  )
  t.same(answers.map(({ statusCode }) => statusCode).sort(), [303, 400, 400])
})

t.test("a sign-in expires, and the provider's error text is shown to nobody", async (t) => {
  const gone = await begin(broker)
  t.equal(await broker.app.store.delete(keys.signIn(digest(gone.state))), true)
  const expired = await broker.app.inject({
    url: `/oauth/callback?code=x&state=${gone.state}`,
    headers: { cookie: `${gone.cookie.name}=${gone.cookie.value}` }
  })
  isPage(t, expired, 400, 'expired')

  for (const [error, told] of [
    ['access_denied', 'access_denied'],
    ['temporarily_unavailable', 'temporarily_unavailable'],
    ['login_required', 'interaction_required'],
    [`x${SVG}`, 'server_error']
  ] as const) {
    for (const code of ['', '&code=x']) {
      const { state, cookie } = await begin(broker)
      const query = new URLSearchParams({
        error,
        error_description: `<script>alert(1)</script>${SVG}`,
        error_uri: 'javascript:alert(1)',
        state
      })
      const answer = await broker.app.inject({
        url: `/oauth/callback?${query}${code}`,
        headers: { cookie: `${cookie.name}=${cookie.value}` }
      })
      t.equal(answer.statusCode, 303)
      const { error_description: description, ...sent } = Object.fromEntries(
        new URL(answer.headers.location!).searchParams
      )
      t.same(sent, { error: told, iss: broker.url, state: STATE })
      t.match(withoutReference(description), /^[\w ;:,-]+$/)
      t.notMatch(answer.headers.location, /<|%3C|svg|javascript|alert/i)
      t.match(await logOf(broker, answer), { client: 'claude-code', error: told, reason: /the provider answered/ })
    }
  }
})

t.test('a failed sign-in ends on a page with a way back to the application, and the log has the reason', async (t) => {
  const cases: Array<[about: string, status: number, spoil: () => void, error: string, reason: RegExp]> = [
    [
      'an ID token for another request',
      502,
      () => {
        provider.quirks.idToken = (claims) => ({ claims: { ...claims, nonce: 'another' } })
      },
      'server_error',
      /nonce/
    ],
    [
      'a token endpoint that is down',
      503,
      () => {
        provider.setFault('/token', 'down')
      },
      'temporarily_unavailable',
      /./
    ]
  ]
  for (const [about, status, spoil, error, reason] of cases) {
    const browser = createBrowser()
    const callback = await browser.signIn(authorizeUrl(broker, { state: `a b${SVG}` }), ADA, atCallback)
    spoil()
    const page = await browser.get(callback)
    provider.quirks.idToken = undefined
    provider.setFault('/token', undefined)
    t.equal(page.status, status, about)
    const href = /<a class="button primary" href="([^"]+)"/
      .exec(page.body)![1]!
      .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    t.ok(href.startsWith(`${LOOPBACK}?`))
    t.match(Object.fromEntries(new URL(href).searchParams), { error, iss: broker.url, state: `a b${SVG}` })
    t.notMatch(page.body, /<svg/)
    t.match(page.body, 'Return to the application')
    t.match(await broker.logged((line) => line['reqId'] === page.headers['x-request-id'] && line.msg === 'Request'), {
      status,
      reason,
      error
    })
    t.equal((await browser.get(callback)).status, 400, 'and is over')
  }
})

t.test('a user whom the access rules refuse is told why and whom to ask, and the log names the rule', async (t) => {
  for (const [contact, advice] of [
    ['it@example.com', 'Ask it@example.com for access'],
    [undefined, 'Ask whoever runs this server for access']
  ] as const) {
    const seed = await start(t, 'broker', {
      ACCESS_GROUPS: 'board',
      ...(contact !== undefined && { ACCESS_CONTACT: contact })
    })
    const browser = createBrowser()
    const page = await browser.get(await browser.signIn(authorizeUrl(seed), ADA, atCallback))
    t.equal(page.status, 403)
    for (const words of [
      'You may not use this server',
      'You are not in a group that may use this server.',
      advice,
      'Return to the application',
      `<code>${(await seed.logged((line) => line['reqId'] === page.headers['x-request-id']))['signIn']}</code>`
    ]) { t.ok(page.body.includes(words), words) }
    t.match(await seed.logged((line) => line['reqId'] === page.headers['x-request-id']), {
      error: 'access_denied',
      reason: /^ACCESS_GROUPS: /
    })
  }
})

inBothModes('a client that is gone is told to connect again at every step', async (t, seed) => {
  const gone = await register(seed, 'Gone', ['https://client.example/gone'])
  await seed.app.store.delete(keys.client(gone))
  const answer = await seed.app.inject({
    url: authorizeUrl(seed, { client_id: gone, redirect_uri: 'https://client.example/gone' })
  })
  isPage(t, answer, 400, 'unknown')
  t.match(answer.body, 'connect it again')
  t.match(await logOf(seed, answer), { error: 'invalid_client' })
})

t.test('allowing a registered client keeps its registration alive', async (t) => {
  const seed = fixtures[0]
  const touched: string[] = []
  spy(t, seed, 'touch', (key) => { touched.push(key) })
  for (const [client, redirectUri, expected] of [
    [seed.registered, 'http://localhost:1/cb', [keys.client(seed.registered)]],
    ['claude-code', LOOPBACK, []]
  ] as const) {
    touched.length = 0
    const jar = createJar()
    const denied = await open(seed, jar, { client, redirectUri })
    await decide(seed, jar, denied.consent, { decision: 'deny' })
    t.same(touched, [], 'not who only looks at it, or denies it')
    await decide(seed, jar, (await open(seed, jar, { client, redirectUri })).consent)
    t.same(touched, expected)
  }
})

interface Jar {
  cookies: Map<string, string>
  header (): string
  keep (response: Answer): void
}

/** The cookies of one browser, oldest first, as it sends them. */
function createJar (): Jar {
  const cookies = new Map<string, string>()
  return {
    cookies,
    header: () => [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
    keep (response) {
      for (const { name, value, maxAge } of response.cookies) {
        if (maxAge === 0) cookies.delete(name)
        else cookies.set(name, value)
      }
    }
  }
}

function authorizeUrl ({ url }: Pick<TestSeed, 'url'>, changes: Changes = {}): string {
  const all: Changes = {
    response_type: 'code',
    client_id: 'claude-code',
    redirect_uri: LOOPBACK,
    state: STATE,
    code_challenge: CHALLENGE,
    code_challenge_method: 'S256',
    ...changes
  }
  const given = Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== undefined)
  return `${url}/oauth/authorize?${new URLSearchParams(given).toString()}`
}

/** Opens the consent page in the browser that has this jar. */
async function open (
  seed: TestSeed,
  jar: Jar,
  {
    client = 'claude-code',
    redirectUri = LOOPBACK,
    ...changes
  }: { client?: string; redirectUri?: string } & Changes = {},
  headers: Record<string, string> = {}
) {
  const cookie = jar.header()
  const url = authorizeUrl(seed, { client_id: client, redirect_uri: redirectUri, ...changes })
  const page = await seed.app.inject({
    url,
    headers: { host: new URL(seed.url).host, ...headers, ...(cookie !== '' && { cookie }) }
  })
  jar.keep(page)
  return { page, consent: /name="consent" value="([\w.-]+)"/.exec(page.body)?.[1] ?? '' }
}

async function post (
  seed: TestSeed,
  fields: Record<string, string>,
  headers: Record<string, string> = {}
): Promise<Answer> {
  return await seed.app.inject({
    method: 'POST',
    url: '/oauth/consent',
    payload: new URLSearchParams(fields).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
  })
}

/** Answers a page in the browser that has this jar. */
async function decide (
  seed: TestSeed,
  jar: Jar,
  consent: string,
  fields: Record<string, string> = {},
  headers: Record<string, string> = {}
): Promise<Answer> {
  const answer = await post(seed, { consent, decision: 'approve', ...fields }, { cookie: jar.header(), ...headers })
  jar.keep(answer)
  return answer
}

/** A sign-in that has been allowed and is now at the provider. */
async function begin (seed: TestSeed): Promise<{ state: string, cookie: { name: string, value: string } }> {
  const jar = createJar()
  const answer = await decide(seed, jar, (await open(seed, jar)).consent)
  return { state: new URL(answer.headers.location!).searchParams.get('state')!, cookie: answer.cookies[0]! }
}

const atCallback = (url: URL): boolean => url.pathname === '/oauth/callback'

async function register ({ app }: TestSeed, name: string, uris: string[]): Promise<string> {
  const response = await app.inject({
    method: 'POST',
    url: '/oauth/register',
    payload: { client_name: name, redirect_uris: uris }
  })
  return response.json<{ client_id: string }>().client_id
}

/** Calls `notice` before each call of a method of the store. */
function spy (
  t: Test,
  { app: { store } }: TestSeed,
  method: 'set' | 'setIfAbsent' | 'addMemberWithin' | 'increment' | 'touch',
  notice: (key: string) => void
): void {
  const original = store[method]
  const replaced = async (key: string, ...rest: never[]): Promise<never> => {
    // Steps for seed trace are written in the background, within bounds of their own (test/trace).
    if (!key.startsWith('trace-')) notice(key)
    return await (original as (...args: unknown[]) => Promise<never>).call(store, key, ...rest)
  }
  Object.assign(store, { [method]: replaced })
  t.teardown(() => { Object.assign(store, { [method]: original }) })
}

/** Holds back who reads a key that begins so until `count` of them have come: each then sees it as it was for all. */
function readTogether (t: Test, { app: { store } }: TestSeed, beginning: string, count: number): void {
  const { get } = store
  const waiting: Array<() => void> = []
  store.get = async (key) => {
    const value = await get.call(store, key)
    if (!key.startsWith(beginning)) return value
    await new Promise<void>((resolve) => {
      waiting.push(resolve)
      if (waiting.length === count) for (const go of waiting) go()
    })
    return value
  }
  t.teardown(() => { store.get = get })
}

/** The sign-ins that are begun from now on. */
function watchSignIns (t: Test, seed: TestSeed): string[] {
  const begun: string[] = []
  spy(t, seed, 'set', (key) => { if (key.startsWith('sign-in:')) begun.push(key) })
  return begun
}

async function logOf (seed: TestSeed, answer: Answer) {
  return await seed.logged((line) => line['reqId'] === answer.headers['x-request-id'] && line.msg === 'Request')
}

/** A page with every header that a page has, whose reference is in its log line, and which names no other site. */
function isPage (t: Test, { statusCode, headers, body }: Answer, status: number, about: string): void {
  t.equal(statusCode, status, about)
  const consent = status === 200
  t.match(
    { ...headers },
    {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': consent
        ? /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; frame-ancestors 'none'$/
        : /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store'
    },
    about
  )
  t.same(
    Object.keys(headers).filter(
      (name) => name === 'location' || name.startsWith('access-control-') || (name === 'set-cookie' && !consent)
    ),
    [],
    about
  )
  t.notMatch(
    body.replace(/https?:\/\/(?:127\.0\.0\.1:\d+|mcp\.example\.com)\/mcp\b/g, '')
      .replace(/(<p class="address"><code><bdi>)(?:<strong>)?[a-z.+-]+:\/\//, '$1'),
    /https?:|\/\/[a-z]|<script|<img|<link|<iframe|src=|url\(|@import/i,
    about
  )
  if (!consent) {
    t.match(body, /<p><small>Reference <code>[\w-]{12}<\/code>/, 'a reference, to which the log leads')
  }
}
