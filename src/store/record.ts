import { Type } from 'typebox'
import type { Static, TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Log } from '../logging/log.ts'
import { parseJson } from '../json/parse-json.ts'
import { LaterRecordError } from './store.ts'
import type { Store } from './store.ts'

/** A member of a record that JSON leaves out where it is undefined. */
export const OptionalString = Type.Optional(Type.Union([Type.String(), Type.Undefined()]))

/** A record as it was read. `text` is what a later compare-and-set expects. */
export interface StoredRecord<T> {
  value: T
  text: string
}

/**
 * Version of the format of all records, in their member `form`. A release raises it where releases before it would
 * misread what it writes; it still reads what those have written. A member that is optional needs no other version.
 * Records of 0.1.3 and earlier have none, except for sessions.
 */
const FORM = 1

const VersionSchema = Type.Object({ form: Type.Optional(Type.Integer()) })

/**
 * Defines a kind of record: a JSON object that matches a schema, and the version of its format. A record that something
 * other than Seed wrote counts as absent, and is reported. One with the format of a later release does not: in a
 * rolling upgrade the replicas of that release go on reading it, and its grant or session must not end here.
 *
 * @param kind for the log, in the singular
 */
export function defineRecord<Schema extends TSchema> (kind: string, schema: Schema) {
  const validator = Compile(schema)

  /** @returns undefined for text that is no such record. @throws LaterRecordError */
  function parse (store: Pick<Store, 'reportUnreadable' | 'reportLater'>, text: string): Static<Schema> | undefined {
    const versioned = parseJson(versionValidator, text)
    if (versioned === undefined) {
      store.reportUnreadable(kind)
      return undefined
    }
    const { form = FORM, ...value } = versioned
    if (form > FORM) {
      store.reportLater(kind, form, FORM)
      throw new LaterRecordError(kind, form)
    }
    if (validator.Check(value)) return value as Static<Schema>
    store.reportUnreadable(kind)
    return undefined
  }

  return {
    /** Reads the record under a key. @throws StoreUnavailableError, which a LaterRecordError is, too */
    async find (store: Store, key: string): Promise<StoredRecord<Static<Schema>> | undefined> {
      const text = await store.get(key)
      const value = text === undefined ? undefined : parse(store, text)
      return value === undefined ? undefined : { value, text: text! }
    },

    /** Returns the text to write. */
    serialize: (value: Static<Schema>): string => JSON.stringify({ form: FORM, ...value as object })
  }
}

const versionValidator = Compile(VersionSchema)

/**
 * Defines a kind of message, of a channel or in a log of the store: JSON that matches a schema. Replicas of several
 * releases exchange them, so a message of a kind that a release does not know is reported and ignored.
 *
 * @param kind for the log, in the singular
 */
export function defineMessage<Schema extends TSchema> (kind: string, schema: Schema) {
  const validator = Compile(schema)

  return {
    /** @returns undefined for text that is no such message */
    parse (store: Pick<Store, 'reportUnreadable'>, text: string): Static<Schema> | undefined {
      const value = parseJson(validator, text)
      if (value === undefined) store.reportUnreadable(kind)
      return value
    }
  }
}

/** One line for each kind in this time: what is unreadable may be read again and again. */
const REPORT_INTERVAL_MS = 60_000

/** Makes the methods of Store that report records, for all implementations. */
export function createRecordReports (
  log: Pick<Log, 'warn'> | undefined, now: () => number = Date.now
): Pick<Store, 'reportUnreadable' | 'reportLater'> {
  const reportedAt = new Map<string, number>()

  function isDue (report: string): boolean {
    if (now() - (reportedAt.get(report) ?? -Infinity) < REPORT_INTERVAL_MS) return false
    reportedAt.set(report, now())
    return true
  }

  return {
    reportUnreadable (kind, consequence = 'it is ignored, as if it were not there') {
      if (!isDue(`unreadable ${kind}`)) return
      log?.warn({ event: 'store.record_unreadable', kind },
        `Unreadable ${kind} in the store (REDIS_URL): ${consequence}. ` +
        'Something other than this version of Seed may write there')
    },

    reportLater (kind, form, known) {
      if (!isDue(`later ${kind}`)) return
      log?.warn({ event: 'store.record_of_later_release', kind, form, known },
        `A ${kind} in the store (REDIS_URL) has version ${form}, and this release reads ${known} at most: requests ` +
        'that need it get 503 here, and the record stays. Finish the upgrade, or stop replicas of the later release')
    }
  }
}
