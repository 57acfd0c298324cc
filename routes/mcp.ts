import cors from '@fastify/cors'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { jsonRpcError, mcpErrorHandler } from '../src/http/errors.ts'
import { RefusedError } from '../src/http/hosts.ts'
import { acceptJsonOnly } from '../src/http/json-body.ts'
import type { StreamGuard } from '../src/http/streams.ts'
import type { Engine } from '../src/mcp/engine.ts'
import type { ChallengeOptions } from '../src/oauth/challenge.ts'
import { JsonRpcErrorSchema, McpAnswerSchema, McpBodySchema, McpHeadersSchema } from '../src/schemas/mcp.ts'

export interface McpRouteOptions {
  engine: Engine
  /** Origins whose pages may call. */
  origins: readonly string[]
  challenge: ChallengeOptions
  /** Ends streams whose caller is revoked; undefined with AUTH_REQUIRED=false. */
  streams: StreamGuard | undefined
}

/** The MCP endpoint (Streamable HTTP): POST carries messages; GET and DELETE belong to sessions, which there are none of yet. */
const mcpRoutes: FastifyPluginAsyncTypebox<McpRouteOptions> = async (app, { engine, origins, challenge, streams }) => {
  acceptJsonOnly(app)
  await app.register(cors, {
    origin: [...origins],
    methods: ['POST', 'GET', 'DELETE'],
    exposedHeaders: ['WWW-Authenticate', 'Mcp-Session-Id', 'MCP-Protocol-Version', 'Retry-After', 'X-Request-Id'],
    maxAge: 600
  })
  app.setErrorHandler(mcpErrorHandler(challenge))

  app.post('', {
    config: { auth: 'bearer' },
    schema: { headers: McpHeadersSchema, body: McpBodySchema, response: { '2xx': McpAnswerSchema, '4xx': JsonRpcErrorSchema, '5xx': JsonRpcErrorSchema } }
  }, async (request, reply) => {
    checkAccept(request)
    request.logFields = describe(request.body)
    streams?.watch(reply, request.principal)
    const response = await engine.handle({
      headers: request.headers,
      url: challenge.baseUrl + request.url,
      body: request.body,
      principal: request.principal,
      log: request.log,
      signal: disconnected(reply)
    })
    return reply.header('cache-control', 'no-store').send(response)
  })

  app.route({
    method: ['GET', 'DELETE', 'HEAD', 'PUT', 'PATCH'],
    url: '',
    config: { auth: 'bearer' },
    schema: { headers: McpHeadersSchema, response: { '4xx': JsonRpcErrorSchema, '5xx': JsonRpcErrorSchema } },
    handler: async (_request, reply) => reply.code(405).headers({ allow: 'POST', 'cache-control': 'no-store' })
      .send(jsonRpcError(-32000, 'Method not allowed: send messages with POST'))
  })
}

/** Answers are JSON unless something streams, so whoever takes JSON is served: curl's own `*`/`*` included. */
function checkAccept ({ headers: { accept } }: FastifyRequest): void {
  if (accept !== undefined && !/(^|,)\s*(application\/(json|\*)|\*\/\*)\s*(;|,|$)/i.test(accept)) {
    throw new RefusedError(406, 'Accept must include application/json and text/event-stream')
  }
}

/** Aborts when the client goes away before it has its answer: a tool that nobody waits for stops. */
function disconnected (reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort()
  })
  return controller.signal
}

/** For the log: which method and tool. What a client sent as a name is cut, and JSON escapes the rest. */
function describe (body: unknown): Record<string, unknown> {
  if (Array.isArray(body)) return { batch: body.length }
  const { method, params } = body as { method?: unknown, params?: { name?: unknown } }
  return {
    ...(typeof method === 'string' && { mcpMethod: method.slice(0, 64) }),
    ...(method === 'tools/call' && typeof params?.name === 'string' && { tool: params.name.slice(0, 64) })
  }
}

export default mcpRoutes
