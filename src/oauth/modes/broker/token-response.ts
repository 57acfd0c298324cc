import type { Endpoint } from '../../../config/endpoints.ts'
import type { TokenResponse } from '../../../schemas/token.ts'
import { claimsOfRules } from '../../../tokens/access-rules.ts'
import type { GroupOptions } from '../../../tokens/principal.ts'
import { issueAccessToken } from '../../../tokens/issue-access-token.ts'
import type { AccessTokenOptions } from '../../../tokens/issue-access-token.ts'
import type { Grant } from './grant.ts'
import { findGrantEndpoint } from './grant-endpoint.ts'
import type { Grants } from './grants.ts'
import { tokenClaims } from './token-claims.ts'

export interface IssueTokensOptions {
  grants: Pick<Grants, 'refreshToken'>
  accessToken: AccessTokenOptions
  endpoints: readonly Endpoint[]
  groups: GroupOptions
  /** Claims that policies of tools need. */
  policyClaims: readonly string[]
}

export type IssueTokens = ReturnType<typeof createIssueTokens>

/** Makes the token response for a grant, which all grant types share (RFC 6749 section 5.1). */
export function createIssueTokens (options: IssueTokensOptions) {
  const { grants, accessToken, endpoints, groups, policyClaims } = options
  /** @param scope of the access token, space-separated */
  return async function issueTokens (grant: Grant, scope: string): Promise<TokenResponse> {
    const left = grant.expiresAt - Math.floor(Date.now() / 1_000)
    const ttlSeconds = Math.max(1, Math.min(accessToken.ttlSeconds, left))
    const endpoint = findGrantEndpoint(endpoints, grant)
    const contents = {
      resource: endpoint.resource,
      subject: grant.subject,
      clientId: grant.clientId,
      scope,
      grantId: grant.id,
      kind: 'person' as const,
      grantType: 'authorization_code' as const,
      authentication: grant.authentication,
      identity: tokenClaims(grant.claims, scope, groups, [...policyClaims, ...claimsOfRules(endpoint)])
    }
    return {
      access_token: await issueAccessToken(contents, { ...accessToken, ttlSeconds }),
      token_type: 'Bearer',
      expires_in: ttlSeconds,
      ...(grant.refreshes && { refresh_token: grants.refreshToken(grant) }),
      scope
    }
  }
}
