import { errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import { KeyNotFoundError } from '../../provider/key-set.ts'
import { expectedIssuer } from '../../provider/issuer.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { digest } from '../../crypto/hash.ts'

/** The provider says that somebody logged out (OpenID Connect Back-Channel Logout 1.0). */
export interface LogoutServices {
  store: Store
  issuer: string
  tenants: readonly string[]
  /** OIDC_CLIENT_ID: who the logout token is for. */
  clientId: string
  algorithms: readonly string[]
  clockSkewSeconds: number
  getKey: JWTVerifyGetKey
  /** Ends what this person, or only this session at the provider, has here. @returns how much, for the log */
  revokeFor: (who: { subject: string } | { sid: string }) => Promise<number>
}

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const MAX_AGE_SECONDS = 300

/**
 * @param logoutToken as posted
 * @returns for the log
 * @throws OAuthError invalid_request for what is no good logout token (section 2.8); StoreUnavailableError, ProviderUnavailableError
 */
export async function logOut (logoutToken: string | undefined, services: LogoutServices): Promise<{ subject: string | undefined, sid: string | undefined, ended: number }> {
  if (logoutToken === undefined) throw new OAuthError('invalid_request', 'logout_token is required')
  const claims = await verifyLogoutToken(logoutToken, services)
  const { sub: subject, sid, jti } = claims
  const lifeSeconds = MAX_AGE_SECONDS + 2 * services.clockSkewSeconds
  if (!await services.store.setIfAbsent(keys.assertion(digest(`logout:${jti}`)), '1', lifeSeconds)) throw refused('it was used before')
  // A session is less than the person: with a sid, the person's other sessions go on (section 2.7).
  const ended = await services.revokeFor(sid === undefined ? { subject: subject! } : { sid })
  return { subject, sid, ended }
}

/** Section 2.6. */
async function verifyLogoutToken (token: string, { getKey, clientId, algorithms, clockSkewSeconds, ...server }: LogoutServices): Promise<JWTPayload & { sid: string | undefined }> {
  const claims = await verifySignature(token, getKey, { audience: clientId, algorithms: [...algorithms], clockTolerance: clockSkewSeconds, requiredClaims: ['iss', 'aud', 'iat', 'jti', 'events'], maxTokenAge: MAX_AGE_SECONDS })
  const { sub, sid, nonce, events } = claims
  if (claims.iss === undefined || claims.iss !== expectedIssuer(server, claims)) throw refused('another issuer')
  if (typeof (events as Record<string, unknown> | null)?.[EVENT] !== 'object') throw refused('no logout event')
  if (nonce !== undefined) throw refused('it has a nonce, so it is no logout token')
  if (sub === undefined && typeof sid !== 'string') throw refused('neither sub nor sid')
  return { ...claims, sid: typeof sid === 'string' ? sid : undefined }
}

async function verifySignature (token: string, getKey: JWTVerifyGetKey, options: Parameters<typeof jwtVerify>[2]): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, getKey, options)
    return payload
  } catch (err) {
    if (err instanceof errors.JOSEError || err instanceof KeyNotFoundError) throw refused(err.message)
    throw err
  }
}

function refused (detail: string): OAuthError {
  return new OAuthError('invalid_request', 'The logout token is not acceptable', { detail })
}
