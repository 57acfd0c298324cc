import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { FastifyRequest } from 'fastify'
import { LRUCache } from 'lru-cache'
import { digest } from '../crypto/hash.ts'
import { keys } from '../store/keys.ts'
import { StoreUnavailableError } from '../store/store.ts'
import type { Store } from '../store/store.ts'

/**
 * Counts a request under a key: a client id, an address, a person.
 * @throws LimitError
 */
export type LimitByKey = (request: FastifyRequest, key: string) => Promise<void>

export interface RateLimitStoreOptions {
  /** Counts in this process only, without the store. */
  local?: boolean
}

/** Keys that one replica counts by itself at most; the least recently used are forgotten first. */
const MAX_LOCAL_KEYS = 100_000

type Done = Parameters<FastifyRateLimitStore['incr']>[1]

/**
 * A store for @fastify/rate-limit: fixed windows counted in Seed's store, for all replicas together. While the store is
 * away each replica counts for itself, so nobody is ever unlimited. Only the SHA-256 of a key is kept.
 *
 * @param now wall clock in milliseconds
 */
export function createRateLimitStore (
  store: Store, { maxLocalKeys = MAX_LOCAL_KEYS, now = Date.now }: { maxLocalKeys?: number, now?: () => number } = {}
): FastifyRateLimitStoreCtor {
  let local: LRUCache<string, { count: number, resetAt: number }> | undefined

  function countLocally (key: string, windowMs: number): { current: number, ttl: number } {
    // Made when first needed: the room for its keys is taken at once.
    local ??= new LRUCache({ max: maxLocalKeys })
    const known = local.get(key)
    const window = known !== undefined && known.resetAt > now() ? known : { count: 0, resetAt: now() + windowMs }
    window.count++
    local.set(key, window)
    return { current: window.count, ttl: window.resetAt - now() }
  }

  async function count (key: string, windowMs: number): Promise<{ current: number, ttl: number }> {
    try {
      const { count, resetSeconds } = await store.increment(keys.limit(digest(key)), windowMs / 1_000)
      return { current: count, ttl: resetSeconds * 1_000 }
    } catch (err) {
      if (err instanceof StoreUnavailableError) return countLocally(key, windowMs)
      throw err
    }
  }

  return class SharedWindows implements FastifyRateLimitStore {
    readonly #local: boolean

    constructor ({ local = false }: RateLimitStoreOptions) {
      this.#local = local
    }

    incr (key: string, done: Done, windowMs: number): void {
      if (this.#local) done(null, countLocally(key, windowMs))
      else count(key, windowMs).then((result) => { done(null, result) }, (err: Error) => { done(err) })
    }

    child (options: object): FastifyRateLimitStore {
      return new SharedWindows(options)
    }
  }
}
