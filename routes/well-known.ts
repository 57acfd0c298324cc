import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { TSchema } from 'typebox'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import type { MetadataDocuments } from '../src/oauth/clients/metadata-document-cache.ts'
import { authorizationServer, openidConfiguration, protectedResource } from '../src/oauth/endpoints/metadata.ts'
import type { MetadataOptions, MetadataState, TokenKeys } from '../src/oauth/endpoints/metadata.ts'
import { ErrorSchema } from '../src/schemas/common.ts'
import {
  AuthorizationServerSchema, OpenidConfigurationSchema, ProtectedResourceSchema
} from '../src/schemas/well-known.ts'

export interface WellKnownRouteOptions extends MetadataOptions {
  documents: Pick<MetadataDocuments, 'advertised'>
  /** `acr_values_supported` of the provider; undefined if it is not discovered, or lists none. */
  acrValues: () => readonly string[] | undefined
  /** @throws ProviderUnavailableError in proxy mode, before discovery */
  tokenKeys: () => TokenKeys
}

const CACHEABLE = { 'cache-control': 'public, max-age=300', 'cross-origin-resource-policy': 'cross-origin' }

/** The documents under /.well-known, for clients and web pages of any origin. */
const wellKnownRoutes: FastifyPluginAsyncTypebox<WellKnownRouteOptions> = async (app, options) => {
  const { documents, acrValues, tokenKeys, ...metadata } = options
  const state = (): MetadataState => ({ metadataDocuments: documents.advertised(), acrValues: acrValues() })
  await app.register(cors, { origin: '*', methods: ['GET'], maxAge: 600 })

  for (const [index, endpoint] of metadata.endpoints.entries()) {
    const resource = protectedResource(endpoint, metadata)
    // Clients that know the host alone find the document of /mcp at the root.
    for (const path of [...(index === 0 ? [''] : []), endpoint.path].map((end) => `/oauth-protected-resource${end}`)) {
      rejectOtherMethods(app, ['GET'], path)
      app.get(path, publicDocument(ProtectedResourceSchema), async (_request, reply) =>
        reply.headers(CACHEABLE).send(resource))
    }
  }

  rejectOtherMethods(app, ['GET'], '/oauth-authorization-server')
  app.get('/oauth-authorization-server', publicDocument(AuthorizationServerSchema), async (_request, reply) =>
    reply.headers(CACHEABLE).send(authorizationServer(metadata, state())))

  rejectOtherMethods(app, ['GET'], '/openid-configuration')
  app.get('/openid-configuration', publicDocument(OpenidConfigurationSchema), async (_request, reply) =>
    reply.headers(CACHEABLE).send(openidConfiguration(metadata, state(), tokenKeys())))
}

function publicDocument<Document extends TSchema> (document: Document) {
  const config = { auth: 'public' } as const
  return { config, schema: { response: { 200: document, '4xx': ErrorSchema, '5xx': ErrorSchema } } }
}

export default wellKnownRoutes
