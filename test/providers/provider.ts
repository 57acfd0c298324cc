import type { TestProcess } from '../support/process.ts'
import type { PlainClient, TokenAnswer } from '../support/sign-in.ts'

/** An OpenID provider that is installed, started and configured through its own interfaces. One file exports one. */
export interface Provider {
  /** The name on the command line: `npm run providers -- keycloak`. */
  name: string
  /** The name in the matrix. */
  title: string
  version: string
  /**
   * Downloads and builds what is missing. A second run finds everything and is quick.
   *
   * @param cacheFolder a folder of the provider's own, outside the checkout; it exists
   * @throws RegistryUnreachable
   */
  install (cacheFolder: string): Promise<void>
  start (options: StartOptions): Promise<RunningProvider>
}

export interface StartOptions {
  cacheFolder: string
  /** An empty folder for the provider's data, gone after the run. */
  dataFolder: string
  /**
   * BASE_URL of Seed. The provider is to know `/oauth/callback` there as redirect URI, and
   * `/oauth/backchannel-logout`.
   */
  seedUrl: string
  /** Redirect URIs of the MCP clients, for proxy mode. */
  clientRedirectUris: readonly string[]
  /** Starts a process that dies with the run. Its environment is PATH and `env`. */
  spawn (command: string, args: readonly string[], env: Record<string, string>, cwd: string): TestProcess
}

export interface RunningProvider {
  issuer: string
  /** Seed is started with each of these in turn. */
  configurations: Configuration[]
  /** Number of clients that may use it at the same time. Default: 3. */
  clientsAtOnce?: number
  /** The person who signs in. */
  person: Person
  /**
   * Does what the person does in the browser.
   *
   * @param authorizationUrl Seed's, as the client opens it
   * @returns the client's redirect URI with the answer
   */
  signIn (authorizationUrl: URL): Promise<URL>
  /** Revokes the refresh tokens of the person, as an administrator would. */
  revokeRefreshTokens? (): Promise<void>
  /** Ends the provider and starts it anew with its data; resolves when it answers. */
  restart? (): Promise<void>
  /** Signs with a new key from now on. */
  rotateKeys? (): Promise<void>
  /** Ends the person's session at the provider, which sends a back-channel logout to Seed. */
  logOut? (): Promise<void>
  /** Takes the person out of `person.group`. @returns what undoes it */
  removeFromGroup? (): Promise<() => Promise<void>>
  /** Further checks of this provider alone, by the name of their row. They run last, in every configuration. */
  checks?: Record<string, (seed: SeedUnderTest) => Promise<void>>
  stop (): Promise<void>
}

/** The server in the checks of a provider, and a client by plain HTTP. */
export interface SeedUnderTest {
  url: string
  configuration: Configuration
  /** Everything that the server has logged. */
  output (): Promise<string>
  /** Registers a client and signs the person in. */
  signIn (): Promise<SignedIn>
  /** Rejects unless the answer is tokens. */
  refresh (signedIn: SignedIn): Promise<SignedIn>
  /** Rejects unless a refresh is answered with `invalid_grant`. */
  expectDeadRefreshToken (signedIn: SignedIn): Promise<void>
  /** Calls a tool without arguments. */
  call (tokens: TokenAnswer, tool?: string): Promise<{ status: number, body: unknown }>
}

export interface SignedIn {
  client: PlainClient
  tokens: TokenAnswer
}

export interface Configuration {
  /** The column of the matrix, such as `broker` or `broker, public client`. */
  name: string
  /** OAUTH_MODE */
  mode: 'broker' | 'proxy'
  /** The other settings of Seed beyond BASE_URL and SEED_SECRET; OIDC_ISSUER if it is not `issuer`. */
  env: Record<string, string>
  /** Differences of `whoami` here. */
  person?: Person
  /** Tools of the provider's checks: SEED_EXTENSIONS, not shown among the settings. */
  extensions?: string
  /** Mounted servers of the provider's checks: SEED_MOUNTS, not shown among the settings. */
  mounts?: string
  /** Why a row cannot work: it is not run, and the matrix has "–" with this reason. */
  limits?: Partial<Record<Row, string>>
}

export interface Person {
  /** What `whoami` is to show. Undefined: the provider does not say it in this configuration. */
  name?: string
  email?: string
  groups?: string[]
  /** The group that ACCESS_GROUPS asks for, and `removeFromGroup` takes the person out of. */
  group?: string
}

/** The rows that every provider has, in order. Those of the clients (`SDK v1`, ...) come first. */
export const ROWS = {
  whoami: 'name, e-mail and groups arrive',
  refresh: 'refreshed twice',
  clientRevocation: 'the client revokes its token',
  revokeRefreshTokens: 'the provider revokes the refresh token: `invalid_grant`',
  restart: 'the provider restarts: refreshed',
  rotateKeys: 'the provider rotates its keys: refreshed, signed in again',
  logOut: 'back-channel logout',
  removeFromGroup: 'taken out of the group: no access after the refresh'
} as const

/** A row of every provider, or the name of a client or a provider's check. */
export type Row = keyof typeof ROWS | (string & {})

/** A registry gave nothing: the provider is left out, which fails the run if CI is set. */
export class RegistryUnreachable extends Error {}

const ISS_LIMIT =
  'the provider sends `iss` (RFC 9207), which the client compares with the issuer that it knows, Seed'

/** Why current clients cannot use proxy mode at a provider that adds `iss` to its redirects. */
export const ISS_LIMITS: Partial<Record<Row, string>> = {
  'SDK v2, 2025-11-25': ISS_LIMIT,
  'SDK v2, 2026-07-28': ISS_LIMIT,
  'mcp-remote': ISS_LIMIT,
  'MCP Inspector, without refresh': ISS_LIMIT,
  '@ai-sdk/mcp': ISS_LIMIT,
  'Python SDK, 2025-11-25': ISS_LIMIT,
  'Python SDK, 2026-07-28': ISS_LIMIT,
  FastMCP: ISS_LIMIT,
  'Go SDK, 2025-11-25': ISS_LIMIT,
  'Go SDK, 2026-07-28': ISS_LIMIT
}
