import type { TokenResponse } from '../../../schemas/token.ts'
import type { GroupOptions } from '../../../tokens/principal.ts'
import type { Client } from '../../clients/clients.ts'
import { narrowScope } from '../../protocol/scope.ts'
import type { TokenIssuer } from '../mode.ts'
import { issueAccessToken } from '../../../tokens/issue.ts'
import type { AccessTokenOptions } from '../../../tokens/issue.ts'
import type { AuthorizationCodes } from './authorization-codes.ts'
import type { Grant, Grants } from './grants.ts'
import { tokenIdentity } from './identity.ts'
import { readRefreshToken } from './grants.ts'
import type { RotateRefreshToken } from './refresh-rotation.ts'

/** Tokens of Seed's own: broker mode. */
export interface BrokerTokenServices {
  codes: AuthorizationCodes
  grants: Grants
  refresh: RotateRefreshToken
  accessToken: AccessTokenOptions
  groups: GroupOptions
  /** Claims that policies of tools ask for. */
  policyClaims: readonly string[]
}

export function createBrokerTokens (services: BrokerTokenServices): TokenIssuer {
  const { codes, grants, refresh } = services

  async function issue (grant: Grant, scope: string): Promise<TokenResponse> {
    const left = grant.expiresAt - Math.floor(Date.now() / 1_000)
    const ttlSeconds = Math.max(1, Math.min(services.accessToken.ttlSeconds, left))
    return {
      access_token: await issueAccessToken({
        subject: grant.subject,
        clientId: grant.clientId,
        scope,
        grantId: grant.id,
        identity: tokenIdentity(grant.claims, scope, services.groups, services.policyClaims)
      }, { ...services.accessToken, ttlSeconds }),
      token_type: 'Bearer',
      expires_in: ttlSeconds,
      ...(grant.refreshes && { refresh_token: grants.refreshToken(grant) }),
      scope
    }
  }

  return {
    async redeemCode ({ code, redirectUri, codeVerifier }, client: Client) {
      const begun = await codes.redeem(code, { clientId: client.id, redirectUri, verifier: codeVerifier })
      const grant = await grants.activate(begun)
      return await issue(grant, grant.scope)
    },

    /** The scope is judged first: what is refused must not rotate anything. */
    async refresh ({ refreshToken, scope }, client: Client) {
      const token = readRefreshToken(refreshToken)
      const found = token === undefined ? undefined : await grants.find(token.grantId)
      if (found?.grant.clientId === client.id) narrowScope(scope, found.grant.scope)
      const grant = await refresh(refreshToken, client.id)
      return await issue(grant, narrowScope(scope, grant.scope))
    }
  }
}
