import { errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey, JWTVerifyResult } from 'jose'
import { OAuthError } from '../errors/oauth-error.ts'
import type { IdTokenOptions } from './id-token.ts'
import { expectedIssuer } from './issuer.ts'
import { KeyNotFoundError } from './key-set.ts'

/** The provider, and Seed as its client: OIDC_ISSUER, OIDC_TENANTS, OIDC_CLIENT_ID, OIDC_ALGORITHMS. */
export type LogoutTokenOptions = IdTokenOptions

/** At least one of `sub` and `sid` is there. */
export interface LogoutClaims {
  sub: string | undefined
  sid: string | undefined
  jti: string
}

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
export const MAX_LOGOUT_TOKEN_AGE_SECONDS = 300

/**
 * Validates a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6).
 *
 * @throws OAuthError invalid_request; ProviderUnavailableError (the provider's keys cannot be had now)
 */
export async function verifyLogoutToken (token: string, options: LogoutTokenOptions): Promise<LogoutClaims> {
  const { payload, protectedHeader } = await verifyJwt(token, options.getKey, {
    audience: options.clientId,
    algorithms: [...options.algorithms],
    clockTolerance: options.clockSkewSeconds,
    requiredClaims: ['iss', 'aud', 'iat', 'exp', 'jti', 'events'],
    maxTokenAge: MAX_LOGOUT_TOKEN_AGE_SECONDS
  })
  checkType(protectedHeader.typ)
  const { iss, nonce, events } = payload
  if (iss !== expectedIssuer(options, payload)) throw invalidLogoutToken('another issuer')
  if (!isObject(events) || !isObject(events[EVENT])) throw invalidLogoutToken('no logout event')
  if (nonce !== undefined) throw invalidLogoutToken('it has a nonce, so it is not a logout token')
  const [sub, sid, jti] = [readText(payload, 'sub'), readText(payload, 'sid'), readText(payload, 'jti')]
  if (sub === undefined && sid === undefined) throw invalidLogoutToken('neither sub nor sid')
  // Required above.
  return { sub, sid, jti: jti! }
}

/** Section 2.4 recommends logout+jwt. Some providers send JWT or no type; any other type is that of another token. */
function checkType (type: string | undefined): void {
  const name = type?.toLowerCase().replace(/^application\//, '')
  if (name === undefined || name === 'logout+jwt' || name === 'jwt') return
  throw invalidLogoutToken(`its typ is ${JSON.stringify(type).slice(0, 50)}`)
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readText (claims: JWTPayload, name: string): string | undefined {
  const value = claims[name]
  if (value === undefined || (typeof value === 'string' && value !== '')) return value
  throw invalidLogoutToken(`its ${name} is not a text`)
}

async function verifyJwt (
  token: string,
  getKey: JWTVerifyGetKey,
  options: Parameters<typeof jwtVerify>[2]
): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(token, getKey, options)
  } catch (err) {
    if (err instanceof errors.JOSEError || err instanceof KeyNotFoundError) throw invalidLogoutToken(err.message)
    throw err
  }
}

export function invalidLogoutToken (detail: string): OAuthError {
  return new OAuthError('invalid_request', 'The logout token is not acceptable', { detail })
}
