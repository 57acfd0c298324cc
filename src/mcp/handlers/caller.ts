import type { RequestLog } from '../../define/context.ts'
import type { Principal } from '../../tokens/principal.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { RunningCall } from './runner.ts'
import type { Session } from '../sessions/sessions.ts'

/** Whose request it is. */
export interface Caller {
  principal: Principal | undefined
  log: RequestLog
  /** Absent in 2026-07-28. */
  session?: Session
  /** Its tool runs already, and only that of it is left to the SDK which needs the client or is not plain. */
  running?: RunningCall
  /** The store was away when it was needed: the answer is 503, whatever the SDK makes of it. */
  failure?: StoreUnavailableError
}

/** Keeps a failure of the store, which the SDK would make a protocol error of. */
export async function recordStoreFailure<T> (caller: Caller, work: Promise<T>): Promise<T> {
  return await work.catch((err: unknown) => {
    if (err instanceof StoreUnavailableError) caller.failure = err
    throw err
  })
}
