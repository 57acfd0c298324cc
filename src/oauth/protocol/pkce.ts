import { createHash, randomBytes } from 'node:crypto'
import { OAuthError } from '../../errors/oauth-error.ts'

/**
 * Checks PKCE at the authorization endpoint: S256 only, for every client (RFC 7636 section 4.3, OAuth 2.1
 * section 4.1.1). A missing method would mean `plain`, so it is refused too.
 */
export function checkCodeChallenge (challenge: string | undefined, method: string | undefined): void {
  if (challenge === undefined) throw invalidPkce('code_challenge is required (PKCE)')
  if (method !== 'S256') throw invalidPkce('code_challenge_method must be S256')
  if (!/^[\w-]{43}$/.test(challenge)) {
    throw invalidPkce('code_challenge must be 43 base64url characters')
  }
}

/** Checks PKCE at the token endpoint: alphabet and length of the verifier (RFC 7636 section 4.1). */
export function checkCodeVerifier (verifier: string | undefined): asserts verifier is string {
  if (verifier === undefined) throw invalidPkce('code_verifier is required (PKCE)')
  if (!/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) {
    throw invalidPkce('code_verifier must be 43 to 128 unreserved characters')
  }
}

function invalidPkce (message: string): OAuthError {
  return new OAuthError('invalid_request', message, { causeCode: 'pkce_missing' })
}

/** Returns a challenge without a known verifier, for an authorization that must never be completed. */
export function throwawayChallenge (): string {
  return createHash('sha256').update(randomBytes(32)).digest('base64url')
}
