import { setImmediate as settled } from 'node:timers/promises'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider } from '../../dev/provider.ts'
import { ProviderUnavailableError, createProviderDiscovery } from '../../src/provider/discovery.ts'
import type { ProviderDiscoveryOptions } from '../../src/provider/discovery.ts'
import { allowSignIn } from '../support/proxy.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { LogLine, TestSeed } from '../support/seed.ts'
import { selfSigned } from '../support/tls.ts'

const ISSUER = 'https://id.example.com'
const DISCOVERY = '/.well-known/openid-configuration'
const DOCUMENT = {
  issuer: ISSUER,
  authorization_endpoint: `${ISSUER}/auth`,
  token_endpoint: `${ISSUER}/token`,
  jwks_uri: `${ISSUER}/jwks`,
  token_endpoint_auth_methods_supported: ['client_secret_basic', 7, 'none'],
  authorization_response_iss_parameter_supported: true
}

function wrongIssuer (named: string | undefined, expected: string): string {
  return `The document's issuer is ${named}, but OIDC_ISSUER is "${expected}"; ` +
    'they must be equal byte for byte, trailing slash included'
}

/** Discovery that gets these documents (or errors) one after another, and whose timers the test runs. */
function setUp (t: Test, answers: Array<object | Error>, options: Partial<ProviderDiscoveryOptions> = {}) {
  const state = {
    fetched: [] as string[],
    ready: 0,
    lines: [] as Array<{ level: string, message: string; [name: string]: unknown }>
  }
  const timers: Array<{ run: () => void, ms: number, cleared: boolean }> = []
  t.intercept(globalThis, 'setTimeout', {
    value: (run: () => void, ms: number) => {
      const timer = { run, ms, cleared: false, unref () {} }
      timers.push(timer)
      return timer
    }
  })
  t.intercept(globalThis, 'clearTimeout', {
    value: (timer?: { cleared: boolean }) => {
      if (timer !== undefined) timer.cleared = true
    }
  })
  const log = (level: string) => (fields: object, message: string) => {
    state.lines.push({ level, message, ...fields })
  }
  const provider = createProviderDiscovery({
    issuer: ISSUER,
    tenants: [],
    discoveryUrl: ISSUER + DISCOVERY,
    authorizationUrl: undefined,
    tokenUrl: undefined,
    revocationUrl: undefined,
    allowInsecureHttp: false,
    async fetchJson (url) {
      state.fetched.push(String(url))
      const answer = answers.length > 1 ? answers.shift()! : answers[0]!
      if (answer instanceof Error) throw answer
      return answer as Record<string, unknown>
    },
    log: { info: log('info'), warn: log('warn'), error: log('error') },
    onReady () { state.ready++ },
    ...options
  })
  return { provider, state, timers }
}

/** As `setUp`, after the first attempt. */
async function attempt (t: Test, answer: object | Error, options: Partial<ProviderDiscoveryOptions> = {}) {
  const all = setUp(t, [answer], options)
  all.provider.start()
  await settled()
  return all
}

t.test('learns the endpoints from the issuer alone', async (t) => {
  const { provider, state, timers } = setUp(t, [DOCUMENT])
  t.equal(provider.problem(), 'discovery has not finished yet')
  t.throws(() => provider.metadata(), new ProviderUnavailableError('discovery has not finished yet'))
  provider.start()
  await settled()
  t.equal(provider.problem(), undefined)
  t.strictSame(provider.metadata(), {
    issuer: ISSUER,
    authorizationEndpoint: `${ISSUER}/auth`,
    tokenEndpoint: `${ISSUER}/token`,
    jwksUri: `${ISSUER}/jwks`,
    userinfoEndpoint: undefined,
    revocationEndpoint: undefined,
    scopes: undefined,
    tokenEndpointAuthMethods: ['client_secret_basic', 'none'],
    revocationEndpointAuthMethods: ['client_secret_basic', 'none'],
    codeChallengeMethods: undefined,
    acrValues: undefined,
    sendsIss: true,
    idTokenAlgorithms: undefined,
    requiresPushedRequests: false,
    pushedRequestEndpoint: undefined,
    logsOut: false
  })
  t.strictSame(state, {
    fetched: [ISSUER + DISCOVERY],
    ready: 1,
    lines: [
      { level: 'info', event: 'provider.discovered', message: 'OpenID provider discovered', issuer: ISSUER, attempts: 1 }
    ]
  })
  t.strictSame(timers, [], 'and asks no second time: the endpoints stay as they are')
})

