import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { rejectOtherMethods } from '../src/http/method-not-allowed.ts'
import { renderErrorPage } from '../src/pages/error.ts'
import { PAGE_HEADERS } from '../src/pages/layout.ts'
import { HtmlSchema } from '../src/schemas/common.ts'

export interface ConnectionsInProxyModeOptions {
  /** OIDC_ISSUER */
  issuer: string
}

/** GET /connections in proxy mode, where the provider keeps the grants: a page that says so. */
const connectionsInProxyModeRoutes: FastifyPluginAsyncTypebox<ConnectionsInProxyModeOptions> = async (app, options) => {
  const { host } = new URL(options.issuer)
  rejectOtherMethods(app, ['GET'])

  app.get('', {
    config: { auth: 'public', quiet: true },
    schema: { response: { '4xx': HtmlSchema, '5xx': HtmlSchema } }
  }, async (request, reply) => reply.code(404).headers(PAGE_HEADERS).send(renderErrorPage({
    title: 'Your organisation keeps this list',
    sentence: `Applications use this server with sign-ins of ${host}, which alone knows them.`,
    advice: 'See and end them in your account there. Whoever runs this server can end the access that you have now.',
    reference: request.id
  })))
}

export default connectionsInProxyModeRoutes
