import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import type { LimitByKey } from '../src/http/rate-limit-store.ts'
import { revokeToken } from '../src/oauth/endpoints/revoke.ts'
import type { RevocationServices } from '../src/oauth/endpoints/revoke.ts'
import { RevokeBodySchema, RevokeHeadersSchema, RevokeResponses } from '../src/schemas/revoke.ts'

export interface RevokeRouteOptions extends RevocationServices {
  limitClient: LimitByKey
}

/** POST /oauth/revoke (RFC 7009 section 2), in a back-channel scope for forms (src/http/back-channel.ts). */
const revokeRoutes: FastifyPluginAsyncTypebox<RevokeRouteOptions> = async (app, { limitClient, ...services }) => {
  rejectOtherMethods(app, ['POST'])

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 16_384,
    schema: { headers: RevokeHeadersSchema, body: RevokeBodySchema, response: RevokeResponses }
  }, async (request) => {
    const { body, headers: { authorization } } = request
    await revokeToken(body, authorization, services, (clientId) => limitClient(request, clientId))
    return {}
  })
}

export default revokeRoutes
