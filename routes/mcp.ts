import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyError, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { isPromise } from '../src/async/maybe-async.ts'
import { BearerError, InsufficientAuthenticationError } from '../src/errors/bearer-error.ts'
import type { DemandedAuthentication } from '../src/errors/bearer-error.ts'
import { HttpError } from '../src/errors/http-error.ts'
import { acceptJsonOnly, ignoreBodies } from '../src/http/body-parsers.ts'
import { jsonRpcError, mcpErrorHandler } from '../src/http/errors.ts'
import { FastifyMcpRequest, acceptsEventStream, acceptsJson } from '../src/http/mcp-request.ts'
import { sendEventStream } from '../src/http/send-event-stream.ts'
import type { StreamRevocation } from '../src/http/stream-revocation.ts'
import type { McpLimits } from '../src/limits/concurrency-and-rate-limits.ts'
import type { Engine } from '../src/mcp/engine.ts'
import { MAX_BATCH } from '../src/mcp/exchange.ts'
import type { EventStream, McpRequest, McpResponse } from '../src/mcp/exchange.ts'
import type { ChallengeOptions } from '../src/oauth/protocol/bearer-challenge.ts'
import { JsonRpcErrorSchema, McpBodySchema, McpHeadersSchema, McpResponseSchema } from '../src/schemas/mcp.ts'

export interface McpRouteOptions {
  engine: Engine
  /** BASE_URL/mcp */
  endpoint: string
  /** Origins whose pages may send requests (CORS). */
  origins: readonly string[]
  challenge: ChallengeOptions
  /** Ends streams whose token has expired or is revoked; undefined with AUTH_REQUIRED=false. */
  streams: StreamRevocation | undefined
  limits: McpLimits
  /** Called for each refused credential; undefined with AUTH_REQUIRED=false. */
  onRefused: ((request: FastifyRequest, error: BearerError) => void) | undefined
  /** Remembers for the next sign-in what a challenge demands; undefined unless Seed issues the tokens. */
  rememberDemand: RememberDemand | undefined
}

type RememberDemand =
  (principal: NonNullable<FastifyRequest['principal']>, demanded: DemandedAuthentication) => Promise<void>

type Payload = string | Buffer | EventStream | null

/**
 * The MCP endpoint (Streamable HTTP): POST for messages; GET for streams and DELETE for sessions of the 2025 revisions.
 */
