import { createMcpHandler } from '@modelcontextprotocol/server'
import type { AuthInfo, McpHttpHandler, ServerEventBus } from '@modelcontextprotocol/server'
import type { Catalog } from '../catalog/catalog.ts'
import { checkHeaderParams } from '../catalog/param-headers.ts'
import { errorResponse, jsonResponse, runsHandler, streamResponse } from '../exchange.ts'
import type { CallLimits, EventStream, McpRequest, McpResponse } from '../exchange.ts'
import type { HandedOverCall } from '../fast-path/pending-calls.ts'
import type { Caller } from '../handlers/caller.ts'
import { subscribedUris } from '../step-up-challenge.ts'
import type { EventStreams } from '../streams/event-stream.ts'
import type { OnSubscribed } from '../streams/on-subscribed.ts'
import type { OpenSubscriptions } from './open-subscriptions.ts'
import type { ProtocolServers } from './protocol-server.ts'

export interface ModernOptions {
  servers: ProtocolServers
  /** The catalog that is served now. */
  catalog: () => Catalog
  eventStreams: EventStreams
  /** Feeds the SDK's subscriptions. */
  bus: ServerEventBus
  limits: CallLimits
  openSubscriptions: Pick<OpenSubscriptions, 'add'>
  onSubscribed: OnSubscribed
  onerror (error: Error): void
}

/** The interval in which a stream's resources are told that it is open. */
const SUBSCRIBED_MS = 30_000

/** MCP 2026-07-28, Streamable HTTP, server validation. */
const HEADER_MISMATCH = -32020

/** A JSON-RPC message whose members are not validated yet. */
interface UnknownMessage {
  id?: unknown
  method?: unknown
  params?: { name?: unknown, arguments?: unknown, notifications?: object }
}

export type Modern = ReturnType<typeof createModern>

