import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import type { IdTokenClaims } from '../../../provider/id-token.ts'
import { readGroups } from '../../../tokens/principal.ts'
import type { GroupOptions } from '../../../tokens/principal.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { UpstreamTokens } from '../../../provider/token-response.ts'

/** Who signed in, as the provider says: the ID token, and what its userinfo endpoint adds. */
export interface Identity {
  subject: string
  claims: Record<string, unknown>
  sid: string | undefined
}

export interface IdentityServices {
  upstream: Pick<TokenClient, 'userinfo'>
  /** @throws IdTokenError, ProviderUnavailableError */
  verifyIdToken: (token: string, expected?: { nonce: string, maxAgeSeconds: number | undefined }) => Promise<IdTokenClaims>
  log: { warn (fields: object, message: string): void }
}

/** Claims about the token rather than the person (OpenID Connect Core 1.0 section 2). */
const PROTOCOL_CLAIMS = ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', 'nonce', 'azp', 'at_hash', 'c_hash', 's_hash', 'auth_time', 'sid', 'acr', 'amr', 'typ', 'session_state']

/**
 * @param expected of the authorization request
 * @throws OAuthError when the answer holds no ID token; IdTokenError; ProviderUnavailableError
 */
export async function identify (tokens: UpstreamTokens, expected: { nonce: string, maxAgeSeconds: number | undefined }, services: IdentityServices): Promise<Identity> {
  if (tokens.idToken === undefined) {
    throw new OAuthError('server_error', 'The identity provider gave no usable answer', { detail: 'its token endpoint sent no ID token: openid must be among the scopes that the client may ask for' })
  }
  const claims = await services.verifyIdToken(tokens.idToken, expected)
  const more = await userinfo(tokens.accessToken, claims.sub, undefined, services)
  return { subject: claims.sub, claims: personal({ ...more, ...claims }), sid: typeof claims['sid'] === 'string' ? claims['sid'] : undefined }
}

/** The claims after a refresh; those that the provider no longer tells stay as they were only while it tells none at all, or its userinfo endpoint fails. */
export async function refreshIdentity (tokens: UpstreamTokens, subject: string, known: Record<string, unknown>, services: IdentityServices): Promise<Record<string, unknown>> {
  const claims = tokens.idToken === undefined ? undefined : await services.verifyIdToken(tokens.idToken)
  if (claims !== undefined && claims.sub !== subject) {
    throw new OAuthError('invalid_grant', 'The identity provider ended the sign-in: sign in again', { detail: 'the refreshed ID token is of another subject' })
  }
  const more = await userinfo(tokens.accessToken, subject, known, services)
  return claims === undefined && more === undefined ? known : personal({ ...(claims === undefined && known), ...more, ...claims })
}

/** OpenID Connect Core 1.0 section 5.4, and Google's `hd`, which belongs to the address. */
const CLAIMS_OF_SCOPES = new Map([
  ['profile', ['name', 'preferred_username']],
  ['email', ['email', 'email_verified', 'hd']]
])

/**
 * What access tokens say of the person: what the scope covers that was consented to. Groups are always told, under one
 * name whatever the provider calls them: they decide what the person may do here. So are claims that policies ask for.
 *
 * @param scope space-separated
 */
export function tokenIdentity (claims: Record<string, unknown>, scope: string, options: GroupOptions, policyClaims: readonly string[]): Record<string, unknown> {
  const groups = readGroups(claims, options)
  // Of a path such as `realm_access.roles` it is the first member that is told.
  const asked = policyClaims.flatMap((name) => [name, name.split('.')[0]!])
  const told = [...scope.split(' ').flatMap((name) => CLAIMS_OF_SCOPES.get(name) ?? []), ...asked].filter((name) => claims[name] !== undefined)
  return { ...Object.fromEntries(told.map((name) => [name, claims[name]])), ...(groups.length > 0 && { groups }) }
}

/**
 * A userinfo endpoint that fails does not end a sign-in: what rules then miss, they refuse. Nor does it end a grant: there
 * the claims are still `known`.
 */
async function userinfo (accessToken: string, subject: string, known: Record<string, unknown> | undefined, { upstream, log }: IdentityServices): Promise<Record<string, unknown> | undefined> {
  try {
    return await upstream.userinfo(accessToken, subject)
  } catch (err) {
    if (!(err instanceof OAuthError || err instanceof ProviderUnavailableError)) throw err
    log.warn({ reason: err instanceof OAuthError ? err.detail : err.message }, 'The userinfo endpoint could not be used; the ID token alone says who signed in')
    return known
  }
}

function personal (claims: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(claims).filter(([name]) => !PROTOCOL_CLAIMS.includes(name)))
}
