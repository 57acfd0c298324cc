import { StoreUnavailableError } from './store.ts'
import type { Store } from './store.ts'

const MAX_KEYS = 100_000
const SWEEP_MS = 60_000

export interface MemoryStoreOptions {
  /** Milliseconds, as Date.now gives them. */
  now?: () => number
  maxKeys?: number
}

interface Entry {
  /** Of a log the number of its newest entry, of a set nothing. */
  value: string
  expiresAt: number
  /** Of a set: each member with the millisecond in which it leaves. */
  members?: Map<string, number>
  /** Of a log: its entries, the newest last. */
  log?: string[]
}

/**
 * The store of a single process: nothing survives a restart and nothing is shared between replicas.
 *
 * Each method does its work before its first await, so the event loop makes it atomic. It is bounded and fails
 * closed: a full store refuses a new key instead of evicting an old one, because what it would evict may be the mark
 * that says "this code was already spent".
 */
export function createMemoryStore ({ now = Date.now, maxKeys = MAX_KEYS }: MemoryStoreOptions = {}): Store {
  const entries = new Map<string, Entry>()
  const subscribers = new Map<string, Array<(message: string) => void>>()
  /** No entry expires before this, so a full store under a flood of writes does not sweep in vain for each of them. */
  let nextExpiry = Infinity
  let closed = false

  const sweepTimer = setInterval(sweep, SWEEP_MS).unref()

  function sweep (): void {
    const time = now()
    if (time < nextExpiry) return
    nextExpiry = Infinity
    for (const [key, { expiresAt }] of entries) {
      if (expiresAt <= time) entries.delete(key)
      else nextExpiry = Math.min(nextExpiry, expiresAt)
    }
  }

  function checkOpen (): void {
    if (closed) throw new StoreUnavailableError(new Error('The memory store is closed'))
  }

  function checkRoom (): void {
    if (entries.size < maxKeys) return
    sweep()
    if (entries.size >= maxKeys) throw new StoreUnavailableError(new Error(`The memory store holds ${maxKeys} keys and is full`))
  }

  function find (key: string): Entry | undefined {
    checkOpen()
    const entry = entries.get(key)
    if (entry === undefined || now() < entry.expiresAt) return entry
    entries.delete(key)
  }

  /** The same refusal as Redis gives: a counter without an end would lock somebody out for ever. */
  function expiryAfter (ttlSeconds: number): number {
    if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1) throw new StoreUnavailableError(new RangeError(`A time to live is a positive integer, not ${ttlSeconds}`))
    const expiresAt = now() + ttlSeconds * 1000
    nextExpiry = Math.min(nextExpiry, expiresAt)
    return expiresAt
  }

  function write (key: string, value: string, ttlSeconds: number): void {
    const expiresAt = expiryAfter(ttlSeconds)
    if (!entries.has(key)) checkRoom()
    entries.set(key, { value, expiresAt })
  }

  function admit (key: string, member: string, ttlSeconds: number, most: number): boolean {
    const entry = find(key)
    const until = expiryAfter(ttlSeconds)
    const members = entry?.members ?? new Map<string, number>()
    for (const [other, leavesAt] of members) {
      if (leavesAt <= now()) members.delete(other)
    }
    if (members.size - Number(members.has(member)) >= most) return false
    if (entry === undefined) checkRoom()
    members.set(member, Math.max(until, members.get(member) ?? 0))
    entries.set(key, { value: '', members, expiresAt: Math.max(until, entry?.expiresAt ?? 0) })
    return true
  }

  return {
    kind: 'memory',

    async get (key) {
      return find(key)?.value
    },

    async set (key, value, ttlSeconds) {
      checkOpen()
      write(key, value, ttlSeconds)
    },

    async setIfAbsent (key, value, ttlSeconds) {
      if (find(key) !== undefined) return false
      write(key, value, ttlSeconds)
      return true
    },

    async take (key) {
      const entry = find(key)
      entries.delete(key)
      return entry?.value
    },

    async touch (key, ttlSeconds) {
      const entry = find(key)
      if (entry !== undefined) entry.expiresAt = expiryAfter(ttlSeconds)
      return entry?.value
    },

    async compareAndSet (key, expected, value, ttlSeconds) {
      if (find(key)?.value !== expected) return false
      write(key, value, ttlSeconds)
      return true
    },

    async delete (key) {
      return find(key) !== undefined && entries.delete(key)
    },

    async increment (key, ttlSeconds) {
      const entry = find(key)
      if (entry === undefined) {
        write(key, '1', ttlSeconds)
        return { count: 1, resetSeconds: ttlSeconds }
      }
      const count = Number(entry.value) + 1
      if (!Number.isSafeInteger(count)) throw new StoreUnavailableError(new TypeError('What lies under the key is not a count'))
      entry.value = String(count)
      return { count, resetSeconds: Math.ceil((entry.expiresAt - now()) / 1000) }
    },

    async addMember (key, member, ttlSeconds) {
      admit(key, member, ttlSeconds, Infinity)
    },

    async members (key) {
      return [...find(key)?.members ?? []].filter(([, leavesAt]) => leavesAt > now()).map(([member]) => member)
    },

    async addMemberWithin (key, member, ttlSeconds, most) {
      return admit(key, member, ttlSeconds, most)
    },

    async removeMember (key, member) {
      const { members } = find(key) ?? {}
      if (members?.delete(member) && members.size === 0) entries.delete(key)
    },

    async append (key, value, { ttlSeconds, most, at }) {
      const entry = find(key)
      const expiresAt = expiryAfter(ttlSeconds)
      const newest = Number(entry?.value ?? 0)
      if (at !== undefined && at !== newest + 1) return newest
      if (entry === undefined) checkRoom()
      const log = [...entry?.log ?? [], value]
      entries.set(key, { value: String(newest + 1), log: log.slice(Math.max(0, log.length - most)), expiresAt })
      return newest + 1
    },

    async entries (key, after) {
      const { value = '0', log = [] } = find(key) ?? {}
      const newest = Number(value)
      const numbered = log.map((text, index): [number, string] => [newest - log.length + 1 + index, text])
      return { entries: numbered.filter(([number]) => number > after), newest }
    },

    async publish (channel, message) {
      checkOpen()
      for (const tell of subscribers.get(channel) ?? []) tell(message)
    },

    subscribe (channel, onMessage, onGap) {
      subscribers.set(channel, [...subscribers.get(channel) ?? [], onMessage])
      onGap()
    },

    async ping () {
      checkOpen()
      checkRoom()
    },

    async ready () {},

    async close () {
      closed = true
      clearInterval(sweepTimer)
      entries.clear()
    }
  }
}
