import type { ServerEvent } from '@modelcontextprotocol/server'
import { createCoalescedTask } from '../../async/coalesced-task.ts'
import type { CoalescedTask } from '../../async/coalesced-task.ts'
import { keys } from '../../store/keys.ts'
import { toNotification } from '../cluster/list-change-broadcast.ts'
import type { EndpointChanges } from '../cluster/list-change-broadcast.ts'
import type { Cluster } from '../cluster/cluster.ts'
import type { EventStream } from '../exchange.ts'
import { SessionNotFoundError, subscriberOf } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { formatPosition } from './event-id.ts'
import type { StandalonePosition } from './event-id.ts'
import type { OnSubscribed } from './on-subscribed.ts'
import { isMessage } from './stream-record.ts'

/** Tells whether the opener of a stream may read a resource now. */
export type CanRead = (uri: string) => boolean

/** The services that all standalone streams of this process share. */
export interface StandaloneServices {
  cluster: Cluster
  changes: EndpointChanges
  sessions: Pick<Sessions, 'renew' | 'subscriptions'>
  /** Streams whose last read failed; they are polled until they have caught up. */
  behind: Set<StandaloneStream>
  onSubscribed: OnSubscribed
  /** Called when the stream has ended. */
  onEnd (stream: StandaloneStream): void
}

/** Time for which the store remembers the newest stream of a session. */
export const CLAIM_TTL_SECONDS = 86_400

const UNLIMITED: StandalonePosition = { queue: Infinity, changes: Infinity }
const NOTHING: StandalonePosition = { queue: 0, changes: 0 }
/** Shared by all sessions without subscriptions: most have none. */
const NO_SUBSCRIPTIONS: ReadonlySet<string> = new Set()

/**
 * One standalone stream of a session. It sends both logs from its position to its limit. The newest stream of a session
 * has no limit. When a newer one starts, the older one is limited to the position where the newer one begins; when the
 * newer one ends, one of the older ones continues from there.
 */
export class StandaloneStream {
  readonly session: string
  readonly #services: StandaloneServices
  /** The name of this stream among the session's streams on all replicas. */
  readonly #reader: string
  readonly #connection: EventStream
  readonly #canRead: CanRead
  readonly #reading: CoalescedTask
  readonly #position: StandalonePosition
  #limit: StandalonePosition = UNLIMITED
  /** The position to continue from at the limit, once the newer stream has ended. */
  #next: StandalonePosition | undefined
  /** URIs of resources; undefined when they may have changed since they were read. */
  #subscriptions: ReadonlySet<string> | undefined
  /** Counts changes of the subscriptions: a result that was read before one is outdated. */
  #generation = 0

