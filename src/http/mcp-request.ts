import type { FastifyReply, FastifyRequest } from 'fastify'
import type { McpRequest } from '../mcp/exchange.ts'

/** A Fastify request as the MCP engine takes it. Members that few requests need are made when they are read. */
export class FastifyMcpRequest implements McpRequest {
  readonly method: McpRequest['method']
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly url: string

  /**
   * @param url the endpoint, and not the target of the request line, which may be in absolute form (RFC 9112 section
   * 3.2.2), or no URL at all
   */
  constructor (method: McpRequest['method'], request: FastifyRequest, reply: FastifyReply, url: string) {
    this.method = method
    this.#request = request
    this.#reply = reply
    this.url = url
  }

  get id (): string { return this.#request.id }
  get headers (): McpRequest['headers'] { return this.#request.headers }
  get body (): unknown { return this.#request.body }
  get acceptsStream (): boolean { return acceptsEventStream(this.#request) }
  get principal (): McpRequest['principal'] { return this.#request.principal }
  get address (): string { return this.#request.ip }
  get log (): McpRequest['log'] { return this.#request.log }
  get traceId (): string | undefined { return this.#request.traceId }

  markRecorded (): void { this.#request.isRecorded = true }

  onDisconnect (listener: () => void): () => void {
    const { raw } = this.#reply
    const onClose = (): void => { if (!raw.writableFinished) listener() }
    if (raw.destroyed) listener()
    else raw.once('close', onClose)
    return () => { raw.removeListener('close', onClose) }
  }
}

const JSON_RANGE = mediaRange('application/json')
const EVENT_STREAM_RANGE = mediaRange('text/event-stream')

export function acceptsJson (request: FastifyRequest): boolean {
  return accepts(request, JSON_RANGE)
}

export function acceptsEventStream (request: FastifyRequest): boolean {
  return accepts(request, EVENT_STREAM_RANGE)
}

/** Whether Accept includes a media type. Without Accept, or with an empty one, all are (RFC 9110 section 12.5.1). */
function accepts ({ headers: { accept } }: FastifyRequest, range: RegExp): boolean {
  // The header that MCP clients send needs no regular expression.
  if (accept === undefined || accept === 'application/json, text/event-stream') return true
  return accept === '' || range.test(accept)
}

function mediaRange (mediaType: 'application/json' | 'text/event-stream'): RegExp {
  const [type] = mediaType.split('/')
  return new RegExp(`(^|,)\\s*(${mediaType}|${type}/\\*|\\*/\\*)\\s*(;|,|$)`, 'i')
}
