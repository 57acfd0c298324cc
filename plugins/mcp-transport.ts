import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import mcpRoutes from '../routes/mcp.ts'
import { VERSION } from '../src/config/version.ts'
import { allowedOrigins, createHostCheck, createOriginCheck } from '../src/http/hosts.ts'
import { createStreamGuard } from '../src/http/streams.ts'
import { createEngine } from '../src/mcp/engine.ts'
import { baseScopes } from '../src/oauth/metadata.ts'
import { tools } from '../src/tools/index.ts'

/** The MCP endpoint: the engine with the tools handed to it, behind Host, Origin and bearer checks. */
async function mcpTransport (app: FastifyInstance): Promise<void> {
  const { config, accessTokens } = app
  const origins = allowedOrigins(config)
  const engine = createEngine({ serverInfo: { name: 'seed', title: 'Seed', version: VERSION }, tools, log: app.log })

  const streams = accessTokens === undefined ? undefined : createStreamGuard(accessTokens)

  app.addHook('onRequest', createHostCheck(config))
  app.addHook('onRequest', createOriginCheck(origins))
  await app.register(mcpRoutes, { prefix: '/mcp', engine, origins, challenge: { baseUrl: config.baseUrl, scopes: baseScopes(config.oidc.scopes) }, streams })
  app.addHook('preClose', async () => { await engine.close(config.shutdownGraceSeconds * 1_000) })
}

export default fp(mcpTransport, { name: 'mcp-transport', dependencies: ['config', 'jwt-auth'], encapsulate: true, fastify: '5.x' })
