import { decodeJwt, decodeProtectedHeader, errors } from 'jose'
import type { JWTPayload } from 'jose'
import { digest } from '../crypto/hash.ts'
import type { TrustedIssuers, Workload } from '../workloads/trusted-issuers.ts'
import { WorkloadTokenError } from '../workloads/workload-token-error.ts'
import { checkAccess } from './access-rules.ts'
import type { AccessRules } from './access-rules.ts'
import { checkTokenType } from './claims.ts'
import { MAX_TOKEN_LENGTH } from './jwt.ts'
import { KIND_CLAIM, toPrincipal } from './principal.ts'
import type { Principal } from './principal.ts'
import { ExpiredTokenError, TokenError } from './token-error.ts'

export interface ServiceTokensOptions {
  /** The `iss` of those of TRUSTED_ISSUERS with `access_tokens`. */
  issuers: readonly string[]
  verify: TrustedIssuers['verify']
  /** The rules of the ACCESS_ settings. */
  access: Omit<AccessRules, 'groupsClaim' | 'groupPaths'>
  /** Returns the resource that a token with these claims is for. */
  resourceOf (claims: Readonly<JWTPayload>): string | undefined
}

/** Verifies a token if it is of one of the issuers; returns undefined for every other token. */
export type VerifyServiceToken = (token: string) => Promise<Principal> | undefined

/** The `typ` of access tokens (RFC 9068 section 2.1); Entra ID and others write JWT. */
const ACCESS_TOKEN_TYPES = ['at+jwt', 'jwt']

/** Claims of access tokens that say so without `typ` or scopes: Entra ID's and Auth0's for applications. */
const APPLICATION_CLAIMS = ['idtyp', 'gty', 'oid']

/**
 * Makes the check of access tokens that an issuer of TRUSTED_ISSUERS gave to a program. The caller is the service of
 * the rule that fits, with the scopes, groups and claims that the operator wrote and none of the token's: neither the
 * issuer nor the program can widen them. Tokens of people have been refused (src/workloads/service-check.ts).
 */
export function createServiceTokens (options: ServiceTokensOptions): VerifyServiceToken {
  const { issuers, verify, access, resourceOf } = options
  const trusted = new Set<string | undefined>(issuers)

  async function verifyServiceToken (token: string): Promise<Principal> {
    const workload = await verify(token, ACCESS_TOKEN_TYPES).catch(refuse)
    checkIsAccessToken(workload.claims, decodeProtectedHeader(token).typ)
    // The operator wrote the groups, so they are where Seed's own tokens have them.
    checkAccess(workload.rights.claims, { ...access, groupsClaim: 'groups', groupPaths: false })
    return servicePrincipal(workload, token, resourceOf(workload.claims))
  }

  return (token) => trusted.has(readIssuer(token)) ? verifyServiceToken(token) : undefined
}

/** Reads `iss` before anything is verified. */
function readIssuer (token: string): string | undefined {
  if (token.length > MAX_TOKEN_LENGTH) return undefined
  try {
    return decodeJwt(token).iss
  } catch {
    return undefined
  }
}

/** @throws TokenError for a token that is refused, and any other error as it is */
function refuse (err: unknown): never {
  if (!(err instanceof WorkloadTokenError)) throw err
  if (err.cause instanceof errors.JWTExpired) throw new ExpiredTokenError(Number(err.cause.payload.exp))
  const message = `The access token is not accepted: ${err.message}`
  throw new TokenError('invalid_claim', message, err.detail, 'workload_token')
}

function checkIsAccessToken (claims: Readonly<JWTPayload>, headerType: string | undefined): void {
  checkTokenType(claims, headerType, APPLICATION_CLAIMS.filter((name) => claims[name] !== undefined))
}

/** Has a grant id of its own, like all tokens without a grant, so that it can be revoked alone. */
function servicePrincipal (workload: Workload, token: string, resource: string | undefined): Principal {
  const { service, rights, jti, issuedAfter, expiresAt } = workload
  const { iss } = workload.claims as { iss: string }
  const id = jti === undefined ? token.slice(0, token.lastIndexOf('.')) : JSON.stringify([iss, jti])
  const principal = toPrincipal({
    ...rights.claims,
    iss,
    sub: service,
    client_id: service,
    scope: rights.scopes.join(' '),
    grant: digest(id),
    // What revocations are compared with.
    iat: issuedAfter,
    exp: expiresAt,
    [KIND_CLAIM]: 'service'
  }, { areOwn: true, groupsClaim: 'groups', groupPaths: false, resource })
  return Object.freeze({ ...principal, grantType: undefined })
}
