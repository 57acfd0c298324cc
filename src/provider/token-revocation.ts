import * as oauth from 'oauth4webapi'
import { OAuthError } from '../errors/oauth-error.ts'
import type { Log } from '../logging/log.ts'
import { parseJsonObject } from '../net/fetch.ts'
import { createClientAuthentication, settingsOf } from './client-authentication.ts'
import type { ClientCredentials, LearnedMethod } from './client-authentication.ts'
import type { ProviderContact } from './contact.ts'
import type { ProviderMetadata } from './discovery.ts'
import { describeError } from './error-text.ts'
import { sendToProvider } from './provider-request.ts'

export interface TokenRevocationOptions extends ClientCredentials {
  /** @throws ProviderUnavailableError */
  provider: () => ProviderMetadata
  clientId: string
  contact: Pick<ProviderContact, 'watch'>
  log: Pick<Log, 'info' | 'warn'>
}

export type TokenRevocation = ReturnType<typeof createTokenRevocation>

/** Revokes tokens at the provider (RFC 7009). */
export function createTokenRevocation (options: TokenRevocationOptions, learned: LearnedMethod) {
  const { provider, clientId, contact, log } = options
  const client: oauth.Client = { client_id: clientId }
  const authentication = createClientAuthentication(options, log, learned)

  async function send (
    endpoint: string, token: string, hint: 'refresh_token' | 'access_token', timeoutMs?: number
  ): Promise<Response> {
    const { issuer, tokenEndpoint, revocationEndpointAuthMethods: methods } = provider()
    const server = { issuer, token_endpoint: tokenEndpoint, revocation_endpoint: endpoint }
    const additionalParameters = { token_type_hint: hint }
    return await authentication.send(methods, async (authenticate) =>
      await sendToProvider(endpoint, contact, async (http) =>
        await oauth.revocationRequest(server, client, authenticate, token, { ...http, additionalParameters }),
      timeoutMs))
  }

  return {
    /** Sends a revocation request. */
    send,

    /** Revokes a token. @returns false when the provider revokes no tokens, or none of this kind */
    async revoke (token: string, hint: 'refresh_token' | 'access_token'): Promise<boolean> {
      const { revocationEndpoint } = provider()
      if (revocationEndpoint === undefined) return false
      const response = await send(revocationEndpoint, token, hint)
      if (response.status === 200) return true
      // RFC 7009 section 2.2.1: many providers cannot revoke JWT access tokens, and a retry would not help.
      const { error, error_description: description } = parseJsonObject(await response.text()) ?? {}
      if (error === 'unsupported_token_type') return false
      const isTemporary = response.status === 429 || response.status >= 500 || error === 'temporarily_unavailable'
      if (!isTemporary) {
        const reason = `${response.status} ${describeError(error, description)}: ${settingsOf(options)}`
        log.warn({ event: 'provider.revocation_refused', reason },
          'The provider refused to revoke a token: it has ended here, and lives on there')
        return false
      }
      const message = 'The identity provider did not revoke the token; try again shortly'
      throw new OAuthError('temporarily_unavailable', message, {
        detail: `the provider's revocation endpoint answered ${response.status}`, retryAfterSeconds: 5
      })
    }
  }
}
