import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { oauthErrorHandler } from '../src/http/errors.ts'
import { acceptFormsOnly } from '../src/http/form-body.ts'
import type { LimitByKey } from '../src/http/rate-limit-store.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { issueTokens } from '../src/oauth/endpoints/token.ts'
import type { TokenServices } from '../src/oauth/endpoints/token.ts'
import { TokenBodySchema, TokenHeadersSchema, TokenResponses } from '../src/schemas/token.ts'

/** POST /oauth/token (RFC 6749 section 3.2). Forms only; open to pages of any origin, as no cookie means anything here. */
const tokenRoutes: FastifyPluginAsyncTypebox<TokenServices & { limitClient: LimitByKey }> = async (app, { limitClient, ...services }) => {
  await acceptFormsOnly(app, 16_384)
  await app.register(cors, { origin: '*', methods: ['POST'], exposedHeaders: ['Retry-After', 'X-Request-Id'], maxAge: 600 })
  app.setErrorHandler(oauthErrorHandler())
  rejectOtherMethods(app, ['POST'], '', { preflight: true })

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 16_384,
    schema: { headers: TokenHeadersSchema, body: TokenBodySchema, response: TokenResponses }
  }, async (request, reply) => {
    const tokens = await issueTokens(request.body, request.headers.authorization, services, async (clientId) => { await limitClient(request, clientId) })
    return reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' }).send(tokens)
  })
}

export default tokenRoutes
