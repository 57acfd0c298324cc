import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { logOut } from '../src/oauth/endpoints/backchannel-logout.ts'
import type { LogoutServices } from '../src/oauth/endpoints/backchannel-logout.ts'
import { describeEnded } from '../src/oauth/modes/broker/grant-revocation.ts'
import { LogoutBodySchema, LogoutResponses } from '../src/schemas/backchannel-logout.ts'

export interface LogoutRouteOptions extends LogoutServices {
  /** Counts a refused logout token by address. @throws LimitError */
  limitRefused: (request: FastifyRequest) => Promise<void>
}

const LOGGED_OUT = 'logged out at the provider'

/**
 * POST /oauth/backchannel-logout, called by the provider (OpenID Connect Back-Channel Logout 1.0 section 2.5), in a
 * back-channel scope for forms (src/http/back-channel-scope.ts).
 */
const backchannelLogoutRoutes: FastifyPluginAsyncTypebox<LogoutRouteOptions> = async (app, options) => {
  const { limitRefused, ...services } = options
  rejectOtherMethods(app, ['POST'])

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 16_384,
    schema: { body: LogoutBodySchema, response: LogoutResponses }
  }, async (request) => {
    const { subject, sid, revoked } = await logOut(request.body.logout_token, services, () => limitRefused(request))
    request.logFields = { subject, sid, revoked }
    request.auditEntry = {
      event: 'revocation',
      ...(subject !== undefined && { subject }),
      ...(sid !== undefined && { target: `session ${sid}` }),
      reason: revoked === undefined ? LOGGED_OUT : `${LOGGED_OUT}: ${describeEnded(revoked)}`
    }
    if (revoked === 0) {
      request.log.info({ event: 'logout.nothing_ended', subject, sid }, subject === undefined
        ? 'A back-channel logout ended nothing: no grant of its session (sid) is known'
        : 'A back-channel logout ended no grant: none is known. Access tokens without a grant, if any, have ended')
    }
    return {}
  })
}

export default backchannelLogoutRoutes
