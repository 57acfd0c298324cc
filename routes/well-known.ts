import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { plainErrorHandler } from '../src/http/errors.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { authorizationServer, openidConfiguration, protectedResource } from '../src/oauth/endpoints/metadata.ts'
import type { MetadataOptions } from '../src/oauth/endpoints/metadata.ts'
import { ErrorSchema } from '../src/schemas/common.ts'
import { AuthorizationServerSchema, JwkSetSchema, OpenidConfigurationSchema, ProtectedResourceSchema } from '../src/schemas/well-known.ts'
import type { JwkSet } from '../src/schemas/well-known.ts'

export interface WellKnownRouteOptions extends MetadataOptions {
  /** Whether client ID metadata documents can be fetched now. */
  clientDocuments: () => boolean
  /** Where the keys of access tokens are, and their algorithms. @throws ProviderUnavailableError */
  tokenKeys: () => { jwksUri: string, algorithms: readonly string[] }
  /** Seed's own keys; undefined in proxy mode. */
  jwks: (() => JwkSet) | undefined
}

/** The documents under /.well-known. */
const wellKnownRoutes: FastifyPluginAsyncTypebox<WellKnownRouteOptions> = async (app, { clientDocuments, tokenKeys, jwks, ...options }) => {
  const cacheable = { 'cache-control': 'public, max-age=300', 'cross-origin-resource-policy': 'cross-origin' }
  const config = { auth: 'public' } as const
  await app.register(cors, { origin: '*', methods: ['GET'], maxAge: 600 })
  app.setErrorHandler(plainErrorHandler)

  const paths = ['/oauth-protected-resource', '/oauth-protected-resource/mcp', '/oauth-authorization-server', '/openid-configuration']
  for (const path of [...paths, ...(jwks === undefined ? [] : ['/jwks.json'])]) {
    rejectOtherMethods(app, ['GET'], path, { preflight: true })
  }

  const resource = protectedResource(options)
  for (const path of ['/oauth-protected-resource', '/oauth-protected-resource/mcp']) {
    app.get(path, { config, schema: { response: { 200: ProtectedResourceSchema } } },
      async (_request, reply) => reply.headers(cacheable).send(resource))
  }

  app.get('/oauth-authorization-server', { config, schema: { response: { 200: AuthorizationServerSchema } } },
    async (_request, reply) => reply.headers(cacheable).send(authorizationServer(options, { clientDocuments: clientDocuments() })))

  app.get('/openid-configuration', { config, schema: { response: { 200: OpenidConfigurationSchema, '5xx': ErrorSchema } } },
    async (_request, reply) => reply.headers(cacheable).send(openidConfiguration(options, { clientDocuments: clientDocuments() }, tokenKeys())))

  if (jwks !== undefined) {
    app.get('/jwks.json', { config, schema: { response: { 200: JwkSetSchema } } }, async (_request, reply) => reply.headers(cacheable).send(jwks()))
  }
}

export default wellKnownRoutes
