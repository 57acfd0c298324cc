import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import homeRoutes from '../routes/home.ts'
import mcpRoutes from '../routes/mcp.ts'
import { VERSION } from '../src/config/version.ts'
import { allowedOrigins, createHostCheck, createOriginCheck } from '../src/http/host-and-origin.ts'
import { createStreamRevocation } from '../src/http/stream-revocation.ts'
import { describeDefinition } from '../src/define/definition.ts'
import type { Definition } from '../src/define/definition.ts'
import type { PolicyRequirements } from '../src/policy/requirements.ts'
import { ToolError } from '../src/define/tool.ts'
import { createCallRecorder } from '../src/audit/calls.ts'
import { clientKindOf } from '../src/audit/client-kind.ts'
import { findCompatibilityWarnings } from '../src/define/client-compatibility.ts'
import { createEngine } from '../src/mcp/engine.ts'
import type { Engine } from '../src/mcp/engine.ts'
import type { TokenFor } from '../src/mcp/handlers/context.ts'
import { createMcpLimits } from '../src/limits/concurrency-and-rate-limits.ts'
import { createSharedCounters } from '../src/limits/shared-counters.ts'
import type { TokenExchange } from '../src/oauth/modes/broker/token-exchange.ts'
import { TokenExchangeError } from '../src/oauth/modes/broker/token-exchange-error.ts'
import { baseScopes } from '../src/oauth/endpoints/metadata.ts'
import { hasPolicy } from '../src/policy/evaluator.ts'
import { randomId } from '../src/crypto/hash.ts'

export interface McpTransportOptions {
  /** The tools, prompts and resources to offer. */
  definitions: readonly Definition[]
  /** The scopes and claims that their policies use. */
  requirements: PolicyRequirements
  /** For development: gets the engine, to replace the definitions while the server runs. */
  onEngine?: ((engine: Pick<Engine, 'replace'>) => void) | undefined
}

/** The MCP endpoint: an engine for the given definitions, behind Host, Origin and bearer checks. */
async function mcpTransport (app: FastifyInstance, options: McpTransportOptions): Promise<void> {
  const { config, keyring, store, log } = app
  const { definitions, requirements, onEngine } = options
  logPolicyWarnings(app, options)
  const warnOfClients = createCompatibilityLog(log)
  warnOfClients(definitions)
  const sharedCounters = createSharedCounters(store, { replicaId: randomId(9), log })
  const limits = createMcpLimits(sharedCounters, config.mcp.limits)
  const engine = createEngine({
    serverInfo: { name: 'seed', title: 'Seed', version: VERSION },
    definitions,
    policy: { hierarchy: config.scopeHierarchy, scopes: [...config.oidc.scopes, ...requirements.scopes] },
    tokenFor: app.hasDecorator('tokenExchange') ? toTokenFor(app.tokenExchange) : undefined,
    pageSize: config.mcp.pageSize,
    store,
    keyring,
    session: config.mcp.session,
    tool: config.mcp.tool,
    limits,
    log,
    recordCall: app.audit && createCallRecorder(app.audit, clientKindOf(config))
  })
  onEngine?.({
    replace (next) {
      engine.replace(next)
      warnOfClients(next)
    }
  })
  const streams = app.hasDecorator('accessTokens')
    ? createStreamRevocation({ ...app.accessTokens, clockSkewSeconds: config.token.clockSkewSeconds })
    : undefined
  const origins = allowedOrigins(config)
  const challenge = { baseUrl: config.baseUrl, scopes: baseScopes(config.oidc.scopes) }

  app.addHook('onRequest', createHostCheck(config, app.rateLimits.countRefused))
  await app.register(async (scope) => {
    scope.addHook('onRequest', app.rateLimits.byAddressLocally('home', { factor: 5 }))
    await scope.register(homeRoutes, { endpoint: config.resource })
  })
  await app.register(async (scope) => {
    scope.addHook('onRequest', createOriginCheck(origins, app.rateLimits.countRefused))
    await scope.register(mcpRoutes, { prefix: '/mcp', engine, origins, challenge, streams, limits })
  })
  app.addHook('preClose', async () => { await engine.close(config.shutdown.graceSeconds * 1_000) })
  app.addHook('preClose', async () => { await sharedCounters.close() })
}

/** Logs consequences of policies that would otherwise puzzle an operator. */
function logPolicyWarnings ({ config, log }: FastifyInstance, options: McpTransportOptions): void {
  const { definitions, requirements: { scopes } } = options
  const guarded = definitions.filter(hasPolicy).map(describeDefinition)
  if (!config.authRequired && guarded.length > 0) {
    log.warn({ guarded }, 'AUTH_REQUIRED=false: definitions with a policy are not offered, as no caller is signed in')
  }
  if (config.authRequired && config.oauth.mode === 'proxy' && scopes.length > 0) {
    log.info({ scopes }, 'Policies need scopes beyond OIDC_SCOPES: the provider must put them into its access tokens')
  }
}

/** Logs what some clients refuse, once for as long as it is offered. */
function createCompatibilityLog (log: FastifyInstance['log']) {
  let known = new Set<string>()
  return (definitions: readonly Definition[]): void => {
    const warnings = findCompatibilityWarnings(definitions)
    for (const { message, file } of warnings) if (!known.has(message)) log.warn({ file }, message)
    known = new Set(warnings.map(({ message }) => message))
  }
}

/** The reason for which there is no token is an error of the tool: its message is written for the caller. */
function toTokenFor ({ tokenFor }: TokenExchange): TokenFor {
  return async (principal, request, signal) => await tokenFor(principal, request, signal).catch((err: unknown) => {
    throw err instanceof TokenExchangeError ? new ToolError(err.message, { cause: err }) : err
  })
}

export default fp(mcpTransport, {
  name: 'mcp-transport',
  dependencies: ['redis', 'keyring', 'audit', 'rate-limit'],
  decorators: { request: ['principal'] },
  encapsulate: true,
  fastify: '5.x'
})
