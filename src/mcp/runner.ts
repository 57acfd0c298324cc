import { CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, ProtocolError, ProtocolErrorCode, inputRequired } from '@modelcontextprotocol/server'
import type { CallToolResult, InputRequiredResult, JSONRPCMessage, LoggingLevel, ServerContext, ServerEvent } from '@modelcontextprotocol/server'
import type { ClientInfo } from '../define/context.ts'
import type { Caller } from './caller.ts'
import { noting } from './caller.ts'
import type { Run } from './catalog/execute.ts'
import { InputRequiredError, askInRounds, askOnStream } from './client-input.ts'
import type { AskClient } from './client-input.ts'
import { LateReach, reachThrough } from './client-reach.ts'
import type { ClientReach } from './client-reach.ts'
import type { Deadline } from './deadline.ts'
import { HandlerContext } from './handler-context.ts'
import type { TokenFor } from './handler-context.ts'
import { RequestStateError } from './request-state.ts'
import type { Answers, RequestStates, StateBinding } from './request-state.ts'
import type { Session, Sessions } from './sessions.ts'

/**
 * Runs the handlers of tools, prompts and resources with what they need of their request. Questions to the client go out
 * on the call's stream in the 2025 revisions, and in 2026-07-28 end the call, which comes again with the answer.
 */
export interface Runner {
  /** @param work runs the handler; it may run again with answers of the client */
  run<Result> (request: HandlerRequest, work: (run: Run) => Promise<Result>): Promise<Result | InputRequiredResult>
  /**
   * Begins a tool call of its first round before the SDK has it. `run` with a caller whose `begun` it is goes on with it.
   * @param needed called when the handler needs its client
   */
  begin (request: FirstRequest, work: (run: Run) => Promise<CallToolResult>, needed: () => void): BegunCall
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

/** A call that runs already. */
export interface BegunCall {
  readonly outcome: Promise<CallToolResult | InputRequiredResult>
  readonly reach: LateReach
}

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

export function createRunner ({ sessions, requestStates, timeoutSeconds, inputTimeoutSeconds, announce, queue, tokenFor, onerror }: RunnerOptions): Runner {
  const running = new Set<Deadline>()

  /** With a signal that heeds the client's too. */
  async function heeding<Result> ({ caller, name }: Called, reach: ClientReach, client: ClientInfo, createAsk: (deadline: Deadline) => AskClient, work: (run: Run) => Promise<Result>): Promise<Result> {
    const { principal, log, session } = caller
    let deadline: Deadline | undefined
    let forget: (() => void) | undefined
    const abort = (): void => { deadline!.abort(new Error('The client does not wait any more')) }
    try {
      return await work({
        log,
        timeoutSeconds,
        createContext (created) {
          deadline = created
          running.add(created)
          forget = reach.onAbort(abort)
          return new HandlerContext({
            principal,
            log,
            client,
            deadline: created,
            of: name,
            ask: createAsk(created),
            complete: session && createCompletion(session),
            request: reach,
            wants: async (level) => session === undefined || reaches(level, await sessions.logLevel(session)),
            announce,
            tokenFor,
            onerror
          })
        }
      })
    } finally {
      forget?.()
      if (deadline !== undefined) running.delete(deadline)
    }
  }

  function createCompletion (session: Session) {
    return async (elicitationId: string): Promise<void> => {
      await queue(session, { jsonrpc: '2.0', method: 'notifications/elicitation/complete', params: { elicitationId } })
    }
  }

  async function inSession<Result> (called: Called, reach: ClientReach, session: Session, work: (run: Run) => Promise<Result>): Promise<Result> {
    const client: ClientInfo = { ...session.clientInfo, capabilities: session.capabilities }
    return await heeding(called, reach, client, (deadline) =>
      askOnStream(reach, client, { deadline, timeoutSeconds: inputTimeoutSeconds }), work)
  }

  async function inRounds<Result> (request: HandlerRequest, work: (run: Run) => Promise<Result>): Promise<Result | InputRequiredResult> {
    const { caller } = request
    const { envelope, inputResponses, requestState } = request.context.mcpReq
    const answers = await readAnswers(caller, requestState<string>(), inputResponses ?? {}, bindingOf(request))
    return await inRound(request, reachThrough(request.context), envelope as Envelope, answers, work)
  }

  async function inRound<Result> (called: Called, reach: ClientReach, envelope: Envelope, answers: Answers, work: (run: Run) => Promise<Result>): Promise<Result | InputRequiredResult> {
    const rounds = askInRounds(answers)
    const needed = (): InputRequiredResult => inputRequired({
      inputRequests: rounds.missing,
      requestState: requestStates.seal(bindingOf(called), { answers, asked: Object.keys(rounds.missing) })
    })
    try {
      const result = await heeding(called, reach, describeClient(envelope), () => rounds.ask, work)
      // A handler may have caught what stopped it.
      return Object.keys(rounds.missing).length > 0 ? needed() : result
    } catch (err) {
      if (err instanceof InputRequiredError) return needed()
      throw err
    }
  }

  /** The answers of earlier rounds and those of this one to what was asked. */
  async function readAnswers (caller: Caller, state: string | undefined, responses: Record<string, unknown>, binding: StateBinding): Promise<Answers> {
    if (state === undefined) return {}
    try {
      const { answers, asked } = await noting(caller, requestStates.open(state, binding))
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
      const { session, begun } = request.caller
      if (begun !== undefined) return await goOn(begun, request.context) as Awaited<ReturnType<typeof work>>
      return session === undefined ? await inRounds(request, work) : await inSession(request, reachThrough(request.context), session, work)
    },
    begin (request, work, needed) {
      const { caller: { session }, envelope } = request
      const reach = new LateReach(needed)
      return { reach, outcome: session === undefined ? inRound(request, reach, envelope!, {}, work) : inSession(request, reach, session, work) }
    },
    abortAll (reason) {
      for (const deadline of running) deadline.abort(reason)
    }
  }
}

async function goOn ({ outcome, reach }: BegunCall, context: ServerContext): Promise<CallToolResult | InputRequiredResult> {
  reach.arrive(reachThrough(context))
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
