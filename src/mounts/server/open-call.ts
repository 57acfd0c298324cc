import type { InputRequest } from '@modelcontextprotocol/client'
import { ToolError } from '../../define/tool.ts'
import type { RunContext } from '../../mcp/handlers/execute.ts'
import type { Caller } from '../caller/caller.ts'
import type { CallNote, Continuation } from './call-elsewhere.ts'
import type { CallLimits } from './call-limits.ts'

/** Limit of the questions of one call that wait until those before them are answered. */
const MAX_WAITING = 10

/** A question of a mounted server. */
export interface Question {
  request: InputRequest
  answer (value: unknown): void
  refuse (error: Error): void
}

/** A call to a mounted server, and the questions of the server that belong to it. */
export class OpenCall<Result> {
  /** The caller as the connection sees it: that of the round that runs, with the signal of the whole call. */
  readonly caller: Caller
  readonly result: Promise<Result>
  /** The last round at this replica. */
  context: RunContext
  isEnded = false
  readonly #ended: Promise<undefined>
  readonly #controller = new AbortController()
  readonly #questions: Question[] = []
  readonly #limits: Pick<CallLimits, 'pauseRequest'>
  /** Counts the request again, which does not count while a question waits. */
  #resume: (() => void) | undefined
  /** The caller in the round that runs. */
  #current: Caller
  #onQuestion: (() => void) | undefined
  /** Why the server may not ask any more. */
  #refusal: string | undefined
  #timer: NodeJS.Timeout | undefined

  constructor (
    context: RunContext, send: (caller: Caller) => Promise<Result>, limits: Pick<CallLimits, 'pauseRequest'>
  ) {
    this.#limits = limits
    this.context = this.#current = context
    const own: Partial<Caller> = {
      signal: this.#controller.signal,
      askClient: async (request) => await this.#addQuestion(request)
    }
    this.caller = new Proxy<Caller>({ principal: undefined }, {
      get: (_target, name) => name in own
        ? own[name as 'signal']
        : Reflect.get(this.#current, name, this.#current) as unknown
    })
    this.result = send(this.caller)
    const onEnd = (): undefined => { this.#end() }
    this.#ended = this.result.then(onEnd, onEnd)
  }

  /** Goes on in a round, with the answer to the question that was asked in the round before. */
  continue (context: RunContext, answer: unknown): void {
    this.context = context
    this.#goOn(context, answer)
  }

  /** Goes on in a round of another replica. @param tell passes something on to the client, whom that one serves */
  continueFor ({ answer, refusal, isLastRefusal }: Continuation, tell: (note: CallNote) => Promise<void>): void {
    const { principal, clientAddress, client, requestMeta, logLevel } = this.context
    this.#goOn({
      principal,
      clientAddress,
      client,
      requestMeta,
      logLevel,
      isFinished: false,
      async progress (...params) { await tell({ method: 'progress', params }) },
      async logToClient (...params) { await tell({ method: 'logToClient', params }) }
    }, answer)
    if (refusal === undefined) return
    if (isLastRefusal === true) this.#refuseQuestions(refusal)
    else this.#questions[0]?.refuse(new ToolError(refusal))
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

  /** Gives the call up if the client does not continue it in time, whether or not it has ended. */
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

  #goOn (current: Caller, answer: unknown): void {
    clearTimeout(this.#timer)
    this.#current = current
    if (answer !== undefined) this.#questions[0]?.answer(answer)
  }

  #end (): void {
    this.isEnded = true
    this.#refuseQuestions('The call has ended')
  }

  /** Refuses the questions that wait, and further ones. */
  #refuseQuestions (refusal: string): void {
    this.#refusal = refusal
    for (const { refuse } of this.#questions.splice(0)) refuse(new ToolError(refusal))
  }

  async #addQuestion (request: InputRequest): Promise<unknown> {
    if (this.#refusal !== undefined) throw new ToolError(this.#refusal)
    if (this.#questions.length >= MAX_WAITING) throw new ToolError('Too many questions wait for an answer')
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
      this.#resume ??= this.#limits.pauseRequest()
      this.#onQuestion?.()
    })
  }

  #remove (question: Question): void {
    const index = this.#questions.indexOf(question)
    if (index !== -1) this.#questions.splice(index, 1)
    if (this.#questions.length > 0) return
    this.#resume?.()
    this.#resume = undefined
  }
}
