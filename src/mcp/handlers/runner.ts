import { ProtocolError, ProtocolErrorCode, inputRequired } from '@modelcontextprotocol/server'
import type { CallToolResult, InputRequiredResult, ServerContext } from '@modelcontextprotocol/server'
import { mapMaybe } from '../../async/maybe-async.ts'
import type { MaybePromise } from '../../async/maybe-async.ts'
import type { RecordCall } from '../exchange.ts'
import { recordStoreFailure } from './caller.ts'
import { DeferredClientChannel, sdkChannel } from './client-channel.ts'
import type { ClientChannel } from './client-channel.ts'
import { InputRequiredError } from './elicitation-and-sampling.ts'
import { HandlerContext } from './context.ts'
import type { ContextServices, HandlerCall, RequiredInput, Round } from './context.ts'
import type { Deadline } from './handler-timeout.ts'
import type { Envelope } from './envelope.ts'
import { withRecord } from './finished-calls.ts'
import { RequestStateError } from './request-state.ts'
import type { Answers, RequestStates, StateBinding } from './request-state.ts'
import { resumeCall } from './running-call.ts'
import type { RunningCall } from './running-call.ts'

/** A call whose request the SDK handles. */
export interface HandlerRequest extends HandlerCall {
  context: ServerContext
}

/** A call of a first round that is started before the SDK gets its request. */
export interface FirstRequest extends HandlerCall {
  /** `_meta` of a 2026-07-28 request; undefined in a session, which knows its client. */
  envelope: Envelope | undefined
}

export interface RunnerOptions extends Omit<ContextServices, 'pending'> {
  requestStates: RequestStates
  /** Gets each call when it has ended; undefined without an audit log. */
  recordCall?: RecordCall | undefined
}

/** Runs a handler with its context. It may run again, from the start, with the client's answers. */
export type Handle<Result> = (context: HandlerContext) => MaybePromise<Result>

const NO_ANSWERS: Answers = {}

export type Runner = ReturnType<typeof createRunner>

/**
 * Runs the handlers of tools, prompts and resources. Questions to the client go out on the call's stream in the 2025
 * revisions. In 2026-07-28 they end the call with `input_required`, and the client sends it again with its answers.
 */
export function createRunner ({ requestStates, recordCall, ...shared }: RunnerOptions) {
  const pending = new Set<Deadline>()
  const services: ContextServices = { ...shared, pending }

  function runHandler<Result extends object> (
    call: HandlerCall,
    channel: ClientChannel,
    round: Round | undefined,
    handle: Handle<Result>
  ): MaybePromise<Result | InputRequiredResult> {
    const context = new HandlerContext(services, call, channel, round)
    return mapMaybe<Result, Result | InputRequiredResult>(
      () => handle(context),
      (result): MaybePromise<Result | InputRequiredResult> => {
        context.finish()
        // A handler may have caught the InputRequiredError.
        const { requiredInput } = context
        return afterNotifications(context, requiredInput === undefined
          ? result
          : requireInput(call, round!, requiredInput))
      },
      (err) => {
        context.finish()
        if (!(err instanceof InputRequiredError)) throw err
        return afterNotifications(context, requireInput(call, round!, context.requiredInput!))
      }
    )
  }

  function requireInput (
    call: HandlerCall, { answers }: Round, { requests, upstream }: RequiredInput
  ): InputRequiredResult {
    const asked = Object.keys(requests)
    const requestState = requestStates.seal(bindingOf(call), { answers, asked, upstream })
    return inputRequired({ ...(asked.length > 0 && { inputRequests: requests }), requestState })
  }

  async function readRound (request: HandlerRequest): Promise<Round> {
    const { envelope, inputResponses = {}, requestState } = request.context.mcpReq
    const state = requestState<string>()
    const given = state === undefined ? { answers: NO_ANSWERS } : await openState(request, state, inputResponses)
    return { envelope: envelope as Envelope, ...given }
  }

  /** Returns the answers of earlier rounds, and those of this one to the questions that were asked. */
  async function openState (
    call: HandlerCall, state: string, responses: Answers
  ): Promise<Pick<Round, 'answers' | 'upstream'>> {
    const { caller } = call
    try {
      const opened = await recordStoreFailure(caller, requestStates.open(state, bindingOf(call)))
      const { answers, asked, upstream } = opened
      const given = Object.fromEntries(Object.entries(responses).filter(([key]) => asked.includes(key)))
      return upstream === undefined
        ? { answers: { ...answers, ...given } }
        : { answers, upstream: { ...upstream, inputResponses: given } }
    } catch (err) {
      if (!(err instanceof RequestStateError)) throw err
      caller.log.info({ event: 'mcp.request_state_refused', reason: err.message }, 'A request state was refused')
      const data = { reason: 'invalid_request_state' }
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'Invalid or expired requestState', data)
    }
  }

  return {
    /** Runs a handler for a request of the SDK, or continues the caller's running call. */
    async run<Result extends object> (
      request: HandlerRequest, handle: Handle<Result>
    ): Promise<Result | InputRequiredResult> {
      const { caller: { session, running }, context } = request
      if (running !== undefined) return await resumeCall(running, context) as Result | InputRequiredResult
      return await withRecord(recordCall, request, async () => {
        const round = session === undefined ? await readRound(request) : undefined
        return await runHandler(request, sdkChannel(context), round, handle)
      })
    },

    /**
     * Starts a tool call before the SDK gets its request. Set as `caller.running`, it is continued by `run`.
     *
     * @param onClientNeeded called when the handler needs its client: the SDK must get the request then
     */
    start (request: FirstRequest, handle: Handle<CallToolResult>, onClientNeeded: () => void): RunningCall {
      const { envelope } = request
      const channel = new DeferredClientChannel(onClientNeeded)
      const round = envelope === undefined ? undefined : { envelope, answers: NO_ANSWERS }
      const outcome = withRecord(recordCall, request, () => runHandler(request, channel, round, handle))
      return { channel, outcome }
    },

    /** Aborts all handlers that run. */
    abortAll (reason: Error): void {
      for (const deadline of pending) deadline.abort(reason)
    }
  }
}

/** Returns what ends a run when the notifications are sent that the handler has not awaited. */
function afterNotifications<Outcome> (context: HandlerContext, outcome: Outcome): MaybePromise<Outcome> {
  const sending = context.sendNotifications()
  return sending === undefined ? outcome : sending.then(() => outcome)
}

function bindingOf ({ caller, method, name, arguments: args }: HandlerCall): StateBinding {
  return { principalKey: caller.principal?.key ?? '', method, name, arguments: args }
}
