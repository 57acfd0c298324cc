import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createGrantServices } from '../src/oauth/modes/broker/grant-services.ts'
import type { GrantServices } from '../src/oauth/modes/broker/grant-services.ts'
import { createTokenExchange } from '../src/oauth/modes/broker/token-exchange.ts'
import type { TokenExchange } from '../src/oauth/modes/broker/token-exchange.ts'
import { TokenExchangeError } from '../src/oauth/modes/broker/token-exchange-error.ts'
import { ToolError } from '../src/define/tool.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Grants and their refresh at the provider; only with OAUTH_MODE=broker. */
    grantServices: GrantServices
    /** Tokens with which tools call other APIs on behalf of their caller (RFC 8693); only with OAUTH_MODE=broker. */
    tokenExchange: TokenExchange
    /** The same for tools and mounted servers: where there is no token, they get a ToolError. */
    toolTokens: Pick<TokenExchange, 'tokenFor' | 'serverTokenFor'>
  }
}

/** Shares the grants of broker mode, which both the authorization server and tools use. */
async function grants (app: FastifyInstance): Promise<void> {
  const { config, store, keyring, oidc, accessTokens: { revocations }, log, audit } = app
  const services = createGrantServices({
    config, store, keyring, revocations, upstream: oidc.tokenClient, getKey: oidc.jwks.getKey, log, audit
  })
  app.decorate('grantServices', services)
  const tokenExchange = createTokenExchange({ ...services, store, keyring, log })
  app.decorate('tokenExchange', tokenExchange)
  app.decorate('toolTokens', {
    tokenFor: async (...request) => await tokenExchange.tokenFor(...request).catch(toToolError),
    serverTokenFor: async (request) => await tokenExchange.serverTokenFor(request).catch(toToolError)
  })
}

/** The reason for which there is no token is an error of the tool: its message is written for the caller. */
function toToolError (err: unknown): never {
  throw err instanceof TokenExchangeError ? new ToolError(err.message, { cause: err }) : err
}

export default fp(grants, {
  name: 'grants', dependencies: ['keyring', 'audit', 'oidc-discovery', 'jwt-auth'], fastify: '5.x'
})
