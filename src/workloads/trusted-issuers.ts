import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import type { JWTPayload, ProtectedHeaderParameters } from 'jose'
import type { ServiceRights } from '../config/service-rights.ts'
import type { TrustedIssuer } from '../config/trusted-issuers.ts'
import { HttpError } from '../errors/http-error.ts'
import { MAX_DEPTH, isDeeperThan } from '../json/depth.ts'
import { hasDuplicateMembers } from '../json/duplicate-members.ts'
import { ProviderUnavailableError } from '../provider/discovery.ts'
import { KeyNotFoundError } from '../provider/key-set.ts'
import { createIssuerKeys } from './issuer-keys.ts'
import type { IssuerKeys, IssuerKeysOptions } from './issuer-keys.ts'
import { findRule } from './rules.ts'
import { checkIsService } from './service-check.ts'
import { WorkloadTokenError } from './workload-token-error.ts'

/** The service that a verified token stands for. The token may have been used before. */
export interface Workload {
  service: string
  rights: ServiceRights
  /** The issuer's name in the log: its URL, or the trust domain of SPIFFE. */
  issuer: string
  /** Unique for this issuer; undefined for a token without `jti`. */
  jti: string | undefined
  /** Whether the token is accepted once, if it has a `jti`. */
  singleUse: boolean
  /**
   * The earliest time of issue, in seconds since the epoch, for comparison with revocations: the issuer's clock may be
   * ahead, and tokens of SPIFFE need no `iat`.
   */
  issuedAfter: number
  expiresAt: number
  claims: Readonly<JWTPayload>
}

export interface TrustedIssuersOptions extends IssuerKeysOptions {
  issuers: readonly TrustedIssuer[]
  /** TOKEN_CLOCK_SKEW_SECONDS */
  clockSkewSeconds: number
  /** Verifies the access tokens of issuers with `access_tokens`, rather than the assertions of all others. */
  accessTokens?: { maxLifetimeSeconds: number }
}

export type TrustedIssuers = ReturnType<typeof createTrustedIssuers>

/** The longest accepted life of an assertion. GitHub, GitLab and Kubernetes issue them for an hour or less. */
const MAX_LIFETIME_SECONDS = 3_600

/** The `typ` of tokens of workloads, where they have one; SPIFFE allows JOSE (JWT-SVID section 2.3). */
const WORKLOAD_TYPES = ['jwt', 'jose']

/** Claims of ID tokens after a person's sign-in and of logout tokens, which may have no `typ` of their own. */
const FOREIGN_CLAIMS = ['nonce', 'at_hash', 'c_hash', 'events']

const MAX_TEXT_LENGTH = 2_048

/** Verifies tokens of the issuers of TRUSTED_ISSUERS, and finds the services that they stand for. */
export function createTrustedIssuers (options: TrustedIssuersOptions) {
  const { clockSkewSeconds, accessTokens } = options
  const { maxLifetimeSeconds } = accessTokens ?? { maxLifetimeSeconds: MAX_LIFETIME_SECONDS }
  const trusted = options.issuers
    .filter((issuer) => issuer.accessTokens === (accessTokens !== undefined))
    .map((issuer) => ({ issuer, keys: createIssuerKeys(issuer, options) }))

  /** Returns the issuer that a token says it is from: `iss` byte for byte, or else the trust domain of SPIFFE. */
  function findIssuer ({ iss, sub }: JWTPayload): { issuer: TrustedIssuer, keys: IssuerKeys } {
    const found = trusted.find(({ issuer: { issuer, trustDomain } }) => issuer === undefined
      ? iss === undefined && typeof sub === 'string' && sub.startsWith(`spiffe://${trustDomain}/`)
      : iss === issuer)
    if (found !== undefined) return found
    throw new WorkloadTokenError('iss must be an issuer that this server trusts')
  }

  return {
    /**
     * Verifies a token (RFC 7523 section 3, RFC 8725). What needs no key is checked first, so that a token of somebody
     * else makes Seed fetch nothing.
     *
     * @param types the values of `typ` that are accepted, in lower case
     * @throws WorkloadTokenError; HttpError with status 503 if the keys of the issuer cannot be had now
     */
    async verify (token: string, types: readonly string[] = WORKLOAD_TYPES): Promise<Workload> {
      const { header, claims: unverified } = decode(token)
      checkType(header, types)
      const { issuer, keys } = findIssuer(unverified)
      checkAlgorithm(header, issuer)
      checkAudience(unverified, issuer)
      const claims = await verifySignature(token, keys, issuer, clockSkewSeconds)
      checkKind(claims)
      const times = checkTimes(claims, clockSkewSeconds, maxLifetimeSeconds)
      checkText(claims, 'sub')
      if (claims.jti !== undefined) checkText(claims, 'jti')
      const { service, rights } = findRule(issuer.rules, claims)
      if (issuer.preset === '') checkIsService(claims, { areAccessTokens: issuer.accessTokens })
      return {
        service, rights, issuer: issuer.name, jti: claims.jti, singleUse: issuer.singleUse, ...times, claims
      }
    },

    /** Begins fetching keys; returns at once. */
    start (): void {
      for (const { keys } of trusted) keys.start()
    },

    close (): void {
      for (const { keys } of trusted) keys.close()
    }
  }
}

