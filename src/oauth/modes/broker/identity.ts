import { OAuthError } from '../../../errors/oauth-error.ts'
import type { Log } from '../../../logging/log.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import type { ExpectedRequest, IdTokenClaims } from '../../../provider/id-token.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { UpstreamTokens } from '../../../provider/token-response.ts'
import { checkAccess } from '../../../tokens/access-rules.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'

/** The person who signed in: the claims of the ID token and of userinfo. */
export interface Identity {
  subject: string
  claims: Record<string, unknown>
  /** The session at the provider. */
  sid: string | undefined
}

export interface IdentityOptions {
  upstream: Pick<TokenClient, 'userinfo'>
  /** @throws IdTokenError, ProviderUnavailableError */
  verifyIdToken: (token: string, expected?: ExpectedRequest) => Promise<IdTokenClaims>
  /** Verifies a userinfo response that is a signed JWT. @throws IdTokenError, ProviderUnavailableError */
  verifyUserinfo: (token: string) => Promise<Record<string, unknown>>
  access: AccessRules
  log: Pick<Log, 'warn'>
}

export type IdentityReader = ReturnType<typeof createIdentityReader>

/** Claims about the token rather than the person (OpenID Connect Core 1.0 section 2). */
const PROTOCOL_CLAIMS = [
  'iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', 'nonce', 'azp', 'at_hash', 'c_hash', 's_hash', 'auth_time', 'sid',
  'acr', 'amr', 'typ', 'session_state'
]

/**
 * Reads from the provider's tokens who signed in, and checks that this person may use the server.
 *
 * Its functions throw IdTokenError, AccessDeniedError, OAuthError or ProviderUnavailableError.
 */
export function createIdentityReader ({ upstream, verifyIdToken, verifyUserinfo, access, log }: IdentityOptions) {
  /**
   * A userinfo endpoint that fails ends neither a sign-in nor a grant: an access rule that misses a claim refuses.
   *
   * @param fallback claims that are known from before
   */
  async function userinfo (
    accessToken: string, subject: string, fallback: Record<string, unknown> | undefined
  ): Promise<Record<string, unknown> | undefined> {
    try {
      return await upstream.userinfo(accessToken, subject, verifyUserinfo)
    } catch (err) {
      if (!(err instanceof OAuthError || err instanceof ProviderUnavailableError)) throw err
      const reason = err.detail ?? err.message
      log.warn({ reason }, 'The userinfo endpoint could not be used; the claims of the ID token are used alone')
      return fallback
    }
  }

  return {
    /** @param expected of the authorization request */
    async identify (tokens: UpstreamTokens, expected: ExpectedRequest): Promise<Identity> {
      if (tokens.idToken === undefined) {
        throw new OAuthError('server_error', 'The identity provider returned no usable response', {
          detail: 'its token endpoint sent no ID token: openid must be among the scopes that the client may ask for'
        })
      }
      const idToken = await verifyIdToken(tokens.idToken, expected)
      const more = await userinfo(tokens.accessToken, idToken.sub, undefined)
      const claims = withoutProtocolClaims({ ...more, ...idToken })
      checkAccess(claims, access)
      const { sub: subject, sid } = idToken
      return { subject, claims, sid: typeof sid === 'string' ? sid : undefined }
    },

    /**
     * Returns the claims after a refresh. Previous claims are kept only if the provider returned none, or userinfo
     * failed.
     */
    async refreshIdentity (
      tokens: UpstreamTokens, subject: string, previous: Record<string, unknown>
    ): Promise<Record<string, unknown>> {
      const idToken = tokens.idToken === undefined ? undefined : await verifyIdToken(tokens.idToken)
      if (idToken !== undefined && idToken.sub !== subject) {
        throw new OAuthError('invalid_grant', 'The identity provider ended the sign-in: sign in again', {
          detail: 'the refreshed ID token is of another subject'
        })
      }
      const more = await userinfo(tokens.accessToken, subject, previous)
      const claims = idToken === undefined
        ? { ...previous, ...withoutProtocolClaims(more ?? {}) }
        : withoutProtocolClaims({ ...more, ...idToken })
      checkAccess(claims, access)
      return claims
    }
  }
}

function withoutProtocolClaims (claims: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(claims).filter(([name]) => !PROTOCOL_CLAIMS.includes(name)))
}
