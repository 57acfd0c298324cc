import type { Cluster } from '../cluster/cluster.ts'
import { errorResponse, streamResponse } from '../exchange.ts'
import type { McpResponse } from '../exchange.ts'
import type { Session } from '../sessions/session.ts'
import type { CallEventId } from './event-id.ts'
import type { EventStreams } from './event-stream.ts'
import { ResumedStream } from './event-replay.ts'
import { readStreamRecord } from './stream-record.ts'

export interface ResumedStreamsOptions {
  cluster: Cluster
  eventStreams: EventStreams
  /** Interval of looking for events whose message was lost, and for the heartbeat of the replica that runs the call. */
  pollMs?: number | undefined
  /** See `ResumedStreamOptions`; longer than a replica takes to start anew with an empty store. */
  deadAfterMs?: number | undefined
}

const POLL_MS = 2_000
const DEAD_AFTER_MS = 4_000

export type ResumedStreams = ReturnType<typeof createResumedStreams>

/** The streams of calls that clients have resumed at this replica. */
export function createResumedStreams (options: ResumedStreamsOptions) {
  const { cluster, eventStreams, pollMs = POLL_MS, deadAfterMs = DEAD_AFTER_MS } = options
  const { store, replicas } = cluster
  const byName = new Map<string, ResumedStream>()

  function pollAll (): void {
    for (const stream of byName.values()) stream.poll()
  }

  function endSession (session: string): void {
    for (const stream of byName.values()) if (stream.session === session) stream.end()
  }

  replicas.onMessage((message) => {
    if (message.kind === 'event-appended') byName.get(message.stream)?.poll()
    if (message.kind === 'stream-moved') byName.get(message.stream)?.end()
    if (message.kind === 'session-ended') endSession(message.session)
  })
  replicas.onGap(pollAll)
  const polling = setInterval(pollAll, pollMs).unref()

  return {
    /**
     * Continues a stream after an event (MCP 2025-11-25, resumability).
     * @returns 204 when the client has the whole stream, 400 when this session has no such stream, or no longer
     * @throws StoreUnavailableError
     */
    async resume (session: Session, { stream, number }: CallEventId): Promise<McpResponse> {
      const name = { session: session.digest, stream }
      const record = await readStreamRecord(store, name)
      if (record === undefined) {
        const message = 'The events after Last-Event-ID are no longer available; send the request again'
        return errorResponse(400, -32000, message)
      }
      if (record.closed !== undefined && number >= record.closed) return { status: 204, headers: {}, body: null }
      byName.get(stream)?.end()
      const connection = eventStreams.open()
      const resumed = new ResumedStream(name, number, connection, { cluster, deadAfterMs })
      byName.set(stream, resumed)
      connection.onEnd(() => { if (byName.get(stream) === resumed) byName.delete(stream) })
      return streamResponse(connection)
    },

    /** Ends all streams: their clients resume them at another replica. */
    endAll (): void {
      clearInterval(polling)
      for (const stream of byName.values()) stream.end()
    }
  }
}
