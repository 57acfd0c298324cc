import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { tokenOwner } from '../src/audit/token-owner.ts'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { omitEmptyParameters } from '../src/http/omitted-parameters.ts'
import type { RequesterOf } from '../src/http/requester.ts'
import { issueTokens } from '../src/oauth/endpoints/token.ts'
import type { TokenServices } from '../src/oauth/endpoints/token.ts'
import type { Traces } from '../src/trace/traces.ts'
import { TokenBodySchema, TokenHeadersSchema, TokenResponses } from '../src/schemas/token.ts'

export interface TokenRouteOptions extends TokenServices {
  requesterOf: RequesterOf
  traces: Pick<Traces, 'awaitFirstCall'>
}

/** POST /oauth/token (RFC 6749 section 3.2), in a back-channel scope for forms (src/http/back-channel-scope.ts). */
const tokenRoutes: FastifyPluginAsyncTypebox<TokenRouteOptions> = async (app, options) => {
  const { requesterOf, traces, ...services } = options
  rejectOtherMethods(app, ['POST'])

  app.post('', {
    config: { auth: 'public' },
    preValidation: omitEmptyParameters,
    bodyLimit: 16_384,
    schema: { headers: TokenHeadersSchema, body: TokenBodySchema, response: TokenResponses }
  }, async (request) => {
    const { body, headers: { authorization } } = request
    const requester = requesterOf(request)
    const { tokens, client, principalKind } = await issueTokens(body, authorization, services, requester)
    const { step } = requester
    if (step.isContinued && step.name === 'token') traces.awaitFirstCall(tokens.access_token, step.reference)
    request.auditEntry = {
      event: body.grant_type === 'refresh_token' ? 'refresh' : 'sign_in',
      client: client.id,
      kind: client.kind,
      principalKind: principalKind === 'service' ? principalKind : undefined,
      // A sign-in with a browser, and its refresh, are what the event's name says.
      grantType: ['authorization_code', 'refresh_token'].includes(body.grant_type) ? undefined : body.grant_type,
      ...tokenOwner(tokens.access_token)
    }
    return tokens
  })
}

export default tokenRoutes
