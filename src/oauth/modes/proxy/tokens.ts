import type { MaybePromise } from '../../../async/maybe-async.ts'
import { AccessDeniedError } from '../../../errors/sign-in-errors.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import { TokenError } from '../../../tokens/token-error.ts'
import type { TokenResponse } from '../../../schemas/token.ts'
import { checkRedirectUri } from '../../clients/clients.ts'
import type { Client } from '../../clients/clients.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { grantedScopes } from '../../protocol/scope.ts'
import type { TokenIssuer } from '../mode.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { UpstreamTokens } from '../../../provider/token-response.ts'

/** Proxy mode: the provider's own tokens, under Seed's roof. */
export interface ProxyTokenServices {
  upstream: Pick<TokenClient, 'requestTokens'>
  /** Judges an access token as /mcp would. @throws TokenError, AccessDeniedError, ProviderUnavailableError */
  verifyAccessToken: (token: string) => MaybePromise<unknown>
  /** OIDC_SCOPES */
  scopes: readonly string[]
  toolScopes: readonly string[]
  /** The scope to repeat at each refresh, for providers that need it. */
  upstreamScope: string | undefined
  redirectUriSchemes: readonly string[]
}

export function createProxyTokens (services: ProxyTokenServices): TokenIssuer {
  const { upstream, scopes, toolScopes, redirectUriSchemes } = services
  return {
    /** The provider made the code and binds it to redirect URI and challenge; the forms are checked here. */
    async redeemCode ({ code, redirectUri, codeVerifier }, client) {
      const tokens = await upstream.requestTokens('authorization_code', {
        code, redirect_uri: redirectUriOf(client, redirectUri, redirectUriSchemes), code_verifier: codeVerifier
      })
      return await usable(tokens, services)
    },

    /**
     * Whether the scopes asked for are within the grant is the provider's to say; scopes that nobody can have been
     * granted are refused. A provider that does not rotate sends no new refresh token: the client keeps its own.
     */
    async refresh ({ refreshToken, scope }) {
      if (scope !== undefined && !scope.split(' ').some((name) => scopes.includes(name) || toolScopes.includes(name))) {
        throw new OAuthError('invalid_scope', 'scope names nothing that was granted')
      }
      const asked = services.upstreamScope ?? (scope === undefined ? undefined : grantedScopes(scope, scopes, toolScopes).join(' '))
      const tokens = await upstream.requestTokens('refresh_token', { refresh_token: refreshToken, ...(asked !== undefined && { scope: asked }) })
      return await usable(tokens, services)
    }
  }
}

/** One that no code of this client can have been sent to is `invalid_grant` here (RFC 6749 section 5.2). */
function redirectUriOf (client: Client, given: string | undefined, schemes: readonly string[]): string {
  try {
    const redirectUri = checkRedirectUri(client, given, schemes)
    if (redirectUri === undefined) throw new OAuthError('invalid_request', 'redirect_uri is required')
    return redirectUri
  } catch (err) {
    const { code, message } = err as OAuthError
    throw new OAuthError(given === undefined && code === 'invalid_request' ? code : 'invalid_grant', message)
  }
}

/**
 * A token that /mcp would refuse is refused here, with the reason in the log: otherwise sign-in "succeeds", the next
 * call answers 401, and client and person go round in circles. When it cannot be judged now, it passes. The ID token
 * stays here: it is no business of the client's.
 */
async function usable ({ accessToken, refreshToken, expiresInSeconds, scope }: UpstreamTokens, { verifyAccessToken }: ProxyTokenServices): Promise<TokenResponse> {
  try {
    await verifyAccessToken(accessToken)
  } catch (err) {
    if (!(err instanceof ProviderUnavailableError)) throw unusable(err)
  }
  return {
    access_token: accessToken,
    token_type: 'Bearer',
    ...(expiresInSeconds !== undefined && { expires_in: expiresInSeconds }),
    ...(refreshToken !== undefined && { refresh_token: refreshToken }),
    ...(scope !== undefined && { scope })
  }
}

function unusable (err: unknown): unknown {
  if (err instanceof AccessDeniedError) {
    return new OAuthError('access_denied', err.contact === undefined ? err.message : `${err.message}; ask ${err.contact}`, { statusCode: 403, detail: err.detail })
  }
  if (!(err instanceof TokenError)) return err
  return new OAuthError('server_error', 'The identity provider issued an access token that this server cannot accept; its operator must check the provider settings', {
    detail: `${err.message}: ${err.detail}`
  })
}
