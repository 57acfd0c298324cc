import type { ErrorCode } from '../../errors/http-error.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { AccessDeniedError, SignInError } from '../../errors/sign-in-errors.ts'
import { ProviderUnavailableError } from '../../provider/discovery.ts'
import { errorRedirect } from '../protocol/authorization-response.ts'
import type { ResponseTarget } from '../protocol/authorization-response.ts'

/** Codes that tell the client what happened; any other is about this server and the provider. */
const KEPT_CODES: readonly ErrorCode[] = [
  'access_denied', 'temporarily_unavailable', 'unmet_authentication_requirements'
]

/**
 * Makes a failure an error page for the person, with a way back to the client that tells it what happened. The person
 * has allowed the client before.
 *
 * @param issuer BASE_URL, if the metadata advertises `iss` in authorization responses (RFC 9207)
 */
export function toSignInError (failure: unknown, request: ResponseTarget, issuer: string | undefined): unknown {
  if (failure instanceof AccessDeniedError || failure instanceof OAuthError) {
    const { message } = failure
    const code = KEPT_CODES.includes(failure.code) ? failure.code : 'server_error'
    return new SignInError(failure, errorRedirect(request, { code, message }, issuer))
  }
  if (failure instanceof ProviderUnavailableError) {
    const error = { code: failure.code, message: failure.publicMessage }
    return new SignInError(failure, errorRedirect(request, error, issuer))
  }
  return failure
}
