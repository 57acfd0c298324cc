import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JWK } from 'jose'
import { createStorage } from './provider/adapter.ts'
import type { Fault } from './provider/faults.ts'
import type { EnterpriseRule } from './provider/enterprise-rule.ts'
import { accessTokenClaims, sendLogoutToken } from './provider/minting.ts'
import { QUIRKS } from './provider/quirks.ts'
import type { DevUser, Quirks, SigningKey, TokenOverrides } from './provider/quirks.ts'
import { createRequestHandler } from './provider/request-handler.ts'
import type { TokenRequest } from './provider/request-handler.ts'
import { createSigningKey, signToken } from './provider/signing.ts'
import type { ProviderState } from './provider/state.ts'

export { createStorage } from './provider/adapter.ts'
export type { Fault } from './provider/faults.ts'
export type { EnterpriseRule } from './provider/enterprise-rule.ts'
export type { DevUser, Quirks, SigningKey, TokenOverrides } from './provider/quirks.ts'

export interface DevProviderOptions {
  /** Loopback only. */
  host?: string
  /**
   * Listens on all addresses, where `host` is how clients reach it all the same: for a container whose port is
   * published on loopback.
   */
  allAddresses?: boolean
  /** 0 takes a free one. */
  port?: number
  clientId?: string
  /** Secret of the clients that have one; `dev-secret` by default. */
  clientSecret?: string
  /** The `aud` of access tokens. */
  audience?: string
  users?: DevUser[]
  /**
   * The only redirect URIs there are, compared as strings, as Google, Okta and Auth0 do. Without, any on loopback.
   */
  fixedRedirectUris?: string[]
  /** The public keys of the client that authenticates with `private_key_jwt`; without them there is none. */
  clientPublicJwks?: { keys: JWK[] }
  /** The policy by which ID-JAGs are issued; without rules nobody gets one. */
  enterpriseRules?: EnterpriseRule[]
  quirks?: Partial<Quirks>
  accessTokenTtlSeconds?: number
  algorithm?: 'RS256' | 'ES256'
  log?: (line: string) => void
}

export interface DevProvider {
  issuer: string
  /**
   * The public client. This id with `-confidential` authenticates with `client_secret_basic`, with `-post` with
   * `client_secret_post`, both with the secret (`dev-secret`), and with `-key` with `private_key_jwt`. `company-app`,
   * with `client_secret_post`, is an MCP client of the company rather than Seed.
   */
  clientId: string
  /** May be changed: rules that are added or taken out count from the next ID-JAG on. */
  enterpriseRules: EnterpriseRule[]
  /** May be changed: a user taken out can neither sign in nor refresh. */
  users: DevUser[]
  quirks: Quirks
  /** Signs with a new key from now on; the old public keys stay in the key set unless `keepOld` is false. */
  rotateKeys (options?: { keepOld: boolean }): Promise<void>
  /** An access token signed by the current key. Anything can be overridden, and removed with undefined. */
  mint (claims?: Record<string, unknown>, header?: Record<string, unknown>, key?: SigningKey): Promise<string>
  /** Ends the user's session, grants, codes, access tokens (at userinfo) and refresh tokens. */
  revoke (login: string): void
  /**
   * Posts a logout token (OpenID Connect Back-Channel Logout) for the user's last sign-in; `uri` is on loopback.
   */
  backchannelLogout (login: string, uri: string, overrides?: Partial<TokenOverrides>): Promise<Response>
  /** The parameters of the last authorization request. */
  lastAuthorization (): Record<string, string>
  /** Form and authentication scheme of the last token request, even of one that met a fault. */
  lastTokenRequest (): TokenRequest
  /** Requests so far by endpoint: `/token`, `/jwks`, `/me`, `/token/revocation`, `/auth`, `/interaction/:uid`, … */
  hits (): Record<string, number>
  /** Breaks one endpoint, or all of them as `*`, until it is set to undefined. */
  setFault (endpoint: string, fault: Fault | undefined): void
  /** Closes the port and drops every connection. What was issued is still known after `start`. */
  stop (): Promise<void>
  /** Listens again, on the same port. */
  start (): Promise<void>
  close (): Promise<void>
}

