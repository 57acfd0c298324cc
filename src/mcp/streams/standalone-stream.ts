import type { JSONRPCMessage, ServerEvent } from '@modelcontextprotocol/server'
import { randomId } from '../../crypto/hash.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { EventStream, McpResponse } from '../exchange.ts'
import { streamResponse } from '../exchange.ts'
import { runInBackground } from '../cluster/background.ts'
import type { BackgroundLog } from '../cluster/background.ts'
import { RETRY_MS } from './call-stream.ts'
import { toNotification } from '../cluster/change-log.ts'
import type { ChangeLog } from '../cluster/change-log.ts'
import type { EventStreams } from './event-stream.ts'
import type { Replicas } from '../cluster/replicas.ts'
import { SessionNotFoundError } from '../sessions/sessions.ts'
import type { Session } from '../sessions/sessions.ts'
import { createTimeSlicer } from '../../async/time-slicer.ts'

/**
 * Standalone streams of sessions (GET without a call): what the server has to say by itself. It comes from two numbered
 * logs in the store, the changes that concern everybody and the session's own queue, and an event's id holds the place
 * in both; so a client reads on at any replica, and publishing costs the same however many sessions there are.
 *
 * Of several streams of one session each message goes to one (MCP 2025-11-25, multiple connections): the newest. When
 * that is over, another goes on where it was.
 */
export interface StandaloneStreams {
  /** @param after a place, from `parsePlace`; absent for what comes from now on. @throws StoreUnavailableError */
  open (session: Session, after: Place | undefined): Promise<McpResponse>
  /** Leaves a message for the session. @throws StoreUnavailableError */
  queue (session: Session, message: JSONRPCMessage): Promise<void>
  /** Ends all of them: clients go on at another replica. */
  endAll (): void
}

/** How far a stream was read in the session's queue and in the changes. */
export interface Place {
  queue: number
  changes: number
}

export function parsePlace (eventId: string): Place | undefined {
  const [, queue, changes] = /^s\.(\d{1,15})\.(\d{1,15})$/.exec(eventId) ?? []
  return queue === undefined ? undefined : { queue: Number(queue), changes: Number(changes) }
}

const printPlace = ({ queue, changes }: Place): string => `s.${queue}.${changes}`

const EVERYTHING: Place = { queue: Infinity, changes: Infinity }
const NOTHING: Place = { queue: 0, changes: 0 }
/** One for all: few sessions subscribe. */
const NONE: ReadonlySet<string> = new Set()

const MOST_QUEUED = 1_000
const QUEUE_TTL_SECONDS = 3_600
const CLAIM_TTL_SECONDS = 86_400
/** An open stream is a use of its session. */
const RENEW_MS = 30_000
/** When the store did not answer. */
const LOOK_MS = 2_000

export interface StandaloneStreamOptions {
  store: Store
  replicas: Replicas
  streams: EventStreams
  changes: ChangeLog
  log: BackgroundLog
  /** Counts as a use of the session. @throws SessionNotFoundError when it has ended */
  renew (session: Pick<Session, 'digest'>): Promise<Session>
  /** What the session wants to be told of. @throws SessionNotFoundError, StoreUnavailableError */
  subscriptions (session: Pick<Session, 'digest'>): Promise<ReadonlySet<string>>
  renewMs?: number
  lookMs?: number | undefined
}

