import { GrowingBuffer } from '../../net/growing-buffer.ts'

const LINE_FEED = 10
const CARRIAGE_RETURN = 13
const BYTE_ORDER_MARK = '\uFEFF'

/** Splits an event stream into lines, which end with a line feed, a carriage return, or both (in any chunks). */
export class LineSplitter {
  #endsWithReturn = false

  /** Returns the parts of lines in a chunk. All of them end here but the last, which may be empty. */
  split (chunk: Buffer): Buffer[] {
    const find = (byte: number, from: number): number => {
      const index = chunk.indexOf(byte, from)
      return index === -1 ? chunk.length : index
    }
    const parts: Buffer[] = []
    let start = this.#endsWithReturn && chunk[0] === LINE_FEED ? 1 : 0
    let lineFeed = find(LINE_FEED, start)
    let carriageReturn = find(CARRIAGE_RETURN, start)
    for (let end; (end = Math.min(lineFeed, carriageReturn)) < chunk.length;) {
      parts.push(chunk.subarray(start, end))
      start = end + (lineFeed === carriageReturn + 1 ? 2 : 1)
      if (lineFeed < start) lineFeed = find(LINE_FEED, start)
      if (carriageReturn < start) carriageReturn = find(CARRIAGE_RETURN, start)
    }
    this.#endsWithReturn = chunk.at(-1) === CARRIAGE_RETURN
    return [...parts, chunk.subarray(start)]
  }
}

/**
 * Joins the chunks of an event stream, for a reader that passes each one on and keeps it as a string: a line in chunks
 * of one byte would take it many times as long, and as much memory.
 */
export class LineJoiner {
  /** The line that has not ended. */
  readonly #line = new GrowingBuffer()

  /** Returns the lines that end in a chunk, from their beginning; nothing if none does. */
  join (chunk: Buffer): Buffer {
    const end = Math.max(chunk.lastIndexOf(LINE_FEED), chunk.lastIndexOf(CARRIAGE_RETURN)) + 1
    if (end === 0) {
      this.#line.append(chunk)
      return NOTHING
    }
    this.#line.append(chunk.subarray(0, end))
    const lines = this.#line.take()
    this.#line.append(chunk.subarray(end))
    return lines
  }
}

const NOTHING = Buffer.alloc(0)

/** Reads the messages of an event stream (HTML, server-sent events). Comments, ids and other events are left out. */
export class EventReader {
  readonly #onData: (data: string) => void
  readonly #lines = new LineSplitter()
  /** The line that has not ended. */
  readonly #line = new GrowingBuffer()
  #isFirstLine = true
  #event = ''
  #data: string[] = []

  /** @param onData gets the data of each message */
  constructor (onData: (data: string) => void) {
    this.#onData = onData
  }

  read (chunk: Buffer): void {
    const parts = this.#lines.split(chunk)
    const rest = parts.pop()!
    for (const part of parts) {
      this.#line.append(part)
      const line = this.#line.take().toString('utf8')
      this.#readLine(this.#isFirstLine && line.startsWith(BYTE_ORDER_MARK) ? line.slice(1) : line)
      this.#isFirstLine = false
    }
    this.#line.append(rest)
  }

  #readLine (line: string): void {
    if (line === '') {
      const isMessage = this.#event === '' || this.#event === 'message'
      if (isMessage && this.#data.length > 0) this.#onData(this.#data.join('\n'))
      this.#data = []
      this.#event = ''
      return
    }
    const colon = line.indexOf(':')
    const name = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (name === 'data') this.#data.push(value)
    else if (name === 'event') this.#event = value
  }
}