/** Hosts that can be listened on, and their form in a URL. */
const LOOPBACK = new Map([['127.0.0.1', '127.0.0.1'], ['localhost', 'localhost'], ['::1', '[::1]']])

const USERS: DevUser[] = [
  { login: 'ada', password: 'ada', name: 'Ada Lovelace', email: 'ada@example.com', groups: ['engineering', 'admins'] },
  { login: 'bob', password: 'bob', name: 'Bob', email: 'bob@example.com', groups: ['engineering'] }
]

/**
 * Starts a real OpenID provider for `npm run dev` and for tests: `oidc-provider` with users, pages, keys and storage of
 * its own, plus the ways in which real providers deviate (quirks) and break (faults).
 *
 * It issues tokens for well-known passwords, so it listens on loopback and nowhere else. Rejects for another host, and
 * for a port that is taken.
 */
export async function startDevProvider (options: DevProviderOptions = {}): Promise<DevProvider> {
  const { host = '127.0.0.1', port = 0, allAddresses = false, log = () => {} } = options
  const hostname = LOOPBACK.get(host)
  if (hostname === undefined) {
    const hosts = [...LOOPBACK.keys()].join(', ')
    throw new Error('The development provider gives tokens to anyone who asks: ' +
      `it listens on ${hosts} and not on "${host}"`)
  }
  const oidc = await import('oidc-provider')
  const state = await createState(options)
  const server = createServer((req, res) => { requests.handle(req, res) })
  await listen(port)
  const address = server.address() as AddressInfo
  state.issuer = `http://${hostname}:${address.port}`
  const requests = createRequestHandler(state, oidc, log)

  async function listen (port: number): Promise<void> {
    server.listen(port, ...allAddresses ? [] : [host])
    await once(server, 'listening')
  }

  function stop (): Promise<void> {
    return new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }

  return {
    issuer: state.issuer,
    clientId: state.clientId,
    enterpriseRules: state.enterpriseRules,
    users: state.users,
    quirks: state.quirks,
    async rotateKeys ({ keepOld } = { keepOld: true }) {
      const key = await createSigningKey(state.algorithm)
      state.keys = keepOld ? [key, ...state.keys] : [key]
      requests.swapProvider()
    },
    mint: async (claims = {}, header = {}, key) =>
      await signToken(state, { ...accessTokenClaims(state), ...claims }, { typ: 'at+jwt', ...header }, key),
    backchannelLogout: async (login, uri, overrides) => await sendLogoutToken(state, login, uri, overrides),
    lastAuthorization: () => ({ ...requests.seen.authorization }),
    lastTokenRequest: () => structuredClone(requests.seen.tokenRequest),
    revoke: state.storage.revoke,
    hits: () => ({ ...requests.seen.hits }),
    setFault (endpoint, fault) {
      if (fault === undefined) state.faults.delete(endpoint)
      else state.faults.set(endpoint, fault)
    },
    stop,
    start: async () => { await listen(address.port) },
    close: stop
  }
}

/** Its issuer is known once the provider listens. */
async function createState (options: DevProviderOptions): Promise<ProviderState> {
  const { clientId = 'seed-dev', algorithm = 'RS256', accessTokenTtlSeconds = 3600 } = options
  const storage = createStorage()
  return {
    issuer: '',
    clientId,
    clientSecret: options.clientSecret ?? 'dev-secret',
    audience: options.audience ?? clientId,
    algorithm,
    accessTokenTtlSeconds,
    fixedRedirectUris: options.fixedRedirectUris,
    clientPublicJwks: options.clientPublicJwks,
    enterpriseRules: [...(options.enterpriseRules ?? [])],
    users: [...(options.users ?? USERS)],
    quirks: { ...QUIRKS, ...options.quirks },
    faults: new Map(),
    keys: [await createSigningKey(algorithm)],
    storage,
    accessTokens: storage.open('AccessToken'),
    authorizationRequests: storage.open('AuthorizationRequest'),
    lastSids: new Map()
  }
}
