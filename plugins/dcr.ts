import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import registerRoutes from '../routes/register.ts'
import { createHostCheck } from '../src/http/hosts.ts'
import { createClients } from '../src/oauth/clients.ts'

/** Dynamic client registration (RFC 7591). */
async function dcr (app: FastifyInstance): Promise<void> {
  const { config, store } = app
  if (!config.authRequired) return
  const { clientTtlSeconds, ...limits } = config.registration

  app.addHook('onRequest', createHostCheck(config))
  // /register serves clients of revision 2025-03-26, which read no metadata.
  for (const prefix of ['/oauth/register', '/register']) {
    await app.register(registerRoutes, { prefix, clients: createClients(store, clientTtlSeconds), store, ...limits })
  }
}

export default fp(dcr, { name: 'dcr', dependencies: ['redis', 'jwt-auth'], encapsulate: true, fastify: '5.x' })
