import { createMcpHandler } from '@modelcontextprotocol/server'
import type { McpHttpHandler, ServerEventBus } from '@modelcontextprotocol/server'
import type { CallLimits, McpRequest, McpResponse } from '../exchange.ts'
import { errorResponse, jsonResponse, streamResponse } from '../exchange.ts'
import type { EventStreams } from '../streams/event-stream.ts'
import type { Caller } from '../handlers/caller.ts'
import { subscribedUris } from '../scope-check.ts'
import type { Catalog } from '../catalog/catalog.ts'
import { checkHeaderParams } from '../catalog/param-headers.ts'
import type { HandedOverCall } from '../fast-path/fast-path.ts'
import type { ProtocolServers } from './protocol-server.ts'

/** Revision 2026-07-28: each request by itself. The SDK's handler answers; its streams go out bounded. */
export interface Modern {
  /** @param begun of a call that runs already */
  post (exchange: McpRequest, request: Request, begun?: HandedOverCall): Promise<McpResponse>
  /** Ends subscriptions with their result. */
  endSubscriptions (): Promise<void>
  /** Resolves when no call runs. */
  idle (): Promise<void>
  close (): Promise<void>
}

export interface ModernOptions {
  servers: ProtocolServers
  /** What is offered now. */
  catalog: () => Catalog
  streams: EventStreams
  bus: ServerEventBus
  limits: CallLimits
  onerror (error: Error): void
}

/** MCP 2026-07-28, Streamable HTTP, server validation. */
const HEADER_MISMATCH = -32020

export function createModern ({ servers, catalog, streams, bus, limits, onerror }: ModernOptions): Modern {
  const createHandler = (): McpHttpHandler => createMcpHandler(
    ({ authInfo }) => servers.create(authInfo!.extra as unknown as Caller),
    // Limits are those of principals; streams keep themselves alive.
    { legacy: 'reject', bus, onerror, keepAliveMs: 0, maxSubscriptions: Number.MAX_SAFE_INTEGER })
  const calls = createHandler()
  // Subscriptions stay open for hours: a handler of their own lets them end first when the server shuts down.
  const subscriptions = createHandler()
  const running = new Set<Promise<void>>()

  function begin ({ body, principal, address }: McpRequest): () => void {
    const { method } = body as { method?: unknown }
    if (method === 'tools/call') return limits.beginCall(principal?.key, address)
    if (method === 'subscriptions/listen') return limits.beginStream(principal?.key, address)
    return () => {}
  }

  /** Nobody is told of changes of a resource that does not exist for them. */
  function withoutHidden ({ body, principal }: McpRequest): unknown {
    const { method, params } = body as { method?: unknown, params?: { notifications?: object } }
    if (method !== 'subscriptions/listen') return body
    const uris = subscribedUris(params)
    if (uris.length === 0) return body
    const resourceSubscriptions = uris.filter((uri) => catalog().resources.find(uri, principal) !== undefined)
    return { ...body as object, params: { ...params, notifications: { ...params?.notifications, resourceSubscriptions } } }
  }

  /** The SDK compares the headers of every request; which arguments a tool has repeated in headers, only the catalog knows. */
  function checkMirrored ({ body, headers, principal }: McpRequest): McpResponse | undefined {
    const { id, method, params } = body as { id?: unknown, method?: unknown, params?: { name?: unknown, arguments?: unknown } }
    const tool = method === 'tools/call' && id !== undefined ? catalog().tools.find(String(params?.name), principal) : undefined
    if (tool === undefined) return undefined
    const mismatch = checkHeaderParams(tool.headerParams, params?.arguments, headers)
    if (mismatch === undefined) return undefined
    return jsonResponse(400, { jsonrpc: '2.0', id, error: { code: HEADER_MISMATCH, message: `Bad Request: ${mismatch.problem}`, data: { mismatch: { header: mismatch.header } } } })
  }

  /** @param work settles, and never rejects, when it is over */
  function track (work: Promise<void>): void {
    running.add(work)
    work.finally(() => { running.delete(work) }).catch(onerror)
  }

  /** Sends what the SDK streams through a stream that is bounded; a client that leaves or does not read ends the call. */
  function sendOn (response: Response, done: () => void): McpResponse {
    const stream = streams.open()
    const reader = response.body!.getReader()
    stream.onEnd(() => { reader.cancel().catch(onerror) })
    const pump = async (): Promise<void> => {
      for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) stream.raw(chunk.value)
    }
    track(pump().catch(onerror).finally(() => {
      stream.end()
      done()
    }))
    return streamResponse(stream)
  }

  async function answer (exchange: McpRequest, request: Request, begun: HandedOverCall | undefined): Promise<McpResponse> {
    const { principal, log, acceptsStream } = exchange
    const body = withoutHidden(exchange)
    const caller: Caller = begun?.caller ?? { principal, log }
    const listens = (body as { method?: unknown }).method === 'subscriptions/listen'
    if (listens && !acceptsStream) return errorResponse(406, -32000, 'Accept must include text/event-stream')
    const handler = listens ? subscriptions : calls
    const mismatch = checkMirrored(exchange)
    if (mismatch !== undefined) return mismatch
    const release = begun?.release ?? begin(exchange)
    let streamed = false
    try {
      const response = await handler.fetch(request, {
        parsedBody: body,
        // The token itself stays with the bearer check: nothing beyond it needs it. The caller goes by reference.
        authInfo: { token: '', clientId: principal?.clientId ?? '', scopes: [...principal?.scopes ?? []], extra: caller as unknown as Record<string, unknown> }
      })
      if (caller.failure !== undefined) throw caller.failure
      const isStream = response.headers.get('content-type') === 'text/event-stream'
      if (isStream && !acceptsStream) return await withoutStream(response)
      streamed = isStream
      if (streamed) return sendOn(response, release)
      return { status: response.status, headers: Object.fromEntries(response.headers), body: response.body === null ? null : await response.text() }
    } finally {
      if (!streamed) release()
    }
  }

  return {
    async post (exchange, request, begun) {
      const answering = answer(exchange, request, begun)
      track(answering.then(() => {}, () => {}))
      return await answering
    },
    async endSubscriptions () { await subscriptions.close() },
    async idle () { await Promise.all(running) },
    async close () {
      await calls.close()
    }
  }
}

/** The last event is the response; a client that takes no stream goes without the others. */
async function withoutStream (response: Response): Promise<McpResponse> {
  const events = (await response.text()).split('\n\n').flatMap((event) => /^data: (.*)$/m.exec(event)?.[1] ?? [])
  return { status: 200, headers: { 'content-type': 'application/json' }, body: events.at(-1)! }
}
