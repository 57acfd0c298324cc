import { StoreUnavailableError } from '../../store/store.ts'

export interface BackgroundLog {
  error (fields: object, message: string): void
}

/**
 * Runs work that no request awaits. Outages of the store are logged by the store and made up for later; all other
 * failures are logged here.
 */
export function createBackground (log: BackgroundLog) {
  function onBackgroundError (err: unknown): void {
    if (!(err instanceof StoreUnavailableError)) {
      log.error({ event: 'mcp.background_failed', err }, 'Work in the background failed')
    }
  }

  return {
    onBackgroundError,
    runInBackground (work: Promise<unknown>): void { work.catch(onBackgroundError) }
  }
}
