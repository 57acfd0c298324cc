import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { pageErrorHandler } from '../src/http/errors.ts'
import { allowOnly } from '../src/http/methods.ts'
import { authorize } from '../src/oauth/authorization.ts'
import type { AuthorizationServices } from '../src/oauth/authorization.ts'
import { AuthorizeHeadersSchema, AuthorizeQuerySchema, AuthorizeResponses } from '../src/schemas/authorize.ts'

/** GET /oauth/authorize (RFC 6749 section 3.1). A browser navigates here: no CORS, and errors are pages. */
const authorizeRoutes: FastifyPluginAsyncTypebox<AuthorizationServices> = async (app, services) => {
  app.setErrorHandler(pageErrorHandler)
  allowOnly(app, ['GET'], '', { preflight: false })

  app.get('', {
    config: { auth: 'public' },
    schema: { headers: AuthorizeHeadersSchema, querystring: AuthorizeQuerySchema, response: AuthorizeResponses }
  }, async (request, reply) => {
    const { location, error } = await authorize(request.query, services)
    if (error !== undefined) request.logFields = { error: error.code, reason: error.message }
    return reply.header('cache-control', 'no-store').redirect(location.href, 302)
  })
}

export default authorizeRoutes
