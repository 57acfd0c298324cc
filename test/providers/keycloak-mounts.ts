import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import { post } from '../support/broker.ts'
import { until } from '../support/until.ts'
import { startUpstream, writeMounts } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'
import { check, equal, resultOf } from './checks.ts'
import type { SeedUnderTest } from './provider.ts'

/** Mounted servers that take access tokens of Keycloak: `identity.tokenFor`, by standard token exchange (RFC 8693). */

/** The API that Seed's client at Keycloak may have tokens for. */
export const PERMITTED_API = 'orders-api'
/** One that Keycloak knows too, for other clients. */
export const FORBIDDEN_API = 'payroll-api'

/** A service of Seed's own, in OAUTH_CLIENTS. */
export const SERVICE_AT_SEED = {
  client_id: 'nightly-at-seed',
  client_secret: randomBytes(32).toString('base64url'),
  grant_types: ['client_credentials'],
  groups: ['engineering']
}

export interface MountedServers {
  /** The file for SEED_MOUNTS. */
  file: string
  checks: {
    person (seed: SeedUnderTest): Promise<void>
    service (seed: SeedUnderTest): Promise<void>
    /** @param whileForbidden runs something while Keycloak lets Seed's client exchange no tokens */
    refusal (seed: SeedUnderTest, whileForbidden: (act: () => Promise<void>) => Promise<void>): Promise<void>
  }
  close (): Promise<void>
}

/**
 * Starts three servers: `orders`, which lets anybody list and wants a token of the caller for calls; `ledger`, which
 * wants a token for everything, and takes Seed's own; and `payroll`, for which Keycloak gives no token.
 */
export async function startMountedServers (issuer: string): Promise<MountedServers> {
  const closing: Array<() => unknown> = []
  const start = async (audience: string, isForAll: boolean): Promise<Upstream> => {
    const upstream = await startUpstream({ teardown: (close: () => unknown) => { closing.push(close) } } as never)
    const verify = createVerifier(issuer, audience)
    upstream.intercept = async (request, response) =>
      (isForAll || request.headers['mcp-method'] === 'tools/call') && !await verify(request, response)
    upstream.call = (_name, _args, { http }) => ({
      content: [], structuredContent: decodeJwt(bearerOf(http!.req!.headers.get('authorization'))) as object as {}
    })
    return upstream
  }
  const [orders, ledger, payroll] = [
    await start(PERMITTED_API, false), await start(PERMITTED_API, true), await start(FORBIDDEN_API, false)
  ]
  const mount = (upstream: Upstream, tokenFor: object): object =>
    ({ url: upstream.url, connectTimeoutSeconds: 60, identity: { tokenFor } })
  return {
    file: await writeMounts({
      orders: mount(orders, { audience: PERMITTED_API }),
      ledger: mount(ledger, { audience: PERMITTED_API, allowServerToken: true }),
      payroll: mount(payroll, { audience: FORBIDDEN_API })
    }),
    checks: {
      person: async (seed) => { await checkPerson(seed, issuer, orders) },
      service: async (seed) => { await checkService(seed, orders) },
      refusal: async (seed, whileForbidden) => { await checkRefusal(seed, payroll, whileForbidden) }
    },
    close: async () => { for (const close of closing) await close() }
  }
}

/** A resource server's check (RFC 9068 section 4): answers 401 unless the token is Keycloak's, for this API. */
function createVerifier (
  issuer: string, audience: string
): (request: IncomingMessage, response: ServerResponse) => Promise<boolean> {
  const keys = createRemoteJWKSet(new URL(`${issuer}/protocol/openid-connect/certs`))
  return async ({ headers }, response) => {
    try {
      await jwtVerify(bearerOf(headers.authorization), keys, { issuer, audience })
      return true
    } catch {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
      return false
    }
  }
}

function bearerOf (header: string | null | undefined): string {
  return /^Bearer (\S+)$/.exec(header ?? '')?.[1] ?? ''
}

