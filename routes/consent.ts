import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Cookies } from '../src/http/cookies.ts'
import { pageErrorHandler } from '../src/http/errors.ts'
import { acceptFormsOnly } from '../src/http/form-body.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import type { Clients } from '../src/oauth/clients/clients.ts'
import type { Consent } from '../src/oauth/endpoints/consent.ts'
import { OAuthError } from '../src/errors/oauth-error.ts'
import { checkRegistrableRedirectUri } from '../src/oauth/protocol/redirect-uri.ts'
import { errorRedirect } from '../src/oauth/protocol/authorization-response.ts'
import type { SignIn } from '../src/oauth/modes/sign-in.ts'
import { ConsentBodySchema, ConsentHeadersSchema, ConsentResponses } from '../src/schemas/consent.ts'

export interface ConsentRouteOptions {
  consent: Consent
  signIn: SignIn
  clients: Clients
  cookies: Cookies
  baseUrl: string
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

/** Sign-ins that one browser may have under way; each has a cookie. */
const MOST_SIGN_INS = 8

/** POST /oauth/consent: the person has answered. Only now does anything leave for the provider or the client. */
const consentRoutes: FastifyPluginAsyncTypebox<ConsentRouteOptions> = async (app, { consent, signIn, clients, cookies, baseUrl, redirectUriSchemes }) => {
  await acceptFormsOnly(app, 4_096)
  app.setErrorHandler(pageErrorHandler)
  rejectOtherMethods(app, ['POST'], '', { preflight: false })

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 4_096,
    schema: { headers: ConsentHeadersSchema, body: ConsentBodySchema, response: ConsentResponses }
  }, async (request, reply) => {
    const site = request.headers['sec-fetch-site']
    if (site !== undefined && site !== 'same-origin') {
      throw new OAuthError('access_denied', 'The answer came from another web site', { statusCode: 403, detail: `Sec-Fetch-Site: ${site.slice(0, 20)}` })
    }
    const answered = await consent.answer(request.body.consent, cookies.names(request, 'browser-').map((name) => cookies.read(request, name)!))
    // By today's rules: nothing that lay in the store becomes a redirect unseen.
    checkRegistrableRedirectUri(answered.redirectUri, redirectUriSchemes)
    request.logFields = { client: answered.client.id, decision: request.body.decision }
    reply.header('cache-control', 'no-store')
    if (request.body.decision === 'deny') {
      const denied = new OAuthError('access_denied', 'The person did not allow the application')
      return reply.redirect(errorRedirect(answered, denied, baseUrl).href, 303)
    }
    await clients.keepAlive(answered.client)
    const { location, cookie } = await signIn.start(answered)
    if (cookie !== undefined) {
      // Browsers send the oldest first (RFC 6265 section 5.4): the one that was begun just now is the last to go.
      for (const name of cookies.names(request, 'sign-in-').slice(0, 1 - MOST_SIGN_INS)) cookies.clear(reply, name)
      cookies.set(reply, cookie.name, cookie.value, cookie.maxAgeSeconds)
    }
    return reply.redirect(location.href, 303)
  })
}

export default consentRoutes
