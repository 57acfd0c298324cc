import { decodeJwt } from 'jose'
import t from 'tap'
import { Type } from 'typebox'
import type { DevProviderOptions } from '../../../../dev/provider.ts'
import { defineTool } from '../../../../src/define/tool.ts'
import { createAuthenticationDemands } from '../../../../src/oauth/modes/broker/authentication-demands.ts'
import { createSignInAuthentication } from '../../../../src/oauth/modes/broker/sign-in-authentication.ts'
import type { AskedAuthentication } from '../../../../src/oauth/modes/broker/sign-in-authentication.ts'
import { createMemoryStore } from '../../../../src/store/memory.ts'
import { StoreUnavailableError } from '../../../../src/store/store.ts'
import { formatStory, tellStory } from '../../../../src/trace/story.ts'
import { readTrace } from '../../../../src/trace/traces.ts'
import { issueAccessToken } from '../../../../src/tokens/issue-access-token.ts'
import {
  editGrant, getTokens, readTokens, redeem, refresh, register, signIn, startBroker, toCallback
} from '../../../support/broker.ts'
import type { AtCallback, SignInOptions, Tokens } from '../../../support/broker.ts'
import { createBrowser } from '../../../support/browser.ts'
import type { Page } from '../../../support/browser.ts'
import { asPrincipal } from '../../../support/mcp.ts'
import { modernRequest, postMcp } from '../../../support/seed.ts'
import type { TestSeed } from '../../../support/seed.ts'
import { until } from '../../../support/until.ts'

/** Sign-ins that a tool or a client demands anew or at a level (RFC 9470), in broker mode. */

const LEVEL = 'urn:seed:dev:second-factor'
const definitions = [
  defineTool({ name: 'pay', description: 'x', input: Type.Object({}), maxAge: 300, handler: () => 'paid' }),
  defineTool({ name: 'sign', description: 'x', input: Type.Object({}), acr: [LEVEL], handler: () => 'signed' })
]

const call = async (seed: TestSeed, name: string, token: string) =>
  await postMcp(seed, modernRequest('tools/call', { name, arguments: {} }), token)

const start = async (t: Parameters<typeof startBroker>[0], quirks: NonNullable<DevProviderOptions['quirks']> = {}) =>
  await startBroker(t, { definitions, provider: { quirks } })

/** Goes on from the callback, through a sign-in page of the provider if there is one. */
async function complete ({ browser, callback }: Pick<AtCallback, 'browser' | 'callback'>): Promise<Page> {
  const page = await browser.get(callback)
  const [form] = page.forms
  return form?.names.includes('login') === true ? await browser.submit(form, { login: 'ada', password: 'ada' }) : page
}

async function signInAgain (seed: TestSeed, options: SignInOptions): Promise<Tokens> {
  const request = await toCallback(seed, options)
  const { url, body } = await complete(request)
  const code = url.searchParams.get('code')
  if (code === null) throw new Error(`No code at ${url.href}: ${body}`)
  return readTokens(request.clientId, await redeem(seed.url, { ...request, code }))
}

/** How often the browser was sent to the provider. */
const trips = (seed: TestSeed): number => seed.provider.hits()['/auth'] ?? 0

t.test('a refused call makes the next sign-in go to the provider again, and no refresh takes its place', async (t) => {
  const seed = await start(t, { idToken: (claims) => ({ claims: { ...claims, amr: ['pwd', 'otp'] } }) })
  const browser = createBrowser()
  const tokens = await getTokens(seed, { browser })
  const { clientId } = tokens
  const renewed = readTokens(clientId, await refresh(seed.url, clientId, tokens.refreshToken))
  t.equal((await call(seed, 'sign', renewed.accessToken)).status, 401)
  t.match(await refresh(seed.url, clientId, renewed.refreshToken), {
    statusCode: 400,
    json: { error: 'invalid_grant', error_description: /^A tool demands that the person signs in again/ }
  })
  t.match(await seed.logged(({ error }) => error === 'invalid_grant'), {
    cause: 'sign_in_demanded', reason: `acr must be "${LEVEL}"; the token has no acr`
  })
  t.equal((await call(seed, 'pay', renewed.accessToken)).status, 401, 'the access token is as good as before')
  t.equal((await call(seed, 'sign', renewed.accessToken)).status, 401)

  const before = trips(seed)
  const again = await signInAgain(seed, { clientId, browser })
  t.equal(trips(seed), before + 2, 'first as any sign-in, then with what is demanded')
  t.match(seed.provider.lastAuthorization(), { acr_values: LEVEL, max_age: undefined })
  t.match(decodeJwt(again.accessToken), { acr: LEVEL, amr: ['pwd', 'otp'] })
  t.match((await call(seed, 'sign', again.accessToken)).body, { result: { content: [{ text: 'signed' }] } })

  const refreshed = readTokens(clientId, await refresh(seed.url, clientId, again.refreshToken))
  t.match(decodeJwt(refreshed.accessToken), { acr: LEVEL, amr: ['pwd', 'otp'] }, 'the answered demand is gone')
  await getTokens(seed, { clientId, browser })
  t.equal(trips(seed), before + 3, 'the next sign-in is as any other')
})

