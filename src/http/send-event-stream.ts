import type { Writable } from 'node:stream'
import type { DoneFuncWithErrOrRes, FastifyReply, FastifyRequest } from 'fastify'

/** What writes to the response by itself. */
interface Piped {
  pipe (response: Writable): void
}

/**
 * The last of the onSend hooks: a stream of events goes out with all headers that hooks have set, as Fastify would send
 * it, and with no more than it needs while it is open. Fastify waits for the ends of a stream and of the response with
 * twenty listeners; Node keeps each header of the request twice, the access token among them.
 */
export function sendEventStream (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: DoneFuncWithErrOrRes): void {
  if (!isPiped(payload)) {
    done(null, payload)
    return
  }
  // Fastify is done with it, but for onResponse.
  reply.hijack()
  const { raw } = reply
  raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>)
  letGo(request)
  raw.cork()
  raw.flushHeaders()
  payload.pipe(raw)
  raw.uncork()
}

function isPiped (payload: unknown): payload is Piped {
  return typeof payload === 'object' && payload !== null && 'pipe' in payload
}

/** Of the headers only those stay from which `request.ip` is read, for the log. */
function letGo ({ raw }: FastifyRequest): void {
  const forwarded = raw.headers['x-forwarded-for']
  raw.headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
  raw.rawHeaders = []
}
