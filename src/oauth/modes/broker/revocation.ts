import type { MaybePromise } from '../../../async/maybe-async.ts'
import type { Principal } from '../../../tokens/principal.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import { TokenError } from '../../../tokens/token-error.ts'
import type { TokenRevoker } from '../mode.ts'
import { readRefreshToken } from './grants.ts'
import type { Grants } from './grants.ts'

/** Broker mode: either kind of token ends its grant, and with it everything that came from it (RFC 7009 section 2.1). */
export interface BrokerRevocationServices {
  grants: Grants
  verifyAccessToken: (token: string) => MaybePromise<Principal>
}

export function createBrokerRevocation ({ grants, verifyAccessToken }: BrokerRevocationServices): TokenRevoker {
  async function grantOf (token: string, clientId: string): Promise<string | undefined> {
    const refreshToken = readRefreshToken(token)
    if (refreshToken === undefined) return await grantOfAccessToken(token, clientId)
    const found = await grants.find(refreshToken.grantId)
    return found !== undefined && found.grant.clientId === clientId && grants.isGenuine(refreshToken, found.grant) ? found.grant.id : undefined
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
