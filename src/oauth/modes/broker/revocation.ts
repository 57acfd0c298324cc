import type { MaybePromise } from '../../../async/maybe-async.ts'
import type { Principal } from '../../../tokens/principal.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import { TokenError } from '../../../tokens/token-error.ts'
import type { TokenRevoker } from '../mode.ts'
import { isSameClient } from './grant.ts'
import type { GrantClient } from './grant.ts'
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

  /**
   * A client with a key or a secret must have authenticated with it (RFC 7009 section 2.1).
   * @returns the person of the grant; undefined if it has ended
   */
  async function checkClient (grantId: string, client: GrantClient): Promise<string | undefined> {
    const stored = await grants.find(grantId)
    if (stored === undefined || isSameClient(stored.grant, client)) return stored?.grant.subject
    throw new OAuthError('invalid_client', 'This token belongs to a client that authenticates in another way', {
      detail: `its client was ${stored.grant.clientKind} and authenticated with ${stored.grant.clientAuthMethod}`
    })
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
      if (grantId === undefined) return undefined
      const subject = await checkClient(grantId, client)
      await grants.revoke(grantId, 'revoked by the client')
      return { grant: grantId, ...(subject !== undefined && { subject }) }
    }
  }
}
