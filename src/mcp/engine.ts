import { Server, WebStandardStreamableHTTPServerTransport, createMcpHandler, isLegacyRequest } from '@modelcontextprotocol/server'
import type { Implementation } from '@modelcontextprotocol/server'
import type { Principal } from '../oidc/principal.ts'
import type { ToolContext, ToolDefinition, ToolLog } from './define.ts'
import { createToolRegistry } from './registry.ts'

/**
 * The MCP engine: one HTTP exchange in, one web Response out, for both eras of the protocol.
 *
 * The SDK is the authority on the protocol. Which era a request belongs to is the SDK's own classification:
 * 2026-07-28 (stateless) goes to its handler, everything older to a transport of its own. A server object lives
 * for one request and is never shared (GHSA-345p-7cg4-v4c7); what does not change, the tools, is made once.
 */
export interface Engine {
  /** Answers one POST whose body has been parsed. Never rejects for what a client sent. */
  handle (exchange: Exchange): Promise<Response>
  /** Ends subscription streams at once, lets calls finish for `graceMs`, then aborts them. */
  close (graceMs: number): Promise<void>
}

export interface Exchange {
  headers: Record<string, string | string[] | undefined>
  /** Absolute, under BASE_URL. */
  url: string
  body: unknown
  principal: Principal | undefined
  log: ToolLog
  /** Aborts when the client disconnects. */
  signal: AbortSignal
}

export interface EngineOptions {
  serverInfo: Implementation
  tools: readonly ToolDefinition[]
  log: ToolLog
}

export function createEngine ({ serverInfo, tools, log }: EngineOptions): Engine {
  const registry = createToolRegistry(tools)
  const onerror = (err: Error) => { log.warn({ reason: err.message }, 'An MCP request was refused or failed') }
  const calls = createMcpHandler((context) => createServer(context.authInfo!.extra as unknown as Caller), { legacy: 'reject', onerror })
  // Subscriptions stay open for hours: a handler of their own lets them end first when the server shuts down.
  const subscriptions = createMcpHandler((context) => createServer(context.authInfo!.extra as unknown as Caller), { legacy: 'reject', onerror })
  const shutdown = new AbortController()
  const inFlight = new Set<Promise<Response>>()

  /** One server for one request. The caller comes in by closure, so no request can see another's. */
  function createServer ({ principal, log }: Caller): Server {
    const server = new Server(serverInfo, { capabilities: { tools: {} } })
    server.onerror = onerror
    server.setRequestHandler('tools/list', () => ({ tools: [...registry.listed] }))
    server.setRequestHandler('tools/call', async ({ params }, { mcpReq }) => {
      const context: ToolContext = { principal, log, signal: AbortSignal.any([mcpReq.signal, shutdown.signal]) }
      return await registry.call(params.name, params.arguments ?? {}, context)
    })
    return server
  }

  /** 2025 and older, without a session: a server and a transport for this request, and JSON as nothing streams yet. */
  async function handleLegacy (request: Request, body: unknown, caller: Caller): Promise<Response> {
    const server = createServer(caller)
    const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: true })
    const abandoned = new Promise<Response>((resolve) => {
      const signal = AbortSignal.any([request.signal, shutdown.signal])
      signal.addEventListener('abort', () => { resolve(new Response(null, { status: 499 })) }, { once: true })
    })
    try {
      await server.connect(transport)
      return await Promise.race([transport.handleRequest(request, { parsedBody: body }), abandoned])
    } finally {
      await server.close()
    }
  }

  async function dispatch ({ headers, url, body, principal, log, signal }: Exchange): Promise<Response> {
    const request = new Request(url, { method: 'POST', headers: toHeaders(headers), signal })
    const caller: Caller = { principal, log }
    if (await isLegacyRequest(request, body)) return await handleLegacy(request, body, caller)
    const handler = (body as { method?: unknown }).method === 'subscriptions/listen' ? subscriptions : calls
    return await handler.fetch(request, {
      parsedBody: body,
      // The token itself stays with the bearer check: nothing beyond it needs it.
      authInfo: { token: '', clientId: principal?.clientId ?? '', scopes: [...principal?.scopes ?? []], extra: { ...caller } }
    })
  }

  return {
    async handle (exchange) {
      const answer = dispatch(exchange)
      inFlight.add(answer)
      try {
        const response = await answer
        // 499: the exchange was abandoned. The client that still waits is told to try another replica.
        return response.status === 499 && !exchange.signal.aborted ? shuttingDown() : response
      } finally {
        inFlight.delete(answer)
      }
    },
    async close (graceMs) {
      await subscriptions.close()
      await settled([...inFlight], graceMs)
      shutdown.abort(new Error('The server is shutting down'))
      await calls.close()
    }
  }
}

interface Caller {
  principal: Principal | undefined
  log: ToolLog
}

function shuttingDown (): Response {
  return Response.json(
    { jsonrpc: '2.0', id: null, error: { code: -32000, message: 'The server is shutting down: send the call again' } },
    { status: 503, headers: { 'retry-after': '1' } }
  )
}

/** The SDK's transports want both media types; the route has settled that JSON is welcome. */
function toHeaders (given: Exchange['headers']): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(given)) {
    if (name !== 'authorization' && value !== undefined) headers.set(name, String(value))
  }
  headers.set('accept', 'application/json, text/event-stream')
  return headers
}

async function settled (promises: Promise<unknown>[], withinMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([
    Promise.allSettled(promises),
    new Promise((resolve) => { timer = setTimeout(resolve, withinMs) })
  ])
  clearTimeout(timer)
}
