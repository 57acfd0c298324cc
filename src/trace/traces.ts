import { LRUCache } from 'lru-cache'
import { digest } from '../crypto/hash.ts'
import { clientAddressKey, clientNetworkKey } from '../net/addresses.ts'
import type { Log } from '../logging/log.ts'
import { keys } from '../store/keys.ts'
import { StoreUnavailableError } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { encodeStep, stepRecord } from './record.ts'
import type { RecordedStep } from './record.ts'

export interface TracesOptions {
  store: Store
  /** TRACE_LIMIT_TOTAL: sign-ins that are kept, and as many refused calls. With 0 nothing is recorded. */
  maxTotal: number
  /** Sign-ins of strangers that are recorded for one address in a quarter of an hour (OAUTH_LIMIT_PER_ADDRESS). */
  maxPerAddress: number
  log: Pick<Log, 'warn'>
  /** Called once for each sign-in, when its first call has come to this replica. */
  onFirstCall?: (() => void) | undefined
  /** Milliseconds since the epoch. */
  now?: () => number
}

/** Kinds of traces. Each has a ring of its own, so that refused calls push out no sign-in. */
export type TraceKind = 'sign-in' | 'call'

export type Traces = ReturnType<typeof createTraces>

const DAY_SECONDS = 86_400
/** Steps that are kept of a sign-in, the newest. */
const MAX_STEPS = 16
/** In memory, traces must leave room for everything else. */
const MAX_IN_MEMORY = 5_000
const SHARE_MS = 900_000
const MAX_CALLS_PER_ADDRESS = 30
/** Requests beyond a limit, when the share of the others is used up as well. */
const MAX_LIMITED_PER_ADDRESS = 5
const MAX_ADDRESSES = 10_000
/** A network gets so many times the share of an address, as with other limits. */
const NETWORK_FACTOR = 3
/** Steps that wait for the store. More are not recorded: it is slow, or away. */
const MAX_PENDING = 200
/** The time after its issue in which the first use of an access token is recorded. */
const FIRST_CALL_SECONDS = 300

/**
 * Records the steps of sign-ins in the store for a day. Nobody waits for it, and nothing fails with it: a step that
 * cannot be written is left out.
 *
 * It is no budget that strangers can spend. A trace has at most 16 steps of 1,500 characters; the newest traces push
 * out the oldest, up to TRACE_LIMIT_TOTAL; and an address that nobody has signed in from gets its share only.
 */
export function createTraces (options: TracesOptions) {
  const { store, maxTotal, maxPerAddress, log, onFirstCall, now = Date.now } = options
  const ringSize = store.kind === 'memory' ? Math.min(maxTotal, MAX_IN_MEMORY) : maxTotal
  const shares = {
    'sign-in': createShares(maxPerAddress, now),
    call: createShares(MAX_CALLS_PER_ADDRESS, now),
    limited: createShares(MAX_LIMITED_PER_ADDRESS, now)
  }
  /** Digests of access tokens whose first use is known here. */
  const used = new LRUCache<string, true>({ max: MAX_ADDRESSES })
  let pending = 0
  let isFailing = false

  /** Takes the place of the oldest trace. */
  async function enterRing (kind: TraceKind, reference: string): Promise<void> {
    const { count } = await store.increment(keys.traceCount(kind), DAY_SECONDS)
    const slot = keys.traceSlot(kind, count % ringSize)
    const oldest = await store.take(slot)
    if (oldest !== undefined) await store.delete(keys.trace(oldest))
    await store.set(slot, reference, DAY_SECONDS)
  }

  async function write (kind: TraceKind, reference: string, step: RecordedStep): Promise<void> {
    const options = { ttlSeconds: DAY_SECONDS, maxEntries: MAX_STEPS }
    const number = await store.append(keys.trace(reference), encodeStep(step), options)
    if (number === 1) await enterRing(kind, reference)
  }

  /** First calls are counted where nothing is recorded, too. */
  const awaitsFirstCalls = ringSize > 0 || onFirstCall !== undefined

  /** Starts work that nobody waits for. */
  function inBackground (work: () => Promise<void>): void {
    if (pending >= MAX_PENDING) return
    pending++
    work().then(() => { isFailing = false }, reportOnce).finally(() => { pending-- })
  }

  function reportOnce (err: unknown): void {
    if (isFailing) return
    isFailing = true
    const reason = err instanceof StoreUnavailableError ? err.message : String(err)
    log.warn({ event: 'trace.not_recorded', reason },
      'Steps of sign-ins cannot be recorded: seed trace will not show them')
  }

  return {
    /**
     * @param stranger address of the sender, where nothing proves that the step belongs to a sign-in that somebody
     * began; at most its share is recorded
     */
    record (kind: TraceKind, reference: string, step: RecordedStep, stranger: string | undefined): void {
      if (ringSize === 0) return
      const share = shares[step.cause === 'limit_reached' ? 'limited' : kind]
      if (stranger !== undefined && !share.take(stranger)) return
      inBackground(async () => { await write(kind, reference, step) })
    },

    /** Remembers an access token for a while, so that its first use is recorded, at whatever replica. */
    awaitFirstCall (accessToken: string, reference: string): void {
      if (!awaitsFirstCalls) return
      inBackground(async () => {
        await store.set(keys.firstCall(digest(accessToken)), reference, FIRST_CALL_SECONDS)
      })
    },

    /**
     * Must be called with each valid access token that is not in the cache. Asks the store only for tokens that have
     * just been issued, once for each.
     *
     * @param issuedAt seconds since the epoch
     */
    noteUse (accessToken: string, issuedAt: number, requestId: string): void {
      if (!awaitsFirstCalls || now() / 1_000 - issuedAt > FIRST_CALL_SECONDS) return
      const name = digest(accessToken)
      if (used.has(name)) return
      used.set(name, true)
      inBackground(async () => {
        const reference = await store.take(keys.firstCall(name))
        if (reference === undefined) return
        onFirstCall?.()
        if (ringSize === 0) return
        const outcome = 'The token was accepted'
        const step = { step: 'call', at: now(), ms: 0, request: requestId, status: 200, outcome }
        await write('sign-in', reference, step)
      })
    }
  }
}

/** Counts what strangers may have recorded, by address and by network (IPv6 /48). Each replica counts by itself. */
function createShares (max: number, now: () => number) {
  const counts = new LRUCache<string, { count: number, until: number }>({ max: MAX_ADDRESSES })

  function count (key: string): number {
    const share = counts.get(key)
    if (share !== undefined && share.until > now()) return ++share.count
    counts.set(key, { count: 1, until: now() + SHARE_MS })
    return 1
  }

  return {
    /** @returns false when the share of this address, or of its network, is used up */
    take (address: string): boolean {
      const [key, network] = [clientAddressKey(address), clientNetworkKey(address)]
      return count(key) <= max && (network === key || count(network) <= NETWORK_FACTOR * max)
    }
  }
}

/** Returns the steps that are recorded under a reference, in order; none if there is no trace. */
export async function readTrace (store: Store, reference: string): Promise<RecordedStep[]> {
  const { entries } = await store.entries(keys.trace(reference), 0)
  return entries.flatMap(([, text]) => stepRecord.parse(store, text) ?? []).sort((a, b) => a.at - b.at)
}
