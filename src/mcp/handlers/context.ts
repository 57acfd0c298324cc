import { LOG_LEVEL_META_KEY } from '@modelcontextprotocol/server'
import type { InputRequest, JSONRPCMessage, LoggingLevel, ServerEvent } from '@modelcontextprotocol/server'
import type { ClientInfo, RequestContext, RequestLog } from '../../define/context.ts'
import type { NextUpstreamRound, UpstreamQuestions, UpstreamRound } from '../../define/upstream.ts'
import type { Principal } from '../../tokens/principal.ts'
import type { HeldCalls } from '../cluster/held-calls.ts'
import type { TraceHandler } from '../exchange.ts'
import type { Session } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { AssertionFor } from './assertion-for.ts'
import type { Caller } from './caller.ts'
import type { ClientChannel } from './client-channel.ts'
import {
  InputRequiredError, askInRounds, askOnStream, askService, createClientInput
} from './elicitation-and-sampling.ts'
import type { AskClient, ClientInput, Rounds } from './elicitation-and-sampling.ts'
import { createClientLog, createProgress } from './client-notifications.ts'
import { NotificationQueue } from './notification-queue.ts'
import { Deadline } from './handler-timeout.ts'
import { toClientInfo } from './envelope.ts'
import type { Envelope } from './envelope.ts'
import type { RunContext } from './execute.ts'
import type { Answers } from './request-state.ts'
import { askForUpstream, nextRound, toRevisionOf } from './upstream-input.ts'

/** Gets a token of the provider for another API, on behalf of a principal (RFC 8693; oauth/modes/broker). */
export type TokenFor = (
  principal: Principal,
  request: { audience: string, resource?: string, scopes?: readonly string[], allowServerToken?: boolean },
  signal: AbortSignal
) => Promise<string>

/** Services and settings that the contexts of all handler runs share. */
export interface ContextServices {
  sessions: Pick<Sessions, 'logLevel'>
  /** Maximum run time of handlers that declare none (TOOL_TIMEOUT_SECONDS). */
  timeoutSeconds: number
  /** Maximum wait for a client's answer (INPUT_TIMEOUT_SECONDS). */
  inputTimeoutSeconds: number
  /** Maximum size of a result (MCP_MAX_RESULT_BYTES). */
  maxResultBytes: number
  announce (change: ServerEvent): void
  /** Asks the client of a session outside of any call. @throws ToolError without an answer; StoreUnavailableError */
  askSession (session: Session, request: InputRequest): Promise<unknown>
  /** Queues a message that belongs to no call. @throws StoreUnavailableError */
  queue (session: Session, message: JSONRPCMessage): Promise<void>
  heldCalls: HeldCalls
  tokenFor: TokenFor | undefined
  /** Undefined without SEED_SECRET. */
  assertionFor: AssertionFor | undefined
  /** Undefined where requests are not traced. */
  traceHandler: TraceHandler | undefined
  onerror (error: Error): void
  /** Deadlines of the handlers that wait for something. */
  pending: Set<Deadline>
}

/** The call of a tool, prompt or resource. */
export interface HandlerCall {
  caller: Caller
  method: string
  /** The tool's or prompt's name, or the resource's URI. */
  name: string
  arguments: unknown
  /** Why the handler has refused the call; undefined unless it did. */
  refusal?: string
}

/** A round of a 2026-07-28 call: what the request says of its client, and the answers of earlier rounds. */
export interface Round {
  envelope: Envelope
  answers: Answers
  /** The round at a server behind this one, which asked in the round before. */
  upstream?: UpstreamRound | undefined
}

/** The end of a round of a 2026-07-28 call whose client is asked for more. */
export interface RequiredInput {
  requests: Record<string, InputRequest>
  /** The next round at a server behind this one, if that asks. */
  upstream: NextUpstreamRound | undefined
}

/**
 * The context that a handler gets, and all state of the handler's run. Its members are made when the handler reads
 * them, as most handlers read few.
 */
