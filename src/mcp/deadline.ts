/** How long a call may run. Its clock stands still while it waits for its client. */
export interface Deadline {
  /** Aborts when the time is up, and when the call is aborted for another reason. */
  readonly signal: AbortSignal
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
  const controller = new AbortController()
  let leftMs = seconds * 1_000
  let startedAt = 0
  let waiting = 0
  let timer: NodeJS.Timeout | undefined

  function run (): void {
    startedAt = performance.now()
    timer = setTimeout(() => {
      controller.abort(new TimeoutError(`did not finish within ${seconds} ${seconds === 1 ? 'second' : 'seconds'} and was cancelled`))
    }, leftMs)
  }

  run()
  return {
    signal: controller.signal,
    abort (reason) { controller.abort(reason) },
    async pause (promise) {
      if (waiting++ === 0) {
        clearTimeout(timer)
        leftMs = Math.max(0, leftMs - (performance.now() - startedAt))
      }
      try {
        return await promise
      } finally {
        if (--waiting === 0) run()
      }
    },
    clear () {
      clearTimeout(timer)
      // A pause that ends later starts no clock again.
      waiting = Infinity
    }
  }
}
