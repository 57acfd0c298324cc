import type { FetchError } from '../net/fetch.ts'

/** The provider as the last request to it found it. */
export type ProviderContact = ReturnType<typeof createProviderContact>

/**
 * Notes how requests to the provider end, for readiness: with a response, or without any (DNS, TLS, refused, too slow).
 * The keys are fetched every few minutes even while nobody signs in.
 *
 * @param now wall clock in milliseconds
 * @param onEnd gets the duration of each request, and whether there was no response
 */
export function createProviderContact (
  now: () => number = Date.now, onEnd?: (ms: number, failed: boolean) => void
) {
  let lastAt: string | undefined
  let problem: string | undefined
  return {
    /** Awaits a request and notes its end. */
    async watch<T> (request: () => Promise<T>): Promise<T> {
      const startedAt = performance.now()
      try {
        const result = await request()
        onEnd?.(performance.now() - startedAt, false)
        lastAt = new Date(now()).toISOString()
        problem = undefined
        return result
      } catch (err) {
        if ((err as FetchError).network) problem = (err as FetchError).message
        onEnd?.(performance.now() - startedAt, (err as FetchError).network)
        throw err
      }
    },

    /** The time of the last response, in ISO 8601; undefined before the first one. */
    last: (): string | undefined => lastAt,

    /** The reason why the last request failed, if it did. */
    problem: (): string | undefined => problem
  }
}
