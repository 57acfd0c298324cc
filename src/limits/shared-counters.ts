import type { Log } from '../logging/log.ts'
import { Counter } from './shared-counter.ts'
import type { FamilyHost } from './family-host.ts'
import { Gauge } from './shared-gauge.ts'
import { Gossip } from './gossip.ts'
import type { GossipStore, Message, Value } from './gossip.ts'
import { MinuteWindow } from './minute-window.ts'

/** A gauge is announced at the second tick after its change: 12 to 24 ms later. */
const TICK_MS = 12
/** Longest delay of a counter's growth between two steps. */
const COUNTERS_MS = 250
const MAX_NAMES = 100_000

export interface SharedCountersOptions {
  /** At most 64 characters; another one for each process, also after a restart. */
  replicaId: string
  log?: Pick<Log, 'warn'>
  /** Monotonic milliseconds. */
  now?: () => number
  /** Milliseconds since the epoch. */
  wallClock?: () => number
  /** Repeats an act without keeping the process alive; returns the function that stops it. */
  every?: (ms: number, act: () => void) => () => void
  /** Maximum of names in one family, those of other replicas included. */
  maxNames?: number
}

/**
 * Numbers that all replicas count together without waiting for anybody: each has its own value and the last value that
 * it heard of each other replica (gossip.ts). While the store is away each replica counts for itself.
 *
 * A total lacks only what the others have not announced yet: changes of gauges in the last 25 ms; of counters a tenth
 * of the limit over all replicas together (a fifth, while the count is small on most of them).
 */
export type SharedCounters = ReturnType<typeof createSharedCounters>

/** Starts at once; declare the families right after. */
export function createSharedCounters (
  store: GossipStore,
  options: SharedCountersOptions
) {
  const { replicaId, log, now = () => performance.now(), wallClock = Date.now } = options
  const { every = repeat, maxNames = MAX_NAMES } = options
  const gauges = new Map<string, Gauge>()
  const counters = new Map<string, Counter>()
  const minute = new MinuteWindow(wallClock, forgetMinute)
  let warned = false
  let countersSentAt = -Infinity
  let stopTicking: (() => void) | undefined
  let closed = false

  const gossip = new Gossip(store, { replicaId, now, every }, { minute, snapshot, receive, forget })
  const host: FamilyHost = { gossip, minute, maxNames, startTicking, warnOfNames }

  function forgetMinute (): void {
    warned = false
    gossip.withdraw(([family]) => counters.has(family))
    for (const counter of counters.values()) counter.reset()
  }

  function warnOfNames (family: string): void {
    if (warned) return
    warned = true
    log?.warn({ event: 'limits.inexact', family, maxNames },
      'Too many callers to count: the limits of /mcp are inexact in this minute')
  }

  function startTicking (): void {
    if (!closed) stopTicking ??= every(TICK_MS, tick)
  }

  function tick (): void {
    minute.current()
    let isWaiting = false
    for (const gauge of gauges.values()) isWaiting = gauge.tick() || isWaiting
    const countersDue = now() - countersSentAt >= COUNTERS_MS
    if (countersDue) countersSentAt = now()
    for (const counter of counters.values()) {
      if (countersDue) counter.tick()
      isWaiting ||= counter.isWaiting
    }
    if (!isWaiting) {
      stopTicking?.()
      stopTicking = undefined
    }
    gossip.flush()
  }

  /** Once closed, nothing is going on here, but what happened in this minute has happened. */
  function snapshot (): Value[] {
    const values: Value[] = []
    for (const family of closed ? [] : gauges.values()) values.push(...family.snapshot())
    for (const family of counters.values()) values.push(...family.snapshot())
    return values
  }

  function receive (message: Message): void {
    const isThisMinute = message.window === minute.current()
    for (const [family, name, value] of message.values) {
      gauges.get(family)?.receive(name, value, message)
      if (isThisMinute) counters.get(family)?.receive(name, value, message)
    }
  }

  function forget (replica: string, exceptHeartbeat?: number): void {
    for (const gauge of gauges.values()) gauge.forget(replica, exceptHeartbeat)
  }

  return {
    /**
     * Declares numbers of what is going on, such as calls.
     *
     * @param family at most 32 characters, the same on all replicas
     */
    gauge (family: string): Gauge {
      const gauge = new Gauge(family, host)
      gauges.set(family, gauge)
      gossip.exchangeSnapshots()
      return gauge
    },

    /**
     * Declares numbers of what happens in a minute, such as requests.
     *
     * @param family at most 32 characters, the same on all replicas
     * @param limit the total that matters: it decides how often a count is announced
     */
    counter (family: string, limit: number): Counter {
      const counter = new Counter(family, limit, host)
      counters.set(family, counter)
      gossip.exchangeSnapshots()
      return counter
    },

    /** Stops, and announces that nothing is going on here any more. Resolves when that is sent or the store is away. */
    async close (): Promise<void> {
      if (closed) return
      closed = true
      stopTicking?.()
      await gossip.close()
    }
  }
}

function repeat (ms: number, act: () => void): () => void {
  const timer = setInterval(act, ms).unref()
  return () => { clearInterval(timer) }
}