t.test('the time of the sign-in stays what it was in a refresh, and grows old', async (t) => {
  const seed = await start(t)
  const tokens = await getTokens(seed, { parameters: { max_age: '1000' } })
  const { clientId } = tokens
  t.equal((await call(seed, 'pay', tokens.accessToken)).status, 200)
  const { auth_time: authTime } = decodeJwt(tokens.accessToken)
  t.type(authTime, 'number')
  const second = readTokens(clientId, await refresh(seed.url, clientId, tokens.refreshToken))
  t.equal(decodeJwt(second.accessToken)['auth_time'], authTime)

  const old = Number(authTime) - 3_600
  await editGrant(seed, second.refreshToken, { authentication: { authenticatedAt: old } })
  const third = readTokens(clientId, await refresh(seed.url, clientId, second.refreshToken))
  t.equal(decodeJwt(third.accessToken)['auth_time'], old)
  t.equal((await call(seed, 'pay', third.accessToken)).status, 401)

  await editGrant(seed, third.refreshToken, { authentication: { authenticatedAt: Number(authTime) } })
  const fourth = readTokens(clientId, await refresh(seed.url, clientId, third.refreshToken))
  t.equal((await call(seed, 'pay', fourth.accessToken)).status, 200, 'a grant that meets the demand is refreshed')
})

t.test('a grant of an earlier release, which says nothing of the sign-in, is as good as before', async (t) => {
  const seed = await start(t)
  const { clientId, refreshToken } = await getTokens(seed, { parameters: { max_age: '1000' } })
  await editGrant(seed, refreshToken, { authentication: undefined })
  const tokens = readTokens(clientId, await refresh(seed.url, clientId, refreshToken))
  t.notOk('auth_time' in decodeJwt(tokens.accessToken))
  t.match((await call(seed, 'pay', tokens.accessToken)).headers.get('www-authenticate'), 'max_age="300"')
  t.match(await refresh(seed.url, clientId, tokens.refreshToken), { statusCode: 400, json: { error: 'invalid_grant' } })
})

t.test('a demand is for its person, its client and its grant alone', async (t) => {
  const seed = await start(t)
  const ada = await getTokens(seed)
  const elsewhere = await getTokens(seed, { clientId: ada.clientId })
  t.equal((await call(seed, 'pay', ada.accessToken)).status, 401)
  t.equal((await refresh(seed.url, ada.clientId, elsewhere.refreshToken)).statusCode, 200, 'another grant of this client')
  const before = trips(seed)
  await getTokens(seed, { clientId: ada.clientId, login: 'bob' })
  await getTokens(seed, { clientId: await register(seed.url) })
  t.equal(trips(seed), before + 2, 'another person, and another client, are sent there once')
  await getTokens(seed, { clientId: ada.clientId })
  t.equal(trips(seed), before + 4)
})

