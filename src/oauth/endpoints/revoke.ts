import { OAuthError } from '../../errors/oauth-error.ts'
import type { RevokeBody } from '../../schemas/revoke.ts'
import { authenticateClient } from '../clients/authentication.ts'
import type { ClientAuthenticationServices } from '../clients/authentication.ts'
import type { Client } from '../clients/clients.ts'
import type { Requester } from '../clients/requester.ts'
import type { RevokedToken, TokenRevoker } from '../modes/mode.ts'

export interface RevocationServices extends ClientAuthenticationServices {
  tokenRevoker: TokenRevoker
}

/**
 * The revocation endpoint (RFC 7009 section 2): the checks that both modes share, then the mode revokes the token.
 *
 * @param authorization the Authorization header, if any
 * @returns the client, and what ended
 * @throws OAuthError, LimitError, ProviderUnavailableError, StoreUnavailableError
 */
export async function revokeToken (
  body: RevokeBody,
  authorization: string | undefined,
  services: RevocationServices,
  requester: Requester
): Promise<{ client: Client, revoked: RevokedToken | undefined }> {
  if (body.token === undefined) throw new OAuthError('invalid_request', 'token is required')
  const client = await authenticateClient({ body, authorization, bound: true }, services, requester)
  return { client, revoked: await services.tokenRevoker.revoke(body.token, readHint(body), client) }
}

/** A hint that Seed does not know is ignored (RFC 7009 section 2.1). */
function readHint ({ token_type_hint: hint }: RevokeBody): 'refresh_token' | 'access_token' | undefined {
  return hint === 'refresh_token' || hint === 'access_token' ? hint : undefined
}
