import type { RevokeBody } from '../../schemas/revoke.ts'
import { authenticateClient } from '../clients/authentication.ts'
import type { ClientAuthenticationServices } from '../clients/authentication.ts'
import type { Client } from '../clients/clients.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { countClient } from '../../limits/rate-limit.ts'
import type { ClientLimit } from '../../limits/rate-limit.ts'

/** The revocation endpoint (RFC 7009): what holds in both modes, then the mode's own way. */
export interface RevocationServices extends ClientAuthenticationServices, ClientLimit {
  revoker: TokenRevoker
}

export interface TokenRevoker {
  /**
   * Ends what the token stands for, if it is this client's; a token that is unknown, or another client's, is no error
   * (RFC 7009 section 2.2) and nothing happens.
   * @throws OAuthError, StoreUnavailableError, ProviderUnavailableError when it could not be done now
   */
  revoke (token: string, hint: 'refresh_token' | 'access_token' | undefined, client: Client): Promise<void>
}

/** @param authorization the Authorization header, if any @throws OAuthError, StoreUnavailableError, ProviderUnavailableError */
export async function revokeToken (body: RevokeBody, authorization: string | undefined, services: RevocationServices): Promise<void> {
  if (body.token === undefined) throw new OAuthError('invalid_request', 'token is required')
  const client = await authenticateClient(body, authorization, services)
  await countClient('revoke', client.id, services)
  const { token_type_hint: hint } = body
  await services.revoker.revoke(body.token, hint === 'refresh_token' || hint === 'access_token' ? hint : undefined, client)
}
