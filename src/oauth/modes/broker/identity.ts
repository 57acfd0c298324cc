import type { Endpoint } from '../../../config/endpoints.ts'
import { CAUSES } from '../../../errors/causes.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'
import type { Log } from '../../../logging/log.ts'
import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import type { ExpectedRequest, IdTokenClaims } from '../../../provider/id-token.ts'
import type { TokenClient } from '../../../provider/token-client.ts'
import type { UpstreamTokens } from '../../../provider/token-response.ts'
import { checkAccess, endpointRules } from '../../../tokens/access-rules.ts'
import type { AccessRules } from '../../../tokens/access-rules.ts'
import { readAuthentication } from '../../../tokens/authentication.ts'
import type { Authentication } from '../../../tokens/authentication.ts'
import { findGrantEndpoint } from './grant-endpoint.ts'
import type { Grant } from './grant.ts'

/** The claims of the ID token and of userinfo. */
export type PersonClaims = Pick<Grant, 'claims' | 'userinfoClaims'>

/** The person who signed in. */
export interface Identity extends PersonClaims {
  subject: string
  /** The session at the provider. */
  sid: string | undefined
  authentication: Authentication
}

/** A person who may not be one that may use the server. */
export interface AuthenticatedPerson extends PersonClaims {
  idToken: IdTokenClaims
}

export interface IdentityOptions {
  upstream: Pick<TokenClient, 'userinfo'>
  /** @throws IdTokenError, ProviderUnavailableError */
  verifyIdToken: (token: string, expected?: ExpectedRequest) => Promise<IdTokenClaims>
  /** Verifies a userinfo response that is a signed JWT. @throws IdTokenError, ProviderUnavailableError */
  verifyUserinfo: (token: string) => Promise<Record<string, unknown>>
  access: AccessRules
  endpoints: readonly Endpoint[]
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
export function createIdentityReader (options: IdentityOptions) {
  const { upstream, verifyIdToken, verifyUserinfo, access, endpoints, log } = options

  /** Checks the rules of the ACCESS_ settings, and those of the endpoint that the person signs in at. */
  function checkPerson ({ claims }: Pick<Grant, 'claims'>, grant: Pick<Grant, 'endpoint'>): void {
    checkAccess(claims, access)
    checkAccess(claims, endpointRules(findGrantEndpoint(endpoints, grant), access))
  }

  /**
   * A userinfo endpoint that fails ends neither a sign-in nor a grant: an access rule that misses a claim refuses.
   *
   * @param fallback claims that are known from before
   */
  async function userinfo (
    accessToken: string, subject: string, fallback: PersonClaims
  ): Promise<PersonClaims> {
    try {
      const claims = personClaims(await upstream.userinfo(accessToken, subject, verifyUserinfo) ?? {})
      return { claims, userinfoClaims: Object.keys(claims) }
    } catch (err) {
      if (!(err instanceof OAuthError || err instanceof ProviderUnavailableError)) throw err
      const reason = err.detail ?? err.message
      log.warn({ event: 'provider.userinfo_failed', reason },
        'The userinfo endpoint could not be used; the claims of the ID token are used alone')
      return fallback
    }
  }

  async function authenticate (tokens: UpstreamTokens, expected: ExpectedRequest): Promise<AuthenticatedPerson> {
    if (tokens.idToken === undefined) {
      throw new OAuthError('server_error', 'The identity provider returned no usable response', {
        causeCode: 'no_id_token', detail: `its token endpoint sent no ID token: ${CAUSES.no_id_token.remedy}`
      })
    }
    const idToken = await verifyIdToken(tokens.idToken, expected)
    const more = await userinfo(tokens.accessToken, idToken.sub, { claims: {}, userinfoClaims: [] })
    return { ...more, idToken, claims: { ...more.claims, ...personClaims(idToken) } }
  }

  return {
    /**
     * Reads who signed in without asking whether this person may use the server: those who no longer may can still see
     * and cut off what acts in their name.
     */
    authenticate,

    /** @param expected of the authorization request. @param request names the MCP endpoint */
    async identify (
      tokens: UpstreamTokens, expected: ExpectedRequest, request: Pick<Grant, 'endpoint'>
    ): Promise<Identity> {
      const { idToken, ...person } = await authenticate(tokens, expected)
      checkPerson(person, request)
      const { sub: subject, sid } = idToken
      const authentication = readAuthentication(idToken)
      return { ...person, subject, sid: typeof sid === 'string' ? sid : undefined, authentication }
    },

    /**
     * Returns the claims after a refresh. Previous claims are kept only if userinfo failed, or if they came from an ID
     * token and the provider returned none this time (OpenID Connect Core 1.0 section 12.2). What userinfo returned
     * before and no longer returns is gone, such as the groups of a person who is in none.
     */
    async refreshIdentity (
      tokens: UpstreamTokens, subject: string, previous: PersonClaims & Pick<Grant, 'endpoint'>
    ): Promise<PersonClaims> {
      const idToken = tokens.idToken === undefined ? undefined : await verifyIdToken(tokens.idToken)
      if (idToken !== undefined && idToken.sub !== subject) {
        throw new OAuthError('invalid_grant', 'The identity provider ended the sign-in: sign in again', {
          detail: 'the refreshed ID token is of another subject'
        })
      }
      const more = await userinfo(tokens.accessToken, subject, previous)
      const claims = idToken === undefined
        ? { ...without(previous.claims, previous.userinfoClaims ?? []), ...more.claims }
        : { ...more.claims, ...personClaims(idToken) }
      checkPerson({ claims }, previous)
      return { ...more, claims }
    }
  }
}

/** Returns the claims about the person. */
export function personClaims (claims: Record<string, unknown>): Record<string, unknown> {
  return without(claims, PROTOCOL_CLAIMS)
}

function without (claims: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(claims).filter(([name]) => !names.includes(name)))
}
