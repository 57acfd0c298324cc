import type { MaybePromise } from '../../../async/maybe-async.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { AccessDeniedError } from '../../../errors/sign-in-errors.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import type { UpstreamTokens } from '../../../provider/token-response.ts'
import type { TokenResponse } from '../../../schemas/token.ts'
import { TokenError } from '../../../tokens/token-error.ts'

/** Verifies an access token as /mcp does. @throws TokenError, AccessDeniedError, ProviderUnavailableError */
export type VerifyAccessToken = (token: string) => MaybePromise<unknown>

/**
 * Makes the provider's tokens the response to the client. The ID token is left out: it is meant for Seed.
 *
 * An access token that /mcp would refuse is refused here, and the reason logged. Otherwise sign-in would succeed, the
 * next call would get 401, and the client would start again. A token that cannot be verified just now is passed on.
 *
 * @throws OAuthError
 */
export async function forwardTokens (
  tokens: UpstreamTokens, verifyAccessToken: VerifyAccessToken
): Promise<TokenResponse> {
  const { accessToken, refreshToken, expiresInSeconds, scope } = tokens
  try {
    await verifyAccessToken(accessToken)
  } catch (err) {
    if (!(err instanceof ProviderUnavailableError)) throw toOAuthError(err)
  }
  return {
    access_token: accessToken,
    token_type: 'Bearer',
    ...(expiresInSeconds !== undefined && { expires_in: expiresInSeconds }),
    ...(refreshToken !== undefined && { refresh_token: refreshToken }),
    ...(scope !== undefined && { scope })
  }
}

function toOAuthError (err: unknown): unknown {
  if (err instanceof AccessDeniedError) {
    const message = err.contact === undefined ? err.message : `${err.message}; ask ${err.contact}`
    return new OAuthError('access_denied', message, { statusCode: 403, detail: err.detail })
  }
  if (!(err instanceof TokenError)) return err
  const message = 'The identity provider issued an access token that this server cannot accept; ' +
    'its operator must check the provider settings'
  return new OAuthError('server_error', message, { detail: `${err.message}: ${err.detail}` })
}
