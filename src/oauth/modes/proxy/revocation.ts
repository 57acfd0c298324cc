import type { MaybePromise } from '../../../async/maybe-async.ts'
import { digest } from '../../../crypto/hash.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import { tokenKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import { TokenError } from '../../../tokens/token-error.ts'
import type { TokenRevoker } from '../mode.ts'

export interface ProxyRevocationOptions {
  revocations: Revocations
  upstream: Pick<TokenClient, 'revoke'>
  verifyAccessToken: (token: string) => MaybePromise<unknown>
}

/** Revocation in proxy mode: an access token is refused here from now on, and the provider revokes either kind. */
export function createProxyRevocation (
  { revocations, upstream, verifyAccessToken }: ProxyRevocationOptions
): TokenRevoker {
  /** Only a token that /mcp would accept is marked: otherwise anybody could fill the store with any strings. */
  async function isAccessToken (token: string): Promise<boolean> {
    try {
      await verifyAccessToken(token)
      return true
    } catch (err) {
      if (err instanceof TokenError || err instanceof ProviderUnavailableError) return false
      throw err
    }
  }

  return {
    async revoke (token, hint) {
      const revokedHere = await isAccessToken(token)
      if (revokedHere) await revocations.revoke([tokenKey(digest(token))])
      if (await upstream.revoke(token, hint) || revokedHere) return
      throw new OAuthError('unsupported_token_type', 'The identity provider cannot revoke refresh tokens', {
        detail: 'its discovery document has no revocation_endpoint'
      })
    }
  }
}
