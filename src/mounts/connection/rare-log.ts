/** The shortest time between two log lines about the same event. */
const PAUSE_MS = 60_000

/** Logs an event that callers can bring about as often as they like, once a minute at most. */
export class RareLog {
  #loggedAt = -Infinity

  log (write: () => void): void {
    const now = performance.now()
    if (now - this.#loggedAt < PAUSE_MS) return
    this.#loggedAt = now
    write()
  }
}
