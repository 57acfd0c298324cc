import * as oauth from 'oauth4webapi'
import { OutboundError, parseJsonObject, send } from '../http-client/outbound.ts'
import type { OutboundResponse } from '../http-client/outbound.ts'
import { isLoopbackHost } from '../config/env.ts'
import type { ProviderMetadata } from '../oidc/provider.ts'
import type { TokenResponse } from '../schemas/token.ts'
import { OAuthError } from './errors.ts'

/**
 * Seed as a client of the provider's token endpoint. The request is oauth4webapi's; the answer is judged here,
 * because providers answer errors in every form there is, and none of their words may reach a client.
 */
export interface UpstreamOptions {
  /** @throws ProviderUnavailableError */
  provider: () => ProviderMetadata
  clientId: string
  clientSecret: string | undefined
}

export type UpstreamGrant = 'authorization_code' | 'refresh_token'

export interface Upstream {
  /** @throws OAuthError whose message is safe to send on, ProviderUnavailableError */
  requestTokens (grant: UpstreamGrant, parameters: Record<string, string>): Promise<TokenResponse>
}

export function createUpstream ({ provider, clientId, clientSecret }: UpstreamOptions): Upstream {
  return {
    async requestTokens (grant, parameters) {
      const { issuer, tokenEndpoint, tokenEndpointAuthMethods } = provider()
      let answer: OutboundResponse | undefined
      try {
        await oauth.genericTokenEndpointRequest(
          { issuer, token_endpoint: tokenEndpoint },
          { client_id: clientId },
          clientAuthentication(clientSecret, tokenEndpointAuthMethods),
          grant,
          parameters,
          {
            [oauth.allowInsecureRequests]: isLoopbackHost(new URL(tokenEndpoint).hostname),
            [oauth.customFetch]: async (url, { method, headers, body }) => {
              answer = await send(url, { method, headers, body: String(body) }, { timeoutMs: 10_000 })
              return new Response(null)
            }
          }
        )
      } catch (err) {
        throw unreachable(err as OutboundError)
      }
      return readAnswer(answer!, grant)
    }
  }
}

/** client_secret_basic unless the provider's document leaves it out; none for a public client. */
function clientAuthentication (secret: string | undefined, methods: string[] | undefined): oauth.ClientAuth {
  if (secret === undefined) return oauth.None()
  return methods !== undefined && !methods.includes('client_secret_basic') ? oauth.ClientSecretPost(secret) : oauth.ClientSecretBasic(secret)
}

function unreachable (err: OutboundError): OAuthError {
  return new OAuthError('temporarily_unavailable', 'The identity provider cannot be reached; try again shortly', {
    detail: err.message, cause: err, retryAfterSeconds: 5
  })
}

function readAnswer ({ status, body }: OutboundResponse, grant: UpstreamGrant): TokenResponse {
  const answer = parseJsonObject(body)
  if (status === 200 && answer !== undefined && typeof answer['access_token'] === 'string') return readTokens(answer)
  throw readError(status, typeof answer?.['error'] === 'string' ? answer['error'] : undefined, grant)
}

/** RFC 6749 section 5.1, from providers that leave out what they please. The ID token stays here: it is no business of the client's. */
function readTokens (answer: Record<string, unknown>): TokenResponse {
  const { access_token: accessToken, expires_in: expiresIn, refresh_token: refreshToken, scope } = answer
  return {
    access_token: accessToken as string,
    token_type: 'Bearer',
    ...(/^\d+$/.test(String(expiresIn)) && { expires_in: Number(expiresIn) }),
    ...(typeof refreshToken === 'string' && refreshToken !== '' && { refresh_token: refreshToken }),
    ...(typeof scope === 'string' && scope !== '' && { scope })
  }
}

/**
 * What a client is told of the provider's refusal. Only the provider's own word that the grant is over ends it
 * (`invalid_grant`, or `invalid_code` as some call it); its outage and our misconfiguration never do.
 *
 * Some say `invalid_request` where they mean it, or nothing at all. That is enough for a code, which is spent either
 * way, but not for a refresh token: with `server_error` a client signs in again and loses nothing it could still use.
 */
function readError (status: number, error: string | undefined, grant: UpstreamGrant): OAuthError {
  const detail = `the provider's token endpoint answered ${status} ${error === undefined ? 'without an OAuth error' : JSON.stringify(error.slice(0, 100))}`
  if (status === 429 || status >= 500 || error === 'temporarily_unavailable') {
    return new OAuthError('temporarily_unavailable', 'The identity provider cannot answer now; try again shortly', { detail, retryAfterSeconds: 5 })
  }
  const unclear = error === 'invalid_request' || (error === undefined && status === 400)
  if (error === 'invalid_grant' || error === 'invalid_code' || (unclear && grant === 'authorization_code')) {
    return new OAuthError('invalid_grant', 'The identity provider refused the grant: sign in again', { detail })
  }
  if (error === 'invalid_client' || error === 'unauthorized_client') {
    return new OAuthError('server_error', 'The identity provider refused this server; its operator must check the client settings', {
      detail: `${detail}: check OIDC_CLIENT_ID and OIDC_CLIENT_SECRET, and that the client there is public when no secret is set`
    })
  }
  if (error === 'invalid_scope' || error === 'invalid_target') {
    return new OAuthError(error, 'The identity provider refused the request', { detail })
  }
  return new OAuthError('server_error', 'The identity provider gave no usable answer', { detail })
}
