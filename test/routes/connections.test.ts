import t from 'tap'
import type { Test } from 'tap'
import { digest } from '../../src/crypto/hash.ts'
import { keys } from '../../src/store/keys.ts'
import { StoreUnavailableError } from '../../src/store/store.ts'
import { subjectKey } from '../../src/tokens/revocations.ts'
import { readTrace } from '../../src/trace/traces.ts'
import { tellStory } from '../../src/trace/story.ts'
import { createBrowser } from '../support/browser.ts'
import {
  REDIRECT_URI, byHand, editGrant, getTokens, grantKey, newRequest, refresh, register, startBroker,
  startReplica, toCallback
} from '../support/broker.ts'
import { ping, ready, startSeed, subscribe } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { until } from '../support/until.ts'

/** The page /connections over HTTP: what the person in front of it gets, and what everybody else gets. */

interface Shown {
  status: number
  headers: Headers
  body: string
  /** `name=value` of each cookie that is set. */
  cookies: string[]
}

type Seed = Pick<TestSeed, 'url'>

const SESSION = 'seed-connections'

async function send (
  url: string, { cookie = '', form, headers = {} }: {
    cookie?: string, form?: Record<string, string>, headers?: Record<string, string>
  } = {}
): Promise<Shown> {
  const response = await fetch(url, {
    method: form === undefined ? 'GET' : 'POST',
    redirect: 'manual',
    headers: { ...(cookie !== '' && { cookie }), ...headers },
    ...(form !== undefined && { body: new URLSearchParams(form) })
  })
  const cookies = response.headers.getSetCookie().map((line) => line.split(';')[0]!)
  return { status: response.status, headers: response.headers, body: await response.text(), cookies }
}

const page = async ({ url }: Seed, cookie = '', headers: Record<string, string> = {}): Promise<Shown> =>
  await send(`${url}/connections`, { cookie, headers })

const post = async (
  { url }: Seed, path: string, cookie: string, form: Record<string, string>, headers: Record<string, string> = {}
): Promise<Shown> => await send(`${url}/connections/${path}`, { cookie, form, headers })

interface Begun {
  /** The provider's URL. */
  location: string
  cookie: string
}

async function begin (seed: Seed, cookie = '', form: Record<string, string> = {}): Promise<Begun> {
  const { status, headers, cookies } = await post(seed, 'sign-in', cookie, form)
  if (status !== 303) throw new Error(`No sign-in, but ${status}`)
  return { location: headers.get('location')!, cookie: cookies.find((pair) => pair.startsWith('seed-sign-in-'))! }
}

/** Signs in at the provider, and holds the browser back from the callback. */
async function atProvider ({ location }: Begun, login = 'ada'): Promise<URL> {
  return await createBrowser().signIn(location, { login, password: login }, ({ pathname }) =>
    pathname === '/oauth/callback')
}

const sessionOf = ({ cookies }: Pick<Shown, 'cookies'>): string | undefined =>
  cookies.find((pair) => pair.startsWith(`${SESSION}=`) && pair !== `${SESSION}=`)

/** Signs in to the page. @returns the cookie of the session */
async function signIn (seed: Seed, login = 'ada', more: { cookie?: string, form?: Record<string, string> } = {}) {
  const begun = await begin(seed, more.cookie, more.form)
  const callback = await atProvider(begun, login)
  const cookie = [begun.cookie, more.cookie].filter((pair) => pair !== undefined).join('; ')
  const answer = await send(callback.href, { cookie })
  if (answer.status !== 303) throw new Error(`No session, but ${answer.status}: ${answer.body}`)
  return sessionOf(answer)!
}

const tokenOf = ({ body }: Shown): string => /name="token" value="([^"]+)"/.exec(body)![1]!
const connectionsOf = ({ body }: Shown): string[] =>
  [...body.matchAll(/name="connection" value="([^"]+)"/g)].map(([, id]) => id!)
const idOf = (refreshToken: string): string => grantKey(refreshToken).slice('grant:'.length)

const textOf = ({ body }: Shown): string => body.slice(body.indexOf('<main>')).replace(/<[^>]+>/g, ' ')
  .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code))).replace(/\s+/g, ' ')

/** Makes the person's last proof of who they are older. */
async function age ({ app }: TestSeed, cookie: string, seconds: number): Promise<void> {
  const key = keys.connectionsSession(digest(cookie.split('=')[1]!))
  const record = JSON.parse((await app.store.get(key))!) as { person: { authenticatedAt: number } }
  record.person.authenticatedAt -= seconds * 1_000
  await app.store.set(key, JSON.stringify(record), 900)
}

function isErrorPage (t: Test, { status, headers, body }: Shown, expected: number, about: string): void {
  t.equal(status, expected, about)
  t.match(Object.fromEntries(headers), {
    'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store', 'x-frame-options': 'DENY'
  }, about)
  t.match(body, /Reference <code>[\w-]{12}<\/code>/, about)
  t.match(body, 'Open the page again', about)
  t.notMatch(body, 'application and connect', about)
}

