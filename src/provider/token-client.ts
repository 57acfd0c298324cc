import * as oauth from 'oauth4webapi'
import { upstreamScopes } from '../provider-presets/upstream-scopes.ts'
import type { Preset } from '../provider-presets/preset.ts'
import { OAuthError } from '../errors/oauth-error.ts'
import type { Log } from '../logging/log.ts'
import { isLoopbackHost } from '../net/addresses.ts'
import { boundedFetch, parseJsonObject } from '../net/fetch.ts'
import { buildAuthorizationUrl } from './authorization-url.ts'
import type { AuthorizationParameters } from './authorization-url.ts'
import { readUserinfo } from './userinfo.ts'
import { readCallback } from './callback.ts'
import type { CallbackParameters, CallbackResult } from './callback.ts'
import { createClientAuthentication, settingsOf } from './client-authentication.ts'
import type { ClientCredentials } from './client-authentication.ts'
import { createDeadTokenCheck } from './dead-refresh-token.ts'
import { describeError } from './error-text.ts'
import { delegationRequest } from './delegation.ts'
import type { Delegation } from './delegation.ts'
import type { ProviderMetadata } from './discovery.ts'
import { describeTokenError, endedGrant, readTokenResponse } from './token-response.ts'
import type { UpstreamTokens } from './token-response.ts'

export interface TokenClientOptions extends ClientCredentials {
  /** @throws ProviderUnavailableError */
  provider: () => ProviderMetadata
  preset: Preset
  clientId: string
  /** OIDC_AUDIENCE, for presets that send it. */
  audience: string
  /** OIDC_SCOPES */
  scopes: readonly string[]
  log: Pick<Log, 'info' | 'warn'>
}

export type TokenClient = ReturnType<typeof createTokenClient>

const TIMEOUT_MS = 10_000

/**
 * Seed as an OAuth client of the provider. oauth4webapi makes the requests. The responses are read here, because
 * providers report errors in many ways, and their texts must not reach a client.
 *
 * All methods throw ProviderUnavailableError before discovery, and OAuthError when the provider fails or refuses.
 */