/** Revision 2026-07-28, in which each request stands alone. The SDK's handler answers it. */
export function createModern (options: ModernOptions) {
  const { servers, catalog, eventStreams, bus, limits, openSubscriptions, onSubscribed, onerror } = options
  const calls = createHandler()
  // Subscriptions stay open for hours. Their own handler lets them end first when the server shuts down.
  const subscriptions = createHandler()
  const running = new Set<Promise<void>>()

  function createHandler (): McpHttpHandler {
    return createMcpHandler(({ authInfo }) => servers.create(toCaller(authInfo!)), {
      legacy: 'reject',
      bus,
      onerror,
      // Event streams have their own keep-alive, and principals their own limits.
      keepAliveMs: 0,
      maxSubscriptions: Number.MAX_SAFE_INTEGER
    })
  }

  /** Counts a call or a subscription. @returns its release function. @throws LimitError */
  function begin (request: McpRequest): () => void {
    const { method } = request.body as UnknownMessage
    if (runsHandler(method)) return limits.beginCall(request)
    if (method === 'subscriptions/listen') return limits.beginStream(request)
    return () => {}
  }

  /**
   * Removes resources from a subscription that the caller may not read, or that cannot be watched, and those beyond the
   * limit. The acknowledgement names the others.
   */
  function withHonoredResources ({ body, principal }: McpRequest): unknown {
    const { method, params } = body as UnknownMessage
    const uris = method === 'subscriptions/listen' ? subscribedUris(params) : []
    if (uris.length === 0) return body
    const resourceSubscriptions = uris.filter((uri) => catalog().resources.isSubscribable(uri, principal))
    const notifications = { ...params?.notifications, resourceSubscriptions }
    return { ...body as object, params: { ...params, notifications } }
  }

  /** Compares arguments with the headers that repeat them. The SDK compares the other headers. */
  function refuseHeaderMismatch ({ body, headers, principal }: McpRequest): McpResponse | undefined {
    const { id, method, params } = body as UnknownMessage
    if (method !== 'tools/call' || id === undefined || typeof params?.name !== 'string') return undefined
    const tool = catalog().tools.find(params.name, principal)
    const mismatch = tool && checkHeaderParams(tool.headerParams, params?.arguments, headers)
    if (mismatch === undefined) return undefined
    const data = { mismatch: { header: mismatch.header } }
    const error = { code: HEADER_MISMATCH, message: `Bad Request: ${mismatch.problem}`, data }
    return jsonResponse(400, { jsonrpc: '2.0', id, error })
  }

  /** @param work must not reject */
  function track (work: Promise<void>): void {
    running.add(work)
    work.finally(() => { running.delete(work) }).catch(onerror)
  }

  function keepSubscribed (stream: EventStream, uris: readonly string[], { principal }: Caller): void {
    const timer = setInterval(onSubscribed(uris, principal?.personKey), SUBSCRIBED_MS).unref()
    stream.onEnd(() => { clearInterval(timer) })
  }

  /** Relays a stream of the SDK. A client that disconnects, or does not read, cancels the call. */
  function relayStream (response: Response, caller: Caller, uris: readonly string[], onEnd: () => void): McpResponse {
    const stream = eventStreams.open()
    openSubscriptions.add(stream, uris, caller.principal)
    if (uris.length > 0) keepSubscribed(stream, uris, caller)
    caller.untilReady = () => stream.untilReady()
    const reader = response.body!.getReader()
    stream.onEnd(() => { reader.cancel().catch(onerror) })
    const pump = async (): Promise<void> => {
      for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) stream.raw(chunk.value)
    }
    track(pump().catch(onerror).finally(() => {
      stream.end()
      onEnd()
    }))
    return streamResponse(stream)
  }

  async function respond (request: McpRequest, fetchRequest: Request, call?: HandedOverCall): Promise<McpResponse> {
    const { principal, log, acceptsStream } = request
    const isSubscription = (request.body as UnknownMessage).method === 'subscriptions/listen'
    if (isSubscription && !acceptsStream) return errorResponse(406, -32000, 'Accept must include text/event-stream')
    const caller: Caller = call?.caller ?? { principal, log, request }
    const release = call?.release ?? begin(request)
    let isStreaming = false
    try {
      // A call that runs already may fail this: its tool may have been reloaded.
      const mismatch = refuseHeaderMismatch(request)
      if (mismatch !== undefined) return mismatch
      const parsedBody = withHonoredResources(request)
      const response = await (isSubscription ? subscriptions : calls).fetch(fetchRequest, {
        parsedBody,
        authInfo: toAuthInfo(caller)
      })
      if (caller.failure !== undefined) throw caller.failure
      const isStream = response.headers.get('content-type') === 'text/event-stream'
      if (!isStream) return await toMcpResponse(response)
      if (!acceptsStream) return await lastEvent(response)
      isStreaming = true
      const uris = isSubscription ? subscribedUris((parsedBody as UnknownMessage).params) : []
      return relayStream(response, caller, uris, release)
    } finally {
      if (!isStreaming) release()
    }
  }

  return {
    /** @param call one that runs already */
    async post (request: McpRequest, fetchRequest: Request, call?: HandedOverCall): Promise<McpResponse> {
      const responding = respond(request, fetchRequest, call)
      track(responding.then(() => {}, () => {}))
      return await responding
    },

    /** Ends subscriptions with their result. */
    async endSubscriptions (): Promise<void> { await subscriptions.close() },

    /** Resolves when no call is running. */
    async idle (): Promise<void> { await Promise.all(running) },

    async close (): Promise<void> { await calls.close() }
  }
}

/** The SDK passes the caller through to its server, by reference. The token itself stays with the bearer check. */
function toAuthInfo (caller: Caller): AuthInfo {
  const { principal } = caller
  const extra = caller as unknown as Record<string, unknown>
  return { token: '', clientId: principal?.clientId ?? '', scopes: [...principal?.scopes ?? []], extra }
}

function toCaller ({ extra }: AuthInfo): Caller {
  return extra as unknown as Caller
}

async function toMcpResponse (response: Response): Promise<McpResponse> {
  const { status, headers, body } = response
  return { status, headers: Object.fromEntries(headers), body: body === null ? null : await response.text() }
}

/** The last event is the response; a client that accepts no stream does not get the others. */
async function lastEvent (response: Response): Promise<McpResponse> {
  let last = ''
  let rest = ''
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    const frames = (rest + text).split('\n\n')
    rest = frames.pop()!
    for (const frame of frames) if (frame.includes('data: ')) last = frame
  }
  return { status: 200, headers: { 'content-type': 'application/json' }, body: /^data: (.*)$/m.exec(last)![1]! }
}
