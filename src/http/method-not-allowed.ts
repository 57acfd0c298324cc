import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { HttpError } from '../errors/http-error.ts'

/**
 * Answers every other method of a path with 405 and Allow (RFC 9110 section 15.5.6), in the scope's own form of error
 * and before a body is read. In a scope with CORS, OPTIONS is the preflight's.
 */
export function rejectOtherMethods (app: FastifyInstance, methods: ReadonlyArray<'GET' | 'HEAD' | 'POST'>, url: string, { preflight }: { preflight: boolean }): void {
  async function refuse (_request: FastifyRequest, reply: FastifyReply): Promise<void> {
    reply.header('allow', methods.join(', '))
    throw new HttpError(405, 'invalid_request', `This address takes ${methods.join(' and ')} and no other method`)
  }
  app.route({
    method: app.supportedMethods.filter((other) => !(methods as readonly string[]).includes(other) && !(preflight && other === 'OPTIONS')),
    url,
    config: { auth: 'public' },
    onRequest: refuse,
    handler: refuse
  })
}
