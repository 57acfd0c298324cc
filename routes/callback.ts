import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Cookies } from '../src/http/cookies.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import type { BrokerSignIn } from '../src/oauth/modes/broker/sign-in.ts'
import { CallbackHeadersSchema, CallbackQuerySchema, CallbackResponses } from '../src/schemas/callback.ts'

export interface CallbackRouteOptions {
  signIn: Pick<BrokerSignIn, 'complete'>
  cookies: Cookies
}

/**
 * GET /oauth/callback, in broker mode: the one redirect URI that the provider knows, in a scope of browser pages
 * (src/http/browser-scope.ts).
 */
const callbackRoutes: FastifyPluginAsyncTypebox<CallbackRouteOptions> = async (app, { signIn, cookies }) => {
  rejectOtherMethods(app, ['GET'])

  app.get('', {
    config: { auth: 'public' },
    schema: { headers: CallbackHeadersSchema, querystring: CallbackQuerySchema, response: CallbackResponses }
  }, async (request, reply) => {
    const sent = cookies.read(request)
    const step = request.traceStep!
    const result = await signIn.complete(request.query, (name) => sent.get(name), step)
    const { location, cookieName, client, signedIn, error } = result
    request.logFields = {
      client,
      ...signedIn,
      ...(error !== undefined && { error: error.code, reason: error.detail, cause: error.causeCode }),
      signIn: step.reference
    }
    cookies.clear(reply, cookieName)
    return reply.redirect(location.href, 303)
  })
}

export default callbackRoutes
