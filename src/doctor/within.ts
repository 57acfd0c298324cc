import { setTimeout as delay } from 'node:timers/promises'
import { question } from './finding.ts'
import type { Finding } from './finding.ts'

/** Time for one request of a check. */
export const REQUEST_MS = 5_000

/** Time for the checks of one subject, which may need several requests in turn. */
const SUBJECT_MS = 4 * REQUEST_MS

/**
 * Runs checks, and turns an error or too long a time into a finding.
 *
 * @param subject names the checks, as in `provider.clock`
 */
export async function within (
  subject: string, check: () => Promise<Finding[]>, limitMs = SUBJECT_MS
): Promise<Finding[]> {
  const { unknown } = question(subject, 'the checks of this subject')
  const stopped = new AbortController()
  const timedOut = delay(limitMs, undefined, { signal: stopped.signal }).then(
    () => [unknown(`nothing within ${limitMs} ms`, 'It could not be found out in time')])
  timedOut.catch(() => {})
  const checked = check().catch((err: Error) => [unknown(err.message, 'The check itself failed')])
  const findings = await Promise.race([checked, timedOut])
  stopped.abort()
  return findings
}
