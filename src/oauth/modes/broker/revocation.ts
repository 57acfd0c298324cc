import type { MaybePromise } from '../../../async/maybe-async.ts'
import type { Principal } from '../../../tokens/principal.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import { TokenError } from '../../../tokens/token-error.ts'
import type { TokenRevoker } from '../mode.ts'
import type { Grants } from './grants.ts'
import { parseRefreshToken } from './refresh-token-format.ts'

export interface BrokerRevocationOptions {
  grants: Grants
  verifyAccessToken: (token: string) => MaybePromise<Principal>
}

/** Revocation in broker mode: either kind of token ends its grant, and all tokens with it (RFC 7009 section 2.1). */
export function createBrokerRevocation ({ grants, verifyAccessToken }: BrokerRevocationOptions): TokenRevoker {
  async function grantOf (token: string, clientId: string): Promise<string | undefined> {
    const refreshToken = parseRefreshToken(token)
    if (refreshToken === undefined) return await grantOfAccessToken(token, clientId)
    const stored = await grants.find(refreshToken.grantId)
    if (stored?.grant.clientId !== clientId || !grants.isGenuine(refreshToken, stored.grant)) return undefined
    return stored.grant.id
  }

  async function grantOfAccessToken (token: string, clientId: string): Promise<string | undefined> {
    try {
      const principal = await verifyAccessToken(token)
      return principal.clientId === clientId ? String(principal.claims['grant']) : undefined
    } catch (err) {
      if (err instanceof TokenError || err instanceof ProviderUnavailableError) return undefined
      throw err
    }
  }

  return {
    /** The hint is not needed: the two kinds look different. */
    async revoke (token, _hint, client) {
      const grantId = await grantOf(token, client.id)
      if (grantId !== undefined) await grants.revoke(grantId, 'revoked by the client')
    }
  }
}