t.test('a person signs in at the provider, sees what acts in their name, and cuts it off at once', async (t) => {
  const seed = await startBroker(t, { env: { OIDC_SCOPES: 'openid profile email offline_access' } })
  const editor = await getTokens(seed, { clientId: await register(seed.url, { client_name: 'Editor <b>\u202e' }) })
  const mail = await getTokens(seed, { clientId: await register(seed.url, { client_name: 'Mail' }) })
  const bob = await getTokens(seed, { login: 'bob' })
  const stream = await subscribe(seed.url, editor.accessToken)
  t.equal(stream.status, 200)

  const browser = createBrowser()
  const before = await browser.get(`${seed.url}/connections`)
  t.equal(before.forms.length, 1, 'only a button to sign in')
  t.match(before.headers, {
    'cache-control': 'no-store',
    'x-frame-options': 'DENY',
    'content-security-policy': /^default-src 'none'; style-src 'sha256-[^']+'; base-uri 'none'; frame-ancestors 'none'$/
  })
  await browser.signIn(`${seed.url}/connections`, { login: 'ada', password: 'ada' }, ({ pathname }) =>
    pathname === '/connections')
  t.match(seed.provider.lastAuthorization(), {
    redirect_uri: `${seed.url}/oauth/callback`,
    scope: 'openid profile email',
    code_challenge_method: 'S256',
    nonce: /./,
    state: /^connections\./
  }, 'with the redirect URI that is registered already, and no more scopes than needed')
  const list = await browser.get(`${seed.url}/connections`)
  t.match(list.headers, {
    'cache-control': 'no-store',
    'x-frame-options': 'DENY',
    'referrer-policy': 'same-origin',
    'content-security-policy': /form-action 'self'; frame-ancestors 'none'$/
  })
  const shown = { ...list, cookies: [], headers: new Headers() }
  const text = textOf(shown)
  t.match(text, 'as Ada Lovelace')
  t.match(text, /Editor <b> It chose its name itself/)
  t.match(text, /See your e-mail address email/)
  t.match(text, /Allowed \d+ \w+ \d{4} , last used \d+ \w+ \d{4}, \d\d:\d\d UTC/)
  t.match(text, '1 stream open now')
  t.match(text, 'up to 15 minutes later')
  t.notMatch(list.body, /<script|<img|\u202e/)
  t.same(connectionsOf(shown).sort(), [editor, mail].map(({ refreshToken }) => idOf(refreshToken)).sort(),
    'those of the person alone')

  const cutOff = list.forms.find(({ fields }) => fields['connection'] === idOf(editor.refreshToken))!
  const after = await browser.submit(cutOff)
  t.match(after.body, 'The application has been cut off')
  t.match(after.body, 'Mail')
  t.notMatch(after.body, 'Editor')
  t.notMatch((await browser.get(`${seed.url}/connections`)).body, 'has been cut off', 'said once')
  t.equal((await ping(seed.url, editor.accessToken)).status, 401, 'its access token')
  t.equal((await refresh(seed.url, editor.clientId, editor.refreshToken)).statusCode, 400, 'its refresh token')
  await stream.text()
  t.pass('its stream has ended')
  for (const { accessToken } of [mail, bob]) t.equal((await ping(seed.url, accessToken)).status, 200, 'others go on')
  t.match(await seed.logged(({ msg, reason }) => msg === 'A grant has ended' && reason === 'ended by the person'), {
    subject: 'ada', clientId: editor.clientId
  })

  const all = await browser.submit(after.forms.find(({ action }) => action.pathname.endsWith('/end-all'))!)
  t.match(all.body, 'All applications have been cut off')
  t.match(all.body, 'No application can act in your name here')
  t.match(all.body, 'as <strong><bdi>Ada Lovelace', 'the person is still signed in here')
  t.equal((await ping(seed.url, mail.accessToken)).status, 401)
  t.equal((await ping(seed.url, bob.accessToken)).status, 200)

  const out = await browser.submit(all.forms.find(({ action }) => action.pathname.endsWith('/sign-out'))!)
  t.match(out.body, 'You are signed out here')
  t.match((await browser.get(`${seed.url}/connections`)).body, 'Sign in with your organisation first')
})

