import { randomBytes } from 'node:crypto'
import type { RequestContext, RequestLog } from '../../define/context.ts'
import { ToolError } from '../../define/tool.ts'
import { InputRequiredError } from './client-input.ts'
import { TimeoutError, createDeadline } from './deadline.ts'
import type { Deadline } from './deadline.ts'
import { isPromise, mapMaybe } from '../../async/maybe-async.ts'
import type { MaybePromise } from '../../async/maybe-async.ts'

/** What running the author's code needs to know of its request. */
export interface Run<Context = RequestContext> {
  log: RequestLog
  /** For definitions that declare none. */
  timeoutSeconds: number
  /** @param deadline that of this run; its signal is the handler's */
  createContext (deadline: Deadline): Context
  /** The handler is not done at once: the deadline is to be aborted when nobody waits for it any more. */
  onWaiting (deadline: Deadline): void
}

/** The author's code failed in a way that is nobody else's business: its truth is in the log, under a reference. */
export class HandlerError extends Error {
  override readonly name = 'HandlerError'
}

/**
 * Runs the author's code until it is done or its time is up. What it gives without a promise is there at once.
 *
 * @param what for messages: `seed_ping`, `prompt greet`
 * @throws (or rejects with) ToolError as the author threw it; HandlerError with a text that may go out; InputRequiredError;
 * the reason for which the request was aborted
 */
export function execute<T, Context> (what: string, timeoutSeconds: number | undefined, run: Run<Context>, work: (context: Context) => T | Promise<T>): MaybePromise<T> {
  const deadline = createDeadline(timeoutSeconds ?? run.timeoutSeconds)
  return mapMaybe(() => {
    const result = work(run.createContext(deadline))
    if (!isPromise(result)) return result
    deadline.start()
    run.onWaiting(deadline)
    return unlessAborted(result, deadline)
  }, (result) => {
    deadline.clear()
    return result
  }, (err) => {
    deadline.clear()
    throw judge(err, what, deadline, run.log)
  })
}

/** Code that does not heed its signal is not waited for. */
async function unlessAborted<T> (work: Promise<T>, deadline: Deadline): Promise<T> {
  return await new Promise<T>((resolve, reject) => {
    deadline.onAbort(reject)
    work.then(resolve, reject)
  })
}

function judge (err: unknown, what: string, { reason }: Deadline, log: RequestLog): unknown {
  if (err instanceof InputRequiredError || err instanceof ToolError) return err
  if (reason instanceof TimeoutError) {
    log.warn({ reason: reason.message, of: what }, 'A handler ran too long (TOOL_TIMEOUT_SECONDS, or its own timeoutSeconds)')
    return new HandlerError(`${what} ${reason.message}`)
  }
  if (reason !== undefined) return reason
  return logFailure(err, what, log)
}

/** Logs what went wrong. */
export function logFailure (err: unknown, what: string, log: RequestLog): HandlerError {
  const reference = randomBytes(9).toString('base64url')
  log.error({ err, of: what, reference }, 'A handler failed')
  return new HandlerError(`${what} failed; the server's log holds the reason under reference ${reference}`)
}
