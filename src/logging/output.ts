import { pino } from 'pino'

/**
 * Where log lines go: those of one turn of the event loop in one write, as a write for each line costs as much as the
 * call that it tells of. Nothing waits longer than a turn; the end of the process writes what is left.
 */
export interface LogOutput {
  write (lines: string): void
  /** Writes what waits now. */
  flushSync (): void
}

/** @param fd the file descriptor */
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
