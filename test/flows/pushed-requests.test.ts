import { exportJWK, exportPKCS8, generateKeyPair } from 'jose'
import t from 'tap'
import type { Test } from 'tap'
import type { DevProviderOptions } from '../../dev/provider.ts'
import type { Quirks } from '../../dev/provider/quirks.ts'
import { createBrowser } from '../support/browser.ts'
import { getTokens, newRequest, register, startBroker } from '../support/broker.ts'
import { ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import { createPlainClient, signedIn } from '../support/sign-in.ts'

/** Pushed authorization requests (RFC 9126), at a provider that demands them, and at one that does not. */

/** Proxy mode hands the provider the redirect URIs of clients. */
const anyRedirectUri = { fixedRedirectUris: undefined } as unknown as DevProviderOptions

const SECRET = { OIDC_CLIENT_SECRET: 'dev-secret' }

async function start (
  t: Test, env: Record<string, string>, pushedRequests: Quirks['pushedRequests'], provider: DevProviderOptions = {}
): Promise<TestSeed> {
  return await startBroker(t, {
    env, provider: { ...anyRedirectUri, ...provider, quirks: { ...provider.quirks, pushedRequests } }
  })
}

/** The parameters that the browser brought to the provider. */
const parametersOf = ({ provider }: TestSeed): string[] => Object.keys(provider.lastAuthorization()).sort()

for (const [client, env] of [
  ['a public client', {}],
  ['a client with client_secret_basic', { ...SECRET, OIDC_CLIENT_ID: 'seed-dev-confidential' }],
  ['a client with client_secret_post', { ...SECRET, OIDC_CLIENT_ID: 'seed-dev-post' }]
] as const) {
  for (const mode of ['broker', 'proxy']) {
    t.test(`a provider that requires pushed requests gets them: ${client} (${mode})`, async (t) => {
      const seed = await start(t, { ...env, OAUTH_MODE: mode }, 'required', {
        quirks: { refuseOtherAuthMethod: { status: 401, json: { error: 'invalid_client' } }, refusalEndsCode: true }
      })
      const app = await createPlainClient(seed.url)
      const tokens = await signedIn(app)
      t.same(parametersOf(seed), ['client_id', 'request_uri'], 'the browser brings a reference and nothing else')
      t.equal((await app.refresh(tokens.refresh_token!)).status, 200)
      t.notOk(seed.logs.some(({ level, msg }) => level >= 40 && /pushed/i.test(msg)), 'no problem is logged at start')
    })
  }
}

t.test('a key authenticates the pushed request too', async (t) => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const env = { OIDC_CLIENT_ID: 'seed-dev-key', OIDC_CLIENT_KEY: (await exportPKCS8(privateKey)).trim() }
  const keys = [{ ...await exportJWK(publicKey), alg: 'ES256', use: 'sig', kid: 'seed-1' }]
  const seed = await start(t, env, 'required', { clientPublicJwks: { keys } })
  t.ok((await getTokens(seed)).accessToken)
  t.same(parametersOf(seed), ['client_id', 'request_uri'])
})

t.test('a request without redirect URI, which only tries the way to the provider, is not pushed', async (t) => {
  const seed = await start(t, {}, 'required')
  const { url } = newRequest(seed, 'test-client')
  const probe = new URL(url)
  probe.searchParams.delete('redirect_uri')
  const { status, headers } = await fetch(probe, { redirect: 'manual' })
  t.equal(status, 302)
  t.ok(headers.get('location')!.startsWith(`${seed.provider.issuer}/auth?`))
  t.equal(seed.provider.hits()['/request'], undefined)
})

for (const mode of ['broker', 'proxy']) {
  t.test('a provider that demands pushed requests of this client, which its document does not say: ' +
    `the client gets its error, and OIDC_PAR=true cures it (${mode})`, async (t) => {
    const seed = await start(t, { OAUTH_MODE: mode }, 'required-of-client')
    const { url } = newRequest(seed, await register(seed.url))
    const answer = await createBrowser().signIn(url, { login: 'ada', password: 'ada' })
    t.match(answer.searchParams.get('error'), mode === 'broker' ? 'server_error' : 'invalid_request')
    if (mode === 'broker') {
      t.match(await seed.logged(({ msg }) => msg.startsWith('The provider refused the authorization request')), {
        reason: /Pushed Authorization Request must be used/
      })
    }

    const pushing = await start(t, { OAUTH_MODE: mode, OIDC_PAR: 'true' }, 'required-of-client')
    await signedIn(await createPlainClient(pushing.url))
    t.same(parametersOf(pushing), ['client_id', 'request_uri'])
  })
}

