import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import homeRoutes, { ICON_PATH } from '../routes/home.ts'
import { CONNECTIONS_PATH } from '../routes/connections.ts'
import mcpRoutes from '../routes/mcp.ts'
import type { Config } from '../src/config/config.ts'
import type { BearerError } from '../src/errors/bearer-error.ts'
import { VERSION } from '../src/config/version.ts'
import { allowedOrigins, createHostCheck, createOriginCheck } from '../src/http/host-and-origin.ts'
import { readServerIcon } from '../src/http/server-icon.ts'
import type { ServerIcon } from '../src/http/server-icon.ts'
import { traceRefusedCall } from '../src/http/trace-steps.ts'
import { createStreamRevocation } from '../src/http/stream-revocation.ts'
import { describeDefinition } from '../src/define/definition.ts'
import type { Definition } from '../src/define/definition.ts'
import type { PolicyRequirements } from '../src/policy/requirements.ts'
import { ToolError } from '../src/define/tool.ts'
import { createCallRecorder } from '../src/audit/calls.ts'
import { clientKindOf } from '../src/audit/client-kind.ts'
import { findCompatibilityWarnings } from '../src/define/client-compatibility.ts'
import { createEngine } from '../src/mcp/engine.ts'
import type { Engine, EngineOptions } from '../src/mcp/engine.ts'
import type { TokenFor } from '../src/mcp/handlers/context.ts'
import type { TokenExchange } from '../src/oauth/modes/broker/token-exchange.ts'
import { TokenExchangeError } from '../src/oauth/modes/broker/token-exchange-error.ts'
import { baseScopes, wellKnownUrl } from '../src/oauth/endpoints/metadata.ts'
import { hasPolicy } from '../src/policy/evaluator.ts'

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
  const { requirements, onEngine, definitions: own } = options
  const { mounts } = app
  const withMounts = (given: readonly Definition[]): readonly Definition[] =>
    mounts === undefined ? given : [...given, ...mounts.definitions(given)]
  const definitions = withMounts(own)
  logPolicyWarnings(app, { definitions, requirements })
  const warnOfClients = createCompatibilityLog(log)
  warnOfClients(definitions)
  const icon = config.server.icon === undefined ? undefined : readServerIcon(config.server.icon)
  const { mcpLimits: limits } = app
  app.telemetry?.watchLimits(limits.running)
  const { tracing } = app
  const untraced = createEngine({
    serverInfo: describeServer(config, icon),
    instructions: config.server.instructions,
    extensions: authorizationExtensions(config),
    definitions,
    policy: {
      hierarchy: config.scopeHierarchy,
      scopes: [...config.oidc.scopes, ...requirements.scopes],
      clockSkewSeconds: config.token.clockSkewSeconds
    },
    tokenFor: app.hasDecorator('tokenExchange') ? toTokenFor(app.tokenExchange) : undefined,
    pageSize: config.mcp.pageSize,
    store,
    keyring,
    session: config.mcp.session,
    tool: config.mcp.tool,
    limits,
    log,
    recordCall: toCallRecorder(app),
    traceHandler: tracing?.runHandler
  })
  const engine = tracing?.traceEngine(untraced) ?? untraced
  followChanges(app, own, (next) => {
    const all = withMounts(next)
    engine.replace(all)
    warnOfClients(all)
  }, onEngine)
  const streams = app.hasDecorator('accessTokens')
    ? createStreamRevocation({ ...app.accessTokens, clockSkewSeconds: config.token.clockSkewSeconds })
    : undefined
  const onRefused = app.hasDecorator('traces')
    ? (request: FastifyRequest, error: BearerError) => { traceRefusedCall(app.traces, request, error) }
    : undefined
  const rememberDemand = app.hasDecorator('grantServices') ? app.grantServices.demands.add : undefined
  const origins = allowedOrigins(config)
  const challenge = {
    resourceMetadata: wellKnownUrl('oauth-protected-resource', config.resource),
    scopes: baseScopes(config.oidc.scopes)
  }

  app.addHook('onRequest', createHostCheck(config, app.rateLimits.countRefused))
  await app.register(async (scope) => {
    scope.addHook('onRequest', app.rateLimits.byAddressLocally('home', { factor: 5 }))
    await scope.register(homeRoutes, {
      ...config.server,
      title: config.server.title ?? 'Seed',
      endpoint: config.resource,
      icon,
      iconPath: `${config.basePath}${ICON_PATH}`,
      showPage: config.server.showHomePage,
      connectionsPath: hasConnectionsPage(config) ? `${config.basePath}${CONNECTIONS_PATH}` : undefined,
      isAvailable: createAvailability(app)
    })
    for (const { name, text } of config.server.wellKnownFiles) {
      scope.get(`/.well-known/${name}`, { config: { auth: 'public' } }, async (_request, reply) =>
        reply.header('cache-control', 'public, max-age=300').type('text/plain; charset=utf-8').send(text))
    }
  })
  await app.register(async (scope) => {
    scope.addHook('onRequest', createOriginCheck(origins, app.rateLimits.countRefused))
    await scope.register(mcpRoutes, {
      prefix: '/mcp',
      engine,
      endpoint: config.resource,
      origins,
      challenge,
      streams,
      limits,
      onRefused,
      rememberDemand
    })
  })
  app.addHook('preClose', async () => { await engine.close(config.shutdown.graceSeconds * 1_000) })
  app.addHook('preClose', async () => { await app.sharedCounters.close() })
}

