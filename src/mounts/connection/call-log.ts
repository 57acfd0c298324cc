import type { LoggingLevel } from '@modelcontextprotocol/client'
import { isAsSevereAs } from '../../define/log-level.ts'
import type { Caller } from '../caller/caller.ts'
import type { Mount } from '../settings/mounts-file.ts'
import { checkDepth } from '../transport/limited-fetch.ts'

/** Limits of the log messages of one call: of their number, of those that wait for the client, and of each. */
const MAX_MESSAGES = 1_000
const MAX_WAITING = 16
const MAX_CHARACTERS = 65_536

/** The longest time that a result waits for the messages before it. */
const MAX_DELAY_MS = 1_000

/** What clients of 2025 get that have not set a level. */
const DEFAULT_LEVEL: LoggingLevel = 'info'

/** The parameters of `notifications/message`. */
interface LogMessage {
  level: LoggingLevel
  logger?: string | undefined
  data?: unknown
}

/** Returns the lowest severity of log messages that a caller's client wants of a call; undefined if it wants none. */
export function wantedLogLevel ({ isFinished, logLevel, session }: Caller): LoggingLevel | undefined {
  // Completions have no stream for messages.
  if (isFinished === undefined) return undefined
  return logLevel ?? (session === undefined ? undefined : DEFAULT_LEVEL)
}

/** Sends the log messages that a server sends while a call runs to the client whose call it is, and to nobody else. */
export class CallLog {
  /** The messages that were more, or longer, than is passed on. */
  dropped = 0
  /** The lowest severity that the client wants. */
  readonly level: LoggingLevel
  readonly #caller: Caller
  readonly #mount: Pick<Mount, 'name' | 'prefix'>
  readonly #waiting = new Set<Promise<void>>()
  #count = 0
  #isEnded = false

  constructor (caller: Caller, level: LoggingLevel, mount: Pick<Mount, 'name' | 'prefix'>) {
    this.#caller = caller
    this.level = level
    this.#mount = mount
  }

  receive ({ level, logger, data }: LogMessage): void {
    if (this.#isEnded || this.#caller.isFinished === true || !isAsSevereAs(level, this.level)) return
    if (this.#count >= MAX_MESSAGES || this.#waiting.size >= MAX_WAITING || !isShort([logger, data])) {
      this.dropped++
      return
    }
    this.#count++
    const done = (): void => { this.#waiting.delete(sending) }
    const sending = this.#caller.logToClient!(level, data, this.#nameOf(logger)).then(done, done)
    this.#waiting.add(sending)
  }

  /** Ends the log with its call, when the messages that came before the result are sent. */
  async end (): Promise<void> {
    this.#isEnded = true
    if (this.#waiting.size === 0) return
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => { timer = setTimeout(resolve, MAX_DELAY_MS) })
    await Promise.race([Promise.all(this.#waiting), late])
    clearTimeout(timer)
  }

  /** Returns the name of a logger, as names of tools are: with that of the mount before it. */
  #nameOf (logger: string | undefined): string | undefined {
    const { name, prefix } = this.#mount
    if (prefix === false) return logger
    return logger === undefined ? name : `${name}_${logger}`
  }
}

function isShort (message: unknown): boolean {
  try {
    checkDepth(message)
    return JSON.stringify(message).length <= MAX_CHARACTERS
  } catch {
    return false
  }
}
