import type { RequestLog } from '../../define/context.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { Principal } from '../../tokens/principal.ts'
import type { McpRequest } from '../exchange.ts'
import type { Session } from '../sessions/session.ts'
import type { RunningCall } from './running-call.ts'

/** The sender of a request, and what belongs to the request while it is answered. */
export interface Caller {
  principal: Principal | undefined
  log: RequestLog
  /** The request that the caller sent; of a batch, all calls have the same. */
  request: McpRequest
  /** Absent in revision 2026-07-28, which has no sessions. */
  session?: Session
  /** Waits until the client has read enough of the response's stream to take more. Undefined while there is none. */
  untilReady?: () => Promise<void> | undefined
  /** The tool is already running; the SDK only delivers its outcome. */
  running?: RunningCall
  /** A store outage during the request: it is answered with 503, whatever the SDK makes of the error. */
  failure?: StoreUnavailableError
}

/** Remembers a store outage, which the SDK would turn into a protocol error. */
export async function recordStoreFailure<T> (caller: Caller, work: Promise<T>): Promise<T> {
  return await work.catch((err: unknown) => {
    if (err instanceof StoreUnavailableError) caller.failure = err
    throw err
  })
}
