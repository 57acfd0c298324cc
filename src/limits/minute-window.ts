const WINDOW_MS = 60_000

/** The minute of the wall clock, which is the same on all replicas. */
export class MinuteWindow {
  readonly #wallClock: () => number
  readonly #onEnd: () => void
  #number: number

  /** @param onEnd called at the first look after a minute has ended, or after the clock was set back */
  constructor (wallClock: () => number, onEnd: () => void) {
    this.#wallClock = wallClock
    this.#onEnd = onEnd
    this.#number = Math.floor(wallClock() / WINDOW_MS)
  }

  /** Returns the number of the minute since the epoch. */
  current (): number {
    const elapsed = this.#wallClock() - this.#number * WINDOW_MS
    if (elapsed < 0 || elapsed >= WINDOW_MS) {
      this.#number += Math.floor(elapsed / WINDOW_MS)
      this.#onEnd()
    }
    return this.#number
  }

  /** Returns the seconds until the minute is over: 1 to 60. */
  secondsLeft (): number {
    return Math.ceil((WINDOW_MS - this.#wallClock() % WINDOW_MS) / 1_000)
  }
}
