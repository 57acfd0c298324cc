import type { FastifyInstance } from 'fastify'
import { HttpError } from '../errors/http-error.ts'

const MAX_DEPTH = 64

/**
 * Makes a scope take JSON bodies and nothing else, at most 64 levels deep: what is deeper overflows the stack of
 * whatever walks it. Prototype keys are refused by Fastify's own parser.
 */
export function acceptJsonOnly (app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    parse(request, body as string, (err, value) => {
      if (err === null && deeperThan(value, MAX_DEPTH)) done(new HttpError(400, 'invalid_request', `The body is nested deeper than ${MAX_DEPTH} levels`))
      else done(err, value)
    })
  })
}

function deeperThan (value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (levels === 0) return true
  for (const name in value) if (deeperThan((value as Record<string, unknown>)[name], levels - 1)) return true
  return false
}
