import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import authorizeRoutes from '../routes/authorize.ts'
import tokenRoutes from '../routes/token.ts'
import wellKnownRoutes from '../routes/well-known.ts'
import { createHostCheck } from '../src/http/hosts.ts'
import { createClients } from '../src/oauth/clients.ts'
import { createUpstream } from '../src/oauth/upstream.ts'

/** The OAuth authorization server that MCP clients see: documents, authorization and token endpoint. */
async function oauthProxy (app: FastifyInstance): Promise<void> {
  const { config, store, oidc } = app
  if (oidc === undefined) return
  const provider = oidc.provider.metadata
  const { baseUrl, resource } = config
  const { scopes, algorithms, clientId, clientSecret } = config.oidc
  const { redirectUriSchemes } = config.registration
  const clients = createClients(store, config.registration.clientTtlSeconds)
  const upstream = createUpstream({ provider, clientId, clientSecret })

  app.addHook('onRequest', createHostCheck(config))
  await app.register(wellKnownRoutes, { prefix: '/.well-known', baseUrl, resource, scopes, algorithms, provider })
  // The paths without /oauth serve clients of revision 2025-03-26, which read no metadata.
  for (const prefix of ['/oauth/authorize', '/authorize']) {
    await app.register(authorizeRoutes, { prefix, clients, provider, upstreamClientId: clientId, baseUrl, resource, scopes, redirectUriSchemes })
  }
  for (const prefix of ['/oauth/token', '/token']) {
    await app.register(tokenRoutes, { prefix, clients, upstream, verifyAccessToken: oidc.verifier.verify, resource, scopes, redirectUriSchemes })
  }
}

export default fp(oauthProxy, { name: 'oauth-proxy', dependencies: ['redis', 'oidc-discovery', 'jwt-auth'], encapsulate: true, fastify: '5.x' })
