import { randomId } from '../../../crypto/hash.ts'
import type { TokenResponse } from '../../../schemas/token.ts'
import { issueAccessToken } from '../../../tokens/issue-access-token.ts'
import type { AccessTokenContents, AccessTokenOptions } from '../../../tokens/issue-access-token.ts'

/** The contents of an access token, and its lifetime unless that is ACCESS_TOKEN_TTL. */
export type TokenWithoutGrant = Omit<AccessTokenContents, 'grantId'> & { maxTtlSeconds?: number }

export type IssueTokenWithoutGrant = ReturnType<typeof createTokenWithoutGrantIssuer>

/**
 * Makes the function that issues an access token without a grant, for grant types whose client comes back with its
 * credential or assertion when the token has expired: there is no refresh token (RFC 6749 section 4.4.3, RFC 7521
 * section 4.1), and the store keeps nothing.
 *
 * The token names a grant id of its own, which no record has. So it can be revoked as all tokens of broker mode:
 * alone, by its subject and by its client (src/tokens/revocations.ts).
 */
export function createTokenWithoutGrantIssuer (options: AccessTokenOptions) {
  return async function issueTokenWithoutGrant (token: TokenWithoutGrant): Promise<TokenResponse> {
    const { maxTtlSeconds = options.ttlSeconds, ...contents } = token
    const ttlSeconds = Math.max(1, Math.min(options.ttlSeconds, maxTtlSeconds))
    return {
      access_token: await issueAccessToken({ ...contents, grantId: randomId(16) }, { ...options, ttlSeconds }),
      token_type: 'Bearer',
      expires_in: ttlSeconds,
      scope: token.scope
    }
  }
}
