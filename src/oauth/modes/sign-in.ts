import type { Client } from '../clients/clients.ts'
import type { UnfinishedSignIn } from './unfinished-sign-ins.ts'

/** An authorization request that passed every check of the authorization endpoint. */
export interface AuthorizationRequest {
  client: Pick<Client, 'id' | 'kind' | 'name' | 'refreshes' | 'authMethod'>
  redirectUri: string
  state: string | undefined
  codeChallenge: string
  /** The name of the MCP endpoint that the client gets tokens for (SEED_ENDPOINTS); undefined for `/mcp`. */
  endpoint?: string | undefined
  /** The scopes that the client is granted. */
  scopes: readonly string[]
  nonce: string | undefined
  /** The requested values that Seed supports, space-separated. */
  prompt: string | undefined
  /** Seconds, in digits. */
  maxAge: string | undefined
  /** Levels of authentication (`acr`) that the client asks for, space-separated. */
  acrValues: string | undefined
  loginHint: string | undefined
  /** Leads to the steps of this sign-in (src/trace); undefined for one that an earlier version began. */
  reference: string | undefined
}

/** An authorization request that a person has allowed. */
export type AllowedRequest = AuthorizationRequest & { unfinished: UnfinishedSignIn }

/** Signs a person in at the provider, once they have consented. */
export interface SignIn {
  /**
   * Returns the scopes that a sign-in will in fact ask for and grant if a client is to get `scopes`. The consent page
   * shows these.
   */
  effectiveScopes (scopes: readonly string[]): readonly string[]
  /** Returns the provider's URL for the browser and, in broker mode, the cookie that the callback must come with. */
  start (request: AllowedRequest): Promise<{ location: URL, cookie?: BrowserCookie }>
  /** Returns the provider's URL for a request without redirect URI. That sign-in cannot be completed. */
  probeUrl (scopes: readonly string[]): URL
}

/** A cookie that binds a step of the sign-in to the browser that began it. */
export interface BrowserCookie {
  name: string
  value: string
  maxAgeSeconds: number
}

/** Names of sign-in cookies begin with this. Each sign-in has its own, so that two tabs do not disturb each other. */
export const SIGN_IN_COOKIE = 'sign-in-'

/** Sign-ins that one browser may have in progress. */
const MAX_SIGN_INS = 8

/**
 * Returns the cookies to clear when another sign-in starts: the oldest, which browsers send first (RFC 6265
 * section 5.4).
 * @param names of all cookies, in the browser's order
 */
export function surplusSignInCookies (names: Iterable<string>): string[] {
  return [...names].filter((name) => name.startsWith(SIGN_IN_COOKIE)).slice(0, 1 - MAX_SIGN_INS)
}
