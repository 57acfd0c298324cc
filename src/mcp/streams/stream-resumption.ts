import { createCoalescedTask } from '../../async/coalesced-task.ts'
import type { CoalescedTask } from '../../async/coalesced-task.ts'
import { keys } from '../../store/keys.ts'
import { leaveOutLater } from '../../store/store.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { DEAD_AFTER_MS, ReplicaWatch } from '../cluster/replica-watch.ts'
import { errorResponse, streamResponse } from '../exchange.ts'
import type { EventStream, McpResponse } from '../exchange.ts'
import type { Session } from '../sessions/session.ts'
import { formatCallEventId } from './event-id.ts'
import type { CallEventId } from './event-id.ts'
import type { EventStreams } from './event-stream.ts'
import {
  CLOSED_TTL_SECONDS, MAX_EVENTS, RETRY_MS, isMessage, readStreamRecord, saveStreamRecord
} from './stream-record.ts'
import type { StreamName, StreamRecord } from './stream-record.ts'

export interface ResumedStreamsOptions {
  cluster: Cluster
  eventStreams: EventStreams
  /** Interval of looking for events whose message was lost, and for the heartbeat of the replica that runs the call. */
  pollMs?: number | undefined
  /** Time without a heartbeat after which the replica that runs the call counts as dead. */
  deadAfterMs?: number | undefined
}

const POLL_MS = 2_000

const STOPPED = 'The server that ran this call has stopped; it is unknown how far the call got'
const TOO_LARGE = 'The connection was lost, and the rest of the response is too large to store'
const NOT_STORED = 'The connection was lost, and the store did not take the rest of the response; ' +
  'it is unknown how far the call got'

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

interface ResumedStreamOptions {
  cluster: Cluster
  /** Time without a heartbeat after which the replica that runs the call counts as dead. */
  deadAfterMs: number
}

/**
 * A call's stream that its client has resumed here. The events are read from the store, whichever replica runs the
 * call. When that replica has died, this one ends the stream with an error for every request.
 */
class ResumedStream {
  readonly #name: StreamName
  readonly #connection: EventStream
  readonly #options: ResumedStreamOptions
  readonly #reading: CoalescedTask
  /** The replica that runs the call. */
  readonly #owner: ReplicaWatch
  /** The number of the last event that the client has. */
  #lastRead: number

  /** @param lastRead the number of the event that the client has read last */
  constructor (name: StreamName, lastRead: number, connection: EventStream, options: ResumedStreamOptions) {
    this.#name = name
    this.#lastRead = lastRead
    this.#connection = connection
    this.#options = options
    const { replicas, onBackgroundError } = options.cluster
    const owner = name.stream.split('.')[0]!
    this.#owner = new ReplicaWatch(replicas, owner, options.deadAfterMs)
    this.#reading = createCoalescedTask(async () => { await this.#readEvents() }, onBackgroundError)
    connection.raw(`retry: ${RETRY_MS}\n\n`)
    replicas.send({ kind: 'stream-resumed', stream: name.stream, reader: replicas.self }, owner)
    this.#reading.request()
  }

  get session (): string {
    return this.#name.session
  }

  /** Sends the events that the store has beyond the last one read. */
  poll (): void {
    this.#reading.request()
  }

  end (): void {
    this.#connection.end()
  }

  async #readEvents (): Promise<void> {
    const { store } = this.#options.cluster
    const { session, stream } = this.#name
    // A client whose stream a later release has taken over resumes it there.
    const record = await readStreamRecord(store, this.#name).catch(leaveOutLater)
    if (record === undefined) return this.#connection.end()
    const { shift = 0 } = record
    const { entries } = await store.entries(keys.events(session, stream), Math.max(0, this.#lastRead - shift))
    for (const [number, data] of entries) {
      this.#lastRead = number + shift
      if (isMessage(store, data)) this.#connection.write({ data, id: formatCallEventId(stream, this.#lastRead) })
    }
    if (record.closed !== undefined) {
      if (this.#lastRead >= record.closed) this.#connection.end()
    } else if (record.lost) {
      await this.#closeWithErrors(record, record.tooLarge ? TOO_LARGE : NOT_STORED)
    } else if (await this.#owner.isDead()) {
      await this.#closeWithErrors(record, STOPPED)
    }
  }

  /** Ends the stream in place of the call, which cannot do it: with an error for each of its requests. */
  async #closeWithErrors ({ requests }: StreamRecord, message: string): Promise<void> {
    const { store } = this.#options.cluster
    const { session, stream } = this.#name
    const limits = { ttlSeconds: CLOSED_TTL_SECONDS, maxEntries: MAX_EVENTS }
    let newest = 0
    for (const id of requests) {
      const data = JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32000, message } })
      newest = await store.append(keys.events(session, stream), data, limits)
    }
    // The client may have read more events than were stored; its numbers continue from the last one that it has.
    const shift = Math.max(0, this.#lastRead - (newest - requests.length))
    await saveStreamRecord(store, this.#name, { requests, closed: newest + shift, shift })
    this.#reading.request()
  }
}
