import { Type } from 'typebox'
import type { Static } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Store } from '../store/store.ts'

/**
 * Numbers that all replicas count together without asking anybody: each keeps its own value and the last that each
 * other replica told. They tell each other over the store's channel; nothing is stored and nothing is awaited.
 *
 * What is told is a replica's own absolute value, so a lost or repeated message does no harm, and every two seconds
 * each tells everything again. While the store is away each replica counts for itself: the limits hold for each alone.
 *
 * It is exact only up to what others have not heard yet: what happened within some 25 ms, and of a count a tenth of its
 * limit over all replicas together (a fifth, while it is small on most of them).
 */
export interface Tallies {
  /** What goes on now, for instance calls. @param kind at most 32 characters, the same on all replicas */
  gauge (kind: string): Gauge
  /** What happened in this minute. @param limit how large a total matters: it decides how often the count is told */
  count (kind: string, limit: number): Count
  /** Stops, and tells the others that nothing goes on here any more; resolves when that is told or the store is away. */
  close (): Promise<void>
}

/** Names are digests of at most 64 characters: they go to every replica. */
export interface Gauge {
  /** Changes this replica's value, which never falls below 0. Nothing happens when there is no room for the name. */
  add (name: string, by: number): void
  /** Over all replicas; Infinity for a name that there is no room for, so that it is refused rather than not counted. */
  total (name: string): number
}

/** The minute is that of the wall clock, so all replicas mean the same one. */
export interface Count {
  /** When there is no room the name counted longest is forgotten. */
  add (name: string): void
  /** Over all replicas. */
  total (name: string): number
  /** Until the minute is over: 1 to 60. */
  secondsLeft (): number
}

export interface TalliesOptions {
  /** Of at most 64 characters; another one for each process, also after a restart. */
  replicaId: string
  log?: { warn (fields: object, message: string): void }
  /** Monotonic milliseconds. */
  now?: () => number
  /** Milliseconds since the epoch. */
  wallClock?: () => number
  /** Repeats an act, without keeping the process alive; gives what ends it. */
  every?: (ms: number, act: () => void) => () => void
  /** Most names of one kind, those told by others included. */
  maxNames?: number
}

const CHANNEL = 'tallies'
const WINDOW_MS = 60_000

/** A gauge is told at the second tick after its change: 12 to 24 ms later. */
const TICK_MS = 12
/** How long a change of a count may wait for its next step. */
const COUNTS_MS = 250
const BEAT_MS = 2_000
const MISSED_BEATS = 3

const MAX_NAMES = 100_000
const MAX_REPLICAS = 1_000
const MAX_TOLD = 1_000
const MAX_MESSAGE = 200_000

const MessageSchema = Type.Object({
  from: Type.String({ minLength: 1, maxLength: 64 }),
  /** How many times the sender has told everything. */
  beat: Type.Integer({ minimum: 0 }),
  /** Which minute since the epoch the counts belong to. */
  window: Type.Integer({ minimum: 0 }),
  /** Everything has been told with this message: gauges of the sender that were not in this beat are 0. */
  whole: Type.Boolean(),
  /** The sender asks the others to tell everything. */
  asks: Type.Boolean(),
  told: Type.Array(Type.Tuple([
    Type.String({ maxLength: 32 }),
    Type.String({ minLength: 1, maxLength: 64 }),
    Type.Integer({ minimum: 0, maximum: 1_000_000_000 })
  ]), { maxItems: MAX_TOLD })
})
type Message = Static<typeof MessageSchema>
const messages = Compile(MessageSchema)

interface Entry {
  name: string
  /** What this replica counts. */
  own: number
  /** What it last told. */
  told: number
  /** What the others told, added up. */
  others: number
  by: Map<string, { value: number, beat: number }> | undefined
  /** Waits for a tick. */
  waiting: boolean
}

interface GaugeEntry extends Entry {
  of: GaugeKind
  /** The least own value since the last tick: so much has held. */
  least: number
}

interface CountEntry extends Entry {
  of: CountKind
  /** The own value that is told at once: the first is so high that most callers cost no message. */
  next: number
}

interface GaugeKind {
  kind: string
  entries: Map<string, GaugeEntry>
}

interface CountKind {
  kind: string
  limit: number
  entries: Map<string, CountEntry>
  /** Those that are large enough to be told. */
  large: Set<CountEntry>
}

