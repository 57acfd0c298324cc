/**
 * The bearer challenge (RFC 6750 section 3, RFC 9728 section 5.1). Values come from configuration and from fixed
 * texts; nothing of a request is ever put in.
 */
export interface ChallengeOptions {
  baseUrl: string
  /** What is needed now, all of it in one challenge. */
  scopes: readonly string[]
}

/**
 * @param error absent when no credential was sent (RFC 6750 section 3.1: then no error is named)
 * @returns the value of WWW-Authenticate
 */
export function bearerChallenge ({ baseUrl, scopes }: ChallengeOptions, error?: { code: 'invalid_request' | 'invalid_token' | 'insufficient_scope', description: string }): string {
  const parameters = {
    ...(error !== undefined && { error: error.code, error_description: error.description }),
    scope: scopes.join(' '),
    resource_metadata: `${baseUrl}/.well-known/oauth-protected-resource/mcp`
  }
  return `Bearer ${Object.entries(parameters).map(([name, value]) => `${name}="${value.replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, "'")}"`).join(', ')}`
}
