import { HttpError } from '../errors/http-error.ts'

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

  /**
   * Atomic compare-and-set: writes `value` only while exactly `expected` lives under `key`. Of any number of concurrent
   * callers with the same `expected` exactly one gets true. An absent key is never written: what is lost stays lost.
   */
  compareAndSet (key: string, expected: string, value: string, ttlSeconds: number): Promise<boolean>

  /** Removes `key`; true when something was there. */
  delete (key: string): Promise<boolean>

  /**
   * Atomic counter in a fixed window: the first increment opens a window of `ttlSeconds`, later ones do not prolong it.
   * Gives the count including this one and the whole seconds until the window ends (at least 1).
   */
  increment (key: string, ttlSeconds: number): Promise<{ count: number, resetSeconds: number }>

  /** Adds `member` to the set under `key`, where it stays for `ttlSeconds` (at least: a longer stay is not shortened). */
  addMember (key: string, member: string, ttlSeconds: number): Promise<void>

  /** The members whose time has not run out, in no order; empty when there is no such set. */
  members (key: string): Promise<string[]>

  /**
   * Atomic: adds `member`, or prolongs its stay as addMember does, unless `most` others are there already; false then, and
   * nothing is written. Of any number of concurrent callers no more get true than there is room for.
   */
  addMemberWithin (key: string, member: string, ttlSeconds: number, most: number): Promise<boolean>

  /** Takes `member` out of the set; nothing happens when it is not there. */
  removeMember (key: string, member: string): Promise<void>

  /**
   * Atomic: appends `value` to the log under `key` and gives its number: 1 for the first, then without a hole. Entries
   * beyond the newest `most` are dropped; the whole log is gone `ttlSeconds` after the last append, and the next begins at 1.
   *
   * @param options.at the number that the entry must get, for a writer who numbers them: an entry that is there already is
   * not appended again, and one that would leave a hole is not appended at all. Either way the number of the newest is given
   * (0 where there is no log), and what was not appended prolongs nothing.
   */
  append (key: string, value: string, options: { ttlSeconds: number, most: number, at?: number }): Promise<number>

  /**
   * The entries of a log after number `after`, oldest first and without a hole, and the number of the newest (0 where
   * there is no log). Of a log that grows meanwhile they are at least those that were there at the call.
   */
  entries (key: string, after: number): Promise<{ entries: Array<[number: number, value: string]>, newest: number }>

  /** Tells every subscriber of `channel`, on this replica and all others, once; those who are not there now miss it. */
  publish (channel: string, message: string): Promise<void>

  /**
   * Calls `onMessage` for each message published on `channel` from now on, until the store closes. `onGap` is called
   * whenever messages may have been missed: when the subscription begins, and when it is back after a loss.
   */
  subscribe (channel: string, onMessage: (message: string) => void, onGap: () => void): void

  /** Resolves when the store can serve reads and writes now. */
  ping (): Promise<void>

  /**
   * Resolves when the store answers, after a second at the latest: connecting takes a moment, and a request that came in
   * it would be told that Redis is away. A Redis that is away does not hold anything up.
   */
  ready (): Promise<void>

  /** Releases what the implementation opened; resolves within two seconds whatever the other side does. */
  close (): Promise<void>
}

/**
 * Every method above (but `subscribe` and `ready`, which wait for better times) rejects with this, and only this, when the store cannot answer.
 * It never means "not found": the wire answer is 503 with Retry-After.
 */
export class StoreUnavailableError extends HttpError {
  override readonly name = 'StoreUnavailableError'

  constructor (cause?: unknown) {
    super(503, 'temporarily_unavailable', 'The store (REDIS_URL) does not answer', {
      publicMessage: "The server's store cannot be reached; try again shortly",
      page: { sentence: "The server's store cannot be reached." },
      retryAfterSeconds: 1,
      cause
    })
  }
}

/** For what may be left undone while the store is away: `await store.delete(key).catch(ignoreOutage)`. */
export function ignoreOutage (err: unknown): void {
  if (!(err instanceof StoreUnavailableError)) throw err
}
