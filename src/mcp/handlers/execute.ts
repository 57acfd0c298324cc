import { randomBytes } from 'node:crypto'
import type { InputRequest, LoggingLevel } from '@modelcontextprotocol/server'
import { isPromise, mapMaybe } from '../../async/maybe-async.ts'
import type { MaybePromise } from '../../async/maybe-async.ts'
import type { RequestContext, RequestLog } from '../../define/context.ts'
import { fileOf } from '../../define/definition.ts'
import type { Definition } from '../../define/definition.ts'
import { ToolError } from '../../define/tool.ts'
import { UpstreamError } from '../../define/upstream.ts'
import type { UpstreamQuestions, UpstreamRound } from '../../define/upstream.ts'
import type { HeldCalls } from '../cluster/held-calls.ts'
import type { TraceHandler } from '../exchange.ts'
import type { Session } from '../sessions/session.ts'
import { InputRequiredError } from './elicitation-and-sampling.ts'
import { TimeoutError } from './handler-timeout.ts'
import type { Deadline } from './handler-timeout.ts'
import { ResultTooLargeError } from './result-json.ts'

/** The services that running one handler needs. */
export interface Execution {
  /** Gets the handler's failures. */
  readonly log: RequestLog
  /** Undefined where requests are not traced. */
  readonly traceHandler?: TraceHandler | undefined
  /** @param timeoutSeconds declared by the definition; undefined for the server's default */
  createDeadline (timeoutSeconds: number | undefined): Deadline
  /** Called if the handler returned a promise: from now on its deadline may be aborted. */
  onPending (): void
}

/** A handler's context, with what is needed to run the handler. */
export type RunContext = RequestContext & Execution & {
  /** Maximum size of a result (MCP_MAX_RESULT_BYTES). */
  readonly maxResultBytes: number
  /** The request's `_meta`; undefined if it has none. */
  readonly requestMeta?: Readonly<Record<string, unknown>> | undefined
  /** The caller's session; undefined in revision 2026-07-28, which has none. */
  readonly session?: Session | undefined
  /**
   * The lowest severity of log messages that the client wants; undefined if it has not said, which in 2026-07-28 means
   * none.
   */
  readonly logLevel: LoggingLevel | undefined
  /** The client's address, for limits where there is no principal. */
  readonly clientAddress: string
  /** Whether the run has ended: its client gets no more messages. */
  readonly isFinished: boolean
  /**
   * Notifies the client, also after the run, that an elicitation by URL is complete; undefined in 2026-07-28, which has
   * no such notification.
   *
   * @throws StoreUnavailableError
   */
  readonly notifyElicitationComplete: ((elicitationId: string) => Promise<void>) | undefined
  /**
   * Asks the client, also after the run, on its session's own stream; undefined in 2026-07-28, which has no sessions.
   *
   * @throws ToolError if there is no answer in time, or it is an error; StoreUnavailableError
   */
  readonly askOutsideCall: ((request: InputRequest) => Promise<unknown>) | undefined
  /** Maximum wait for a client's answer (INPUT_TIMEOUT_SECONDS). */
  readonly inputTimeoutSeconds: number
  /** Calls that wait for their clients, at this and other replicas. */
  readonly heldCalls: HeldCalls
  /** The round of a call to a server behind this one with which the client's request continues. */
  readonly upstreamRound: UpstreamRound | undefined
  /**
   * Asks the client what a server behind this one asks, and returns the next round with the answers.
   *
   * @throws InputRequiredError in 2026-07-28: the handler runs again with them, in `upstreamRound`
   * @throws ToolError if the client cannot be asked, or the server asks without end
   */
  askForUpstream (questions: UpstreamQuestions): Promise<UpstreamRound>
  /** Has the call recorded as refused, for this reason, whatever the client gets. */
  recordRefusal (reason: string): void
}

/** The generic failure of a handler, with a message for clients; the real error is in the log under the reference. */
export class HandlerError extends Error {
  override readonly name = 'HandlerError'
}

/**
 * Runs an author's function until it is done or its time is up. The result comes without a promise if the function
 * returns without one.
 *
 * @param label names the function in messages: `seed_ping`, `prompt greet`
 * @param definition declares the function; its file is named in the log
 * @throws (or rejects with) ToolError as the author threw it; UpstreamError; HandlerError for any other failure;
 * InputRequiredError; the reason for which the request was aborted
 */
export function execute<T> (
  label: string,
  definition: Definition,
  execution: Execution,
  work: () => MaybePromise<T>
): MaybePromise<T> {
  const { traceHandler } = execution
  return traceHandler === undefined
    ? runWithin(label, definition, execution, work)
    : traceHandler(definition, () => runWithin(label, definition, execution, work))
}

function runWithin<T> (
  label: string,
  definition: Definition,
  execution: Execution,
  work: () => MaybePromise<T>
): MaybePromise<T> {
  const deadline = execution.createDeadline(definition.timeoutSeconds)
  return mapMaybe(
    () => {
      const result = work()
      if (!isPromise(result)) return result
      deadline.start()
      execution.onPending()
      return untilAborted(result, deadline)
    },
    (result) => {
      deadline.clear()
      return result
    },
    (err) => {
      deadline.clear()
      throw toHandlerError(err, label, definition, deadline, execution.log)
    }
  )
}

/** Rejects when the deadline is aborted: code that ignores its signal is not waited for. */
async function untilAborted<T> (work: Promise<T>, deadline: Deadline): Promise<T> {
  return await new Promise<T>((resolve, reject) => {
    deadline.onAbort(reject)
    work.then(resolve, reject)
  })
}

function toHandlerError (
  err: unknown,
  label: string,
  definition: Definition,
  { reason }: Deadline,
  log: RequestLog
): unknown {
  if (err instanceof InputRequiredError || err instanceof ToolError || err instanceof UpstreamError) return err
  if (reason instanceof TimeoutError) {
    const message = 'A handler took too long and was cancelled (TOOL_TIMEOUT_SECONDS, or its own timeoutSeconds)'
    log.warn({ event: 'handler.timed_out', reason: reason.message, handler: label, file: fileOf(definition) }, message)
    return new HandlerError(`${label} ${reason.message}`)
  }
  if (reason !== undefined) return reason
  return logFailure(err, label, definition, log)
}

/** Logs an author's error, and returns the error that clients may see. It names the log line by a reference. */
export function logFailure (err: unknown, label: string, definition: Definition, log: RequestLog): HandlerError {
  const file = fileOf(definition)
  if (err instanceof ResultTooLargeError) {
    const { maxBytes } = err
    log.warn({ event: 'handler.result_too_large', handler: label, file, maxBytes },
      'A result was not sent: it is larger than MCP_MAX_RESULT_BYTES')
    return new HandlerError(`${label} returned more than ${maxBytes} bytes, which this server does not send: ` +
      'ask for less')
  }
  const reference = randomBytes(9).toString('base64url')
  log.error({ event: 'handler.failed', err, handler: label, file, reference }, 'A handler failed')
  return new HandlerError(`${label} failed; the server's log holds the reason under reference ${reference}`)
}
