import type { Static, TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Log } from '../logging/log.ts'
import { parseJson } from '../json/parse-json.ts'
import type { Store } from './store.ts'

/** A record as it was read. `text` is what a later compare-and-set expects. */
export interface StoredRecord<T> {
  value: T
  text: string
}

/**
 * Defines a kind of record: JSON that matches a schema. Text that does not, because something other than Seed wrote it,
 * counts as absent and is reported.
 *
 * @param kind for the log, in the singular
 */
export function defineRecord<Schema extends TSchema> (kind: string, schema: Schema) {
  const validator = Compile(schema)

  /** @returns undefined for text that is no such record */
  function parse (store: Pick<Store, 'reportUnreadable'>, text: string): Static<Schema> | undefined {
    const value = parseJson(validator, text)
    if (value === undefined) store.reportUnreadable(kind)
    return value
  }

  return {
    parse,

    /** Reads the record under a key. @throws StoreUnavailableError */
    async find (store: Store, key: string): Promise<StoredRecord<Static<Schema>> | undefined> {
      const text = await store.get(key)
      const value = text === undefined ? undefined : parse(store, text)
      return value === undefined ? undefined : { value, text: text! }
    }
  }
}

/** One line for each kind in this time: what is unreadable may be read again and again. */
const REPORT_INTERVAL_MS = 60_000

/** Makes `Store.reportUnreadable`, for all implementations. */
export function createUnreadableReport (
  log: Pick<Log, 'warn'> | undefined, now: () => number = Date.now
): Store['reportUnreadable'] {
  const reportedAt = new Map<string, number>()
  return (kind, consequence = 'it is ignored, as if it were not there') => {
    if (now() - (reportedAt.get(kind) ?? -Infinity) < REPORT_INTERVAL_MS) return
    reportedAt.set(kind, now())
    log?.warn({ kind }, `Unreadable ${kind} in the store (REDIS_URL): ${consequence}. ` +
      'Something other than this version of Seed may write there')
  }
}