t.test('cutting off is in the audit log, as is the sign-in', async (t) => {
  const seed = await startBroker(t, { env: { AUDIT_LOG: 'stdout' } })
  const { clientId, refreshToken } = await getTokens(seed)
  const cookie = await signIn(seed)
  const token = tokenOf(await page(seed, cookie))
  await post(seed, 'end', cookie, { token, connection: idOf(refreshToken) })
  await post(seed, 'end-all', cookie, { token })
  const lines = seed.logs.filter(({ audit, event }) => audit === 1 && event !== 'configuration')
  const ofPage = (event: string) => lines.filter((line) => line['event'] === event && line['client'] !== undefined)
  t.match(lines.filter(({ event, target }) => event === 'sign_in' && target === '/connections'), [
    { outcome: 'ok', subject: 'ada', issuer: seed.url, request: /./, address: '127.0.0.1' }
  ])
  t.match(ofPage('revocation'), [
    { subject: 'ada', client: clientId, grant: idOf(refreshToken), kind: 'registered', reason: 'ended by the person' }
  ])
  t.match(lines.at(-1), { event: 'revocation', subject: 'ada', reason: /^ended by the person: There was no grant/ })
})

t.test('what an access rule refuses can still be seen and cut off', async (t) => {
  let groups = ['engineering']
  const idToken = (claims: Record<string, unknown>) => ({ claims: { ...claims, groups } })
  const seed = await startBroker(t, { env: { ACCESS_GROUPS: 'engineering' }, provider: { quirks: { idToken } } })
  const { refreshToken } = await getTokens(seed)
  t.match(textOf(await page(seed)), 'even if you may no longer use the server itself')
  groups = []
  const { browser, callback } = await toCallback(seed)
  t.equal((await browser.get(callback)).status, 403, 'the person has left the group')
  const cookie = await signIn(seed)
  t.same(connectionsOf(await page(seed, cookie)), [idOf(refreshToken)])
})

t.test('a sign-in of another browser cannot be completed, nor one twice or with an unknown state', async (t) => {
  const seed = await startBroker(t)
  const attacker = await begin(seed)
  const callback = await atProvider(attacker)
  const victim = await begin(seed)

  for (const [what, cookie] of [['without cookies', ''], ['with those of a sign-in of their own', victim.cookie]] as const) {
    const answer = await send(callback.href, { cookie })
    isErrorPage(t, answer, 403, what)
    t.match(answer.body, 'started in another browser')
    t.equal(sessionOf(answer), undefined, `${what}: no session (login CSRF)`)
  }
  const unknown = new URL(callback)
  unknown.searchParams.set('state', `connections.${'x'.repeat(43)}`)
  isErrorPage(t, await send(unknown.href, { cookie: attacker.cookie }), 400, 'an unknown state')

  const answer = await send(callback.href, { cookie: attacker.cookie })
  t.equal(answer.headers.get('location'), `${seed.url}/connections`)
  t.ok(sessionOf(answer), 'the browser that began it')
  t.ok(answer.cookies.includes(`${attacker.cookie.split('=')[0]}=`), 'its cookie has served')
  const again = await send(callback.href, { cookie: attacker.cookie })
  isErrorPage(t, again, 400, 'a second time')
  t.match(again.body, 'This sign-in has expired')

  const raced = await begin(seed)
  const racedCallback = await atProvider(raced)
  const answers = await Promise.all(Array.from({ length: 5 }, () => send(racedCallback.href, { cookie: raced.cookie })))
  t.equal(answers.filter((answer) => sessionOf(answer) !== undefined).length, 1, 'five at once: one session')
})

t.test('the sign-in of an application never ends as a session of the page, nor the other way round', async (t) => {
  const seed = await startBroker(t)
  // An application's sign-in whose callback pretends to be of the page.
  const application = await byHand(seed)
  const asPage = new URL(application.callback)
  asPage.searchParams.set('state', `connections.${asPage.searchParams.get('state')}`)
  const pretended = await send(asPage.href, { cookie: application.cookie })
  isErrorPage(t, pretended, 400, 'an application as the page')
  t.equal(sessionOf(pretended), undefined)

  // A sign-in of the page whose callback pretends to be of an application.
  const begun = await begin(seed)
  const callback = await atProvider(begun)
  const asApplication = new URL(callback)
  asApplication.searchParams.set('state', callback.searchParams.get('state')!.slice('connections.'.length))
  const answer = await send(asApplication.href, { cookie: begun.cookie })
  t.equal(answer.status, 400)
  t.equal(answer.headers.get('location'), null, 'no code for anybody')

  // Codes of the provider are bound to the PKCE verifier of their own sign-in.
  const swapped = new URL(callback)
  swapped.searchParams.set('code', (await byHand(seed)).callback.searchParams.get('code')!)
  const mixed = await send(swapped.href, { cookie: begun.cookie })
  t.ok(mixed.status >= 400)
  t.equal(sessionOf(mixed), undefined, 'the code of an application opens no session')

  // The record of one kind under the key of the other.
  const { store } = seed.app
  const [other, client] = [await begin(seed), await toCallback(seed)]
  const state = new URL(other.location).searchParams.get('state')!
  const record = await store.get(keys.signIn(digest(client.callback.searchParams.get('state')!)))
  await store.set(keys.connectionsSignIn(digest(state)), record!, 60)
  const planted = await send(`${seed.url}/oauth/callback?code=x&state=${state}`, { cookie: other.cookie })
  isErrorPage(t, planted, 400, 'a planted record')
})

