import type { Writable } from 'node:stream'
import type { DoneFuncWithErrOrRes, FastifyReply, FastifyRequest } from 'fastify'

/** A payload that writes to the response by itself. */
interface Piped {
  pipe (response: Writable): void
}

/**
 * The last onSend hook: hijacks event streams. Sent by Fastify, each stream would keep about twenty listeners, and Node
 * would keep the request headers twice, the access token among them (8 KiB per open stream).
 */
export function sendEventStream (
  request: FastifyRequest, reply: FastifyReply, payload: unknown, done: DoneFuncWithErrOrRes
): void {
  if (!isPiped(payload)) {
    done(null, payload)
    return
  }
  reply.hijack()
  const { raw } = reply
  raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>)
  releaseHeaders(request)
  raw.cork()
  raw.flushHeaders()
  payload.pipe(raw)
  raw.uncork()
}

function isPiped (payload: unknown): payload is Piped {
  return typeof payload === 'object' && payload !== null && 'pipe' in payload
}

/** Of a traceparent, as future versions may lengthen it (W3C Trace Context, section 3.2). */
const MAX_TRACEPARENT_LENGTH = 256

/** Keeps only the headers that are read when the request ends: for `request.ip` in the log, and for the audit log. */
function releaseHeaders ({ raw }: FastifyRequest): void {
  const { traceparent, 'x-forwarded-for': forwarded } = raw.headers as Record<string, string | undefined>
  const isTraced = traceparent !== undefined && traceparent.length <= MAX_TRACEPARENT_LENGTH
  raw.headers = {
    ...(forwarded !== undefined && { 'x-forwarded-for': forwarded }),
    ...(isTraced && { traceparent })
  }
  raw.rawHeaders = []
}
