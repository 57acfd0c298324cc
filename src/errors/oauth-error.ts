/**
 * An answer in OAuth's own form (RFC 6749 sections 4.1.2.1 and 5.2, RFC 7591 section 3.2.2, RFC 8707 section 2).
 *
 * `code` and `message` go out, so the message is fixed text that names what to change; `detail` and `cause` are
 * for the log alone.
 */
export class OAuthError extends Error {
  override readonly name = 'OAuthError'
  readonly code: OAuthErrorCode
  readonly detail: string | undefined
  /** Seconds, for Retry-After; set on what will work later. */
  readonly retryAfterSeconds: number | undefined
  /** The HTTP status of a direct answer (not of a redirect). */
  readonly status: number

  constructor (code: OAuthErrorCode, message: string, options: { detail?: string, cause?: unknown, retryAfterSeconds?: number, status?: number } = {}) {
    super(message, { cause: options.cause })
    this.code = code
    this.detail = options.detail
    this.retryAfterSeconds = options.retryAfterSeconds
    this.status = options.status ?? STATUS[code] ?? 400
  }
}

export type OAuthErrorCode =
  | 'invalid_request' | 'invalid_client' | 'invalid_grant' | 'unauthorized_client' | 'unsupported_grant_type'
  | 'unsupported_response_type' | 'invalid_scope' | 'invalid_target' | 'access_denied' | 'interaction_required'
  | 'unsupported_token_type' | 'invalid_redirect_uri' | 'invalid_client_metadata' | 'invalid_software_statement'
  | 'server_error' | 'temporarily_unavailable'

const STATUS: Partial<Record<OAuthErrorCode, number>> = {
  invalid_client: 401,
  server_error: 500,
  temporarily_unavailable: 503
}
