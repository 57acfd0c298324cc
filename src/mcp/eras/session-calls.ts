import type { JSONRPCRequest, RequestId } from '@modelcontextprotocol/server'
import type { ClientRequests } from '../cluster/client-requests.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { errorResponse, runsHandler } from '../exchange.ts'
import type { CallLimits, McpRequest, McpResponse, RecordCall } from '../exchange.ts'
import { isInSession, requestKey } from '../fast-path/pending-calls.ts'
import type { HandedOverCall, PendingCalls } from '../fast-path/pending-calls.ts'
import type { Caller } from '../handlers/caller.ts'
import { recordRefusedCall } from '../handlers/finished-calls.ts'
import { INVALID_PARAMS, describeInvalidParams } from '../handlers/request-params.ts'
import type { Session } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { CallStream } from '../streams/call-stream.ts'
import type { SessionStreams } from '../streams/session-streams.ts'
import type { ProtocolServers } from './protocol-server.ts'
import { connectToSession } from './session-transport.ts'
import type { SessionConnection } from './session-transport.ts'

export interface SessionCallsOptions {
  cluster: Cluster
  sessions: Pick<Sessions, 'hold'>
  streams: SessionStreams
  servers: ProtocolServers
  clientRequests: ClientRequests
  /** Calls that the SDK does not have yet. */
  pendingCalls: PendingCalls
  limits: CallLimits
  recordCall: RecordCall | undefined
}

/** The requests of one POST, and where they are answered. */
interface RunningPost {
  stream: CallStream
  connection: Promise<SessionConnection>
}

export type SessionCalls = ReturnType<typeof createSessionCalls>

/** The requests of sessions that run at this replica. A cancellation may arrive at any other. */
export function createSessionCalls (options: SessionCallsOptions) {
  const { cluster, sessions, streams, servers, clientRequests, pendingCalls, limits, recordCall } = options
  const { replicas, runInBackground } = cluster
  const byRequest = new Map<string, RunningPost>()
  const byStream = new Map<string, RunningPost>()

  replicas.onMessage((message) => {
    if (message.kind === 'call-cancelled') cancel(message.session, message.request)
    if (message.kind === 'stream-resumed') byStream.get(message.stream)?.stream.moveTo(message.reader)
    if (message.kind === 'session-ended') endSession(message.session)
  })

  function cancel (session: string, request: RequestId): void {
    const key = requestKey(session, request)
    pendingCalls.handOver(key)
    const running = byRequest.get(key)
    if (running === undefined) return
    runInBackground(running.connection.then((connection) => {
      connection.deliver({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: request } })
      running.stream.dropRequest(request)
    }))
  }

  function endSession (session: string): void {
    pendingCalls.handOverSession(session)
    for (const [key, { stream }] of byRequest) if (isInSession(key, session)) stream.fail('The session has ended')
  }

  function isRunning (session: string, id: RequestId): boolean {
    if (byRequest.size === 0 && pendingCalls.size === 0) return false
    const key = requestKey(session, id)
    return byRequest.has(key) || pendingCalls.has(key)
  }

  /** Counts all calls of a POST, or none. @returns their release functions. @throws LimitError */
  function beginCalls (requests: JSONRPCRequest[], request: McpRequest): Array<() => void> {
    const releases: Array<() => void> = []
    try {
      for (const { method } of requests) {
        if (runsHandler(method)) releases.push(limits.beginCall(request))
      }
      return releases
    } catch (err) {
      for (const release of releases) release()
      throw err
    }
  }

  /** Keeps a POST registered under its requests' keys until it is answered. */
  function register (post: RunningPost, keys: readonly string[], releases: ReadonlyArray<() => void>): void {
    byStream.set(post.stream.name, post)
    for (const key of keys) byRequest.set(key, post)
    runInBackground(post.stream.finished.then(async () => {
      byStream.delete(post.stream.name)
      for (const key of keys) byRequest.delete(key)
      for (const release of releases) release()
      await (await post.connection).close()
    }))
  }

  return {
    /** @param call one that runs already */
    async run (
      request: McpRequest,
      session: Session,
      messages: JSONRPCRequest[],
      call?: HandedOverCall
    ): Promise<McpResponse> {
      const { principal, log, acceptsStream, body } = request
      const ids = messages.map(({ id }) => id)
      const isRepeated = new Set(ids).size < ids.length || ids.some((id) => isRunning(session.digest, id))
      if (call === undefined && isRepeated) {
        return errorResponse(400, -32600, 'A request with this id is already running in this session')
      }
      const caller: Caller = call?.caller ?? { principal, log, request, session }
      const releases = call === undefined ? beginCalls(messages, request) : [call.release]
      releases.push(sessions.hold(session))
      const stream = streams.openCall({ session, requests: ids, isBatch: Array.isArray(body), acceptsStream })
      const connecting = connectToSession(servers.create(caller), { session, stream, clientRequests })
      caller.untilReady = async () => { await stream.untilReady() }
      const keys = ids.map((id) => requestKey(session.digest, id))
      register({ stream, connection: connecting }, keys, releases)
      const connection = await connecting
      for (const message of messages) {
        const invalid = Array.isArray(body) ? describeInvalidParams(message, true) : undefined
        if (invalid === undefined) connection.deliver(message)
        else {
          recordRefusedCall(recordCall, request, message, invalid)
          stream.respond({ jsonrpc: '2.0', id: message.id, error: { code: INVALID_PARAMS, message: invalid } })
        }
      }
      const answer = await stream.answer
      if (caller.failure !== undefined) throw caller.failure
      return answer
    },

    isRunning,

    /** Resolves when no request is running. */
    async idle (): Promise<void> {
      await Promise.all([...byStream.values()].map(({ stream }) => stream.finished))
    },

    /** Answers every running request with an error. */
    failAll (message: string): void {
      for (const { stream } of byStream.values()) stream.fail(message)
    }
  }
}
