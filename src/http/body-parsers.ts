import formbody from '@fastify/formbody'
import type { FastifyInstance } from 'fastify'
import { HttpError } from '../errors/http-error.ts'

/**
 * Makes a scope accept forms (application/x-www-form-urlencoded) and nothing else. A repeated field parses to an array,
 * which no schema accepts.
 */
export async function acceptFormsOnly (app: FastifyInstance): Promise<void> {
  app.removeAllContentTypeParsers()
  await app.register(formbody)
}

const MAX_DEPTH = 64

/**
 * Makes a scope accept JSON and nothing else, at most 64 levels deep: deeper values overflow the stack of recursive
 * code. Fastify's own parser refuses prototype keys.
 */
export function acceptJsonOnly (app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    parse(request, body as string, (err, value) => {
      if (err === null && isDeeperThan(value, MAX_DEPTH)) {
        done(new HttpError(400, 'invalid_request', `The body is nested deeper than ${MAX_DEPTH} levels`))
      } else {
        done(err, value)
      }
    })
  })
}

/**
 * Makes a scope ignore bodies: a DELETE has none that means anything (RFC 9110 section 9.3.5), yet some clients name a
 * content type without sending one. Node discards what comes.
 */
export function ignoreBodies (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _body, done) => { done(null) })
}

function isDeeperThan (value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (levels === 0) return true
  for (const name in value) if (isDeeperThan((value as Record<string, unknown>)[name], levels - 1)) return true
  return false
}
