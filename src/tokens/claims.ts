import type { JWTPayload } from 'jose'
import { CAUSES } from '../errors/causes.ts'
import { expectedIssuer } from '../provider/issuer.ts'
import { ExpiredTokenError, TokenError } from './token-error.ts'

/** Checks of the claims of an access token (RFC 7519 section 4.1, RFC 9068 section 4, RFC 8725 section 3). */

export interface ClaimRules {
  issuer: string
  /** OIDC_TENANTS; empty unless tokens come from several tenants of one provider. */
  tenants: readonly string[]
  /** One of them must be in `aud`. */
  audiences: readonly string[]
  clockSkewSeconds: number
  maxLifetimeSeconds: number
  /** Claims that only the issuer's access tokens have, all of them (Preset). */
  accessTokenClaims?: readonly string[]
  /** The tokens are Seed's own, so that their form is known. */
  areOwn?: boolean
}

/** Claims of an access token that have passed every check. */
export type CheckedClaims = JWTPayload & { iss: string, sub: string, iat: number, exp: number }

/**
 * `iss` (RFC 7519 section 4.1.1). Checked before the signature, so that a token of another issuer makes Seed fetch
 * no keys.
 *
 * @throws TokenError
 */
export function checkIssuer (claims: JWTPayload, rules: Pick<ClaimRules, 'issuer' | 'tenants'>): void {
  const issuer = expectedIssuer(rules, claims)
  if (issuer !== undefined && claims.iss === issuer) return
  const expected = issuer === undefined ? 'that of one of OIDC_TENANTS' : `"${issuer}"`
  throw new TokenError('invalid_claim', 'The access token was issued by another issuer',
    `iss is ${JSON.stringify(claims.iss)}, expected is ${expected}`, 'token_issuer')
}

/**
 * Checks all other claims of a token whose signature and issuer have been verified.
 *
 * @param headerType `typ` of the header
 * @param now wall clock in milliseconds
 * @throws TokenError
 */
export function checkClaims (
  claims: JWTPayload, headerType: string | undefined, rules: ClaimRules, now: number
): asserts claims is CheckedClaims {
  checkAudience(claims, rules)
  if (claims.sub === undefined) throw badClaim('sub', 'it is missing')
  checkTimes(claims, rules, now)
  checkTokenType(claims, headerType, rules.accessTokenClaims ?? [])
  if (rules.areOwn === true) checkOwnForm(claims, headerType)
  if (typeof claims.sub !== 'string' || claims.sub === '') {
    throw new TokenError('invalid_claim', 'The access token names no subject', 'sub must be a string')
  }
}

/** `aud` (RFC 7519 section 4.1.3): a string, or an array with an audience of this server in it. */
function checkAudience ({ aud }: JWTPayload, { audiences, areOwn = false }: ClaimRules): void {
  if ([aud].flat().some((name) => name !== undefined && audiences.includes(name))) return
  const expected = areOwn
    ? `this server has ${audiences.join(', ')}`
    : `OIDC_AUDIENCE is "${audiences[0]}": ${CAUSES.token_audience.remedy}`
  throw new TokenError('invalid_claim', 'The access token was not issued for this server',
    `aud is ${JSON.stringify(aud)}, ${expected}`, 'token_audience')
}

