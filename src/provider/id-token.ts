import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import type { JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from 'jose'
import type { CauseCode } from '../errors/causes.ts'
import { MAX_DEPTH, isDeeperThan } from '../json/depth.ts'
import { expectedIssuer } from './issuer.ts'
import { ProviderUnavailableError } from './discovery.ts'

export interface IdTokenOptions {
  issuer: string
  tenants: readonly string[]
  clientId: string
  algorithms: readonly string[]
  clockSkewSeconds: number
  getKey: JWTVerifyGetKey
}

/** The members of the authorization request that the ID token must answer. */
export interface ExpectedRequest {
  nonce: string
}

export type IdTokenClaims = JWTPayload & { iss: string, sub: string }

interface IdTokenErrorOptions {
  causeCode?: CauseCode | undefined
  cause?: unknown
}

/** An ID token that is refused. The message is for the log. */
export class IdTokenError extends Error {
  override readonly name = 'IdTokenError'
  readonly causeCode: CauseCode

  constructor (message: string, { causeCode = 'id_token_refused', cause }: IdTokenErrorOptions = {}) {
    super(message, { cause })
    this.causeCode = causeCode
  }
}

/**
 * Validates an ID token (OpenID Connect Core 1.0 sections 3.1.3.7 and 12.2). Its signature is verified although
 * TLS server validation could take its place for a token that comes from the token endpoint.
 *
 * @param expected undefined for a token that comes from a refresh
 * @throws IdTokenError, ProviderUnavailableError (the provider's keys cannot be had now)
 */
export async function verifyIdToken (
  token: string, options: IdTokenOptions, expected?: ExpectedRequest
): Promise<IdTokenClaims> {
  const { alg, unverified } = decode(token)
  checkAlgorithm(alg, options)
  const issuer = expectedIssuer(options, unverified)
  if (issuer === undefined) {
    throw new IdTokenError('its tid is not one of OIDC_TENANTS', { causeCode: 'id_token_issuer' })
  }
  const claims = await verifyJwt(token, options.getKey, {
    issuer,
    audience: options.clientId,
    algorithms: [...options.algorithms],
    clockTolerance: options.clockSkewSeconds,
    requiredClaims: ['exp', 'iat', 'sub']
  })
  checkSubject(claims)
  checkAuthorizedParty(claims, options.clientId)
  checkAuthTime(claims)
  if (expected !== undefined && claims['nonce'] !== expected.nonce) {
    throw new IdTokenError('its nonce is another', { causeCode: 'id_token_nonce' })
  }
  return claims
}

/**
 * Verifies a signed userinfo response (OpenID Connect Core 1.0 section 5.3.2), whose `iss` and `aud` are optional.
 *
 * @throws IdTokenError, ProviderUnavailableError
 */
export async function verifyUserinfo (token: string, options: IdTokenOptions): Promise<JWTPayload> {
  const { alg, unverified } = decode(token)
  checkAlgorithm(alg, options)
  const issuer = expectedIssuer(options, unverified)
  if (issuer === undefined) {
    throw new IdTokenError('its tid is not one of OIDC_TENANTS', { causeCode: 'id_token_issuer' })
  }
  return await verifyJwt(token, options.getKey, {
    algorithms: [...options.algorithms],
    clockTolerance: options.clockSkewSeconds,
    ...(unverified.iss !== undefined && { issuer }),
    ...(unverified.aud !== undefined && { audience: options.clientId })
  })
}

function decode (token: string): { alg: string | undefined, unverified: JWTPayload } {
  let decoded: { alg: string | undefined, unverified: JWTPayload }
  try {
    decoded = { alg: decodeProtectedHeader(token).alg, unverified: decodeJwt(token) }
  } catch (err) {
    throw new IdTokenError('it is not a signed JWT', { cause: err })
  }
  if (isDeeperThan(decoded.unverified, MAX_DEPTH)) throw new IdTokenError('its claims are nested too deeply')
  return decoded
}

function checkAlgorithm (alg: string | undefined, options: IdTokenOptions): asserts alg is string {
  if (alg === undefined || !options.algorithms.includes(alg)) {
    const remedy = alg?.startsWith('HS') === true || alg === 'none'
      ? 'which is never accepted: let the provider sign the ID tokens of this client with RS256 or ES256'
      : 'which OIDC_ALGORITHMS does not list'
    throw new IdTokenError(`signed with alg ${JSON.stringify(alg)}, ${remedy}`, { causeCode: 'id_token_signature' })
  }
}

/** Verifies the signature, `iss`, `aud`, `exp`, `nbf`, and that `iat` and `sub` are there. */
async function verifyJwt (token: string, getKey: JWTVerifyGetKey, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, getKey, options)
    return payload
  } catch (err) {
    // That the keys cannot be had is not the token's fault; everything else is.
    if (err instanceof ProviderUnavailableError) throw err
    const { message } = err as Error
    const isClaimError = err instanceof errors.JWTClaimValidationFailed || err instanceof errors.JWTExpired
    throw isClaimError
      ? new IdTokenError(message, { causeCode: CLAIM_CAUSES[err.claim], cause: err })
      : new IdTokenError(`its signature is not valid (${message})`, { causeCode: 'id_token_signature', cause: err })
  }
}

const CLAIM_CAUSES: Readonly<Record<string, CauseCode>> = {
  aud: 'id_token_audience', iss: 'id_token_issuer', exp: 'clock', nbf: 'clock', iat: 'clock'
}

function checkSubject (claims: JWTPayload): asserts claims is IdTokenClaims {
  if (typeof claims.sub !== 'string' || claims.sub === '') throw new IdTokenError('its sub is not a string, or empty')
}

/**
 * `azp`: the client that the token was issued to. Required next to other audiences, and never another client's
 * (OpenID Connect Core 1.0 section 3.1.3.7, steps 3 to 5).
 */
function checkAuthorizedParty ({ aud, azp }: JWTPayload, clientId: string): void {
  if (azp !== undefined && azp !== clientId) {
    throw new IdTokenError('its azp is another client', { causeCode: 'id_token_audience' })
  }
  if (azp === undefined && Array.isArray(aud) && aud.length > 1) {
    throw new IdTokenError('it has several audiences and no azp')
  }
}

/** `auth_time`: a number (section 2). Whether it is recent enough is for the sign-in to say that asked for it. */
function checkAuthTime ({ auth_time: authTime }: JWTPayload): void {
  if (authTime === undefined || (typeof authTime === 'number' && authTime >= 0)) return
  throw new IdTokenError('its auth_time is not a number')
}
