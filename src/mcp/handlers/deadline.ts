/** How long a call may run. Its clock stands still while it waits for its client. */
export interface Deadline {
  /** Aborts when the time is up, and when the call is aborted for another reason. Made when it is first asked for. */
  readonly signal: AbortSignal
  /** Why it was aborted; undefined while it was not. */
  readonly reason: Error | undefined
  /** Calls when it is aborted, without the cost of a signal. */
  onAbort (listener: (reason: Error) => void): void
  abort (reason: Error): void
  /** Starts the clock. */
  start (): void
  /** Stops the clock until the promise settles. */
  pause<T> (waiting: Promise<T>): Promise<T>
  clear (): void
}

/** The reason of the signal when the time was up. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

/** Its clock does not run yet. */
export function createDeadline (seconds: number): Deadline {
  return new CallDeadline(seconds)
}

/** A class: there is one for every call. */
class CallDeadline implements Deadline {
  reason: Error | undefined
  readonly #seconds: number
  #controller: AbortController | undefined
  #listeners: Array<(reason: Error) => void> | undefined
  #leftMs: number
  #started = false
  #startedAt = 0
  #waiting = 0
  #timer: NodeJS.Timeout | undefined

  constructor (seconds: number) {
    this.#seconds = seconds
    this.#leftMs = seconds * 1_000
  }

  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.reason !== undefined) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }

  onAbort (listener: (reason: Error) => void): void {
    if (this.reason !== undefined) listener(this.reason)
    else (this.#listeners ??= []).push(listener)
  }

  abort (reason: Error): void {
    if (this.reason !== undefined) return
    this.reason = reason
    this.#controller?.abort(reason)
    for (const listener of this.#listeners ?? []) listener(reason)
  }

  start (): void {
    this.#started = true
    this.#run()
  }

  async pause<T> (waiting: Promise<T>): Promise<T> {
    if (this.#waiting++ === 0 && this.#timer !== undefined) {
      this.#stop()
      this.#leftMs = Math.max(0, this.#leftMs - (performance.now() - this.#startedAt))
    }
    try {
      return await waiting
    } finally {
      this.#waiting--
      this.#run()
    }
  }

  clear (): void {
    this.#stop()
    // A pause that ends later starts no clock again.
    this.#started = false
  }

  #run (): void {
    if (!this.#started || this.#waiting > 0) return
    this.#startedAt = performance.now()
    this.#timer = setTimeout(timeUp, this.#leftMs, this, this.#seconds)
  }

  #stop (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}

function timeUp (deadline: Deadline, seconds: number): void {
  deadline.abort(new TimeoutError(`did not finish within ${seconds} ${seconds === 1 ? 'second' : 'seconds'} and was cancelled`))
}
