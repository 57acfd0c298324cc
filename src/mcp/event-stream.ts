import { Readable } from 'node:stream'

/** An open answer of server-sent events (HTML Standard, section 9.2), written to one client. */
export interface EventStream {
  /** What HTTP sends. */
  readonly body: Readable
  readonly open: boolean
  /** Writes one event. A client that leaves too much unread is cut instead. */
  write (event: { data: string, id?: string | undefined, retryMs?: number }): void
  /** Writes a comment, which clients ignore. */
  comment (text: string): void
  /** Writes what is framed already. */
  raw (frames: string | Uint8Array): void
  /** Ends it after what has been written. */
  end (): void
  /** Called once, when it is over: ended, cut, or left by the client. */
  onEnd (listener: () => void): void
}

/** All streams of one process: they share one clock. */
export interface EventStreams {
  open (): EventStream
  close (): void
}

export interface EventStreamsOptions {
  /** Comments that keep proxies from closing a quiet stream. */
  keepAliveMs?: number
  /** What a client may leave unread. */
  unreadBytes?: number
  /** How long a client may read nothing of what is there. */
  unreadMs?: number
  onCut (reason: string): void
}

/** Headers of a stream: no cache, and nginx is told not to buffer. */
export const EVENT_STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no'
}

export function createEventStreams ({ keepAliveMs = 15_000, unreadBytes = 1_048_576, unreadMs = 30_000, onCut }: EventStreamsOptions): EventStreams {
  const all = new Set<Stream>()
  const clock = setInterval(() => { for (const stream of all) stream.tick() }, keepAliveMs).unref()

  class Stream implements EventStream {
    readonly body = new Readable({ read () {} })
    #written = 0
    #readAtLastTick = 0
    #idleTicks = 0
    #ended = false

    constructor () {
      all.add(this)
      this.body.once('close', () => {
        this.#ended = true
        all.delete(this)
      })
      // Whoever sends the body hears of its errors; without anybody they must not end the process.
      this.body.on('error', () => {})
    }

    get open (): boolean {
      return !this.#ended
    }

    write ({ data, id, retryMs }: { data: string, id?: string | undefined, retryMs?: number }): void {
      this.raw((id === undefined ? '' : `id: ${id}\n`) + (retryMs === undefined ? '' : `retry: ${retryMs}\n`) + (data === '' ? 'data: \n\n' : `event: message\ndata: ${data}\n\n`))
    }

    comment (text: string): void {
      this.raw(`: ${text}\n\n`)
    }

    raw (frames: string | Uint8Array): void {
      if (!this.open) return
      this.#written += Buffer.byteLength(frames)
      this.body.push(frames)
      if (this.body.readableLength > unreadBytes) this.cut(`more than ${unreadBytes} bytes are unread`)
    }

    end (): void {
      if (!this.open) return
      // What was written is still to be read, within the same time.
      this.#ended = true
      this.body.push(null)
    }

    onEnd (listener: () => void): void {
      this.body.once('close', listener)
    }

    tick (): void {
      const unread = this.body.readableLength
      const read = this.#written - unread
      this.#idleTicks = unread > 0 && read === this.#readAtLastTick ? this.#idleTicks + 1 : 0
      this.#readAtLastTick = read
      if (this.#idleTicks * keepAliveMs >= unreadMs) this.cut(`nothing was read for ${unreadMs} ms`)
      else this.comment('keep-alive')
    }

    cut (reason: string): void {
      this.#ended = true
      onCut(reason)
      this.body.destroy(new Error(`The client does not read: ${reason}`))
    }
  }

  return {
    open: () => new Stream(),
    close () { clearInterval(clock) }
  }
}
