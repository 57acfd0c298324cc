import { CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, ProtocolError, ProtocolErrorCode, inputRequired } from '@modelcontextprotocol/server'
import type { CallToolResult, InputRequiredResult, JSONRPCMessage, LoggingLevel, ServerContext, ServerEvent } from '@modelcontextprotocol/server'
import type { ClientInfo } from '../../define/context.ts'
import type { Caller } from './caller.ts'
import { recordStoreFailure } from './caller.ts'
import type { Run } from './execute.ts'
import { InputRequiredError, askInRounds, askOnStream } from './client-input.ts'
import type { AskClient, Rounds } from './client-input.ts'
import { DeferredClientChannel, sdkChannel } from './client-channel.ts'
import type { ClientChannel } from './client-channel.ts'
import type { Deadline } from './deadline.ts'
import { HandlerContext } from './context.ts'
import type { HandlerContextOptions, TokenFor } from './context.ts'
import { RequestStateError } from './request-state.ts'
import type { Answers, RequestStates, StateBinding } from './request-state.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import { mapMaybe } from '../../async/maybe-async.ts'
import type { MaybePromise } from '../../async/maybe-async.ts'

/**
 * Runs the handlers of tools, prompts and resources with what they need of their request. Questions to the client go out
 * on the call's stream in the 2025 revisions, and in 2026-07-28 end the call, which comes again with the answer.
 */
export interface Runner {
  /** @param work runs the handler; it may run again with answers of the client */
  run<Result> (request: HandlerRequest, work: (run: Run) => MaybePromise<Result>): Promise<Result | InputRequiredResult>
  /**
   * Begins a tool call of its first round before the SDK has it. `run` with a caller whose `begun` it is goes on with it.
   * @param needed called when the handler needs its client
   */
  start (request: FirstRequest, work: (run: Run) => MaybePromise<CallToolResult>, needed: () => void): RunningCall
  /** Aborts what is running. */
  abortAll (reason: Error): void
}

interface Called {
  caller: Caller
  method: string
  /** The tool, the prompt, the resource's URI. */
  name: string
  arguments: unknown
}

export interface HandlerRequest extends Called {
  context: ServerContext
}

export interface FirstRequest extends Called {
  /** Of `_meta`; undefined in a session, which knows its client. */
  envelope: Envelope | undefined
}

/** A call that runs already, or is done. */
export interface RunningCall {
  readonly outcome: MaybePromise<CallToolResult | InputRequiredResult>
  readonly channel: DeferredClientChannel
}

/** Of 2026-07-28: what the request says of its client, and the answers of earlier rounds. */
interface Round {
  envelope: Envelope
  answers: Answers
}

const NO_ANSWERS: Answers = {}

export interface RunnerOptions {
  sessions: Pick<Sessions, 'logLevel'>
  requestStates: RequestStates
  timeoutSeconds: number
  inputTimeoutSeconds: number
  announce (change: ServerEvent): void
  /** Leaves a message that belongs to no call. @throws StoreUnavailableError */
  queue (session: Session, message: JSONRPCMessage): Promise<void>
  tokenFor: TokenFor | undefined
  onerror (error: Error): void
}

const SEVERITIES = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

export function createRunner (options: RunnerOptions): Runner {
  const { requestStates } = options
  const running = new Set<Deadline>()

  function inSession<Result> (called: Called, channel: ClientChannel, work: (run: Run) => MaybePromise<Result>): MaybePromise<Result> {
    const run = new HandlerRun(options, running, called, channel, undefined)
    return mapMaybe(() => work(run), (result) => {
      run.end()
      return result
    }, (err) => {
      run.end()
      throw err
    })
  }

  async function inRounds<Result> (request: HandlerRequest, work: (run: Run) => MaybePromise<Result>): Promise<Result | InputRequiredResult> {
    const { caller } = request
    const { envelope, inputResponses, requestState } = request.context.mcpReq
    const answers = await readAnswers(caller, requestState<string>(), inputResponses ?? {}, bindingOf(request))
    return await inRound(request, sdkChannel(request.context), { envelope: envelope as Envelope, answers }, work)
  }

  function inRound<Result> (called: Called, channel: ClientChannel, round: Round, work: (run: Run) => MaybePromise<Result>): MaybePromise<Result | InputRequiredResult> {
    const run = new HandlerRun(options, running, called, channel, round)
    const needed = (missing: Rounds['missing']): InputRequiredResult => inputRequired({
      inputRequests: missing,
      requestState: requestStates.seal(bindingOf(called), { answers: round.answers, asked: Object.keys(missing) })
    })
    return mapMaybe<Result, Result | InputRequiredResult>(() => work(run), (result) => {
      run.end()
      // A handler may have caught what stopped it.
      return run.missing === undefined ? result : needed(run.missing)
    }, (err) => {
      run.end()
      if (err instanceof InputRequiredError) return needed(run.missing!)
      throw err
    })
  }

  /** The answers of earlier rounds and those of this one to what was asked. */
  async function readAnswers (caller: Caller, state: string | undefined, responses: Record<string, unknown>, binding: StateBinding): Promise<Answers> {
    if (state === undefined) return {}
    try {
      const { answers, asked } = await recordStoreFailure(caller, requestStates.open(state, binding))
      return { ...answers, ...Object.fromEntries(Object.entries(responses).filter(([key]) => asked.includes(key))) }
    } catch (err) {
      if (err instanceof RequestStateError) {
        caller.log.warn({ reason: err.message }, 'A request state was refused')
        throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'Invalid or expired requestState', { reason: 'invalid_request_state' })
      }
      throw err
    }
  }

  return {
    async run (request, work) {
      const { session, running } = request.caller
      if (running !== undefined) return await resume(running, request.context) as Awaited<ReturnType<typeof work>>
      return session === undefined ? await inRounds(request, work) : await inSession(request, sdkChannel(request.context), work)
    },
    start (request, work, needed) {
      const { envelope } = request
      const channel = new DeferredClientChannel(needed)
      return { channel, outcome: envelope === undefined ? inSession(request, channel, work) : inRound(request, channel, { envelope, answers: NO_ANSWERS }, work) }
    },
    abortAll (reason) {
      for (const deadline of running) deadline.abort(reason)
    }
  }
}

