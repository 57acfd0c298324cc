import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { plainErrorHandler } from '../src/http/errors.ts'
import { allowOnly } from '../src/http/methods.ts'
import { authorizationServer, openidConfiguration, protectedResource } from '../src/oauth/metadata.ts'
import type { MetadataOptions } from '../src/oauth/metadata.ts'
import type { ProviderMetadata } from '../src/oidc/provider.ts'
import { ErrorSchema } from '../src/schemas/common.ts'
import { AuthorizationServerSchema, OpenidConfigurationSchema, ProtectedResourceSchema } from '../src/schemas/well-known.ts'

export interface WellKnownRouteOptions extends MetadataOptions {
  /** OIDC_ALGORITHMS */
  algorithms: readonly string[]
  /** @throws ProviderUnavailableError */
  provider: () => ProviderMetadata
}

/** The documents under /.well-known. They do not change while Seed runs, so they are made once. */
const wellKnownRoutes: FastifyPluginAsyncTypebox<WellKnownRouteOptions> = async (app, { provider, algorithms, ...options }) => {
  const cacheable = { 'cache-control': 'public, max-age=300', 'cross-origin-resource-policy': 'cross-origin' }
  const config = { auth: 'public' } as const
  await app.register(cors, { origin: '*', methods: ['GET'], maxAge: 600 })
  app.setErrorHandler(plainErrorHandler)

  for (const path of ['/oauth-protected-resource', '/oauth-protected-resource/mcp', '/oauth-authorization-server', '/openid-configuration']) {
    allowOnly(app, ['GET'], path, { preflight: true })
  }

  const resource = protectedResource(options)
  for (const path of ['/oauth-protected-resource', '/oauth-protected-resource/mcp']) {
    app.get(path, { config, schema: { response: { 200: ProtectedResourceSchema } } },
      async (_request, reply) => reply.headers(cacheable).send(resource))
  }

  const server = authorizationServer(options)
  app.get('/oauth-authorization-server', { config, schema: { response: { 200: AuthorizationServerSchema } } },
    async (_request, reply) => reply.headers(cacheable).send(server))

  app.get('/openid-configuration', { config, schema: { response: { 200: OpenidConfigurationSchema, '5xx': ErrorSchema } } },
    async (_request, reply) => reply.headers(cacheable).send(openidConfiguration(options, provider().jwksUri, algorithms)))
}

export default wellKnownRoutes
