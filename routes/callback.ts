import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Cookies } from '../src/http/cookies.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import type { ConnectionsPageServices } from '../src/oauth/modes/broker/connections-page.ts'
import { isConnectionsState } from '../src/oauth/modes/broker/connections-sign-in.ts'
import type { BrokerSignIn } from '../src/oauth/modes/broker/sign-in.ts'
import type { ReadCookie } from '../src/oauth/modes/broker/browser-bound-sign-ins.ts'
import { CallbackHeadersSchema, CallbackQuerySchema, CallbackResponses } from '../src/schemas/callback.ts'

export interface CallbackRouteOptions {
  signIn: Pick<BrokerSignIn, 'complete'>
  /** The page /connections; undefined with CONNECTIONS_PAGE=false. */
  connections: Pick<ConnectionsPageServices, 'signIn'> | undefined
  cookies: Cookies
  /** BASE_URL */
  baseUrl: string
}

/** The page that a sign-in is for, in the log: metrics count the sign-ins of applications alone. */
const CONNECTIONS = '/connections'

/**
 * GET /oauth/callback, in broker mode: the one redirect URI that the provider knows, in a scope of browser pages
 * (src/http/browser-scope.ts). The form of `state` says whether an application or the page /connections began the
 * sign-in.
 */
const callbackRoutes: FastifyPluginAsyncTypebox<CallbackRouteOptions> = async (app, options) => {
  const { signIn, connections, cookies, baseUrl } = options
  rejectOtherMethods(app, ['GET'])

  app.get('', {
    config: { auth: 'public' },
    schema: { headers: CallbackHeadersSchema, querystring: CallbackQuerySchema, response: CallbackResponses }
  }, async (request, reply) => {
    const sent = cookies.read(request)
    const readCookie: ReadCookie = (name) => sent.get(name)
    const step = request.traceStep!
    const { state } = request.query
    if (connections !== undefined && isConnectionsState(state)) {
      step.name = 'connections callback'
      request.logFields = { page: CONNECTIONS }
      const completed = await connections.signIn.complete({ ...request.query, state }, readCookie, step)
      const { location, cookieName, cookie, subject } = completed
      step.outcome = 'The provider signed the person in to /connections'
      request.logFields = { page: CONNECTIONS, subject, signIn: step.reference }
      request.auditEntry = { event: 'sign_in', issuer: baseUrl, subject, target: CONNECTIONS }
      cookies.clear(reply, cookieName)
      cookies.set(reply, cookie)
      return reply.redirect(location.href, 303)
    }
    const result = await signIn.complete(request.query, readCookie, step)
    const { location, cookieName, cookie, client, signedIn, error } = result
    request.logFields = {
      client,
      ...signedIn,
      ...(error !== undefined && { error: error.code, reason: error.detail, cause: error.causeCode }),
      signIn: step.reference
    }
    cookies.clear(reply, cookieName)
    if (cookie !== undefined) cookies.set(reply, cookie)
    return reply.redirect(location.href, 303)
  })
}

export default callbackRoutes
