import {
  isJSONRPCNotification, isJSONRPCRequest, isJSONRPCResponse, isJSONRPCResultResponse
} from '@modelcontextprotocol/server'
import type { JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, RequestId } from '@modelcontextprotocol/server'
import type { ClientRequests } from '../cluster/client-requests.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { MAX_BATCH, errorResponse, jsonResponse } from '../exchange.ts'
import type { CallLimits, McpRequest, McpResponse, RecordCall } from '../exchange.ts'
import type { HandedOverCall, PendingCalls } from '../fast-path/pending-calls.ts'
import { SESSION_REVISIONS, hasBatches } from '../revisions.ts'
import type { ClientDescription, Session } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { parseEventId } from '../streams/event-id.ts'
import type { SessionStreams } from '../streams/session-streams.ts'
import type { ProtocolServers } from './protocol-server.ts'
import { createSessionCalls } from './session-calls.ts'
import { initializeServer } from './session-transport.ts'

export interface LegacyOptions {
  cluster: Cluster
  sessions: Sessions
  streams: SessionStreams
  servers: ProtocolServers
  clientRequests: ClientRequests
  /** Calls that the SDK does not have yet. */
  pendingCalls: PendingCalls
  limits: CallLimits
  recordCall: RecordCall | undefined
  /** Tells whether a caller may read a resource now. One that this replica does not know has no policy. */
  canRead (uri: string, principal: McpRequest['principal']): boolean
}

/** The JSON of what a session remembers of its client, in characters. */
const MAX_CLIENT_LENGTH = 16_384
const MAX_ID_LENGTH = 256

export type Legacy = ReturnType<typeof createLegacy>

/**
 * The 2025 revisions (and 2024-11-05 over HTTP): initialize and sessions, POST for messages, GET for streams, DELETE.
 * Everything that a later request needs is in the store.
 */
