import { SUPPORTED_PROTOCOL_VERSIONS, isJSONRPCNotification, isJSONRPCRequest, isJSONRPCResponse, isJSONRPCResultResponse } from '@modelcontextprotocol/server'
import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, RequestId } from '@modelcontextprotocol/server'
import type { Store } from '../../store/store.ts'
import type { CallLimits, McpRequest, McpResponse } from '../exchange.ts'
import { errorResponse, jsonResponse } from '../exchange.ts'
import { runInBackground } from '../cluster/background.ts'
import type { BackgroundLog } from '../cluster/background.ts'
import { openCallStream } from '../streams/call-stream.ts'
import type { CallStream } from '../streams/call-stream.ts'
import { connect, initialize } from './session-transport.ts'
import type { CallTransport } from './session-transport.ts'
import type { ClientRequests } from '../cluster/client-requests.ts'
import type { EventStreams } from '../streams/event-stream.ts'
import { requestKey } from '../fast-path/pending-calls.ts'
import type { PendingCalls } from '../fast-path/pending-calls.ts'
import type { HandedOverCall } from '../fast-path/fast-path.ts'
import type { Caller } from '../handlers/caller.ts'
import type { ProtocolServers } from './protocol-server.ts'
import type { Replicas } from '../cluster/replicas.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import { parsePlace } from '../streams/standalone-stream.ts'
import type { StandaloneStreams } from '../streams/standalone-stream.ts'
import type { ResumedStreams } from '../streams/resumed-stream.ts'

/**
 * The 2025 revisions (and 2024-11-05 over HTTP): initialize and sessions, a POST for each message, standalone streams,
 * DELETE. Nothing that a later request needs stays in this process alone.
 */
export interface Legacy {
  post (exchange: McpRequest): Promise<McpResponse>
  /** Goes on with a call of a session that runs already. */
  resume (exchange: McpRequest, session: Session, begun: HandedOverCall): Promise<McpResponse>
  /** Whether a request with this id runs. */
  isRunning (session: string, id: RequestId): boolean
  get (exchange: McpRequest): Promise<McpResponse>
  delete (exchange: McpRequest): Promise<McpResponse>
  /** Resolves when no call runs. */
  idle (): Promise<void>
  /** Answers what still runs. */
  failAll (message: string): void
}

export interface LegacyOptions {
  store: Store
  replicas: Replicas
  streams: EventStreams
  sessions: Sessions
  servers: ProtocolServers
  clientRequests: ClientRequests
  standalone: StandaloneStreams
  readers: ResumedStreams
  /** Calls that the SDK does not have yet. */
  pendingCalls: PendingCalls
  limits: CallLimits
  log: BackgroundLog
  /** How long a stream is kept after its last event. */
  streamTtlSeconds: number
  streamAfterMs?: number | undefined
}

const VERSIONS = SUPPORTED_PROTOCOL_VERSIONS.filter((version) => version < '2026')
const MAX_BATCH = 100
/** What a session may remember of its client, in characters of JSON. */
const MAX_CLIENT = 16_384
const MAX_ID = 256

interface RunningCall {
  stream: CallStream
  transport: Promise<CallTransport>
}

