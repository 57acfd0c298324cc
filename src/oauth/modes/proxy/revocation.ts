import type { MaybePromise } from '../../../async/maybe-async.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import { TokenError } from '../../../tokens/token-error.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { TokenRevoker } from '../mode.ts'
import { tokenKey } from '../../../tokens/revocations.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import { digest } from '../../../crypto/hash.ts'
import type { TokenClient } from '../../../provider/token-client.ts'

/** Proxy mode: an access token is refused here from now on, and the provider is told of it, and of refresh tokens. */
export interface ProxyRevocationServices {
  revocations: Revocations
  upstream: Pick<TokenClient, 'revoke'>
  verifyAccessToken: (token: string) => MaybePromise<unknown>
}

export function createProxyRevocation ({ revocations, upstream, verifyAccessToken }: ProxyRevocationServices): TokenRevoker {
  /** Only what /mcp would take needs a mark: anything else would fill the store with strangers' strings. */
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
      const here = await isAccessToken(token)
      if (here) await revocations.revoke([tokenKey(digest(token))])
      if (!await upstream.revoke(token, hint) && !here) {
        throw new OAuthError('unsupported_token_type', 'The identity provider cannot revoke refresh tokens', { detail: 'its discovery document has no revocation_endpoint' })
      }
    }
  }
}
