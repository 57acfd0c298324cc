import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createGrantServices } from '../src/oauth/modes/broker/grant-services.ts'
import type { GrantServices } from '../src/oauth/modes/broker/grant-services.ts'
import { createTokenExchange } from '../src/oauth/modes/broker/token-exchange.ts'
import type { TokenExchange } from '../src/oauth/modes/broker/token-exchange.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Grants and their refresh at the provider; only with OAUTH_MODE=broker. */
    grantServices: GrantServices
    /** Tokens with which tools call other APIs on behalf of their caller (RFC 8693); only with OAUTH_MODE=broker. */
    tokenExchange: TokenExchange
  }
}

/** Shares the grants of broker mode, which both the authorization server and tools use. */
async function grants (app: FastifyInstance): Promise<void> {
  const { config, store, keyring, oidc, accessTokens: { revocations }, log, audit } = app
  const services = createGrantServices({
    config, store, keyring, revocations, upstream: oidc.tokenClient, getKey: oidc.jwks.getKey, log, audit
  })
  app.decorate('grantServices', services)
  app.decorate('tokenExchange', createTokenExchange({ ...services, store, keyring, log }))
}

export default fp(grants, {
  name: 'grants', dependencies: ['keyring', 'audit', 'oidc-discovery', 'jwt-auth'], fastify: '5.x'
})
