/** A person's authentication at the provider, as its tokens describe it (OpenID Connect Core 1.0 section 2). */
export interface Authentication {
  /** `auth_time`: when the person proved who they are, in seconds since the epoch; undefined if nobody says. */
  authenticatedAt: number | undefined
  /** `acr`: the level of that authentication, by the provider's name for it. */
  acr: string | undefined
  /** `amr`: the methods, such as `pwd` and `otp` (RFC 8176). */
  amr: readonly string[] | undefined
}

/** A demand for the person's authentication (RFC 9470). All members that are set must be met. */
export interface AuthenticationRequirement {
  /** Seconds that may have passed since the person authenticated. */
  maxAge?: number | undefined
  /** Accepted values of `acr`; one of them is enough. */
  acr?: readonly string[] | undefined
}

/** The longest `acr` or member of `amr`, and the most members: access tokens repeat them. */
const MAX_LENGTH = 256
const MAX_METHODS = 16

/** The end of the year 9999: a time that can be shown. */
const MAX_TIME = 253_402_300_799

/**
 * Reads the authentication from the claims of a verified token. A value of another type than the standards' counts as
 * absent: it must not look like an authentication, and it is no reason to refuse callers of whom nothing is demanded.
 */
export function readAuthentication ({ auth_time: authTime, acr, amr }: Record<string, unknown>): Authentication {
  return {
    authenticatedAt: isTime(authTime) ? Math.floor(authTime) : undefined,
    acr: isName(acr) ? acr : undefined,
    amr: Array.isArray(amr) && amr.length <= MAX_METHODS && amr.every(isName) ? amr : undefined
  }
}

function isTime (value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= MAX_TIME
}

function isName (value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_LENGTH
}

/** Clocks of Seed and of the provider. */
export interface AuthenticationClock {
  /** Seconds since the epoch. */
  now: number
  /** TOKEN_CLOCK_SKEW_SECONDS */
  clockSkewSeconds: number
}

/** Returns the reasons why an authentication is not what is demanded, for the operator; none if it is. */
export function describeUnmetAuthentication (
  { maxAge, acr }: AuthenticationRequirement,
  authentication: Partial<Authentication>,
  clock: AuthenticationClock
): string[] {
  const reasons: string[] = []
  if (maxAge !== undefined) reasons.push(...describeUnmetAge(maxAge, authentication.authenticatedAt, clock))
  if (acr !== undefined && (authentication.acr === undefined || !acr.includes(authentication.acr))) {
    const actual = authentication.acr === undefined ? 'no acr' : `acr ${JSON.stringify(authentication.acr)}`
    reasons.push(`acr must be ${acr.map((value) => JSON.stringify(value)).join(' or ')}; the token has ${actual}`)
  }
  return reasons
}

/**
 * Returns the names of claims that a demand needs and that the token does not have at all, whatever the person did: a
 * provider that was asked by `max_age` must send `auth_time` (OpenID Connect Core 1.0 section 2).
 */
export function missingAuthenticationClaims (
  { maxAge, acr }: AuthenticationRequirement, authentication: Partial<Authentication>
): string[] {
  return [
    ...(maxAge !== undefined && authentication.authenticatedAt === undefined ? ['auth_time'] : []),
    ...(acr !== undefined && authentication.acr === undefined ? ['acr'] : [])
  ]
}

function describeUnmetAge (
  maxAge: number, authenticatedAt: number | undefined, { now, clockSkewSeconds }: AuthenticationClock
): string[] {
  const limit = `the person must have signed in within ${maxAge} s (maxAge)`
  if (authenticatedAt === undefined) return [`${limit}; the token has no auth_time`]
  const age = now - authenticatedAt
  if (age < -clockSkewSeconds) {
    return [`${limit}; auth_time is ${-age} s in the future: clock_skew_suspected (TOKEN_CLOCK_SKEW_SECONDS)`]
  }
  return age > maxAge + clockSkewSeconds ? [`${limit}; that was ${age} s ago`] : []
}
