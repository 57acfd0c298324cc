import { OAuthError } from '../../errors/oauth-error.ts'
import type { TokenBody, TokenResponse } from '../../schemas/token.ts'
import { ignoreOutage } from '../../store/store.ts'
import type { TraceStep } from '../../trace/step.ts'
import { authenticateClient } from '../clients/authentication.ts'
import type { ClientAuthenticationServices } from '../clients/authentication.ts'
import type { Client } from '../clients/clients.ts'
import type { Requester } from '../clients/requester.ts'
import type { CodeRequest, RefreshRequest, TokenIssuer } from '../modes/mode.ts'
import { checkCodeVerifier } from '../protocol/pkce.ts'
import { checkResource } from '../protocol/resource-indicator.ts'

export interface TokenServices extends ClientAuthenticationServices {
  tokenIssuer: TokenIssuer
  resource: string
}

type GrantType = (
  body: TokenBody, client: Client, issuer: TokenIssuer, step: TraceStep
) => Promise<TokenResponse>

const GRANT_TYPES = new Map<string, GrantType>([
  ['authorization_code', (body, client, issuer, step) =>
    issuer.authorizationCode(readCodeRequest(body), client, step)],
  ['refresh_token', (body, client, issuer, step) =>
    issuer.refreshToken(readRefreshRequest(body), client, step)]
])

/**
 * The token endpoint (RFC 6749 section 3.2): the checks that both modes share, then the mode issues the tokens.
 *
 * @param authorization the Authorization header, if any
 * @throws OAuthError, LimitError, ProviderUnavailableError, StoreUnavailableError
 */
export async function issueTokens (
  body: TokenBody,
  authorization: string | undefined,
  services: TokenServices,
  requester: Requester
): Promise<{ tokens: TokenResponse, client: Client }> {
  const grantType = GRANT_TYPES.get(body.grant_type)
  if (grantType === undefined) {
    throw new OAuthError('unsupported_grant_type', 'grant_type must be authorization_code or refresh_token')
  }
  const bound = body.grant_type === 'refresh_token'
  const { step } = requester
  if (bound) step.name = 'refresh'
  step.note({ 'client id': body.client_id, resource: body.resource })
  const client = await authenticateClient({ body, authorization, bound }, services, requester)
  checkResource(body.resource, services.resource)
  const tokens = await grantType(body, client, services.tokenIssuer, step)
  step.outcome = 'The application got its tokens'
  await services.clients.keepRecord(client).catch(ignoreOutage)
  return { tokens, client }
}

/** RFC 6749 section 4.1.3, RFC 7636 section 4.5. */
function readCodeRequest ({ code, redirect_uri: redirectUri, code_verifier: codeVerifier }: TokenBody): CodeRequest {
  if (code === undefined) throw new OAuthError('invalid_request', 'code is required')
  checkCodeVerifier(codeVerifier)
  return { code, redirectUri, codeVerifier }
}

/** RFC 6749 section 6. */
function readRefreshRequest ({ refresh_token: refreshToken, scope }: TokenBody): RefreshRequest {
  if (refreshToken === undefined) throw new OAuthError('invalid_request', 'refresh_token is required')
  return { refreshToken, scope }
}