t.test('a provider that does not do what a tool demands: an error once, never a loop', async (t) => {
  const kept = { auth_time: undefined as unknown, acr: undefined as unknown }
  const seed = await start(t, { idToken: (claims) => ({ claims: { ...claims, ...kept } }) })
  const asked = /Your organisation did not ask you to sign in again/
  for (const [what, tool, authTime, reason, sentence] of [
    ['no auth_time', 'pay', undefined, /the token has no auth_time/, /there is no auth_time in its ID token/],
    ['an old one', 'pay', 1_000_000, /that was \d+ s ago/, asked],
    ['one from the future', 'pay', Date.now() / 1_000 + 1_000, /in the future: clock_skew_suspected/, asked],
    ['no level', 'sign', undefined, /the token has no acr/, /there is no acr in its ID token/]
  ] as const) {
    const { clientId, accessToken, refreshToken } = await getTokens(seed)
    t.equal((await call(seed, tool, accessToken)).status, 401)
    kept.auth_time = authTime
    const before = trips(seed)
    const page = await complete(await toCallback(seed, { clientId }))
    t.match(page, { status: 400, body: /You were not signed in as is needed/ }, what)
    t.match(page.body, sentence)
    t.match(page.body, /error=unmet_authentication_requirements/, 'the way back tells the client')
    t.equal(trips(seed), before + 2)
    t.match(await seed.logged(({ error, reason: logged }) =>
      error === 'unmet_authentication_requirements' && reason.test(String(logged))), { cause: 'provider_authentication' })
    kept.auth_time = undefined
    t.equal((await refresh(seed.url, clientId, refreshToken)).statusCode, 200, 'nobody is locked out')
    await getTokens(seed, { clientId })
    t.equal(trips(seed), before + 3)
  }
})

t.test('max_age, acr_values and prompt=login of a client are passed on, and checked', async (t) => {
  let change: Record<string, unknown> = {}
  const seed = await start(t, { idToken: (claims) => ({ claims: { ...claims, ...change } }) })
  const browser = createBrowser()
  const clientId = await register(seed.url)
  const parameters = { max_age: '100', acr_values: ` unknown  ${LEVEL}`, prompt: 'login' }
  const { accessToken } = await getTokens(seed, { clientId, browser, parameters })
  t.match(seed.provider.lastAuthorization(), { max_age: '100', acr_values: `unknown ${LEVEL}`, prompt: 'login' })
  t.match(decodeJwt(accessToken), { acr: LEVEL, auth_time: Number })
  await signIn(seed, { clientId, browser, parameters: { prompt: 'login' } })
  t.match(seed.provider.lastAuthorization(), { max_age: '300', prompt: 'login' }, 'so that auth_time is sent')
  await signIn(seed, { clientId, browser, parameters: { max_age: '0' } })

  const now = Math.floor(Date.now() / 1_000)
  for (const [parameters, given, missing] of [
    [{ max_age: '100' }, { auth_time: now - 200 }, ''],
    [{ max_age: '100' }, { auth_time: undefined }, 'auth_time'],
    [{ max_age: '0' }, { auth_time: now - 100 }, ''],
    [{ prompt: 'login' }, { auth_time: now - 100 }, ''],
    [{ prompt: 'consent login' }, { auth_time: undefined }, 'auth_time'],
    [{ acr_values: LEVEL }, { acr: 'urn:seed:dev:password' }, ''],
    [{ max_age: '100', acr_values: LEVEL }, { auth_time: undefined, acr: undefined }, 'auth_time and no acr']
  ] as const) {
    change = given
    const { browser, callback } = await toCallback(seed, { clientId, parameters })
    const page = await browser.get(callback)
    t.match(page.body, /error=unmet_authentication_requirements/, JSON.stringify([parameters, given]))
    t.match(page.body, missing === ''
      ? /error_description=The\+identity\+provider\+did\+not\+sign\+the\+person\+in\+again/
      : `its+ID+token+has+no+${missing.replaceAll(' ', '+')}`, 'the client is told which claims the provider owes')
  }
  change = { auth_time: now - 100_000 }
  await signIn(seed, { clientId, browser, parameters: { prompt: 'consent' } })
})

t.test('a provider that says that it cannot sign the person in so is quoted to the client', async (t) => {
  const seed = await start(t)
  const { browser, callback } = await toCallback(seed, { parameters: { acr_values: LEVEL } })
  callback.searchParams.delete('code')
  callback.searchParams.set('error', 'unmet_authentication_requirements')
  const { url } = await browser.get(callback)
  t.equal(url.searchParams.get('error'), 'unmet_authentication_requirements')
})

t.test('without the store a challenge would lead nowhere: the call is answered with its outage', async (t) => {
  const seed = await start(t)
  const { accessToken } = await getTokens(seed)
  const { store } = seed.app
  const { set } = store
  store.set = async (key, ...rest) => {
    if (key.startsWith('authentication-demand:')) throw new StoreUnavailableError()
    await set.call(store, key, ...rest)
  }
  const { status, headers } = await call(seed, 'pay', accessToken)
  t.equal(status, 503)
  t.equal(headers.get('retry-after'), '1')
})

