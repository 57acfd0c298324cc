import { OAuthError } from '../../errors/oauth-error.ts'
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

/** The question or the sign-in is over: it took too long, or was answered or finished before. */
export class SignInExpiredError extends OAuthError {
  constructor (message: string, detail: string) {
    super('invalid_request', message, { detail })
  }
}

/** This browser is not the one that the question was asked in, or that allowed the sign-in (CVE-2026-27124). */
export class OtherBrowserError extends OAuthError {
  constructor (message: string, detail: string) {
    super('access_denied', message, { status: 403, detail })
  }
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
