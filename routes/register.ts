import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { oauthErrorHandler } from '../src/http/errors.ts'
import { acceptJsonOnly } from '../src/http/json-body.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { register } from '../src/oauth/endpoints/register.ts'
import type { RegistrationServices } from '../src/oauth/endpoints/register.ts'
import { RegisterBodySchema, RegisterHeadersSchema, RegisterResponses } from '../src/schemas/register.ts'

export interface RegisterRouteOptions extends RegistrationServices {
  /** Counts a new registration (DCR_LIMIT_PER_ADDRESS, DCR_LIMIT_TOTAL). @throws LimitError */
  limitNew: (request: FastifyRequest) => Promise<void>
}

/** POST /oauth/register (RFC 7591 section 3). */
const registerRoutes: FastifyPluginAsyncTypebox<RegisterRouteOptions> = async (app, { limitNew, ...services }) => {
  acceptJsonOnly(app)
  await app.register(cors, { origin: '*', methods: ['POST'], exposedHeaders: ['Retry-After', 'X-Request-Id'], maxAge: 600 })
  app.setErrorHandler(oauthErrorHandler((error) =>
    error.validation!.some(({ instancePath, params }) => instancePath.startsWith('/redirect_uris') || params['missingProperty'] === 'redirect_uris')
      ? 'invalid_redirect_uri'
      : 'invalid_client_metadata'))
  rejectOtherMethods(app, ['POST'], '', { preflight: true })

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 16_384,
    schema: { headers: RegisterHeadersSchema, body: RegisterBodySchema, response: RegisterResponses }
  }, async (request, reply) => {
    const client = await register(request.body, services, async () => { await limitNew(request) })
    return reply.code(201).headers({ 'cache-control': 'no-store', pragma: 'no-cache' }).send(client)
  })
}

export default registerRoutes
