import { randomFillSync } from 'node:crypto'
import { inspect } from 'node:util'
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
    serializers: { err: (thrown: unknown) => serializeError(thrown) }
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

type SerializedError = { type: string, message: string, stack: string, cause?: SerializedError }

/** The most causes to log of one error: an error may be its own cause. */
const MAX_CAUSES = 5
const MAX_THROWN_LENGTH = 500

/**
 * Returns name, message and stack of an error and its causes, without what libraries attach (requests, URLs, bodies).
 * JavaScript can throw anything, so it need not be an error.
 */
function serializeError (thrown: unknown, causes = 0): SerializedError {
  if (!(thrown instanceof Error)) {
    const message = `Something other than an error was thrown: ${inspect(thrown).slice(0, MAX_THROWN_LENGTH)}`
    return { type: thrown === null ? 'null' : typeof thrown, message, stack: '' }
  }
  const { name, message, stack, cause } = thrown
  return {
    type: String(name),
    message: String(message),
    stack: String(stack ?? ''),
    ...(cause instanceof Error && causes < MAX_CAUSES && { cause: serializeError(cause, causes + 1) })
  }
}