/** One run of a handler: what its context is made from, as far as the handler asks for it. */
class HandlerRun implements Run, HandlerContextOptions {
  readonly #options: RunnerOptions
  readonly #running: Set<Deadline>
  readonly #called: Called
  readonly request: ClientChannel
  readonly #round: Round | undefined
  #rounds: Rounds | undefined
  #deadline: Deadline | undefined
  #forget: (() => void) | undefined

  /** @param round undefined in a session */
  constructor (options: RunnerOptions, running: Set<Deadline>, called: Called, request: ClientChannel, round: Round | undefined) {
    this.#options = options
    this.#running = running
    this.#called = called
    this.request = request
    this.#round = round
  }

  createContext (deadline: Deadline): HandlerContext {
    this.#deadline = deadline
    return new HandlerContext(this)
  }

  /** From now on the client may stop waiting, and the server may stop. */
  onWaiting (deadline: Deadline): void {
    this.#running.add(deadline)
    this.#forget = this.request.onAbort(() => { deadline.abort(new Error('The client does not wait any more')) })
  }

  end (): void {
    if (this.#forget === undefined) return
    this.#forget()
    this.#running.delete(this.deadline)
  }

  get principal (): HandlerContextOptions['principal'] { return this.#called.caller.principal }
  get log (): HandlerContextOptions['log'] { return this.#called.caller.log }
  get of (): string { return this.#called.name }
  get deadline (): Deadline { return this.#deadline! }
  get timeoutSeconds (): number { return this.#options.timeoutSeconds }
  get announce (): RunnerOptions['announce'] { return this.#options.announce }
  get tokenFor (): RunnerOptions['tokenFor'] { return this.#options.tokenFor }
  get onerror (): RunnerOptions['onerror'] { return this.#options.onerror }

  get client (): ClientInfo {
    if (this.#round !== undefined) return describeClient(this.#round.envelope)
    const { clientInfo, capabilities } = this.#called.caller.session!
    return { ...clientInfo, capabilities }
  }

  get ask (): AskClient {
    if (this.#round === undefined) return askOnStream(this.request, this.client, { deadline: this.deadline, timeoutSeconds: this.#options.inputTimeoutSeconds })
    this.#rounds ??= askInRounds(this.#round.answers)
    return this.#rounds.ask
  }

  /** What was asked for and has no answer. */
  get missing (): Rounds['missing'] | undefined {
    const missing = this.#rounds?.missing
    return missing === undefined || Object.keys(missing).length === 0 ? undefined : missing
  }

  get complete (): HandlerContextOptions['complete'] {
    const { session } = this.#called.caller
    if (session === undefined) return undefined
    return async (elicitationId) => {
      await this.#options.queue(session, { jsonrpc: '2.0', method: 'notifications/elicitation/complete', params: { elicitationId } })
    }
  }

  async wants (level: LoggingLevel): Promise<boolean> {
    const { session } = this.#called.caller
    return session === undefined || reaches(level, await this.#options.sessions.logLevel(session))
  }
}

async function resume ({ outcome, channel }: RunningCall, context: ServerContext): Promise<CallToolResult | InputRequiredResult> {
  channel.attach(sdkChannel(context))
  return await outcome
}

function bindingOf ({ caller, method, name, arguments: given }: Called): StateBinding {
  return { principalKey: caller.principal?.key ?? '', method, name, arguments: given }
}

/** Members of `_meta` that the SDK has checked. */
export type Envelope = {
  [CLIENT_INFO_META_KEY]?: { name: string, version: string }
  [CLIENT_CAPABILITIES_META_KEY]: Record<string, unknown>
}

function describeClient ({ [CLIENT_INFO_META_KEY]: info, [CLIENT_CAPABILITIES_META_KEY]: capabilities }: Envelope): ClientInfo {
  return { name: info?.name, version: info?.version, capabilities }
}

function reaches (level: LoggingLevel, least: string | undefined): boolean {
  return least === undefined || SEVERITIES.indexOf(level) >= SEVERITIES.indexOf(least)
}
