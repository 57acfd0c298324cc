import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { omitEmptyParameters } from '../src/http/omitted-parameters.ts'
import type { RequesterOf } from '../src/http/requester.ts'
import { revokeToken } from '../src/oauth/endpoints/revoke.ts'
import type { RevocationServices } from '../src/oauth/endpoints/revoke.ts'
import { RevokeBodySchema, RevokeHeadersSchema, RevokeResponses } from '../src/schemas/revoke.ts'

export interface RevokeRouteOptions extends RevocationServices {
  requesterOf: RequesterOf
}

/** POST /oauth/revoke (RFC 7009 section 2), in a back-channel scope for forms (src/http/back-channel-scope.ts). */
const revokeRoutes: FastifyPluginAsyncTypebox<RevokeRouteOptions> = async (app, { requesterOf, ...services }) => {
  rejectOtherMethods(app, ['POST'])

  app.post('', {
    config: { auth: 'public' },
    preValidation: omitEmptyParameters,
    bodyLimit: 16_384,
    schema: { headers: RevokeHeadersSchema, body: RevokeBodySchema, response: RevokeResponses }
  }, async (request) => {
    const { body, headers: { authorization } } = request
    const { client, revoked } = await revokeToken(body, authorization, services, requesterOf(request))
    if (revoked === undefined) return {}
    const { id, kind } = client
    request.auditEntry = { event: 'revocation', client: id, kind, ...revoked, reason: 'revoked by the client' }
    return {}
  })
}

export default revokeRoutes
