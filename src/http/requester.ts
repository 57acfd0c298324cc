import type { FastifyRequest } from 'fastify'
import { clientAddressKey } from '../net/addresses.ts'
import type { LimitByKey } from './rate-limit-store.ts'

export type RequesterOf = ReturnType<typeof createRequesterOf>

/**
 * Makes the sender of a request (src/oauth/clients/requester.ts).
 * @param limitByKey counts a request of a client to one endpoint (OAUTH_LIMIT_PER_CLIENT)
 */
export function createRequesterOf (limitByKey: LimitByKey) {
  return (request: FastifyRequest) => ({
    ip: request.ip,
    step: request.traceStep!,
    limitClient: async ({ id }: { id: string }, authenticated: boolean): Promise<void> => {
      await limitByKey(request, authenticated ? id : `${clientAddressKey(request.ip)} ${id}`)
    }
  })
}
