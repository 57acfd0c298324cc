import type { CryptoKey, JWSHeaderParameters } from 'jose'
import type { Log } from '../logging/log.ts'
import type { fetchJson } from '../net/fetch.ts'
import { ProviderUnavailableError } from './discovery.ts'
import { KeyNotFoundError, createKeySet } from './key-set.ts'
import type { KeySet } from './key-set.ts'

export interface JwksOptions {
  /** URL of the key set. @throws ProviderUnavailableError before discovery */
  jwksUri: () => string
  fetchJson: typeof fetchJson
  log: Log
  /** The provider's by default. */
  keysLog?: KeysLog
  /** Called when the keys have changed: tokens that a withdrawn key has verified must leave the caches. */
  onChange?: (() => void) | undefined
  /** Monotonic clock in milliseconds. */
  now?: () => number
  /** Time between refreshes in the background. */
  refreshMs?: number | undefined
  /** Shortest time between refreshes that unknown keys force. */
  forcedRefreshMs?: number | undefined
  /** What helps where the key set has no usable key; that for providers by default. */
  advice?: string
  /** Maximum age of keys while the provider cannot be reached. */
  staleMs?: number | undefined
}

/** Logs what happens to a key set, as that of its owner. */
export interface KeysLog {
  changed (kids: Array<string | undefined>): void
  unavailable (reason: string, keysKept: number): void
  available (uri: string): void
}

export type Jwks = ReturnType<typeof createJwks>

const MAX_WAITING = 1_000

/**
 * The provider's signing keys, cached so that neither an outage of the provider nor a flood of bad tokens affects
 * other callers.
 *
 * - Known keys are served from memory and refreshed in the background. While the provider is down the last good set
 *   stays in use, for up to `staleMs`. (jose's remote set refuses every token once its cache has expired.)
 * - A token with an unknown `kid` forces a refresh: one for all such tokens, and at most one every `forcedRefreshMs`.
 *   The token waits for a refresh that began after it arrived, because its key may be newer than the last fetch.
 * - A `kid` that is not in the refreshed set is refused at once for `forcedRefreshMs`, in a bounded table.
 */