/** Begins at once; declare the kinds right after. */
export function createTallies (store: Pick<Store, 'publish' | 'subscribe'>, options: TalliesOptions): Tallies {
  const { replicaId, log, now = () => performance.now(), wallClock = Date.now, every = repeat, maxNames = MAX_NAMES } = options
  const gauges = new Map<string, GaugeKind>()
  const counts = new Map<string, CountKind>()
  /** The other replicas, and when each was last heard. */
  const replicas = new Map<string, number>()

  let pending: Message['told'] = []
  let tellsAll = false
  let asks = false
  let scheduled = false
  let beat = 0
  let window = currentWindow()
  let windowEndsAt = (window + 1) * WINDOW_MS
  let warned = false
  let closed = false

  let waitingGauges: GaugeEntry[] = []
  let waitingCounts: CountEntry[] = []
  let countsToldAt = -Infinity
  let stopTicking: (() => void) | undefined
  const stopBeating = every(BEAT_MS, keepInTouch)
  store.subscribe(CHANNEL, hear, greet)

  function currentWindow (): number {
    return Math.floor(wallClock() / WINDOW_MS)
  }

  /** The numbers of a minute are forgotten when it is over. */
  function turnWindow (): void {
    const now = wallClock()
    // Also when the clock is set back.
    if (now < windowEndsAt && now >= windowEndsAt - WINDOW_MS) return
    window = currentWindow()
    windowEndsAt = (window + 1) * WINDOW_MS
    warned = false
    waitingCounts = []
    pending = pending.filter(([kind]) => !counts.has(kind))
    for (const of of counts.values()) {
      of.entries = new Map()
      of.large = new Set()
    }
  }

  function warnOfNames (kind: string): void {
    if (!warned) log?.warn({ kind, maxNames }, 'There are more callers than can be counted: the limits of /mcp are not exact in this minute')
    warned = true
  }

  function startTicking (): void {
    if (!closed) stopTicking ??= every(TICK_MS, tick)
  }

  function tick (): void {
    turnWindow()
    waitingGauges = waitingGauges.filter(settleGauge)
    if (now() - countsToldAt >= COUNTS_MS) {
      countsToldAt = now()
      for (const entry of waitingCounts) {
        entry.waiting = false
        if (entry.own !== entry.told && entry.told < entry.of.limit) tell(entry, entry.own)
      }
      waitingCounts = []
    }
    if (waitingGauges.length + waitingCounts.length === 0) {
      stopTicking?.()
      stopTicking = undefined
    }
    if (pending.length > 0) flush()
  }

  /** Tells as much of a gauge as has held since the last tick; true when there is more to come. */
  function settleGauge (entry: GaugeEntry): boolean {
    if (entry.least !== entry.told) tell(entry, entry.least)
    entry.least = entry.own
    entry.waiting = entry.own !== entry.told
    drop(entry)
    return entry.waiting
  }

  function drop (entry: GaugeEntry): void {
    if (entry.own === 0 && entry.others === 0 && !entry.waiting) entry.of.entries.delete(entry.name)
  }

  function tell (entry: GaugeEntry | CountEntry, value: number): void {
    entry.told = value
    pending.push([entry.of.kind, entry.name, value])
  }

  /** Of two replicas each may leave a tenth untold of a small count and a twentieth of a larger one; of more, less. */
  function share (of: number): number {
    return Math.max(1, Math.floor(of / Math.max(2, replicas.size + 1)))
  }

  /** The count has become large, has grown by a step or is at its limit: that is told at the end of this turn. */
  function step (entry: CountEntry): void {
    const { limit, large } = entry.of
    large.add(entry)
    tell(entry, entry.own)
    entry.next = entry.own >= limit ? Infinity : Math.min(limit, entry.own + share(limit / 10))
    schedule()
  }

  function keepInTouch (): void {
    turnWindow()
    for (const [id, heardAt] of replicas) {
      if (now() - heardAt > MISSED_BEATS * BEAT_MS) forget(id)
    }
    tellsAll = true
    flush()
  }

  /** Messages may have been missed, or another kind is counted from now on: all tell each other everything. */
  function greet (): void {
    tellsAll = true
    asks = true
    schedule()
  }

  function schedule (): void {
    if (scheduled || closed) return
    scheduled = true
    setImmediate(flush)
  }

  function flush (): void {
    scheduled = false
    if (!closed) publish().catch(() => {})
  }

  /** Who is alone tells nothing but its presence. Rejects while the store is away; the next beat tells what was lost. */
  async function publish (): Promise<void> {
    const [whole, asking, told] = [tellsAll, asks, tellsAll ? everything() : pending]
    pending = []
    tellsAll = false
    asks = false
    if (whole) beat++
    else if (replicas.size === 0) return
    const parts = []
    do parts.push(told.splice(0, MAX_TOLD))
    while (told.length > 0)
    await Promise.all(parts.map((part, index) => {
      const last = index === parts.length - 1
      return store.publish(CHANNEL, JSON.stringify({ from: replicaId, beat, window, whole: whole && last, asks: asking && last, told: part } satisfies Message))
    }))
  }

  function everything (): Message['told'] {
    const told: Message['told'] = []
    for (const { kind, entries } of gauges.values()) {
      if (closed) break
      for (const entry of entries.values()) if (entry.told > 0) told.push([kind, entry.name, entry.told])
    }
    for (const { kind, large } of counts.values()) {
      for (const entry of large) told.push([kind, entry.name, entry.told])
    }
    return told
  }

  /** What is no message of Seed's, of another version for instance, is ignored. */
  function hear (text: string): void {
    const message = closed ? undefined : read(text)
    if (message === undefined || message.from === replicaId) return
    if (!replicas.has(message.from) && replicas.size >= MAX_REPLICAS) return
    replicas.set(message.from, now())
    turnWindow()
    for (const [kind, name, value] of message.told) {
      const gauge = gauges.get(kind)
      const count = counts.get(kind)
      if (gauge !== undefined) hearGauge(gauge, name, value, message)
      else if (count !== undefined && message.window === window) hearCount(count, name, value, message)
    }
    if (message.whole) forget(message.from, message.beat)
    if (message.asks) {
      tellsAll = true
      schedule()
    }
  }

  function hearGauge (of: GaugeKind, name: string, value: number, { from, beat }: Message): void {
    const entry = of.entries.get(name) ?? (value > 0 ? openGauge(of, name) : undefined)
    if (entry === undefined) return
    entry.others += value - (entry.by?.get(from)?.value ?? 0)
    if (value > 0) (entry.by ??= new Map()).set(from, { value, beat })
    else entry.by?.delete(from)
    drop(entry)
  }

  /** Within its minute a count only grows. */
  function hearCount (of: CountKind, name: string, value: number, { from, beat }: Message): void {
    const entry = of.entries.get(name) ?? (of.entries.size < maxNames ? openCount(of, name) : undefined)
    const known = entry?.by?.get(from)?.value ?? 0
    if (entry === undefined || value <= known) return
    entry.others += value - known
    entry.by ??= new Map()
    entry.by.set(from, { value, beat })
  }

  /**
   * Forgets the gauges of another replica: of one that was heard in `beat`, those that it did not tell in it, otherwise
   * all, and the replica too. What it counted in this minute has happened and stays.
   */
  function forget (id: string, beat?: number): void {
    if (beat === undefined) replicas.delete(id)
    for (const { entries } of gauges.values()) {
      for (const entry of entries.values()) {
        const known = entry.by?.get(id)
        if (known === undefined || known.beat === beat) continue
        entry.by!.delete(id)
        entry.others -= known.value
        drop(entry)
      }
    }
  }

  function openGauge (of: GaugeKind, name: string): GaugeEntry | undefined {
    if (of.entries.size >= maxNames) {
      warnOfNames(of.kind)
      return undefined
    }
    const entry: GaugeEntry = { name, own: 0, told: 0, others: 0, by: undefined, waiting: false, of, least: 0 }
    of.entries.set(name, entry)
    return entry
  }

  function openCount (of: CountKind, name: string): CountEntry {
    const entry: CountEntry = { name, own: 0, told: 0, others: 0, by: undefined, waiting: false, of, next: share(of.limit / 5) }
    of.entries.set(name, entry)
    return entry
  }

  function forgetOldest (of: CountKind): void {
    warnOfNames(of.kind)
    const [name, entry] = of.entries.entries().next().value!
    of.entries.delete(name)
    of.large.delete(entry)
  }

  return {
    gauge (kind) {
      const of: GaugeKind = { kind, entries: new Map() }
      gauges.set(kind, of)
      greet()
      return {
        add (name, by) {
          const entry = of.entries.get(name) ?? (by > 0 ? openGauge(of, name) : undefined)
          if (entry === undefined) return
          if (!entry.waiting) {
            entry.waiting = true
            entry.least = entry.own
            waitingGauges.push(entry)
            startTicking()
          }
          entry.own = Math.max(0, entry.own + by)
          entry.least = Math.min(entry.least, entry.own)
        },

        total (name) {
          const entry = of.entries.get(name)
          if (entry === undefined) return of.entries.size < maxNames ? 0 : Infinity
          return entry.own + entry.others
        }
      }
    },

    count (kind, limit) {
      const of: CountKind = { kind, limit, entries: new Map(), large: new Set() }
      counts.set(kind, of)
      greet()
      return {
        add (name) {
          turnWindow()
          let entry = of.entries.get(name)
          if (entry === undefined) {
            if (of.entries.size >= maxNames) forgetOldest(of)
            entry = openCount(of, name)
          }
          entry.own++
          if (entry.own >= entry.next) step(entry)
          else if (!entry.waiting && entry.told > 0 && entry.told < limit) {
            entry.waiting = true
            waitingCounts.push(entry)
            startTicking()
          }
        },

        total (name) {
          turnWindow()
          const entry = of.entries.get(name)
          return entry === undefined ? 0 : entry.own + entry.others
        },

        secondsLeft () {
          return Math.ceil((WINDOW_MS - wallClock() % WINDOW_MS) / 1_000)
        }
      }
    },

    async close () {
      if (closed) return
      closed = true
      stopBeating()
      stopTicking?.()
      tellsAll = true
      await publish().catch(() => {})
    }
  }
}

function read (text: string): Message | undefined {
  if (text.length > MAX_MESSAGE) return undefined
  try {
    const message: unknown = JSON.parse(text)
    return messages.Check(message) ? message : undefined
  } catch {
    return undefined
  }
}

function repeat (ms: number, act: () => void): () => void {
  const timer = setInterval(act, ms).unref()
  return () => { clearInterval(timer) }
}
