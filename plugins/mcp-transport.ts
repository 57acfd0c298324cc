import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import homeRoutes, { ICON_PATH } from '../routes/home.ts'
import { CONNECTIONS_PATH } from '../routes/connections.ts'
import mcpRoutes from '../routes/mcp.ts'
import type { McpRouteOptions } from '../routes/mcp.ts'
import type { Config } from '../src/config/config.ts'
import type { Endpoint } from '../src/config/endpoints.ts'
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
import { createCallRecorder } from '../src/audit/calls.ts'
import { clientKindOf } from '../src/audit/client-kind.ts'
import { findCompatibilityWarnings } from '../src/define/client-compatibility.ts'
import { createEngineServices } from '../src/mcp/engine-services.ts'
import type { EngineServices } from '../src/mcp/engine-services.ts'
import { createEngine } from '../src/mcp/engine.ts'
import type { Engine, EngineOptions } from '../src/mcp/engine.ts'
import { createAssertionFor } from '../src/mcp/handlers/assertion-for.ts'
import { baseScopes, wellKnownUrl } from '../src/oauth/endpoints/metadata.ts'
import { hasPolicy } from '../src/policy/evaluator.ts'
import {
  createUriCheck, findUnknownEndpoints, findUnmatchedNames, selectDefinitions
} from '../src/selection/endpoint-selection.ts'
import { createCallerAssertions } from '../src/tokens/caller-assertion.ts'

export interface McpTransportOptions {
  /** The tools, prompts and resources to offer. */
  definitions: readonly Definition[]
  /** The scopes and claims that their policies use. */
  requirements: PolicyRequirements
  /** For development: gets the engine, to replace the definitions while the server runs. */
  onEngine?: ((engine: Pick<Engine, 'replace'>) => void) | undefined
}

/** The MCP endpoints: an engine for each, behind Host, Origin and bearer checks. */
async function mcpTransport (app: FastifyInstance, options: McpTransportOptions): Promise<void> {
  const { config, log } = app
  const { requirements, onEngine, definitions: own } = options
  const { endpoints } = config
  const definitions = withMounts(app, own)
  logPolicyWarnings(app, { definitions, requirements })
  const warn = createDefinitionLog(log, endpoints)
  warn(definitions)
  const icon = config.server.icon === undefined ? undefined : readServerIcon(config.server.icon)
  app.telemetry?.watchLimits(app.mcpLimits.running)
  const services = createEngineServices(app.store, log, app.keyring)
  services.cluster.replicas.onMessage((message) => {
    if (message.kind === 'roots-changed') app.mounts?.rootsChanged(message.session)
  })
  const engines = endpoints.map((endpoint) =>
    createEndpointEngine(app, endpoint, { services, definitions, requirements, icon }))
  followChanges(app, own, (next) => {
    const all = withMounts(app, next)
    // All endpoints change, or none does.
    const changes = engines.map((engine, index) =>
      engine.prepare(selectDefinitions(all, endpoints[index]!)))
    for (const change of changes) change()
    warn(all)
  }, onEngine)

  app.addHook('onRequest', createHostCheck(config, app.rateLimits.countRefused))
  await registerHomePage(app, icon)
  const routes = describeRoutes(app)
  for (const [index, endpoint] of endpoints.entries()) {
    await app.register(async (scope) => {
      scope.addHook('onRequest', createOriginCheck(routes.origins, app.rateLimits.countRefused))
      await scope.register(mcpRoutes, {
        ...routes,
        prefix: endpoint.path,
        engine: engines[index]!,
        endpoint: endpoint.resource,
        challenge: {
          resourceMetadata: wellKnownUrl('oauth-protected-resource', endpoint.resource),
          scopes: baseScopes(endpoint.scopes)
        }
      })
    })
  }
  app.addHook('preClose', async () => {
    await Promise.all(engines.map(async (engine) => { await engine.close(config.shutdown.graceSeconds * 1_000) }))
    await services.close()
  })
  app.addHook('preClose', async () => { await app.sharedCounters.close() })
}

/** Returns all definitions: those of this server, and what mounted servers offer. */
function withMounts ({ mounts }: FastifyInstance, own: readonly Definition[]): readonly Definition[] {
  return mounts === undefined ? own : [...own, ...mounts.definitions(own)]
}

interface EndpointOptions extends Pick<McpTransportOptions, 'definitions' | 'requirements'> {
  services: EngineServices
  icon: ServerIcon | undefined
}

