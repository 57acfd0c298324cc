import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { oauthErrorHandler } from '../src/http/errors.ts'
import { acceptFormsOnly } from '../src/http/form-body.ts'
import type { LimitByKey } from '../src/http/rate-limit-store.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { revokeToken } from '../src/oauth/endpoints/revoke.ts'
import type { RevocationServices } from '../src/oauth/endpoints/revoke.ts'
import { RevokeBodySchema, RevokeResponses } from '../src/schemas/revoke.ts'
import { TokenHeadersSchema } from '../src/schemas/token.ts'

/** POST /oauth/revoke (RFC 7009 section 2). */
const revokeRoutes: FastifyPluginAsyncTypebox<RevocationServices & { limitClient: LimitByKey }> = async (app, { limitClient, ...services }) => {
  await acceptFormsOnly(app, 16_384)
  await app.register(cors, { origin: '*', methods: ['POST'], exposedHeaders: ['Retry-After', 'X-Request-Id'], maxAge: 600 })
  app.setErrorHandler(oauthErrorHandler())
  rejectOtherMethods(app, ['POST'], '', { preflight: true })

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 16_384,
    schema: { headers: TokenHeadersSchema, body: RevokeBodySchema, response: RevokeResponses }
  }, async (request, reply) => {
    await revokeToken(request.body, request.headers.authorization, services, async (clientId) => { await limitClient(request, clientId) })
    return reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' }).send({})
  })
}

export default revokeRoutes
