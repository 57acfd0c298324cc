import type { Readable } from 'node:stream'
import { GrowingBuffer } from '../../net/growing-buffer.ts'

const LINE_FEED = 10
/** The part of a line that is too long that is kept, of its beginning and of its end. */
const KEPT_BYTES = 512

export interface LineReaderOptions {
  /** Limit of one line. */
  maxLineBytes: number
  /** Limits of what is read in a second. Beyond them the process that writes has to wait. */
  maxBytesPerSecond: number
  maxLinesPerSecond: number
  onLine (line: string): void
  /** Called for a line that is too long, with its first and its last bytes. */
  onLongLine (head: string, tail: string): void
}

/**
 * Reads lines from the output of a process that may write anything. No more is kept than one line and one chunk, and a
 * flood is read no faster than it can be dealt with.
 */
export class LineReader {
  readonly #options: LineReaderOptions
  /** The line so far; of one that is too long, its first and its last bytes. */
  readonly #line = new GrowingBuffer()
  /** The length of the line so far. */
  #length = 0
  #bytes = 0
  #lines = 0
  #secondEndsAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor (options: LineReaderOptions) {
    this.#options = options
  }

  read (stream: Readable): void {
    stream.on('data', (chunk: Buffer) => {
      this.#split(chunk)
      this.#limitRate(stream)
    })
    stream.on('close', () => { clearTimeout(this.#timer) })
  }

  #split (chunk: Buffer): void {
    this.#bytes += chunk.length
    let start = 0
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      this.#append(chunk.subarray(start, end))
      this.#endLine()
      start = end + 1
    }
    this.#append(chunk.subarray(start))
  }

  #append (part: Buffer): void {
    this.#line.append(part)
    this.#length += part.length
    if (this.#length <= this.#options.maxLineBytes) return
    const all = this.#line.take()
    this.#line.append(all.subarray(0, KEPT_BYTES))
    this.#line.append(all.subarray(Math.max(KEPT_BYTES, all.length - KEPT_BYTES)))
  }

  #endLine (): void {
    const { maxLineBytes, onLine, onLongLine } = this.#options
    const all = this.#line.take()
    const isTooLong = this.#length > maxLineBytes
    this.#length = 0
    this.#lines++
    if (isTooLong) onLongLine(all.subarray(0, KEPT_BYTES).toString(), all.subarray(-KEPT_BYTES).toString())
    else onLine(all.toString())
  }

  #limitRate (stream: Readable): void {
    const now = performance.now()
    const { maxBytesPerSecond, maxLinesPerSecond } = this.#options
    if (now >= this.#secondEndsAt) {
      this.#secondEndsAt = now + 1_000
      this.#bytes = this.#lines = 0
    }
    if (this.#bytes <= maxBytesPerSecond && this.#lines <= maxLinesPerSecond) return
    stream.pause()
    this.#timer = setTimeout(() => { stream.resume() }, this.#secondEndsAt - now)
    this.#timer.unref()
  }
}
