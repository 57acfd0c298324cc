import type { FetchError } from '../net/fetch.ts'

/** The provider as the last request to it found it. */
export type ProviderContact = ReturnType<typeof createProviderContact>

/**
 * Notes how requests to the provider end, for readiness: with a response, or without any (DNS, TLS, refused, too slow).
 * The keys are fetched every few minutes even while nobody signs in.
 *
 * @param now wall clock in milliseconds
 */
export function createProviderContact (now: () => number = Date.now) {
  let lastAt: string | undefined
  let problem: string | undefined
  return {
    /** Awaits a request and notes its end. */
    async watch<T> (request: () => Promise<T>): Promise<T> {
      try {
        const result = await request()
        lastAt = new Date(now()).toISOString()
        problem = undefined
        return result
      } catch (err) {
        if ((err as FetchError).network) problem = (err as FetchError).message
        throw err
      }
    },

    /** The time of the last response, in ISO 8601; undefined before the first one. */
    last: (): string | undefined => lastAt,

    /** The reason why the last request failed, if it did. */
    problem: (): string | undefined => problem
  }
}
