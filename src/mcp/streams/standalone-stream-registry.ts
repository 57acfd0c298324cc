import type { JSONRPCMessage, ServerEvent } from '@modelcontextprotocol/server'
import { createTimeSlicer } from '../../async/time-slicer.ts'
import { randomId } from '../../crypto/hash.ts'
import { keys } from '../../store/keys.ts'
import type { EndpointChanges } from '../cluster/list-change-broadcast.ts'
import { toNotification } from '../cluster/list-change-broadcast.ts'
import type { Cluster } from '../cluster/cluster.ts'
import type { ReplicaMessage } from '../cluster/replicas.ts'
import { streamResponse } from '../exchange.ts'
import type { McpResponse } from '../exchange.ts'
import { hasEmptyEvents } from '../revisions.ts'
import type { Session } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { formatPosition, parsePosition } from './event-id.ts'
import type { StandalonePosition } from './event-id.ts'
import type { EventStreams } from './event-stream.ts'
import type { OnSubscribed } from './on-subscribed.ts'
import { CLAIM_TTL_SECONDS, StandaloneStream } from './standalone-stream.ts'
import type { CanRead } from './standalone-stream.ts'
import { RETRY_MS } from './stream-record.ts'

export interface StandaloneStreamsOptions {
  cluster: Cluster
  eventStreams: EventStreams
  changes: EndpointChanges
  sessions: Pick<Sessions, 'renew' | 'subscriptions' | 'hold'>
  /** Called again and again while a session has a stream. */
  onSubscribed?: OnSubscribed
  /** Interval in which an open stream counts as a use of its session. */
  renewMs?: number | undefined
  /** Interval of reading again for streams whose last read failed. */
  pollMs?: number | undefined
}

const MAX_QUEUED = 1_000
const QUEUE_TTL_SECONDS = 3_600
const RENEW_MS = 30_000
const POLL_MS = 2_000

export type StandaloneStreams = ReturnType<typeof createStandaloneStreams>

/**
 * The standalone streams of sessions (GET): messages of the server that belong to no call. They are read from two
 * numbered logs in the store, the change log of the server and the queue of the session, and an event's id holds the
 * position in both. So a client can resume at any replica, and publishing costs the same for any number of sessions.
 *
 * A session may have several streams; each message goes to one of them, the newest (MCP 2025-11-25, multiple
 * connections).
 */
export function createStandaloneStreams (options: StandaloneStreamsOptions) {
  const { cluster, eventStreams, changes, sessions, onSubscribed = () => () => {} } = options
  const { renewMs = RENEW_MS, pollMs = POLL_MS } = options
  const { store, replicas } = cluster
  const all = new Set<StandaloneStream>()
  const bySession = new Map<string, readonly StandaloneStream[]>()
  const behind = new Set<StandaloneStream>()
  const releases = new Map<StandaloneStream, () => void>()
  const slicer = createTimeSlicer()
  const services = { cluster, changes, sessions, behind, onSubscribed, onEnd: remove }

  function streamsOf (session: string): readonly StandaloneStream[] {
    return bySession.get(session) ?? []
  }

  function add (stream: StandaloneStream): void {
    all.add(stream)
    releases.set(stream, sessions.hold({ digest: stream.session }))
    bySession.set(stream.session, [...streamsOf(stream.session), stream])
  }

  function remove (stream: StandaloneStream): void {
    all.delete(stream)
    releases.get(stream)?.()
    releases.delete(stream)
    behind.delete(stream)
    const others = streamsOf(stream.session).filter((other) => other !== stream)
    if (others.length > 0) bySession.set(stream.session, others)
    else bySession.delete(stream.session)
  }

  function publishChange (number: number, event: ServerEvent | undefined): void {
    const data = event === undefined ? '' : JSON.stringify(toNotification(event))
    slicer.forEach(all, (stream) => { stream.onChange(number, event, data) })
  }

  replicas.onMessage((message) => {
    if ('session' in message) for (const stream of streamsOf(message.session)) dispatch(message, stream)
  })
  replicas.onGap(() => { for (const stream of all) stream.poll() })
  changes.onChange(publishChange)
  const renewing = setInterval(() => { slicer.forEach(all, (stream) => { stream.renew() }) }, renewMs).unref()
  const polling = setInterval(() => { for (const stream of behind) stream.poll() }, pollMs).unref()

  return {
    /** @param after the position to continue from; from now on where absent. @throws StoreUnavailableError */
    async open (session: Session, canRead: CanRead, after?: StandalonePosition): Promise<McpResponse> {
      const { digest, protocolVersion } = session
      const reader = `${replicas.self}.${randomId(9)}`
      const position = after ?? {
        queue: (await store.entries(keys.queue(digest), Number.MAX_SAFE_INTEGER)).newest,
        changes: await changes.newest()
      }
      await store.set(keys.standalone(digest), reader, CLAIM_TTL_SECONDS)
      const connection = eventStreams.open()
      const stream = new StandaloneStream(services, { session: digest, canRead, reader, position, connection })
      add(stream)
      const eventId = formatPosition(position)
      replicas.send({ kind: 'stream-claimed', session: digest, reader, position: eventId })
      if (hasEmptyEvents(protocolVersion)) connection.write({ data: '', id: eventId, retryMs: RETRY_MS })
      else connection.raw(`: open\nretry: ${RETRY_MS}\n\n`)
      stream.start()
      return streamResponse(connection)
    },

    /** Queues a message for the session's streams. @throws StoreUnavailableError */
    async queue (session: Session, message: JSONRPCMessage): Promise<void> {
      const limits = { ttlSeconds: QUEUE_TTL_SECONDS, maxEntries: MAX_QUEUED }
      await store.append(keys.queue(session.digest), JSON.stringify(message), limits)
      replicas.send({ kind: 'message-queued', session: session.digest })
    },

    /** Ends all streams: their clients resume them at another replica. */
    endAll (): void {
      clearInterval(renewing)
      clearInterval(polling)
      slicer.forEach(all, (stream) => { stream.end() })
    }
  }
}

function dispatch (message: ReplicaMessage, stream: StandaloneStream): void {
  switch (message.kind) {
    case 'message-queued': return stream.poll()
    case 'subscriptions-changed': return stream.onSubscriptionsChanged()
    case 'session-ended': return stream.onSessionEnded()
    case 'stream-claimed': return stream.onClaimed(message.reader, parsePosition(message.position)!)
    case 'stream-released': return stream.onReleased(message.reader, parsePosition(message.position)!)
  }
}
