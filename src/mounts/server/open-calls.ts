import { ToolError } from '../../define/tool.ts'
import type { RunContext } from '../../mcp/handlers/execute.ts'
import { clientAddressKey } from '../../net/addresses.ts'
import type { Caller } from '../caller/caller.ts'
import type { CallLimits } from './call-limits.ts'
import { KEY, continueElsewhere, ownerOfCall, readContinuation } from './call-elsewhere.ts'
import { serializeOutcome, toOutcome } from './call-outcome.ts'
import type { CallOutcome } from './call-outcome.ts'
import { OpenCall } from './open-call.ts'
import type { Question } from './open-call.ts'

/** Limits of calls that wait for the answer of a client of 2026-07-28: each keeps its connection in use. */
const MAX_SUSPENDED = 200
const MAX_SUSPENDED_OF_CALLER = 10

/**
 * The calls to a mounted server of 2025, which may ask the client while a call runs. A client of 2026-07-28 answers
 * with another request: until that comes the call stays open here. Where it comes to another replica, that one has this
 * one continue the call.
 */
export class OpenCalls {
  readonly #limits: Pick<CallLimits, 'pauseRequest'>
  readonly #suspended = new Map<string, { call: OpenCall<object>, release: () => void }>()

  constructor (limits: Pick<CallLimits, 'pauseRequest'>) {
    this.#limits = limits
  }

  /**
   * Starts a call, or continues the one that the client's answer is for, until it ends or asks.
   *
   * @param send sends the request to the server, for a caller with `askClient`
   * @throws InputRequiredError if a client of 2026-07-28 is asked; errors of `send`
   */
  async run<Result extends object> (context: RunContext, send: (caller: Caller) => Promise<Result>): Promise<Result> {
    const { signal, upstreamRound, heldCalls } = context
    const id = upstreamRound?.isHeld === true ? upstreamRound.requestState : undefined
    if (id !== undefined && heldCalls.isElsewhere(id)) return await continueElsewhere(context, id) as Result
    const call = this.#take(id) ?? new OpenCall(context, send, this.#limits)
    const onAbort = (): void => { call.abort(signal.reason as Error) }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      call.continue(context, upstreamRound?.inputResponses[KEY])
      for (let asked = await call.nextQuestion(); asked !== undefined; asked = await call.nextQuestion()) {
        await this.#ask(call, asked, context)
      }
      return await call.result as Result
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #ask (call: OpenCall<object>, { request, answer, refuse }: Question, context: RunContext): Promise<void> {
    const isInRounds = context.session === undefined
    const requestState = isInRounds ? context.heldCalls.createId() : undefined
    try {
      if (isInRounds) this.#makeRoom(context)
      const asking = context.askForUpstream({ inputRequests: { [KEY]: request }, requestState, isHeld: isInRounds })
      const round = await call.orEnd(asking)
      answer(round?.inputResponses[KEY])
    } catch (err) {
      if (err instanceof ToolError) {
        refuse(err)
        return
      }
      if (requestState !== undefined && !call.isEnded) this.#suspend(requestState, call)
      throw err
    }
  }

  /** Continues a call with what its client has sent to another replica. @returns what that replica is to know */
  async #continueFor (
    call: OpenCall<object>, message: string, note: (text: string, isProgress: boolean) => Promise<void>
  ): Promise<string> {
    call.continueFor(readContinuation(message), async (told) => {
      await note(JSON.stringify(told), told.method === 'progress')
    })
    const outcome = await this.#findOutcome(call).catch(toOutcome)
    return serializeOutcome(outcome, call.context.maxResultBytes)
  }

  /** Waits until a call ends or asks. @throws errors of the call */
  async #findOutcome (call: OpenCall<object>): Promise<CallOutcome> {
    for (let asked = await call.nextQuestion(); asked !== undefined; asked = await call.nextQuestion()) {
      try {
        this.#makeRoom(call.context)
      } catch (err) {
        asked.refuse(err as Error)
        continue
      }
      const id = call.context.heldCalls.createId()
      this.#suspend(id, call)
      return { kind: 'question', request: asked.request, id }
    }
    return { kind: 'result', result: await call.result }
  }

  /** Makes room for a call that waits, in the place of one that has ended. @throws ToolError if too many wait */
  #makeRoom (context: RunContext): void {
    const owner = ownerOf(context)
    this.#forgetEnded(MAX_SUSPENDED_OF_CALLER, ({ caller }) => ownerOf(caller) === owner)
    this.#forgetEnded(MAX_SUSPENDED, () => true)
  }

  /** Forgets the oldest of some calls that has ended, if there are as many as may be. */
  #forgetEnded (max: number, belongs: (call: OpenCall<object>) => boolean): void {
    const calls = [...this.#suspended].filter(([, { call }]) => belongs(call))
    if (calls.length < max) return
    const ended = calls.find(([, { call }]) => call.isEnded)
    if (ended === undefined) throw new ToolError('Too many calls wait for an answer')
    this.#take(ended[0])
  }

  #suspend (id: string, call: OpenCall<object>): void {
    const { heldCalls, inputTimeoutSeconds } = call.context
    const release = heldCalls.hold(id, {
      owner: ownerOfCall(call.context),
      continue: async (message, note) => {
        this.#take(id)
        return await this.#continueFor(call, message, note)
      },
      abandon: () => {
        this.#take(id)
        call.abort(new Error('The client is no longer waiting'))
      }
    })
    this.#suspended.set(id, { call, release })
    call.expireIn(inputTimeoutSeconds * 1_000, () => { this.#take(id) })
  }

  #take (id: string | undefined): OpenCall<object> | undefined {
    const suspended = this.#suspended.get(id ?? '')
    this.#suspended.delete(id ?? '')
    suspended?.release()
    return suspended?.call
  }
}

/**
 * Returns whom a suspended call counts for: the person, whatever their clients are, or the address if nobody is known.
 */
function ownerOf ({ principal, clientAddress }: Caller): string {
  return principal?.personKey ?? clientAddressKey(clientAddress)
}
