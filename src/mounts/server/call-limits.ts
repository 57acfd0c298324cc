import { digest } from '../../crypto/hash.ts'
import type { RequestLog } from '../../define/context.ts'
import { ToolError } from '../../define/tool.ts'
import type { Counter } from '../../limits/shared-counter.ts'
import type { SharedCounters } from '../../limits/shared-counters.ts'
import type { Caller } from '../caller/caller.ts'
import { RareLog } from '../connection/rare-log.ts'
import type { Mount } from '../settings/mounts-file.ts'
import { listOverrides } from '../settings/overrides.ts'

/** The limit of a mount that refuses a call, by its member of the file. */
export type CallLimit = 'maxConcurrentCalls' | 'callsPerMinute'

/** A call that is not sent to a mounted server, as one of its limits is reached. */
export class CallLimitError extends ToolError {
  /** For the audit log. */
  readonly reason: string

  constructor (message: string, reason: string) {
    super(message)
    this.reason = reason
  }
}

export interface CallLimitsOptions {
  mount: Pick<Mount, 'name' | 'maxConcurrentCalls' | 'callsPerMinute' | 'tools' | 'prompts'>
  log: RequestLog
  /** Measures refused calls. */
  onRefused: (limit: CallLimit) => void
}

/** A server that answers slowly, or not at all, holds no more calls than this at a replica. */
const DEFAULT_MAX_CONCURRENT_CALLS = 100

/** Callers of whom nobody is known, with AUTH_REQUIRED=false, count as one. */
const NOBODY = 'nobody'

/**
 * The limits of a mounted server: requests that run at once at this replica, whoever calls, and calls of each person in
 * a minute, over all replicas.
 */
export class CallLimits {
  readonly #options: CallLimitsOptions
  readonly #maxConcurrentCalls: number
  #running = 0
  /** By the place of the tool or prompt that they are for; undefined for the whole mount. */
  readonly #perMinute = new Map<string | undefined, { counter: Counter, max: number }>()
  readonly #busy = new RareLog()
  readonly #exceeded = new RareLog()

  constructor (options: CallLimitsOptions) {
    this.#options = options
    this.#maxConcurrentCalls = options.mount.maxConcurrentCalls ?? DEFAULT_MAX_CONCURRENT_CALLS
  }

  /** Begins to count the calls of each person, with the other replicas. Until then there is no such limit. */
  share (counters: SharedCounters): void {
    const { mount } = this.#options
    const add = (max: number | undefined, place?: string): void => {
      if (max === undefined) return
      this.#perMinute.set(place, { counter: counters.counter(familyOf(mount.name, place), max), max })
    }
    add(mount.callsPerMinute)
    for (const { place, override } of listOverrides(mount)) add(override.callsPerMinute, place)
  }

  /**
   * Counts a call of a person or service, with all their clients.
   *
   * @param place of the tool or prompt in the file: `tools.overrides.close_ticket`; undefined for resources
   * @throws CallLimitError beyond a limit; the call does not count then
   */
  countCall ({ principal }: Caller, place: string | undefined): void {
    const caller = principal?.personKey ?? NOBODY
    const counters: Counter[] = []
    for (const scope of new Set([undefined, place])) {
      const limit = this.#perMinute.get(scope)
      if (limit === undefined) continue
      const { counter, max } = limit
      if (counter.total(caller) >= max) throw this.#tooMany(max, counter.secondsLeft(), scope)
      counters.push(counter)
    }
    for (const counter of counters) counter.add(caller)
  }

  /**
   * Counts a call as running, and as one of this minute: neither if it is refused.
   *
   * @param place as for `countCall`
   * @returns the function that ends it
   * @throws CallLimitError beyond a limit
   */
  beginCall (caller: Caller, place: string | undefined): () => void {
    const end = this.beginRequest()
    try {
      this.countCall(caller, place)
      return end
    } catch (err) {
      end()
      throw err
    }
  }

  /**
   * Counts a request as running.
   *
   * @param isFurtherRound whether it brings the client's answers: it counts, but is not refused, as they would be lost
   * @returns the function that ends it
   * @throws CallLimitError if as many run as may
   */
  beginRequest (isFurtherRound = false): () => void {
    if (this.#running >= this.#maxConcurrentCalls && !isFurtherRound) throw this.#tooBusy()
    this.#running++
    return () => { this.#running-- }
  }

  /**
   * Does not count a request that runs, while it waits for the client's answer.
   *
   * @returns the function that counts it again, beyond the limit too
   */
  pauseRequest (): () => void {
    this.#running--
    return () => { this.#running++ }
  }

  #tooBusy (): CallLimitError {
    const { mount: { name: mount }, log } = this.#options
    const max = this.#maxConcurrentCalls
    this.#options.onRefused('maxConcurrentCalls')
    this.#busy.log(() => {
      log.warn({ event: 'mount.calls_refused', mount, limit: 'maxConcurrentCalls', max },
        'As many calls to a mounted MCP server run as may at once: further ones are refused (maxConcurrentCalls)')
    })
    return new CallLimitError(
      `The server behind ${mount} has as many calls running as it may (${max}, maxConcurrentCalls): ` +
        'try again in a few seconds',
      `${max} calls at once to mount "${mount}" (maxConcurrentCalls)`
    )
  }

  #tooMany (max: number, seconds: number, place: string | undefined): CallLimitError {
    const { mount: { name: mount }, log } = this.#options
    const rule = place === undefined ? 'callsPerMinute' : `${place}.callsPerMinute`
    this.#options.onRefused('callsPerMinute')
    this.#exceeded.log(() => {
      log.warn({ event: 'mount.calls_refused', mount, limit: 'callsPerMinute', place, max },
        'Somebody has made as many calls to a mounted MCP server in this minute as one may: further ones are refused ' +
        '(callsPerMinute)')
    })
    const what = place === undefined ? '' : `this ${place.startsWith('tools.') ? 'tool' : 'prompt'} of `
    return new CallLimitError(
      `Too many calls to ${what}the server behind ${mount}: at most ${max} a minute (callsPerMinute); ` +
        `try again in ${seconds} s`,
      `${max} calls of one person in this minute to mount "${mount}" (${rule})`
    )
  }
}

/** Returns the name of a counter: 28 characters, of which the shared counters take 32. */
function familyOf (mount: string, place: string | undefined): string {
  return `mount.${digest(JSON.stringify([mount, place])).slice(0, 22)}`
}
