import { BearerError } from '../src/errors/bearer-error.ts'
import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { jsonRpcError, mcpErrorHandler } from '../src/http/errors.ts'
import { HttpError } from '../src/errors/http-error.ts'
import { acceptJsonOnly } from '../src/http/json-body.ts'
import { sendEventStream } from '../src/http/send-event-stream.ts'
import type { StreamRevocation } from '../src/http/stream-revocation.ts'
import type { EventStream, McpRequest, McpResponse } from '../src/mcp/exchange.ts'
import type { Engine } from '../src/mcp/engine.ts'
import type { McpLimits } from '../src/limits/mcp-limits.ts'
import type { ChallengeOptions } from '../src/oauth/protocol/bearer-challenge.ts'
import { isPromise } from '../src/async/maybe-async.ts'
import { JsonRpcErrorSchema, McpAnswerSchema, McpBodySchema, McpHeadersSchema } from '../src/schemas/mcp.ts'

export interface McpRouteOptions {
  engine: Engine
  /** Origins whose pages may call. */
  origins: readonly string[]
  challenge: ChallengeOptions
  /** Ends streams whose token has expired or is revoked; undefined with AUTH_REQUIRED=false. */
  streams: StreamRevocation | undefined
  limits: McpLimits
}

type Payload = string | Buffer | EventStream | null

/** The MCP endpoint (Streamable HTTP): POST carries messages; GET and DELETE belong to sessions of the 2025 revisions. */
const mcpRoutes: FastifyPluginAsyncTypebox<McpRouteOptions> = async (app, { engine, origins, challenge, streams, limits }) => {
  const answerError = mcpErrorHandler(challenge)
  acceptJsonOnly(app)
  // Preflights alone: of a request itself the origin check says what is to be said, in a tenth of the time.
  await app.register(async (scope) => { await scope.register(cors, { origin: [...origins], methods: ['POST', 'GET', 'DELETE'], maxAge: 600 }) })
  app.addHook('onSend', sendEventStream)
  app.setErrorHandler(async (error: FastifyError, request, reply) => await answerError(countRefusal(error, request), request, reply))

  /** Good tokens are always looked at: one bad client must not lock out the others behind its address. */
  function countRefusal (error: FastifyError, { ip }: FastifyRequest): FastifyError {
    if (!(error instanceof BearerError)) return error
    try {
      limits.checkRefused(ip)
      limits.countRefused(ip)
      return error
    } catch (err) {
      return err as FastifyError
    }
  }

  function countRequest ({ ip, principal }: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
    try {
      limits.countRequest(ip, principal?.key)
    } catch (err) {
      done(err as Error)
      return
    }
    done()
  }

  /** Plain requests are answered at once, without a promise. */
  function answer (request: FastifyRequest, reply: FastifyReply, method: McpRequest['method']): Promise<Payload> | undefined {
    const answer = engine.handle(new HttpExchange(method, request, reply, challenge.baseUrl))
    // A reply that is returned would be waited for, as long as its stream is open.
    if (isPromise(answer)) return answer.then((settled) => prepare(settled, request, reply))
    reply.send(prepare(answer, request, reply))
  }

  function prepare ({ status, headers, body, stream }: McpResponse, request: FastifyRequest, reply: FastifyReply): Payload {
    reply.code(status).header('cache-control', 'no-store').headers(headers)
    // Fastify says so itself of what is a string.
    if (body instanceof Buffer) reply.type('application/json; charset=utf-8')
    if (stream === undefined) return body
    if (!reply.raw.destroyed) {
      streams?.watch(stream, request.principal)
      return stream
    }
    // Nobody is there to be sent a stream; one that cannot begin would be logged as a failure.
    stream.destroy()
    return null
  }

  app.post('', {
    config: { auth: 'bearer' },
    schema: { headers: McpHeadersSchema, body: McpBodySchema, response: { '2xx': McpAnswerSchema, '4xx': McpAnswerSchema, '5xx': McpAnswerSchema } },
    onRequest: countRequest
  }, (request, reply) => {
    // Answers are JSON unless something streams, so whoever takes JSON is served: curl's own */* included.
    if (!accepts(request, JSON_TYPE)) throw new HttpError(406, 'invalid_request', 'Accept must include application/json and text/event-stream')
    request.logFields = describe(request.body)
    return answer(request, reply, 'POST')
  })

  for (const method of ['GET', 'DELETE'] as const) {
    app.route({
      method,
      url: '',
      config: { auth: 'bearer' },
      schema: { headers: McpHeadersSchema, response: { '2xx': McpAnswerSchema, '4xx': McpAnswerSchema, '5xx': McpAnswerSchema } },
      onRequest: countRequest,
      handler: (request, reply) => answer(request, reply, method)
    })
  }

  app.route({
    method: ['HEAD', 'PUT', 'PATCH'],
    url: '',
    config: { auth: 'bearer' },
    schema: { headers: McpHeadersSchema, response: { '4xx': JsonRpcErrorSchema, '5xx': JsonRpcErrorSchema } },
    handler: async (_request, reply) => reply.code(405).headers({ allow: 'POST, GET, DELETE', 'cache-control': 'no-store' })
      .send(jsonRpcError(-32000, 'Method not allowed'))
  })
}