t.test('forms of other sites, of other sessions and without a session change nothing', async (t) => {
  const seed = await startBroker(t)
  const { accessToken, refreshToken } = await getTokens(seed)
  const connection = idOf(refreshToken)
  const [cookie, bob] = [await signIn(seed), await signIn(seed, 'bob')]
  const [token, bobsToken] = [tokenOf(await page(seed, cookie)), tokenOf(await page(seed, bob))]

  for (const [what, form, headers] of [
    ['another token', { token: 'x'.repeat(43), connection }, {}],
    ['the token of another session', { token: bobsToken, connection }, {}],
    ['an empty token', { token: '', connection }, {}],
    ['a page of another site', { token, connection }, { 'sec-fetch-site': 'cross-site' }],
    ['a page of a sibling domain', { token, connection }, { 'sec-fetch-site': 'same-site' }],
    ['another origin', { token, connection }, { origin: 'https://evil.example' }],
    ['an opaque origin', { token, connection }, { origin: 'null' }]
  ] as const) {
    const answer = await post(seed, 'end', cookie, form, headers)
    isErrorPage(t, answer, 403, what)
    t.match(textOf(answer), 'Nothing was changed', what)
    const [id] = /(?<=Reference <code>)[\w-]+/.exec(answer.body)!
    t.match(await seed.logged(({ reqId, cause }) => reqId === id && cause !== undefined), {
      cause: 'connections_form_invalid'
    }, what)
    for (const path of ['end-all', 'sign-out']) {
      t.equal((await post(seed, path, cookie, { token: form.token }, headers)).status, 403, `${what}: ${path}`)
    }
  }
  for (const headers of [{ 'sec-fetch-site': 'cross-site' }, { origin: 'https://evil.example' }]) {
    const answer = await post(seed, 'sign-in', '', {}, headers)
    isErrorPage(t, answer, 403, 'nor does another site begin a sign-in')
    t.match(textOf(answer), 'Nothing was changed')
  }
  for (const form of [{ token }, { token, connection: '../x' }, { token, connection: 'x'.repeat(23) }]) {
    t.equal((await post(seed, 'end', cookie, form)).status, 400, 'no connection')
  }
  for (const path of ['end', 'end-all']) {
    const answer = await post(seed, path, '', { token, connection })
    t.equal(answer.status, 303, `${path} without a session`)
    t.ok(answer.cookies.includes('seed-connections-notice=expired'))
  }
  t.equal((await post(seed, 'sign-out', '', { token })).status, 303, 'without a session')
  t.equal((await ping(seed.url, accessToken)).status, 200, 'nothing has ended')

  const foreign = await post(seed, 'end', bob, { token: bobsToken, connection })
  t.ok(foreign.cookies.includes('seed-connections-notice=gone'), "another person's connection is as good as none")
  t.equal((await ping(seed.url, accessToken)).status, 200)

  const own = await post(seed, 'end', cookie, { token, connection }, {
    origin: seed.url, 'sec-fetch-site': 'same-origin'
  })
  t.equal(own.headers.get('location'), '/connections')
  t.equal((await ping(seed.url, accessToken)).status, 401)
  const twice = await post(seed, 'end', cookie, { token, connection })
  t.match(textOf(await page(seed, `${cookie}; ${twice.cookies[0]}`)), 'had been cut off before')
  t.notMatch((await page(seed, `${cookie}; seed-connections-notice=constructor`)).body, 'notice" role')
  for (const path of ['', '/end', '/end-all', '/sign-in', '/sign-out']) {
    t.equal((await fetch(`${seed.url}/connections${path}`, { method: 'PUT' })).status, 405, path)
  }
})

t.test('after five minutes the provider must confirm the person again before anything is cut off', async (t) => {
  const seed = await startBroker(t)
  const { accessToken, refreshToken } = await getTokens(seed)
  const connection = idOf(refreshToken)
  const cookie = await signIn(seed)
  await age(seed, cookie, 301)
  t.same(connectionsOf(await page(seed, cookie)), [connection], 'seeing them needs no new sign-in')
  const token = tokenOf(await page(seed, cookie))
  for (const [path, form] of [['end', { token, connection }], ['end-all', { token }]] as const) {
    const asked = await post(seed, path, cookie, form)
    t.equal(asked.status, 200)
    t.match(textOf(asked), 'Nothing has been cut off yet')
    t.match(asked.body, 'name="again" value="yes"')
    t.notMatch(asked.body, 'name="token"', 'a sign-in changes nothing, so its form needs none')
    t.match(Object.fromEntries(asked.headers), { 'x-frame-options': 'DENY', 'cache-control': 'no-store' })
  }
  t.equal((await ping(seed.url, accessToken)).status, 200)

  const renewed = await signIn(seed, 'ada', { cookie, form: { again: 'yes' } })
  t.match(seed.provider.lastAuthorization(), { prompt: 'login', max_age: '300' })
  t.match(textOf(await page(seed, cookie)), 'Sign in with your organisation first', 'the cookie of before is void')
  const fresh = await post(seed, 'end', renewed, { token: tokenOf(await page(seed, renewed)), connection })
  t.ok(fresh.cookies.includes('seed-connections-notice=ended'))
  t.equal((await ping(seed.url, accessToken)).status, 401)
})

