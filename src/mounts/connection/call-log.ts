import type { LoggingLevel } from '@modelcontextprotocol/client'
import { isAsSevereAs } from '../../define/log-level.ts'
import type { Caller } from '../caller/caller.ts'
import type { Mount } from '../settings/mounts-file.ts'
import { checkDepth } from '../transport/limited-fetch.ts'

/** Limits of the log messages of one call: of their number, of the characters of each, and of all that wait. */
const MAX_MESSAGES = 1_000
const MAX_CHARACTERS = 65_536
const MAX_WAITING_CHARACTERS = 1_048_576

/** The longest time that a result, or a question, waits for the messages before it. */
const MAX_DELAY_MS = 5_000

/** What clients of 2025 get that have not set a level. */
const DEFAULT_LEVEL: LoggingLevel = 'info'

/** The parameters of `notifications/message`. */
interface LogMessage {
  level: LoggingLevel
  logger?: string | undefined
  data?: unknown
}

interface WaitingMessage extends LogMessage {
  characters: number
}

/** Returns the lowest severity of log messages that a caller's client wants of a call; undefined if it wants none. */
export function wantedLogLevel ({ isFinished, logLevel, session }: Caller): LoggingLevel | undefined {
  // Completions have no stream for messages.
  if (isFinished === undefined) return undefined
  return logLevel ?? (session === undefined ? undefined : DEFAULT_LEVEL)
}

/**
 * Sends the log messages that a server sends while a call runs to the client whose call it is, and to nobody else: one
 * after the other, at the pace of the client.
 */
export class CallLog {
  /** The messages that were more, or longer, than is passed on, or that the client did not take in time. */
  dropped = 0
  /** The lowest severity that the client wants. */
  readonly level: LoggingLevel
  readonly #caller: Caller
  readonly #mount: Pick<Mount, 'name' | 'prefix'>
  readonly #waiting: WaitingMessage[] = []
  #waitingCharacters = 0
  #sending: Promise<void> | undefined
  #count = 0
  #isEnded = false

  constructor (caller: Caller, level: LoggingLevel, mount: Pick<Mount, 'name' | 'prefix'>) {
    this.#caller = caller
    this.level = level
    this.#mount = mount
  }

  receive ({ level, logger, data }: LogMessage): void {
    if (this.#isEnded || this.#caller.isFinished === true || !isAsSevereAs(level, this.level)) return
    const characters = this.#count < MAX_MESSAGES ? countCharacters([logger, data]) : Infinity
    if (characters > MAX_CHARACTERS || this.#waitingCharacters + characters > MAX_WAITING_CHARACTERS) {
      this.dropped++
      return
    }
    this.#count++
    this.#waitingCharacters += characters
    this.#waiting.push({ level, logger, data, characters })
    this.#sending ??= this.#sendWaiting()
  }

  /** Waits until the messages so far are sent. */
  async sent (): Promise<void> {
    if (this.#sending === undefined) return
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => { timer = setTimeout(resolve, MAX_DELAY_MS) })
    await Promise.race([this.#sending, late])
    clearTimeout(timer)
  }

  /** Ends the log with its call, when the messages that came before the result are sent. */
  async end (): Promise<void> {
    this.#isEnded = true
    await this.sent()
    this.dropped += this.#waiting.splice(0).length
  }

  async #sendWaiting (): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const { level, logger, data, characters } = next
      this.#waitingCharacters -= characters
      const sending = this.#caller.isFinished !== true && this.#caller.logToClient!(level, data, this.#nameOf(logger))
      await Promise.allSettled([sending])
    }
    this.#sending = undefined
  }

  /** Returns the name of a logger, as names of tools are: with that of the mount before it. */
  #nameOf (logger: string | undefined): string | undefined {
    const { name, prefix } = this.#mount
    if (prefix === false) return logger
    return logger === undefined ? name : `${name}_${logger}`
  }
}

/** Returns the length of a message as JSON; Infinity if it is too deep. */
function countCharacters (message: unknown): number {
  try {
    checkDepth(message)
    return JSON.stringify(message).length
  } catch {
    return Infinity
  }
}
