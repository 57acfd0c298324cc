import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'

export type RequestLogger = (request: FastifyRequest, reply: FastifyReply) => void

/**
 * Writes one line for each request; with a verified caller, its message is "User context".
 *
 * @param log the server's logger, as most requests have none of their own (lazy-child-logger.ts)
 */
export function createRequestLogger (log: FastifyBaseLogger): RequestLogger {
  // This line has no key that is redacted; searching for them would cost more than writing it.
  const lines = log.child({ event: 'request' }, { redact: { paths: [] } } as object) as LevelledLogger

  return (request, reply) => {
    const level = levelOf(request, reply)
    if (!lines.isLevelEnabled(level)) return
    const { principal } = request
    const line: Record<string, unknown> = {
      reqId: request.id,
      method: request.method,
      path: request.routeOptions.url ?? request.url.split('?')[0]!.slice(0, 256),
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      address: request.ip,
      ...request.logFields
    }
    if (request.traceId !== undefined) line['traceId'] = request.traceId
    if (principal !== undefined) {
      const { kind, subject, clientId, name, email } = principal
      line['user'] = { subject, clientId, name, email, kind: kind === 'service' ? kind : undefined }
    }
    lines[level](line, principal === undefined ? 'Request' : 'User context')
  }
}

/** Pino's method, which Fastify's logger type lacks. */
type LevelledLogger = FastifyBaseLogger & { isLevelEnabled (level: string): boolean }

/** 500 is Seed's own fault; 503 means that something it depends on is away, which has an error line of its own. */
function levelOf (request: FastifyRequest, { statusCode }: FastifyReply): 'debug' | 'info' | 'warn' | 'error' {
  if (request.routeOptions.config?.quiet) return 'debug'
  if (statusCode === 500) return 'error'
  return statusCode > 500 ? 'warn' : 'info'
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Logs the route's requests at debug level: probes come every few seconds. */
    quiet?: boolean
  }
  interface FastifyRequest {
    /** Fields that a handler adds to the request's log line. */
    logFields: Record<string, unknown> | undefined
    /** The id of the request's OpenTelemetry trace; undefined where requests are not traced. */
    traceId: string | undefined
  }
}