function createEndpointEngine (
  app: FastifyInstance, endpoint: Endpoint, { services, definitions, requirements, icon }: EndpointOptions
): Engine {
  const { config, signingKeys, tracing } = app
  // Metrics, spans and audit lines of servers with one endpoint stay as they are.
  const label = endpoint.name === undefined ? undefined : endpoint.path
  const engine = createEngine({
    endpoint: endpoint.path,
    services,
    serverInfo: describeServer(endpoint, config, icon),
    instructions: endpoint.server.instructions,
    extensions: authorizationExtensions(config),
    definitions: selectDefinitions(definitions, endpoint),
    isUriOffered: createUriCheck(endpoint.selection),
    policy: {
      hierarchy: config.scopeHierarchy,
      scopes: [...config.oidc.scopes, ...requirements.scopes],
      clockSkewSeconds: config.token.clockSkewSeconds,
      authRequired: config.authRequired
    },
    tokenFor: app.hasDecorator('toolTokens') ? app.toolTokens.tokenFor : undefined,
    assertionFor: config.secrets.current === undefined
      ? undefined
      : createAssertionFor(createCallerAssertions({ signingKeys, issuer: config.baseUrl }), config.baseUrl),
    pageSize: config.mcp.pageSize,
    keyring: app.keyring,
    session: config.mcp.session,
    tool: config.mcp.tool,
    limits: app.mcpLimits,
    log: app.log,
    recordCall: toCallRecorder(app, label),
    traceHandler: tracing?.runHandler
  })
  return tracing?.traceEngine(engine, label) ?? engine
}

/** Returns what the routes of all endpoints have in common. */
function describeRoutes (app: FastifyInstance): Omit<McpRouteOptions, 'engine' | 'endpoint' | 'challenge'> {
  const { config } = app
  return {
    origins: allowedOrigins(config),
    limits: app.mcpLimits,
    streams: app.hasDecorator('accessTokens')
      ? createStreamRevocation({ ...app.accessTokens, clockSkewSeconds: config.token.clockSkewSeconds })
      : undefined,
    onRefused: app.hasDecorator('traces')
      ? (request: FastifyRequest, error: BearerError) => { traceRefusedCall(app.traces, request, error) }
      : undefined,
    rememberDemand: app.hasDecorator('grantServices') ? app.grantServices.demands.add : undefined
  }
}

/** Serves the home page, the icon, and the files of WELL_KNOWN_FILES. */
async function registerHomePage (app: FastifyInstance, icon: ServerIcon | undefined): Promise<void> {
  const { config } = app
  await app.register(async (scope) => {
    scope.addHook('onRequest', app.rateLimits.byAddressLocally('home', { factor: 5 }))
    await scope.register(homeRoutes, {
      ...config.server,
      title: config.server.title ?? 'Seed',
      endpoint: config.resource,
      furtherEndpoints: config.endpoints.slice(1).map(({ resource, server: { name, title, description } }) =>
        ({ name, title: title!, description, endpoint: resource })),
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

/** Describes the server to the clients of an endpoint. Every response of 2026-07-28 repeats it. */
function describeServer (
  { server: { name, title = 'Seed', description } }: Endpoint,
  { server: { website }, baseUrl }: Config,
  icon: ServerIcon | undefined
): EngineOptions['serverInfo'] {
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
function toCallRecorder (
  { audit, config, telemetry, tracing }: FastifyInstance, endpoint: string | undefined
): EngineOptions['recordCall'] {
  const measure: EngineOptions['recordCall'] = telemetry && ((call) => { telemetry.callEnded(call, endpoint) })
  const recorders = [
    audit && createCallRecorder(audit, clientKindOf(config), endpoint), measure, tracing?.callEnded
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

/** Logs what some clients refuse, and names that endpoints choose in vain, once for as long as it is so. */
function createDefinitionLog (log: FastifyInstance['log'], endpoints: readonly Endpoint[]) {
  let known = new Set<string>()
  return (definitions: readonly Definition[]): void => {
    const warnings = findCompatibilityWarnings(definitions)
    for (const { message, file } of warnings) {
      if (!known.has(message)) log.warn({ event: 'definitions.incompatible', file }, message)
    }
    const unmatched = endpoints
      .map(({ path, selection }) => ({ endpoint: path, unmatched: findUnmatchedNames(definitions, selection) }))
      .filter(({ unmatched }) => unmatched.length > 0)
    for (const fields of unmatched) {
      if (!known.has(JSON.stringify(fields))) {
        log.warn({ event: 'endpoint.names_unmatched', ...fields },
          'Names in SEED_ENDPOINTS fit nothing that this server offers now')
      }
    }
    const unknown = findUnknownEndpoints(definitions, endpoints)
    for (const endpoint of unknown) {
      if (!known.has(endpoint)) {
        log.warn({ event: 'definitions.endpoint_unknown', endpoint },
          'A definition names an MCP endpoint that SEED_ENDPOINTS does not have')
      }
    }
    known = new Set([
      ...unknown, ...warnings.map(({ message }) => message), ...unmatched.map((fields) => JSON.stringify(fields))
    ])
  }
}

/** The MCP extensions about authorization that this server has; undefined if there are none. */
function authorizationExtensions ({ authRequired, oauth }: Config): EngineOptions['extensions'] {
  if (!authRequired || !oauth.configuredClients.some(({ service }) => service !== undefined)) return undefined
  return { 'io.modelcontextprotocol/oauth-client-credentials': {} }
}

export default fp(mcpTransport, {
  name: 'mcp-transport',
  dependencies: ['telemetry', 'tracing', 'mounts', 'redis', 'keyring', 'audit', 'rate-limit', 'mcp-limits'],
  decorators: { request: ['principal'] },
  encapsulate: true,
  fastify: '5.x'
})
