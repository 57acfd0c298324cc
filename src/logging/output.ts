import { fstatSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'

/** Characters of log lines that may wait for a reader; further lines are dropped and counted. */
const MAX_WAITING = 4 * 1024 * 1024

export type LogOutput = ReturnType<typeof createLogOutput>

/**
 * Writes log lines without ever stopping a request. The lines of one event-loop tick go out together, as a write for
 * each line would cost as much as the call it reports. A reader that does not read, or a full disk, costs lines, never
 * the service: what was lost is counted, and reported by a line of its own once writing works again.
 *
 * @param fd file descriptor
 */
export function createLogOutput (fd = 1, { maxWaiting = MAX_WAITING }: { maxWaiting?: number } = {}) {
  const write = openWriter(fd)
  let waiting = ''
  let isWriting = false
  let lost = 0
  let reason = ''
  let onDrained = (): void => {}

  function drop (lines: string, why: string): void {
    lost += lines.split('\n').length - 1
    reason = why
  }

  function flush (): void {
    if (isWriting || waiting === '') return
    const lines = waiting
    waiting = ''
    isWriting = true
    write(lines, (err) => {
      isWriting = false
      if (err) drop(lines, err.message)
      else if (lost > 0) reportLost()
      if (waiting === '') onDrained()
      else setImmediate(flush)
    })
  }

  function reportLost (): void {
    const line = {
      level: 40,
      event: 'log.lines_lost',
      time: Date.now(),
      lost,
      reason,
      msg: 'Log lines were lost: standard output could not be written'
    }
    lost = 0
    waiting = `${JSON.stringify(line)}\n${waiting}`
  }

  function flushSync (): void {
    // While a write is unfinished nobody reads, and waiting for it could last for ever.
    if (isWriting || waiting === '') return
    try {
      writeSync(fd, waiting)
    } catch {
      // Standard output is gone, and there is nowhere else to say so.
    }
    waiting = ''
  }

  process.once('exit', flushSync)
  return {
    /** Writes one line, newline included, after the current event-loop tick. @returns false if it was dropped */
    write (line: string): boolean {
      if (waiting.length + line.length > maxWaiting) {
        drop(line, 'nobody reads it')
        return false
      }
      if (waiting === '' && !isWriting) setImmediate(flush)
      waiting += line
      return true
    },
    /** Writes the waiting lines now, unless an earlier write is unfinished. For the end of the process. */
    flushSync,
    /** Resolves when every line is written, or after `timeoutMs`. */
    async drained (timeoutMs: number): Promise<void> {
      flush()
      if (!isWriting) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs)
        onDrained = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}

type Write = (text: string, done: (err?: Error | null) => void) => void

/**
 * Pipes and sockets are written without blocking: a pipe that nobody reads would stop the event loop, or hold a thread
 * that the end of the process waits for. Files and terminals take what they are given.
 */
function openWriter (fd: number): Write {
  const stat = fstatSync(fd)
  if (stat.isFIFO() || stat.isSocket()) {
    const socket = new Socket({ fd, readable: false, writable: true })
    socket.on('error', () => { /* reported to the callback of the write */ })
    return (text, done) => { socket.write(text, done) }
  }
  return (text, done) => {
    try {
      for (let bytes = Buffer.from(text); bytes.length > 0;) bytes = bytes.subarray(writeSync(fd, bytes))
      done()
    } catch (err) {
      done(err as Error)
    }
  }
}
