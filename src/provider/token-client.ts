import { importPKCS8 } from 'jose'
import type { CryptoKey } from 'jose'
import * as oauth from 'oauth4webapi'
import { isLoopbackHost } from '../net/addresses.ts'
import { upstreamScopes } from '../config/presets.ts'
import type { Preset } from '../config/presets.ts'
import { parseJsonObject, boundedFetch } from '../net/fetch.ts'
import type { FetchError, FetchedResponse } from '../net/fetch.ts'
import type { ProviderMetadata } from './discovery.ts'
import { OAuthError } from '../errors/oauth-error.ts'

/**
 * Seed as a client of the provider. The requests are oauth4webapi's; the answers are judged here, because providers
 * answer errors in every form there is, and none of their words may reach a client.
 */
export interface TokenClientOptions {
  /** @throws ProviderUnavailableError */
  provider: () => ProviderMetadata
  preset: Preset
  clientId: string
  clientSecret: string | undefined
  /** A private key in PEM form (PKCS #8), for private_key_jwt. */
  clientKey: string | undefined
  clientKeyId: string | undefined
  /** OIDC_CLIENT_AUTH; undefined leaves it to the provider's document. */
  clientAuth: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none' | undefined
  /** OIDC_AUDIENCE, for presets that send it. */
  audience: string
}

export type UpstreamGrant = 'authorization_code' | 'refresh_token'

/** What a token for another API is to be good for. */
export interface Delegation {
  /** As the provider calls it. */
  audience: string
  /** None leaves it to the provider. */
  scopes: readonly string[]
}

export interface UpstreamTokens {
  accessToken: string
  refreshToken: string | undefined
  idToken: string | undefined
  expiresInSeconds: number | undefined
  /** As the provider says; undefined when it does not. */
  scope: string | undefined
}

export interface TokenClient {
  /**
   * The provider's authorization endpoint with these parameters (undefined ones are left out) and those of the preset.
   * @param scopes of OIDC_SCOPES
   * @throws ProviderUnavailableError
   */
  authorizationUrl (parameters: Record<string, string | undefined>, scopes: readonly string[]): URL
  /** @throws OAuthError whose message is safe to send on, ProviderUnavailableError */
  requestTokens (grant: UpstreamGrant, parameters: Record<string, string>): Promise<UpstreamTokens>
  /**
   * A token for another API, in the name of the person whose access token this is: RFC 8693, or as the preset says.
   * @throws OAuthError, ProviderUnavailableError
   */
  delegate (accessToken: string, delegation: Delegation): Promise<Pick<UpstreamTokens, 'accessToken' | 'expiresInSeconds'>>
  /** The claims of the userinfo endpoint; undefined when there is none to ask. @throws OAuthError, ProviderUnavailableError */
  userinfo (accessToken: string, subject: string): Promise<Record<string, unknown> | undefined>
  /** Ends a token at the provider (RFC 7009). @returns false when the provider revokes no tokens, or none of this kind @throws OAuthError, ProviderUnavailableError */
  revoke (token: string, hint: 'refresh_token' | 'access_token' | undefined): Promise<boolean>
}

const TIMEOUT_MS = 10_000

