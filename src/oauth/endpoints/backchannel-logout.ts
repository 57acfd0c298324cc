import { errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
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

/** The person or session that logged out, and how many grants or tokens were revoked, for the log. */
export interface LogoutResult {
  subject: string | undefined
  sid: string | undefined
  revoked: number
}

interface LogoutClaims extends JWTPayload {
  sid: string | undefined
}

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const MAX_AGE_SECONDS = 300

/**
 * The back-channel logout endpoint: the provider reports that a person or one of their sessions logged out
 * (OpenID Connect Back-Channel Logout 1.0).
 *
 * @throws OAuthError invalid_request for an invalid logout token (section 2.8); ProviderUnavailableError,
 *   StoreUnavailableError
 */
export async function logOut (logoutToken: string | undefined, services: LogoutServices): Promise<LogoutResult> {
  if (logoutToken === undefined) throw new OAuthError('invalid_request', 'logout_token is required')
  const { sub: subject, sid, jti } = await verifyLogoutToken(logoutToken, services)
  const lifeSeconds = MAX_AGE_SECONDS + 2 * services.clockSkewSeconds
  if (!await services.store.setIfAbsent(keys.assertion(digest(`logout:${jti}`)), '1', lifeSeconds)) {
    throw invalidLogoutToken('it was used before')
  }
  // With a sid only that session ends, not the person's other ones (section 2.7).
  const revoked = await services.revokeFor(sid === undefined ? { subject: subject! } : { sid })
  return { subject, sid, revoked }
}

/** Section 2.6. */
async function verifyLogoutToken (token: string, services: LogoutServices): Promise<LogoutClaims> {
  const { oidc, clockSkewSeconds, getKey } = services
  const claims = await verifyJwt(token, getKey, {
    audience: oidc.clientId,
    algorithms: [...oidc.algorithms],
    clockTolerance: clockSkewSeconds,
    requiredClaims: ['iss', 'aud', 'iat', 'jti', 'events'],
    maxTokenAge: MAX_AGE_SECONDS
  })
  const { iss, sub, sid, nonce, events } = claims
  if (iss === undefined || iss !== expectedIssuer(oidc, claims)) throw invalidLogoutToken('another issuer')
  if (typeof (events as Record<string, unknown> | null)?.[EVENT] !== 'object') {
    throw invalidLogoutToken('no logout event')
  }
  if (nonce !== undefined) throw invalidLogoutToken('it has a nonce, so it is not a logout token')
  if (sub === undefined && typeof sid !== 'string') throw invalidLogoutToken('neither sub nor sid')
  return { ...claims, sid: typeof sid === 'string' ? sid : undefined }
}

async function verifyJwt (
  token: string,
  getKey: JWTVerifyGetKey,
  options: Parameters<typeof jwtVerify>[2]
): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, getKey, options)
    return payload
  } catch (err) {
    if (err instanceof errors.JOSEError || err instanceof KeyNotFoundError) throw invalidLogoutToken(err.message)
    throw err
  }
}

function invalidLogoutToken (detail: string): OAuthError {
  return new OAuthError('invalid_request', 'The logout token is not acceptable', { detail })
}
