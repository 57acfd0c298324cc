import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import registerRoutes from '../routes/register.ts'
import { allowAnyOrigin, serveBackChannel } from '../src/http/back-channel-scope.ts'
import { createHostCheck } from '../src/http/host-and-origin.ts'
import { traceSteps } from '../src/http/trace-steps.ts'
import { clientAddressKey, clientNetworkKey } from '../src/net/addresses.ts'
import { createRegistrations } from '../src/oauth/clients/registrations.ts'
import type { RegistrationLimits } from '../src/oauth/endpoints/register.ts'

const HOUR_SECONDS = 3_600
/** Times DCR_LIMIT_PER_ADDRESS, for the /48 of an IPv6 address, so that one site does not count as many. */
const NETWORK_FACTOR = 3

/** Dynamic client registration (RFC 7591). */
async function dcr (app: FastifyInstance): Promise<void> {
  const { config, store, findKeyring, rateLimits, traces } = app
  const { registration: { clientTtlSeconds, limitPerAddress, limitTotal }, redirectUriSchemes } = config.oauth
  const registrations = createRegistrations({ store, ttlSeconds: clientTtlSeconds, findKeyring })

  const limitAddress = rateLimits.byKey('register', {
    max: limitPerAddress, windowSeconds: HOUR_SECONDS, setting: 'DCR_LIMIT_PER_ADDRESS'
  })
  const limitNetwork = rateLimits.byKey('register', {
    max: NETWORK_FACTOR * limitPerAddress, windowSeconds: HOUR_SECONDS, setting: 'DCR_LIMIT_PER_ADDRESS'
  })
  const limitRecords = rateLimits.byKey('register', {
    max: limitTotal, windowSeconds: HOUR_SECONDS, setting: 'DCR_LIMIT_TOTAL'
  })

  const limitsOf = (request: FastifyRequest): RegistrationLimits => ({
    async countAddress () {
      const [address, network] = [clientAddressKey(request.ip), clientNetworkKey(request.ip)]
      await limitAddress(request, address)
      if (network !== address) await limitNetwork(request, network)
    },
    countRecord: async () => { await limitRecords(request, 'all') }
  })

  app.addHook('onRequest', createHostCheck(config, rateLimits.countRefused))
  app.addHook('onRequest', rateLimits.byAddress('registration'))
  // /register serves clients of revision 2025-03-26, which read no metadata.
  for (const prefix of ['/oauth/register', '/register']) {
    await app.register(async (scope) => {
      traceSteps(scope, 'register', traces)
      await serveBackChannel(scope, { body: 'json' })
      await allowAnyOrigin(scope)
      await scope.register(registerRoutes, { registrations, redirectUriSchemes, limitsOf })
    }, { prefix })
  }
}

export default fp(dcr, {
  name: 'dcr',
  dependencies: ['redis', 'jwt-auth', 'rate-limit'],
  encapsulate: true,
  fastify: '5.x'
})
