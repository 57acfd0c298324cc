import { randomUUID } from 'node:crypto'
import type { InputRequest } from '@modelcontextprotocol/client'
import { ToolError } from '../../define/tool.ts'
import type { RunContext } from '../../mcp/handlers/execute.ts'
import { connectionKey } from '../caller/caller.ts'
import type { Caller } from '../caller/caller.ts'

/** Limits of calls that wait for the answer of a client of 2026-07-28: each keeps its connection in use. */
const MAX_SUSPENDED = 200
const MAX_SUSPENDED_OF_CALLER = 10

/** Limit of the questions of one call that wait until those before them are answered. */
const MAX_WAITING = 10

/** The key of the question in a round. */
const KEY = 'question'

interface Question {
  request: InputRequest
  answer (value: unknown): void
  refuse (error: Error): void
}

/**
 * The calls to a mounted server of 2025, which may ask the client while a call runs. A client of 2026-07-28 answers
 * with another request: until that comes the call stays open here, so no other replica can continue it.
 */
export class OpenCalls {
  readonly #suspended = new Map<string, OpenCall<object>>()

  /**
   * Starts a call, or continues the one that the client's answer is for, until it ends or asks.
   *
   * @param send sends the request to the server, for a caller with `askClient`
   * @throws InputRequiredError if a client of 2026-07-28 is asked; errors of `send`
   */
  async run<Result extends object> (context: RunContext, send: (caller: Caller) => Promise<Result>): Promise<Result> {
    const { signal, upstreamRound } = context
    const call = this.#take(upstreamRound?.requestState) ?? new OpenCall(context, send)
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
    const requestState = isInRounds ? randomUUID() : undefined
    try {
      if (isInRounds) this.#checkLimits(context)
      const asking = context.askForUpstream({ inputRequests: { [KEY]: request }, requestState })
      const round = await call.orEnd(asking)
      answer(round?.inputResponses[KEY])
    } catch (err) {
      if (err instanceof ToolError) {
        refuse(err)
        return
      }
      if (requestState !== undefined) this.#suspend(requestState, call, context.inputTimeoutSeconds)
      throw err
    }
  }

  #checkLimits (context: RunContext): void {
    const key = ownerOf(context)
    const own = [...this.#suspended.values()].filter(({ caller }) => ownerOf(caller) === key)
    if (this.#suspended.size >= MAX_SUSPENDED || (key !== undefined && own.length >= MAX_SUSPENDED_OF_CALLER)) {
      throw new ToolError('Too many calls wait for an answer')
    }
  }

  #suspend (id: string, call: OpenCall<object>, seconds: number): void {
    if (!call.isEnded) {
      this.#suspended.set(id, call)
      call.expireIn(seconds * 1_000, () => { this.#suspended.delete(id) })
    }
  }

  #take (id: string | undefined): OpenCall<object> | undefined {
    const call = this.#suspended.get(id ?? '')
    this.#suspended.delete(id ?? '')
    return call
  }
}

/** Returns whom a suspended call counts for: the person, as the keys of connections contain what clients choose. */
function ownerOf (caller: Caller): string | undefined {
  return caller.principal?.personKey ?? connectionKey('session', caller)
}

/** A call to a mounted server, and the questions of the server that belong to it. */
class OpenCall<Result> {
  /** The caller as the connection sees it: that of the round that runs, with the signal of the whole call. */
  readonly caller: Caller
  readonly result: Promise<Result>
  readonly #ended: Promise<undefined>
  readonly #controller = new AbortController()
  readonly #questions: Question[] = []
  #context: RunContext
  isEnded = false
  #onQuestion: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor (context: RunContext, send: (caller: Caller) => Promise<Result>) {
    this.#context = context
    const own: Partial<Caller> = {
      signal: this.#controller.signal,
      askClient: async (request) => await this.#addQuestion(request)
    }
    this.caller = new Proxy<Caller>({ principal: undefined }, {
      get: (_target, name) => name in own
        ? own[name as 'signal']
        : Reflect.get(this.#context, name, this.#context) as unknown
    })
    this.result = send(this.caller)
    const onEnd = (): undefined => { this.#end() }
    this.#ended = this.result.then(onEnd, onEnd)
  }

  /** Goes on in a round, with the answer to the question that was asked in the round before. */
  continue (context: RunContext, answer: unknown): void {
    clearTimeout(this.#timer)
    this.#context = context
    if (answer !== undefined) this.#questions[0]?.answer(answer)
  }

  /** Returns the question that is to be asked next, when there is one; undefined when the call has ended. */
  async nextQuestion (): Promise<Question | undefined> {
    if (this.#questions.length === 0 && !this.isEnded) {
      await Promise.race([this.#ended, new Promise<void>((resolve) => { this.#onQuestion = resolve })])
    }
    return this.isEnded ? undefined : this.#questions[0]
  }

  /** Waits for something, but not for longer than the call lasts. @returns undefined if the call has ended before */
  async orEnd<T> (work: Promise<T>): Promise<T | undefined> {
    work.catch(() => {})
    return await Promise.race([work, this.#ended])
  }

  /** Ends the call if the client does not continue it in time. */
  expireIn (ms: number, onExpired: () => void): void {
    this.#timer = setTimeout(() => {
      onExpired()
      this.abort(new Error('The client did not answer'))
    }, ms)
    this.#timer.unref()
  }

  abort (reason: Error): void {
    this.#controller.abort(reason)
    this.#end()
  }

  #end (): void {
    this.isEnded = true
    clearTimeout(this.#timer)
    for (const { refuse } of this.#questions.splice(0)) refuse(new ToolError('The call has ended'))
  }

  async #addQuestion (request: InputRequest): Promise<unknown> {
    if (this.isEnded || this.#questions.length >= MAX_WAITING) {
      throw new ToolError('Too many questions wait for an answer, or the call has ended')
    }
    return await new Promise((resolve, reject) => {
      const question = {
        request,
        answer: (value: unknown) => {
          this.#remove(question)
          resolve(value)
        },
        refuse: (error: Error) => {
          this.#remove(question)
          reject(error)
        }
      }
      this.#questions.push(question)
      this.#onQuestion?.()
    })
  }

  #remove (question: Question): void {
    const index = this.#questions.indexOf(question)
    if (index !== -1) this.#questions.splice(index, 1)
  }
}
