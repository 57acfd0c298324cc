import type { FastifyRequest } from 'fastify'
import { clientAddressKey } from '../net/addresses.ts'
import type { RateLimiter } from '../limits/rate-limit.ts'

/**
 * An onRequest hook: at most so many requests a minute from one address to an endpoint.
 *
 * @param endpoint its name in the store; paths and methods of one endpoint share it
 * @param most OAUTH_LIMIT_PER_ADDRESS
 */
export function createAddressLimit (limiter: RateLimiter, endpoint: string, most: number) {
  return async function limitAddress (request: FastifyRequest): Promise<void> {
    await limiter.count(endpoint, clientAddressKey(request.ip), { most, windowSeconds: 60, setting: 'OAUTH_LIMIT_PER_ADDRESS' })
  }
}
