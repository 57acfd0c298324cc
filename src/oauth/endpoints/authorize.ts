import type { Endpoint } from '../../config/endpoints.ts'
import type { ErrorCode } from '../../errors/http-error.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import type { AuthorizeQuery } from '../../schemas/authorize.ts'
import { checkGrantType, checkRedirectUri } from '../clients/clients.ts'
import type { Client, Clients } from '../clients/clients.ts'
import type { Requester } from '../clients/requester.ts'
import type { AuthorizationRequest, SignIn } from '../modes/sign-in.ts'
import { errorRedirect } from '../protocol/authorization-response.ts'
import { checkCodeChallenge } from '../protocol/pkce.ts'
import { isLoopbackRedirectUri } from '../protocol/redirect-uri.ts'
import { findResource } from '../protocol/resource-indicator.ts'
import { grantedScopes } from '../protocol/scope.ts'

export interface AuthorizationServices {
  clients: Clients
  signIn: Pick<SignIn, 'probeUrl' | 'effectiveScopes'>
  /** BASE_URL, in the mode whose metadata advertises `iss` in authorization responses (RFC 9207). */
  responseIssuer: string | undefined
  /** ENTERPRISE_AUTHORIZATION=only: nobody signs in with a browser. */
  isEnterpriseOnly: boolean
  /** All MCP endpoints; `/mcp` first. */
  endpoints: readonly Endpoint[]
  /** OIDC_SCOPES */
  scopes: readonly string[]
  /** Scopes that only some tools need. */
  toolScopes: readonly string[]
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

export type AuthorizationOutcome =
  | { kind: 'consent', request: AuthorizationRequest, endpoint: Endpoint }
  | { kind: 'redirect', location: URL, error?: OAuthError }

/**
 * The authorization endpoint (RFC 6749 section 3.1), the same in both modes.
 *
 * - A valid request goes to the consent page.
 * - A request without redirect URI is redirected to the provider, to show that the way there works.
 * - An invalid request of a loopback client is redirected back to it with the error, so that a command line does not
 *   wait in vain. For other clients the error is thrown and becomes a page: nobody has interacted yet, and a redirect
 *   would make Seed an open redirector (RFC 9700 section 4.11.2).
 *
 * @throws OAuthError, LimitError, ProviderUnavailableError, StoreUnavailableError
 */
export async function authorize (
  query: AuthorizeQuery,
  services: AuthorizationServices,
  requester: Requester
): Promise<AuthorizationOutcome> {
  const { step } = requester
  step.note({
    'client id': query.client_id,
    'redirect URI': query.redirect_uri?.split(/[?#]/)[0],
    scopes: query.scope,
    resource: query.resource
  })
  const client = await services.clients.find(query.client_id, requester.ip)
  step.note({ client: client.name, 'kind of client': client.kind })
  await requester.limitClient(client, false)
  if (services.isEnterpriseOnly) throw enterpriseOnly()
  checkGrantType(client, 'authorization_code')
  const redirectUri = checkRedirectUri(client, query.redirect_uri, services.redirectUriSchemes)
  try {
    checkResponse(query)
    checkNoRequestObject(query)
    const endpoint = findResource(query.resource, services.endpoints)
    checkPrompt(query)
    const scopes = grantedScopes(query.scope, endpoint.scopes, [...services.scopes, ...services.toolScopes])
    if (redirectUri === undefined) {
      step.outcome = 'Without redirect URI: the browser was sent to the provider, to show that the way there works'
      return { kind: 'redirect', location: services.signIn.probeUrl(scopes) }
    }
    checkCodeChallenge(query.code_challenge, query.code_challenge_method)
    const shown = services.signIn.effectiveScopes(scopes)
    step.outcome = 'The consent page was shown'
    return {
      kind: 'consent',
      endpoint,
      request: {
        ...toRequest(query, client, redirectUri, shown), endpoint: endpoint.name, reference: step.reference
      }
    }
  } catch (error) {
    if (!(error instanceof OAuthError) || redirectUri === undefined || !isLoopbackRedirectUri(redirectUri)) throw error
    step.error = error
    const target = { redirectUri, state: query.state, reference: step.reference }
    const location = errorRedirect(target, error, services.responseIssuer)
    return { kind: 'redirect', location, error }
  }
}

/** The page tells the person which application to use: a redirect would leave that to the one that cannot work. */
function enterpriseOnly (): OAuthError {
  return new OAuthError('access_denied', 'This server is reached with the application of your company alone', {
    statusCode: 403,
    detail: 'ENTERPRISE_AUTHORIZATION=only',
    causeCode: 'enterprise_only',
    page: {
      title: 'Use the application of your company',
      sentence: 'Your company decides which applications may use this server, and this one may not.',
      advice: 'Open the application that your company has set up for it, and sign in there.'
    }
  })
}

/** A code in the query is the only response: no implicit or hybrid flow, fragment or form (RFC 9700 section 2.1.2). */
function checkResponse ({ response_type: type, response_mode: mode }: AuthorizeQuery): void {
  if (type === undefined) throw notSupported('invalid_request', 'response_type is required')
  if (type !== 'code') throw notSupported('unsupported_response_type', 'response_type must be code')
  if (mode !== undefined && mode !== 'query') throw notSupported('invalid_request', 'response_mode must be query')
}

/** Request objects (RFC 9101) are neither read nor fetched. */
function checkNoRequestObject ({ request, request_uri: requestUri }: AuthorizeQuery): void {
  if (request === undefined && requestUri === undefined) return
  throw notSupported('invalid_request', 'request and request_uri are not supported')
}

/** A sign-in without interaction is refused (RFC 9700 section 4.11.2). */
function checkPrompt ({ prompt }: AuthorizeQuery): void {
  if (prompt?.split(' ').includes('none')) throw notSupported('interaction_required', 'prompt=none is not supported')
}

function notSupported (code: ErrorCode, message: string): OAuthError {
  return new OAuthError(code, message, { causeCode: 'request_not_supported' })
}

/** The values of `prompt` that Seed supports, published as `prompt_values_supported`. */
export const PROMPT_VALUES = ['login', 'consent', 'select_account']

function toRequest (
  query: AuthorizeQuery,
  { id, kind, name, refreshes, authMethod }: Client,
  redirectUri: string,
  scopes: readonly string[]
): Omit<AuthorizationRequest, 'endpoint' | 'reference'> {
  return {
    client: { id, kind, name, refreshes, authMethod },
    redirectUri,
    state: query.state,
    codeChallenge: query.code_challenge!,
    scopes,
    nonce: query.nonce,
    prompt: query.prompt?.split(' ').filter((value) => PROMPT_VALUES.includes(value)).join(' ') || undefined,
    maxAge: query.max_age,
    acrValues: query.acr_values?.split(' ').filter((value) => value !== '').join(' ') || undefined,
    loginHint: query.login_hint
  }
}
