import { digest } from '../../crypto/hash.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { MAX_LOGOUT_TOKEN_AGE_SECONDS, invalidLogoutToken, verifyLogoutToken } from '../../provider/logout-token.ts'
import type { LogoutTokenOptions } from '../../provider/logout-token.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { Mode } from '../modes/mode.ts'

export interface LogoutServices extends Pick<Mode, 'revokeFor'> {
  store: Store
  logoutTokens: LogoutTokenOptions
}

/** The person or session that logged out, and how many grants ended, for the log (Mode.revokeFor). */
export interface LogoutResult {
  subject: string | undefined
  sid: string | undefined
  revoked: number | undefined
}

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
  const { sub: subject, sid, jti } = await verifyLogoutToken(logoutToken, services.logoutTokens)
  const used = keys.assertion(digest(`logout:${jti}`))
  if (await services.store.get(used) !== undefined) throw invalidLogoutToken('it was used before')
  // With a sid only that session ends, not the person's other ones (section 2.7).
  const revoked = await services.revokeFor(sid === undefined ? { subject: subject! } : { sid, subject })
  const ttlSeconds = MAX_LOGOUT_TOKEN_AGE_SECONDS + 2 * services.logoutTokens.clockSkewSeconds
  await services.store.set(used, '1', ttlSeconds, { evenIfFull: true })
  return { subject, sid, revoked }
}
