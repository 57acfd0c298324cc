import { randomFillSync } from 'node:crypto'
import type { FastifyBaseLogger, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import type { Config } from '../config/config.ts'

/**
 * Logging: one JSON line per request, with the path but never the query, and no header or body. What could hold a
 * credential is not logged in the first place; the redaction is a second wall.
 */
export function loggerOptions (config: Pick<Config, 'logLevel'>): Exclude<FastifyServerOptions['logger'], boolean | undefined> {
  return {
    level: config.logLevel,
    redact: {
      paths: ['authorization', 'cookie', 'access_token', 'refresh_token', 'client_secret', 'code', 'code_verifier',
        '*.authorization', '*.cookie', '*.access_token', '*.refresh_token', '*.client_secret', '*.code_verifier'],
      censor: '[redacted]'
    },
    serializers: { err: serializeError }
  }
}

const REFERENCE_BYTES = 9
/** Random bytes for many references: asking for few at a time costs more than the rest of a request's log. */
const pool = Buffer.alloc(REFERENCE_BYTES * 512)
let used = pool.length

/** The id that the log and an error answer share. Never taken from a request header. */
export function createRequestId (): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += REFERENCE_BYTES
  return pool.toString('base64url', used - REFERENCE_BYTES, used)
}

export type RequestLogger = (request: FastifyRequest, reply: FastifyReply) => void

/**
 * The one line of a request. With a verified caller it says "User context" and who that is.
 *
 * @param log the server's: a request has its own only where something else is logged for it (request-log.ts)
 */
export function createRequestLogger (log: FastifyBaseLogger): RequestLogger {
  // No key of this line is among those that are redacted; looking for them costs more than writing it.
  const lines = log.child({}, { redact: { paths: [] } } as object) as LevelledLogger

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
    if (principal !== undefined) line['user'] = { subject: principal.subject, clientId: principal.clientId, name: principal.name, email: principal.email }
    lines[level](line, principal === undefined ? 'Request' : 'User context')
  }
}

/** Pino's, which Fastify's type of any logger has not. */
type LevelledLogger = FastifyBaseLogger & { isLevelEnabled (level: string): boolean }

/** 500 is a fault of Seed's own; 503 one of something it depends on, whose loss has an error line already. */
function levelOf (request: FastifyRequest, { statusCode }: FastifyReply): 'debug' | 'info' | 'warn' | 'error' {
  if (request.routeOptions.config?.quiet) return 'debug'
  if (statusCode === 500) return 'error'
  return statusCode > 500 ? 'warn' : 'info'
}

/** Name, message and stack, down the chain of causes; none of the members that libraries hang on errors (requests, URLs, bodies). */
function serializeError (err: Error): { type: string, message: string, stack: string } {
  return {
    type: err.name,
    message: err.message,
    stack: err.stack ?? '',
    ...(err.cause instanceof Error && { cause: serializeError(err.cause) })
  }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Logged at debug level: probes that come every few seconds. */
    quiet?: boolean
  }
  interface FastifyRequest {
    /** What a handler adds to the request's log line. */
    logFields: Record<string, unknown> | undefined
  }
}
