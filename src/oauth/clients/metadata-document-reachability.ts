import type { HttpError } from '../../errors/http-error.ts'
import type { Log } from '../../logging/log.ts'

export interface MetadataProbeOptions {
  /** CIMD_PROBE_URL */
  probeUrl: string
  /** Fetches and validates the document at CIMD_PROBE_URL. */
  load: () => Promise<unknown>
  log: Pick<Log, 'info' | 'warn'>
  /** Monotonic clock in milliseconds. */
  now: () => number
}

const MIN_INTERVAL_MS = 30_000
const RETRY_MS = 600_000

export type MetadataProbe = ReturnType<typeof createMetadataProbe>

/**
 * Finds out whether Seed can fetch client metadata documents, by fetching one that is known to be good: at start,
 * after a client's document could not be fetched, and every ten minutes while it fails. Where Seed cannot reach the
 * internet, documents must not be advertised, so that clients register instead.
 */
export function createMetadataProbe ({ probeUrl, load, log, now }: MetadataProbeOptions) {
  let outcome: 'unknown' | 'good' | 'failed' = 'unknown'
  let running = false
  let startedAt = -Infinity
  let timer: NodeJS.Timeout | undefined
  let closed = false

  async function run (): Promise<void> {
    if (running || closed) return
    running = true
    startedAt = now()
    clearTimeout(timer)
    const failure = await load().then(() => undefined, (err: HttpError) => err)
    running = false
    if (closed) return
    if (failure === undefined) recordSuccess()
    else recordFailure(failure)
  }

  function recordSuccess (): void {
    if (outcome === 'failed') {
      log.info({ event: 'client_documents.reachable', probeUrl },
        'Client ID metadata documents can be fetched again and are advertised')
    }
    outcome = 'good'
  }

  function recordFailure ({ detail }: HttpError): void {
    if (outcome !== 'failed') {
      log.warn({ event: 'client_documents.unreachable', probeUrl, reason: detail },
        'Client ID metadata documents are not advertised, because ' +
        'the one at CIMD_PROBE_URL cannot be used; clients register instead. Let Seed reach that URL, set another, ' +
        'or set CIMD_ENABLED=false')
    }
    outcome = 'failed'
    timer = setTimeout(run, RETRY_MS)
    timer.unref()
  }

  return {
    /** Returns true if the last probe succeeded. */
    succeeded: () => outcome === 'good',
    /** Starts the first probe; returns at once. */
    start () {
      run()
    },
    /** Probes again after a fetch failed, at most every 30 seconds. */
    recheck () {
      if (now() - startedAt >= MIN_INTERVAL_MS) run()
    },
    close () {
      closed = true
      clearTimeout(timer)
    }
  }
}
