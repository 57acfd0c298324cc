import type { FamilyHost } from './family-host.ts'
import type { Message, Value } from './gossip.ts'

interface Entry {
  name: string
  /** This replica's count. */
  local: number
  /** The count that the other replicas know of this one. */
  lastSent: number
  /** The sum of the other replicas' counts. */
  remote: number
  byReplica: Map<string, number> | undefined
  isWaiting: boolean
  /** The local count that is announced at once. The first is so high that most callers cost no message. */
  nextStep: number
}

/**
 * Numbers of what happened in this minute, such as requests, over all replicas. The minute is that of the wall clock,
 * so all replicas mean the same one.
 *
 * A count is announced when it has become large enough to matter, then at each step of growth, and in between every
 * quarter of a second. Beyond the limit nothing needs to be announced.
 */
export class Counter {
  readonly #family: string
  readonly #limit: number
  readonly #host: FamilyHost
  #entries = new Map<string, Entry>()
  #announced = new Set<Entry>()
  #waiting: Entry[] = []

  /** @param limit the total that matters: it decides how often the count is announced */
  constructor (family: string, limit: number, host: FamilyHost) {
    this.#family = family
    this.#limit = limit
    this.#host = host
  }

  /** Adds to a count. If there is no room for another name, the oldest is forgotten. */
  add (name: string, by = 1): void {
    this.#host.minute.current()
    const entry = this.#entries.get(name) ?? this.#openEntry(name)
    entry.local += by
    if (entry.local >= entry.nextStep) {
      this.#announceGrowth(entry)
    } else if (!entry.isWaiting && entry.lastSent > 0 && entry.lastSent < this.#limit) {
      entry.isWaiting = true
      this.#waiting.push(entry)
      this.#host.startTicking()
    }
  }

  /** Returns the sum over all replicas. */
  total (name: string): number {
    this.#host.minute.current()
    const entry = this.#entries.get(name)
    return entry === undefined ? 0 : entry.local + entry.remote
  }

  /** Returns the seconds until the minute is over: 1 to 60. */
  secondsLeft (): number {
    return this.#host.minute.secondsLeft()
  }

  get isWaiting (): boolean {
    return this.#waiting.length > 0
  }

  /** Announces the counts that grew since the last tick. */
  tick (): void {
    for (const entry of this.#waiting) {
      entry.isWaiting = false
      if (entry.local !== entry.lastSent && entry.lastSent < this.#limit) this.#announce(entry)
    }
    this.#waiting = []
  }

  /** Forgets all counts, at the end of the minute. */
  reset (): void {
    this.#entries = new Map()
    this.#announced = new Set()
    this.#waiting = []
  }

  /** Returns the counts that the other replicas must know. */
  snapshot (): Value[] {
    return [...this.#announced].map(({ name, lastSent }) => [this.#family, name, lastSent])
  }

  /** Within its minute a count only grows, and what a replica has counted stays when it is gone. */
  receive (name: string, value: number, { from }: Message): void {
    if (!this.#entries.has(name) && this.#entries.size >= this.#host.maxNames) return
    const entry = this.#entries.get(name) ?? this.#openEntry(name)
    const known = entry.byReplica?.get(from) ?? 0
    if (value <= known) return
    entry.remote += value - known
    entry.byReplica ??= new Map()
    entry.byReplica.set(from, value)
  }

  #announceGrowth (entry: Entry): void {
    this.#announced.add(entry)
    this.#announce(entry)
    const next = Math.min(this.#limit, entry.local + this.#share(this.#limit / 10))
    entry.nextStep = entry.local >= this.#limit ? Infinity : next
    this.#host.gossip.scheduleFlush()
  }

  #announce (entry: Entry): void {
    entry.lastSent = entry.local
    this.#host.gossip.announce(this.#family, entry.name, entry.local)
  }

  /**
   * Each replica's part of `amount`. Of two replicas each may leave a tenth of the limit unannounced, later a
   * twentieth.
   */
  #share (amount: number): number {
    return Math.max(1, Math.floor(amount / Math.max(2, this.#host.gossip.otherReplicas + 1)))
  }

  #openEntry (name: string): Entry {
    if (this.#entries.size >= this.#host.maxNames) this.#forgetOldest()
    const nextStep = this.#share(this.#limit / 5)
    const entry: Entry = { name, local: 0, lastSent: 0, remote: 0, byReplica: undefined, isWaiting: false, nextStep }
    this.#entries.set(name, entry)
    return entry
  }

  #forgetOldest (): void {
    this.#host.warnOfNames(this.#family)
    const [name, entry] = this.#entries.entries().next().value!
    this.#entries.delete(name)
    this.#announced.delete(entry)
  }
}
