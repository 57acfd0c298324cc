import * as oauth from 'oauth4webapi'
import { upstreamScopes } from '../provider-presets/upstream-scopes.ts'
import type { Preset } from '../provider-presets/preset.ts'
import type { Log } from '../logging/log.ts'
import { parseJsonObject } from '../net/fetch.ts'
import { apiParameters, buildAuthorizationUrl } from './authorization-url.ts'
import type { AuthorizationParameters } from './authorization-url.ts'
import { readUserinfo } from './userinfo.ts'
import { readCallback } from './callback.ts'
import type { CallbackParameters, CallbackResult } from './callback.ts'
import { createClientAuthentication, settingsOf } from './client-authentication.ts'
import type { ClientCredentials, LearnedMethod } from './client-authentication.ts'
import { createDeadTokenCheck } from './dead-refresh-token.ts'
import { delegationRequest } from './delegation.ts'
import type { Delegation } from './delegation.ts'
import type { ProviderContact } from './contact.ts'
import type { ProviderMetadata } from './discovery.ts'
import { createMethodProbe } from './method-probe.ts'
import { describeTokenError, endedGrant, readTokenResponse } from './token-response.ts'
import type { UpstreamTokens } from './token-response.ts'
import { sendToProvider } from './provider-request.ts'
import { createPushedRequests } from './pushed-request.ts'
import { createTokenRevocation } from './token-revocation.ts'

export interface TokenClientOptions extends ClientCredentials {
  /** @throws ProviderUnavailableError */
  provider: () => ProviderMetadata
  preset: Preset
  clientId: string
  contact: Pick<ProviderContact, 'watch'>
  /** OIDC_AUDIENCE, for presets that send it. */
  audience: string
  /** OIDC_RESOURCE */
  resource: string | undefined
  /** OIDC_SCOPES */
  scopes: readonly string[]
  /** OIDC_PAR; undefined leaves it to the discovery document. */
  pushesRequests: boolean | undefined
  log: Pick<Log, 'info' | 'warn' | 'error'>
}

export type TokenClient = ReturnType<typeof createTokenClient>

const UNPROMISED_ISS = 'The provider adds "iss" (RFC 9207) to its redirects, which its discovery document does not ' +
  'say. That is fine here; OAUTH_MODE=proxy would fail with current MCP clients (TypeScript SDK v2, mcp-remote, AI SDK)'

/**
 * Seed as an OAuth client of the provider. oauth4webapi makes the requests. The responses are read here, because
 * providers report errors in many ways, and their texts must not reach a client.
 *
 * All methods throw ProviderUnavailableError before discovery, and OAuthError when the provider fails or refuses.
 */
