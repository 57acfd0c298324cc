import { OAuthError } from '../../../errors/oauth-error.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { checkRedirectUri } from '../../clients/clients.ts'
import type { Client } from '../../clients/clients.ts'
import type { TokenIssuer } from '../mode.ts'
import { forwardTokens } from './forward-tokens.ts'
import type { VerifyAccessToken } from './forward-tokens.ts'

export interface AuthorizationCodeGrantOptions {
  upstream: Pick<TokenClient, 'requestTokens'>
  verifyAccessToken: VerifyAccessToken
  redirectUriSchemes: readonly string[]
}

/**
 * `authorization_code` (OAuth 2.1 section 4.1.3): the code is the provider's, which has bound it to redirect URI and
 * challenge.
 */
export function createAuthorizationCodeGrant (
  { upstream, verifyAccessToken, redirectUriSchemes }: AuthorizationCodeGrantOptions
): TokenIssuer['authorizationCode'] {
  return async function redeemCode ({ code, redirectUri, codeVerifier }, client) {
    const tokens = await upstream.requestTokens('authorization_code', {
      code, redirect_uri: requireRedirectUri(client, redirectUri, redirectUriSchemes), code_verifier: codeVerifier
    })
    return await forwardTokens(tokens, verifyAccessToken)
  }
}

/** A redirect URI that this client cannot have used means `invalid_grant` (RFC 6749 section 5.2). */
function requireRedirectUri (client: Client, requested: string | undefined, schemes: readonly string[]): string {
  try {
    const redirectUri = checkRedirectUri(client, requested, schemes)
    if (redirectUri === undefined) throw new OAuthError('invalid_request', 'redirect_uri is required')
    return redirectUri
  } catch (err) {
    const { code, message } = err as OAuthError
    const isMissing = requested === undefined && code === 'invalid_request'
    throw new OAuthError(isMissing ? code : 'invalid_grant', message)
  }
}
