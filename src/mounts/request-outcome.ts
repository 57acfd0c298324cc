import { UpstreamError } from '../define/upstream.ts'

/** What became of a request to a mounted server, for metrics. */
export type RequestOutcome = 'ok' | 'tool_error' | 'error' | 'unavailable' | 'cancelled'

/** Receives what happens to the connections and requests of mounted servers. */
export interface MountObserver {
  requestEnded (mount: string, outcome: RequestOutcome, ms: number): void
  connectionEnded (mount: string, outcome: 'ok' | 'unavailable' | 'refused'): void
}

/**
 * Runs a request and measures it: `error` is the server's own error, `unavailable` one that Seed has made of no answer
 * or a wrong one.
 */
export async function observeRequest<T extends object> (
  request: () => Promise<T>, signal: AbortSignal | undefined, onEnd: (outcome: RequestOutcome, ms: number) => void
): Promise<T> {
  const startedAt = performance.now()
  let outcome: RequestOutcome = 'unavailable'
  try {
    const result = await request()
    outcome = (result as { isError?: unknown }).isError === true ? 'tool_error' : 'ok'
    return result
  } catch (err) {
    if (signal?.aborted === true) outcome = 'cancelled'
    else if (err instanceof UpstreamError) outcome = 'error'
    throw err
  } finally {
    onEnd(outcome, performance.now() - startedAt)
  }
}
