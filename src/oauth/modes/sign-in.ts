import type { Client } from '../clients/clients.ts'

/** A checked authorization request: what the person is asked to consent to, and what happens then. */
export interface AuthorizationRequest {
  client: Pick<Client, 'id' | 'kind' | 'name' | 'refreshes'>
  redirectUri: string
  state: string | undefined
  codeChallenge: string
  /** The scopes that the client is granted. */
  scopes: readonly string[]
  nonce: string | undefined
  /** As requested, without `none`; space-separated. */
  prompt: string | undefined
  /** Seconds, in digits. */
  maxAge: string | undefined
  loginHint: string | undefined
}

/** What a mode does once a person has consented. */
export interface SignIn {
  /** Where the browser goes now, and the cookie it must bring back from there, if any. */
  start (request: AuthorizationRequest): Promise<{ location: URL, cookie?: SignInCookie }>
  /** The provider's address for a request that names no redirect URI: whoever goes there comes back to nothing. */
  probeUrl (scopes: readonly string[]): URL
}

/** Says that this browser is the one that consented. */
export interface SignInCookie {
  name: string
  value: string
  maxAgeSeconds: number
}
