import { createCoalescedTask } from '../../async/coalesced-task.ts'
import type { CoalescedTask } from '../../async/coalesced-task.ts'
import { keys } from '../../store/keys.ts'
import type { Cluster } from '../cluster/cluster.ts'
import type { EventStream } from '../exchange.ts'
import { formatCallEventId } from './event-id.ts'
import { CLOSED_TTL_SECONDS, MAX_EVENTS, RETRY_MS, readStreamRecord, saveStreamRecord } from './stream-record.ts'
import type { StreamName, StreamRecord } from './stream-record.ts'

export interface ResumedStreamOptions {
  cluster: Cluster
  /** Time without a heartbeat after which the replica that runs the call counts as dead. */
  deadAfterMs: number
}

/**
 * A call's stream that its client has resumed here. The events are read from the store, whichever replica runs the
 * call. When that replica has died, this one ends the stream with an error for every request.
 */
export class ResumedStream {
  readonly #name: StreamName
  readonly #connection: EventStream
  readonly #options: ResumedStreamOptions
  readonly #reading: CoalescedTask
  /** The replica that runs the call. */
  readonly #owner: string
  /** The number of the last event that the client has. */
  #lastRead: number
  /** Since when the owner has sent no heartbeat. */
  #silentSince: number | undefined

  /** @param lastRead the number of the event that the client has read last */
  constructor (name: StreamName, lastRead: number, connection: EventStream, options: ResumedStreamOptions) {
    this.#name = name
    this.#lastRead = lastRead
    this.#connection = connection
    this.#options = options
    this.#owner = name.stream.split('.')[0]!
    const { replicas, onBackgroundError } = options.cluster
    this.#reading = createCoalescedTask(async () => { await this.#readEvents() }, onBackgroundError)
    connection.raw(`retry: ${RETRY_MS}\n\n`)
    replicas.send({ kind: 'stream-resumed', stream: name.stream, reader: replicas.self }, this.#owner)
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
    const record = await readStreamRecord(store, this.#name)
    if (record === undefined) return this.#connection.end()
    const { shift = 0 } = record
    const { entries } = await store.entries(keys.events(session, stream), Math.max(0, this.#lastRead - shift))
    for (const [number, data] of entries) {
      this.#lastRead = number + shift
      this.#connection.write({ data, id: formatCallEventId(stream, this.#lastRead) })
    }
    if (record.closed !== undefined) {
      if (this.#lastRead >= record.closed) this.#connection.end()
    } else if (record.lost) {
      await this.#closeWithErrors(record, 'The connection was lost, and the rest of the response is too large to store')
    } else {
      await this.#checkOwner(record)
    }
  }

  async #checkOwner (record: StreamRecord): Promise<void> {
    if (await this.#options.cluster.replicas.isAlive(this.#owner)) {
      this.#silentSince = undefined
      return
    }
    this.#silentSince ??= performance.now()
    if (performance.now() - this.#silentSince <= this.#options.deadAfterMs) return
    await this.#closeWithErrors(record, 'The server that ran this call has stopped; it is unknown how far the call got')
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
