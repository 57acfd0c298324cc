import type { LoggingLevel } from '@modelcontextprotocol/server'

/** Log levels by increasing severity (RFC 5424 section 6.2.1). */
const SEVERITIES: readonly LoggingLevel[] = [
  'debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'
]

/** Tells whether a message of a level is at least as severe as another level. */
export function isAsSevereAs (level: LoggingLevel, minimum: LoggingLevel): boolean {
  return SEVERITIES.indexOf(level) >= SEVERITIES.indexOf(minimum)
}
