import type { AuditTrail } from './audit-log.ts'
import type { AuditEntry } from './record.ts'

export type LimitedRefusals = ReturnType<typeof createLimitedRefusals>

/** The time for which refusals are counted. */
export const COUNT_MS = 60_000
/** Lines of one stranger in that time, besides the one with the count of the others. */
const LINES_OF_STRANGER = 1
/** A person's refused calls are known by their token; that no person fills the disk is all that matters. */
const LINES_OF_PERSON = 1_000
/** Strangers, and persons, with lines of their own. What comes from further ones is one count. */
const MAX_SOURCES = 500

interface Source {
  lines: number
  /** Refusals without a line. */
  count: number
  last: AuditEntry | undefined
}

/**
 * Keeps requests beyond a limit from filling the disk: of each source, the first are lines of their own, and the others
 * one line with their count. `flush` must be called each COUNT_MS, and at the end.
 */
export function createLimitedRefusals (audit: AuditTrail) {
  let strangers = new Map<string, Source>()
  // Apart, as strangers may have any number of addresses.
  let persons = new Map<string, Source>()
  let others: Source = { lines: 0, count: 0, last: undefined }

  function findSource (sources: Map<string, Source>, name: string): Source | undefined {
    const known = sources.get(name)
    if (known !== undefined || sources.size >= MAX_SOURCES) return known
    const source = { lines: 0, count: 0, last: undefined }
    sources.set(name, source)
    return source
  }

  return {
    /**
     * Records a refusal by a limit.
     *
     * @param source a stranger's address and endpoint, or a person
     * @param isPerson whether a verified token says who it is
     */
    record (entry: AuditEntry, source: string, isPerson: boolean): void {
      const found = findSource(isPerson ? persons : strangers, source)
      if (found !== undefined && found.lines < (isPerson ? LINES_OF_PERSON : LINES_OF_STRANGER)) {
        found.lines++
        audit.record(entry)
        return
      }
      const counted = found ?? others
      counted.count++
      counted.last = entry
    },

    /** Writes the counts, and begins anew. */
    flush (): void {
      for (const { count, last } of [...strangers.values(), ...persons.values()]) {
        if (last !== undefined) audit.record({ ...last, ms: undefined, count })
      }
      const { count, last } = others
      if (last !== undefined) {
        const { event, outcome, error } = last
        audit.record({ event, outcome, error, count, reason: `from more than ${MAX_SOURCES} addresses and persons` })
      }
      strangers = new Map()
      persons = new Map()
      others = { lines: 0, count: 0, last: undefined }
    }
  }
}
