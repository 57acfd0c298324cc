import type { MaybePromise } from '../../../async/maybe-async.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { AccessDeniedError } from '../../../errors/sign-in-errors.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import type { UpstreamTokens } from '../../../provider/token-response.ts'
import type { TokenResponse } from '../../../schemas/token.ts'
import type { Principal } from '../../../tokens/principal.ts'
import { RevokedTokenError, TokenError } from '../../../tokens/token-error.ts'
import type { IssuedTokens } from './issued-tokens.ts'

/** Verifies an access token as /mcp does. @throws TokenError, AccessDeniedError, ProviderUnavailableError */
export type VerifyAccessToken = (token: string) => MaybePromise<Pick<Principal, 'expiresAt'>>

export interface ForwardTokensOptions {
  verifyAccessToken: VerifyAccessToken
  issuedTokens: Pick<IssuedTokens, 'add'>
  clockSkewSeconds: number
  /** TOKEN_MAX_LIFETIME_SECONDS */
  maxLifetimeSeconds: number
}

/** Makes the response to the client, without a refresh token. @throws OAuthError, StoreUnavailableError */
export type ForwardTokens = (tokens: UpstreamTokens, clientId: string) => Promise<TokenResponse>

/**
 * Makes the provider's tokens the response to the client. The ID token is left out: it is meant for Seed.
 *
 * An access token that /mcp would refuse is refused here, and the reason logged. Otherwise sign-in would succeed, the
 * next call would get 401, and the client would start again. A token that cannot be verified just now is passed on.
 */
export function createForwardTokens (options: ForwardTokensOptions): ForwardTokens {
  const { verifyAccessToken, issuedTokens, clockSkewSeconds, maxLifetimeSeconds } = options

  /** Returns the seconds until the token is refused everywhere. */
  async function checkAccessToken (token: string): Promise<number> {
    try {
      const { expiresAt } = await verifyAccessToken(token)
      return Math.max(1, Math.ceil(expiresAt - Date.now() / 1_000) + clockSkewSeconds)
    } catch (err) {
      if (err instanceof ProviderUnavailableError) return maxLifetimeSeconds + 2 * clockSkewSeconds
      throw toOAuthError(err)
    }
  }

  return async function forwardTokens ({ accessToken, expiresInSeconds, scope }, clientId) {
    await issuedTokens.add(accessToken, clientId, await checkAccessToken(accessToken))
    return {
      access_token: accessToken,
      token_type: 'Bearer',
      ...(expiresInSeconds !== undefined && { expires_in: expiresInSeconds }),
      ...(scope !== undefined && { scope })
    }
  }
}

function toOAuthError (err: unknown): unknown {
  if (err instanceof AccessDeniedError) {
    const message = err.contact === undefined ? err.message : `${err.message}; ask ${err.contact}`
    return new OAuthError('access_denied', message, { statusCode: 403, detail: err.detail, causeCode: err.causeCode })
  }
  if (!(err instanceof TokenError)) return err
  if (err instanceof RevokedTokenError) {
    return new OAuthError('invalid_grant', 'The sign-in was revoked: sign in again', {
      detail: err.message, causeCode: err.causeCode
    })
  }
  const message = 'The identity provider issued an access token that this server cannot accept; ' +
    'its operator must check the provider settings'
  return new OAuthError('server_error', message, {
    detail: `${err.message}: ${err.detail}`, causeCode: err.causeCode
  })
}
