import cors from '@fastify/cors'
import type { FastifyInstance } from 'fastify'
import { acceptFormsOnly, acceptJsonOnly } from './body-parsers.ts'
import { oauthErrorHandler } from './errors.ts'

/**
 * Prepares a scope for OAuth endpoints that programs call: errors are JSON (RFC 6749 section 5.2), bodies have one
 * content type, and nothing is cached (RFC 6749 section 5.1).
 */
export async function serveBackChannel (scope: FastifyInstance, { body }: { body: 'form' | 'json' }): Promise<void> {
  if (body === 'form') await acceptFormsOnly(scope)
  else acceptJsonOnly(scope)
  scope.setErrorHandler(oauthErrorHandler())
  scope.addHook('preHandler', async (_request, reply) => {
    reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
  })
}

/** Lets web pages of any origin call a scope. Cookies mean nothing there, so no page can act on a person's behalf. */
export async function allowAnyOrigin (scope: FastifyInstance): Promise<void> {
  await scope.register(cors, {
    origin: '*',
    methods: ['POST'],
    exposedHeaders: ['Retry-After', 'X-Request-Id'],
    maxAge: 600
  })
}
