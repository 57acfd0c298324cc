import { OAuthError } from '../../errors/oauth-error.ts'

/**
 * The scopes a client is granted: those of its request that OIDC_SCOPES lists, all of OIDC_SCOPES when that leaves none
 * (RFC 6749 section 3.3), and always `openid`.
 *
 * @param requested space-separated
 * @param more scopes that are granted only to who asks for them: those that tools need
 */
export function grantedScopes (requested: string | undefined, configured: readonly string[], more: readonly string[] = []): string[] {
  const wanted = new Set(requested?.split(' '))
  const granted = [...configured, ...more].filter((scope) => wanted.has(scope))
  if (granted.length === 0) return [...configured]
  return [...new Set(['openid', ...granted])]
}

/**
 * The scopes of a refreshed access token (RFC 6749 section 6): the granted ones, or fewer.
 *
 * @param requested space-separated
 * @throws OAuthError invalid_scope for any that was not granted
 */
export function narrowScope (requested: string | undefined, granted: string): string {
  if (requested === undefined) return granted
  const within = granted.split(' ')
  const wanted = requested.split(' ').filter((scope) => scope !== '')
  if (wanted.length === 0 || wanted.some((scope) => !within.includes(scope))) throw new OAuthError('invalid_scope', 'scope must be within the scopes that were granted')
  return wanted.join(' ')
}

/** What a scope lets a client do, in words for the consent page. */
export function describeScope (scope: string): string {
  return WORDS.get(scope) ?? `Use the permission "${scope}"`
}

const WORDS = new Map([
  ['openid', 'Know who you are at this server'],
  ['profile', 'See your name'],
  ['email', 'See your e-mail address'],
  ['groups', 'See which groups you are in'],
  ['offline_access', 'Stay connected until you or your organisation end it']
])