export function createStandaloneStreams ({ store, replicas, streams, changes, log, renew, subscriptions, renewMs = RENEW_MS, lookMs = LOOK_MS }: StandaloneStreamOptions): StandaloneStreams {
  const all = new Set<StandaloneStream>()
  /** Those that could not read on when they were to. */
  const behind = new Set<StandaloneStream>()
  const bySession = new Map<string, readonly StandaloneStream[]>()
  const turns = createTimeSlicer()
  const of = (session: string): readonly StandaloneStream[] => bySession.get(session) ?? []

  replicas.onMessage((message) => {
    if (message.kind === 'queued') for (const stream of of(message.session)) stream.look()
    if (message.kind === 'subscribed') for (const stream of of(message.session)) stream.subscribed()
    if (message.kind === 'ended') for (const stream of of(message.session)) stream.sessionEnded()
    if (message.kind === 'claimed') for (const stream of of(message.session)) stream.claimed(message.reader, parsePlace(message.position)!)
    if (message.kind === 'released') for (const stream of of(message.session)) stream.released(message.reader, parsePlace(message.position)!)
  })
  replicas.onGap(() => { for (const stream of all) stream.look() })
  changes.onChange((number, event) => {
    const data = asText(event)
    turns.forEach(all, (stream) => { stream.change(number, event, data) })
  })
  const renewing = setInterval(() => { turns.forEach(all, (stream) => { stream.renew() }) }, renewMs).unref()
  const catchingUp = setInterval(() => { for (const stream of behind) stream.look() }, lookMs).unref()

  async function newest (): Promise<number> {
    return (await changes.since(Number.MAX_SAFE_INTEGER)).newest
  }

  class StandaloneStream {
    readonly #session: string
    readonly #reader: string
    readonly #connection: EventStream
    /** How far it has come. */
    readonly #place: Place
    /** What of both logs it is to send. */
    #until: Place = EVERYTHING
    /** Where it goes on when that is sent: the newer stream is over. */
    #next: Place | undefined
    #reading = false
    #again = false
    /** URIs of resources; undefined when they may be others by now. */
    #subscriptions: ReadonlySet<string> | undefined
    /** How often they may have changed: what was asked for before counts no more. */
    #generation = 0

    constructor (session: string, reader: string, place: Place, connection: EventStream, subscriptions: readonly string[]) {
      this.#session = session
      this.#reader = reader
      this.#place = place
      this.#connection = connection
      this.#subscriptions = subscriptions.length === 0 ? NONE : new Set(subscriptions)
      all.add(this)
      bySession.set(session, [...of(session), this])
      connection.onEnd(() => { this.#over() })
    }

    look (): void {
      if (this.#place.queue >= this.#until.queue && this.#place.changes >= this.#until.changes) return
      this.#again = true
      if (this.#reading) return
      this.#reading = true
      runInBackground(this.#readOn(), log)
    }

    claimed (by: string, position: Place): void {
      if (by === this.#reader) return
      // What came before the newer stream began is still for this one.
      this.#until = position
      this.look()
    }

    released (by: string, position: Place): void {
      if (this.#until === EVERYTHING) return
      runInBackground(store.compareAndSet(keys.standalone(this.#session), by, this.#reader, CLAIM_TTL_SECONDS).then((mine) => {
        if (!mine) return
        this.#next = position
        this.#goOn()
        this.look()
      }), log)
    }

    /** What the session subscribes to is looked up when it next matters. */
    subscribed (): void {
      this.#subscriptions = undefined
      this.#generation++
    }

    /** @param data what clients hear of it */
    change (number: number, event: ServerEvent, data: string): void {
      if (number > this.#until.changes) return
      const unknown = event.kind === 'resource_updated' && this.#subscriptions === undefined
      if (this.#reading || unknown || number !== this.#place.changes + 1) {
        this.look()
        return
      }
      this.#place.changes = number
      if (this.#wants(event)) this.#write(data)
    }

    renew (): void {
      runInBackground(this.#renew().catch((err: unknown) => {
        if (!(err instanceof SessionNotFoundError)) throw err
        this.sessionEnded()
      }), log)
    }

    /** There is nobody who could go on. */
    sessionEnded (): void {
      this.#until = NOTHING
      this.end()
    }

    end (): void {
      this.#connection.end()
    }

    /** A message that was lost is made up for here. */
    async #renew (): Promise<void> {
      const generation = this.#generation
      const { subscriptions = [] } = await renew({ digest: this.#session })
      if (generation === this.#generation) this.#subscriptions = new Set(subscriptions)
    }

    #wants (event: ServerEvent): boolean {
      return event.kind !== 'resource_updated' || this.#subscriptions!.has(event.uri)
    }

    #write (data: string): void {
      this.#connection.write({ data, id: printPlace(this.#place) })
    }

    #goOn (): void {
      if (this.#next === undefined || this.#place.queue < this.#until.queue || this.#place.changes < this.#until.changes) return
      Object.assign(this.#place, this.#next)
      this.#until = EVERYTHING
      this.#next = undefined
      this.#again = true
    }

    async #readOn (): Promise<void> {
      try {
        while (this.#again) await this.#readOnce()
        behind.delete(this)
      } catch (err) {
        if (err instanceof SessionNotFoundError) {
          this.sessionEnded()
          return
        }
        behind.add(this)
        throw err
      } finally {
        this.#reading = false
      }
    }

    async #lookUpSubscriptions (): Promise<void> {
      while (this.#subscriptions === undefined) {
        const generation = this.#generation
        const found = await subscriptions({ digest: this.#session })
        if (generation === this.#generation) this.#subscriptions = found
      }
    }

    async #readOnce (): Promise<void> {
      const place = this.#place
      this.#again = false
      const queued = await store.entries(keys.queue(this.#session), place.queue)
      // A store that lost a log counts from the beginning again.
      if (queued.newest < place.queue) place.queue = 0
      const changed = await changes.since(place.changes)
      if (changed.newest < place.changes) place.changes = 0
      if (changed.changes.some(([, { kind }]) => kind === 'resource_updated')) await this.#lookUpSubscriptions()
      for (const [number, text] of queued.entries) {
        if (number > this.#until.queue) break
        place.queue = number
        this.#write(text)
      }
      for (const [number, event] of changed.changes) {
        if (number > this.#until.changes) break
        place.changes = number
        if (this.#wants(event)) this.#write(asText(event))
      }
      this.#again ||= Math.min(queued.newest, this.#until.queue) > place.queue || Math.min(changed.newest, this.#until.changes) > place.changes
      this.#goOn()
    }

    #over (): void {
      all.delete(this)
      behind.delete(this)
      const others = of(this.#session).filter((stream) => stream !== this)
      if (others.length > 0) bySession.set(this.#session, others)
      else bySession.delete(this.#session)
      // Another stream of the session goes on, if there is one.
      if (this.#until === EVERYTHING) replicas.send({ kind: 'released', session: this.#session, reader: this.#reader, position: printPlace(this.#place) })
      this.#until = NOTHING
    }
  }

  return {
    async open ({ digest, protocolVersion, subscriptions = [] }, after) {
      const reader = `${replicas.self}.${randomId(9)}`
      const place: Place = after ?? {
        queue: (await store.entries(keys.queue(digest), Number.MAX_SAFE_INTEGER)).newest,
        changes: await newest()
      }
      await store.set(keys.standalone(digest), reader, CLAIM_TTL_SECONDS)
      const connection = streams.open()
      const stream = new StandaloneStream(digest, reader, place, connection, subscriptions)
      replicas.send({ kind: 'claimed', session: digest, reader, position: printPlace(place) })
      // Clients before 2025-11-25 take an event without data for a broken message.
      if (protocolVersion >= '2025-11-25') connection.write({ data: '', id: printPlace(place), retryMs: RETRY_MS })
      else connection.raw(`: open\nretry: ${RETRY_MS}\n\n`)
      stream.look()
      return streamResponse(connection)
    },

    async queue (session, message) {
      await store.append(keys.queue(session.digest), JSON.stringify(message), { ttlSeconds: QUEUE_TTL_SECONDS, most: MOST_QUEUED })
      replicas.send({ kind: 'queued', session: session.digest })
    },

    endAll () {
      clearInterval(renewing)
      clearInterval(catchingUp)
      turns.forEach(all, (stream) => { stream.end() })
    }
  }
}

/** What clients hear of a change. */
function asText (event: ServerEvent): string {
  return JSON.stringify(toNotification(event))
}
