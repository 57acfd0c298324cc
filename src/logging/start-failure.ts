import { hostname } from 'node:os'
import type { EventName } from './events.ts'

/** Prints the reason why the server cannot start. */
export interface StartFailureOutput {
  /** Whether standard output is a terminal. */
  isTerminal: boolean
  print (line: string): void
  printError (text: string): void
}

/** Prints why the server cannot start: as text for a person at a terminal, otherwise as a line of the log. */
export function printStartFailure (err: Error, { isTerminal, print, printError }: StartFailureOutput): void {
  if (isTerminal) {
    printError(err.message)
    return
  }
  const { problems } = err as { problems?: readonly string[] }
  print(JSON.stringify({
    level: 60,
    time: Date.now(),
    pid: process.pid,
    hostname: hostname(),
    event: 'server.not_started' satisfies EventName,
    problems,
    msg: err.message
  }))
}
