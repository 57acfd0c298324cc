import { OAuthError } from '../../../errors/oauth-error.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { TraceStep } from '../../../trace/step.ts'
import { checkRedirectUri } from '../../clients/clients.ts'
import type { Client } from '../../clients/clients.ts'
import type { TokenIssuer } from '../mode.ts'
import type { Approvals } from './approvals.ts'
import type { ForwardTokens } from './forward-tokens.ts'
import type { RefreshFamilies } from './refresh-families.ts'

export interface AuthorizationCodeGrantOptions {
  approvals: Pick<Approvals, 'take' | 'giveBack' | 'complete'>
  upstream: Pick<TokenClient, 'requestTokens'>
  forwardTokens: ForwardTokens
  families: Pick<RefreshFamilies, 'create'>
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

/**
 * `authorization_code` (OAuth 2.1 section 4.1.3). The code is the provider's; nothing is sent there unless the verifier
 * belongs to a sign-in that a person has allowed here for this client and redirect URI.
 */
export function createAuthorizationCodeGrant (
  { approvals, upstream, forwardTokens, families, redirectUriSchemes }: AuthorizationCodeGrantOptions
): TokenIssuer['authorizationCode'] {
  return async function redeemCode (
    { code, redirectUri: requested, codeVerifier }, client, step = new TraceStep('token', '')
  ) {
    const redirectUri = requireRedirectUri(client, requested, redirectUriSchemes)
    const approval = await approvals.take(codeVerifier, client.id, redirectUri, step)
    const parameters = { code, redirect_uri: redirectUri, code_verifier: codeVerifier }
    const tokens = await step.timeProvider('The token endpoint', async () =>
      await upstream.requestTokens('authorization_code', parameters)).catch(async (err: unknown) => {
      if (isUnanswered(err)) await approvals.giveBack(codeVerifier, approval)
      throw err
    })
    await approvals.complete(approval)
    const response = await forwardTokens(tokens, client.id)
    if (tokens.refreshToken === undefined) return response
    const refreshToken = await families.create(tokens.refreshToken, client, approval.scope, tokens.accessToken)
    return { ...response, refresh_token: refreshToken }
  }
}

/** Whether the provider has not answered, so that the code is still good. */
function isUnanswered (err: unknown): boolean {
  return err instanceof ProviderUnavailableError ||
    (err instanceof OAuthError && err.code === 'temporarily_unavailable')
}

/** A redirect URI that this client cannot have used means `invalid_grant` (RFC 6749 section 5.2). */
function requireRedirectUri (client: Client, requested: string | undefined, schemes: readonly string[]): string {
  try {
    const redirectUri = checkRedirectUri(client, requested, schemes)
    if (redirectUri === undefined) throw new OAuthError('invalid_request', 'redirect_uri is required')
    return redirectUri
  } catch (err) {
    const { code, message, causeCode } = err as OAuthError
    const isMissing = requested === undefined && code === 'invalid_request'
    throw new OAuthError(isMissing ? code : 'invalid_grant', message, { causeCode })
  }
}
