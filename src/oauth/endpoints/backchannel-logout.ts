import { errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey, JWTVerifyResult } from 'jose'
import { digest } from '../../crypto/hash.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { expectedIssuer } from '../../provider/issuer.ts'
import { KeyNotFoundError } from '../../provider/key-set.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { Mode } from '../modes/mode.ts'

export interface LogoutServices extends Pick<Mode, 'revokeFor'> {
  store: Store
  /** The provider, and Seed as its client: OIDC_ISSUER, OIDC_TENANTS, OIDC_CLIENT_ID, OIDC_ALGORITHMS. */
  oidc: { issuer: string, tenants: readonly string[], clientId: string, algorithms: readonly string[] }
  clockSkewSeconds: number
  /** Finds the provider's key for a token. */
  getKey: JWTVerifyGetKey
}

/** The person or session that logged out, and how many grants ended, for the log (Mode.revokeFor). */
export interface LogoutResult {
  subject: string | undefined
  sid: string | undefined
  revoked: number | undefined
}

interface LogoutClaims {
  sub: string | undefined
  sid: string | undefined
  jti: string
}

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const MAX_AGE_SECONDS = 300

/**
 * The back-channel logout endpoint: the provider reports that a person or one of their sessions logged out
 * (OpenID Connect Back-Channel Logout 1.0).
 *
 * The token is marked as used once everything has ended. Revoking is idempotent, so after a failure half-way the
 * provider, or an operator, can send the same token again.
 *
 * @param limitRefused counts a token that is refused; valid ones are not limited, because all of them come from the
 *   provider's address, and most providers do not repeat one that was refused
 * @throws OAuthError invalid_request for an invalid logout token (section 2.8); LimitError, ProviderUnavailableError,
 *   StoreUnavailableError
 */
export async function logOut (
  logoutToken: string | undefined, services: LogoutServices, limitRefused: () => Promise<void>
): Promise<LogoutResult> {
  try {
    return await logOutWith(logoutToken, services)
  } catch (err) {
    if (err instanceof OAuthError) await limitRefused()
    throw err
  }
}

async function logOutWith (logoutToken: string | undefined, services: LogoutServices): Promise<LogoutResult> {
  if (logoutToken === undefined) throw new OAuthError('invalid_request', 'logout_token is required')
  const { sub: subject, sid, jti } = await verifyLogoutToken(logoutToken, services)
  const used = keys.assertion(digest(`logout:${jti}`))
  if (await services.store.get(used) !== undefined) throw invalidLogoutToken('it was used before')
  // With a sid only that session ends, not the person's other ones (section 2.7).
  const revoked = await services.revokeFor(sid === undefined ? { subject: subject! } : { sid, subject })
  await services.store.set(used, '1', MAX_AGE_SECONDS + 2 * services.clockSkewSeconds)
  return { subject, sid, revoked }
}

/** Section 2.6. */
async function verifyLogoutToken (token: string, services: LogoutServices): Promise<LogoutClaims> {
  const { oidc, clockSkewSeconds, getKey } = services
  const { payload, protectedHeader } = await verifyJwt(token, getKey, {
    audience: oidc.clientId,
    algorithms: [...oidc.algorithms],
    clockTolerance: clockSkewSeconds,
    requiredClaims: ['iss', 'aud', 'iat', 'exp', 'jti', 'events'],
    maxTokenAge: MAX_AGE_SECONDS
  })
  checkType(protectedHeader.typ)
  const { iss, nonce, events } = payload
  if (iss !== expectedIssuer(oidc, payload)) throw invalidLogoutToken('another issuer')
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

function invalidLogoutToken (detail: string): OAuthError {
  return new OAuthError('invalid_request', 'The logout token is not acceptable', { detail })
}
