import fastifyRateLimit from '@fastify/rate-limit'
import type { CreateRateLimitOptions } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { LimitError } from '../src/errors/http-error.ts'
import { limitConnections } from '../src/http/connection-limit.ts'
import { createRateLimitStore } from '../src/http/rate-limit-store.ts'
import type { LimitByKey } from '../src/http/rate-limit-store.ts'
import { clientAddressKey, createAddressMatcher } from '../src/net/addresses.ts'

declare module 'fastify' {
  interface FastifyInstance {
    rateLimits: RateLimits
  }
}

/**
 * Limits on everything but /mcp, which counts locally and settles in the background (src/limits). Each answers 429
 * with Retry-After.
 */
export interface RateLimits {
  /** Returns a hook: OAUTH_LIMIT_PER_ADDRESS requests a minute to an endpoint, over all replicas and paths of it. */
  byAddress (endpoint: string): onRequestAsyncHookHandler
  /**
   * Returns a hook for what must not depend on the store: counted by this replica only.
   * @param factor times OAUTH_LIMIT_PER_ADDRESS
   */
  byAddressLocally (endpoint: string, options: { factor: number }): onRequestAsyncHookHandler
  /**
   * Returns a function that counts a request under a key, over all replicas.
   * @throws LimitError
   */
  byKey (endpoint: string, limit: KeyLimit): LimitByKey
  /**
   * Counts a request that is refused before it reaches a route (a foreign Host or Origin, a malformed URL), by address
   * and by this replica only. @throws LimitError
   */
  countRefused (request: FastifyRequest): Promise<void>
}

export interface KeyLimit {
  max: number
  windowSeconds: number
  /** The setting to raise, for the log. */
  setting: string
}

const MINUTE_SECONDS = 60
/** Times OAUTH_LIMIT_PER_ADDRESS. */
const REFUSED_FACTOR = 5

/** Limits connections, and shares rate limits, by @fastify/rate-limit. */
async function rateLimit (app: FastifyInstance): Promise<void> {
  const { config: { oauth: { limits: { perAddress } }, maxConnections, trustProxy }, log } = app
  limitConnections(app.server, { max: maxConnections, isProxy: createAddressMatcher(trustProxy), log })
  await app.register(fastifyRateLimit, {
    global: false,
    store: createRateLimitStore(app.store),
    // Retry-After comes from the error handler.
    addHeaders: {
      'x-ratelimit-limit': false,
      'x-ratelimit-remaining': false,
      'x-ratelimit-reset': false,
      'retry-after': false
    },
    addHeadersOnExceeding: { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false }
  })

  function limitAddress (endpoint: string, max: number, options: object = {}): onRequestAsyncHookHandler {
    return app.rateLimit({
      max,
      timeWindow: MINUTE_SECONDS * 1_000,
      keyGenerator: ({ ip }) => `${endpoint}:address:${clientAddressKey(ip)}`,
      errorResponseBuilder: (_request, { ttl }) =>
        tooMany(endpoint, ttl, { max, windowSeconds: MINUTE_SECONDS, setting: 'OAUTH_LIMIT_PER_ADDRESS' }),
      ...options
    })
  }

  const refusedLimit = {
    max: REFUSED_FACTOR * perAddress,
    windowSeconds: MINUTE_SECONDS,
    setting: 'OAUTH_LIMIT_PER_ADDRESS'
  }
  const checkRefused = app.createRateLimit({
    max: refusedLimit.max,
    timeWindow: MINUTE_SECONDS * 1_000,
    keyGenerator: ({ ip }) => `refused:address:${clientAddressKey(ip)}`,
    ...{ local: true }
  })

  app.decorate('rateLimits', {
    async countRefused (request) {
      const result = await checkRefused(request)
      if (!result.isAllowed && result.isExceeded) throw tooMany('refused', result.ttl, refusedLimit)
    },
    byAddress: (endpoint) => limitAddress(endpoint, perAddress),
    byAddressLocally: (endpoint, { factor }) => limitAddress(endpoint, factor * perAddress, { local: true }),
    byKey (endpoint, limit) {
      const keysOf = new WeakMap<FastifyRequest, string>()
      const check = app.createRateLimit({
        max: limit.max,
        timeWindow: limit.windowSeconds * 1_000,
        keyGenerator: (request) => `${endpoint}:${keysOf.get(request)!}`
      } satisfies CreateRateLimitOptions)
      return async (request, key) => {
        keysOf.set(request, key)
        const result = await check(request)
        if (!result.isAllowed && result.isExceeded) throw tooMany(endpoint, result.ttl, limit)
      }
    }
  })
}

function tooMany (endpoint: string, ttlMs: number, { max, windowSeconds, setting }: KeyLimit): LimitError {
  const seconds = Math.ceil(ttlMs / 1_000)
  return new LimitError(`Too many requests; try again in ${seconds} seconds`, {
    retryAfterSeconds: seconds,
    detail: `more than ${max} requests to ${endpoint} in ${windowSeconds} s (${setting}, TRUST_PROXY)`,
    page: { sentence: 'Too many requests.' }
  })
}

export default fp(rateLimit, { name: 'rate-limit', dependencies: ['redis'], fastify: '5.x' })
