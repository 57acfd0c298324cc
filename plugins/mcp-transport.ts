import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import mcpRoutes from '../routes/mcp.ts'
import { VERSION } from '../src/config/version.ts'
import { allowedOrigins, createHostCheck, createOriginCheck } from '../src/http/host-and-origin.ts'
import { createStreamRevocation } from '../src/http/stream-revocation.ts'
import { describeDefinition } from '../src/define/definition.ts'
import type { Definition } from '../src/define/definition.ts'
import type { PolicyRequirements } from '../src/policy/requirements.ts'
import { ToolError } from '../src/define/tool.ts'
import { createEngine } from '../src/mcp/engine.ts'
import type { Engine } from '../src/mcp/engine.ts'
import type { TokenFor } from '../src/mcp/handlers/context.ts'
import { createMcpLimits } from '../src/limits/mcp-limits.ts'
import { createTallies } from '../src/limits/shared-counters.ts'
import { TokenExchangeError } from '../src/oauth/modes/broker/token-exchange.ts'
import type { DelegatedTokens } from '../src/oauth/modes/broker/token-exchange.ts'
import { baseScopes } from '../src/oauth/endpoints/metadata.ts'
import { clientAddressKey } from '../src/net/addresses.ts'
import { hasPolicy } from '../src/policy/evaluator.ts'
import { randomId } from '../src/crypto/hash.ts'

export interface McpTransportOptions {
  /** What is offered. */
  definitions: readonly Definition[]
  /** What their policies need to know of a caller. */
  requirements: PolicyRequirements
  /** Is given what offers other definitions while the server runs. */
  onEngine?: ((engine: Pick<Engine, 'replace'>) => void) | undefined
}

/** The MCP endpoint: the engine with the definitions handed to it, behind Host, Origin and bearer checks. */
async function mcpTransport (app: FastifyInstance, { definitions, requirements, onEngine }: McpTransportOptions): Promise<void> {
  const { config, keyring } = app
  const origins = allowedOrigins(config)
  logPolicyWarnings(app, definitions, requirements)
  const tallies = createTallies(app.store, { replicaId: randomId(9), log: app.log })
  const limits = createMcpLimits(tallies, config.mcp.limits, clientAddressKey)
  const engine = createEngine({
    serverInfo: { name: 'seed', title: 'Seed', version: VERSION },
    definitions,
    policy: { hierarchy: config.scopeHierarchy, scopes: [...config.oidc.scopes, ...requirements.scopes] },
    tokenFor: app.hasDecorator('delegatedTokens') ? toolTokens(app.delegatedTokens) : undefined,
    pageSize: config.mcp.pageSize,
    store: app.store,
    keyring,
    session: config.mcp.session,
    tool: config.mcp.tool,
    limits,
    log: app.log
  })
  onEngine?.(engine)
  const streams = app.hasDecorator('accessTokens')
    ? createStreamRevocation({ ...app.accessTokens, clockSkewSeconds: config.token.clockSkewSeconds })
    : undefined

  app.addHook('onRequest', createHostCheck(config))
  app.addHook('onRequest', createOriginCheck(origins))
  await app.register(mcpRoutes, { prefix: '/mcp', engine, origins, challenge: { baseUrl: config.baseUrl, scopes: baseScopes(config.oidc.scopes) }, streams, limits })
  app.addHook('preClose', async () => { await engine.close(config.shutdown.graceSeconds * 1_000) })
  app.addHook('preClose', async () => { await tallies.close() })
}

/** What an operator would otherwise wonder about. */
function logPolicyWarnings ({ config, log }: FastifyInstance, definitions: readonly Definition[], { scopes }: PolicyRequirements): void {
  const guarded = definitions.filter(hasPolicy).map(describeDefinition)
  if (!config.authRequired && guarded.length > 0) log.warn({ guarded }, 'AUTH_REQUIRED=false: what has a policy is not offered, as nobody is signed in')
  if (config.authRequired && config.oauth.mode === 'proxy' && scopes.length > 0) {
    log.info({ scopes }, 'Tools need scopes that are not in OIDC_SCOPES: the provider must know them and put them into its access tokens')
  }
}

/** Why there is no token is said in words that whoever called the tool may read. */
function toolTokens ({ tokenFor }: DelegatedTokens): TokenFor {
  return async (principal, request, signal) => await tokenFor(principal, request, signal).catch((err: unknown) => {
    throw err instanceof TokenExchangeError ? new ToolError(err.message, { cause: err }) : err
  })
}

export default fp(mcpTransport, { name: 'mcp-transport', dependencies: ['redis', 'keyring'], decorators: { request: ['principal'] }, encapsulate: true, fastify: '5.x' })
