import type { RequestLog } from '../../define/context.ts'

const PERIOD_MS = 60_000
const MAX_LINES = 100

/** Logs what the processes of a mounted server write to stderr, a hundred lines a minute at most, and why they end. */
export class ProcessLog {
  readonly #mount: string
  readonly #log: RequestLog
  readonly #onMemoryExceeded: () => void
  #endsAt = 0
  #lines = 0
  #dropped = 0

  /** @param onMemoryExceeded measures processes that are ended for the memory that they use */
  constructor (mount: string, log: RequestLog, onMemoryExceeded: () => void) {
    this.#mount = mount
    this.#log = log
    this.#onMemoryExceeded = onMemoryExceeded
  }

  /** Logs a line of stderr. */
  stderr (line: string, now = performance.now()): void {
    if (now >= this.#endsAt) {
      this.#endsAt = now + PERIOD_MS
      this.#lines = 0
    }
    if (++this.#lines > MAX_LINES) {
      this.#dropped++
      return
    }
    const dropped = this.#dropped
    this.#dropped = 0
    const fields = { mount: this.#mount, line: line.replace(/\p{Cc}/gu, ' '), ...(dropped > 0 && { dropped }) }
    this.#log.info({ event: 'mount.stderr', ...fields }, 'The process of a mounted MCP server has written to stderr')
  }

  /** Logs that a process is ended for the memory that it uses. */
  memoryExceeded (memoryBytes: number, maxMemoryBytes: number): void {
    this.#onMemoryExceeded()
    this.#log.warn({ event: 'mount.memory_exceeded', mount: this.#mount, memoryBytes, maxMemoryBytes },
      'A process of a mounted MCP server was ended, as it uses too much memory (maxMemoryBytes): its calls fail, and ' +
      'another process is started')
  }
}
