import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { oauthErrorHandler } from '../src/http/errors.ts'
import { acceptFormsOnly } from '../src/http/form-body.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { logOut } from '../src/oauth/endpoints/backchannel-logout.ts'
import type { LogoutServices } from '../src/oauth/endpoints/backchannel-logout.ts'
import { LogoutBodySchema, LogoutResponses } from '../src/schemas/backchannel-logout.ts'

/** POST /oauth/backchannel-logout: the provider itself calls (OpenID Connect Back-Channel Logout 1.0 section 2.5). */
const backchannelLogoutRoutes: FastifyPluginAsyncTypebox<LogoutServices> = async (app, services) => {
  await acceptFormsOnly(app, 16_384)
  app.setErrorHandler(oauthErrorHandler())
  rejectOtherMethods(app, ['POST'], '', { preflight: false })

  app.post('', {
    config: { auth: 'public' },
    bodyLimit: 16_384,
    schema: { body: LogoutBodySchema, response: LogoutResponses }
  }, async (request, reply) => {
    const { subject, sid, ended } = await logOut(request.body.logout_token, services)
    request.logFields = { subject, sid, ended }
    return reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' }).send({})
  })
}

export default backchannelLogoutRoutes