export function createLegacy (options: LegacyOptions): Legacy {
  const { store, replicas, streams, sessions, servers, clientRequests, standalone, readers, pendingCalls, limits, log, streamTtlSeconds, streamAfterMs } = options
  /** By session and request. */
  const byRequest = new Map<string, RunningCall>()
  const byStream = new Map<string, RunningCall>()

  replicas.onMessage((message) => {
    if (message.kind === 'cancelled') cancel(message.session, message.request)
    if (message.kind === 'resumed') byStream.get(message.stream)?.stream.readBy(message.reader)
    if (message.kind === 'ended') {
      pendingCalls.handOverAll((key) => typeof key === 'string' && key.startsWith(`${message.session}:`))
      for (const [key, { stream }] of byRequest) {
        if (key.startsWith(`${message.session}:`)) stream.fail('The session has ended')
      }
    }
  })

  function cancel (session: string, request: RequestId): void {
    pendingCalls.handOver(requestKey(session, request))
    const running = byRequest.get(requestKey(session, request))
    if (running === undefined) return
    runInBackground(running.transport.then(({ deliver }) => {
      deliver({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: request } })
      running.stream.drop(request)
    }), log)
  }

  function isRunning (session: string, id: RequestId): boolean {
    if (byRequest.size === 0 && pendingCalls.size === 0) return false
    const key = requestKey(session, id)
    return byRequest.has(key) || pendingCalls.has(key)
  }

  async function useSession ({ headers, principal }: McpRequest): Promise<Session> {
    return await sessions.use(String(headers['mcp-session-id']), principal?.key ?? '')
  }

  async function begin (exchange: McpRequest, request: JSONRPCRequest): Promise<McpResponse> {
    const { principal, log } = exchange
    const { clientInfo, capabilities } = (request.params ?? {}) as { clientInfo?: unknown, capabilities?: unknown }
    if (JSON.stringify([clientInfo, capabilities]).length > MAX_CLIENT) return errorResponse(400, -32602, 'clientInfo and capabilities are too large')
    const response = await initialize(servers.create({ principal, log }), request)
    if (!isJSONRPCResultResponse(response)) return jsonResponse(200, response)
    const { id } = await sessions.create(principal?.key ?? '', {
      clientInfo: clientInfo as { name: string, version: string },
      capabilities: capabilities as Record<string, unknown>,
      protocolVersion: (response.result as { protocolVersion: string }).protocolVersion
    })
    return jsonResponse(200, response, { 'mcp-session-id': id })
  }

  /** What needs no answer. */
  async function take (session: Session, message: JSONRPCMessage): Promise<void> {
    if (isJSONRPCResponse(message)) await clientRequests.answer(session.digest, message)
    else if (isCancellation(message)) replicas.send({ kind: 'cancelled', session: session.digest, request: message.params.requestId })
  }

  /** All or none. */
  function beginCalls (requests: JSONRPCRequest[], { principal, address }: McpRequest): Array<() => void> {
    const releases: Array<() => void> = []
    try {
      for (const { method } of requests) if (method === 'tools/call') releases.push(limits.beginCall(principal?.key, address))
      return releases
    } catch (err) {
      for (const release of releases) release()
      throw err
    }
  }

  async function run (exchange: McpRequest, session: Session, requests: JSONRPCRequest[], begun?: HandedOverCall): Promise<McpResponse> {
    const { principal, acceptsStream, body } = exchange
    const ids = requests.map(({ id }) => id)
    if (new Set(ids).size < ids.length || ids.some((id) => isRunning(session.digest, id))) {
      return errorResponse(400, -32600, 'A request with this id is running in this session already')
    }
    const caller: Caller = begun?.caller ?? { principal, log: exchange.log, session }
    const releases = begun === undefined ? beginCalls(requests, exchange) : [begun.release]
    const stream = openCallStream({ session, requests: ids, batch: Array.isArray(body), acceptsStream }, { store, replicas, streams, log, ttlSeconds: streamTtlSeconds, streamAfterMs })
    const connecting = connect(servers.create(caller), { session, call: stream, clientRequests })
    const running: RunningCall = { stream, transport: connecting }
    byStream.set(stream.name, running)
    for (const id of ids) byRequest.set(requestKey(session.digest, id), running)
    runInBackground(stream.finished.then(async () => {
      byStream.delete(stream.name)
      for (const id of ids) byRequest.delete(requestKey(session.digest, id))
      for (const release of releases) release()
      await (await connecting).close()
    }), log)
    const transport = await connecting
    for (const request of requests) transport.deliver(request)
    const answer = await stream.answer
    if (caller.failure !== undefined) throw caller.failure
    return answer
  }

  return {
    async post (exchange) {
      const { body, headers } = exchange
      const messages = Array.isArray(body) ? body : [body]
      if (messages.length === 0 || messages.length > MAX_BATCH) return errorResponse(400, -32600, `A batch must have 1 to ${MAX_BATCH} messages`)
      if (!messages.every(isMessage)) return errorResponse(400, -32600, 'The body must be a JSON-RPC 2.0 message')
      const first = messages.find((message) => isJSONRPCRequest(message) && message.method === 'initialize')
      if (first !== undefined) {
        return Array.isArray(body) ? errorResponse(400, -32600, 'initialize must be sent alone') : await begin(exchange, first as JSONRPCRequest)
      }
      const refusal = checkHeaders(headers)
      if (refusal !== undefined) return refusal
      const session = await useSession(exchange)
      if (Array.isArray(body) && session.protocolVersion > '2025-03-26') return errorResponse(400, -32600, `Protocol version ${session.protocolVersion} has no batches`)
      const requests = messages.filter(isJSONRPCRequest)
      for (const message of messages) if (!isJSONRPCRequest(message)) await take(session, message)
      return requests.length === 0 ? { status: 202, headers: {}, body: null } : await run(exchange, session, requests)
    },

    async resume (exchange, session, begun) {
      return await run(exchange, session, [exchange.body as JSONRPCRequest], begun)
    },

    isRunning,

    async get (exchange) {
      const { headers, principal, address, acceptsStream } = exchange
      if (!acceptsStream) return errorResponse(406, -32000, 'Accept must include text/event-stream')
      const refusal = checkHeaders(headers)
      if (refusal !== undefined) return refusal
      const session = await useSession(exchange)
      const lastEventId = headers['last-event-id']
      const [, stream, number] = /^([\w-]{12}\.[\w-]{12})\.(\d{1,9})$/.exec(String(lastEventId)) ?? []
      const place = parsePlace(String(lastEventId))
      if (lastEventId !== undefined && stream === undefined && place === undefined) return errorResponse(400, -32000, 'Last-Event-ID is not one of this server')
      const release = limits.beginStream(principal?.key, address)
      try {
        const answer = stream === undefined ? await standalone.open(session, place) : await readers.resume(session, stream, Number(number))
        if (answer.stream === undefined) release()
        else answer.stream.onEnd(release)
        return answer
      } catch (err) {
        release()
        throw err
      }
    },

    async delete (exchange) {
      const refusal = checkHeaders(exchange.headers)
      if (refusal !== undefined) return refusal
      const { digest } = await sessions.end(String(exchange.headers['mcp-session-id']), exchange.principal?.key ?? '')
      replicas.send({ kind: 'ended', session: digest })
      return { status: 204, headers: {}, body: null }
    },

    async idle () {
      await Promise.all([...byStream.values()].map(({ stream }) => stream.finished))
    },

    failAll (message) {
      for (const { stream } of byStream.values()) stream.fail(message)
    }
  }
}

/** The session must be named, and the version, where it is, be one that sessions have (MCP 2025-11-25, protocol version header). */
function checkHeaders (headers: McpRequest['headers']): McpResponse | undefined {
  const version = headers['mcp-protocol-version']
  if (version !== undefined && !VERSIONS.includes(String(version))) {
    return errorResponse(400, -32000, `MCP-Protocol-Version must be one of ${VERSIONS.join(', ')}`)
  }
  if (headers['mcp-session-id'] === undefined) return errorResponse(400, -32000, 'Mcp-Session-Id is missing: send initialize first, and the id it gave with every request')
}

function isMessage (value: unknown): value is JSONRPCMessage {
  const known = isJSONRPCRequest(value) || isJSONRPCNotification(value) || isJSONRPCResponse(value)
  return known && String((value as { id?: unknown }).id).length <= MAX_ID
}

function isCancellation (message: JSONRPCMessage): message is JSONRPCNotification & { params: { requestId: RequestId } } {
  const { method, params } = message as JSONRPCNotification
  return method === 'notifications/cancelled' && ['string', 'number'].includes(typeof params?.['requestId'])
}
