import type { AuthorizationRequest } from './authorization.ts'

/** What a mode does once a person has consented. */
export interface SignIn {
  /** Where the browser goes now, and the cookie it must bring back from there, if any. */
  begin (request: AuthorizationRequest): Promise<{ location: URL, cookie?: SignInCookie }>
  /** The provider's address for a request that names no redirect URI: whoever goes there comes back to nothing. */
  probe (scopes: readonly string[]): URL
}

/** Says that this browser is the one that consented. */
export interface SignInCookie {
  name: string
  value: string
  maxAgeSeconds: number
}

/**
 * A sign-in ends on a page of Seed's own, for a person to read.
 */
export class SignInError extends Error {
  override readonly name = 'SignInError'
  /** What happened: OAuthError, AccessDeniedError, IdTokenError, ProviderUnavailableError. */
  override readonly cause: Error
  /** Back to the application, with the error in OAuth's form. */
  readonly returnTo: URL

  constructor (cause: Error, returnTo: URL) {
    super(cause.message, { cause })
    this.cause = cause
    this.returnTo = returnTo
  }
}