export function createJwks (options: JwksOptions) {
  const { log, now = () => performance.now() } = options
  const { refreshMs = 300_000, forcedRefreshMs = 5_000, staleMs = 86_400_000 } = options
  const keysLog = options.keysLog ?? createProviderKeysLog(log)
  const outageLog = createOutageLog(keysLog)
  let keySet: KeySet | undefined
  let loadedAt = -Infinity
  /** The reason why the last fetch failed, if it did. */
  let problem: string | undefined = 'the signing keys have not been fetched yet'
  let lastFetchAt = -Infinity
  let fetching: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false
  /** Tokens that wait for the next fetch to end. */
  let waiters: Array<() => void> = []
  let waitingCount = 0
  /** Unknown kids since the last refresh, and until when each is refused; bounded by MAX_WAITING. */
  const unknownUntil = new Map<string | undefined, number>()

  /** Fetches the key set, unless that is going on. Never rejects. */
  function refresh (): void {
    if (fetching !== undefined) return
    const resolveAll = waiters
    waiters = []
    fetching = fetchKeys().finally(() => {
      fetching = undefined
      for (const resolve of resolveAll) resolve()
    })
  }

  async function fetchKeys (): Promise<void> {
    lastFetchAt = now()
    try {
      const uri = options.jwksUri()
      setKeys(createKeySet(await options.fetchJson(uri), options.advice))
      outageLog.fetched(uri)
      problem = undefined
    } catch (err) {
      problem = (err as Error).message
      if (!(err instanceof ProviderUnavailableError)) outageLog.failed(problem, keySet?.size ?? 0)
    }
    scheduleRefresh(problem === undefined ? refreshMs : Math.min(forcedRefreshMs, refreshMs))
  }

  function setKeys (fetched: KeySet): void {
    const changed = keySet !== undefined && keySet.fingerprint !== fetched.fingerprint
    keySet = fetched
    loadedAt = now()
    unknownUntil.clear()
    if (!changed) return
    keysLog.changed(fetched.kids)
    options.onChange?.()
  }

  function scheduleRefresh (ms: number): void {
    clearTimeout(timer)
    if (closed) return
    timer = setTimeout(refresh, ms)
    timer.unref()
  }

  /** Resolves when a fetch that begins from now on has ended; brings the next one forward if it is not due soon. */
  async function nextRefresh (): Promise<void> {
    if (closed) return
    scheduleRefresh(Math.max(0, lastFetchAt + forcedRefreshMs - now()))
    await new Promise<void>((resolve) => { waiters.push(resolve) })
  }

  const hasKey = (kid: string | undefined): boolean => keySet?.hasKey(kid) === true

  async function waitForKey (kid: string | undefined): Promise<void> {
    const notFound = `no key "${kid}" in the provider's key set`
    if ((unknownUntil.get(kid) ?? 0) > now()) throw new KeyNotFoundError(notFound)
    if (waitingCount >= MAX_WAITING) {
      throw new ProviderUnavailableError('too many tokens with unknown keys are waiting for the key set')
    }
    waitingCount++
    try {
      // A fetch in progress may have been answered before the key was published: only if it finds the key, it counts.
      if (fetching !== undefined) await fetching
      if (!hasKey(kid)) await nextRefresh()
    } finally {
      waitingCount--
    }
    if (hasKey(kid)) return
    if (closed) throw new ProviderUnavailableError('the server is shutting down')
    if (problem !== undefined) throw new ProviderUnavailableError(problem)
    unknownUntil.set(kid, now() + forcedRefreshMs)
    throw new KeyNotFoundError(notFound)
  }

  function unusableReason (): string | undefined {
    if (keySet === undefined) return problem
    if (now() - loadedAt <= staleMs) return undefined
    return `the signing keys are older than ${staleMs / 3_600_000} hours (${problem ?? 'a refresh is due'})`
  }

  return {
    /** Returns the key that a token's header asks for. @throws KeyNotFoundError, ProviderUnavailableError */
    async getKey (header: JWSHeaderParameters): Promise<CryptoKey> {
      if (keySet !== undefined && !keySet.hasKey(header.kid)) await waitForKey(header.kid)
      const reason = unusableReason()
      if (reason !== undefined) throw new ProviderUnavailableError(reason)
      return await keySet!.getKey(header)
    },

    /** When the keys were fetched, on the clock of `performance.now`; undefined before that. */
    loadedAt: (): number | undefined => keySet === undefined ? undefined : loadedAt,

    /** The reason why no token can be verified, for readiness; undefined if they can be. */
    problem: unusableReason,

    /** Begins fetching; returns at once. */
    start: refresh,

    close (): void {
      closed = true
      clearTimeout(timer)
      for (const resolve of waiters.splice(0)) resolve()
    }
  }
}

/** Logs an outage of the key endpoint once, and its end. */
function createOutageLog (keysLog: KeysLog) {
  let isOutage = false
  return {
    failed (reason: string, keysKept: number): void {
      if (isOutage) return
      isOutage = true
      keysLog.unavailable(reason, keysKept)
    },

    fetched (uri: string): void {
      if (isOutage) keysLog.available(uri)
      isOutage = false
    }
  }
}

function createProviderKeysLog (log: Log): KeysLog {
  return {
    changed (kids) {
      log.info({ event: 'provider.keys_changed', kids }, "The provider's signing keys have changed")
    },
    unavailable (reason, keysKept) {
      log.error({ event: 'provider.keys_unavailable', reason, keysKept }, keysKept === 0
        ? "The provider's signing keys cannot be fetched, and there are no earlier ones: sign-in fails until they can"
        : "The provider's signing keys cannot be fetched; the last good ones stay in use")
    },
    available (uri) {
      log.info({ event: 'provider.keys_available', uri }, "The provider's signing keys can be fetched again")
    }
  }
}
