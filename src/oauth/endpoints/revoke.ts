import type { RevokeBody } from '../../schemas/revoke.ts'
import { authenticateClient } from '../clients/authentication.ts'
import type { ClientAuthenticationServices } from '../clients/authentication.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import type { TokenRevoker } from '../modes/mode.ts'
import type { LimitClient } from '../clients/client-limit.ts'

/** The revocation endpoint (RFC 7009): what holds in both modes, then the mode's own way. */
export interface RevocationServices extends ClientAuthenticationServices {
  revoker: TokenRevoker
}

/** @param authorization the Authorization header, if any @throws OAuthError, StoreUnavailableError, ProviderUnavailableError */
export async function revokeToken (
  body: RevokeBody, authorization: string | undefined, services: RevocationServices, limitClient: LimitClient
): Promise<void> {
  if (body.token === undefined) throw new OAuthError('invalid_request', 'token is required')
  const client = await authenticateClient(body, authorization, services)
  await limitClient(client.id)
  const { token_type_hint: hint } = body
  await services.revoker.revoke(body.token, hint === 'refresh_token' || hint === 'access_token' ? hint : undefined, client)
}
