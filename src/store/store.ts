import { HttpError } from '../errors/http-error.ts'
import type { HttpErrorOptions } from '../errors/http-error.ts'

/**
 * The store: everything that Seed must remember across requests and replicas.
 *
 * One contract, two implementations (memory.ts, redis.ts), and one suite for both (test/store/contract.ts). Values are
 * strings; callers encode JSON. Keys come from keys.ts. Every `ttlSeconds` is a positive integer.
 */
export interface Store {
  readonly kind: 'memory' | 'redis'

  /** Returns the value under `key`, or undefined if it is absent or has expired. */
  get (key: string): Promise<string | undefined>

  /**
   * Writes `value` in place of any other; it expires after `ttlSeconds`.
   *
   * @param options.evenIfFull for small marks that must not wait for room, such as those of revocations: a full store
   * takes them all the same
   */
  set (key: string, value: string, ttlSeconds: number, options?: { evenIfFull?: boolean }): Promise<void>

  /** Atomic: writes only if `key` is absent. Exactly one of any number of concurrent callers gets true. */
  setIfAbsent (key: string, value: string, ttlSeconds: number): Promise<boolean>

  /** Atomic read and delete: exactly one of any number of concurrent callers gets the value, the others undefined. */
  take (key: string): Promise<string | undefined>

  /** Atomic read that restarts the time to live (sliding expiry). Returns undefined, and writes nothing, if absent. */
  touch (key: string, ttlSeconds: number): Promise<string | undefined>

  /**
   * Atomic: writes `value` only while exactly `expected` is under `key`. Of any number of concurrent callers with the
   * same `expected` exactly one gets true. An absent key is never written: what is lost stays lost.
   */
  compareAndSet (key: string, expected: string, value: string, ttlSeconds: number): Promise<boolean>

  /** Removes `key`; returns whether it was there. */
  delete (key: string): Promise<boolean>

  /**
   * Atomic counter in a fixed window: the first increment opens a window of `ttlSeconds`, later ones do not prolong it.
   * Returns the count, this one included, and the whole seconds until the window ends (at least 1).
   */
  increment (key: string, ttlSeconds: number): Promise<{ count: number, resetSeconds: number }>

  /** Adds `member` to the set under `key` for at least `ttlSeconds`: a later expiry is not brought forward. */
  addMember (key: string, member: string, ttlSeconds: number): Promise<void>

  /** Returns the members that have not expired, in no order; none if there is no such set. */
  members (key: string): Promise<string[]>

  /** Returns how many members have not expired, without reading them. */
  countMembers (key: string): Promise<number>

  /**
   * Atomic: adds `member` as addMember does, unless the set has `max` other members; then it writes nothing and returns
   * false. Of any number of concurrent callers no more get true than there is room for.
   */
  addMemberWithin (key: string, member: string, ttlSeconds: number, max: number): Promise<boolean>

  /** Removes `member` from the set, if it is there. */
  removeMember (key: string, member: string): Promise<void>

  /**
   * Atomic: appends `value` to the log under `key` and returns its number: 1 for the first, then without a gap. Only
   * the newest `maxEntries` are kept. The log expires `ttlSeconds` after its last entry; the next one begins at 1.
   *
   * @param options.expectedNumber the number that the entry must get, for writers who number their entries: an entry
   * that is there already is not appended again, and one that would leave a gap is not appended at all. Both return the
   * number of the newest entry (0 without a log) and prolong nothing.
   */
  append (
    key: string, value: string, options: { ttlSeconds: number, maxEntries: number, expectedNumber?: number }
  ): Promise<number>

  /**
   * Returns the entries of a log after number `after`, oldest first and without a gap, and the number of the newest (0
   * without a log). If the log grows meanwhile, the entries are at least those that were there at the call.
   */
  entries (key: string, after: number): Promise<{ entries: Array<[number: number, value: string]>, newest: number }>

  /**
   * Yields the keys that begin with `prefix`, in batches and each once. Keys that are written or removed meanwhile may
   * be among them or not. It reads all keys of the store, without holding up other commands: for operators only.
   */
  scan (prefix: string): AsyncIterable<string[]>

  /** Sends `message` once to every subscriber of `channel` on all replicas; later subscribers do not get it. */
  publish (channel: string, message: string): Promise<void>

  /**
   * Calls `onMessage` for each message on `channel` from now on, until the store closes. Calls `onGap` whenever
   * messages may have been missed: when the subscription begins, and when it is back after a loss.
   */
  subscribe (channel: string, onMessage: (message: string) => void, onGap: () => void): void

  /**
   * Logs that a value or message of this kind cannot be read (record.ts). The log has one line a minute for each kind,
   * without the content.
   *
   * @param consequence by default that it is ignored
   */
  reportUnreadable (kind: string, consequence?: string): void

  /**
   * Logs, as often, that a record has a version that only later releases read (record.ts).
   *
   * @param known the newest version that this release reads
   */
  reportLater (kind: string, form: number, known: number): void

  /** Resolves if the store can serve reads and writes now. */
  ping (): Promise<void>

  /**
   * Resolves when the store answers, or after a second: connecting takes a moment, in which requests would be refused,
   * but a store that is down must not delay the start.
   */
  ready (): Promise<void>

  /** Releases all resources; resolves within two seconds, whatever the other side does. */
  close (): Promise<void>
}

/**
 * The store cannot answer. Every method but `subscribe` and `ready` rejects with this, and only with this. It never
 * means "not found": the HTTP answer is 503 with Retry-After.
 */
export class StoreUnavailableError extends HttpError {
  override readonly name: string = 'StoreUnavailableError'

  constructor (
    cause?: unknown, message = 'The store (REDIS_URL) does not answer', options: Partial<HttpErrorOptions> = {}
  ) {
    super(503, 'temporarily_unavailable', message, {
      publicMessage: "The server's store cannot be reached; try again shortly",
      page: { sentence: "The server's store cannot be reached." },
      retryAfterSeconds: 1,
      causeCode: 'store_unavailable',
      cause,
      ...options
    })
  }
}

/**
 * A record was written by a later release, and this one would misread it. It is neither absent nor to be replaced: the
 * replicas of that release read it, and the same request works there.
 */
export class LaterRecordError extends StoreUnavailableError {
  override readonly name = 'LaterRecordError'

  /** @param kind for the log, in the singular */
  constructor (kind: string, form: number) {
    super(undefined, `A ${kind} in the store (REDIS_URL) has version ${form}, which this release cannot read`, {
      publicMessage: 'This server is being upgraded; try again shortly',
      page: { sentence: 'This server is being upgraded.' },
      retryAfterSeconds: 5,
      causeCode: 'record_of_later_release'
    })
  }
}

/** Returns the error where a record is of a later release: `await grants.find(id).catch(asLater)`. Throws any other. */
export function asLater (err: unknown): LaterRecordError {
  if (err instanceof LaterRecordError) return err
  throw err
}

/** Returns undefined for a record of a later release, where one that cannot be read may be left out. */
export function leaveOutLater (err: unknown): undefined {
  asLater(err)
}

/** Ignores an outage, for work that may be left undone: `await store.delete(key).catch(ignoreOutage)`. */
export function ignoreOutage (err: unknown): void {
  if (!(err instanceof StoreUnavailableError)) throw err
}
