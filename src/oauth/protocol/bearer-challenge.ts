import type { ChallengeCode, DemandedAuthentication } from '../../errors/bearer-error.ts'
import { toDescription } from './error-description.ts'

export interface ChallengeOptions {
  /** The URL of the protected resource metadata (RFC 9728 section 3.1). */
  resourceMetadata: string
  /** Every scope that the request needs, in one challenge. */
  scopes: readonly string[]
}

export interface ChallengeError {
  code: ChallengeCode
  description: string
  /** For `insufficient_user_authentication` (RFC 9470 section 3). */
  authentication?: DemandedAuthentication | undefined
}

/**
 * Returns the value of WWW-Authenticate (RFC 6750 section 3, RFC 9470 section 3, RFC 9728 section 5.1). All values
 * come from the configuration, from definitions and from fixed texts, never from a request.
 *
 * @param error absent if the request had no credential (RFC 6750 section 3.1)
 */
export function bearerChallenge ({ resourceMetadata, scopes }: ChallengeOptions, error?: ChallengeError): string {
  const { maxAge, acr } = error?.authentication ?? {}
  const parameters = {
    ...(error !== undefined && { error: error.code, error_description: error.description }),
    ...(maxAge !== undefined && { max_age: String(maxAge) }),
    ...(acr !== undefined && { acr_values: acr.join(' ') }),
    scope: scopes.join(' '),
    resource_metadata: resourceMetadata
  }
  return `Bearer ${Object.entries(parameters).map(([name, value]) => `${name}="${toDescription(value)}"`).join(', ')}`
}
