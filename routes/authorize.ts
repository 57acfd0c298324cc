import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Cookies } from '../src/http/cookies.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { omitEmptyParameters } from '../src/http/omitted-parameters.ts'
import type { RequesterOf } from '../src/http/requester.ts'
import { authorize } from '../src/oauth/endpoints/authorize.ts'
import type { AuthorizationServices } from '../src/oauth/endpoints/authorize.ts'
import { describeRequest } from '../src/oauth/endpoints/consent.ts'
import type { PendingConsents } from '../src/oauth/endpoints/consent.ts'
import { renderConsentPage } from '../src/pages/consent.ts'
import { FORM_PAGE_HEADERS } from '../src/pages/layout.ts'
import { AuthorizeHeadersSchema, AuthorizeQuerySchema, AuthorizeResponses } from '../src/schemas/authorize.ts'

export interface AuthorizeRouteOptions extends AuthorizationServices {
  consents: PendingConsents
  cookies: Cookies
  requesterOf: RequesterOf
  /** Scopes that the provider is asked for, whatever the client asked for. */
  providerScopes: readonly string[]
  /** Path that the consent page's form is posted to. */
  consentPath: string
  /** Path of the page on which people cut applications off, if there is one. */
  connectionsPath: string | undefined
}

/**
 * GET /oauth/authorize (RFC 6749 section 3.1), in a scope of browser pages (src/http/browser-scope.ts). A valid request
 * gets the consent page.
 */
const authorizeRoutes: FastifyPluginAsyncTypebox<AuthorizeRouteOptions> = async (app, options) => {
  const { consents, cookies, requesterOf, providerScopes, consentPath, connectionsPath, ...services } = options
  rejectOtherMethods(app, ['GET'])

  app.get('', {
    config: { auth: 'public' },
    preValidation: omitEmptyParameters,
    schema: { headers: AuthorizeHeadersSchema, querystring: AuthorizeQuerySchema, response: AuthorizeResponses }
  }, async (request, reply) => {
    const outcome = await authorize(request.query, services, requesterOf(request))
    if (outcome.kind === 'redirect') {
      const { location, error } = outcome
      if (error !== undefined) {
        request.logFields = { error: error.code, reason: error.message, cause: error.causeCode }
      }
      return reply.redirect(location.href, 302)
    }
    const { sealed, cookie } = await consents.create(outcome.request, cookies.read(request))
    cookies.set(reply, cookie)
    request.logFields = { client: outcome.request.client.id }
    return reply.headers(FORM_PAGE_HEADERS).send(renderConsentPage({
      ...describeRequest(outcome.request, providerScopes),
      resource: outcome.endpoint.resource,
      serverTitle: outcome.endpoint.server.title,
      connectionsPath,
      action: consentPath,
      consent: sealed,
      reference: request.id
    }))
  })
}

export default authorizeRoutes
