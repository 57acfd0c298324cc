import { BearerError } from '../errors/bearer-error.ts'
import { hash } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { UnsecuredJWT, errors } from 'jose'
import type { CryptoKey, JWSHeaderParameters, JWTPayload } from 'jose'
import { expectedIssuer } from '../provider/issuer.ts'
import { KeyNotFoundError } from '../provider/jwks.ts'
import { ClaimError, toPrincipal } from './principal.ts'
import type { Principal } from './principal.ts'
import { isSignedBy } from './signature.ts'

/**
 * Verification of bearer JWTs (RFC 8725, RFC 9068 section 4).
 *
 * What can be judged without a key is judged first, so that a token which cannot be ours never makes Seed
 * fetch anything. Verified tokens are remembered under the SHA-256 of the whole token: bounded in number,
 * never past `exp` nor for longer than a minute, all forgotten when the provider's keys change, and each at once
 * when it is revoked.
 */
export interface Verifier {
  /** @throws TokenError (the token is bad), ProviderUnavailableError (it cannot be judged now) */
  verify (token: string): Promise<Principal>
  /** The same, at once where the token was verified before. */
  judge (token: string): Principal | Promise<Principal>
  /** Forgets every remembered verification. */
  clearCache (): void
  /** The names under which the token of this principal may be revoked; empty for a principal that `verify` did not give. */
  revocationKeys (principal: Principal): readonly string[]
}

/** Asked when a token is first seen here, and again each minute. */
export interface RevocationCheck {
  /** @param tokenDigest SHA-256 of the token, base64url */
  keys (claims: Readonly<Record<string, unknown>>, tokenDigest: string): string[]
  isRevoked (names: string[], issuedAt: number): Promise<boolean>
  onRevoked (listener: (revocation: { names: string[] } | undefined) => void): void
}

/** An access token that is refused. `message` goes out with the challenge; `detail` is for the log. */
export class TokenError extends BearerError {
  override readonly name = 'TokenError'

  constructor (reason: TokenErrorReason, message: string, detail = message) {
    super(reason, message, detail)
  }
}

export type TokenErrorReason = 'invalid_format' | 'invalid_token' | 'invalid_claim'

export interface VerifierOptions {
  issuer: string
  /** OIDC_TENANTS; empty but for tokens of a provider with several tenants. */
  tenants: readonly string[]
  audience: string
  algorithms: readonly string[]
  groupsClaim: string
  groupPaths: boolean
  clockSkewSeconds: number
  maxLifetimeSeconds: number
  /** The key that a header asks for, made for its `alg`. @throws KeyNotFoundError, ProviderUnavailableError */
  getKey (header: JWSHeaderParameters): Promise<CryptoKey> | KeyObject
  revocation?: RevocationCheck
  /** Judges who the caller is, when a token is first seen and again each minute; throws to refuse. */
  checkAccess?: (claims: Readonly<Record<string, unknown>>) => void
  /** Wall clock in milliseconds. */
  now?: () => number
}

const MAX_TOKEN_LENGTH = 8_192
const MAX_KID_LENGTH = 256
const MAX_REMEMBERED = 10_000
const REMEMBER_MS = 60_000

