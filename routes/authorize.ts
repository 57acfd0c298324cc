import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Cookies } from '../src/http/cookies.ts'
import { pageErrorHandler } from '../src/http/errors.ts'
import type { LimitByKey } from '../src/http/rate-limit-store.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { renderConsentPage } from '../src/pages/consent.ts'
import { FORM_PAGE_HEADERS } from '../src/pages/layout.ts'
import { authorize } from '../src/oauth/endpoints/authorize.ts'
import type { AuthorizationServices } from '../src/oauth/endpoints/authorize.ts'
import { describeRequest } from '../src/oauth/endpoints/consent.ts'
import type { Consent } from '../src/oauth/endpoints/consent.ts'
import { randomId } from '../src/crypto/hash.ts'
import { AuthorizeHeadersSchema, AuthorizeQuerySchema, AuthorizeResponses } from '../src/schemas/authorize.ts'

export interface AuthorizeRouteOptions extends AuthorizationServices {
  consent: Consent
  cookies: Cookies
  limitClient: LimitByKey
}

/** How long a browser may leave the question unanswered, and a little more. */
const BROWSER_COOKIE_SECONDS = 3_600

/** GET /oauth/authorize (RFC 6749 section 3.1). A browser navigates here: no CORS, and what it gets is the consent page, or a page that says what is wrong. */
const authorizeRoutes: FastifyPluginAsyncTypebox<AuthorizeRouteOptions> = async (app, { consent, cookies, limitClient, ...services }) => {
  app.setErrorHandler(pageErrorHandler)
  rejectOtherMethods(app, ['GET'], '', { preflight: false })

  app.get('', {
    config: { auth: 'public' },
    schema: { headers: AuthorizeHeadersSchema, querystring: AuthorizeQuerySchema, response: AuthorizeResponses }
  }, async (request, reply) => {
    const outcome = await authorize(request.query, services, async (clientId) => { await limitClient(request, clientId) })
    if (outcome.kind === 'redirect') {
      if (outcome.error !== undefined) request.logFields = { error: outcome.error.code, reason: outcome.error.message }
      return reply.header('cache-control', 'no-store').redirect(outcome.location.href, 302)
    }
    // The same browser keeps its value, so that pages it has open in other tabs stay good. A new one gets a name of its
    // own: two tabs that open at once do not overwrite each other's.
    const known = cookies.names(request, 'browser-').find((name) => /^[\w-]{22}$/.test(cookies.read(request, name)!))
    const browser = known === undefined ? randomId(16) : cookies.read(request, known)!
    const consentId = await consent.ask(outcome.request, browser)
    cookies.set(reply, known ?? `browser-${randomId(6)}`, browser, BROWSER_COOKIE_SECONDS)
    request.logFields = { client: outcome.request.client.id }
    return reply.headers(FORM_PAGE_HEADERS).send(renderConsentPage({
      ...describeRequest(outcome.request), resource: services.resource, action: '/oauth/consent', consentId
    }))
  })
}

export default authorizeRoutes
