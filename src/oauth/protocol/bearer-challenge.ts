import { toDescription } from './error-description.ts'

export interface ChallengeOptions {
  baseUrl: string
  /** Every scope that the request needs, in one challenge. */
  scopes: readonly string[]
}

export interface ChallengeError {
  code: 'invalid_request' | 'invalid_token' | 'insufficient_scope'
  description: string
}

/**
 * Returns the value of WWW-Authenticate (RFC 6750 section 3, RFC 9728 section 5.1). All values come from the
 * configuration and from fixed texts, never from a request.
 *
 * @param error absent if the request had no credential (RFC 6750 section 3.1)
 */
export function bearerChallenge ({ baseUrl, scopes }: ChallengeOptions, error?: ChallengeError): string {
  const parameters = {
    ...(error !== undefined && { error: error.code, error_description: error.description }),
    scope: scopes.join(' '),
    resource_metadata: `${baseUrl}/.well-known/oauth-protected-resource/mcp`
  }
  return `Bearer ${Object.entries(parameters).map(([name, value]) => `${name}="${toDescription(value)}"`).join(', ')}`
}
