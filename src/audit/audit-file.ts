import { closeSync, constants, fstatSync, openSync, readSync, write as writeFile, writeSync } from 'node:fs'

/** Bytes of lines that may wait for the disk; further lines are refused. */
const MAX_WAITING = 4 * 1024 * 1024
/** The part of an existing file that is searched for its last line. */
const TAIL_BYTES = 65_536

export interface AuditFileOptions {
  maxWaiting?: number
  /** Called with the number of lines that could not be written. */
  onLost (lines: number, reason: string): void
  /** Called when lines were written. */
  onWritten (): void
  /** Writes bytes at the end of the file; `fs.write` unless a test replaces it. */
  write?: (fd: number, bytes: Buffer, done: (err: NodeJS.ErrnoException | null, written: number) => void) => void
}

export type AuditFile = ReturnType<typeof openAuditFile>

/**
 * Opens a file to append lines to. A disk that is slow or full costs lines, never the service: one write is under way
 * at a time, off the event loop, and what waits for it is bounded.
 *
 * @throws Error if it cannot be opened, or is no regular file: a pipe can block
 */
export function openAuditFile (path: string, options: AuditFileOptions) {
  const { maxWaiting = MAX_WAITING, onLost, onWritten, write = writeFile } = options
  let fd = openForAppending(path)
  let retired: number | undefined
  const lastLine = readLastLine(path)
  let waiting = ''
  let isWriting = false
  let onDrained = (): void => {}
  // What stands behind the last newline was cut off by a crash.
  let isTorn = endsInTheMiddle(path)

  function takeWaiting (): Buffer {
    const lines = Buffer.from(`${isTorn ? '\n' : ''}${waiting}`)
    waiting = ''
    isTorn = false
    return lines
  }

  function flush (): void {
    if (isWriting || waiting === '') return
    isWriting = true
    writeAll(fd, takeWaiting())
  }

  function writeAll (target: number, bytes: Buffer): void {
    write(target, bytes, (err, written) => {
      if (err !== null) {
        isTorn = true
        onLost(countLines(bytes), err.message)
      } else if (written < bytes.length) {
        writeAll(target, bytes.subarray(written))
        return
      } else {
        onWritten()
      }
      isWriting = false
      closeRetired()
      if (waiting === '') onDrained()
      else setImmediate(flush)
    })
  }

  function closeRetired (): void {
    if (retired !== undefined) closeSync(retired)
    retired = undefined
  }

  function flushSync (): void {
    // While a write is under way, its end cannot be awaited here.
    if (isWriting || waiting === '') return
    const lines = takeWaiting()
    try {
      writeSync(fd, lines)
    } catch (err) {
      onLost(countLines(lines), (err as Error).message)
    }
  }

  process.once('exit', flushSync)
  return {
    /** The last whole line that the file had when it was opened. */
    lastLine,

    /** Writes one line, newline included, after the current event-loop turn. @returns false if too much waits */
    write (line: string): boolean {
      if (waiting.length + line.length > maxWaiting) return false
      if (waiting === '' && !isWriting) setImmediate(flush)
      waiting += line
      return true
    },

    /**
     * Opens the path anew, after its file was renamed (SIGHUP).
     * @throws Error if it cannot be opened: lines go on into the old file
     */
    reopen (): void {
      const next = openForAppending(path)
      flushSync()
      retired = fd
      fd = next
      isTorn = false
      if (!isWriting) closeRetired()
    },

    /** Writes what waits, for at most `timeoutMs`, and closes the file. */
    async close (timeoutMs: number): Promise<void> {
      process.removeListener('exit', flushSync)
      flush()
      if (isWriting) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, timeoutMs)
          onDrained = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
      // A write that is still under way keeps its file open.
      if (!isWriting) closeSync(fd)
    }
  }
}

/** The rest of a line that was written in part is a line that is lost. */
function countLines (bytes: Buffer): number {
  return bytes.toString().split('\n').filter((line) => line !== '').length
}

function openForAppending (path: string): number {
  const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants
  const fd = openSync(path, O_APPEND | O_CREAT | O_NONBLOCK | O_WRONLY, 0o640)
  if (fstatSync(fd).isFile()) return fd
  closeSync(fd)
  throw new Error('it is not a regular file')
}

function readTail (path: string): string {
  const fd = openSync(path, 'r')
  try {
    const { size } = fstatSync(fd)
    const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES))
    readSync(fd, bytes, 0, bytes.length, size - bytes.length)
    return bytes.toString()
  } finally {
    closeSync(fd)
  }
}

function readLastLine (path: string): string | undefined {
  return readTail(path).split('\n').slice(0, -1).at(-1)
}

function endsInTheMiddle (path: string): boolean {
  const tail = readTail(path)
  return tail !== '' && !tail.endsWith('\n')
}