function decode (token: string): { header: ProtectedHeaderParameters, claims: JWTPayload } {
  try {
    const decoded = { header: decodeProtectedHeader(token), claims: decodeJwt(token) }
    const texts = token.split('.').slice(0, 2).map((part) => Buffer.from(part, 'base64url').toString())
    if (!isDeeperThan(decoded.claims, MAX_DEPTH) && !texts.some(hasDuplicateMembers)) return decoded
  } catch {}
  throw new WorkloadTokenError('it must be a signed JWT, without a claim twice')
}

/** RFC 8725 section 3.11: an ID-JAG, an access token or a logout token has another `typ`. */
function checkType ({ typ = 'JWT' }: ProtectedHeaderParameters, types: readonly string[]): void {
  if (typeof typ === 'string' && types.includes(typ.toLowerCase().replace(/^application\//, ''))) return
  throw new WorkloadTokenError(`typ in its header must be ${types.join(' or ')}, or absent`)
}

function checkAlgorithm ({ alg }: ProtectedHeaderParameters, { algorithms }: TrustedIssuer): void {
  if (alg !== undefined && algorithms.includes(alg)) return
  throw new WorkloadTokenError('it must be signed with an algorithm that is configured for its issuer')
}

/** A token that is for other servers too could be used here by each of them. */
function checkAudience ({ aud }: JWTPayload, { audiences }: TrustedIssuer): void {
  const all = [aud ?? []].flat()
  if (all.length > 0 && all.every((audience) => audiences.includes(audience))) return
  throw new WorkloadTokenError(`aud must be ${audiences[0]} alone`)
}

async function verifySignature (
  token: string, { getKey }: IssuerKeys, issuer: TrustedIssuer, clockSkewSeconds: number
): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, getKey, {
      algorithms: [...issuer.algorithms],
      clockTolerance: clockSkewSeconds,
      requiredClaims: issuer.trustDomain === undefined ? ['iat', 'exp'] : ['exp']
    })
    return payload
  } catch (err) {
    if (err instanceof errors.JWTExpired) {
      throw new WorkloadTokenError('it has expired: get another one', { cause: err })
    }
    if (err instanceof errors.JWTClaimValidationFailed) {
      throw new WorkloadTokenError(`${err.claim} is missing or not acceptable (clocks may differ)`)
    }
    if (err instanceof errors.JOSEError || err instanceof KeyNotFoundError) {
      throw new WorkloadTokenError('its signature is not valid, or its key is not one of its issuer', { cause: err })
    }
    if (!(err instanceof ProviderUnavailableError)) throw err
    throw new HttpError(503, 'temporarily_unavailable', `the keys of ${issuer.name} cannot be had: ${err.message}`, {
      publicMessage: 'The keys of the token\'s issuer cannot be fetched; try again shortly',
      retryAfterSeconds: 5,
      causeCode: 'issuer_unavailable',
      cause: err
    })
  }
}

/** Refuses tokens that are for something else, and those that are bound to a key (RFC 7800), which is not checked. */
function checkKind (claims: JWTPayload): void {
  if (claims['cnf'] !== undefined) throw new WorkloadTokenError('it is bound to a key (cnf), which is not supported')
  if (FOREIGN_CLAIMS.every((name) => claims[name] === undefined)) return
  throw new WorkloadTokenError(`it must have no ${FOREIGN_CLAIMS.join(', ')}: ` +
    'ID tokens of people and logout tokens are not accepted')
}

/** `exp` and `nbf` have been checked; `iat` and the lifetime have not. */
function checkTimes (
  { iat, exp }: JWTPayload, clockSkewSeconds: number, maxLifetimeSeconds: number
): Pick<Workload, 'issuedAfter' | 'expiresAt'> {
  const now = Date.now() / 1_000
  // Required, and a number: jose has checked it.
  const expiresAt = exp!
  if (iat !== undefined && iat > now + clockSkewSeconds) {
    throw new WorkloadTokenError('iat is in the future (clocks may differ)')
  }
  if (expiresAt - (iat ?? now) > maxLifetimeSeconds) {
    throw new WorkloadTokenError(`it may live for at most ${maxLifetimeSeconds} seconds from iat to exp`)
  }
  return { issuedAfter: (iat ?? expiresAt - maxLifetimeSeconds) - clockSkewSeconds, expiresAt }
}

function checkText (claims: JWTPayload, name: string): void {
  const value = claims[name]
  if (typeof value === 'string' && value !== '' && value.length <= MAX_TEXT_LENGTH) return
  throw new WorkloadTokenError(`${name} must be a text of at most ${MAX_TEXT_LENGTH} characters`)
}