t.test('configured endpoints override the document, which may lack them', async (t) => {
  const overrides = { authorizationUrl: 'https://other.example.com/a', tokenUrl: 'https://other.example.com/t' }
  const both = await attempt(t, DOCUMENT, overrides)
  t.match(both.provider.metadata(), {
    authorizationEndpoint: overrides.authorizationUrl,
    tokenEndpoint: overrides.tokenUrl,
    jwksUri: `${ISSUER}/jwks`
  })
  const silent = await attempt(t, { issuer: ISSUER, jwks_uri: `${ISSUER}/jwks` }, overrides)
  t.match(silent.provider.metadata(), {
    authorizationEndpoint: overrides.authorizationUrl,
    tokenEndpointAuthMethods: undefined,
    revocationEndpointAuthMethods: undefined,
    sendsIss: false
  })
})

t.test('reads the optional members of the document', async (t) => {
  const { provider } = await attempt(t, {
    ...DOCUMENT,
    userinfo_endpoint: `${ISSUER}/me`,
    revocation_endpoint: `${ISSUER}/revoke`,
    scopes_supported: ['openid', 7, 'groups']
  })
  t.match(provider.metadata(), {
    userinfoEndpoint: `${ISSUER}/me`,
    revocationEndpoint: `${ISSUER}/revoke`,
    scopes: ['openid', 'groups']
  })
  t.equal((await attempt(t, { ...DOCUMENT, scopes_supported: 'openid' })).provider.metadata().scopes, undefined)
})

