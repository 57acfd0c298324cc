import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'

/**
 * Removes parameters without a value from forms and queries, before the schema sees them: they "MUST be treated as if
 * they were omitted" (RFC 6749 sections 3.1 and 3.2). A preValidation hook.
 */
export function omitEmptyParameters (
  { body, query }: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction
): void {
  omit(body, '')
  omit(query, '')
  done()
}

/**
 * Removes null members from a JSON object: clients write them for metadata that they do not have (RFC 7591 section 2
 * gives null no meaning). A preValidation hook.
 */
export function omitNullMembers (
  { body }: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction
): void {
  omit(body, null)
  done()
}

function omit (parameters: unknown, absent: '' | null): void {
  if (typeof parameters !== 'object' || parameters === null || Array.isArray(parameters)) return
  for (const [name, value] of Object.entries(parameters)) {
    if (value === absent) delete (parameters as Record<string, unknown>)[name]
  }
}
