import { UpstreamError } from '../../define/upstream.ts'
import { TimeoutError } from '../../mcp/handlers/handler-timeout.ts'
import type { CallLimit } from './call-limits.ts'

/** The outcome of a request to a mounted server, for metrics. */
export type RequestOutcome = 'ok' | 'tool_error' | 'error' | 'unavailable' | 'cancelled'

/** Receives what happens to the connections and requests of mounted servers. */
export interface MountObserver {
  requestEnded (mount: string, outcome: RequestOutcome, ms: number): void
  /** A limit of the mount refused a call. */
  callRefused (mount: string, limit: CallLimit): void
  /** A process of the mount was ended, as it used more than `maxMemoryBytes`. */
  memoryExceeded (mount: string): void
  connectionEnded (mount: string, outcome: 'ok' | 'unavailable' | 'refused'): void
}

/** Tells whether a request was aborted as its time was up, and not by the client. */
export function isTimeUp (signal: AbortSignal): boolean {
  return signal.reason instanceof TimeoutError
}

/**
 * Runs a request and measures it: `error` is the server's own error, `unavailable` one that Seed has made of no answer,
 * a late or a wrong one; `cancelled` that the client has given up.
 */
export async function observeRequest<T extends object> (
  request: () => Promise<T>, signal: AbortSignal | undefined, onEnd: (outcome: RequestOutcome, ms: number) => void
): Promise<T> {
  const startedAt = performance.now()
  const end = (outcome: RequestOutcome): void => { onEnd(outcome, performance.now() - startedAt) }
  return await request().then((result) => {
    end((result as { isError?: unknown }).isError === true ? 'tool_error' : 'ok')
    return result
  }, (err: unknown) => {
    if (signal?.aborted === true) end(isTimeUp(signal) ? 'unavailable' : 'cancelled')
    else end(err instanceof UpstreamError ? 'error' : 'unavailable')
    throw err
  })
}
