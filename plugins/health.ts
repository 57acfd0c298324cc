import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import healthRoutes from '../routes/health.ts'
import type { HealthPart } from '../routes/health.ts'

/**
 * Health for orchestrators and load balancers. `isVital` is what /mcp cannot do without: keys that verify tokens. In
 * proxy mode these are the provider's; in broker mode they are Seed's own, and the provider is only needed for sign-in.
 * A provider that stops answering later makes readiness `degraded`. The store is needed for sign-in and sessions;
 * without it, tokens and sessionless requests are still served.
 */
async function health (app: FastifyInstance): Promise<void> {
  const { store, shutdown } = app
  const parts: Record<string, HealthPart> = {
    store: { isVital: () => false, check: async () => { await store.ping() } }
  }
  if (app.hasDecorator('oidc')) {
    const { provider, contact, jwks } = app.oidc
    const isProxy = app.config.oauth.mode === 'proxy'
    parts['provider'] = {
      // Once it was discovered, tokens are verified without it.
      isVital: () => isProxy && provider.problem() !== undefined,
      async check () {
        throwIfUnusable(provider.problem() ?? contact.problem())
        return { lastContact: contact.last() }
      }
    }
    parts['keys'] = { isVital: () => isProxy, check: async () => { throwIfUnusable(jwks.problem()) } }
  }
  app.addHook('onRequest', app.rateLimits.byAddressLocally('health', { factor: 10 }))
  await app.register(healthRoutes, { prefix: '/health', shuttingDown: () => shutdown.shuttingDown, parts })
}

function throwIfUnusable (reason: string | undefined): void {
  if (reason !== undefined) throw new Error(reason)
}

export default fp(health, {
  name: 'health',
  dependencies: ['shutdown', 'redis', 'rate-limit'],
  decorators: { request: ['principal'] },
  encapsulate: true,
  fastify: '5.x'
})
