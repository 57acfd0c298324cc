import type { CauseCode } from './causes.ts'

/**
 * An error that has an HTTP answer. Every wire format (OAuth JSON, JSON-RPC, HTML page, plain JSON) is made from the
 * same members, in src/http/errors.ts.
 */
export class HttpError extends Error {
  override readonly name: string = 'HttpError'
  readonly statusCode: number
  readonly code: ErrorCode
  /** Safe to send: fixed text that names what to change. */
  readonly publicMessage: string
  /** For the log only. */
  readonly detail: string | undefined
  /** Leads to what helps (causes.ts). */
  readonly causeCode: CauseCode | undefined
  /** Seconds, for Retry-After; set where the same request will work later. */
  readonly retryAfterSeconds: number | undefined
  /** Text for a person in a browser, where the general one does not help. */
  readonly page: ErrorPageText | undefined

  /** @param message what the log shows, and what the client reads unless `publicMessage` is given */
  constructor (statusCode: number, code: ErrorCode, message: string, options: HttpErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.statusCode = statusCode
    this.code = code
    this.publicMessage = options.publicMessage ?? message
    this.detail = options.detail
    this.causeCode = options.causeCode
    this.retryAfterSeconds = options.retryAfterSeconds
    this.page = options.page
  }
}

export interface HttpErrorOptions {
  publicMessage?: string | undefined
  detail?: string | undefined
  causeCode?: CauseCode | undefined
  cause?: unknown
  retryAfterSeconds?: number | undefined
  page?: ErrorPageText | undefined
}

export interface ErrorPageText {
  title?: string
  /** One sentence that tells what happened; `publicMessage` if absent. */
  sentence?: string
  /** One sentence that tells what to do now. */
  advice?: string
}

/** For what no new attempt cures: a setting of this server or of the identity provider. */
export const OPERATOR_ADVICE = 'Trying again does not help before the settings have been corrected. ' +
  'Tell whoever runs this server, and give them the reference.'

/**
 * Error codes of RFC 6749 sections 4.1.2.1 and 5.2, RFC 7009 section 2.2.1, RFC 7591 section 3.2.2, RFC 8707
 * section 2, OpenID Connect Core section 3.1.2.6, and OpenID Connect Core Error Code unmet_authentication_requirements
 * 1.0. Errors outside OAuth use the nearest one; only the log shows it.
 */
export type ErrorCode =
  | 'invalid_request' | 'invalid_client' | 'invalid_grant' | 'unauthorized_client' | 'unsupported_grant_type'
  | 'unsupported_response_type' | 'invalid_scope' | 'invalid_target' | 'access_denied' | 'interaction_required'
  | 'unsupported_token_type' | 'invalid_redirect_uri' | 'invalid_client_metadata' | 'invalid_software_statement'
  | 'server_error' | 'temporarily_unavailable' | 'unmet_authentication_requirements'

/** Too many requests or too much work at once: 429. `detail` names the setting. */
export class LimitError extends HttpError {
  override readonly name = 'LimitError'

  constructor (message: string, options: HttpErrorOptions & { retryAfterSeconds: number, detail: string }) {
    super(429, 'temporarily_unavailable', message, { causeCode: 'limit_reached', ...options })
  }
}
