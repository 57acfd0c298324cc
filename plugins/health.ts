import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import healthRoutes from '../routes/health.ts'

/**
 * Health for orchestrators and load balancers. Readiness asks what /mcp cannot do without (provider and keys) and
 * what signing in cannot do without (the store).
 */
async function health (app: FastifyInstance): Promise<void> {
  const { store, oidc, shutdown } = app
  await app.register(healthRoutes, {
    prefix: '/health',
    leaving: () => shutdown.begun,
    parts: {
      store: async () => { await store.ping() },
      ...(oidc !== undefined && {
        provider: async () => { fail(oidc.provider.problem()) },
        keys: async () => { fail(oidc.jwks.problem()) }
      })
    }
  })
}

function fail (problem: string | undefined): void {
  if (problem !== undefined) throw new Error(problem)
}

export default fp(health, { name: 'health', dependencies: ['shutdown', 'redis', 'oidc-discovery', 'jwt-auth'], encapsulate: true, fastify: '5.x' })
