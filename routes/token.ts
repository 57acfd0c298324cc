import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import type { LimitByKey } from '../src/http/rate-limit-store.ts'
import { issueTokens } from '../src/oauth/endpoints/token.ts'
import type { TokenServices } from '../src/oauth/endpoints/token.ts'
import { TokenBodySchema, TokenHeadersSchema, TokenResponses } from '../src/schemas/token.ts'

export interface TokenRouteOptions extends TokenServices {
  limitClient: LimitByKey
}

/** POST /oauth/token (RFC 6749 section 3.2), in a back-channel scope for forms (src/http/back-channel.ts). */
const tokenRoutes: FastifyPluginAsyncTypebox<TokenRouteOptions> = async (app, { limitClient, ...services }) => {
  rejectOtherMethods(app, ['POST'])

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 16_384,
    schema: { headers: TokenHeadersSchema, body: TokenBodySchema, response: TokenResponses }
  }, async (request) => {
    const { body, headers: { authorization } } = request
    return await issueTokens(body, authorization, services, (clientId) => limitClient(request, clientId))
  })
}

export default tokenRoutes
