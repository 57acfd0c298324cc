import { pino } from 'pino'

/**
 * Writes the log lines of one event-loop tick together: a write for each line would cost as much as the call it
 * reports. Lines wait for one tick at most; what is left is written when the process exits.
 */
export interface LogOutput {
  write (lines: string): void
  /** Writes the lines that are waiting. */
  flushSync (): void
}

/** @param fd file descriptor */
export function createLogOutput (fd = 1): LogOutput {
  const destination = pino.destination({ fd, sync: true })
  let waiting = ''

  function flushSync (): void {
    const lines = waiting
    waiting = ''
    if (lines !== '') destination.write(lines)
  }

  process.once('exit', flushSync)
  return {
    write (line) {
      if (waiting === '') setImmediate(flushSync)
      waiting += line
    },
    flushSync
  }
}
