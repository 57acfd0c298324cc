/**
 * A task that never runs twice at the same time. Requested while it runs, it runs once more afterwards, however often
 * it was requested. A run that fails does not lose what was requested meanwhile.
 */
export interface CoalescedTask {
  readonly isRunning: boolean
  request (): void
  /** Resolves when no run is in progress or requested. */
  idle (): Promise<void>
}

/** @param work may request the task again itself */
export function createCoalescedTask (work: () => Promise<void>, onError: (err: unknown) => void): CoalescedTask {
  return new Task(work, onError)
}

/** A class, as every open stream has one. */
class Task implements CoalescedTask {
  isRunning = false
  #isRequested = false
  #settled: Promise<void> | undefined
  readonly #work: () => Promise<void>
  readonly #onError: (err: unknown) => void

  constructor (work: () => Promise<void>, onError: (err: unknown) => void) {
    this.#work = work
    this.#onError = onError
  }

  request (): void {
    this.#isRequested = true
    if (this.isRunning) return
    this.isRunning = true
    this.#settled = this.#runWhileRequested()
  }

  async idle (): Promise<void> {
    await this.#settled
  }

  async #runWhileRequested (): Promise<void> {
    while (this.#isRequested) {
      this.#isRequested = false
      try {
        await this.#work()
      } catch (err) {
        this.#onError(err)
      }
    }
    this.isRunning = false
  }
}
