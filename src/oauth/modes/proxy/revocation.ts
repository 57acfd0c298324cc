import { tokenOwner } from '../../../audit/token-owner.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { tokenKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import type { TokenRevoker } from '../mode.ts'
import type { IssuedTokens } from './issued-tokens.ts'
import type { RefreshFamilies } from './refresh-families.ts'
import type { RefreshTokenFormat } from './refresh-token-format.ts'

export interface ProxyRevocationOptions {
  format: Pick<RefreshTokenFormat, 'open'>
  families: Pick<RefreshFamilies, 'revoke'>
  issuedTokens: Pick<IssuedTokens, 'isIssuedTo'>
  revocations: Pick<Revocations, 'revoke'>
  upstream: Pick<TokenClient, 'revoke'>
}

/**
 * Revocation in proxy mode (RFC 7009 section 2.1): first here, where the token is good for nothing from then on, then
 * at the provider. A token that was not issued to this client goes no further.
 */
export function createProxyRevocation (options: ProxyRevocationOptions): TokenRevoker {
  const { format, families, issuedTokens, revocations, upstream } = options
  return {
    /** The hint is not needed: only refresh tokens can be opened. */
    async revoke (token, _hint, client) {
      const refreshToken = await format.open(token, client)
      if (refreshToken !== undefined) {
        await families.revoke(refreshToken, client, 'revoked by the client')
        return { grant: refreshToken.familyId }
      }
      if (!await issuedTokens.isIssuedTo(token, client.id)) return undefined
      await revocations.revoke([tokenKey(token)])
      await upstream.revoke(token, 'access_token')
      return tokenOwner(token)
    }
  }
}
