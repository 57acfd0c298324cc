import type { JSONRPCMessage, ServerEvent } from '@modelcontextprotocol/server'
import { randomId } from '../crypto/secrets.ts'
import { keys } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import type { Answer } from './answer.ts'
import { streamAnswer } from './answer.ts'
import { inBackground } from './background.ts'
import type { BackgroundLog } from './background.ts'
import { RETRY_MS } from './call-stream.ts'
import { toNotification } from './changes.ts'
import type { Changes } from './changes.ts'
import type { EventStreams } from './event-stream.ts'
import type { Replicas } from './replicas.ts'
import { SessionNotFoundError } from './sessions.ts'
import type { Session } from './sessions.ts'

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
  open (session: Session, after: Place | undefined): Promise<Answer>
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
  changes: Changes
  log: BackgroundLog
  /** Counts as a use of the session. @throws SessionNotFoundError when it has ended */
  renew (session: Session): Promise<unknown>
  renewMs?: number
  lookMs?: number | undefined
}

interface OpenStream {
  look (): void
  claimed (reader: string, position: Place): void
  released (reader: string, position: Place): void
  change (number: number, event: ServerEvent): void
  renew (): void
  end (): void
}

export function createStandaloneStreams ({ store, replicas, streams, changes, log, renew, renewMs = RENEW_MS, lookMs = LOOK_MS }: StandaloneStreamOptions): StandaloneStreams {
  const all = new Set<OpenStream>()
  /** Those that could not read on when they were to. */
  const behind = new Set<OpenStream>()
  const bySession = new Map<string, Set<OpenStream>>()
  const of = (session: string): Iterable<OpenStream> => bySession.get(session) ?? []

  replicas.onMessage((message) => {
    if (message.kind === 'queued') for (const stream of of(message.session)) stream.look()
    if (message.kind === 'ended') for (const stream of of(message.session)) stream.end()
    if (message.kind === 'claimed') for (const stream of of(message.session)) stream.claimed(message.reader, parsePlace(message.position)!)
    if (message.kind === 'released') for (const stream of of(message.session)) stream.released(message.reader, parsePlace(message.position)!)
  })
  replicas.onGap(() => { for (const { look } of all) look() })
  changes.onChange((number, event) => { for (const stream of all) stream.change(number, event) })
  const renewing = setInterval(() => { for (const stream of all) stream.renew() }, renewMs).unref()
  const catchingUp = setInterval(() => { for (const stream of behind) stream.look() }, lookMs).unref()

  async function newest (): Promise<number> {
    return (await changes.since(Number.MAX_SAFE_INTEGER)).newest
  }

  return {
    async open (session, after) {
      const reader = `${replicas.self}.${randomId(9)}`
      const claim = keys.standalone(session.digest)
      const place: Place = after ?? {
        queue: (await store.entries(keys.queue(session.digest), Number.MAX_SAFE_INTEGER)).newest,
        changes: await newest()
      }
      await store.set(claim, reader, CLAIM_TTL_SECONDS)
      const connection = streams.open()
      /** What of both logs this stream is to send. */
      let until: Place = EVERYTHING
      /** Where it goes on when that is sent: the newer stream is over. */
      let next: Place | undefined
      let reading = false
      let again = false

      function write (message: JSONRPCMessage | undefined): void {
        if (message !== undefined) connection.write({ data: JSON.stringify(message), id: printPlace(place) })
      }

      function goOn (): void {
        if (next === undefined || place.queue < until.queue || place.changes < until.changes) return
        Object.assign(place, next)
        until = EVERYTHING
        next = undefined
        again = true
      }

      async function readOn (): Promise<void> {
        try {
          while (again) await readOnce()
          behind.delete(stream)
        } catch (err) {
          behind.add(stream)
          throw err
        } finally {
          reading = false
        }
      }

      async function readOnce (): Promise<void> {
        again = false
        const queued = await store.entries(keys.queue(session.digest), place.queue)
        // A store that lost a log counts from the beginning again.
        if (queued.newest < place.queue) place.queue = 0
        const changed = await changes.since(place.changes)
        if (changed.newest < place.changes) place.changes = 0
        for (const [number, text] of queued.entries) {
          if (number > until.queue) break
          place.queue = number
          write(JSON.parse(text) as JSONRPCMessage)
        }
        for (const [number, event] of changed.changes) {
          if (number > until.changes) break
          place.changes = number
          write(toNotification(event))
        }
        again ||= Math.min(queued.newest, until.queue) > place.queue || Math.min(changed.newest, until.changes) > place.changes
        goOn()
      }

      const stream: OpenStream = {
        look () {
          if (place.queue >= until.queue && place.changes >= until.changes) return
          again = true
          if (reading) return
          reading = true
          inBackground(readOn(), log)
        },
        claimed (by, position) {
          if (by === reader) return
          // What came before the newer stream began is still for this one.
          until = position
          stream.look()
        },
        released (by, position) {
          if (until === EVERYTHING) return
          inBackground(store.replace(claim, by, reader, CLAIM_TTL_SECONDS).then((mine) => {
            if (!mine) return
            next = position
            goOn()
            stream.look()
          }), log)
        },
        change (number, event) {
          if (number > until.changes) return
          if (reading || number !== place.changes + 1) return stream.look()
          place.changes = number
          write(toNotification(event))
        },
        renew () {
          inBackground(renew(session).catch((err: unknown) => {
            if (!(err instanceof SessionNotFoundError)) throw err
            connection.end()
          }), log)
        },
        end () { connection.end() }
      }

      const own = bySession.get(session.digest) ?? new Set()
      bySession.set(session.digest, own.add(stream))
      all.add(stream)
      connection.onEnd(() => {
        all.delete(stream)
        own.delete(stream)
        if (own.size === 0 && bySession.get(session.digest) === own) bySession.delete(session.digest)
        behind.delete(stream)
        // Another stream of the session goes on, if there is one.
        if (until === EVERYTHING) replicas.tell({ kind: 'released', session: session.digest, reader, position: printPlace(place) })
        until = NOTHING
      })
      replicas.tell({ kind: 'claimed', session: session.digest, reader, position: printPlace(place) })
      // Clients before 2025-11-25 take an event without data for a broken message.
      if (session.protocolVersion >= '2025-11-25') connection.write({ data: '', id: printPlace(place), retryMs: RETRY_MS })
      else connection.raw(`: open\nretry: ${RETRY_MS}\n\n`)
      stream.look()
      return streamAnswer(connection)
    },

    async queue (session, message) {
      await store.append(keys.queue(session.digest), JSON.stringify(message), { ttlSeconds: QUEUE_TTL_SECONDS, most: MOST_QUEUED })
      replicas.tell({ kind: 'queued', session: session.digest })
    },

    endAll () {
      clearInterval(renewing)
      clearInterval(catchingUp)
      for (const stream of all) stream.end()
    }
  }
}
