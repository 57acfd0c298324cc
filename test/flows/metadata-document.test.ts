import { createHash, randomBytes, randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { OAuthClientProvider } from '@modelcontextprotocol/client'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { startDevProvider } from '../../dev/provider.ts'
import { FetchError } from '../../src/net/fetch.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { createOAuthClient } from '../support/oauth-client.ts'
import { isError } from '../support/oauth-error.ts'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/**
 * Clients whose id is the URL of their metadata (draft-ietf-oauth-client-id-metadata-document), from the document to
 * the tool call, in both modes. Only the fetch is faked: test/net/public-fetch.test.ts has the real one.
 */

const ID = 'https://client.example/oauth/client.json'
const PROBE = 'https://probe.example/client.json'
const ADA = { login: 'ada', password: 'ada' }

type Members = Record<string, unknown>

/** Documents as they are published now; a test may change them, or take the network away. */
function createWeb () {
  const document = (id: string): Members => ({
    client_id: id,
    client_name: 'Published Client',
    redirect_uris: ['http://localhost/callback', 'http://127.0.0.1/callback']
  })
  const web = {
    published: new Map([
      [ID, document(ID)],
      [PROBE, document(PROBE)]
    ]),
    headers: { 'cache-control': 'max-age=30' },
    offline: false,
    /** The outcome of every fetch: an error, or the status of the response. */
    failure: undefined as FetchError | number | undefined,
    fetched: [] as string[]
  }
  return {
    web,
    publish (members: Members) { web.published.set(ID, { ...document(ID), ...members }) },
    async fetchDocument (url: string) {
      web.fetched.push(url)
      const published = web.published.get(url)
      if (web.failure instanceof Error) throw web.failure
      if (web.failure !== undefined) return { status: web.failure, headers: {}, body: '' }
      if (web.offline || published === undefined) {
        throw new FetchError(`${new URL(url).origin} cannot be reached (ENOTFOUND)`, { network: true })
      }
      return {
        status: 200,
        headers: { 'content-type': 'application/json', ...web.headers },
        body: JSON.stringify(published)
      }
    }
  }
}

const provider = await startDevProvider()
t.teardown(async () => { await provider.close() })

for (const mode of ['proxy', 'broker'] as const) {
  const start = async (t: Test) => {
    const played = createWeb()
    const seed = await startSeed(t, {
      sharedProvider: provider,
      fetchDocument: played.fetchDocument,
      env: { OAUTH_MODE: mode, CIMD_PROBE_URL: PROBE }
    })
    await ready(seed)
    return { ...played, seed }
  }

  t.test(`a real client signs in with its metadata document and never registers (${mode})`, async (t) => {
    const { seed, web } = await start(t)
    await advertised(seed, true)
    t.same(web.fetched, [PROBE], 'a document that is known to be good has shown that Seed can fetch them')
    const oauth = createOAuthClient()
    const authProvider: OAuthClientProvider = {
      ...oauth.provider,
      clientMetadataUrl: ID,
      redirectUrl: 'http://localhost:53217/callback'
    }
    const url = new URL(`${seed.url}/mcp`)
    const first = new StreamableHTTPClientTransport(url, { authProvider })
    await t.rejects(new Client({ name: 'x', version: '1' }).connect(first), { message: 'Unauthorized' })
    await first.finishAuth((await oauth.signIn()).searchParams)
    const client = new Client({ name: 'x', version: '1' })
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider }))
    const call = async () => (await client.callTool({ name: 'seed_ping', arguments: {} })).structuredContent
    t.match(await call(), { status: 'ok', caller: { subject: 'ada' } })
    t.equal(oauth.clientId(), ID)
    const before = oauth.tokens().access_token
    oauth.spoilAccessToken()
    t.match(await call(), { caller: { subject: 'ada' } }, 'and again, after a refresh')
    t.not(oauth.tokens().access_token, before)
    await client.close()
    t.same(web.fetched, [PROBE, ID], 'its document was fetched once for all of it')
    t.notOk(seed.logs.some((line) => line['path'] === '/oauth/register'))
  })

  t.test(`a loopback redirect URI without a port matches any port and nothing else (${mode})`, async (t) => {
    const { seed } = await start(t)
    for (const host of ['localhost', '127.0.0.1']) {
      const redirectUri = `http://${host}:${await freePort()}/callback`
      const { fields } = await signIn(seed, redirectUri)
      const tokens = await token(seed, fields)
      t.equal(tokens.statusCode, 200, tokens.body)
      t.equal((await ping(seed.url, tokens.json<{ access_token: string }>().access_token)).status, 200)
    }
    for (const uri of [
      'http://localhost:1/other',
      'http://[::1]:1/callback',
      'https://localhost:1/callback',
      'https://client.example/callback',
      'http://localhost.evil.example:1/callback'
    ]) {
      const page = await createBrowser().get(request(seed, uri, 'v').url)
      t.equal(page.status, 400, uri)
      t.match(page.body, 'redirect_uri is not one that this client registered')
    }
  })

  t.test(`a document that changes during sign-in does not change where the code goes (${mode})`, async (t) => {
    const { seed, web, publish } = await start(t)
    const clock = moveClock(t)
    const asked = request(seed, 'http://localhost:1234/callback', randomBytes(32).toString('base64url'))
    const browser = createBrowser()
    const page = await browser.get(asked.url)
    publish({ client_name: 'Somebody Else', redirect_uris: ['https://evil.example/callback'] })
    clock.pass(31)
    const callback = await allow(browser, page)
    t.equal(
      callback.origin + callback.pathname,
      'http://localhost:1234/callback',
      'what the person allowed is what happens'
    )
    const fields = { ...asked.fields, code: callback.searchParams.get('code')! }
    isError(
      t,
      await token(seed, { ...fields, redirect_uri: 'https://evil.example/callback' }),
      400,
      'invalid_grant',
      'the URI of today was not the one that was asked for'
    )

    publish({})
    clock.pass(31)
    t.equal((await token(seed, fields)).statusCode, 200, 'no code was spent')
    t.equal(web.fetched.filter((url) => url === ID).length, 3, 'an old answer is not used')

    publish({ redirect_uris: ['https://client.example/only'] })
    clock.pass(31)
    t.equal((await createBrowser().get(asked.url)).status, 400, 'a redirect URI that was taken out is out')
  })

  t.test(`a document client authenticates with its key, and an assertion works once (${mode})`, async (t) => {
    const { seed, web, publish } = await start(t)
    const { privateKey, publicKey } = await generateKeyPair('ES256')
    const stranger = await generateKeyPair('ES256')
    publish({
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: 'one' }] }
    })
    const sign = async (changes: Members = {}, key = privateKey) => {
      const now = Math.floor(Date.now() / 1_000)
      const assertion = await new SignJWT({
        iss: ID,
        sub: ID,
        aud: seed.url,
        jti: randomUUID(),
        iat: now,
        exp: now + 60,
        ...changes
      })
        .setProtectedHeader({ alg: 'ES256', kid: 'one' })
        .sign(key)
      return {
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: assertion
      }
    }
    const { fields } = await signIn(seed, 'http://localhost:4321/callback')
    for (const [about, more] of [
      ['no assertion', {}],
      ['a secret', { client_secret: 'x' }],
      ["a stranger's key", await sign({}, stranger.privateKey)],
      ['for another server', await sign({ aud: 'https://other.example' })],
      ['from another client', await sign({ iss: PROBE })],
      ['expired', await sign({ exp: Math.floor(Date.now() / 1_000) - 60 })],
      ['living too long', await sign({ exp: Math.floor(Date.now() / 1_000) + 3_600 })],
      ['without jti', await sign({ jti: undefined })]
    ] as const) isError(t, await token(seed, { ...fields, ...more }), 401, 'invalid_client', about)

    const assertion = await sign()
    const first = await token(seed, { ...fields, ...assertion })
    t.equal(first.statusCode, 200, first.body)
    const { refresh_token: refreshToken, access_token: accessToken } = first.json<Record<string, string>>()
    t.equal((await ping(seed.url, accessToken)).status, 200)
    const refresh = { grant_type: 'refresh_token', client_id: ID, refresh_token: refreshToken! }
    isError(t, await token(seed, { ...refresh, ...assertion }), 401, 'invalid_client', 'an assertion that was used')
    isError(t, await token(seed, refresh), 401, 'invalid_client', 'a stolen refresh token alone')
    const second = await token(seed, { ...refresh, ...await sign() })
    t.equal(second.statusCode, 200, second.body)
    if (mode === 'proxy') return
    await forget(seed, web, moveClock(t))
    web.failure = undefined
    const latest = { ...refresh, refresh_token: second.json<Record<string, string>>()['refresh_token']! }
    isError(t, await token(seed, latest), 400, 'invalid_grant', 'nor when its document is no longer in the cache')
    const revoke = { client_id: ID, token: latest.refresh_token }
    isError(t, await send(seed, '/oauth/revoke', revoke), 401, 'invalid_client', 'nor can it be revoked')
    t.equal((await token(seed, { ...latest, ...await sign() })).statusCode, 200)
    t.notOk(JSON.stringify(seed.logs).includes(assertion.client_assertion))
  })

  t.test(`neither strangers nor an outage of its host stop a document client (${mode})`, async (t) => {
    const { seed, web } = await start(t)
    const clock = moveClock(t)
    const { fields } = await signIn(seed, 'http://localhost:4321/callback')
    const first = await token(seed, fields)
    t.equal(first.statusCode, 200, first.body)
    web.offline = true
    clock.pass(31)
    for (let index = 0; index < 12; index++) {
      const clientId = `https://h${index}.invalid/x`
      const page = await createBrowser().get(
        request(seed, 'http://localhost:1/callback', 'v', { client_id: clientId }).url
      )
      t.equal(page.status, index < 9 ? 400 : 429)
    }
    const again = await signIn(seed, 'http://localhost:4321/callback')
    t.equal((await token(seed, again.fields)).statusCode, 200, 'a new sign-in, with the stale document')
    await forget(seed, web, clock)
    const { refresh_token: refreshToken } = first.json<Record<string, string>>()
    const refreshed = await token(seed, { grant_type: 'refresh_token', client_id: ID, refresh_token: refreshToken! })
    t.equal(refreshed.statusCode, 200, refreshed.body)
    const { access_token: accessToken } = refreshed.json<Record<string, string>>()
    const revoked = await send(seed, '/oauth/revoke', { client_id: ID, token: accessToken! })
    t.equal(revoked.statusCode, 200, revoked.body)
    t.equal((await ping(seed.url, accessToken)).status, 401)
    t.same(web.fetched, [], 'a refresh and a revocation fetch nothing')
  })

  t.test(`a stranger cannot tell names inside the network from names that do not exist (${mode})`, async (t) => {
    const { seed, web } = await start(t)
    const answers = new Set<string>()
    for (const failure of [
      new FetchError('https://jenkins.corp.example/x is not at a public address'),
      new FetchError('https://nothere.corp.example cannot be reached (ENOTFOUND)', { network: true }),
      new FetchError('https://slow.example did not answer within 5000 ms', { network: true }),
      new FetchError('https://moved.example answered with a redirect, which is not followed', { status: 302 }),
      403,
      503
    ]) {
      web.failure = failure
      const { statusCode, headers, body } = await token(seed, {
        grant_type: 'authorization_code',
        client_id: `https://${randomUUID()}.example/x`,
        code: 'x',
        redirect_uri: 'http://localhost:1/callback',
        code_verifier: 'v'.repeat(43)
      })
      answers.add(JSON.stringify([statusCode, body.replace(/reference [\w-]{12}/, ''), headers['retry-after']]))
    }
    t.equal(answers.size, 1, [...answers].join())
    t.ok(seed.logs.some(({ reason }) => String(reason).includes('not at a public address')), 'the log has the reason')
  })

  t.test(`metadata documents are advertised only while a known good one can be fetched (${mode})`, async (t) => {
    const { seed, web } = await start(t)
    const clock = moveClock(t)
    await advertised(seed, true)

    web.offline = true
    clock.pass(31)
    const page = await createBrowser().get(request(seed, 'http://localhost:1/callback', 'v').url)
    t.equal(page.status, 400)
    t.match(page.body, 'The client metadata document cannot be used')
    t.match(await seed.logged(({ msg }) => msg.startsWith('Client ID metadata documents are not advertised')), {
      level: 40,
      probeUrl: PROBE,
      reason: /ENOTFOUND/
    })
    await advertised(seed, false)

    const oauth = createOAuthClient()
    const authProvider: OAuthClientProvider = { ...oauth.provider, clientMetadataUrl: ID }
    await t.rejects(
      new Client({ name: 'x', version: '1' }).connect(
        new StreamableHTTPClientTransport(new URL(`${seed.url}/mcp`), { authProvider })
      ),
      { message: 'Unauthorized' }
    )
    t.match(oauth.clientId(), /^seed-/, 'a real client with a document registers instead')

    web.offline = false
    clock.pass(31)
    t.equal(
      (
        await createBrowser().get(
          request(seed, 'http://localhost:1/callback', 'v', { client_id: 'https://stranger.example/gone.json' }).url
        )
      ).status,
      400,
      'a stranger whose document is away'
    )
    await seed.logged(({ msg }) => msg === 'Client ID metadata documents can be fetched again and are advertised')
    await advertised(seed, true)
  })

  t.test(`with CIMD_ENABLED=false documents are neither advertised, accepted nor fetched (${mode})`, async (t) => {
    const { web, fetchDocument } = createWeb()
    const seed = await startSeed(t, {
      sharedProvider: provider,
      fetchDocument,
      env: { OAUTH_MODE: mode, CIMD_ENABLED: 'false' }
    })
    await ready(seed)
    await advertised(seed, false)
    const page = await createBrowser().get(request(seed, 'http://localhost:1/callback', 'v').url)
    t.equal(page.status, 400)
    t.match(page.body, 'register instead')
    t.same(web.fetched, [])
  })
}

