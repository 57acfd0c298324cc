import type { AuthorizeQuery } from '../../schemas/authorize.ts'
import { checkRedirectUri } from '../clients/clients.ts'
import type { Client, Clients } from '../clients/clients.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import type { AuthorizationRequest } from '../modes/sign-in.ts'
import { checkCodeChallenge } from '../protocol/pkce.ts'
import type { LimitClient } from '../clients/client-limit.ts'
import { isLoopbackRedirectUri } from '../protocol/redirect-uri.ts'
import { checkResource } from '../protocol/resource-indicator.ts'
import { errorRedirect } from '../protocol/authorization-response.ts'
import { grantedScopes } from '../protocol/scope.ts'

/** The authorization endpoint, the same in both modes: named checks one after another. What passes goes to consent. */
export interface AuthorizationServices {
  clients: Clients
  /** Where a request without a redirect URI goes: to the provider, from where nothing ever comes back. */
  probe: (scopes: readonly string[]) => URL
  baseUrl: string
  resource: string
  /** OIDC_SCOPES */
  scopes: readonly string[]
  /** Those that only some tools need. */
  toolScopes: readonly string[]
  redirectUriSchemes: readonly string[]
}

export type AuthorizationOutcome =
  | { kind: 'consent', request: AuthorizationRequest }
  | { kind: 'redirect', location: URL, error?: OAuthError }

/**
 * @returns the request to ask the person about; or where the browser goes at once: the provider (a probe), or (an error
 *   in the request of a client on this machine, which comes along) the client itself, so that a waiting command line hears
 *   of it. Clients elsewhere get no redirect that nobody asked for: the error is thrown and becomes a page (RFC 9700
 *   section 4.11.2).
 * @throws OAuthError, ProviderUnavailableError, StoreUnavailableError
 */
export async function authorize (
  query: AuthorizeQuery, services: AuthorizationServices, limitClient: LimitClient
): Promise<AuthorizationOutcome> {
  const client = await services.clients.find(query.client_id)
  await limitClient(client.id)
  const redirectUri = checkRedirectUri(client, query.redirect_uri, services.redirectUriSchemes)
  try {
    checkResponse(query)
    checkNoRequestObject(query)
    checkResource(query.resource, services.resource)
    checkPrompt(query)
    const scopes = grantedScopes(query.scope, services.scopes, services.toolScopes)
    if (redirectUri === undefined) return { kind: 'redirect', location: services.probe(scopes) }
    checkCodeChallenge(query.code_challenge, query.code_challenge_method)
    return { kind: 'consent', request: toRequest(query, client, redirectUri, scopes) }
  } catch (err) {
    if (err instanceof OAuthError && redirectUri !== undefined && isLoopbackRedirectUri(redirectUri)) {
      return { kind: 'redirect', location: errorRedirect({ redirectUri, state: query.state }, err, services.baseUrl), error: err }
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

function toRequest (query: AuthorizeQuery, { id, kind, name, refreshes }: Client, redirectUri: string, scopes: readonly string[]): AuthorizationRequest {
  return {
    client: { id, kind, name, refreshes },
    redirectUri,
    state: query.state,
    codeChallenge: query.code_challenge!,
    scopes,
    nonce: query.nonce,
    prompt: query.prompt?.split(' ').filter((value) => ['login', 'consent', 'select_account'].includes(value)).join(' ') || undefined,
    maxAge: query.max_age,
    loginHint: query.login_hint
  }
}