t.test('a token for an ID-JAG, which has no grant, gets the challenge and leaves nothing in the store', async (t) => {
  const seed = await start(t)
  const { clientId } = await getTokens(seed)
  const token = await issueAccessToken({
    resource: `${seed.url}/mcp`,
    subject: 'ada',
    clientId,
    scope: 'openid',
    grantId: 'none',
    kind: 'person',
    grantType: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    authentication: undefined,
    identity: { auth_time: Math.floor(Date.now() / 1_000), acr: LEVEL }
  }, {
    signingKeys: seed.app.signingKeys, issuer: seed.url, ttlSeconds: 60
  })
  t.equal((await call(seed, 'pay', token)).status, 401, 'no claim about the person passes for one about the sign-in')
  t.same(await seed.app.grantServices.demands.find({ subject: 'ada', clientId }), undefined)
})

t.test('a demand that comes while the browser is at the provider waits for the next sign-in', async (t) => {
  const demands = createAuthenticationDemands(createMemoryStore(), 'https://seed.example')
  const check = createSignInAuthentication({ demands, clockSkewSeconds: 60 })
  const principal = {
    ...asPrincipal('ada', { grant: 'of-ada' }), clientId: 'client', grantType: 'authorization_code' as const
  }
  const now = Math.floor(Date.now() / 1_000)
  const signedIn = async (asked: AskedAuthentication, authenticatedAt: number, acr?: string) =>
    await check(asked, { subject: 'ada', authentication: { authenticatedAt, acr, amr: undefined } }, 'client')
  const owner = { subject: 'ada', clientId: 'client' }

  await demands.add(principal, { maxAge: undefined, acr: ['high'] })
  t.equal(await signedIn({ demanded: { maxAge: 100 }, startedAt: now }, now), undefined)
  t.match(await demands.find(owner), { acr: ['high'], grantId: 'of-ada' })
  t.same(await signedIn({}, now), { maxAge: undefined, acr: ['high'] })
  t.equal(await signedIn({}, now, 'high'), undefined, 'a sign-in that meets it without being asked')
  t.equal(await demands.find(owner), undefined)

  await demands.add(principal, { maxAge: 100, acr: undefined })
  t.same(await signedIn({}, now - 130), { maxAge: 100, acr: undefined }, 'no tolerance at first')
  t.equal(await signedIn({ demanded: { maxAge: 100 }, startedAt: now }, now - 130), undefined, 'clocks may differ')
  t.equal(await demands.find(owner), undefined)
  t.equal(await signedIn({ maxAge: '10', startedAt: now - 500 }, now - 500), undefined,
    'the time that the person takes at the provider does not count')
})

t.test('an operator sees the refusal in the audit log, and the whole of it by its reference', async (t) => {
  const seed = await startBroker(t, { definitions, env: { AUDIT_LOG: 'stdout' } })
  const { clientId, accessToken } = await getTokens(seed)
  const { headers } = await call(seed, 'sign', accessToken)
  const reason = `acr must be "${LEVEL}"; the token has no acr`
  t.match(await seed.logged((line) => 'audit' in line && line['event'] === 'refusal'), {
    outcome: 'refused',
    subject: 'ada',
    client: clientId,
    target: '/mcp tools/call sign',
    error: 'insufficient_user_authentication',
    reason
  })
  const storyOf = async (reference: string, told: RegExp): Promise<void> => {
    await until(async () => {
      const steps = await readTrace(seed.app.store, reference)
      return steps.length > 0 && told.test(formatStory(tellStory(reference, steps, 'broker')))
    }, `the story has ${told}`)
  }
  await storyOf(headers.get('x-request-id')!, /refused call[^]*a level \(acr\), as the reason says/)

  seed.logs.length = 0
  t.ok((await complete(await toCallback(seed, { clientId }))).url.searchParams.has('code'))
  const { signIn: reference } = await seed.logged(({ path }) => path === '/oauth/callback')
  await storyOf(String(reference), /A tool demands a more recent or stronger sign-in: the browser was sent to the provider/)
})

t.test('metadata repeats the levels that the provider lists', async (t) => {
  for (const OAUTH_MODE of ['broker', 'proxy']) {
    const seed = await startBroker(t, { env: { OAUTH_MODE } })
    for (const name of ['oauth-authorization-server', 'openid-configuration']) {
      const metadata = await (await fetch(`${seed.url}/.well-known/${name}`)).json()
      t.match(metadata, { acr_values_supported: ['urn:seed:dev:password', LEVEL] }, `${OAUTH_MODE}: ${name}`)
    }
  }
})