/** The token is the person's, for this server alone, and neither the client's nor that of the sign-in. */
async function checkPerson (seed: SeedUnderTest, issuer: string, { requests }: Upstream): Promise<void> {
  const { tokens } = await seed.signIn()
  const { subject } = (await resultOf(seed, tokens.access_token, 'whoami')).structuredContent
  const { structuredContent: claims } = await resultOf(seed, tokens.access_token, 'orders_add')
  equal([claims['iss'], claims['sub'], claims['aud'], claims['azp'], claims['preferred_username']],
    [issuer, subject, PERMITTED_API, 'seed', 'ada'], 'the claims of the token')
  check(!JSON.stringify(requests).includes(tokens.access_token), "the client's token is not passed on")
  const log = await seed.output()
  const sent = requests.map(({ authorization }) => bearerOf(authorization)).filter((token) => token !== '')
  check(sent.length > 0 && !sent.some((token) => log.includes(token)), 'no token is in the log')
}

/** A service has no token at the provider: an error, or the token of Seed itself where the mount allows it. */
async function checkService (seed: SeedUnderTest, { requests }: Upstream): Promise<void> {
  const { client_id: clientId, client_secret: clientSecret } = SERVICE_AT_SEED
  const { json, body } = await post(`${seed.url}/oauth/token`, { grant_type: 'client_credentials' }, {
    authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`
  })
  check(json['access_token'] !== undefined, `a token for the service, not ${body}`)
  const token = String(json['access_token'])
  const before = callsIn(requests)
  const refused = await resultOf(seed, token, 'orders_add')
  check(refused.isError === true && /comes from a service.*allowServerToken/.test(JSON.stringify(refused)),
    `an error that names allowServerToken, not ${JSON.stringify(refused)}`)
  equal(callsIn(requests), before, 'calls that were sent')
  await until(async () => await resultOf(seed, token, 'ledger_add').then(() => true, () => false),
    'Seed has a token for the lists')
  const { structuredContent: claims } = await resultOf(seed, token, 'ledger_add')
  // Keycloak filters the audiences of exchanged tokens alone.
  check((claims['aud'] as string[]).includes(PERMITTED_API), `aud has ${PERMITTED_API}`)
  equal([claims['azp'], claims['preferred_username']], ['seed', 'service-account-seed'], "the claims of Seed's token")
}

function callsIn (requests: Upstream['requests']): number {
  return requests.filter((headers) => headers['mcp-method'] === 'tools/call').length
}

/** Keycloak gives no token: the error and the log say what it must allow, and nothing is sent. */
async function checkRefusal (
  seed: SeedUnderTest, payroll: Upstream, whileForbidden: (act: () => Promise<void>) => Promise<void>
): Promise<void> {
  await expectRefusal(seed, 'payroll_add', FORBIDDEN_API, /audience not available/i)
  equal(callsIn(payroll.requests), 0, 'calls that were sent')
  await whileForbidden(async () => {
    await expectRefusal(seed, 'orders_add', PERMITTED_API, /token exchange is not enabled/i)
  })
  const { isError } = await resultOf(seed, (await seed.signIn()).tokens.access_token, 'orders_add')
  equal(isError, undefined, 'an error once it is permitted again')
}

/** @param reason what Keycloak says */
async function expectRefusal (seed: SeedUnderTest, tool: string, audience: string, reason: RegExp): Promise<void> {
  const from = (await seed.output()).length
  const refused = await resultOf(seed, (await seed.signIn()).tokens.access_token, tool)
  const text = JSON.stringify(refused)
  check(refused.isError === true && text.includes(`for \\"${audience}\\"`) && text.includes('OIDC_CLIENT_ID'),
    `an error that says what to allow, not ${text}`)
  const lines = async (): Promise<string[]> => (await seed.output()).slice(from).split('\n')
  await until(async () => (await lines()).some((line) => line.includes('token_exchange.failed') &&
    line.includes(audience) && reason.test(line) && line.includes('OIDC_CLIENT_ID')),
  'the log says what to allow')
}