export function createLegacy (options: LegacyOptions) {
  const { cluster: { replicas }, sessions, streams, servers, clientRequests, limits, canRead } = options
  const calls = createSessionCalls(options)

  /** Finds the request's session, and ends subscriptions to what the user may no longer read. */
  async function useSession ({ headers, principal }: McpRequest): Promise<Session> {
    const session = await sessions.use(String(headers['mcp-session-id']), principal?.key ?? '')
    const ended = session.subscriptions?.filter((uri) => !canRead(uri, principal)) ?? []
    if (ended.length > 0) await sessions.unsubscribe(session, ...ended)
    return session
  }

  async function initialize (request: McpRequest, message: JSONRPCRequest): Promise<McpResponse> {
    const { principal, log } = request
    const { clientInfo, capabilities } = message.params as Partial<ClientDescription>
    if (JSON.stringify([clientInfo, capabilities]).length > MAX_CLIENT_LENGTH) {
      return errorResponse(400, -32602, 'clientInfo and capabilities are too large')
    }
    const response = await initializeServer(servers.create({ principal, log, request }), message)
    if (!isJSONRPCResultResponse(response)) return jsonResponse(200, response)
    const { protocolVersion } = response.result as { protocolVersion: string }
    // The SDK has validated both.
    const client = { clientInfo: clientInfo!, capabilities: capabilities!, protocolVersion }
    const { id } = await sessions.create(principal?.key ?? '', client, limits.callerKey(request))
    return jsonResponse(200, response, { 'mcp-session-id': id })
  }

  /** Takes a message that needs no response. */
  async function receive ({ digest }: Session, message: JSONRPCMessage): Promise<void> {
    if (isJSONRPCResponse(message)) await clientRequests.deliver(digest, message)
    else if (isCancellation(message)) {
      replicas.send({ kind: 'call-cancelled', session: digest, request: message.params.requestId })
    } else if (isRootsChange(message)) {
      replicas.send({ kind: 'roots-changed', session: digest })
    }
  }

  return {
    isRunning: calls.isRunning,
    /** Resolves when no request is running. */
    idle: calls.idle,
    /** Answers every running request with an error. */
    failAll: calls.failAll,

    async post (request: McpRequest): Promise<McpResponse> {
      const { body, headers } = request
      const messages = Array.isArray(body) ? body : [body]
      if (messages.length === 0 || messages.length > MAX_BATCH) {
        return errorResponse(400, -32600, `A batch must have 1 to ${MAX_BATCH} messages`)
      }
      if (!messages.every(isMessage)) return errorResponse(400, -32600, 'The body must be a JSON-RPC 2.0 message')
      const requests = messages.filter(isJSONRPCRequest)
      const handshake = requests.find(({ method }) => method === 'initialize')
      if (handshake !== undefined) {
        if (Array.isArray(body)) return errorResponse(400, -32600, 'initialize must be sent alone')
        return await initialize(request, handshake)
      }
      const refusal = checkHeaders(headers)
      if (refusal !== undefined) return refusal
      const session = await useSession(request)
      if (Array.isArray(body) && !hasBatches(session.protocolVersion)) {
        return errorResponse(400, -32600, `Protocol version ${session.protocolVersion} has no batches`)
      }
      for (const message of messages) if (!isJSONRPCRequest(message)) await receive(session, message)
      if (requests.length === 0) return { status: 202, headers: {}, body: null }
      return await calls.run(request, session, requests)
    },

    /** Finishes a call of a session that runs already. */
    async resumeCall (request: McpRequest, session: Session, call: HandedOverCall): Promise<McpResponse> {
      return await calls.run(request, session, [request.body as JSONRPCRequest], call)
    },

    async get (request: McpRequest): Promise<McpResponse> {
      const { headers, acceptsStream, principal } = request
      if (!acceptsStream) return errorResponse(406, -32000, 'Accept must include text/event-stream')
      const refusal = checkHeaders(headers)
      if (refusal !== undefined) return refusal
      const session = await useSession(request)
      const lastEventId = headers['last-event-id']
      const after = parseEventId(String(lastEventId))
      if (lastEventId !== undefined && after === undefined) {
        return errorResponse(400, -32000, 'Last-Event-ID was not issued by this server')
      }
      const release = limits.beginStream(request)
      try {
        const readable = (uri: string): boolean => canRead(uri, principal)
        const response = after === undefined
          ? await streams.openStandalone(session, readable)
          : await streams.resume(session, readable, after)
        if (response.stream === undefined) release()
        else response.stream.onEnd(release)
        return response
      } catch (err) {
        release()
        throw err
      }
    },

    async delete ({ headers, principal }: McpRequest): Promise<McpResponse> {
      const refusal = checkHeaders(headers)
      if (refusal !== undefined) return refusal
      await sessions.end(String(headers['mcp-session-id']), principal?.key ?? '')
      return { status: 204, headers: {}, body: null }
    }
  }
}

/** The session id is required; the version header is optional (MCP 2025-11-25, protocol version header). */
function checkHeaders (headers: McpRequest['headers']): McpResponse | undefined {
  const version = headers['mcp-protocol-version']
  if (version !== undefined && !SESSION_REVISIONS.includes(String(version))) {
    return errorResponse(400, -32000, `MCP-Protocol-Version must be one of ${SESSION_REVISIONS.join(', ')}`)
  }
  if (headers['mcp-session-id'] !== undefined) return undefined
  return errorResponse(400, -32000,
    'Mcp-Session-Id is missing: send initialize first, and its session id with every request')
}

function isMessage (value: unknown): value is JSONRPCMessage {
  const isKnown = isJSONRPCRequest(value) || isJSONRPCNotification(value) || isJSONRPCResponse(value)
  return isKnown && String((value as { id?: unknown }).id).length <= MAX_ID_LENGTH
}

function isRootsChange (message: JSONRPCMessage): boolean {
  return (message as JSONRPCNotification).method === 'notifications/roots/list_changed'
}

function isCancellation (
  message: JSONRPCMessage
): message is JSONRPCNotification & { params: { requestId: RequestId } } {
  const { method, params } = message as JSONRPCNotification
  return method === 'notifications/cancelled' && ['string', 'number'].includes(typeof params?.['requestId'])
}
