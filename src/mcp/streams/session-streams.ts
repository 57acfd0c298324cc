import type { EndpointChanges } from '../cluster/list-change-broadcast.ts'
import type { Cluster } from '../cluster/cluster.ts'
import type { McpResponse } from '../exchange.ts'
import type { Session } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { CallStream } from './call-stream.ts'
import type { CallRequest } from './call-stream.ts'
import type { EventId } from './event-id.ts'
import type { EventStreams } from './event-stream.ts'
import type { OnSubscribed } from './on-subscribed.ts'
import { createResumedStreams } from './stream-resumption.ts'
import { createStandaloneStreams } from './standalone-stream-registry.ts'
import type { CanRead } from './standalone-stream.ts'

export interface SessionStreamsOptions {
  cluster: Cluster
  eventStreams: EventStreams
  changes: EndpointChanges
  sessions: Sessions
  /** Time for which the store holds the stream of a running call after its last event. */
  callTtlSeconds: number
  /** Called with the resources that a session is subscribed to, again and again while it has a standalone stream. */
  onSubscribed: OnSubscribed
  /** Timings for tests; documented where they are used. */
  timings?: SessionStreamTimings | undefined
}

export interface SessionStreamTimings {
  streamAfterMs?: number
  pollMs?: number
  deadAfterMs?: number
  renewMs?: number
}

export type SessionStreams = ReturnType<typeof createSessionStreams>

/** All streams of sessions: the answers to POSTs, those that clients resume, and the standalone ones. */
export function createSessionStreams (options: SessionStreamsOptions) {
  const { cluster, eventStreams, changes, sessions, onSubscribed, callTtlSeconds, timings = {} } = options
  const { streamAfterMs, pollMs, deadAfterMs, renewMs } = timings
  const callOptions = { cluster, eventStreams, ttlSeconds: callTtlSeconds, streamAfterMs, pollMs }
  const resumed = createResumedStreams({ cluster, eventStreams, pollMs, deadAfterMs })
  const standalone = createStandaloneStreams({
    cluster, eventStreams, changes, sessions, onSubscribed, pollMs, renewMs
  })

  return {
    openCall (call: CallRequest): CallStream {
      return new CallStream(call, callOptions)
    },

    /** Continues a stream of the session after an event. @throws StoreUnavailableError */
    async resume (session: Session, canRead: CanRead, after: EventId): Promise<McpResponse> {
      return 'stream' in after ? await resumed.resume(session, after) : await standalone.open(session, canRead, after)
    },

    /** Opens a standalone stream of the session, from now on. @throws StoreUnavailableError */
    async openStandalone (session: Session, canRead: CanRead): Promise<McpResponse> {
      return await standalone.open(session, canRead)
    },

    /** Queues a message that belongs to no call for the session's standalone streams. @throws StoreUnavailableError */
    queue: standalone.queue,

    /** Ends the standalone and the resumed streams: their clients continue at another replica. */
    endAll (): void {
      standalone.endAll()
      resumed.endAll()
    }
  }
}
