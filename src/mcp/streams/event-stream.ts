import type { Writable } from 'node:stream'
import type { EventStream } from '../exchange.ts'
import { createTimeSlicer } from '../../async/time-slicer.ts'

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

export function createEventStreams ({ keepAliveMs = 15_000, unreadBytes = 1_048_576, unreadMs = 30_000, onCut }: EventStreamsOptions): EventStreams {
  const all = new Set<Stream>()
  const turns = createTimeSlicer()
  const clock = setInterval(() => { turns.forEach(all, (stream) => { stream.tick() }) }, keepAliveMs).unref()

  class Stream implements EventStream {
    #response: Writable | undefined
    /** What was written before there was a response. */
    #early: Array<string | Uint8Array> = []
    /** What was written and not taken at once, in all; in the measure of the response. */
    #written = 0
    #takenAtLastTick = 0
    #idleTicks = 0
    #ended = false
    #over = false
    #listeners: Array<() => void> = []

    constructor () {
      all.add(this)
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
      if (this.#response === undefined) {
        this.#early.push(frames)
        this.#written += Buffer.byteLength(frames)
      } else {
        this.#send(this.#response, frames)
      }
      if (this.#unread > unreadBytes) this.#cut(`more than ${unreadBytes} bytes are unread`)
    }

    end (): void {
      if (!this.open) return
      // What was written is still to be read, within the same time.
      this.#ended = true
      this.#response?.end()
    }

    destroy (): void {
      this.#ended = true
      if (this.#response === undefined) this.#finish()
      else this.#response.destroy()
    }

    onEnd (listener: () => void): void {
      if (this.#over) listener()
      else this.#listeners.push(listener)
    }

    pipe (response: Writable): void {
      const frames = this.#early
      this.#early = []
      this.#written = 0
      this.#response = response
      // Nobody is there any more, or too much was written before the response was there.
      if (response.destroyed || this.#over) {
        response.destroy()
        this.#finish()
        return
      }
      response.on('close', () => { this.#finish() })
      response.cork()
      for (const frame of frames) this.#send(response, frame)
      response.uncork()
      if (this.#ended) response.end()
    }

    tick (): void {
      const unread = this.#unread
      const taken = this.#written - unread
      this.#idleTicks = unread > 0 && taken === this.#takenAtLastTick ? this.#idleTicks + 1 : 0
      this.#takenAtLastTick = taken
      if (this.#idleTicks * keepAliveMs >= unreadMs) this.#cut(`nothing was read for ${unreadMs} ms`)
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

    #cut (reason: string): void {
      onCut(reason)
      this.destroy()
    }

    #finish (): void {
      this.#ended = true
      this.#over = true
      all.delete(this)
      const listeners = this.#listeners
      this.#listeners = []
      for (const listener of listeners) listener()
    }
  }

  return {
    open: () => new Stream(),
    close () { clearInterval(clock) }
  }
}
