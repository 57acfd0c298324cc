import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Cookies } from '../src/http/cookies.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { applyDecision, checkSameOrigin } from '../src/oauth/endpoints/consent.ts'
import type { ConsentDecisionServices, PendingConsents } from '../src/oauth/endpoints/consent.ts'
import { surplusSignInCookies } from '../src/oauth/modes/sign-in.ts'
import { ConsentBodySchema, ConsentHeadersSchema, ConsentResponses } from '../src/schemas/consent.ts'

export interface ConsentRouteOptions extends ConsentDecisionServices {
  consents: PendingConsents
  cookies: Cookies
}

/**
 * POST /oauth/consent: the form of the consent page, in a scope of browser pages (src/http/browser-scope.ts). Nothing
 * has been sent to the provider or the client before.
 */
const consentRoutes: FastifyPluginAsyncTypebox<ConsentRouteOptions> = async (app, options) => {
  const { consents, cookies, ...services } = options
  rejectOtherMethods(app, ['POST'])

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 33_792,
    schema: { headers: ConsentHeadersSchema, body: ConsentBodySchema, response: ConsentResponses }
  }, async (request, reply) => {
    const { consent, decision } = request.body
    checkSameOrigin(request.headers['sec-fetch-site'])
    const sent = cookies.read(request)
    const step = request.traceStep!
    const authorization = await consents.take(consent, sent, { ip: request.ip, step })
    const { id: client, kind } = authorization.client
    request.logFields = { client, decision, signIn: step.reference }
    if (decision === 'deny') {
      request.auditEntry = { event: 'refusal', client, kind, error: 'access_denied', reason: 'denied by the person' }
    }
    const { location, cookie } = await applyDecision(decision, authorization, services, step)
    if (cookie !== undefined) {
      for (const name of surplusSignInCookies(sent.keys())) cookies.clear(reply, name)
      cookies.set(reply, cookie)
    }
    return reply.redirect(location.href, 303)
  })
}

export default consentRoutes
