const MAX_PAUSE_MS = 60_000

/**
 * Limits how often announced changes of a server's lists are followed: the first at once, the next after a pause that
 * doubles for as long as changes are announced in it. All lists are fetched, compiled and announced to every client.
 */
export class ListChanges {
  readonly #fetchLists: () => void
  readonly #minPauseMs: number
  #pauseMs: number
  #isAnnounced = false
  #timer: NodeJS.Timeout | undefined

  constructor (fetchLists: () => void, minPauseMs: number) {
    this.#fetchLists = fetchLists
    this.#minPauseMs = this.#pauseMs = minPauseMs
  }

  announce (): void {
    this.#isAnnounced = true
    if (this.#timer === undefined) this.#follow()
  }

  stop (): void {
    clearTimeout(this.#timer)
  }

  #follow (): void {
    this.#isAnnounced = false
    this.#fetchLists()
    this.#timer = setTimeout(() => { this.#endPause() }, this.#pauseMs)
    this.#timer.unref()
  }

  #endPause (): void {
    this.#timer = undefined
    this.#pauseMs = this.#isAnnounced ? Math.min(MAX_PAUSE_MS, this.#pauseMs * 2) : this.#minPauseMs
    if (this.#isAnnounced) this.#follow()
  }
}