t.test('a document for several tenants is accepted only if OIDC_TENANTS is set', async (t) => {
  const issuer = 'https://login.microsoftonline.com/common/v2.0'
  const template = { ...DOCUMENT, issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0' }
  const several = await attempt(t, template, { issuer, tenants: ['tenant-a'] })
  t.equal(several.provider.metadata().issuer, issuer)
  t.equal(
    (await attempt(t, { ...DOCUMENT, issuer }, { issuer, tenants: ['tenant-a'] })).provider.problem(),
    undefined,
    'one that names the issuer itself too'
  )
  t.match((await attempt(t, template, { issuer })).provider.problem(), 'they must be equal byte for byte')
  for (const other of [
    'https://login.microsoftonline.com/tenant-a/v2.0',
    'https://evil.example/{tenantid}/v2.0',
    'https://login.microsoftonline.com/{tenantid}/v1.0',
    'https://login.microsoftonline.com/{tenantid}'
  ]) {
    t.match(
      (await attempt(t, { ...DOCUMENT, issuer: other }, { issuer, tenants: ['tenant-a'] })).provider.problem(),
      'they must be equal byte for byte',
      other
    )
  }
})

t.test('only the value true means that the provider sends iss', async (t) => {
  for (const value of [undefined, false, 'true', 1, null]) {
    const { provider } = await attempt(t, { ...DOCUMENT, authorization_response_iss_parameter_supported: value })
    t.equal(provider.metadata().sendsIss, false, JSON.stringify(value))
  }
})

t.test('refuses a document of any other issuer', async (t) => {
  for (const issuer of [
    undefined,
    null,
    '',
    7,
    [ISSUER],
    `${ISSUER}/`,
    ISSUER.toUpperCase(),
    'https://ID.example.com',
    `${ISSUER}:443`,
    `${ISSUER} `,
    'http://id.example.com',
    `${ISSUER}/realms/a`,
    'https://id.example.com.evil.example'
  ]) {
    const { provider, state } = await attempt(t, { ...DOCUMENT, issuer })
    const reason = wrongIssuer(JSON.stringify(issuer), ISSUER)
    t.equal(provider.problem(), reason)
    t.throws(() => provider.metadata(), new ProviderUnavailableError(reason, { isMisconfigured: true }))
    t.equal(state.ready, 0)
    t.match(state.lines, [
      {
        level: 'error',
        message: 'OpenID provider cannot be used yet; retrying until it can (OIDC_ISSUER)',
        reason,
        issuer: ISSUER,
        discoveryUrl: ISSUER + DISCOVERY
      }
    ])
  }
})

t.test('refuses endpoints that are not https URLs, except on loopback', async (t) => {
  for (const name of [
    'authorization_endpoint',
    'token_endpoint',
    'jwks_uri',
    'userinfo_endpoint',
    'revocation_endpoint'
  ]) {
    for (const value of [
      ...(name.startsWith('userinfo') || name.startsWith('revocation') ? [] : [undefined]),
      null,
      '',
      7,
      ['https://id.example.com/x'],
      '/relative',
      'id.example.com/x',
      'http://id.example.com/x',
      'http://127.0.0.1.example.com/x',
      'http://localhost.example.com/x',
      'http://10.0.0.1/x',
      'http://0.0.0.0/x',
      'ftp://id.example.com/x',
      'file:///etc/passwd',
      'javascript:alert(1)',
      'data:,x',
      'https://user:secret@id.example.com/x',
      'https://user@id.example.com/x'
    ]) {
      const { provider, state } = await attempt(t, { ...DOCUMENT, [name]: value })
      t.equal(provider.problem(), `The discovery document has no usable ${name} (an https URL)`, JSON.stringify(value))
      t.equal(state.ready, 0)
    }
    for (const value of [
      'https://elsewhere.example.com/x?policy=a',
      'http://localhost:8080/x',
      'http://127.0.0.1/x',
      'http://[::1]:1/x'
    ]) {
      const { provider } = await attempt(t, { ...DOCUMENT, [name]: value })
      t.ok(Object.values(provider.metadata()).includes(value), value)
    }
  }
})

t.test('retries with growing pauses, and logs each reason once', async (t) => {
  const { provider, state, timers } = setUp(t, [
    new Error('down'),
    new Error('down'),
    { issuer: 'other' },
    { issuer: 'other' },
    new Error('down'),
    new Error('down'),
    DOCUMENT
  ])
  provider.start()
  await settled()
  for (const longest of [1_000, 2_000, 4_000, 5_000, 5_000, 5_000]) {
    const { run, ms } = timers.at(-1)!
    t.ok(ms >= longest / 2 && ms <= longest, `${ms} is between half and all of ${longest}`)
    run()
    await settled()
  }
  t.equal(timers.length, 6)
  t.equal(provider.problem(), undefined)
  t.equal(state.ready, 1)
  t.match(state.lines, [
    { level: 'error', reason: 'down' },
    { level: 'error', reason: /issuer is "other"/ },
    { level: 'error', reason: 'down' },
    { level: 'info', attempts: 7 }
  ])
  t.equal(state.lines.length, 4)
})

t.test('does nothing more once it is closed', async (t) => {
  const waiting = await attempt(t, new Error('down'))
  waiting.provider.close()
  t.match(waiting.timers, [{ cleared: true }])

  for (const answer of [DOCUMENT, new Error('down')]) {
    const { provider, state, timers } = setUp(t, [answer])
    provider.start()
    provider.close()
    await settled()
    t.match(state, { fetched: [ISSUER + DISCOVERY], ready: 0, lines: [] }, 'the response in flight is ignored')
    t.strictSame(timers, [])
    t.equal(provider.problem(), 'discovery has not finished yet')
  }
})

// Over HTTP, against a real provider.

async function share (t: Test): Promise<DevProvider> {
  const provider = await startDevProvider({ algorithm: 'ES256' })
  t.teardown(provider.close)
  return provider
}

async function health (seed: TestSeed) {
  const [live, ready] = await Promise.all([fetch(`${seed.url}/health/live`), fetch(`${seed.url}/health/ready`)])
  return {
    live: live.status,
    ready: ready.status,
    parts: ((await ready.json()) as { parts: Record<string, { status: string, reason?: string }> }).parts
  }
}

const authorize = (seed: TestSeed) =>
  fetch(`${seed.url}/oauth/authorize?response_type=code&client_id=test`, { redirect: 'manual' })
/** Allows a sign-in, which needs the provider from there on. @returns what the person is shown */
const pageOf = async (seed: TestSeed): Promise<string> => {
  const request = { clientId: 'test', redirectUri: 'http://localhost/cb', verifier: 'v'.repeat(43) }
  return await allowSignIn(seed, request).then(String, (err: Error) => err.message)
}
const cannotBeUsed = ({ msg }: LogLine) => msg.startsWith('OpenID provider cannot be used yet')

t.test('needs no URL but the issuer', async (t) => {
  const { provider, ...seed } = await startSeed(t)
  await ready(seed)
  t.match(await seed.logged(({ msg }) => msg === 'OpenID provider discovered'), {
    level: 30,
    issuer: provider.issuer,
    attempts: 1
  })
  t.equal((await ping(seed.url, await provider.mint())).status, 200)
  const location = new URL((await authorize({ provider, ...seed })).headers.get('location')!)
  t.equal(location.origin + location.pathname, `${provider.issuer}/auth`)
  t.equal(provider.hits()[DISCOVERY], 1)
})

t.test('OAUTH_AUTHORIZATION_URL overrides the document', async (t) => {
  const seed = await startSeed(t, { env: { OAUTH_AUTHORIZATION_URL: 'https://login.example.com/start' } })
  await ready(seed)
  const location = new URL((await authorize(seed)).headers.get('location')!)
  t.equal(location.origin + location.pathname, 'https://login.example.com/start')
})

t.test('starts while the provider is down, and becomes ready by itself', async (t) => {
  const provider = await share(t)
  await provider.stop()
  const seed = await startSeed(t, { sharedProvider: provider })
  const reason = `${provider.issuer}${DISCOVERY} cannot be reached (ECONNREFUSED)`
  t.match(await seed.logged(cannotBeUsed), { level: 50, reason, issuer: provider.issuer })
  t.match(await health(seed), {
    live: 200,
    ready: 503,
    parts: {
      provider: { status: 'failing', reason },
      keys: { status: 'failing', reason: 'the signing keys have not been fetched yet' },
      store: { status: 'ok' }
    }
  })
  const answer = await ping(seed.url, await provider.mint())
  t.equal(answer.status, 503)
  t.equal(answer.headers.get('retry-after'), '5')
  t.equal(answer.headers.get('www-authenticate'), null)
  const page = await authorize(seed)
  t.equal(page.status, 503)
  t.equal(page.headers.get('retry-after'), '5')
  t.notMatch(await page.text(), /ECONNREFUSED|well-known/, 'the reason is for the operator')
  t.equal((await fetch(`${seed.url}/mcp`, { method: 'POST' })).status, 401)
  t.equal((await fetch(`${seed.url}/.well-known/oauth-protected-resource/mcp`)).status, 200)

  await provider.start()
  await ready(seed)
  t.match(await seed.logged(({ msg }) => msg === 'OpenID provider discovered'), { level: 30 })
  t.equal((await ping(seed.url, await provider.mint())).status, 200, 'and is ready by itself when it is back')
  t.equal((await authorize(seed)).status, 302)
  t.equal(seed.logs.filter(({ level }) => level === 50).length, 1)
})

t.test('a provider whose document names another issuer is never used', async (t) => {
  const provider = await share(t)
  for (const [name, issuer] of [
    ['a trailing slash', `${provider.issuer}/`],
    ['a path', `${provider.issuer}/other`],
    ['another case', provider.issuer.replace('http://', 'HTTP://')]
  ] as const) {
    const before = provider.hits()
    const seed = await startSeed(t, {
      sharedProvider: provider,
      env: { OIDC_ISSUER: issuer, OIDC_DISCOVERY_URL: provider.issuer + DISCOVERY }
    })
    const line = await seed.logged(cannotBeUsed)
    const reason = wrongIssuer(`"${provider.issuer}"`, issuer)
    t.match(line, { level: 50, reason }, name)
    t.match(line.msg, /OIDC_ISSUER/)
    t.match(await health(seed), { live: 200, ready: 503, parts: { provider: { status: 'failing', reason } } })
    t.equal((await ping(seed.url, await provider.mint())).status, 401, 'its tokens are those of another issuer')
    t.equal((await ping(seed.url, await provider.mint({ iss: issuer }))).status, 503)
    t.equal((await authorize(seed)).status, 503)
    t.strictSame(Object.keys(provider.hits()), [DISCOVERY], 'none of its endpoints gets a request')
    t.ok(provider.hits()[DISCOVERY]! > (before[DISCOVERY] ?? 0))
    await seed.app.close()
  }
})

t.test('a bad document is never used, and a corrected one is', async (t) => {
  const provider = await share(t)
  provider.setFault(DISCOVERY, 'wrong-issuer')
  const seed = await startSeed(t, { sharedProvider: provider })
  t.match(await seed.logged(cannotBeUsed), {
    reason: wrongIssuer(`"${provider.issuer}/other"`, provider.issuer)
  })
  t.match(await health(seed), { live: 200, ready: 503 })
  t.match(await pageOf(seed), /This server cannot use its identity provider\.[^]*Trying again does not help/,
    'the person learns that the operator must act')
  provider.setFault(DISCOVERY, 'redirect')
  await seed.logged(
    (line) => cannotBeUsed(line) && String(line['reason']).endsWith(`answered with a redirect to ${provider.issuer}` +
      '/redirected, which is not followed: set OIDC_DISCOVERY_URL to where the document is, or OIDC_ISSUER to the ' +
      'issuer that it names')
  )
  t.notOk('/redirected' in provider.hits())
  t.notOk('/jwks' in provider.hits())
  provider.setFault(DISCOVERY, undefined)
  await ready(seed)
})

t.test('says at start that a provider does not list S256, and nothing where it lists it or is silent', async (t) => {
  const provider = await share(t)
  const document = await (await fetch(provider.issuer + DISCOVERY)).json() as Record<string, unknown>
  const cases: Array<[methods: unknown, isReported: boolean]> = [
    [['plain'], true], [[], true], [['plain', 'S256'], false], [undefined, false]
  ]
  for (const [methods, isReported] of cases) {
    const json = { ...document, code_challenge_methods_supported: methods }
    provider.setFault(DISCOVERY, { status: 200, json })
    const seed = await startSeed(t, { sharedProvider: provider })
    await ready(seed)
    const lines = seed.logs.filter(({ msg }) => msg.includes('code_challenge_methods_supported'))
    t.match(lines, isReported ? [{ level: 50, codeChallengeMethods: methods, msg: /S256/ }] : [])
    t.equal(lines.length, Number(isReported), JSON.stringify(methods))
    await seed.app.close()
  }
})

t.test('warns if the provider sends iss, because strict clients then refuse proxy mode', async (t) => {
  const seed = await startSeed(t, { provider: { quirks: { issParameter: true } } })
  t.match(await seed.logged(({ msg }) => msg.includes('RFC 9207')), { level: 40, issuer: seed.provider.issuer })
  const without = await startSeed(t)
  await ready(without)
  t.notOk(without.logs.some(({ msg }) => msg.includes('RFC 9207')))
})

t.test('a discovery document to which its usual URL redirects with one slash more is used', async (t) => {
  const seed = await startSeed(t, { provider: { quirks: { discoveryWithSlash: true } } })
  await ready(seed)
  t.equal((await ping(seed.url, await seed.provider.mint())).status, 200)
  t.notOk(seed.logs.some(cannotBeUsed))
})

t.test('an issuer whose certificate is of a private CA: the log names NODE_EXTRA_CA_CERTS, the page the operator',
  async (t) => {
    const server = createServer(selfSigned(t, ['127.0.0.1']), (_request, response) => { response.end('{}') })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => { server.close() })
    const { port } = server.address() as AddressInfo
    const seed = await startSeed(t, { env: { OIDC_ISSUER: `https://127.0.0.1:${port}` } })
    t.match((await seed.logged(cannotBeUsed))['reason'], /SIGNED_CERT: set NODE_EXTRA_CA_CERTS to the file of its CA/)
    t.match(await pageOf(seed), 'Trying again does not help')
  })

