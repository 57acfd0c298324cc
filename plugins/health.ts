import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import healthRoutes from '../routes/health.ts'

/**
 * Health for orchestrators and load balancers. What /mcp cannot do without is vital: keys to judge tokens with. In proxy
 * mode those are the provider's; in broker mode they are Seed's own, and the provider is for signing in. The store is for
 * signing in and for sessions: without it, tokens and what needs no session are served.
 */
async function health (app: FastifyInstance): Promise<void> {
  const { store, oidc, shutdown, config } = app
  const vital = config.oauth.mode === 'proxy'
  await app.register(healthRoutes, {
    prefix: '/health',
    leaving: () => shutdown.shuttingDown,
    parts: {
      store: { vital: false, check: async () => { await store.ping() } },
      ...(oidc !== undefined && {
        provider: { vital, check: async () => { fail(oidc.provider.problem()) } },
        keys: { vital, check: async () => { fail(oidc.jwks.problem()) } }
      })
    }
  })
}

function fail (problem: string | undefined): void {
  if (problem !== undefined) throw new Error(problem)
}

export default fp(health, { name: 'health', dependencies: ['shutdown', 'redis', 'oidc-discovery', 'jwt-auth'], encapsulate: true, fastify: '5.x' })
