import { BearerError } from '../errors/bearer-error.ts'

export type TokenErrorReason = 'invalid_format' | 'invalid_token' | 'invalid_claim'

/** An access token that is refused. `message` goes out with the challenge; `detail` is for the log. */
export class TokenError extends BearerError {
  override readonly name = 'TokenError'

  constructor (reason: TokenErrorReason, message: string, detail = message) {
    super(reason, message, detail)
  }
}