export function createTokenClient (options: TokenClientOptions): TokenClient {
  const { provider, preset, clientId, audience } = options
  const client: oauth.Client = { client_id: clientId }
  const audienceParameter = preset.sendsAudience && audience !== '' ? { audience } : {}

  /** Sends what oauth4webapi makes of `request`, through the one door, and gives the answer as it is. */
  async function exchange (endpoint: string, request: (http: HttpOptions) => Promise<unknown>): Promise<FetchedResponse> {
    let answer: FetchedResponse | undefined
    try {
      await request({
        [oauth.allowInsecureRequests]: isLoopbackHost(new URL(endpoint).hostname),
        [oauth.customFetch]: async (url, { method, headers, body }) => {
          answer = await boundedFetch(url, { method, headers, ...(body !== undefined && body !== null && { body: String(body) }) }, { timeoutMs: TIMEOUT_MS })
          return new Response(null)
        }
      })
    } catch (err) {
      throw unreachable(err as FetchError)
    }
    return answer!
  }

  async function askTokenEndpoint (grantType: string, parameters: Record<string, string>): Promise<UpstreamTokens> {
    const { issuer, tokenEndpoint, tokenEndpointAuthMethods } = provider()
    const authentication = await clientAuthentication(options, tokenEndpointAuthMethods)
    const answer = await exchange(tokenEndpoint, (http) => oauth.genericTokenEndpointRequest(
      { issuer, token_endpoint: tokenEndpoint }, client, authentication, grantType, parameters, http))
    return readTokens(answer, grantType, preset)
  }

  return {
    authorizationUrl (parameters, scopes) {
      const { authorizationEndpoint, scopes: supported } = provider()
      const url = new URL(authorizationEndpoint)
      const prompts = new Set([parameters['prompt'], preset.authorizationParameters['prompt']].join(' ').split(' ').filter((prompt) => prompt !== ''))
      const all = {
        ...parameters,
        scope: upstreamScopes(preset, scopes, supported).join(' '),
        ...audienceParameter,
        ...preset.authorizationParameters,
        prompt: prompts.size === 0 ? undefined : [...prompts].join(' ')
      }
      for (const [name, value] of Object.entries(all)) {
        if (value !== undefined) url.searchParams.set(name, value)
      }
      return url
    },

    requestTokens: async (grant, parameters) => await askTokenEndpoint(grant, { ...parameters, ...audienceParameter }),

    async delegate (accessToken, delegation) {
      const [grantType, parameters] = DELEGATIONS[preset.delegation](accessToken, delegation)
      return await askTokenEndpoint(grantType, parameters)
    },

    async userinfo (accessToken, subject) {
      const { issuer, userinfoEndpoint } = provider()
      if (userinfoEndpoint === undefined || !preset.usesUserinfo) return undefined
      const { status, body } = await exchange(userinfoEndpoint, (http) => oauth.userInfoRequest({ issuer, userinfo_endpoint: userinfoEndpoint }, client, accessToken, http))
      const claims = parseJsonObject(body)
      // OpenID Connect Core 1.0 section 5.3.2: another subject's answer must not be used.
      if (status === 200 && claims?.['sub'] === subject) return claims
      throw new OAuthError('server_error', 'The identity provider gave no usable answer', { detail: `the provider's userinfo endpoint answered ${status} ${claims === undefined ? 'without a JSON object' : 'and not for the subject that signed in'}` })
    },

    async revoke (token, hint) {
      const { issuer, revocationEndpoint, tokenEndpointAuthMethods } = provider()
      if (revocationEndpoint === undefined) return false
      const authentication = await clientAuthentication(options, tokenEndpointAuthMethods)
      const { status, body } = await exchange(revocationEndpoint, (http) => oauth.revocationRequest(
        { issuer, revocation_endpoint: revocationEndpoint }, client, authentication, token, { ...http, ...(hint !== undefined && { additionalParameters: { token_type_hint: hint } }) }))
      if (status === 200) return true
      // RFC 7009 section 2.2.1: many revoke no access tokens that are JWTs, and trying again would not help.
      if (parseJsonObject(body)?.['error'] === 'unsupported_token_type') return false
      throw new OAuthError('temporarily_unavailable', 'The identity provider did not revoke the token; try again shortly', { detail: `the provider's revocation endpoint answered ${status}`, retryAfterSeconds: 5 })
    }
  }
}

/** RFC 8693 section 3 */
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const JWT = 'urn:ietf:params:oauth:token-type:jwt'

/** The grant type of a request for a token for another API, and its parameters. */
const DELEGATIONS: Record<Preset['delegation'], (accessToken: string, delegation: Delegation) => [grantType: string, parameters: Record<string, string>]> = {
  /** RFC 8693 section 2.1 */
  'token-exchange': (accessToken, { audience, scopes }) => ['urn:ietf:params:oauth:grant-type:token-exchange', {
    subject_token: accessToken,
    subject_token_type: ACCESS_TOKEN,
    requested_token_type: ACCESS_TOKEN,
    audience,
    ...(scopes.length > 0 && { scope: scopes.join(' ') })
  }],
  /** Microsoft identity platform, on-behalf-of flow: there is no audience, and scopes are named with the API they belong to. */
  'on-behalf-of': (accessToken, { audience, scopes }) => ['urn:ietf:params:oauth:grant-type:jwt-bearer', {
    assertion: accessToken,
    requested_token_use: 'on_behalf_of',
    scope: (scopes.length > 0 ? scopes : ['.default']).map((scope) => scope.startsWith(`${audience}/`) ? scope : `${audience}/${scope}`).join(' ')
  }]
}

