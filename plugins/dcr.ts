import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import registerRoutes from '../routes/register.ts'
import { createHostCheck } from '../src/http/host-and-origin.ts'
import { createAddressLimit } from '../src/http/limits.ts'
import { createRateLimiter } from '../src/limits/rate-limit.ts'
import { createRegistrations } from '../src/oauth/clients/registrations.ts'

/** Dynamic client registration (RFC 7591). */
async function dcr (app: FastifyInstance): Promise<void> {
  const { config, store } = app
  if (!config.authRequired) return
  const { registration: { clientTtlSeconds, ...limits }, redirectUriSchemes } = config.oauth
  const registrations = createRegistrations(store, clientTtlSeconds)
  const limiter = createRateLimiter(store)

  app.addHook('onRequest', createHostCheck(config))
  app.addHook('onRequest', createAddressLimit(limiter, 'registration', config.oauth.limits.perAddress))
  // /register serves clients of revision 2025-03-26, which read no metadata.
  for (const prefix of ['/oauth/register', '/register']) {
    await app.register(registerRoutes, { prefix, registrations, limiter, redirectUriSchemes, ...limits })
  }
}

export default fp(dcr, { name: 'dcr', dependencies: ['redis', 'jwt-auth'], encapsulate: true, fastify: '5.x' })