t.test('a provider that lets an old sign-in pass for a new one is not believed', async (t) => {
  let authTime: number | undefined
  const idToken = (claims: Record<string, unknown>) => ({ claims: { ...claims, auth_time: authTime } })
  const seed = await startBroker(t, { provider: { quirks: { idToken } } })
  authTime = Math.floor(Date.now() / 1_000) - 3_600
  const cookie = await signIn(seed)
  const shown = await page(seed, cookie)
  t.match(textOf(await post(seed, 'end-all', cookie, { token: tokenOf(shown) })), 'Sign in again',
    'an hour after the person has signed in there')
  const begun = await begin(seed, cookie, { again: 'yes' })
  const answer = await send((await atProvider(begun)).href, { cookie: `${begun.cookie}; ${cookie}` })
  isErrorPage(t, answer, 400, 'an old auth_time')
  t.match(answer.body, 'Sign out at your organisation')
  t.equal(sessionOf(answer), undefined)

  for (const [what, time, advice] of [
    ['without auth_time', undefined, 'there is no auth_time in its ID token'],
    ['an auth_time of the future', Math.floor(Date.now() / 1_000) + 3_600, 'Sign out at your organisation']
  ] as const) {
    authTime = time
    const again = await begin(seed, cookie, { again: 'yes' })
    const refused = await send((await atProvider(again)).href, { cookie: `${again.cookie}; ${cookie}` })
    isErrorPage(t, refused, 400, `${what}: nobody knows whether the person was asked`)
    t.match(refused.body, advice)
    t.equal(sessionOf(refused), undefined)
  }
})

t.test('where the provider never says when somebody signed in, the person signs out at the page and in again',
  async (t) => {
    const idToken = ({ auth_time: _, ...claims }: Record<string, unknown>) => ({ claims })
    const seed = await startBroker(t, { provider: { quirks: { idToken } } })
    const { accessToken } = await getTokens(seed)
    const old = await signIn(seed)
    await age(seed, old, 301)
    const begun = await begin(seed, old, { again: 'yes' })
    const refused = await send((await atProvider(begun)).href, { cookie: `${begun.cookie}; ${old}` })
    isErrorPage(t, refused, 400, 'nobody knows whether the person was asked')
    t.match(refused.body, 'sign out there, sign in once more')

    t.equal((await post(seed, 'sign-out', old, { token: tokenOf(await page(seed, old)) })).status, 303)
    const fresh = await signIn(seed)
    const ended = await post(seed, 'end-all', fresh, { token: tokenOf(await page(seed, fresh)) })
    t.ok(ended.cookies.some((cookie) => cookie.startsWith('seed-connections-notice=')))
    t.equal((await ping(seed.url, accessToken)).status, 401)
  })

t.test('a session ends after 15 minutes, by a logout at the provider and by seed revoke', async (t) => {
  const seed = await startBroker(t)
  const isSignedIn = async (cookie: string): Promise<boolean> => (await page(seed, cookie)).body.includes('Sign out')
  const logout = `${seed.url}/oauth/backchannel-logout`
  const { store, accessTokens: { revocations }, grantServices: { grants } } = seed.app

  const [expired, other] = [await signIn(seed), await signIn(seed, 'bob')]
  const key = keys.connectionsSession(digest(expired.split('=')[1]!))
  await store.set(key, (await store.get(key))!.replace(/"expiresAt":\d+/, `"expiresAt":${Date.now()}`), 60)
  t.equal(await isSignedIn(expired), false, 'after 15 minutes')

  const first = await signIn(seed)
  const second = await signIn(seed)
  t.equal((await seed.provider.backchannelLogout('ada', logout)).status, 200)
  t.same([await isSignedIn(first), await isSignedIn(second)], [true, false], 'by a logout of its session there')
  t.equal((await seed.provider.backchannelLogout('ada', logout, { claims: { sid: undefined } })).status, 200)
  t.equal(await isSignedIn(first), false, 'by a logout of the person')
  const third = await signIn(seed)
  t.equal(await isSignedIn(third), true, 'a later one is good')
  t.equal((await seed.provider.backchannelLogout('ada', logout, { claims: { sub: undefined } })).status, 200)
  t.equal(await isSignedIn(third), false, 'by a logout that names the session alone')

  const fourth = await signIn(seed)
  t.equal(await isSignedIn(fourth), true)
  await grants.revokeAll({ subject: 'ada' }, 'revoked by the operator')
  t.equal(await isSignedIn(fourth), false, 'by seed revoke --subject, in the second in which it began')
  const fifth = await signIn(seed)
  t.equal(await isSignedIn(fifth), true, 'a sign-in after it is good at once')

  const [here, elsewhere] = [await signIn(seed), await signIn(seed)]
  const done = await post(seed, 'end-all', here, { token: tokenOf(await page(seed, here)) })
  t.equal(await isSignedIn(elsewhere), false, 'by "Cut off all" in another browser')
  t.same([await isSignedIn(here), await isSignedIn(sessionOf(done)!)], [false, true], 'this browser gets a new one')
  await revocations.revoke([subjectKey('ada')], Math.floor(Date.now() / 1_000) + 1)
  t.equal(await isSignedIn(sessionOf(done)!), false, 'by seed revoke --subject of an earlier release')
  t.equal(await isSignedIn(other), true)
  t.equal(await isSignedIn(`${SESSION}=made-up`), false)
})

