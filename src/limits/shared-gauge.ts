import type { FamilyHost } from './family-host.ts'
import type { Message, Value } from './gossip.ts'

interface Entry {
  name: string
  /** This replica's value. */
  local: number
  /** The value that the other replicas know of this one. */
  lastSent: number
  /** The sum of the other replicas' values. */
  remote: number
  byReplica: Map<string, { value: number, heartbeat: number }> | undefined
  isWaiting: boolean
  /** The lowest local value since the last tick. */
  lowest: number
}

/**
 * Numbers of what is going on now, such as calls, over all replicas.
 *
 * A change is announced at the second tick after it, and only as much as has held since the tick before: calls that are
 * shorter than that cost no message.
 */
export class Gauge {
  readonly #family: string
  readonly #host: FamilyHost
  readonly #entries = new Map<string, Entry>()
  #waiting: Entry[] = []

  constructor (family: string, host: FamilyHost) {
    this.#family = family
    this.#host = host
  }

  /** Changes this replica's value, which never falls below 0. Does nothing if there is no room for the name. */
  add (name: string, by: number): void {
    const entry = this.#entries.get(name) ?? (by > 0 ? this.#openEntry(name) : undefined)
    if (entry === undefined) return
    if (!entry.isWaiting) {
      entry.isWaiting = true
      entry.lowest = entry.local
      this.#waiting.push(entry)
      this.#host.startTicking()
    }
    entry.local = Math.max(0, entry.local + by)
    entry.lowest = Math.min(entry.lowest, entry.local)
  }

  /**
   * Returns the sum over all replicas; Infinity for a name without room, which must be refused as it is not counted.
   */
  total (name: string): number {
    const entry = this.#entries.get(name)
    if (entry === undefined) return this.#entries.size < this.#host.maxNames ? 0 : Infinity
    return entry.local + entry.remote
  }

  /** Returns the sum of this replica's own values. */
  localTotal (): number {
    let sum = 0
    for (const { local } of this.#entries.values()) sum += local
    return sum
  }

  /** Announces what has held since the last tick; returns whether there is more to come. */
  tick (): boolean {
    this.#waiting = this.#waiting.filter((entry) => {
      if (entry.lowest !== entry.lastSent) {
        entry.lastSent = entry.lowest
        this.#host.gossip.announce(this.#family, entry.name, entry.lowest)
      }
      entry.lowest = entry.local
      entry.isWaiting = entry.local !== entry.lastSent
      this.#deleteIfIdle(entry)
      return entry.isWaiting
    })
    return this.#waiting.length > 0
  }

  /** Returns the values that the other replicas must know. */
  snapshot (): Value[] {
    const known = [...this.#entries.values()].filter(({ lastSent }) => lastSent > 0)
    return known.map(({ name, lastSent }) => [this.#family, name, lastSent])
  }

  receive (name: string, value: number, { from, heartbeat }: Message): void {
    const entry = this.#entries.get(name) ?? (value > 0 ? this.#openEntry(name) : undefined)
    if (entry === undefined) return
    entry.remote += value - (entry.byReplica?.get(from)?.value ?? 0)
    if (value > 0) (entry.byReplica ??= new Map()).set(from, { value, heartbeat })
    else entry.byReplica?.delete(from)
    this.#deleteIfIdle(entry)
  }

  /** Forgets the values of a replica: those that were not in heartbeat number `exceptHeartbeat`, or all. */
  forget (replicaId: string, exceptHeartbeat: number | undefined): void {
    for (const entry of this.#entries.values()) {
      const known = entry.byReplica?.get(replicaId)
      if (known === undefined || known.heartbeat === exceptHeartbeat) continue
      entry.byReplica!.delete(replicaId)
      entry.remote -= known.value
      this.#deleteIfIdle(entry)
    }
  }

  #openEntry (name: string): Entry | undefined {
    if (this.#entries.size >= this.#host.maxNames) {
      this.#host.warnOfNames(this.#family)
      return undefined
    }
    const entry: Entry = { name, local: 0, lastSent: 0, remote: 0, byReplica: undefined, isWaiting: false, lowest: 0 }
    this.#entries.set(name, entry)
    return entry
  }

  #deleteIfIdle ({ name, local, remote, isWaiting }: Entry): void {
    if (local === 0 && remote === 0 && !isWaiting) this.#entries.delete(name)
  }
}