/** What every request of oauth4webapi takes. */
interface HttpOptions {
  [oauth.allowInsecureRequests]: boolean
  [oauth.customFetch]: (url: string, request: { method: string, headers: Record<string, string>, body?: unknown }) => Promise<Response>
}

/** With a key private_key_jwt, with a secret client_secret_basic unless the provider's document leaves that out, with neither none. */
async function clientAuthentication (options: TokenClientOptions, methods: string[] | undefined): Promise<oauth.ClientAuth> {
  const { clientAuth, clientSecret, clientKey, clientKeyId } = options
  if (clientAuth === 'none' || (clientSecret === undefined && clientKey === undefined)) return oauth.None()
  if (clientKey !== undefined) {
    const key = await importPrivateKey(clientKey)
    return oauth.PrivateKeyJwt(clientKeyId === undefined ? key : { key, kid: clientKeyId })
  }
  const post = clientAuth === 'client_secret_post' || (clientAuth === undefined && methods?.includes('client_secret_basic') === false)
  return post ? oauth.ClientSecretPost(clientSecret!) : oauth.ClientSecretBasic(clientSecret!)
}

/** Elliptic where it is, RSA otherwise: the PEM does not say for which algorithm it is meant. */
async function importPrivateKey (pem: string): Promise<CryptoKey> {
  for (const algorithm of ['ES256', 'RS256']) {
    try {
      return await importPKCS8(pem, algorithm)
    } catch {}
  }
  throw new OAuthError('server_error', 'The server cannot authenticate to the identity provider', { detail: 'OIDC_CLIENT_KEY must be a P-256 or RSA private key' })
}

function unreachable (err: FetchError): OAuthError {
  return new OAuthError('temporarily_unavailable', 'The identity provider cannot be reached; try again shortly', {
    detail: err.message, cause: err, retryAfterSeconds: 5, page: { sentence: 'The identity provider cannot be reached.' }
  })
}

/** RFC 6749 section 5.1, from providers that leave out what they please. */
function readTokens ({ status, body }: FetchedResponse, grantType: string, { scopeAliases }: Preset): UpstreamTokens {
  const answer = parseJsonObject(body)
  // RFC 8693 section 2.2.1: other kinds of token come in this member too.
  const issued = answer?.['issued_token_type']
  if (status !== 200 || typeof answer?.['access_token'] !== 'string' || !(issued === undefined || issued === ACCESS_TOKEN || issued === JWT)) {
    throw readError(status, typeof answer?.['error'] === 'string' ? answer['error'] : undefined, grantType)
  }
  const { access_token: accessToken, refresh_token: refreshToken, id_token: idToken, expires_in: expiresIn, scope } = answer
  return {
    accessToken: accessToken as string,
    refreshToken: nonEmpty(refreshToken),
    idToken: nonEmpty(idToken),
    expiresInSeconds: /^\d+$/.test(String(expiresIn)) ? Number(expiresIn) : undefined,
    scope: nonEmpty(scope)?.split(' ').map((name) => scopeAliases[name] ?? name).join(' ')
  }
}

function nonEmpty (value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/**
 * What a client is told of the provider's refusal. Only the provider's own word that the grant is over ends it
 * (`invalid_grant`, or `invalid_code` as some call it); its outage and our misconfiguration never do.
 *
 * Some say `invalid_request` where they mean it, or nothing at all. That is enough for a code, which is spent either
 * way, but not for a refresh token: with `server_error` a client signs in again and loses nothing it could still use.
 */
function readError (status: number, error: string | undefined, grantType: string): OAuthError {
  const detail = `the provider's token endpoint answered ${status} ${error === undefined ? 'without an OAuth error' : JSON.stringify(error.slice(0, 100))}`
  if (status === 429 || status >= 500 || error === 'temporarily_unavailable') {
    return new OAuthError('temporarily_unavailable', 'The identity provider cannot answer now; try again shortly', {
      detail, retryAfterSeconds: 5, page: { sentence: 'The identity provider cannot answer now.' }
    })
  }
  const unclear = error === 'invalid_request' || (error === undefined && status === 400)
  if (error === 'invalid_grant' || error === 'invalid_code' || (unclear && grantType === 'authorization_code')) {
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