t.test('a session without a session at the provider ends when the person logs out there', async (t) => {
  const idToken = (claims: Record<string, unknown>) => ({ claims: { ...claims, sid: undefined } })
  const seed = await startBroker(t, { provider: { quirks: { idToken } } })
  const cookie = await signIn(seed)
  t.equal((await seed.provider.backchannelLogout('ada', `${seed.url}/oauth/backchannel-logout`)).status, 200)
  t.match(textOf(await page(seed, cookie)), 'Sign in with your organisation first')
})

t.test('a provider that is down, denies or answers wrongly, and a store that is away, each have a page', async (t) => {
  const seed = await startBroker(t)
  const { provider, app: { store } } = seed
  const session = await signIn(seed)

  const denied = await begin(seed)
  const state = new URL(denied.location).searchParams.get('state')!
  const refused = await send(`${seed.url}/oauth/callback?error=access_denied&state=${state}`, { cookie: denied.cookie })
  isErrorPage(t, refused, 400, 'denied')
  const reference = /Reference <code>([\w-]+)/.exec(refused.body)![1]!
  let steps: Awaited<ReturnType<typeof readTrace>> = []
  await until(async () => (steps = await readTrace(store, reference)).length === 2, 'both steps are recorded')
  t.match(tellStory(reference, steps, 'broker'), {
    stoppedAt: 'connections callback', cause: 'provider_denied', steps: [{ step: 'connections sign-in' }, {}]
  })

  const down = await begin(seed)
  const callback = await atProvider(down)
  provider.setFault('/token', 'down')
  isErrorPage(t, await send(callback.href, { cookie: down.cookie }), 503, 'down')
  provider.setFault('/token', undefined)
  const begun = await begin(seed)
  const wrong = await atProvider(begun)
  provider.setFault('/token', { status: 200, json: { access_token: 'x', token_type: 'Bearer', id_token: 'a.b.c' } })
  isErrorPage(t, await send(wrong.href, { cookie: begun.cookie }), 502, 'no ID token')
  provider.setFault('/token', undefined)

  const { get, take } = store
  const taken = await begin(seed)
  const takenState = new URL(taken.location).searchParams.get('state')!
  const takenCallback = `${seed.url}/oauth/callback?code=x&state=${takenState}`
  store.take = async () => undefined
  isErrorPage(t, await send(takenCallback, { cookie: taken.cookie }), 400, 'taken at the same moment')
  store.take = take
  const pendingKey = keys.connectionsSignIn(digest(takenState))
  await store.set(pendingKey, (await store.get(pendingKey))!.replace(/"sealed":"[^"]+"/, '"sealed":"x"'), 60)
  isErrorPage(t, await send(takenCallback, { cookie: taken.cookie }), 400, 'sealed with another secret')

  const broken = await begin(seed)
  const brokenState = new URL(broken.location).searchParams.get('state')!
  store.get = async (key) => {
    if (key.startsWith('connections-sign-in:')) throw new Error('a defect')
    return await get.call(store, key)
  }
  const defect = await send(`${seed.url}/oauth/callback?code=x&state=${brokenState}`, { cookie: broken.cookie })
  t.equal(defect.status, 500)
  store.get = async () => { throw new StoreUnavailableError() }
  const away = await page(seed, session)
  isErrorPage(t, away, 503, 'the store is away')
  t.match(away.body, 'This page is not available right now')
  t.equal(away.headers.get('retry-after'), '1')
  store.get = get
})

t.test('a sign-in that was completed, or never, is told by its reference', async (t) => {
  const seed = await startBroker(t)
  await signIn(seed)
  const line = await seed.logged(({ path, subject }) => path === '/oauth/callback' && subject === 'ada')
  const reference = String(line['signIn'])
  let steps: Awaited<ReturnType<typeof readTrace>> = []
  await until(async () => (steps = await readTrace(seed.app.store, reference)).length === 2, 'both steps are recorded')
  t.match(tellStory(reference, steps, 'broker'), { completed: true, steps: [{}, { step: 'connections callback' }] })
  t.match(tellStory(reference, steps.slice(0, 1), 'broker'), { cause: 'provider_not_returned', completed: false })
  t.notMatch(JSON.stringify(steps), /Ada|127\.0\.0\.1/)
})

t.test('addresses and people have limits, and an address only so many unfinished sign-ins', async (t) => {
  const seed = await startBroker(t, { env: { OAUTH_LIMIT_PER_ADDRESS: '3' } })
  const answers = []
  for (let request = 0; request < 4; request++) answers.push(await page(seed))
  t.same(answers.map(({ status }) => status), [200, 200, 200, 429])
  isErrorPage(t, answers.at(-1)!, 429, 'an address')

  const many = await startBroker(t, { env: { OAUTH_LIMIT_PER_ADDRESS: '6' } })
  const cookie = await signIn(many)
  // The limit of the address is another one than that of the person.
  for (let request = 0; request < 5; request++) {
    await many.app.inject({ url: '/connections', headers: { cookie }, remoteAddress: `10.0.0.${request}` })
  }
  const sixth = await many.app.inject({ url: '/connections', headers: { cookie }, remoteAddress: '10.0.0.9' })
  t.equal(sixth.statusCode, 200)
  const limited = await many.app.inject({ url: '/connections', headers: { cookie }, remoteAddress: '10.0.0.9' })
  t.equal(limited.statusCode, 429, 'a person')
  const statuses = []
  for (let request = 0; request < 8; request++) {
    const remoteAddress = `2001:db8:1::${request}`
    const answer = await many.app.inject({
      method: 'POST',
      url: '/connections/sign-in',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: '',
      remoteAddress
    })
    statuses.push(answer.statusCode)
  }
  t.ok(statuses.includes(429), 'a network that leaves sign-ins unfinished')
})

t.test('a person with very many connections sees 200 of them, and ends all', async (t) => {
  const seed = await startBroker(t)
  const { refreshToken } = await getTokens(seed)
  const { store, grantServices: { grants } } = seed.app
  const grant = (await grants.find(idOf(refreshToken)))!.grant
  for (let number = 0; number < 201; number++) {
    const id = `many${String(number).padStart(18, '0')}`
    await store.set(keys.grant(id), JSON.stringify({ ...grant, id }), 600)
    await store.addMember(keys.grantsOf(digest('subject:ada')), id, 600)
  }
  const cookie = await signIn(seed)
  const shown = await page(seed, cookie)
  t.equal(connectionsOf(shown).length, 200)
  t.match(textOf(shown), 'These are 200 of them')
  await post(seed, 'end-all', cookie, { token: tokenOf(shown) })
  t.same(await store.members(keys.grantsOf(digest('subject:ada'))), [])
})

t.test('nobody can read in the store which cookie opens a session, or complete a sign-in with what is there', async (t) => {
  const seed = await startBroker(t)
  const begun = await begin(seed)
  const state = new URL(begun.location).searchParams.get('state')!
  const pending = (await seed.app.store.get(keys.connectionsSignIn(digest(state))))!
  const cookie = await signIn(seed)
  const value = cookie.split('=')[1]!
  t.notMatch(pending, begun.cookie.split('=')[1]!)
  t.notMatch(pending, new URL(begun.location).searchParams.get('nonce')!)
  const found: string[] = []
  for await (const batch of seed.app.store.scan('connections-')) found.push(...batch)
  t.notMatch(found.join(' '), value)
  t.notMatch(await seed.app.store.get(keys.connectionsSession(digest(value))), value)
})

t.test('applications of every kind have names, and a person whose provider tells no name has one too', async (t) => {
  const seed = await startBroker(t, {
    env: {
      OAUTH_CLIENTS: JSON.stringify([
        { client_id: 'reports', client_name: 'Quarterly reports', redirect_uris: [REDIRECT_URI] }
      ])
    },
    provider: { quirks: { idTokenClaims: false } }
  })
  await getTokens(seed, { clientId: 'reports' })
  await getTokens(seed, { clientId: 'cursor' })
  const old = await getTokens(seed, { clientId: await register(seed.url, { client_name: 'Of an earlier version' }) })
  await editGrant(seed, old.refreshToken, { clientName: undefined })
  await getTokens(seed, { clientId: 'gone' })
  const gone = await getTokens(seed, { clientId: 'goner' })
  await editGrant(seed, gone.refreshToken, { clientName: undefined })
  seed.provider.setFault('/me', 500)
  const [ada, bob] = [await signIn(seed), await signIn(seed, 'bob')]
  const text = textOf(await page(seed, ada))
  t.match(text, 'as Ada Lovelace', 'from what applications were allowed with')
  t.match(text, 'Quarterly reports The operator of this server has set up this application.')
  t.match(text, 'cursor It chose its name itself; nobody has verified it. It is not registered with this server.')
  t.match(text, 'Of an earlier version It chose its name itself')
  t.match(text, 'goner It chose its name itself')
  t.match(textOf(await page(seed, bob)), 'as bob', 'or the id at the provider')
})

t.test('any replica serves any step, and what is cut off at one has ended at the others', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const env = { REDIS_URL: redis.url }
  const first = await startBroker(t, { env })
  const second = await startReplica(t, first, env)
  const tokens = await getTokens(first)
  const stream = await subscribe(first.url, tokens.accessToken)

  const begun = await begin(first)
  const callback = await atProvider(begun)
  const answer = await send(`${second.url}${callback.pathname}${callback.search}`, { cookie: begun.cookie })
  const cookie = sessionOf(answer)!
  const shown = await page(first, cookie)
  await until(async () => textOf(await page(second, cookie)).includes('1 stream open now'),
    'the other replica has said that a stream is open')
  t.same(connectionsOf(await page(second, cookie)), connectionsOf(shown))
  const ended = await post(second, 'end', cookie, {
    token: tokenOf(shown), connection: connectionsOf(shown)[0]!
  })
  t.ok(ended.cookies.includes('seed-connections-notice=ended'))
  await stream.text()
  t.equal((await ping(first.url, tokens.accessToken)).status, 401)
  t.equal((await first.provider.backchannelLogout('ada', `${first.url}/oauth/backchannel-logout`)).status, 200)
  t.match(textOf(await page(second, cookie)), 'Sign in with your organisation first', 'a logout of which the other was told')
})

