import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { HttpError } from '../errors/http-error.ts'

/**
 * Answers all other methods of a path with 405 and Allow (RFC 9110 section 15.5.6), in the scope's own error format and
 * before a body is read.
 */
export function rejectOtherMethods (
  app: FastifyInstance,
  methods: ReadonlyArray<'GET' | 'HEAD' | 'POST'>,
  path = ''
): void {
  const allowed: readonly string[] = [...methods, ...(hasCors(app) ? ['OPTIONS'] : [])]

  async function refuse (_request: FastifyRequest, reply: FastifyReply): Promise<void> {
    reply.header('allow', methods.join(', '))
    throw new HttpError(405, 'invalid_request', `This address accepts ${methods.join(' and ')} only`)
  }

  app.route({
    method: app.supportedMethods.filter((method) => !allowed.includes(method)),
    url: path,
    config: { auth: 'public' },
    onRequest: refuse,
    handler: refuse
  })
}

/** Returns true if @fastify/cors answers preflights (OPTIONS) in this scope. */
function hasCors (app: FastifyInstance): boolean {
  return app.hasRequestDecorator('corsPreflightEnabled')
}
