import { randomBytes } from 'node:crypto'
import type { ProviderMetadata } from '../oidc/provider.ts'
import type { AuthorizeQuery } from '../schemas/authorize.ts'
import { checkRedirectUri } from './clients.ts'
import type { Clients } from './clients.ts'
import { OAuthError } from './errors.ts'
import { checkCodeChallenge, unanswerableChallenge } from './pkce.ts'
import { isLoopbackRedirectUri } from './redirect-uri.ts'
import { checkResource } from './resource.ts'

/**
 * The authorization endpoint in proxy mode: named checks one after another, then on to the provider with the
 * provider's client id and the client's own redirect URI.
 */
export interface AuthorizationServices {
  clients: Clients
  /** @throws ProviderUnavailableError */
  provider: () => ProviderMetadata
  /** The client id Seed has at the provider (OIDC_CLIENT_ID). */
  upstreamClientId: string
  baseUrl: string
  resource: string
  scopes: readonly string[]
  redirectUriSchemes: readonly string[]
}

/**
 * @returns where the browser goes next: the provider, or (an error in the request of a client on this machine, which
 *   comes along) the client itself, so that a waiting command line hears of it. Clients elsewhere get no redirect
 *   that nobody asked for: the error is thrown and becomes a page (RFC 9700 section 4.11.2).
 * @throws OAuthError, ProviderUnavailableError, StoreUnavailableError
 */
export async function authorize (query: AuthorizeQuery, services: AuthorizationServices): Promise<{ location: URL, error?: OAuthError }> {
  const client = await services.clients.find(query.client_id)
  const redirectUri = checkRedirectUri(client, query.redirect_uri, services.redirectUriSchemes)
  try {
    checkResponse(query)
    checkNoRequestObject(query)
    checkResource(query.resource, services.resource)
    checkPrompt(query)
    if (redirectUri !== undefined) checkCodeChallenge(query.code_challenge, query.code_challenge_method)
    return { location: upstreamRequest(query, redirectUri, services) }
  } catch (err) {
    if (err instanceof OAuthError && redirectUri !== undefined && isLoopbackRedirectUri(redirectUri)) {
      return { location: errorRedirect(redirectUri, err, query.state, services.baseUrl), error: err }
    }
    throw err
  }
}

/** Codes in the query and nothing else: no implicit or hybrid flow, no fragment or form (OAuth 2.1, RFC 9700 section 2.1.2). */
function checkResponse ({ response_type: type, response_mode: mode }: AuthorizeQuery): void {
  if (type === undefined) throw new OAuthError('invalid_request', 'response_type is required')
  if (type !== 'code') throw new OAuthError('unsupported_response_type', 'response_type must be code')
  if (mode !== undefined && mode !== 'query') throw new OAuthError('invalid_request', 'response_mode must be query')
}

/** Request objects are neither read nor fetched (RFC 9101). */
function checkNoRequestObject ({ request, request_uri: requestUri }: AuthorizeQuery): void {
  if (request !== undefined || requestUri !== undefined) throw new OAuthError('invalid_request', 'request and request_uri are not supported')
}

/** A sign-in without a person present is never done (RFC 9700 section 4.11.2). */
function checkPrompt ({ prompt }: AuthorizeQuery): void {
  if (prompt?.split(' ').includes('none')) throw new OAuthError('interaction_required', 'prompt=none is not supported')
}

/**
 * The request to the provider, from an allow-list: nothing else that the client sent goes on. `resource` stays here
 * (Entra and others refuse it). A `nonce` is always sent, as some providers require one.
 *
 * Without a redirect URI (a probe) the authorization can never finish: the challenge is one that nobody can answer.
 */
function upstreamRequest (query: AuthorizeQuery, redirectUri: string | undefined, services: AuthorizationServices): URL {
  const url = new URL(services.provider().authorizationEndpoint)
  const parameters = {
    response_type: 'code',
    client_id: services.upstreamClientId,
    redirect_uri: redirectUri,
    scope: upstreamScope(query.scope, services.scopes),
    state: query.state,
    code_challenge: redirectUri === undefined ? unanswerableChallenge() : query.code_challenge,
    code_challenge_method: 'S256',
    nonce: query.nonce ?? randomBytes(16).toString('base64url'),
    prompt: query.prompt?.split(' ').filter((value) => ['login', 'consent', 'select_account'].includes(value)).join(' ') || undefined,
    max_age: query.max_age,
    login_hint: query.login_hint
  }
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) url.searchParams.set(name, value)
  }
  return url
}

/**
 * The scopes to ask the provider for: those of the request that OIDC_SCOPES lists, all of OIDC_SCOPES when that
 * leaves none (RFC 6749 section 3.3), and always `openid`.
 */
export function upstreamScope (requested: string | undefined, configured: readonly string[]): string {
  const wanted = new Set(requested?.split(' '))
  const granted = configured.filter((scope) => wanted.has(scope))
  if (granted.length === 0) return configured.join(' ')
  return [...new Set(['openid', ...granted])].join(' ')
}

/** RFC 6749 section 4.1.2.1 with RFC 9207 `iss`; of the request only `state` comes back. */
function errorRedirect (redirectUri: string, error: OAuthError, state: string | undefined, issuer: string): URL {
  const url = new URL(redirectUri)
  url.searchParams.set('error', error.code)
  url.searchParams.set('error_description', error.message)
  if (state !== undefined) url.searchParams.set('state', state)
  url.searchParams.set('iss', issuer)
  return url
}