  constructor (services: StandaloneServices, { session, canRead, reader, position, connection }: {
    session: string
    canRead: CanRead
    reader: string
    position: StandalonePosition
    connection: EventStream
  }) {
    this.#services = services
    this.session = session
    this.#reader = reader
    this.#position = position
    this.#connection = connection
    this.#canRead = canRead
    this.#reading = createCoalescedTask(async () => { await this.#readNew() }, services.cluster.onBackgroundError)
    connection.onEnd(() => { this.#onEnd() })
  }

  /** Begins to send. The session may have subscribed to something while the stream was opened. */
  start (): void {
    this.#services.cluster.runInBackground(this.#useSession())
    this.poll()
  }

  /** Sends what both logs have beyond the position. */
  poll (): void {
    if (!this.#hasReachedLimit()) this.#reading.request()
  }

  /** A newer stream of the session has started, here or at another replica. */
  onClaimed (reader: string, position: StandalonePosition): void {
    if (reader === this.#reader) return
    // Earlier messages are still this stream's.
    this.#limit = position
    this.poll()
  }

  /** The newest stream of the session has ended; one of the others takes its place. */
  onReleased (reader: string, position: StandalonePosition): void {
    if (this.#limit !== UNLIMITED) this.#services.cluster.runInBackground(this.#takeOver(reader, position))
  }

  /** The session has subscribed or unsubscribed. The subscriptions are read again when they matter next. */
  onSubscriptionsChanged (): void {
    this.#subscriptions = undefined
    this.#generation++
  }

  /**
   * @param event undefined for a change that concerns other endpoints alone
   * @param data the notification, as JSON
   */
  onChange (number: number, event: ServerEvent | undefined, data: string): void {
    if (number > this.#limit.changes) return
    const isUnknown = event?.kind === 'resource_updated' && this.#subscriptions === undefined
    if (this.#reading.isRunning || isUnknown || number !== this.#position.changes + 1) {
      this.poll()
      return
    }
    this.#position.changes = number
    if (event !== undefined && this.#isWanted(event)) this.#write(data)
  }

  /**
   * Counts as a use of the session, and reads its subscriptions and its queue in case a message between replicas was
   * lost. A Redis Cluster loses such messages without a sign when the link between two of its nodes breaks.
   */
  renew (): void {
    this.#services.cluster.runInBackground(this.#renewSession())
  }

  /** No other stream of the session takes its place. */
  onSessionEnded (): void {
    this.#limit = NOTHING
    this.end()
  }

  end (): void {
    this.#connection.end()
  }

  async #takeOver (reader: string, position: StandalonePosition): Promise<void> {
    const { store } = this.#services.cluster
    const key = keys.standalone(this.session)
    if (!await store.compareAndSet(key, reader, this.#reader, CLAIM_TTL_SECONDS)) return
    this.#next = position
    this.#continueAtNext()
    this.poll()
  }

  async #renewSession (): Promise<void> {
    await this.#useSession()
    if (await this.#hasUnsentMessages()) this.poll()
  }

  async #useSession (): Promise<void> {
    const generation = this.#generation
    try {
      const session = await this.#services.sessions.renew({ digest: this.session })
      const { subscriptions = [] } = session
      if (generation === this.#generation) {
        this.#subscriptions = subscriptions.length === 0 ? NO_SUBSCRIPTIONS : new Set(subscriptions)
      }
      this.#services.onSubscribed(subscriptions, subscriberOf(session))
    } catch (err) {
      if (!(err instanceof SessionNotFoundError)) throw err
      this.onSessionEnded()
    }
  }

  async #hasUnsentMessages (): Promise<boolean> {
    const { newest } = await this.#services.cluster.store.entries(keys.queue(this.session), Number.MAX_SAFE_INTEGER)
    return newest !== this.#position.queue
  }

  async #readNew (): Promise<void> {
    const { behind } = this.#services
    try {
      await this.#readLogs()
      behind.delete(this)
    } catch (err) {
      if (err instanceof SessionNotFoundError) return this.onSessionEnded()
      behind.add(this)
      throw err
    }
  }

  async #readLogs (): Promise<void> {
    const { cluster: { store }, changes } = this.#services
    const position = this.#position
    const queued = await store.entries(keys.queue(this.session), position.queue)
    // A store that has lost a log counts from the beginning again.
    if (queued.newest < position.queue) position.queue = 0
    const changed = await changes.since(position.changes)
    if (changed.newest < position.changes) position.changes = 0
    if (changed.changes.some(([, event]) => event?.kind === 'resource_updated')) await this.#readSubscriptions()
    for (const [number, text] of queued.entries) {
      if (number > this.#limit.queue) break
      position.queue = number
      if (isMessage(store, text)) this.#write(text)
    }
    for (const [number, event] of changed.changes) {
      if (number > this.#limit.changes) break
      position.changes = number
      if (event !== undefined && this.#isWanted(event)) this.#write(JSON.stringify(toNotification(event)))
    }
    const hasMore = Math.min(queued.newest, this.#limit.queue) > position.queue ||
      Math.min(changed.newest, this.#limit.changes) > position.changes
    if (this.#continueAtNext() || hasMore) this.#reading.request()
  }

  async #readSubscriptions (): Promise<void> {
    while (this.#subscriptions === undefined) {
      const generation = this.#generation
      const subscriptions = await this.#services.sessions.subscriptions({ digest: this.session })
      if (generation === this.#generation) this.#subscriptions = subscriptions
    }
  }

  #isWanted (event: ServerEvent): boolean {
    if (event.kind !== 'resource_updated') return true
    // A subscription does not outlive the right to read: the policy counts again for each notification.
    return this.#subscriptions!.has(event.uri) && this.#canRead(event.uri)
  }

  #write (data: string): void {
    this.#connection.write({ data, id: formatPosition(this.#position) })
  }

  #hasReachedLimit (): boolean {
    return this.#position.queue >= this.#limit.queue && this.#position.changes >= this.#limit.changes
  }

  /** Moves to where the newer stream ended, once everything up to the limit is sent. @returns whether it moved */
  #continueAtNext (): boolean {
    if (this.#next === undefined || !this.#hasReachedLimit()) return false
    Object.assign(this.#position, this.#next)
    this.#limit = UNLIMITED
    this.#next = undefined
    return true
  }

  #onEnd (): void {
    this.#services.onEnd(this)
    if (this.#limit === UNLIMITED) {
      const position = formatPosition(this.#position)
      const { replicas } = this.#services.cluster
      replicas.send({ kind: 'stream-released', session: this.session, reader: this.#reader, position })
    }
    this.#limit = NOTHING
  }
}