export function createTokenClient (options: TokenClientOptions) {
  const { provider, preset, clientId, audience, scopes, log } = options
  const client: oauth.Client = { client_id: clientId }
  const audienceParameter = preset.sendsAudience && audience !== '' ? { audience } : {}
  const tokenAuthentication = createClientAuthentication(options, log)
  const revocationAuthentication = createClientAuthentication(options, log)

  const deadTokens = createDeadTokenCheck(
    async (parameters) => await sendTokenRequest('refresh_token', parameters), log)

  async function sendTokenRequest (grantType: string, parameters: Record<string, string>): Promise<Response> {
    const { issuer, tokenEndpoint, tokenEndpointAuthMethods } = provider()
    const server = { issuer, token_endpoint: tokenEndpoint }
    return await tokenAuthentication.send(tokenEndpointAuthMethods, async (authenticate) =>
      await send(tokenEndpoint, async (http) =>
        await oauth.genericTokenEndpointRequest(server, client, authenticate, grantType, parameters, http)))
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

    /** Returns what is requested of the provider although its discovery document does not list it. */
    unlistedScopes (): string[] {
      const { scopes: supported } = provider()
      if (supported === undefined) return []
      return upstreamScopes(preset, scopes, supported).filter((scope) => !supported.includes(scope))
    },

    /**
     * The URL of the provider's authorization endpoint for a request with PKCE, completed by what the preset adds.
     *
     * @param requested of OIDC_SCOPES
     */
    authorizationUrl (parameters: AuthorizationParameters, requested: readonly string[]): URL {
      const all = { client_id: clientId, ...parameters, ...audienceParameter }
      return buildAuthorizationUrl(provider(), preset, all, requested)
    },

    /** Reads the provider's redirect to /oauth/callback. */
    readCallback (parameters: CallbackParameters): CallbackResult {
      const result = readCallback(parameters, clientId, provider())
      if ('error' in result && result.error.code === 'server_error') {
        log.warn({ reason: result.error.detail, scopes: upstreamScopes(preset, scopes, provider().scopes).join(' ') },
          'The provider refused the authorization request: check its client for Seed, and the scopes (OIDC_SCOPES)')
      }
      return result
    },

    /** Requests tokens for an authorization code or a refresh token. */
    async requestTokens (
      grantType: 'authorization_code' | 'refresh_token', parameters: Record<string, string>
    ): Promise<UpstreamTokens> {
      return await requestToken(grantType, { ...parameters, ...audienceParameter })
    },

    /** Requests a token for another API on behalf of the person whose access token this is. */
    async delegate (
      accessToken: string, delegation: Delegation
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
      const response = await send(userinfoEndpoint, async (http) =>
        await oauth.userInfoRequest(server, client, accessToken, http))
      return await readUserinfo(response, subject, verify)
    },

    /** Revokes a token (RFC 7009). @returns false when the provider revokes no tokens, or none of this kind */
    async revoke (token: string, hint: 'refresh_token' | 'access_token'): Promise<boolean> {
      const { issuer, tokenEndpoint, revocationEndpoint, revocationEndpointAuthMethods: methods } = provider()
      if (revocationEndpoint === undefined) return false
      const server = { issuer, token_endpoint: tokenEndpoint, revocation_endpoint: revocationEndpoint }
      const additionalParameters = { token_type_hint: hint }
      const response = await revocationAuthentication.send(methods, async (authenticate) =>
        await send(revocationEndpoint, async (http) =>
          await oauth.revocationRequest(server, client, authenticate, token, { ...http, additionalParameters })))
      if (response.status === 200) return true
      // RFC 7009 section 2.2.1: many providers cannot revoke JWT access tokens, and a retry would not help.
      const { error, error_description: description } = parseJsonObject(await response.text()) ?? {}
      if (error === 'unsupported_token_type') return false
      const isTemporary = response.status === 429 || response.status >= 500 || error === 'temporarily_unavailable'
      if (!isTemporary) {
        const reason = `${response.status} ${describeError(error, description)}: ${settingsOf(options)}`
        log.warn({ reason }, 'The provider refused to revoke a token: it has ended here, and lives on there')
        return false
      }
      const message = 'The identity provider did not revoke the token; try again shortly'
      throw new OAuthError('temporarily_unavailable', message, {
        detail: `the provider's revocation endpoint answered ${response.status}`, retryAfterSeconds: 5
      })
    }
  }
}

/** Options that all requests of oauth4webapi take. */
interface HttpOptions {
  [oauth.allowInsecureRequests]: boolean
  [oauth.customFetch]: typeof fetchWithinLimits
}

/** Sends a request of oauth4webapi through `boundedFetch`. */
async function send (endpoint: string, request: (http: HttpOptions) => Promise<Response>): Promise<Response> {
  try {
    return await request({
      [oauth.allowInsecureRequests]: isLoopbackHost(new URL(endpoint).hostname),
      [oauth.customFetch]: fetchWithinLimits
    })
  } catch (err) {
    throw new OAuthError('temporarily_unavailable', 'The identity provider cannot be reached; try again shortly', {
      detail: (err as Error).message,
      cause: err,
      retryAfterSeconds: 5,
      page: { sentence: 'The identity provider cannot be reached.' }
    })
  }
}

interface FetchInit {
  method: string
  headers: Record<string, string>
  body?: unknown
}

/** Fetches for oauth4webapi, through `boundedFetch`. @throws FetchError */
export async function fetchWithinLimits (url: string, { method, headers, body }: FetchInit): Promise<Response> {
  const init = { method, headers, ...(body !== undefined && body !== null && { body: String(body) }) }
  const { status, headers: answered, body: text } = await boundedFetch(url, init, { timeoutMs: TIMEOUT_MS })
  // A response with status 204 or 205 must not be given a body, not even an empty one.
  return new Response(text === '' ? null : text, { status, headers: answered })
}
