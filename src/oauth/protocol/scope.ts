import { OAuthError } from '../../errors/oauth-error.ts'

/**
 * Returns the scopes to grant: the requested ones that Seed knows and `openid`, or all of the endpoint's scopes if the
 * request names none of them (RFC 6749 section 3.3).
 *
 * @param requested space-separated
 * @param configured the scopes of the endpoint, OIDC_SCOPES by default
 * @param onRequest further scopes, granted only if requested: OIDC_SCOPES, and those that tools need
 */
export function grantedScopes (
  requested: string | undefined,
  configured: readonly string[],
  onRequest: readonly string[] = []
): string[] {
  const wanted = new Set(requested?.split(' '))
  const granted = [...configured, ...onRequest].filter((scope) => wanted.has(scope))
  if (granted.length === 0) return [...new Set([...configured, 'openid'])]
  return [...new Set(['openid', ...granted])]
}

/**
 * Returns the scopes of a refreshed access token: the granted ones, or fewer (RFC 6749 section 6).
 *
 * @param requested space-separated
 * @throws OAuthError invalid_scope if one of them was not granted
 */
export function narrowScope (requested: string | undefined, granted: string): string {
  if (requested === undefined) return granted
  const available = granted.split(' ')
  const wanted = requested.split(' ').filter((scope) => scope !== '')
  if (wanted.length === 0 || wanted.some((scope) => !available.includes(scope))) {
    throw new OAuthError('invalid_scope', 'scope must be within the scopes that were granted', {
      causeCode: 'scope_refused'
    })
  }
  return wanted.join(' ')
}

/** Describes what a scope lets a client do, for the consent page. */
export function describeScope (scope: string): string {
  return DESCRIPTIONS.get(scope) ?? `Use the permission "${scope}"`
}

const DESCRIPTIONS = new Map([
  ['openid', 'Know who you are at this server'],
  ['profile', 'See your name'],
  ['email', 'See your e-mail address'],
  ['groups', 'See which groups you are in'],
  ['offline_access', 'Stay connected until you or your organisation end it']
])
