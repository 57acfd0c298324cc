import type { CauseCode } from './causes.ts'
import { HttpError } from './http-error.ts'

export type BearerErrorReason =
  | 'missing_token' | 'invalid_format' | 'invalid_token' | 'invalid_claim' | 'invalid_request' | 'insufficient_scope'

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
    return this.reason !== 'missing_token' && this.reason !== 'insufficient_scope'
  }

  /** The error code of RFC 6750 section 3.1; undefined where no credential was sent. */
  get challengeCode (): 'invalid_request' | 'invalid_token' | 'insufficient_scope' | undefined {
    if (this.reason === 'missing_token') return undefined
    return this.reason === 'invalid_request' || this.reason === 'insufficient_scope' ? this.reason : 'invalid_token'
  }
}

const STATUS: Partial<Record<BearerErrorReason, number>> = { invalid_request: 400, insufficient_scope: 403 }

const CAUSE_CODES: Record<BearerErrorReason, CauseCode> = {
  missing_token: 'token_missing',
  invalid_format: 'token_format',
  invalid_token: 'token_signature',
  invalid_claim: 'token_refused',
  invalid_request: 'token_format',
  insufficient_scope: 'scope_missing'
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