/** What few requests need is made when it is asked for. */
class HttpExchange implements McpRequest {
  readonly method: McpRequest['method']
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #baseUrl: string
  #signal: AbortSignal | undefined

  constructor (method: McpRequest['method'], request: FastifyRequest, reply: FastifyReply, baseUrl: string) {
    this.method = method
    this.#request = request
    this.#reply = reply
    this.#baseUrl = baseUrl
  }

  get headers (): McpRequest['headers'] { return this.#request.headers }
  get url (): string { return this.#baseUrl + this.#request.url }
  get body (): unknown { return this.#request.body }
  get acceptsStream (): boolean { return accepts(this.#request, STREAM) }
  get principal (): McpRequest['principal'] { return this.#request.principal }
  get address (): string { return this.#request.ip }
  get log (): McpRequest['log'] { return this.#request.log }

  get signal (): AbortSignal {
    this.#signal ??= disconnected(this.#reply)
    return this.#signal
  }
}

const JSON_TYPE = mediaRange('application/json')
const STREAM = mediaRange('text/event-stream')

/** Whether a media type is among those of Accept; without the header all are. */
function accepts ({ headers: { accept } }: FastifyRequest, range: RegExp): boolean {
  // What clients of the protocol send.
  return accept === undefined || accept === 'application/json, text/event-stream' || range.test(accept)
}

function mediaRange (mediaType: 'application/json' | 'text/event-stream'): RegExp {
  const [type] = mediaType.split('/')
  return new RegExp(`(^|,)\\s*(${mediaType}|${type}/\\*|\\*/\\*)\\s*(;|,|$)`, 'i')
}

/** Aborts when the client goes away before it has its answer. */
function disconnected ({ raw }: FastifyReply): AbortSignal {
  const controller = new AbortController()
  if (raw.destroyed) controller.abort()
  else {
    raw.once('close', () => {
      if (!raw.writableFinished) controller.abort()
    })
  }
  return controller.signal
}

/** For the log: which method and tool. What a client sent as a name is cut, and JSON escapes the rest. */
function describe (body: unknown): Record<string, unknown> {
  if (Array.isArray(body)) return { batch: body.length }
  const { method, params } = body as { method?: unknown, params?: { name?: unknown } }
  const fields: Record<string, unknown> = {}
  if (typeof method === 'string') fields['mcpMethod'] = method.slice(0, 64)
  if (method === 'tools/call' && typeof params?.name === 'string') fields['tool'] = params.name.slice(0, 64)
  return fields
}

export default mcpRoutes
