import type { Log } from '../logging/log.ts'
import { createRecordReports } from './record.ts'
import { StoreUnavailableError } from './store.ts'
import type { Store } from './store.ts'

const MAX_KEYS = 100_000
const SWEEP_MS = 60_000

export interface MemoryStoreOptions {
  /** Milliseconds since the epoch. */
  now?: () => number
  /** The most records. As many counters have room beside them. */
  maxKeys?: number
  /** Without it, unreadable values are ignored in silence. */
  log?: Pick<Log, 'warn'>
}

interface Entry {
  /** A log has the number of its newest entry here, a set nothing. */
  value: string
  expiresAt: number
  /** The members of a set, each with the millisecond in which it expires. */
  members?: Map<string, number>
  /** The entries of a log, the newest last. */
  log?: string[]
}

/**
 * The store of a single process: nothing survives a restart and nothing is shared between replicas.
 *
 * Each method does its work before its first await, so the event loop makes it atomic.
 */
export function createMemoryStore ({ now = Date.now, maxKeys = MAX_KEYS, log }: MemoryStoreOptions = {}): Store {
  const entries = new Entries(now, maxKeys)
  const subscribers = new Map<string, Array<(message: string) => void>>()

  return {
    kind: 'memory',
    ...createRecordReports(log, now),

    async get (key) {
      return entries.find(key)?.value
    },

    async set (key, value, ttlSeconds, options) {
      entries.write(key, value, ttlSeconds, options)
    },

    async setIfAbsent (key, value, ttlSeconds) {
      if (entries.find(key) !== undefined) return false
      entries.write(key, value, ttlSeconds)
      return true
    },

    async take (key) {
      const entry = entries.find(key)
      entries.delete(key)
      return entry?.value
    },

    async touch (key, ttlSeconds) {
      const entry = entries.find(key)
      if (entry !== undefined) entry.expiresAt = entries.expiryAfter(ttlSeconds)
      return entry?.value
    },

    async compareAndSet (key, expected, value, ttlSeconds) {
      if (entries.find(key)?.value !== expected) return false
      entries.write(key, value, ttlSeconds)
      return true
    },

    async delete (key) {
      return entries.find(key) !== undefined && entries.delete(key)
    },

    async increment (key, ttlSeconds) {
      const entry = entries.find(key)
      if (entry === undefined) {
        entries.writeCounter(key, '1', ttlSeconds)
        return { count: 1, resetSeconds: ttlSeconds }
      }
      const count = Number(entry.value) + 1
      if (!Number.isSafeInteger(count)) throw new StoreUnavailableError(new TypeError('The value is not a count'))
      entry.value = String(count)
      return { count, resetSeconds: Math.ceil((entry.expiresAt - now()) / 1000) }
    },

    async addMember (key, member, ttlSeconds) {
      entries.addMember(key, member, ttlSeconds, Infinity)
    },

    async members (key) {
      return [...entries.find(key)?.members ?? []].filter(([, until]) => until > now()).map(([member]) => member)
    },

    async countMembers (key) {
      return (await this.members(key)).length
    },

    async addMemberWithin (key, member, ttlSeconds, max) {
      return entries.addMember(key, member, ttlSeconds, max)
    },

    async removeMember (key, member) {
      const { members } = entries.find(key) ?? {}
      if (members?.delete(member) && members.size === 0) entries.delete(key)
    },

    async append (key, value, options) {
      return entries.append(key, value, options)
    },

    async entries (key, after) {
      const { value = '0', log = [] } = entries.find(key) ?? {}
      const newest = Number(value)
      const numbered = log.map((text, index): [number, string] => [newest - log.length + 1 + index, text])
      return { entries: numbered.filter(([number]) => number > after), newest }
    },

    async * scan (prefix) {
      yield entries.keys(prefix)
    },

    async publish (channel, message) {
      entries.checkOpen()
      for (const onMessage of subscribers.get(channel) ?? []) onMessage(message)
    },

    subscribe (channel, onMessage, onGap) {
      subscribers.set(channel, [...subscribers.get(channel) ?? [], onMessage])
      onGap()
    },

    async ping () {
      entries.checkOpen()
      entries.checkRoom()
    },

    async ready () {},

    async close () {
      entries.close()
    }
  }
}

/**
 * Entries that expire. Their number is bounded and fails closed: a full store refuses a new key instead of evicting an
 * old one, which may be the mark that says "this code was already spent".
 *
 * Counters have room of their own, so that a flood of requests, each from another address, cannot crowd out records.
 * When it is full, the oldest counter is forgotten.
 */
