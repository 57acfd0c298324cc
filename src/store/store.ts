/**
 * The store: everything Seed must remember across requests and replicas.
 *
 * One contract, two implementations (memory.ts, redis.ts), one contract suite for both
 * (test/store/contract.ts). Values are strings; callers encode JSON. Keys come from keys.ts.
 */
export interface Store {
  readonly kind: 'memory' | 'redis'

  /** The value under `key`, or undefined when it is absent or expired. */
  get (key: string): Promise<string | undefined>

  /** Writes `value`, replacing what was there; it is gone after `ttlSeconds` (a positive integer). */
  set (key: string, value: string, ttlSeconds: number): Promise<void>

  /** Atomic: writes only where nothing lives under `key`. True for exactly one of any number of concurrent callers. */
  setIfAbsent (key: string, value: string, ttlSeconds: number): Promise<boolean>

  /** Atomic read and delete: of any number of concurrent callers exactly one gets the value, the others undefined. */
  take (key: string): Promise<string | undefined>

  /** Atomic read that restarts the value's time to live (sliding expiry); undefined when absent, and then nothing is written. */
  touch (key: string, ttlSeconds: number): Promise<string | undefined>

  /** Removes `key`; true when something was there. */
  delete (key: string): Promise<boolean>

  /**
   * Atomic counter in a fixed window: the first increment opens a window of `ttlSeconds`, later ones do not prolong it.
   * Gives the count including this one and the whole seconds until the window ends (at least 1).
   */
  increment (key: string, ttlSeconds: number): Promise<{ count: number, resetSeconds: number }>

  /** Resolves when the store can serve reads and writes now. */
  ping (): Promise<void>

  /** Releases what the implementation opened; resolves within two seconds whatever the other side does. */
  close (): Promise<void>
}

/**
 * Every method above rejects with this, and only this, when the store cannot answer.
 * It never means "not found": the wire answer is 503 with Retry-After.
 */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError'
  /** What to tell a client in Retry-After. */
  readonly retryAfterSeconds = 1

  constructor (cause?: unknown) {
    super('The store (REDIS_URL) does not answer', { cause })
  }
}
