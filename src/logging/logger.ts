import { randomFillSync } from 'node:crypto'
import type { FastifyServerOptions } from 'fastify'

/**
 * Returns pino's options. Nothing that could hold a credential (query, headers, body) is logged in the first place;
 * redaction is the second line of defence.
 */
export function loggerOptions (): Exclude<FastifyServerOptions['logger'], boolean | undefined> {
  return {
    redact: {
      paths: ['authorization', 'cookie', 'access_token', 'refresh_token', 'client_secret', 'code', 'code_verifier',
        '*.authorization', '*.cookie', '*.access_token', '*.refresh_token', '*.client_secret', '*.code_verifier'],
      censor: '[redacted]'
    },
    serializers: { err: serializeError }
  }
}

const REQUEST_ID_BYTES = 9
/** Random bytes for many ids: a call of randomFillSync costs more than the rest of a request's log line. */
const pool = Buffer.alloc(REQUEST_ID_BYTES * 512)
let used = pool.length

/** Returns the reference that a log line and an error response share. It is never taken from a request header. */
export function createRequestId (): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += REQUEST_ID_BYTES
  return pool.toString('base64url', used - REQUEST_ID_BYTES, used)
}

/** Name, message and stack of an error and its causes, without what libraries attach (requests, URLs, bodies). */
function serializeError (err: Error): { type: string, message: string, stack: string } {
  return {
    type: err.name,
    message: err.message,
    stack: err.stack ?? '',
    ...(err.cause instanceof Error && { cause: serializeError(err.cause) })
  }
}
