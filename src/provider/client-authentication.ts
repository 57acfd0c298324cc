import { importPKCS8 } from 'jose'
import type { CryptoKey } from 'jose'
import * as oauth from 'oauth4webapi'
import { OAuthError } from '../errors/oauth-error.ts'
import type { Log } from '../logging/log.ts'
import { parseJsonObject } from '../net/fetch.ts'

/** Credentials of Seed's client at the provider. */
export interface ClientCredentials {
  clientSecret: string | undefined
  /** A private key in PEM form (PKCS #8), for private_key_jwt. */
  clientKey: string | undefined
  clientKeyId: string | undefined
  /** OIDC_CLIENT_AUTH; undefined leaves the choice to the discovery document, and then to what the provider accepts. */
  clientAuth: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none' | undefined
  /** OIDC_ASSERTION_AUDIENCE; undefined leaves the choice to what the provider accepts. */
  assertionAudience: 'issuer' | 'token_endpoint' | undefined
}

/** A way to authenticate, and the setting that would fix it. */
export interface ClientAuthenticationMethod {
  /** Its name in discovery documents. */
  name: NonNullable<ClientCredentials['clientAuth']>
  authenticate: oauth.ClientAuth
  setting: string
}

/** State that the endpoints of a provider share: the setting of the method that one of them accepted instead. */
export interface LearnedMethod {
  setting?: string
}

export type ClientAuthentication = ReturnType<typeof createClientAuthentication>

/**
 * Authenticates Seed at one endpoint of the provider (OpenID Connect Core 1.0 section 9): with a key
 * `private_key_jwt`, with a secret `client_secret_basic` unless the provider does not support it, with neither `none`.
 *
 * What no setting decides is learned: a provider that refuses the client is asked a second time in the other way, and
 * the way that it accepts is used from then on. Documents do not say it: `client_secret_post` may be a matter of each
 * client, and providers differ in the audience of an assertion. The other endpoints begin with what one has accepted.
 */
export function createClientAuthentication (
  credentials: ClientCredentials, log: Pick<Log, 'warn'>, learned: LearnedMethod
) {
  let methods: ClientAuthenticationMethod[] | undefined
  let current = 0
  let isProven = false
  let hasSwitched = false

  /** A document that does not list the method for this endpoint is believed. */
  function useLearnedMethod (supported: string[] | undefined): void {
    const index = methods!.findIndex(({ setting }) => setting === learned.setting)
    if (index !== -1 && supported?.includes(methods![index]!.name) !== false) current = index
  }

  return {
    /** Whether the endpoint may yet want another method than the first. */
    async isUndecided (supported: string[] | undefined): Promise<boolean> {
      if (isProven || learned.setting !== undefined) return false
      methods ??= await authenticationMethods(credentials, supported)
      return methods.length > 1
    },

    /**
     * Sends an authenticated request.
     *
     * @param supported the methods that the discovery document lists for the endpoint
     */
    async send (
      supported: string[] | undefined, request: (authenticate: oauth.ClientAuth) => Promise<Response>
    ): Promise<Response> {
      methods ??= await authenticationMethods(credentials, supported)
      if (!isProven && !hasSwitched) useLearnedMethod(supported)
      const used = current
      const response = await request(methods[used]!.authenticate)
      const other = methods[1 - used]
      isProven ||= response.status === 200
      if (isProven || other === undefined || !await isClientRefused(response)) return response
      const second = await request(other.authenticate)
      const isUndecided = second.status === 429 || second.status >= 500 || await isClientRefused(second)
      if (isUndecided) return response
      if (current === used) {
        current = 1 - used
        hasSwitched = true
        learned.setting ??= other.setting
        log.warn({ event: 'provider.client_authentication_changed', setting: other.setting },
          'The provider refused the client with ' +
          `${methods[used]!.setting}, and accepts it with ${other.setting}: set that to save the first attempt`)
      }
      return second
    }
  }
}

/** Says which settings to check when the provider refuses the client. */
export function settingsOf ({ clientSecret, clientKey }: ClientCredentials): string {
  if (clientKey !== undefined) {
    return 'check OIDC_CLIENT_ID, OIDC_CLIENT_KEY, OIDC_CLIENT_KEY_ID and OIDC_ASSERTION_AUDIENCE'
  }
  if (clientSecret !== undefined) {
    return 'check OIDC_CLIENT_ID, OIDC_CLIENT_SECRET and OIDC_CLIENT_AUTH (if unset, both client_secret_basic and ' +
      'client_secret_post are tried)'
  }
  return 'check OIDC_CLIENT_ID, and that the client there is public; otherwise set OIDC_CLIENT_SECRET'
}

