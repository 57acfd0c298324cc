import * as oauth from 'oauth4webapi'
import { OPERATOR_ADVICE } from '../errors/http-error.ts'
import { OAuthError } from '../errors/oauth-error.ts'
import type { Log } from '../logging/log.ts'
import { parseJsonObject } from '../net/fetch.ts'
import { createClientAuthentication, isClientRefused, settingsOf } from './client-authentication.ts'
import type { ClientCredentials, LearnedMethod } from './client-authentication.ts'
import type { ProviderContact } from './contact.ts'
import type { ProviderMetadata } from './discovery.ts'
import { describeError } from './error-text.ts'
import { sendToProvider } from './provider-request.ts'

export interface PushedRequestOptions extends ClientCredentials {
  /** @throws ProviderUnavailableError */
  provider: () => ProviderMetadata
  clientId: string
  contact: Pick<ProviderContact, 'watch'>
  /** OIDC_PAR; undefined leaves it to the discovery document. */
  pushesRequests: boolean | undefined
  log: Pick<Log, 'warn' | 'error'>
}

/** The provider has refused a pushed request. Its own words are for the operator. */
export class PushedRequestError extends OAuthError {
  override readonly name = 'PushedRequestError'
  readonly error: unknown
  readonly description: unknown
  /** Whether it has refused Seed's client, rather than the request. */
  readonly isClientRefused: boolean

  /** @param clientSettings the settings to check, if the client was refused */
  constructor (
    status: number, { error, error_description: description }: Record<string, unknown>, clientSettings?: string
  ) {
    const words = describeError(error, description)
    const detail = `the provider's pushed authorization request endpoint answered ${status} ${words}`
    const isClientRefused = clientSettings !== undefined
    super('server_error', isClientRefused
      ? 'The identity provider refused this server; its operator must check the client settings'
      : 'The identity provider refused the request; the operator of this server must check its settings', {
      detail: isClientRefused ? `${detail}: ${clientSettings}` : detail, page: { advice: OPERATOR_ADVICE }
    })
    this.error = error
    this.description = description
    this.isClientRefused = isClientRefused
  }
}

export type PushedRequests = ReturnType<typeof createPushedRequests>

/** Returns the endpoint that authorization requests are pushed to, unless they need not be, or cannot. */
export function pushedRequestEndpoint (
  { requiresPushedRequests, pushedRequestEndpoint: endpoint }: ProviderMetadata, pushesRequests: boolean | undefined
): string | undefined {
  return pushesRequests ?? requiresPushedRequests ? endpoint : undefined
}

/**
 * Pushes authorization requests to the provider (RFC 9126): it gets the parameters from Seed, and the browser brings a
 * reference to them.
 */
export function createPushedRequests (options: PushedRequestOptions, learned: LearnedMethod) {
  const { provider, clientId, contact, pushesRequests, log } = options
  const client: oauth.Client = { client_id: clientId }
  const authentication = createClientAuthentication(options, log, learned)

  async function send (endpoint: string, parameters: URLSearchParams): Promise<Response> {
    const { issuer, tokenEndpoint, tokenEndpointAuthMethods } = provider()
    const server = { issuer, token_endpoint: tokenEndpoint, pushed_authorization_request_endpoint: endpoint }
    return await authentication.send(tokenEndpointAuthMethods, async (authenticate) =>
      await sendToProvider(endpoint, contact, async (http) =>
        await oauth.pushedAuthorizationRequest(server, client, authenticate, parameters, http)))
  }

  /** Returns the URL for the browser. @throws OAuthError */
  async function push (endpoint: string, url: URL): Promise<URL> {
    const response = await send(endpoint, url.searchParams)
    const isRefused = await isClientRefused(response)
    const { status } = response
    const body = parseJsonObject(await response.text()) ?? {}
    const { request_uri: requestUri } = body
    // Some providers answer 200; section 2.2 has 201.
    if ((status === 201 || status === 200) && typeof requestUri === 'string') {
      const pushed = new URL(provider().authorizationEndpoint)
      pushed.searchParams.set('client_id', clientId)
      pushed.searchParams.set('request_uri', requestUri)
      return pushed
    }
    if (status === 429 || status >= 500 || body['error'] === 'temporarily_unavailable') throw unavailable(status)
    const error = new PushedRequestError(status, body, isRefused ? settingsOf(options) : undefined)
    const fields = { reason: error.detail, scopes: url.searchParams.get('scope') }
    log.error({ event: 'provider.pushed_request_refused', ...fields },
      'The provider refused the pushed authorization request: check its client for Seed, the redirect ' +
      'URI, and the scopes (OIDC_SCOPES)')
    throw error
  }

  /**
   * Pushes an authorization request if the provider, or OIDC_PAR, wants that.
   *
   * @param url the authorization endpoint with all parameters
   * @returns the URL for the browser
   */
  return async function pushIfWanted (url: URL): Promise<URL> {
    const endpoint = pushedRequestEndpoint(provider(), pushesRequests)
    return endpoint === undefined ? url : await push(endpoint, url)
  }
}

function unavailable (status: number): OAuthError {
  return new OAuthError('temporarily_unavailable', 'The identity provider is unavailable; try again shortly', {
    detail: `the provider's pushed authorization request endpoint answered ${status}`,
    retryAfterSeconds: 5,
    page: { sentence: 'The identity provider is unavailable.' }
  })
}
