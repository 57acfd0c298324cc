import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { FetchError, fetchJson } from '../../src/net/fetch.ts'
import { ProviderUnavailableError, createProviderDiscovery } from '../../src/provider/discovery.ts'
import { createBrowser } from '../support/browser.ts'
import { ready } from '../support/seed.ts'
import { createPlainClient, signedIn } from '../support/sign-in.ts'
import type { PlainClient } from '../support/sign-in.ts'
import { damaged, headerValue, oddValue, spoiler, spoilt, toJson } from './arbitraries.ts'
import { check, startFuzzServer } from './fuzz-server.ts'

/** A provider whose answers are odd, damaged or hostile. */

/** Server errors that say it is the identity provider, and mean it; 503 asks to try again. */
const isStated = (status: number, body: string): boolean =>
  status < 500 || status === 503 || body.includes('identity provider')

const status = fc.oneof({ weight: 4, arbitrary: fc.constant(200) }, {
  weight: 1, arbitrary: fc.constantFrom(201, 204, 400, 401, 403, 404, 429, 500, 503)
})

for (const mode of ['broker', 'proxy'] as const) {
  t.test(`a provider with odd answers in ${mode} mode`, async (t) => {
    const provider = await startDevProvider({ algorithm: 'ES256' })
    t.teardown(async () => { await provider.close() })
    const server = await startFuzzServer(t, {
      OAUTH_MODE: mode,
      SEED_SECRET: randomBytes(32).toString('base64url'),
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.clientId
    })
    await ready(server)
    const client = await createPlainClient(server.url)
    const browser = createBrowser()
    const scopes = { scope: 'openid profile email offline_access' }
    const { access_token: accessToken } = await signedIn(client)
    const tokens = {
      access_token: mode === 'proxy' ? accessToken : await provider.mint(),
      token_type: 'Bearer',
      expires_in: 300,
      refresh_token: 'r',
      id_token: accessToken,
      scope: 'openid',
      error: 'invalid_grant'
    }

    t.test('token responses at sign-in', async () => {
      await check(fc.asyncProperty(spoilt([tokens]), status, async (json, status) => {
        provider.setFault('/token', { status, json })
        const page = await inTime(client.walk(undefined, scopes, browser))
        const { status: answered, body } = await finish(client, page)
        provider.setFault('/token', undefined)
        if (!isStated(answered, body)) throw new Error(`Status ${answered}: ${body.slice(0, 300)}`)
      }), { runs: 20 })
      await server.isWell()
    })

    t.test('token responses at a refresh', async () => {
      let { refresh_token: refreshToken } = await signedIn(client, undefined, scopes)
      await check(fc.asyncProperty(spoilt([tokens]), status, async (json, status) => {
        provider.setFault('/token', { status, json })
        const answer = await inTime(client.refresh(refreshToken!))
        const body = await answer.text()
        provider.setFault('/token', undefined)
        if (!isStated(answer.status, body)) throw new Error(`Status ${answer.status}: ${body.slice(0, 300)}`)
        const { refresh_token: next } = JSON.parse(body) as { refresh_token?: string }
        if (next !== undefined) refreshToken = next
        else if (answer.status === 400) ({ refresh_token: refreshToken } = await signedIn(client, undefined, scopes))
      }), { runs: 40 })
      await server.isWell()
    })

    if (mode === 'proxy') return

    t.test('ID tokens and userinfo', async () => {
      await check(fc.asyncProperty(spoiler, spoiler, status, async (spoilClaims, spoilUserinfo, status) => {
        provider.quirks.idToken = (claims) => {
          const odd = spoilClaims(claims)
          return typeof odd === 'object' && odd !== null ? { claims: odd as Record<string, unknown> } : undefined
        }
        provider.setFault('/me', {
          status, json: spoilUserinfo({ sub: 'ada', name: 'Ada', email: 'a@example.com', email_verified: true, groups: ['a'] })
        })
        const page = await inTime(client.walk(undefined, scopes, browser))
        const { status: answered, body } = await finish(client, page)
        provider.quirks.idToken = undefined
        provider.setFault('/me', undefined)
        if (!isStated(answered, body)) {
          await server.isWell()
          throw new Error(`Status ${answered}: ${body.slice(0, 300)}`)
        }
      }), { runs: 30 })
      await server.isWell()
    })
  })
}

/** What a client sees in the end: the page at which the walk ended, or the answer to its code. */
async function finish (client: PlainClient, page: Awaited<ReturnType<PlainClient['walk']>>) {
  if (page.status !== 0 || !page.url.searchParams.has('code')) return page
  const answer = await inTime(client.redeem(page))
  return { status: answer.status, body: await answer.text() }
}

async function inTime<Value> (work: Promise<Value>): Promise<Value> {
  const late = pause(30_000, undefined, { ref: false }).then(() => { throw new Error('No answer') })
  return await Promise.race([work, late])
}

t.test('discovery documents are usable, or say why they are not', async () => {
  const issuer = 'https://id.example.com'
  const document = {
    issuer,
    authorization_endpoint: `${issuer}/auth`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    userinfo_endpoint: `${issuer}/me`,
    revocation_endpoint: `${issuer}/revoke`,
    scopes_supported: ['openid'],
    token_endpoint_auth_methods_supported: ['client_secret_basic'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true
  }
  await check(fc.asyncProperty(spoilt([document]), async (odd) => {
    if (typeof odd !== 'object' || odd === null || Array.isArray(odd)) return
    const lines: string[] = []
    const log = (_fields: object, message: string): void => { lines.push(message) }
    const discovery = createProviderDiscovery({
      issuer,
      tenants: [],
      discoveryUrl: `${issuer}/.well-known/openid-configuration`,
      authorizationUrl: undefined,
      tokenUrl: undefined,
      revocationUrl: undefined,
      allowInsecureHttp: false,
      fetchJson: async () => JSON.parse(JSON.stringify(odd)) as Record<string, unknown>,
      log: { info: log, warn: log, error: log },
      onReady () {}
    })
    discovery.start()
    await pause(0)
    discovery.close()
    try {
      const { tokenEndpoint, jwksUri } = discovery.metadata()
      if (!URL.canParse(tokenEndpoint) || !URL.canParse(jwksUri)) throw new Error('An endpoint is no URL')
    } catch (err) {
      if (!(err instanceof ProviderUnavailableError)) throw err
    }
    if (lines.length === 0) throw new Error('Nothing is logged')
  }), { runs: 200 })
})

t.test('whatever an HTTP server answers is a JSON object or a FetchError', async (t) => {
  let answer: { status: number, type: string, body: Buffer }
  const server = createServer((_request, response) => {
    response.writeHead(answer.status, { 'content-type': answer.type, connection: 'close' }).end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close() })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const answers = fc.record({
    status: fc.oneof(status, fc.integer({ min: 200, max: 599 })),
    type: fc.oneof(fc.constant('application/json'), headerValue),
    body: fc.oneof(oddValue.map(toJson), damaged(oddValue.map(toJson)))
  })
  await check(fc.asyncProperty(answers, async (next) => {
    answer = next
    const value = await fetchJson(url).catch((err: unknown) => {
      if (!(err instanceof FetchError)) throw err
      return {}
    })
    if (typeof value !== 'object') throw new Error(`Got ${typeof value}`)
  }), { runs: 100 })
})