t.test('http for a provider in the same cluster needs OIDC_ALLOW_INSECURE_HTTP, which is a warning at each start', async (t) => {
  const issuer = 'http://keycloak.internal:8080/realms/x'
  const document = createHttpServer((_req, res) => {
    const [authorization, token, keys] = ['auth', 'token', 'keys'].map((name) => `${issuer}/${name}`)
    res.setHeader('content-type', 'application/json')
    res.end(JSON.stringify({ issuer, authorization_endpoint: authorization, token_endpoint: token, jwks_uri: keys }))
  }).listen(0, '127.0.0.1')
  await once(document, 'listening')
  t.teardown(() => { document.close() })
  const discoveryUrl = `http://127.0.0.1:${(document.address() as AddressInfo).port}/`
  const env = { OIDC_ISSUER: issuer, OIDC_DISCOVERY_URL: discoveryUrl }
  await t.rejects(startSeed(t, { env }), /OIDC_ISSUER must use https.*OIDC_ALLOW_INSECURE_HTTP=true/s)
  const seed = await startSeed(t, { env: { ...env, OIDC_ALLOW_INSECURE_HTTP: 'true' } })
  t.match(await seed.logged(({ msg }) => msg.startsWith('OIDC_ALLOW_INSECURE_HTTP=true')), { level: 40 })
  t.ok(await seed.logged(({ msg }) => msg === 'OpenID provider discovered'))
})