export function createTokenClient (options: TokenClientOptions) {
  const { provider, preset, clientId, contact, scopes, log } = options
  const client: oauth.Client = { client_id: clientId }
  const api = apiParameters(options)
  const learnedMethod: LearnedMethod = {}
  const tokenAuthentication = createClientAuthentication(options, log, learnedMethod)
  const revocation = createTokenRevocation(options, learnedMethod)
  const pushIfWanted = createPushedRequests(options, learnedMethod)
  const learnMethod = createMethodProbe({
    provider,
    authentication: tokenAuthentication,
    revocation,
    refresh: async (token, timeoutMs) => await sendTokenRequest('refresh_token', { refresh_token: token }, timeoutMs)
  })

  let unpromisedIssLogged = false
  const deadTokens = createDeadTokenCheck(
    async (parameters) => await sendTokenRequest('refresh_token', parameters), log)

  async function sendTokenRequest (
    grantType: string, parameters: Record<string, string>, timeoutMs?: number
  ): Promise<Response> {
    const { issuer, tokenEndpoint, tokenEndpointAuthMethods } = provider()
    const server = { issuer, token_endpoint: tokenEndpoint }
    return await tokenAuthentication.send(tokenEndpointAuthMethods, async (authenticate) =>
      await sendToProvider(tokenEndpoint, contact, async (http) =>
        await oauth.genericTokenEndpointRequest(server, client, authenticate, grantType, parameters, http), timeoutMs))
  }

  function authorizationUrl (parameters: AuthorizationParameters, requested: readonly string[]): URL {
    return buildAuthorizationUrl(provider(), preset, { client_id: clientId, ...parameters, ...api }, requested)
  }

  function logUnpromisedIss (): void {
    if (unpromisedIssLogged) return
    unpromisedIssLogged = true
    log.info({ event: 'provider.unpromised_iss', issuer: provider().issuer }, UNPROMISED_ISS)
  }

  async function requestToken (grantType: string, parameters: Record<string, string>): Promise<UpstreamTokens> {
    const response = await sendTokenRequest(grantType, parameters)
    if (grantType === 'refresh_token' && await deadTokens.isDead(response, parameters)) {
      const body = parseJsonObject(await response.text()) ?? {}
      throw endedGrant(`${describeTokenError(response.status, body)}, as to a refresh token that does not exist`)
    }
    return await readTokenResponse(response, { grantType, preset, clientSettings: settingsOf(options) })
  }

  return {
    /** Returns these scopes with those that the preset adds to each authorization request. */
    effectiveScopes (requested: readonly string[]): string[] {
      if (preset.extraScopes.length === 0) return [...requested]
      return upstreamScopes(preset, requested, provider().scopes)
    },

    /**
     * Returns the URL of the provider's authorization endpoint for a request with PKCE, completed by what the preset
     * adds.
     *
     * @param requested of OIDC_SCOPES
     */
    authorizationUrl,

    /**
     * Returns the URL that begins a sign-in in the browser. The provider may want to have its request before
     * (RFC 9126).
     */
    async signInUrl (parameters: AuthorizationParameters, requested: readonly string[]): Promise<URL> {
      const url = await pushIfWanted(authorizationUrl(parameters, requested))
      // While the person signs in. It never rejects.
      learnMethod()
      return url
    },

    /** Reads the provider's redirect to /oauth/callback. */
    readCallback (parameters: CallbackParameters): CallbackResult {
      if (parameters.iss !== undefined && !provider().sendsIss) logUnpromisedIss()
      const result = readCallback(parameters, clientId, provider())
      if ('error' in result && result.error.code === 'server_error') {
        const refused = upstreamScopes(preset, scopes, provider().scopes).join(' ')
        // No error, as whoever opens a callback in a browser can make this line.
        log.warn({ event: 'provider.scopes_refused', reason: result.error.detail, scopes: refused },
          'The provider refused the authorization request: check its client for Seed, and the scopes (OIDC_SCOPES)')
      }
      return result
    },

    /** Requests tokens for an authorization code or a refresh token. */
    async requestTokens (
      grantType: 'authorization_code' | 'refresh_token', parameters: Record<string, string>
    ): Promise<UpstreamTokens> {
      if (grantType === 'authorization_code') await learnMethod()
      return await requestToken(grantType, { ...parameters, ...api })
    },

    /** Requests a token for another API: on behalf of the person whose access token this is, or for Seed itself. */
    async delegate (
      accessToken: string | undefined, delegation: Delegation
    ): Promise<Pick<UpstreamTokens, 'accessToken' | 'expiresInSeconds'>> {
      const { grantType, parameters } = delegationRequest(preset.delegation, accessToken, delegation)
      return await requestToken(grantType, parameters)
    },

    /**
     * Requests the claims of the userinfo endpoint; undefined when there is none, or the preset does not use it.
     *
     * @param verify verifies a response that is a signed JWT
     */
    async userinfo (
      accessToken: string, subject: string, verify: (token: string) => Promise<Record<string, unknown>>
    ): Promise<Record<string, unknown> | undefined> {
      const { issuer, userinfoEndpoint } = provider()
      if (userinfoEndpoint === undefined || !preset.usesUserinfo) return undefined
      const server = { issuer, userinfo_endpoint: userinfoEndpoint }
      const response = await sendToProvider(userinfoEndpoint, contact, async (http) =>
        await oauth.userInfoRequest(server, client, accessToken, http))
      return await readUserinfo(response, subject, verify)
    },

    /** Revokes a token (RFC 7009). @returns false when the provider revokes no tokens, or none of this kind */
    revoke: revocation.revoke
  }
}
