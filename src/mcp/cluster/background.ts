import { StoreUnavailableError } from '../../store/store.ts'

export interface BackgroundLog {
  error (fields: object, message: string): void
}

/**
 * Work that no request waits for. A store that is away says so itself, and whatever was missed is looked up when it is
 * back; any other failure goes to the log and ends nothing.
 */
export function runInBackground (work: Promise<unknown>, log: BackgroundLog): void {
  work.catch((err: unknown) => {
    if (!(err instanceof StoreUnavailableError)) log.error({ err }, 'Work in the background failed')
  })
}