export class HandlerContext implements RunContext {
  readonly #services: ContextServices
  readonly #call: HandlerCall
  readonly #channel: ClientChannel
  readonly #round: Round | undefined
  #deadline: Deadline | undefined
  #clientInput: ClientInput | undefined
  #notifications: NotificationQueue | undefined
  #rounds: Rounds | undefined
  #ask: AskClient | undefined
  #upstreamRound: UpstreamRound | undefined
  #nextUpstreamRound: NextUpstreamRound | undefined
  #removeAbortListener: (() => void) | undefined
  isFinished = false

  /** @param round undefined in a session */
  constructor (services: ContextServices, call: HandlerCall, channel: ClientChannel, round: Round | undefined) {
    this.#services = services
    this.#call = call
    this.#channel = channel
    this.#round = round
    this.#upstreamRound = round?.upstream
  }

  get principal (): Principal | undefined {
    return this.#call.caller.principal
  }

  get log (): RequestLog {
    const { name, caller: { log, principal } } = this.#call
    const caller = principal && { subject: principal.subject, clientId: principal.clientId }
    return bindLog(log, { handler: name, ...caller })
  }

  get signal (): AbortSignal {
    return this.#deadline!.signal
  }

  get client (): ClientInfo {
    if (this.#round !== undefined) return toClientInfo(this.#round.envelope)
    const { clientInfo, capabilities } = this.#call.caller.session!
    return { ...clientInfo, capabilities }
  }

  get progress (): RequestContext['progress'] {
    return createProgress(this.#channel, this.#queue)
  }

  get logToClient (): RequestContext['logToClient'] {
    return createClientLog(this.#channel, this.#call.caller.session, this.#services.sessions, this.#queue)
  }

  get logLevel (): LoggingLevel | undefined {
    if (this.#round !== undefined) return this.#round.envelope[LOG_LEVEL_META_KEY]
    return this.#call.caller.session!.logLevel as LoggingLevel | undefined
  }

  get elicit (): RequestContext['elicit'] {
    return this.#input.elicit
  }

  get elicitUrl (): RequestContext['elicitUrl'] {
    return this.#input.elicitUrl
  }

  get sample (): RequestContext['sample'] {
    return this.#input.sample
  }

  get listRoots (): RequestContext['listRoots'] {
    return this.#input.listRoots
  }

  get announce (): RequestContext['announce'] {
    return this.#services.announce
  }

  get tokenFor (): RequestContext['tokenFor'] {
    return async (audience, options = {}) => {
      const { tokenFor } = this.#services
      const { principal, signal } = this
      if (tokenFor === undefined || principal === undefined) {
        throw new Error('tokenFor needs a caller who is signed in with OAUTH_MODE=broker')
      }
      return await tokenFor(principal, { audience, ...options }, signal)
    }
  }

  get assertionFor (): RequestContext['assertionFor'] {
    return async (audience, options = {}) => {
      const { assertionFor } = this.#services
      if (assertionFor === undefined) {
        throw new Error('assertionFor needs SEED_SECRET: without it each replica and each start signs with another key')
      }
      this.signal.throwIfAborted()
      return await assertionFor(this.principal, { audience, ...options })
    }
  }

  get maxResultBytes (): number {
    return this.#services.maxResultBytes
  }

  get inputTimeoutSeconds (): number {
    return this.#services.inputTimeoutSeconds
  }

  get heldCalls (): HeldCalls {
    return this.#services.heldCalls
  }

  get requestMeta (): Readonly<Record<string, unknown>> | undefined {
    return this.#channel._meta
  }

  get clientAddress (): string {
    return this.#call.caller.request.address
  }

  get session (): Session | undefined {
    return this.#call.caller.session
  }

  get traceHandler (): TraceHandler | undefined {
    return this.#services.traceHandler
  }

  get upstreamRound (): UpstreamRound | undefined {
    return this.#upstreamRound
  }

  async askForUpstream (questions: UpstreamQuestions): Promise<UpstreamRound> {
    const next = nextRound(this.#upstreamRound, questions)
    const isSession = this.#round === undefined
    const ask: AskClient = async (request, key) => await this.#askClient(toRevisionOf(isSession, request), key)
    const inputResponses = await askForUpstream(questions.inputRequests, ask, this.client)
    if (inputResponses === undefined || !isSession) {
      this.#nextUpstreamRound = next
      throw new InputRequiredError('The client is asked for what a server behind this one needs')
    }
    this.#upstreamRound = { ...next, inputResponses }
    return this.#upstreamRound
  }

  recordRefusal (reason: string): void {
    this.#call.refusal = reason
  }

  get notifyElicitationComplete (): RunContext['notifyElicitationComplete'] {
    const { session } = this.#call.caller
    const { queue } = this.#services
    if (session === undefined) return undefined
    const method = 'notifications/elicitation/complete'
    return async (elicitationId) => { await queue(session, { jsonrpc: '2.0', method, params: { elicitationId } }) }
  }

  get askOutsideCall (): RunContext['askOutsideCall'] {
    const { session } = this.#call.caller
    const { askSession } = this.#services
    return session === undefined ? undefined : async (request) => await askSession(session, request)
  }

  createDeadline (timeoutSeconds: number = this.#services.timeoutSeconds): Deadline {
    this.#deadline = new Deadline(timeoutSeconds)
    return this.#deadline
  }

  /** Allows aborting the run from now on: by the client, or when the server shuts down. */
  onPending (): void {
    const deadline = this.#deadline!
    this.#services.pending.add(deadline)
    this.#removeAbortListener = this.#channel.onAbort(() => {
      deadline.abort(new Error('The client is no longer waiting'))
    })
  }

  /**
   * Sends the notifications that the handler has not awaited.
   *
   * @returns undefined if there are none
   */
  sendNotifications (): Promise<void> | undefined {
    return this.#notifications?.finish().then(() => { this.#logDropped() })
  }

  /** Ends the run. */
  finish (): void {
    this.isFinished = true
    if (this.#removeAbortListener === undefined) return
    this.#removeAbortListener()
    this.#services.pending.delete(this.#deadline!)
  }

  /** The questions to the client at the end of this round of a 2026-07-28 call; undefined if all was answered. */
  get requiredInput (): RequiredInput | undefined {
    const { missing: requests = {} } = this.#rounds ?? {}
    const upstream = this.#nextUpstreamRound
    return upstream === undefined && Object.keys(requests).length === 0 ? undefined : { requests, upstream }
  }

  get #queue (): NotificationQueue {
    this.#notifications ??= new NotificationQueue(this.#call.caller, this.#services.onerror)
    return this.#notifications
  }

  #logDropped (): void {
    const { dropped } = this.#notifications!
    if (dropped === 0) return
    this.log.warn({ event: 'handler.notifications_dropped', dropped },
      'Progress or log messages were not sent to the client: the handler does not await them')
  }

  get #input (): ClientInput {
    this.#clientInput ??= createClientInput(this.#askClient, this.notifyElicitationComplete)
    return this.#clientInput
  }

  get #askClient (): AskClient {
    this.#ask ??= this.principal?.kind === 'service' ? askService(this.#createAsk()) : this.#createAsk()
    return this.#ask
  }

  #createAsk (): AskClient {
    if (this.#round !== undefined) {
      this.#rounds = askInRounds(this.#round.answers)
      return this.#rounds.ask
    }
    const timeoutSeconds = this.#services.inputTimeoutSeconds
    return askOnStream(this.#channel, this.client, { deadline: this.#deadline!, timeoutSeconds })
  }
}

function bindLog (log: RequestLog, bound: object): RequestLog {
  return {
    info (fields, message) { log.info({ ...bound, ...fields }, message) },
    warn (fields, message) { log.warn({ ...bound, ...fields }, message) },
    error (fields, message) { log.error({ ...bound, ...fields }, message) }
  }
}
