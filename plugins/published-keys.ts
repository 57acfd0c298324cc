import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import jwksRoutes from '../routes/jwks.ts'
import { createHostCheck } from '../src/http/host-and-origin.ts'

/**
 * Publishes Seed's keys where somebody may verify its signatures: in broker mode, and with SEED_SECRET, which the
 * assertions of mounts and tools need.
 */
async function publishedKeys (app: FastifyInstance): Promise<void> {
  const { config, rateLimits, signingKeys } = app
  const signsTokens = config.authRequired && config.oauth.mode === 'broker'
  if (!signsTokens && config.secrets.current === undefined) return
  await app.register(async (scope) => {
    scope.addHook('onRequest', rateLimits.byAddressLocally('documents', { factor: 10 }))
    scope.addHook('onRequest', createHostCheck(config, rateLimits.countRefused))
    await scope.register(jwksRoutes, { jwks: signingKeys.published })
  }, { prefix: '/.well-known/jwks.json' })
}

export default fp(publishedKeys, {
  name: 'published-keys', dependencies: ['keyring', 'rate-limit'], encapsulate: true, fastify: '5.x'
})
