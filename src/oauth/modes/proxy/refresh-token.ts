import { OAuthError } from '../../../errors/oauth-error.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { grantedScopes } from '../../protocol/scope.ts'
import type { TokenIssuer } from '../mode.ts'
import { forwardTokens } from './forward-tokens.ts'
import type { VerifyAccessToken } from './forward-tokens.ts'

export interface RefreshTokenGrantOptions {
  upstream: Pick<TokenClient, 'requestTokens'>
  verifyAccessToken: VerifyAccessToken
  /** OIDC_SCOPES */
  scopes: readonly string[]
  toolScopes: readonly string[]
  /** The scopes to repeat at each refresh, for providers that need it. */
  alwaysScopes: readonly string[] | undefined
}

/**
 * `refresh_token` (OAuth 2.1 section 4.3): the refresh token is the provider's. A provider that does not rotate sends
 * no new one, and the client keeps the one that it has.
 */
export function createRefreshTokenGrant (options: RefreshTokenGrantOptions): TokenIssuer['refreshToken'] {
  const { upstream, verifyAccessToken } = options
  return async function refresh ({ refreshToken, scope: requested }) {
    const scopes = upstreamScopes(requested, options)
    const tokens = await upstream.requestTokens('refresh_token', {
      refresh_token: refreshToken, ...(scopes !== undefined && { scope: scopes.join(' ') })
    })
    return await forwardTokens(tokens, verifyAccessToken)
  }
}

/** Scopes that nobody can have been granted are refused; whether the others were granted, the provider decides. */
function upstreamScopes (
  requested: string | undefined, { scopes, toolScopes, alwaysScopes }: RefreshTokenGrantOptions
): readonly string[] | undefined {
  if (requested === undefined) return alwaysScopes
  if (!requested.split(' ').some((name) => scopes.includes(name) || toolScopes.includes(name))) {
    throw new OAuthError('invalid_scope', 'scope names nothing that was granted')
  }
  return alwaysScopes ?? grantedScopes(requested, scopes, toolScopes)
}
