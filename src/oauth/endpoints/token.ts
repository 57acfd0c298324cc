import type { TokenBody, TokenResponse } from '../../schemas/token.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import { authenticateClient } from '../clients/authentication.ts'
import type { ClientAuthenticationServices } from '../clients/authentication.ts'
import type { Client } from '../clients/clients.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import type { CodeRequest, RefreshRequest, TokenIssuer } from '../modes/mode.ts'
import { checkCodeVerifier } from '../protocol/pkce.ts'
import type { LimitClient } from '../clients/client-limit.ts'
import { checkResource } from '../protocol/resource-indicator.ts'

/** The token endpoint (RFC 6749 section 3.2): what holds in both modes, then the mode's own way to tokens. */
export interface TokenServices extends ClientAuthenticationServices {
  issuer: TokenIssuer
  resource: string
}

/**
 * @param authorization the Authorization header, if any
 * @throws OAuthError, ProviderUnavailableError, StoreUnavailableError
 */
export async function issueTokens (
  body: TokenBody, authorization: string | undefined, services: TokenServices, limitClient: LimitClient
): Promise<TokenResponse> {
  checkGrantType(body)
  const client = await authenticateClient(body, authorization, services)
  await limitClient(client.id)
  checkResource(body.resource, services.resource)
  const tokens = body.grant_type === 'authorization_code'
    ? await services.issuer.redeemCode(readCodeRequest(body), client)
    : await services.issuer.refresh(readRefreshRequest(body), client)
  await keepRegistration(client, services)
  return tokens
}

/** Should the store be gone just now, the client keeps its tokens: they are given already. */
async function keepRegistration (client: Client, { clients }: TokenServices): Promise<void> {
  try {
    await clients.keepAlive(client)
  } catch (err) {
    if (!(err instanceof StoreUnavailableError)) throw err
  }
}

function checkGrantType ({ grant_type: type }: TokenBody): void {
  if (type !== 'authorization_code' && type !== 'refresh_token') {
    throw new OAuthError('unsupported_grant_type', 'grant_type must be authorization_code or refresh_token')
  }
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