t.test('a browser keeps the cookies of eight sign-ins at most', async (t) => {
  const seed = await startBroker(t)
  const cookie = Array.from({ length: 9 }, (_, number) => `seed-sign-in-${number}=x`).join('; ')
  const { cookies } = await post(seed, 'sign-in', cookie, {})
  t.same(cookies.slice(0, 2), ['seed-sign-in-0=', 'seed-sign-in-1='])
})

t.test('over https the cookie of the session is a __Host- cookie, and pages name the server', async (t) => {
  const seed = await startBroker(t, {
    env: { BASE_URL: 'https://seed.example', ALLOWED_HOSTS: '127.0.0.1', SERVER_TITLE: 'Acme tools' }
  })
  const answer = await post(seed, 'sign-in', '', {}, { origin: 'https://seed.example' })
  t.match(answer.headers.getSetCookie()[0], /^__Host-seed-sign-in-[^;]+; .*Path=\/; HttpOnly; Secure; SameSite=Lax$/)
  t.match(textOf(await page(seed)), 'allowed to use Acme tools on your behalf')
})

t.test('the pages at / and for consent lead to it', async (t) => {
  const seed = await startBroker(t)
  const consent = await send(newRequest(seed, await register(seed.url)).url)
  t.match(consent.body, '<a href="/connections">cut it off again</a>')
  t.match((await send(`${seed.url}/`)).body, '<a href="/connections">')
})