class Entries {
  readonly #now: () => number
  readonly #maxKeys: number
  readonly #entries = new Map<string, Entry>()
  readonly #counters = new Map<string, Entry>()
  readonly #sweeping = setInterval(() => { this.#sweep() }, SWEEP_MS).unref()
  /** No entry expires before this, so that a full store does not sweep in vain for each write of a flood. */
  #nextExpiry = Infinity
  #closed = false

  constructor (now: () => number, maxKeys: number) {
    this.#now = now
    this.#maxKeys = maxKeys
  }

  find (key: string): Entry | undefined {
    this.checkOpen()
    const entry = this.#entries.get(key) ?? this.#counters.get(key)
    if (entry === undefined || this.#now() < entry.expiresAt) return entry
    this.delete(key)
  }

  keys (prefix: string): string[] {
    this.checkOpen()
    const known = [...this.#entries.keys(), ...this.#counters.keys()]
    return known.filter((key) => key.startsWith(prefix) && this.find(key) !== undefined)
  }

  write (key: string, value: string, ttlSeconds: number, { evenIfFull = false } = {}): void {
    this.checkOpen()
    const expiresAt = this.expiryAfter(ttlSeconds)
    if (!evenIfFull && !this.#entries.has(key)) this.checkRoom()
    this.#counters.delete(key)
    this.#entries.set(key, { value, expiresAt })
  }

  writeCounter (key: string, value: string, ttlSeconds: number): void {
    const expiresAt = this.expiryAfter(ttlSeconds)
    if (this.#counters.size >= this.#maxKeys) this.#counters.delete(this.#counters.keys().next().value!)
    this.#counters.set(key, { value, expiresAt })
  }

  delete (key: string): boolean {
    return this.#entries.delete(key) || this.#counters.delete(key)
  }

  addMember (key: string, member: string, ttlSeconds: number, max: number): boolean {
    const entry = this.find(key)
    const until = this.expiryAfter(ttlSeconds)
    const members = entry?.members ?? new Map<string, number>()
    for (const [other, expiresAt] of members) {
      if (expiresAt <= this.#now()) members.delete(other)
    }
    if (members.size - Number(members.has(member)) >= max) return false
    if (entry === undefined) this.checkRoom()
    members.set(member, Math.max(until, members.get(member) ?? 0))
    this.#entries.set(key, { value: '', members, expiresAt: Math.max(until, entry?.expiresAt ?? 0) })
    return true
  }

  append (key: string, value: string, options: Parameters<Store['append']>[2]): number {
    const { ttlSeconds, maxEntries, expectedNumber } = options
    const entry = this.find(key)
    const expiresAt = this.expiryAfter(ttlSeconds)
    const number = Number(entry?.value ?? 0) + 1
    if (expectedNumber !== undefined && expectedNumber !== number) return number - 1
    if (entry === undefined) this.checkRoom()
    const log = [...entry?.log ?? [], value]
    this.#entries.set(key, { value: String(number), log: log.slice(Math.max(0, log.length - maxEntries)), expiresAt })
    return number
  }

  /** Refuses what Redis refuses: a counter that never expires would lock somebody out for ever. */
  expiryAfter (ttlSeconds: number): number {
    if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1) {
      throw new StoreUnavailableError(new RangeError(`A time to live must be a positive integer, not ${ttlSeconds}`))
    }
    const expiresAt = this.#now() + ttlSeconds * 1000
    this.#nextExpiry = Math.min(this.#nextExpiry, expiresAt)
    return expiresAt
  }

  checkOpen (): void {
    if (this.#closed) throw new StoreUnavailableError(new Error('The memory store is closed'))
  }

  checkRoom (): void {
    if (this.#entries.size < this.#maxKeys) return
    this.#sweep()
    if (this.#entries.size < this.#maxKeys) return
    throw new StoreUnavailableError(new Error(`The memory store has ${this.#maxKeys} keys and is full`))
  }

  close (): void {
    this.#closed = true
    clearInterval(this.#sweeping)
    this.#entries.clear()
    this.#counters.clear()
  }

  #sweep (): void {
    const time = this.#now()
    if (time < this.#nextExpiry) return
    this.#nextExpiry = Infinity
    for (const entries of [this.#entries, this.#counters]) {
      for (const [key, { expiresAt }] of entries) {
        if (expiresAt <= time) entries.delete(key)
        else this.#nextExpiry = Math.min(this.#nextExpiry, expiresAt)
      }
    }
  }
}
