import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { renderHomePage } from '../src/pages/home.ts'
import { PAGE_HEADERS } from '../src/pages/layout.ts'
import { ErrorSchema, HtmlSchema } from '../src/schemas/common.ts'

/** GET /: a page with the address of the MCP endpoint. Clients that POST here learn it from the 404. */
const homeRoutes: FastifyPluginAsyncTypebox<{ endpoint: string }> = async (app, { endpoint }) => {
  const page = renderHomePage(endpoint)
  app.get('/', {
    exposeHeadRoute: true,
    config: { auth: 'public' },
    schema: { response: { 200: HtmlSchema, '4xx': ErrorSchema, '5xx': ErrorSchema } }
  }, async (_request, reply) => reply.headers(PAGE_HEADERS).send(page))
}

export default homeRoutes
