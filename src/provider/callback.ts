import * as oauth from 'oauth4webapi'
import type { CauseCode } from '../errors/causes.ts'
import { OAuthError } from '../errors/oauth-error.ts'
import type { ProviderMetadata } from './discovery.ts'
import { describeError } from './error-text.ts'

/** Parameters of the provider's redirect to /oauth/callback. */
export interface CallbackParameters {
  state?: string
  code?: string
  iss?: string
  error?: string
  /** The provider's text, for the log; not a string if it was repeated. */
  error_description?: unknown
}

/** The authorization code, or why the provider refused, in words for the client. */
export type CallbackResult = { code: string } | { error: OAuthError }

/**
 * Reads the provider's authorization response (OpenID Connect Core 1.0 sections 3.1.2.5 and 3.1.2.6) and checks its
 * `iss` (RFC 9207).
 *
 * @param parameters their `state` is one that Seed has sent
 * @throws OAuthError when the response is not one of this provider
 */
export function readCallback (
  parameters: CallbackParameters, clientId: string, { issuer, sendsIss }: ProviderMetadata
): CallbackResult {
  const server = { issuer, authorization_response_iss_parameter_supported: sendsIss }
  const { error_description: description, ...others } = parameters
  const query = new URLSearchParams(Object.entries(others))
  try {
    const response = oauth.validateAuthResponse(server, { client_id: clientId }, query, parameters.state)
    return { code: response.get('code') ?? '' }
  } catch (err) {
    if (err instanceof oauth.AuthorizationResponseError) return { error: toClientError(err.error, description) }
    throw unacceptableResponse(err as Error)
  }
}

/** A response of the provider that fails validation. */
export function unacceptableResponse (cause: Error): OAuthError {
  const message = 'The identity provider sent a response that this server cannot accept'
  const { causeCode = 'provider_response' } = cause as { causeCode?: CauseCode }
  return new OAuthError('server_error', message, { detail: cause.message, causeCode, cause })
}

/** Maps the provider's error to one for the client; the provider's words go to the log alone. */
function toClientError (error: string, description: unknown): OAuthError {
  const detail = `the provider answered the authorization request with ${describeError(error, description)}`
  if (error === 'access_denied') {
    return new OAuthError('access_denied', 'The sign-in was refused or cancelled at the identity provider', {
      detail, causeCode: 'provider_denied'
    })
  }
  if (error === 'temporarily_unavailable') {
    return new OAuthError('temporarily_unavailable', 'The identity provider is unavailable; try again shortly', {
      detail, causeCode: 'provider_unavailable', page: { sentence: 'The identity provider is unavailable.' }
    })
  }
  if (error === 'unmet_authentication_requirements') {
    return new OAuthError(error, 'The identity provider cannot sign the person in as was asked for', {
      detail, causeCode: 'provider_authentication'
    })
  }
  if (NEEDS_PERSON.includes(error)) {
    return new OAuthError('interaction_required', 'The identity provider needs the person to act', {
      detail, causeCode: 'provider_needs_person'
    })
  }
  const message = 'The identity provider refused the request; the operator of this server must check its settings'
  return new OAuthError('server_error', message, { detail, causeCode: 'provider_refused_request' })
}

/** OpenID Connect Core 1.0 section 3.1.2.6 */
const NEEDS_PERSON = ['login_required', 'interaction_required', 'consent_required', 'account_selection_required']
