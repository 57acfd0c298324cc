import type { Preset } from '../provider-presets/preset.ts'
import { OPERATOR_ADVICE } from '../errors/http-error.ts'
import { OAuthError } from '../errors/oauth-error.ts'
import { parseJsonObject } from '../net/fetch.ts'
import { describeError } from './error-text.ts'

/** The provider's tokens. */
export interface UpstreamTokens {
  accessToken: string
  refreshToken: string | undefined
  idToken: string | undefined
  expiresInSeconds: number | undefined
  /** Granted scope; undefined if the response has none. */
  scope: string | undefined
}

/** RFC 8693 section 3 */
export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'

export interface TokenResponseOptions {
  grantType: string
  preset: Pick<Preset, 'scopeAliases'>
  /** Says which settings to check when the provider refuses the client. */
  clientSettings: string
}

/**
 * Reads the response of the provider's token endpoint (RFC 6749 section 5.1). Optional members may have any form:
 * providers take liberties.
 *
 * @throws OAuthError whose message is safe to send to a client
 */
export async function readTokenResponse (
  response: Response, options: TokenResponseOptions
): Promise<UpstreamTokens> {
  const { scopeAliases } = options.preset
  const body = parseJsonObject(await response.text())
  if (response.status !== 200 || typeof body?.['access_token'] !== 'string' || !isAccessToken(body)) {
    throw toTokenError(response.status, body ?? {}, options)
  }
  checkTokenType(body['token_type'])
  const expiresIn = String(body['expires_in'])
  return {
    accessToken: body['access_token'],
    refreshToken: nonEmptyString(body['refresh_token']),
    idToken: nonEmptyString(body['id_token']),
    expiresInSeconds: /^\d+$/.test(expiresIn) ? Number(expiresIn) : undefined,
    scope: nonEmptyString(body['scope'])?.split(' ').map((name) => scopeAliases[name] ?? name).join(' ')
  }
}

/** A token exchange may return other kinds of token in `access_token` (RFC 8693 section 2.2.1). */
function isAccessToken ({ issued_token_type: type }: Record<string, unknown>): boolean {
  return type === undefined || type === ACCESS_TOKEN_TYPE || type === JWT_TYPE
}

/**
 * A token of another type, such as DPoP, cannot be used as a bearer token (RFC 6749 section 7.1). Some providers leave
 * the type out.
 */
function checkTokenType (type: unknown): void {
  if (type === undefined || (typeof type === 'string' && type.toLowerCase() === 'bearer')) return
  throw new OAuthError('server_error', 'The identity provider returned no usable response', {
    causeCode: 'provider_response',
    detail: `token_type is ${JSON.stringify(type).slice(0, 100)}, but only Bearer tokens can be used: do not let the ` +
      "provider bind the tokens of Seed's client (DPoP)"
  })
}

function nonEmptyString (value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/**
 * Maps the provider's error to what a client is told. A grant ends only on the provider's own word (`invalid_grant`,
 * or `invalid_code` as some call it), never because of an outage or of Seed's configuration.
 *
 * Some providers send `invalid_request`, or no error code, and mean `invalid_grant`. An authorization code is spent
 * either way. A refresh token may still be good (dead-refresh-token.ts): with `server_error` the client keeps it.
 */
function toTokenError (
  status: number, body: Record<string, unknown>, { grantType, clientSettings }: TokenResponseOptions
): OAuthError {
  const error = typeof body['error'] === 'string' ? body['error'] : undefined
  const detail = describeTokenError(status, body)
  if (status === 429 || status >= 500 || error === 'temporarily_unavailable') {
    return new OAuthError('temporarily_unavailable', 'The identity provider is unavailable; try again shortly', {
      detail,
      causeCode: 'provider_unavailable',
      retryAfterSeconds: 5,
      page: { sentence: 'The identity provider is unavailable.' }
    })
  }
  const isUnclear = error === 'invalid_request' || (error === undefined && status === 400)
  const isRefused = error === 'invalid_grant' || error === 'invalid_code'
  if (isRefused || (isUnclear && grantType === 'authorization_code')) {
    return endedGrant(detail)
  }
  const isSilent = error === undefined && (status === 401 || status === 403)
  if (error === 'invalid_client' || error === 'unauthorized_client' || isSilent) {
    const message = 'The identity provider refused this server; its operator must check the client settings'
    return new OAuthError('server_error', message, {
      detail: `${detail}: ${clientSettings}`,
      causeCode: 'provider_refused_client',
      page: { advice: OPERATOR_ADVICE }
    })
  }
  if (error === 'invalid_scope' || error === 'invalid_target') {
    return new OAuthError(error, 'The identity provider refused the request', {
      detail, causeCode: 'provider_refused_request'
    })
  }
  return new OAuthError('server_error', 'The identity provider returned no usable response', {
    detail, causeCode: 'provider_response'
  })
}

export function describeTokenError (status: number, body: Record<string, unknown>): string {
  return `the provider's token endpoint answered ${status} ${describeError(body['error'], body['error_description'])}`
}

/** The provider refuses a code or a refresh token: it has ended there. */
export function endedGrant (detail: string): OAuthError {
  return new OAuthError('invalid_grant', 'The identity provider refused the grant: sign in again', {
    detail, causeCode: 'provider_refused_grant'
  })
}
