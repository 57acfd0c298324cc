import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Cookies } from '../src/http/cookies.ts'
import { pageErrorHandler } from '../src/http/errors.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import type { BrokerSignIn } from '../src/oauth/modes/broker/sign-in.ts'
import { CallbackQuerySchema, CallbackResponses } from '../src/schemas/callback.ts'

export interface CallbackRouteOptions {
  signIn: BrokerSignIn
  cookies: Cookies
}

/** GET /oauth/callback: the provider sends the browser back (broker mode). The one redirect URI that the provider must know. */
const callbackRoutes: FastifyPluginAsyncTypebox<CallbackRouteOptions> = async (app, { signIn, cookies }) => {
  app.setErrorHandler(pageErrorHandler)
  rejectOtherMethods(app, ['GET'], '', { preflight: false })

  app.get('', {
    config: { auth: 'public' },
    schema: { querystring: CallbackQuerySchema, response: CallbackResponses }
  }, async (request, reply) => {
    const { location, cookieName, client, signedIn, error } = await signIn.complete(request.query, (name) => cookies.read(request, name))
    request.logFields = { client, ...signedIn, ...(error !== undefined && { error: error.code, reason: error.detail }) }
    cookies.clear(reply, cookieName)
    return reply.header('cache-control', 'no-store').redirect(location.href, 303)
  })
}

export default callbackRoutes
