import { isatty } from 'node:tty'

const STANDARD_STREAMS = [0, 1, 2]

/**
 * Makes the process end by force at its exit if the terminal that it was started in is gone. Node aborts when it cannot
 * reset such a terminal, and in Node 20 that abort never ends: the process would use a whole core for ever.
 *
 * @returns what happens at exit
 */
export function endWithoutTerminal (
  isTerminal: (fd: number) => boolean = isatty,
  kill: (pid: number, signal: NodeJS.Signals) => unknown = process.kill.bind(process)
): () => void {
  const terminals = STANDARD_STREAMS.filter((fd) => isTerminal(fd))
  const onExit = (): void => {
    if (!terminals.every((fd) => isTerminal(fd))) kill(process.pid, 'SIGKILL')
  }
  process.once('exit', onExit)
  return onExit
}
