import type { CauseCode } from './causes.ts'
import { HttpError } from './http-error.ts'
import type { ErrorCode, HttpErrorOptions } from './http-error.ts'

/**
 * An answer in OAuth's own form (RFC 6749 sections 4.1.2.1 and 5.2, RFC 7591 section 3.2.2, RFC 8707 section 2):
 * `code` and `message` go out.
 */
export class OAuthError extends HttpError {
  override readonly name: string = 'OAuthError'

  /** @param options.statusCode of a direct answer, not of a redirect */
  constructor (code: ErrorCode, message: string, options: HttpErrorOptions & { statusCode?: number } = {}) {
    super(options.statusCode ?? STATUS[code] ?? 400, code, message, { causeCode: CAUSE_CODES[code], ...options })
  }
}

export type OAuthErrorCode = ErrorCode

/** Causes of errors whose code says enough. */
const CAUSE_CODES: Partial<Record<ErrorCode, CauseCode>> = {
  invalid_client: 'client_authentication',
  invalid_request: 'request_invalid',
  invalid_scope: 'scope_refused',
  invalid_target: 'resource_wrong',
  unauthorized_client: 'client_not_allowed',
  unsupported_grant_type: 'request_not_supported',
  unsupported_response_type: 'request_not_supported'
}

/**
 * `server_error` is an answer of the provider that cannot be used: 502, as Seed has not failed. Whatever the status is,
 * a client gives up its refresh token for `invalid_grant` and `invalid_client` only.
 */
const STATUS: Partial<Record<ErrorCode, number>> = {
  invalid_client: 401,
  server_error: 502,
  temporarily_unavailable: 503
}