const mcpRoutes: FastifyPluginAsyncTypebox<McpRouteOptions> = async (app, options) => {
  const { engine, endpoint, origins, challenge, streams, limits, onRefused, rememberDemand } = options
  const config = { auth: 'bearer', resource: endpoint } as const
  const response = { '2xx': McpResponseSchema, '4xx': McpResponseSchema, '5xx': McpResponseSchema }
  const schema = { headers: McpHeadersSchema, response }
  const postSchema = { ...schema, body: McpBodySchema }
  const otherSchema = { headers: McpHeadersSchema, response: { '4xx': JsonRpcErrorSchema, '5xx': JsonRpcErrorSchema } }
  const sendError = mcpErrorHandler(challenge, onRefused)

  acceptJsonOnly(app, { maxBatch: MAX_BATCH })
  app.addHook('onSend', sendEventStream)
  app.setErrorHandler(onError)
  // CORS for preflights alone: the origin check sets the headers of other requests, in a tenth of the time.
  await app.register(async (scope) => {
    await scope.register(cors, { origin: [...origins], methods: ['POST', 'GET', 'DELETE'], maxAge: 600 })
  })

  // `/` also stands for no slash. People and clients add one.
  app.route({ method: 'POST', url: '/', config, schema: postSchema, onRequest: countRequest, handler: onPost })
  app.route({ method: 'GET', url: '/', config, schema, onRequest: countRequest, handler: onGet })
  await app.register(async (scope) => {
    ignoreBodies(scope)
    scope.route({ method: 'DELETE', url: '/', config, schema, onRequest: countRequest, handler: onDelete })
    scope.route({ method: ['HEAD', 'PUT', 'PATCH'], url: '/', config, schema: otherSchema, handler: onOtherMethod })
  })

  function onPost (request: FastifyRequest, reply: FastifyReply): Promise<Payload | FastifyReply> | undefined {
    // A client that accepts only one of the two is served as well.
    if (!acceptsJson(request) && !acceptsEventStream(request)) {
      throw new HttpError(406, 'invalid_request', 'Accept must include application/json and text/event-stream')
    }
    request.logFields = messageFields(request.body)
    countBatch(request)
    return handle('POST', request, reply)
  }

  function onGet (request: FastifyRequest, reply: FastifyReply): Promise<Payload | FastifyReply> | undefined {
    return handle('GET', request, reply)
  }

  function onDelete (request: FastifyRequest, reply: FastifyReply): Promise<Payload | FastifyReply> | undefined {
    return handle('DELETE', request, reply)
  }

  function onOtherMethod (_request: FastifyRequest, reply: FastifyReply): void {
    reply.code(405).headers({ allow: 'POST, GET, DELETE', 'cache-control': 'no-store' })
    reply.send(jsonRpcError(-32000, 'Method not allowed'))
  }

  /** Sends the engine's response; a plain one without a promise. */
  function handle (
    method: McpRequest['method'],
    request: FastifyRequest,
    reply: FastifyReply
  ): Promise<Payload | FastifyReply> | undefined {
    const response = engine.handle(new FastifyMcpRequest(method, request, reply, endpoint))
    if (isPromise(response)) return response.then((settled) => prepare(settled, request, reply) ?? sendNothing(reply))
    // Fastify would wait for a returned reply as long as its stream is open. What comes without a promise has a body.
    reply.send(prepare(response, request, reply))
  }

  /** Sends no body: 202 must have none (Streamable HTTP), and Fastify would write null as JSON. */
  function sendNothing (reply: FastifyReply): FastifyReply {
    return reply.send()
  }

  function prepare (response: McpResponse, request: FastifyRequest, reply: FastifyReply): Payload {
    const { status, headers, body, stream } = response
    reply.code(status).header('cache-control', 'no-store').headers(headers)
    // Fastify adds the charset to JSON text, but not to bytes.
    if (body instanceof Buffer) reply.type('application/json; charset=utf-8')
    if (stream === undefined) return body === null || acceptsJson(request) ? body : asEvent(body, reply)
    if (!reply.raw.destroyed) {
      streams?.watch(stream, request.principal)
      return stream
    }
    // The client has disconnected. Sending the stream would be logged as a failure.
    stream.destroy()
    return null
  }

  function countRequest ({ ip, principal }: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void {
    try {
      limits.countRequest(ip, principal?.personKey)
    } catch (err) {
      done(err as Error)
      return
    }
    done()
  }

  /** Counts the other messages of a batch, as the request itself counts already. @throws LimitError */
  function countBatch ({ body, ip, principal }: FastifyRequest): void {
    if (Array.isArray(body) && body.length > 1) limits.countRequest(ip, principal?.personKey, body.length - 1)
  }

  async function onError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (error instanceof InsufficientAuthenticationError) {
      return await sendError(await prepareChallenge(error, request, rememberDemand), request, reply)
    }
    const isGuess = error instanceof BearerError && error.isGuess
    return await sendError(isGuess ? countRefusal(error, request) : error, request, reply)
  }

  /**
   * Counts a token that may be a guess, and returns the error to send: 429 when the address has had too many. Valid
   * tokens are verified all the same, so one client cannot lock out others behind the same address.
   */
  function countRefusal (error: BearerError, { ip }: FastifyRequest): HttpError {
    try {
      limits.checkRefused(ip)
      limits.countRefused(ip)
      return error
    } catch (err) {
      return err as HttpError
    }
  }
}

/** Returns a response as the one event of a stream, for a client that accepts no JSON; errors of HTTP stay JSON. */
function asEvent (body: string | Buffer, reply: FastifyReply): string | Buffer {
  if (reply.statusCode !== 200) return body
  reply.type('text/event-stream')
  return `event: message\ndata: ${body.toString()}\n\n`
}

/** Log fields of a message: its method and tool. Names come from the client, so they are cut. */
function messageFields (body: unknown): Record<string, unknown> {
  if (Array.isArray(body)) return { batch: body.length }
  const { method, params } = body as { method?: unknown, params?: { name?: unknown } }
  const fields: Record<string, unknown> = {}
  if (typeof method === 'string') fields['mcpMethod'] = method.slice(0, 64)
  if (method === 'tools/call' && typeof params?.name === 'string') fields['tool'] = params.name.slice(0, 64)
  return fields
}

/** Without the store the client would sign in as before, in vain: its outage is answered instead. */
async function prepareChallenge (
  error: InsufficientAuthenticationError, { principal }: FastifyRequest, rememberDemand: RememberDemand | undefined
): Promise<HttpError> {
  try {
    await rememberDemand?.(principal!, error.demanded)
    return error
  } catch (err) {
    return err as HttpError
  }
}

export default mcpRoutes
