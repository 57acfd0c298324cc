import cookie from '@fastify/cookie'
import type { FastifyInstance } from 'fastify'
import { acceptFormsOnly } from './body-parsers.ts'
import { pageErrorHandler } from './errors.ts'

/**
 * Prepares a scope for endpoints that a person's browser opens: errors are pages, cookies are parsed, bodies are forms,
 * and nothing is cached. There is no CORS: scripts of other sites have no business here.
 */
export async function serveBrowserPages (scope: FastifyInstance): Promise<void> {
  await acceptFormsOnly(scope)
  await scope.register(cookie)
  scope.setErrorHandler(pageErrorHandler)
  scope.addHook('preHandler', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })
}
