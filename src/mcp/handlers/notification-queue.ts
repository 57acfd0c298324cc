import type { Caller } from './caller.ts'

type Kind = 'progress' | 'message'

interface Waiting {
  kind: Kind
  send: () => Promise<void>
  done: Promise<void>
  resolve: () => void
}

/** Notifications that a handler may send without awaiting them. */
const MAX_WAITING = 32
/** Maximum time that a result waits for the notifications before it. */
const MAX_DELAY_MS = 1_000

/**
 * Sends the notifications of one call at the pace of its client: each waits until the client has read what came before,
 * and lets the rest of the server work in between. A handler that awaits them loses none. Of those it does not await,
 * `MAX_WAITING` wait; after that, the newest progress replaces one before it, and so does a log message, unless only
 * one waits: then it is dropped.
 */
export class NotificationQueue {
  /** Log messages that were not sent, and progress that was replaced. */
  dropped = 0
  readonly #caller: Pick<Caller, 'untilReady'>
  readonly #onerror: (error: Error) => void
  #waiting: Waiting[] = []
  #isSending = false

  constructor (caller: Pick<Caller, 'untilReady'>, onerror: (error: Error) => void) {
    this.#caller = caller
    this.#onerror = onerror
  }

  /** Sends at once if nothing waits. @returns a promise that resolves when the client can take the next one */
  async send (kind: Kind, send: () => Promise<void>): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING && kind === 'message') this.#dropOldProgress()
    if (this.#waiting.length < MAX_WAITING) {
      const waiting = createWaiting(kind, send)
      this.#waiting.push(waiting)
      if (!this.#isSending) this.#sendWaiting().catch(this.#onerror)
      return await waiting.done
    }
    this.dropped++
    const last = this.#waiting.at(-1)!
    const replaced = kind === 'progress' ? this.#waiting.findLast((waiting) => waiting.kind === kind) : undefined
    if (replaced !== undefined) replaced.send = send
    await (replaced ?? last).done
  }

  /** Drops the oldest progress if there is newer. */
  #dropOldProgress (): void {
    const isProgress = ({ kind }: Waiting): boolean => kind === 'progress'
    const oldest = this.#waiting.findIndex(isProgress)
    if (oldest === this.#waiting.findLastIndex(isProgress)) return
    for (const { resolve } of this.#waiting.splice(oldest, 1)) resolve()
    this.dropped++
  }

  /** Resolves when everything is sent; what has to wait longer than `MAX_DELAY_MS` is dropped. */
  async finish (): Promise<void> {
    if (!this.#isSending) return
    const timer = setTimeout(() => { this.clear() }, MAX_DELAY_MS)
    await this.#waiting.at(-1)?.done
    clearTimeout(timer)
  }

  /** Drops what waits. */
  clear (): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }

  async #sendWaiting (): Promise<void> {
    this.#isSending = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await next.send().catch(this.#onerror)
      await this.#caller.untilReady?.()
      await nextTurn()
      next.resolve()
    }
    this.#isSending = false
  }
}

function createWaiting (kind: Kind, send: () => Promise<void>): Waiting {
  let resolve!: () => void
  const done = new Promise<void>((_resolve) => { resolve = _resolve })
  return { kind, send, done, resolve }
}

/** Lets the event loop serve others. */
async function nextTurn (): Promise<void> {
  await new Promise<void>((resolve) => { setImmediate(resolve) })
}
