import type { ResponseTooLargeError } from './limited-fetch.ts'

/** A message that the SDK sends, and the exchange that its response comes in: a stream may be resumed by another. */
export class SentMessage {
  /** The error that has ended the exchange: the SDK keeps no more than the text. */
  failure: ResponseTooLargeError | undefined
  /** Whether nothing more is expected, so that no stream is resumed. */
  isOver = false
  readonly #controller = new AbortController()
  #hasEnded = false
  #timer: NodeJS.Timeout | undefined

  /** Gives the exchange up. */
  get signal (): AbortSignal {
    return this.#controller.signal
  }

  /** Notes that an exchange begins. */
  begin (): void {
    this.#hasEnded = false
  }

  /** Notes that the exchange has ended. */
  end (): void {
    this.#hasEnded = true
    clearTimeout(this.#timer)
  }

  /** Gives the exchange up after a time, unless it ends before. */
  endWithin (ms: number): void {
    this.isOver = true
    if (this.#hasEnded) return
    this.#timer = setTimeout(() => {
      this.#controller.abort(new Error('The server has not ended the exchange in time'))
    }, ms).unref()
  }
}
