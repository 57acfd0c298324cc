import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createGrantServices } from '../src/oauth/modes/broker/grant-services.ts'
import type { GrantServices } from '../src/oauth/modes/broker/grant-services.ts'
import { createDelegatedTokens } from '../src/oauth/modes/broker/token-exchange.ts'
import type { DelegatedTokens } from '../src/oauth/modes/broker/token-exchange.ts'
import { createTokenClient } from '../src/provider/token-client.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Grants, and what asks the provider about them; undefined unless OAUTH_MODE=broker with sign-in. */
    brokerCore: GrantServices | undefined
    /** Tokens of the provider's with which tools call other APIs; undefined unless OAUTH_MODE=broker with sign-in. */
    delegatedTokens: DelegatedTokens | undefined
  }
}

/** Hands tools the provider's tokens for other APIs. Grants are shared with the authorization server (plugins/oauth-proxy.ts), which is encapsulated. */
async function tokenExchange (app: FastifyInstance): Promise<void> {
  const { config, store, oidc, accessTokens, log } = app
  if (oidc === undefined || accessTokens === undefined || config.oauth.mode !== 'broker') {
    app.decorate('brokerCore', undefined)
    app.decorate('delegatedTokens', undefined)
    return
  }
  const { secrets, revocations } = accessTokens
  const upstream = createTokenClient({ ...config.oidc, provider: oidc.provider.metadata })
  const core = createGrantServices({ config, store, secrets, revocations, upstream, getKey: oidc.jwks.getKey, log })
  app.decorate('brokerCore', core)
  app.decorate('delegatedTokens', createDelegatedTokens({ ...core, store, secrets, log }))
}

export default fp(tokenExchange, { name: 'token-exchange', dependencies: ['redis', 'oidc-discovery', 'jwt-auth'], fastify: '5.x' })