export function createVerifier (options: VerifierOptions): Verifier {
  const { now = Date.now, revocation } = options
  const remembered = new Map<string, { principal: Principal, until: number }>()
  /** Digests in the order in which they came, around and around: a Map's own order gets slow where its oldest entries go. */
  const order: string[] = []
  let position = 0
  const namesOf = new WeakMap<Principal, string[]>()
  let generation = 0

  function remember (digest: string, principal: Principal): void {
    // Each that is remembered has a place, so there are no more of them than places.
    const oldest = order[position]
    if (oldest !== undefined) remembered.delete(oldest)
    order[position] = digest
    position = (position + 1) % MAX_REMEMBERED
    remembered.set(digest, { principal, until: Math.min(principal.expiresAt * 1_000, now() + REMEMBER_MS) })
  }

  function clearCache (): void {
    generation++
    remembered.clear()
  }

  /** What is being verified at this moment is not remembered either: its look at the store may have come too early. */
  function forgetRevoked (names: string[]): void {
    generation++
    for (const [digest, { principal }] of remembered) {
      if (namesOf.get(principal)!.some((name) => names.includes(name))) remembered.delete(digest)
    }
  }

  async function checkRevoked (principal: Principal, digest: string): Promise<void> {
    const names = revocation?.keys(principal.claims, digest) ?? []
    namesOf.set(principal, names)
    if (names.length > 0 && await revocation!.isRevoked(names, principal.claims['iat'] as number)) {
      throw new TokenError('invalid_token', 'The access token has been revoked')
    }
  }

  revocation?.onRevoked((revoked) => {
    if (revoked === undefined) clearCache()
    else forgetRevoked(revoked.names)
  })

  async function verifyAnew (token: string, digest: string): Promise<Principal> {
    const startedIn = generation
    const principal = await verifyJwt(token, options, now)
    await checkRevoked(principal, digest)
    options.checkAccess?.(principal.claims)
    if (startedIn === generation) remember(digest, principal)
    return principal
  }

  function judge (token: string): Principal | Promise<Principal> {
    const digest = hash('sha256', token, 'base64url')
    const known = remembered.get(digest)
    if (known !== undefined) {
      if (known.until > now()) return known.principal
      remembered.delete(digest)
    }
    return verifyAnew(token, digest)
  }

  return {
    judge,
    verify: async (token) => await judge(token),
    clearCache,
    revocationKeys: (principal) => namesOf.get(principal) ?? []
  }
}

async function verifyJwt (token: string, options: VerifierOptions, now: () => number): Promise<Principal> {
  const { header, payload, claims } = read(token)
  checkHeader(header, options.algorithms)
  const issuer = checkIssuer(claims, options)
  try {
    if (!isSignedBy(await options.getKey(header), header.alg, token)) throw new errors.JWSSignatureVerificationFailed()
    const { payload: verified } = UnsecuredJWT.decode(`${VERIFIED}.${payload}.`, {
      issuer,
      audience: options.audience,
      clockTolerance: options.clockSkewSeconds,
      currentDate: new Date(now()),
      requiredClaims: ['exp', 'iat', 'sub', 'aud', 'iss']
    })
    checkTimes(verified, options, now)
    checkTokenType(verified, header.typ)
    return toPrincipal(verified as JWTPayload & { iss: string, sub: string, exp: number }, options)
  } catch (err) {
    throw toTokenError(err, options)
  }
}

/** The header of a JWT without a signature (RFC 7519 section 6): jose judges the claims of one whose signature has been verified. */
const VERIFIED = Buffer.from('{"alg":"none"}').toString('base64url')

/**
 * Compact JWS only: three base64url parts, bounded. Encrypted tokens (five parts) are refused before anything is decoded.
 * The claims that are read here only refuse: those that are believed are jose's.
 */
function read (token: string): { header: JWSHeaderParameters & { alg: string }, payload: string, claims: JWTPayload } {
  if (token.length > MAX_TOKEN_LENGTH) throw new TokenError('invalid_format', `The access token is longer than ${MAX_TOKEN_LENGTH} characters`)
  if (!/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)) {
    throw new TokenError('invalid_format', 'The access token is not a signed JWT', 'not three base64url parts: does the provider issue opaque or encrypted access tokens? (an API or audience must be configured there)')
  }
  const dot = token.indexOf('.')
  const payload = token.slice(dot + 1, token.lastIndexOf('.'))
  return { header: decode('header', token.slice(0, dot)), payload, claims: decode('payload', payload) }
}

function decode<T extends object> (what: string, part: string): T {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(part, 'base64url').toString())
  } catch {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TokenError('invalid_format', 'The access token is not a signed JWT', `its ${what} is no JSON object`)
  return value as T
}

/** The algorithm comes from configuration, never from the token; keys that a header brings along are ignored (RFC 8725 section 3.1). */
function checkHeader (header: JWSHeaderParameters, algorithms: readonly string[]): void {
  const { alg, kid, crit, typ } = header
  if (typeof alg !== 'string' || !algorithms.includes(alg)) {
    throw new TokenError('invalid_token', 'The access token is signed with an algorithm that is not accepted', `alg ${JSON.stringify(alg)} is not in OIDC_ALGORITHMS`)
  }
  if (crit !== undefined) throw new TokenError('invalid_token', 'The access token has critical header parameters that are not understood')
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID_LENGTH)) {
    throw new TokenError('invalid_token', 'The access token names no usable key')
  }
  if (typ !== undefined && !(typeof typ === 'string' && /^(application\/)?(at\+jwt|jwt)$/i.test(typ))) {
    throw new TokenError('invalid_claim', 'The token is not an access token', `header typ is ${JSON.stringify(typ)}`)
  }
}

