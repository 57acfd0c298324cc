import { ProviderUnavailableError } from '../../../provider/discovery.ts'
import { StoreUnavailableError } from '../../../store/store.ts'
import { OAuthError } from '../../../errors/oauth-error.ts'

interface TokenExchangeErrorOptions {
  detail?: string | undefined
  cause?: unknown
  retryAfterSeconds?: number | undefined
}

/**
 * No token for another API can be had. The message says what to do and may go to the tool's author, or on to its
 * caller; `detail` is for the log.
 */
export class TokenExchangeError extends Error {
  override readonly name = 'TokenExchangeError'
  readonly detail: string | undefined
  /** Seconds; set where the same request will work later. */
  readonly retryAfterSeconds: number | undefined

  constructor (message: string, { detail, cause, retryAfterSeconds }: TokenExchangeErrorOptions = {}) {
    super(message, { cause })
    this.detail = detail
    this.retryAfterSeconds = retryAfterSeconds
  }
}

export function grantEnded (detail: string | undefined): TokenExchangeError {
  return new TokenExchangeError('The sign-in that this call belongs to has ended: sign in again', { detail })
}

/** Maps failures of store, provider and grant; throws any other error as it is. */
export function toTokenExchangeError (err: unknown): TokenExchangeError {
  if (err instanceof TokenExchangeError) return err
  if (err instanceof StoreUnavailableError || err instanceof ProviderUnavailableError) {
    return new TokenExchangeError('No token for another API can be had just now; try again shortly', {
      detail: err.message, cause: err, retryAfterSeconds: err.retryAfterSeconds
    })
  }
  if (!(err instanceof OAuthError)) throw err
  if (err.code === 'invalid_grant') return grantEnded(err.detail)
  return new TokenExchangeError(err.message, {
    detail: err.detail, cause: err, retryAfterSeconds: err.retryAfterSeconds
  })
}
