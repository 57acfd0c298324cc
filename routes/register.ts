import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError, FastifyRequest } from 'fastify'
import { oauthErrorHandler } from '../src/http/errors.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { omitNullMembers } from '../src/http/omitted-parameters.ts'
import { register } from '../src/oauth/endpoints/register.ts'
import type { RegistrationLimits, RegistrationServices } from '../src/oauth/endpoints/register.ts'
import { RegisterBodySchema, RegisterResponses } from '../src/schemas/register.ts'

export interface RegisterRouteOptions extends RegistrationServices {
  limitsOf: (request: FastifyRequest) => RegistrationLimits
}

/** POST /oauth/register (RFC 7591 section 3), in a back-channel scope for JSON (src/http/back-channel-scope.ts). */
const registerRoutes: FastifyPluginAsyncTypebox<RegisterRouteOptions> = async (app, { limitsOf, ...services }) => {
  app.setErrorHandler(oauthErrorHandler(invalidMetadataCode))
  rejectOtherMethods(app, ['POST'])

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 16_384,
    preValidation: omitNullMembers,
    schema: { body: RegisterBodySchema, response: RegisterResponses }
  }, async (request, reply) => {
    reply.code(201)
    const client = await register(request.body, services, limitsOf(request))
    const { client_id: id, client_name: name } = client
    request.auditEntry = { event: 'registration', client: id, kind: 'registered', ...(name && { target: name }) }
    return client
  })
}

/** The error code for a body that fails its schema (RFC 7591 section 3.2.2). */
function invalidMetadataCode ({ validation = [] }: FastifyError): 'invalid_redirect_uri' | 'invalid_client_metadata' {
  const aboutRedirectUris = validation.some(({ instancePath, params }) =>
    instancePath.startsWith('/redirect_uris') || params['missingProperty'] === 'redirect_uris')
  return aboutRedirectUris ? 'invalid_redirect_uri' : 'invalid_client_metadata'
}

export default registerRoutes
