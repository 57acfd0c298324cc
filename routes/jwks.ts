import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { ErrorSchema } from '../src/schemas/common.ts'
import { JwkSetSchema } from '../src/schemas/well-known.ts'
import type { JwkSet } from '../src/schemas/well-known.ts'

export interface JwksRouteOptions {
  jwks: () => JwkSet
}

/** The public keys of Seed's access tokens and assertions (RFC 7517 section 5), for servers and pages of any origin. */
const jwksRoutes: FastifyPluginAsyncTypebox<JwksRouteOptions> = async (app, { jwks }) => {
  await app.register(cors, { origin: '*', methods: ['GET'], maxAge: 600 })
  rejectOtherMethods(app, ['GET'], '')
  app.get('', {
    config: { auth: 'public' },
    schema: { response: { 200: JwkSetSchema, '4xx': ErrorSchema, '5xx': ErrorSchema } }
  }, async (_request, reply) => reply
    .headers({ 'cache-control': 'public, max-age=300', 'cross-origin-resource-policy': 'cross-origin' })
    .send(jwks()))
}

export default jwksRoutes