t.test('OIDC_PAR=true pushes at a provider that does not demand it, and by default nothing is pushed', async (t) => {
  const pushing = await start(t, { OIDC_PAR: 'true' }, undefined)
  await getTokens(pushing)
  t.same(parametersOf(pushing), ['client_id', 'request_uri'])
  const seed = await start(t, {}, undefined)
  await getTokens(seed)
  t.equal(seed.provider.hits()['/request'], undefined)
})

t.test('settings with which pushed requests cannot work are an error at start', async (t) => {
  const never = await start(t, { OIDC_PAR: 'false' }, 'required')
  t.match(await never.logged(({ msg }) => msg.includes('OIDC_PAR=false sends none')), { level: 50 })

  const { provider } = await start(t, {}, undefined)
  const path = '/.well-known/openid-configuration'
  const { pushed_authorization_request_endpoint: _, ...json } = await (await fetch(`${provider.issuer}${path}`)).json()
  for (const [env, document, words] of [
    [{ OIDC_PAR: 'true' }, json, /pushed \(OIDC_PAR, RFC 9126\), but the provider lists no/],
    [{}, { ...json, require_pushed_authorization_requests: true }, /pushed \(the provider requires it, RFC 9126\), but/]
  ] as const) {
    provider.setFault(path, { status: 200, json: document })
    const seed = await startSeed(t, { sharedProvider: provider, env })
    await ready(seed)
    t.match(await seed.logged(({ msg }) => words.test(msg)), { level: 50 })
  }
})

t.test('what goes wrong with a pushed request becomes a page that leads back to the application', async (t) => {
  const seed = await start(t, {}, 'required')
  const proxy = await start(t, { OAUTH_MODE: 'proxy' }, 'required')
  const refused = 'The provider refused the pushed authorization request'
  for (const [what, fault, status, words, error, logged] of [
    ['an outage', 503, 503, /identity provider is unavailable/i, 'temporarily_unavailable', undefined],
    ['too many requests', 429, 503, /identity provider is unavailable/i, 'temporarily_unavailable', undefined],
    ['no connection', 'down', 503, /identity provider cannot be reached/i, 'temporarily_unavailable', undefined],
    ['a refusal', { status: 400, json: { error: 'invalid_scope', error_description: 'what is groups?' } }, 502,
      /refused the request; the operator of this server must check/, 'server_error',
      /answered 400 "invalid_scope" \(what is groups\?\)/],
    ['a refused client', { status: 401, json: { error: 'invalid_client' } }, 502,
      /refused this server; its operator must check the client settings/, 'server_error',
      /401 "invalid_client": check OIDC_CLIENT_ID/],
    ['a page', 'html', 502, /operator of this server must check/, 'server_error', /answered 200 without an OAuth error/]
  ] as const) {
    for (const { url, provider, logs, logged: find } of [seed, proxy]) {
      logs.length = 0
      provider.setFault('/request', fault)
      const browser = createBrowser()
      const consent = await browser.get(newRequest({ url } as TestSeed, await register(url)).url)
      const page = await browser.submit(consent.forms[0]!, { decision: 'approve' })
      t.equal(page.status, status, what)
      t.match(page.body, words, what)
      const [, back] = /href="(http:\/\/localhost:53217\/callback[^"]+)"/.exec(page.body)!
      t.equal(new URL(back!.replaceAll('&amp;', '&')).searchParams.get('error'), error, what)
      if (logged !== undefined) t.match(await find(({ msg }) => msg.startsWith(refused)), { level: 50, reason: logged }, 'an operator must act')
      else t.notOk(logs.some(({ msg }) => msg.startsWith(refused)), what)
    }
  }
  for (const { provider } of [seed, proxy]) provider.setFault('/request', undefined)
  t.ok((await getTokens(seed)).accessToken, 'and works again')
})