/** Replaces what is offered when mounted servers offer something else, and in development when files are saved. */
function followChanges (
  { mounts }: FastifyInstance,
  definitions: readonly Definition[],
  replace: (definitions: readonly Definition[]) => void,
  onEngine: McpTransportOptions['onEngine']
): void {
  let own = definitions
  mounts?.onChange(() => { replace(own) })
  onEngine?.({
    replace (next) {
      replace(next)
      own = next
    }
  })
}

/** In proxy mode the page only says where else to look. */
function hasConnectionsPage ({ authRequired, oauth: { mode, showConnectionsPage } }: Config): boolean {
  return authRequired && mode === 'broker' && showConnectionsPage
}

/** Returns a function that tells whether people can sign in, as the last request to the provider found it. */
function createAvailability (app: FastifyInstance): () => boolean {
  if (!app.hasDecorator('oidc')) return () => true
  const { provider, contact } = app.oidc
  return () => provider.problem() === undefined && contact.problem() === undefined
}

/** Describes the server to its clients (SERVER_NAME and others). Every response of 2026-07-28 repeats it. */
function describeServer (
  { server, baseUrl }: Config, icon: ServerIcon | undefined
): EngineOptions['serverInfo'] {
  const { name, title = 'Seed', description, website } = server
  return {
    name,
    title,
    version: VERSION,
    ...(description !== undefined && { description }),
    ...(website !== undefined && { websiteUrl: website }),
    ...(icon !== undefined && { icons: [{ src: `${baseUrl}${ICON_PATH}`, mimeType: icon.mimeType }] })
  }
}

/** Records finished calls in the audit log, the metrics and the traces, where the operator asks for them. */
function toCallRecorder ({ audit, config, telemetry, tracing }: FastifyInstance): EngineOptions['recordCall'] {
  const recorders = [
    audit && createCallRecorder(audit, clientKindOf(config)), telemetry?.callEnded, tracing?.callEnded
  ].filter((record) => record !== undefined)
  if (recorders.length <= 1) return recorders[0]
  return (call) => { for (const record of recorders) record(call) }
}

/** Logs consequences of policies that would otherwise puzzle an operator. */
function logPolicyWarnings ({ config, log }: FastifyInstance, options: McpTransportOptions): void {
  const { definitions, requirements: { scopes } } = options
  const guarded = definitions.filter(hasPolicy).map(describeDefinition)
  if (!config.authRequired && guarded.length > 0) {
    log.warn({ event: 'config.definitions_hidden', guarded },
      'AUTH_REQUIRED=false: definitions with a policy are not offered, as no caller is signed in')
  }
  if (config.authRequired && config.oauth.mode === 'proxy' && scopes.length > 0) {
    log.info({ event: 'config.scopes_needed', scopes },
      'Policies need scopes beyond OIDC_SCOPES: the provider must put them into its access tokens')
  }
}

/** Logs what some clients refuse, once for as long as it is offered. */
function createCompatibilityLog (log: FastifyInstance['log']) {
  let known = new Set<string>()
  return (definitions: readonly Definition[]): void => {
    const warnings = findCompatibilityWarnings(definitions)
    for (const { message, file } of warnings) {
      if (!known.has(message)) log.warn({ event: 'definitions.incompatible', file }, message)
    }
    known = new Set(warnings.map(({ message }) => message))
  }
}

/** The MCP extensions about authorization that this server has; undefined if there are none. */
function authorizationExtensions ({ authRequired, oauth }: Config): EngineOptions['extensions'] {
  if (!authRequired || !oauth.configuredClients.some(({ service }) => service !== undefined)) return undefined
  return { 'io.modelcontextprotocol/oauth-client-credentials': {} }
}

/** The reason for which there is no token is an error of the tool: its message is written for the caller. */
function toTokenFor ({ tokenFor }: TokenExchange): TokenFor {
  return async (principal, request, signal) => await tokenFor(principal, request, signal).catch((err: unknown) => {
    throw err instanceof TokenExchangeError ? new ToolError(err.message, { cause: err }) : err
  })
}

export default fp(mcpTransport, {
  name: 'mcp-transport',
  dependencies: ['telemetry', 'tracing', 'mounts', 'redis', 'keyring', 'audit', 'rate-limit', 'mcp-limits'],
  decorators: { request: ['principal'] },
  encapsulate: true,
  fastify: '5.x'
})
