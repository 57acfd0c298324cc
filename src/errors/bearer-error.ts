import type { CauseCode } from './causes.ts'
import { HttpError } from './http-error.ts'

export type BearerErrorReason =
  | 'missing_token' | 'invalid_format' | 'invalid_token' | 'invalid_claim' | 'invalid_request' | 'insufficient_scope'
  | 'insufficient_user_authentication'

/** The error codes of RFC 6750 section 3.1 and RFC 9470 section 3. */
export type ChallengeCode =
  'invalid_request' | 'invalid_token' | 'insufficient_scope' | 'insufficient_user_authentication'

/**
 * A request whose bearer credential is missing, unusable or not enough (RFC 6750 section 3). The answer carries a
 * `WWW-Authenticate` challenge; `reason` goes out in the body.
 */
export class BearerError extends HttpError {
  override readonly name: string = 'BearerError'
  readonly reason: BearerErrorReason

  constructor (reason: BearerErrorReason, message: string, detail?: string, causeCode = CAUSE_CODES[reason]) {
    super(STATUS[reason] ?? 401, 'invalid_request', message, { detail, causeCode })
    this.reason = reason
  }

  /**
   * True for a token that nobody may have issued. A request without a token, or with one that has expired, is how an
   * honest client learns to sign in or to refresh.
   */
  get isGuess (): boolean {
    return this.reason !== 'missing_token' && !STEP_UP.includes(this.reason)
  }

  /** Undefined where no credential was sent (RFC 6750 section 3.1). */
  get challengeCode (): ChallengeCode | undefined {
    return CHALLENGE_CODES[this.reason]
  }
}

/** Reasons for which a valid token is refused: another token of the same person may be enough. */
const STEP_UP: readonly BearerErrorReason[] = ['insufficient_scope', 'insufficient_user_authentication']

const CHALLENGE_CODES: Record<BearerErrorReason, ChallengeCode | undefined> = {
  missing_token: undefined,
  invalid_format: 'invalid_token',
  invalid_token: 'invalid_token',
  invalid_claim: 'invalid_token',
  invalid_request: 'invalid_request',
  insufficient_scope: 'insufficient_scope',
  insufficient_user_authentication: 'insufficient_user_authentication'
}

const STATUS: Partial<Record<BearerErrorReason, number>> = { invalid_request: 400, insufficient_scope: 403 }

const CAUSE_CODES: Record<BearerErrorReason, CauseCode> = {
  missing_token: 'token_missing',
  invalid_format: 'token_format',
  invalid_token: 'token_signature',
  invalid_claim: 'token_refused',
  invalid_request: 'token_format',
  insufficient_scope: 'scope_missing',
  insufficient_user_authentication: 'authentication_insufficient'
}

/** The token is valid but lacks scopes. The challenge names every scope that the client should ask for. */
export class InsufficientScopeError extends BearerError {
  override readonly name = 'InsufficientScopeError'
  readonly scopes: readonly string[]

  /** @param scopes for the challenge: what the token has and what it lacks. @param missing for the log */
  constructor (scopes: readonly string[], missing: readonly string[]) {
    super('insufficient_scope', 'This needs permissions that the access token does not have',
      `scopes that the access token lacks: ${missing.join(' ')}`)
    this.scopes = scopes
  }
}

/** The authentication that a challenge demands (RFC 9470 section 3). */
export interface DemandedAuthentication {
  /** Seconds. */
  maxAge: number | undefined
  acr: readonly string[] | undefined
}

/**
 * The token is valid, but the person signed in too long ago, or not at a level that is demanded (RFC 9470). The
 * challenge names all of it, and the scopes that the new token needs.
 */
export class InsufficientAuthenticationError extends BearerError {
  override readonly name = 'InsufficientAuthenticationError'
  readonly demanded: DemandedAuthentication
  readonly scopes: readonly string[]

  /** @param scopes for the challenge: what the token has and what it lacks. @param reasons for the log */
  constructor (demanded: DemandedAuthentication, scopes: readonly string[], reasons: readonly string[]) {
    super('insufficient_user_authentication', 'This needs a more recent or stronger sign-in: sign in again',
      reasons.join('; '))
    this.demanded = demanded
    this.scopes = scopes
  }
}