/** `iat`, `nbf` and `exp` (RFC 7519 sections 4.1.4 to 4.1.6), and a lifetime that has a bound. */
function checkTimes (claims: JWTPayload, { clockSkewSeconds, maxLifetimeSeconds }: ClaimRules, now: number): void {
  const iat = numericDate('iat', claims.iat)
  const exp = numericDate('exp', claims.exp)
  const nbf = claims.nbf === undefined ? undefined : numericDate('nbf', claims.nbf)
  const seconds = Math.floor(now / 1_000)
  if (nbf !== undefined && nbf > seconds + clockSkewSeconds) {
    const detail = `nbf: it is ${nbf - seconds} s ahead: clock_skew_suspected (TOKEN_CLOCK_SKEW_SECONDS)`
    throw new TokenError('invalid_claim', "The access token's nbf claim is not acceptable", detail, 'clock')
  }
  if (exp <= seconds - clockSkewSeconds) {
    throw new ExpiredTokenError(exp)
  }
  if (iat > now / 1_000 + clockSkewSeconds) {
    throw new TokenError('invalid_claim', 'The access token was issued in the future',
      `iat is ${Math.round(iat - now / 1_000)} s ahead: clock_skew_suspected (TOKEN_CLOCK_SKEW_SECONDS)`,
      'clock')
  }
  if (exp - iat > maxLifetimeSeconds) {
    throw new TokenError('invalid_claim', 'The access token lives longer than is accepted',
      `exp - iat is ${exp - iat} s, TOKEN_MAX_LIFETIME_SECONDS is ${maxLifetimeSeconds}`, 'token_lifetime')
  }
}

function numericDate (name: string, value: unknown): number {
  if (typeof value === 'number') return value
  throw badClaim(name, value === undefined ? 'it is missing' : 'it must be a number')
}

/** Values of a `typ` claim that do not say what kind of token it is, or say that it is an access token. */
const ACCESS_TOKEN_TYPES: unknown[] = ['Bearer', 'JWT', 'at+jwt']

/**
 * Access tokens only (RFC 8725 sections 3.11 and 3.12). ID tokens, refresh, logout tokens and client assertions of
 * the same issuer carry the same signature and may carry the same `aud`.
 *
 * There must be proof that it is one. A token that says so may hold a `nonce` or `c_hash`: `at+jwt` (RFC 9068),
 * Keycloak's payload `typ: Bearer`, and the claims that the preset names (authentik's `uid` and `azp`). Otherwise it
 * must have scopes, which ID tokens have not.
 */
export function checkTokenType (
  claims: Readonly<JWTPayload>, headerType: string | undefined, accessTokenClaims: readonly string[]
): void {
  const { typ, token_use: use } = claims
  const hasPresetClaims = accessTokenClaims.length > 0 &&
    accessTokenClaims.every((name) => typeof claims[name] === 'string')
  const saysAccess = /at\+jwt$/i.test(headerType ?? '') || typ === 'Bearer' || typ === 'at+jwt' || hasPresetClaims
  const hasScopes = claims['scope'] !== undefined || claims['scp'] !== undefined
  const foreign =
    (typ !== undefined && !ACCESS_TOKEN_TYPES.includes(typ) && `payload typ is ${JSON.stringify(typ)}`) ||
    (use !== undefined && use !== 'access' && `token_use is ${JSON.stringify(use)}`) ||
    (claims['events'] !== undefined && 'it has events (a logout token)') ||
    (claims.iss === claims.sub && 'iss equals sub (a client assertion)') ||
    (claims['at_hash'] !== undefined && 'it has at_hash (an ID token)') ||
    (!saysAccess && claims['c_hash'] !== undefined && 'it has c_hash (an ID token)') ||
    (!saysAccess && claims['nonce'] !== undefined && 'it has nonce (an ID token)') ||
    (!saysAccess && !hasScopes && 'it has no scope or scp, and no typ says that it is an access token (an ID token?)')
  if (foreign !== false) throw new TokenError('invalid_claim', 'The token is not an access token', foreign)
}

const OWN_CLAIMS = ['client_id', 'grant', 'jti']

/** The form in which Seed issues access tokens (issue-access-token.ts): `typ` is required (RFC 9068 section 4). */
function checkOwnForm (claims: JWTPayload, headerType: string | undefined): void {
  const missing = OWN_CLAIMS.find((name) => typeof claims[name] !== 'string')
  if (headerType === 'at+jwt' && missing === undefined) return
  throw new TokenError('invalid_claim', 'The token is not an access token of this server', missing === undefined
    ? `typ in its header is ${JSON.stringify(headerType)}, expected is "at+jwt"`
    : `it has no ${missing}`)
}

function badClaim (name: string, detail: string): TokenError {
  return new TokenError('invalid_claim', `The access token's ${name} claim is not acceptable`, `${name}: ${detail}`)
}
