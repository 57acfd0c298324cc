import { keys } from '../store/keys.ts'
import { StoreUnavailableError } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { OAuthError } from '../errors/oauth-error.ts'
import { digest } from '../crypto/keyring.ts'

/**
 * Limits on how often the endpoints may be asked, in fixed windows, counted in the store: for all replicas together.
 * While the store is away each replica counts for itself; nobody is ever unlimited.
 */
export interface RateLimiter {
  /**
   * Counts one request.
   * @param whose an address bucket, a client id, or any other name; only its SHA-256 is kept
   * @param setting what to raise, for the log
   * @throws OAuthError 429 with Retry-After when there were more than `limit` in the window
   */
  count (endpoint: string, whose: string, limit: { most: number, windowSeconds: number, setting: string }): Promise<void>
}

const MAX_LOCAL = 100_000

/** How often one client may ask an endpoint: OAUTH_LIMIT_PER_CLIENT, a minute. */
export interface ClientLimit {
  limiter: RateLimiter
  limitPerClient: number
}

/** @throws OAuthError 429 */
export async function countClient (endpoint: string, clientId: string, { limiter, limitPerClient }: ClientLimit): Promise<void> {
  await limiter.count(`${endpoint}:client`, clientId, { most: limitPerClient, windowSeconds: 60, setting: 'OAUTH_LIMIT_PER_CLIENT' })
}

/** @param now wall clock in milliseconds */
export function createRateLimiter (store: Store, now: () => number = Date.now): RateLimiter {
  const local = new Map<string, { count: number, resetAt: number }>()

  function countHere (key: string, windowSeconds: number): { count: number, resetSeconds: number } {
    const known = local.get(key)
    const window = known !== undefined && known.resetAt > now() ? known : { count: 0, resetAt: now() + windowSeconds * 1_000 }
    window.count++
    if (known !== window) {
      if (local.size >= MAX_LOCAL) local.delete(local.keys().next().value!)
      local.set(key, window)
    }
    return { count: window.count, resetSeconds: Math.ceil((window.resetAt - now()) / 1_000) }
  }

  async function increment (key: string, windowSeconds: number): Promise<{ count: number, resetSeconds: number }> {
    try {
      return await store.increment(key, windowSeconds)
    } catch (err) {
      if (err instanceof StoreUnavailableError) return countHere(key, windowSeconds)
      throw err
    }
  }

  return {
    async count (endpoint, whose, { most, windowSeconds, setting }) {
      const { count, resetSeconds } = await increment(keys.limit(endpoint, digest(whose)), windowSeconds)
      if (count <= most) return
      throw new OAuthError('temporarily_unavailable', `Too many requests; try again in ${resetSeconds} seconds`, {
        statusCode: 429,
        retryAfterSeconds: resetSeconds,
        page: { sentence: 'Too many requests.' },
        detail: `${count} requests to ${endpoint} in ${windowSeconds} s, the limit is ${most} (${setting}, TRUST_PROXY)`
      })
    }
  }
}
