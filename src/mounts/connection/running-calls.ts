import { AsyncLocalStorage } from 'node:async_hooks'
import type { Caller } from '../caller/caller.ts'
import type { CallLog } from './call-log.ts'

export interface RunningCall {
  caller: Caller
  /** Undefined if the client wants no log messages, or the server has none. */
  log: CallLog | undefined
}

/** The call in which something happens: streams are read where their request was sent. */
const CALLS = new AsyncLocalStorage<RunningCall>()

/** The calls that run on one connection, among which the one is found that a message of the server belongs to. */
export class RunningCalls {
  readonly #isOneSession: boolean
  readonly #running: RunningCall[] = []

  /** @param isOneSession whether all calls are of one session of one client */
  constructor (isOneSession: boolean) {
    this.#isOneSession = isOneSession
  }

  get count (): number {
    return this.#running.length
  }

  begin (call: RunningCall): void {
    this.#running.push(call)
  }

  end (call: RunningCall): void {
    this.#running.splice(this.#running.indexOf(call), 1)
  }

  /** Sends the requests of a call so that what comes on their streams is known to belong to it, if that matters. */
  within<T> (call: RunningCall, work: () => Promise<T>): Promise<T> {
    const matters = this.#isOneSession || call.caller.askClient !== undefined || call.log !== undefined
    return matters ? CALLS.run(call, work) : work()
  }

  /**
   * Returns the caller to whose call a request of the server belongs, when the log messages before it are sent. Over
   * HTTP that is the call on whose stream it came; otherwise it can only be the latest. All have one session. Undefined
   * if no call runs.
   */
  async findAsked (): Promise<Caller | undefined> {
    const call = [CALLS.getStore(), ...this.#running.toReversed()]
      .find((call) => call?.caller.askClient !== undefined)
    await call?.log?.sent()
    return call?.caller
  }

  /**
   * Returns the log of the call that a message of the server belongs to, as for requests. Where several people or
   * clients share the connection, a message that came on no call's stream could be about any of them: it has no log.
   */
  findLog (): CallLog | undefined {
    const call = CALLS.getStore()
    if (call !== undefined) return call.log
    if (!this.#isOneSession) return undefined
    return this.#running.findLast(({ log }) => log !== undefined)?.log
  }
}