function checkIssuer (claims: JWTPayload, options: VerifierOptions): string {
  const issuer = expectedIssuer(options, claims)
  if (issuer === undefined || claims.iss !== issuer) {
    throw new TokenError('invalid_claim', 'The access token was issued by another issuer', `iss is ${JSON.stringify(claims.iss)}, expected is ${issuer === undefined ? 'that of one of OIDC_TENANTS' : `"${issuer}"`}`)
  }
  return issuer
}

/** jose has checked `exp` and `nbf`; what it leaves open is an `iat` in the future and a lifetime without bound. */
function checkTimes ({ iat = 0, exp = 0 }: JWTPayload, { clockSkewSeconds, maxLifetimeSeconds }: VerifierOptions, now: () => number): void {
  if (iat > now() / 1_000 + clockSkewSeconds) {
    throw new TokenError('invalid_claim', 'The access token was issued in the future', `iat is ${Math.round(iat - now() / 1_000)} s ahead: clock_skew_suspected (TOKEN_CLOCK_SKEW_SECONDS)`)
  }
  if (exp - iat > maxLifetimeSeconds) {
    throw new TokenError('invalid_claim', 'The access token lives longer than is accepted', `exp - iat is ${exp - iat} s, TOKEN_MAX_LIFETIME_SECONDS is ${maxLifetimeSeconds}`)
  }
}

/**
 * Access tokens only (RFC 8725 sections 3.11 and 3.12). ID tokens, refresh, logout tokens and client assertions of
 * the same issuer carry the same signature and may carry the same `aud`.
 *
 * A token that says it is an access token may hold a `nonce` or `c_hash`: `at+jwt`, Keycloak's payload
 * `typ: Bearer`, authentik's `uid` with `azp` (its access tokens are ID tokens plus those two).
 */
function checkTokenType (payload: JWTPayload, headerType: string | undefined): void {
  const kind = payload['typ']
  const saysAccess = /at\+jwt$/i.test(headerType ?? '') || kind === 'Bearer' || (typeof payload['uid'] === 'string' && typeof payload['azp'] === 'string')
  const foreign =
    (kind !== undefined && kind !== 'Bearer' && kind !== 'JWT' && kind !== 'at+jwt' && `payload typ is ${JSON.stringify(kind)}`) ||
    (payload['token_use'] === 'id' && "it has token_use id (Amazon Cognito's ID token)") ||
    (payload['events'] !== undefined && 'it has events (a logout token)') ||
    (payload.iss === payload.sub && 'iss equals sub (a client assertion)') ||
    (payload['at_hash'] !== undefined && 'it has at_hash (an ID token)') ||
    (!saysAccess && payload['c_hash'] !== undefined && 'it has c_hash (an ID token)') ||
    (!saysAccess && payload['nonce'] !== undefined && 'it has nonce (an ID token)')
  if (foreign !== false) throw new TokenError('invalid_claim', 'The token is not an access token', foreign)
  if (typeof payload.sub !== 'string' || payload.sub === '') throw new TokenError('invalid_claim', 'The access token names no subject', 'sub must be a string')
}

function toTokenError (err: unknown, { audience }: VerifierOptions): unknown {
  if (err instanceof errors.JWTExpired) return new TokenError('invalid_token', 'The access token has expired', `exp was ${err.payload.exp}`)
  if (err instanceof errors.JWTClaimValidationFailed) {
    const detail = err.claim === 'aud'
      ? `aud is ${JSON.stringify(err.payload.aud)}, OIDC_AUDIENCE is "${audience}": let the provider put it into the token (audience mapper, API identifier), or set OIDC_AUDIENCE`
      : err.message
    return new TokenError('invalid_claim', err.claim === 'aud' ? 'The access token was not issued for this server' : `The access token's ${err.claim} claim is not acceptable`, detail)
  }
  if (err instanceof ClaimError) return new TokenError('invalid_claim', 'The access token has claims of a wrong type', err.message)
  if (err instanceof KeyNotFoundError) return new TokenError('invalid_token', 'The access token is signed with a key that is not known', err.message)
  if (err instanceof errors.JOSEError) return new TokenError('invalid_token', "The access token's signature is not valid", err.code)
  return err
}