/** Waits until both documents say so. */
async function advertised ({ url }: TestSeed, wanted: boolean): Promise<void> {
  for (const path of ['oauth-authorization-server', 'openid-configuration']) {
    for (;;) {
      const metadata = (await (await fetch(`${url}/.well-known/${path}`)).json()) as {
        client_id_metadata_document_supported: boolean
      }
      if (metadata.client_id_metadata_document_supported === wanted) break
    }
  }
}

/** Lets seconds pass for what measures time by `performance.now`. */
function moveClock (t: Test): { pass (seconds: number): void } {
  const { now } = performance
  let passed = 0
  performance.now = () => now.call(performance) + passed
  t.teardown(() => { performance.now = now })
  return { pass (seconds) { passed += seconds * 1_000 } }
}

/** An authorization request, and what its code will be redeemed with. */
function request ({ url }: TestSeed, redirectUri: string, verifier: string, changes: Record<string, string> = {}) {
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: ID,
    redirect_uri: redirectUri,
    state: 's',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    resource: `${url}/mcp`,
    ...changes
  })
  return {
    url: `${url}/oauth/authorize?${query}`,
    fields: { grant_type: 'authorization_code', client_id: ID, redirect_uri: redirectUri, code_verifier: verifier }
  }
}

/** Removes the document, and lets Seed notice. */
async function forget (
  seed: TestSeed, web: ReturnType<typeof createWeb>['web'], clock: ReturnType<typeof moveClock>
): Promise<void> {
  clock.pass(61)
  web.failure = 404
  web.offline = false
  const page = await createBrowser().get(request(seed, 'http://localhost:4321/callback', 'v').url)
  if (page.status !== 400) throw new Error(`The document is still known: ${page.status}`)
  web.fetched.length = 0
}

async function signIn (seed: TestSeed, redirectUri: string) {
  const asked = request(seed, redirectUri, randomBytes(32).toString('base64url'))
  const callback = await createBrowser().signIn(asked.url, ADA)
  return { fields: { ...asked.fields, code: callback.searchParams.get('code')! } }
}

/** Allows on a consent page, and signs in at the provider. */
async function allow (
  browser: ReturnType<typeof createBrowser>,
  page: Awaited<ReturnType<typeof browser.get>>
): Promise<URL> {
  const signInPage = await browser.submit(page.forms[0]!, { decision: 'approve' })
  return (await browser.submit(signInPage.forms[0]!, ADA)).url
}

async function token (seed: TestSeed, fields: Record<string, string>) {
  return await send(seed, '/oauth/token', fields)
}

async function send ({ app }: TestSeed, url: string, fields: Record<string, string>) {
  return await app.inject({
    method: 'POST',
    url,
    payload: new URLSearchParams(fields).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' }
  })
}
