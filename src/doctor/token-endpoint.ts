import { randomBytes } from 'node:crypto'
import * as oauth from 'oauth4webapi'
import type { Config } from '../config/config.ts'
import { parseJsonObject } from '../net/fetch.ts'
import { authenticationMethods, isClientRefused } from '../provider/client-authentication.ts'
import type { ClientAuthenticationMethod } from '../provider/client-authentication.ts'
import { createProviderContact } from '../provider/contact.ts'
import type { ProviderMetadata } from '../provider/discovery.ts'
import { describeError } from '../provider/error-text.ts'
import { sendToProvider } from '../provider/provider-request.ts'
import { REQUEST_MS } from './within.ts'

/** The answer to a request that cannot succeed: what it asks for is made up. */
export interface ProbeAnswer {
  status: number
  error: string | undefined
  /** Whether the client was accepted; undefined if the answer does not show it. */
  isAccepted: boolean | undefined
  /** For people. */
  text: string
}

export type TokenEndpointProbes = ReturnType<typeof createTokenEndpointProbes>

/** Sends requests with made-up codes and tokens to the provider, as Seed's client. */
export function createTokenEndpointProbes ({ baseUrl, oidc }: Config, metadata: ProviderMetadata) {
  const { issuer, tokenEndpoint, revocationEndpoint } = metadata
  const contact = createProviderContact()
  const client: oauth.Client = { client_id: oidc.clientId }
  const server = { issuer, token_endpoint: tokenEndpoint, revocation_endpoint: revocationEndpoint! }

  async function send (
    endpoint: string, request: Parameters<typeof sendToProvider>[2]
  ): Promise<ProbeAnswer> {
    try {
      return await readAnswer(await sendToProvider(endpoint, contact, request, REQUEST_MS))
    } catch (err) {
      const { message } = (err as Error).cause as Error
      return { status: 0, error: undefined, isAccepted: undefined, text: message }
    }
  }

  async function sendGrant (
    { authenticate }: ClientAuthenticationMethod, grantType: string, parameters: Record<string, string>
  ): Promise<ProbeAnswer> {
    return await send(tokenEndpoint, async (http) =>
      await oauth.genericTokenEndpointRequest(server, client, authenticate, grantType, parameters, http))
  }

  return {
    /** Redeems a made-up authorization code. */
    code: async (method: ClientAuthenticationMethod): Promise<ProbeAnswer> =>
      await sendGrant(method, 'authorization_code', {
        code: madeUp(), redirect_uri: `${baseUrl}/oauth/callback`, code_verifier: madeUp()
      }),

    refreshToken: async (method: ClientAuthenticationMethod): Promise<ProbeAnswer> =>
      await sendGrant(method, 'refresh_token', { refresh_token: madeUp() }),

    /** Revokes a made-up token; the provider must have the endpoint. */
    revocation: async ({ authenticate }: ClientAuthenticationMethod): Promise<ProbeAnswer> =>
      await send(revocationEndpoint!, async (http) =>
        await oauth.revocationRequest(server, client, authenticate, madeUp(), http))
  }
}

/** A code or token that nobody has issued. */
export function madeUp (): string {
  return randomBytes(32).toString('base64url')
}

/** The methods to try, whatever OIDC_CLIENT_AUTH says: the one that the server uses first, `none` last. */
export async function methodsToTry ({ oidc }: Config, metadata: ProviderMetadata) {
  const supported = metadata.tokenEndpointAuthMethods
  const [configured] = await authenticationMethods(oidc, supported)
  const all = await authenticationMethods({ ...oidc, clientAuth: undefined, assertionAudience: undefined }, supported)
  const [none] = await authenticationMethods({ ...oidc, clientAuth: 'none' }, supported)
  const others = [...all, none!].filter(({ setting }) => setting !== configured!.setting)
  return { configured: configured!, others }
}

async function readAnswer (response: Response): Promise<ProbeAnswer> {
  const { status } = response
  const isRefused = await isClientRefused(response)
  const text = await response.text()
  const body = parseJsonObject(text)
  const error = typeof body?.['error'] === 'string' ? body['error'] : undefined
  const isPage = body === undefined && text !== ''
  const isUndecided = status === 429 || status >= 500 || (isPage && status !== 401 && status !== 403)
  return {
    status,
    error,
    isAccepted: isUndecided ? undefined : !isRefused,
    text: `${status} ${isPage ? 'and a text that is not JSON' : describeError(error, body?.['error_description'])}`
  }
}
