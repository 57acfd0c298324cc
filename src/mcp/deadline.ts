/** How long a call may run. Its clock stands still while it waits for its client. */
export interface Deadline {
  /** Aborts when the time is up, and when the call is aborted for another reason. Made when it is first asked for. */
  readonly signal: AbortSignal
  /** Why it was aborted; undefined while it was not. */
  readonly reason: Error | undefined
  /** Calls when it is aborted, without the cost of a signal. */
  onAbort (listener: (reason: Error) => void): void
  abort (reason: Error): void
  /** Stops the clock until the promise settles. */
  pause<T> (waiting: Promise<T>): Promise<T>
  clear (): void
}

/** The reason of the signal when the time was up. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

export function startDeadline (seconds: number): Deadline {
  return new RunningDeadline(seconds)
}

/** A class: there is one for every call. */
class RunningDeadline implements Deadline {
  reason: Error | undefined
  readonly #seconds: number
  #controller: AbortController | undefined
  #listeners: Array<(reason: Error) => void> = []
  #leftMs: number
  #startedAt = 0
  #waiting = 0
  #timer: NodeJS.Timeout | undefined

  constructor (seconds: number) {
    this.#seconds = seconds
    this.#leftMs = seconds * 1_000
    this.#run()
  }

  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.reason !== undefined) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }

  onAbort (listener: (reason: Error) => void): void {
    this.#listeners.push(listener)
  }

  abort (reason: Error): void {
    if (this.reason !== undefined) return
    this.reason = reason
    this.#controller?.abort(reason)
    for (const listener of this.#listeners) listener(reason)
  }

  async pause<T> (waiting: Promise<T>): Promise<T> {
    if (this.#waiting++ === 0) {
      clearTimeout(this.#timer)
      this.#leftMs = Math.max(0, this.#leftMs - (performance.now() - this.#startedAt))
    }
    try {
      return await waiting
    } finally {
      if (--this.#waiting === 0) this.#run()
    }
  }

  clear (): void {
    clearTimeout(this.#timer)
    // A pause that ends later starts no clock again.
    this.#waiting = Infinity
  }

  #run (): void {
    this.#startedAt = performance.now()
    this.#timer = setTimeout(timeUp, this.#leftMs, this, this.#seconds)
  }
}

function timeUp (deadline: Deadline, seconds: number): void {
  deadline.abort(new TimeoutError(`did not finish within ${seconds} ${seconds === 1 ? 'second' : 'seconds'} and was cancelled`))
}