/**
 * Whether a response refuses the client rather than the request (RFC 6749 section 5.2). Some providers say so with
 * `unauthorized_client`, or with the status alone.
 */
export async function isClientRefused (response: Response): Promise<boolean> {
  const error = parseJsonObject(await response.clone().text())?.['error']
  if (error === 'invalid_client') return true
  const isRefused = response.status === 401 || response.status === 403
  return isRefused && (error === undefined || error === 'unauthorized_client')
}

/** Returns the ways to try, the preferred one first. */
export async function authenticationMethods (
  { clientAuth, clientSecret, clientKey, clientKeyId, assertionAudience }: ClientCredentials,
  supported: string[] | undefined
): Promise<ClientAuthenticationMethod[]> {
  if (clientAuth === 'none' || (clientSecret === undefined && clientKey === undefined)) {
    return [{ name: 'none', authenticate: oauth.None(), setting: 'OIDC_CLIENT_AUTH=none' }]
  }
  if (clientKey !== undefined) {
    const key = await importPrivateKey(clientKey)
    const credential = clientKeyId === undefined ? key : { key, kid: clientKeyId }
    const name = 'private_key_jwt'
    const toIssuer: ClientAuthenticationMethod = {
      name, authenticate: oauth.PrivateKeyJwt(credential), setting: 'OIDC_ASSERTION_AUDIENCE=issuer'
    }
    const toEndpoint: ClientAuthenticationMethod = {
      name, authenticate: assertionForTokenEndpoint(credential), setting: 'OIDC_ASSERTION_AUDIENCE=token_endpoint'
    }
    if (assertionAudience !== undefined) return [assertionAudience === 'issuer' ? toIssuer : toEndpoint]
    return [toIssuer, toEndpoint]
  }
  const basic = withSecret('client_secret_basic', basicCredentials(clientSecret!))
  const post = withSecret('client_secret_post', oauth.ClientSecretPost(clientSecret!))
  if (clientAuth !== undefined) return [clientAuth === 'client_secret_post' ? post : basic]
  return supported?.includes('client_secret_basic') === false ? [post, basic] : [basic, post]
}

function withSecret (
  name: 'client_secret_basic' | 'client_secret_post', authenticate: oauth.ClientAuth
): ClientAuthenticationMethod {
  return { name, authenticate, setting: `OIDC_CLIENT_AUTH=${name}` }
}

/**
 * `client_secret_basic` (RFC 6749 section 2.3.1) with only those characters encoded that a decoder would change. The
 * RFC encodes `-`, `_`, `.` and more as well, and many providers do not decode at all.
 */
function basicCredentials (clientSecret: string): oauth.ClientAuth {
  return (_server, { client_id: clientId }, _body, headers) => {
    const credentials = `${encodeSparingly(clientId)}:${encodeSparingly(clientSecret)}`
    headers.set('authorization', `Basic ${btoa(credentials)}`)
  }
}

function encodeSparingly (value: string): string {
  return value.replace(/[^\x21-\x7e]|[%+:]/gu, encodeURIComponent)
}

/** `private_key_jwt` whose audience is the token endpoint (RFC 7523 section 3), as some providers demand. */
function assertionForTokenEndpoint (credential: oauth.PrivateKey | CryptoKey): oauth.ClientAuth {
  return async (server, client, body, headers) => {
    const authenticate = oauth.PrivateKeyJwt(credential, {
      [oauth.modifyAssertion] (_header, payload) { payload['aud'] = server.token_endpoint! }
    })
    await authenticate(server, client, body, headers)
  }
}

/** Tries both algorithms: the PEM does not say which one the key is for. */
async function importPrivateKey (pem: string): Promise<CryptoKey> {
  for (const algorithm of ['ES256', 'RS256']) {
    try {
      return await importPKCS8(pem, algorithm)
    } catch {}
  }
  throw new OAuthError('server_error', 'The server cannot authenticate to the identity provider', {
    statusCode: 500,
    detail: 'OIDC_CLIENT_KEY must be a P-256 or RSA private key'
  })
}
