import { BearerError } from '../errors/bearer-error.ts'
import type { CauseCode } from '../errors/causes.ts'

export type TokenErrorReason = 'invalid_format' | 'invalid_token' | 'invalid_claim'

/** An access token that is refused. `message` goes out with the challenge; `detail` is for the log. */
export class TokenError extends BearerError {
  override readonly name = 'TokenError'

  constructor (reason: TokenErrorReason, message: string, detail = message, causeCode?: CauseCode) {
    super(reason, message, detail, causeCode)
  }
}

/** An access token that is valid except that it has expired: its signature is verified. */
export class ExpiredTokenError extends TokenError {
  override get isGuess (): boolean { return false }

  constructor (exp: number) {
    super('invalid_token', 'The access token has expired', `exp was ${exp}`, 'token_expired')
  }
}

/** An access token of this server for another of its MCP endpoints. It is valid, so it is no guess. */
export class OtherEndpointError extends TokenError {
  override get isGuess (): boolean { return false }

  constructor (tokenResource: string | undefined, resource: string) {
    super('invalid_claim', 'The access token is for another MCP endpoint of this server',
      `the token is for ${tokenResource}, the request is for ${resource}`, 'token_other_endpoint')
  }
}

/** The access token, or all that its person or client had, was revoked here. */
export class RevokedTokenError extends TokenError {
  constructor () {
    super('invalid_token', 'The access token has been revoked', undefined, 'token_revoked')
  }
}
