/** The reason of an abort because the time was up. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

/**
 * The time limit of one handler run. The clock starts when the handler turns out to be asynchronous, and stands still
 * while it waits for its client. Every call has a deadline, so signal, listeners and timer are made only when needed.
 */
export class Deadline {
  /** Why the run was aborted; undefined while it was not. */
  reason: Error | undefined
  readonly #seconds: number
  #controller: AbortController | undefined
  #listeners: Array<(reason: Error) => void> | undefined
  #remainingMs: number
  #started = false
  #startedAt = 0
  #pauses = 0
  #timer: NodeJS.Timeout | undefined

  constructor (seconds: number) {
    this.#seconds = seconds
    this.#remainingMs = seconds * 1_000
  }

  /** The signal that the handler gets. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.reason !== undefined) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }

  /** Calls the listener once the run is aborted; cheaper than a signal. */
  onAbort (listener: (reason: Error) => void): void {
    if (this.reason !== undefined) listener(this.reason)
    else (this.#listeners ??= []).push(listener)
  }

  /** Aborts the run. Only the first reason counts. */
  abort (reason: Error): void {
    if (this.reason !== undefined) return
    this.reason = reason
    this.#controller?.abort(reason)
    for (const listener of this.#listeners ?? []) listener(reason)
  }

  /** Starts the clock. */
  start (): void {
    this.#started = true
    this.#startTimer()
  }

  /** Stops the clock until the promise settles. */
  async pause<T> (waiting: Promise<T>): Promise<T> {
    if (this.#pauses++ === 0 && this.#timer !== undefined) {
      this.#stopTimer()
      this.#remainingMs = Math.max(0, this.#remainingMs - (performance.now() - this.#startedAt))
    }
    try {
      return await waiting
    } finally {
      this.#pauses--
      this.#startTimer()
    }
  }

  /** Ends the run: the clock stops for good, also if a pause ends later. */
  clear (): void {
    this.#stopTimer()
    this.#started = false
  }

  #startTimer (): void {
    if (!this.#started || this.#pauses > 0) return
    this.#startedAt = performance.now()
    this.#timer = setTimeout(abortLate, this.#remainingMs, this, this.#seconds)
  }

  #stopTimer (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}

function abortLate (deadline: Deadline, seconds: number): void {
  const limit = `${seconds} ${seconds === 1 ? 'second' : 'seconds'}`
  deadline.abort(new TimeoutError(`did not finish within ${limit} and was cancelled`))
}
