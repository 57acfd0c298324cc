import type { Writable } from 'node:stream'
import { createTimeSlicer } from '../../async/time-slicer.ts'
import type { EventStream } from '../exchange.ts'

export interface EventStreamsOptions {
  /** Interval of the comments that keep proxies from closing an idle stream. */
  keepAliveMs?: number
  /** Bytes that a client may leave unread. */
  maxUnreadBytes?: number
  /** Time in which a client must read at least something of what is unread. */
  maxUnreadMs?: number
  /** Called when a stream is cut off because its client does not read it. */
  onCutOff (reason: string): void
}

export type EventStreams = ReturnType<typeof createEventStreams>

/** All event streams of this process. They share one timer. */
export function createEventStreams (options: EventStreamsOptions) {
  const { keepAliveMs = 15_000, maxUnreadBytes = 1_048_576, maxUnreadMs = 30_000, onCutOff } = options
  const registry: Registry = { streams: new Set(), keepAliveMs, maxUnreadBytes, maxUnreadMs, onCutOff }
  const slicer = createTimeSlicer()
  const timer = setInterval(() => {
    slicer.forEach(registry.streams, (stream) => { stream.keepAlive() })
  }, keepAliveMs).unref()

  return {
    open (): EventStream { return new ResponseStream(registry) },
    close (): void { clearInterval(timer) }
  }
}

interface Registry extends Required<EventStreamsOptions> {
  streams: Set<ResponseStream>
}

/** Bytes that may wait for the response to start before writers have to wait. */
const MAX_EARLY_BYTES = 65_536

class ResponseStream implements EventStream {
  readonly #registry: Registry
  #response: Writable | undefined
  /** Frames written before there was a response. */
  #early: Array<string | Uint8Array> = []
  /** Total size of the frames that the response did not pass on at once. */
  #written = 0
  #takenAtLastTick = 0
  #idleTicks = 0
  #isEnded = false
  #isClosed = false
  #endListeners: Array<() => void> = []
  readonly #readyListeners: Array<() => void> = []

  constructor (registry: Registry) {
    this.#registry = registry
    registry.streams.add(this)
  }

  get open (): boolean {
    return !this.#isEnded
  }

  write ({ data, id, retryMs }: { data: string, id?: string | undefined, retryMs?: number }): void {
    const fields = (id === undefined ? '' : `id: ${id}\n`) + (retryMs === undefined ? '' : `retry: ${retryMs}\n`)
    this.raw(fields + (data === '' ? 'data: \n\n' : `event: message\ndata: ${data}\n\n`))
  }

  comment (text: string): void {
    this.raw(`: ${text}\n\n`)
  }

  raw (frames: string | Uint8Array): void {
    if (!this.open) return
    // A single event may be larger than the limit: a result is never cut off because of its own size.
    const { maxUnreadBytes } = this.#registry
    if (this.#unread > maxUnreadBytes) {
      this.#cutOff(`more than ${maxUnreadBytes} bytes are unread`)
      return
    }
    if (this.#response === undefined) {
      this.#early.push(frames)
      this.#written += Buffer.byteLength(frames)
    } else {
      this.#send(this.#response, frames)
    }
  }

  untilReady (): Promise<void> | undefined {
    const response = this.#response
    const isFull = response === undefined ? this.#written > MAX_EARLY_BYTES : response.writableNeedDrain
    if (!isFull || !this.open) return undefined
    return new Promise((resolve) => {
      if (this.#readyListeners.length === 0) response?.once('drain', () => { this.#becomeReady() })
      this.#readyListeners.push(resolve)
    })
  }

  end (): void {
    if (!this.open) return
    // The stream stays registered: its client must still read what was written, within the same time.
    this.#isEnded = true
    this.#response?.end()
  }

  destroy (): void {
    this.#isEnded = true
    if (this.#response === undefined) this.#close()
    else this.#response.destroy()
  }

  onEnd (listener: () => void): void {
    if (this.#isClosed) listener()
    else this.#endListeners.push(listener)
  }

  pipe (response: Writable): void {
    const frames = this.#early
    this.#early = []
    this.#written = 0
    this.#response = response
    // The client has left, or the stream was cut off before there was a response.
    if (response.destroyed || this.#isClosed) {
      response.destroy()
      this.#close()
      return
    }
    response.on('close', () => { this.#close() })
    response.cork()
    for (const frame of frames) this.#send(response, frame)
    response.uncork()
    this.#becomeReady()
    if (this.#isEnded) response.end()
  }

  /** Runs every `keepAliveMs`: cuts off a client that has stopped reading, and keeps the others connected. */
  keepAlive (): void {
    const unread = this.#unread
    const taken = this.#written - unread
    this.#idleTicks = unread > 0 && taken === this.#takenAtLastTick ? this.#idleTicks + 1 : 0
    this.#takenAtLastTick = taken
    const { keepAliveMs, maxUnreadMs } = this.#registry
    if (this.#idleTicks * keepAliveMs >= maxUnreadMs) this.#cutOff(`nothing was read for ${maxUnreadMs} ms`)
    else this.comment('keep-alive')
  }

  get #unread (): number {
    return this.#response === undefined ? this.#written : this.#response.writableLength
  }

  #send (response: Writable, frames: string | Uint8Array): void {
    const before = response.writableLength
    response.write(frames)
    this.#written += response.writableLength - before
  }

  #cutOff (reason: string): void {
    this.#registry.onCutOff(reason)
    this.destroy()
  }

  #close (): void {
    this.#isEnded = true
    this.#isClosed = true
    this.#registry.streams.delete(this)
    const listeners = this.#endListeners
    this.#endListeners = []
    for (const listener of listeners) listener()
    this.#becomeReady()
  }

  #becomeReady (): void {
    for (const resolve of this.#readyListeners.splice(0)) resolve()
  }
}