t.test('CONNECTIONS_PAGE=false: there is no page, and nothing leads to one', async (t) => {
  const seed = await startBroker(t, { env: { CONNECTIONS_PAGE: 'false' } })
  t.equal((await page(seed)).status, 404)
  t.match((await page(seed)).headers.get('content-type'), 'application/json')
  t.equal((await post(seed, 'sign-in', '', {})).status, 404)
  t.equal((await send(`${seed.url}/oauth/callback?code=x&state=connections.x`)).status, 400)
  t.notMatch((await send(`${seed.url}/`)).body, '/connections')
  t.notMatch((await send(newRequest(seed, await register(seed.url)).url)).body, '/connections')
  await getTokens(seed)
  t.equal((await seed.provider.backchannelLogout('ada', `${seed.url}/oauth/backchannel-logout`)).status, 200)
})

t.test('proxy mode: a page says that the provider keeps the list', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const answer = await page(seed)
  t.equal(answer.status, 404)
  t.match(answer.headers.get('content-type'), 'text/html')
  t.match(textOf(answer), `sign-ins of ${new URL(seed.provider.issuer).host}`)
  t.match(answer.body, /Reference <code>/)
  t.notMatch((await send(`${seed.url}/`)).body, '/connections')
  t.equal((await fetch(`${seed.url}/connections`, { method: 'POST' })).status, 405)
})
