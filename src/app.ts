import Fastify, { LogController } from 'fastify'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import audit from '../plugins/audit.ts'
import config from '../plugins/config.ts'
import dcr from '../plugins/dcr.ts'
import grants from '../plugins/grants.ts'
import health from '../plugins/health.ts'
import jwtAuth from '../plugins/jwt-auth.ts'
import keyring from '../plugins/keyring.ts'
import mcpLimits from '../plugins/mcp-limits.ts'
import mcpTransport from '../plugins/mcp-transport.ts'
import mounts from '../plugins/mounts.ts'
import type { MountsOptions, MountsTimings } from '../plugins/mounts.ts'
import oauthProxy from '../plugins/oauth-proxy.ts'
import oidcDiscovery from '../plugins/oidc-discovery.ts'
import type { DiscoveryTimings } from '../plugins/oidc-discovery.ts'
import openAccess from '../plugins/open-access.ts'
import publishedKeys from '../plugins/published-keys.ts'
import rateLimit from '../plugins/rate-limit.ts'
import redis from '../plugins/redis.ts'
import type { RedisTimings } from '../plugins/redis.ts'
import shutdown from '../plugins/shutdown.ts'
import telemetry from '../plugins/telemetry.ts'
import signInTraces from '../plugins/sign-in-traces.ts'
import tracing from '../plugins/tracing.ts'
import type { TracingTimings } from '../plugins/tracing.ts'
import type { Config } from './config/config.ts'
import type { Environment } from './config/load.ts'
import { MAX_GRACE_SECONDS } from './config/schema.ts'
import { createAddressMatcher } from './net/addresses.ts'
import { createPublicFetcher } from './net/public-fetch.ts'
import type { FetchPublicDocument } from './net/public-fetch.ts'
import { createRouteFinder } from './http/base-path.ts'
import { notFoundHandler, plainErrorHandler } from './http/errors.ts'
import { createLogOutput } from './logging/output.ts'
import { createRequestId, loggerOptions } from './logging/logger.ts'
import { createRequestLogger } from './logging/request-line.ts'
import type { RequestLogger } from './logging/request-line.ts'
import { lazyRequestLogger } from './logging/lazy-child-logger.ts'
import type { Definition } from './define/definition.ts'
import { requirementsOf } from './policy/requirements.ts'
import type { Engine } from './mcp/engine.ts'

/** On every response; pages add their own. */
const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin'
}

/** Also limits the hooks in which closing waits for running calls. */
const PLUGIN_TIMEOUT_MS = (MAX_GRACE_SECONDS + 10) * 1_000

export interface AppOptions {
  /** The `.env` file to read besides the environment; none by default. */
  dotenvPath?: string | false
  /** Receives log lines instead of standard output. */
  logStream?: { write (line: string): unknown }
  /** Fetches client metadata documents, instead of from public addresses only. */
  fetchDocument?: FetchPublicDocument
  /** The tools, prompts and resources to offer, or a function that loads them; none by default. */
  definitions?: readonly Definition[] | ((config: Config) => Promise<readonly Definition[]>)
  /** Returns the mounts of extensions, once the definitions are loaded; none by default. */
  mounts?: () => MountsOptions['declared']
  /** For development: receives the engine, which can replace the definitions while the server runs. */
  onEngine?: (engine: Pick<Engine, 'replace'>) => void
  /** For tests: times that the configuration does not offer. */
  timings?: DiscoveryTimings & MountsTimings & RedisTimings & TracingTimings
  /** For tests: compilers of schemas, which many servers in one process can share. */
  compilersFactory?: SchemaCompilers
}

type SchemaCompilers = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>

/**
 * Builds Seed from an environment. Listens on nothing, and never exits.
 *
 * @throws ConfigError with every problem of the configuration; DefinitionError for a definition that cannot be served
 */
export async function buildApp (environment: Environment, options: AppOptions = {}): Promise<FastifyInstance> {
  const logStream = options.logStream ?? createLogOutput()
  const app = createServer(logStream, options.compilersFactory)
  try {
    await registerPlugins(app, environment, { ...options, logStream })
    return app
  } catch (err) {
    // Connections that are open already would keep the process running.
    await app.close()
    throw err
  }
}

/** Registers all plugins. Their order is the architecture: with sign-in, or open to everyone. */
async function registerPlugins (
  app: FastifyInstance, environment: Environment, options: AppOptions & Required<Pick<AppOptions, 'logStream'>>
): Promise<void> {
  const { dotenvPath, fetchDocument = createPublicFetcher(), onEngine, timings = {} } = options
  await app.register(config, { environment, dotenvPath })
  const { authRequired, oauth, oidc, scopeHierarchy } = app.config
  const definitions = await loadDefinitions(options.definitions, app.config)

  await app.register(telemetry)
  await app.register(tracing, timings)
  await app.register(shutdown)
  await app.register(mounts, { ...timings, declared: options.mounts?.() ?? [] })
  const policies = [...definitions, ...app.mounts?.policies ?? []]
  const requirements = requirementsOf(policies, scopeHierarchy, oidc.scopes)
  await app.register(redis, timings)
  await app.register(keyring)
  await app.register(audit, { stdout: options.logStream })
  await app.register(rateLimit)
  await app.register(mcpLimits)
  if (authRequired) {
    await app.register(signInTraces)
    await app.register(oidcDiscovery, timings)
    await app.register(jwtAuth, timings)
    if (oauth.mode === 'broker') await app.register(grants)
    await app.register(oauthProxy, { fetchDocument, requirements, ...timings })
    await app.register(dcr)
  } else {
    await app.register(openAccess)
  }
  await app.register(publishedKeys)
  await app.mounts?.connect(timings.mountsWaitMs)
  await app.register(mcpTransport, { definitions, requirements, onEngine })
  await app.register(health)
  app.setNotFoundHandler({ preHandler: app.rateLimits.byAddressLocally('not-found', { factor: 5 }) }, notFoundHandler)
}

/** Creates the Fastify instance with what holds for every request. The config plugin sets the log level. */
function createServer (
  logStream: { write (line: string): unknown }, compilersFactory: SchemaCompilers = {}
): FastifyInstance {
  let isTrustedProxy: ((address: string) => boolean) | undefined
  let findRoute: ((url: string) => string) | undefined
  const app: FastifyInstance = Fastify({
    logger: { ...loggerOptions(), stream: logStream },
    childLoggerFactory: lazyRequestLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: createRequestId,
    requestIdHeader: false,
    trustProxy: (address) => (isTrustedProxy ??= createAddressMatcher(app.config.trustProxy))(address),
    rewriteUrl: ({ url }) => (findRoute ??= createRouteFinder(app.config.basePath))(url!),
    exposeHeadRoutes: false,
    bodyLimit: 1_048_576,
    // The headers' timeout must be the shorter one, or Node swaps the two. Neither limits event streams.
    requestTimeout: 10_000,
    http: { headersTimeout: 5_000, connectionsCheckingInterval: 1_000 },
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    pluginTimeout: PLUGIN_TIMEOUT_MS,
    schemaController: { compilersFactory },
    frameworkErrors: (error, request, reply) => {
      answerBadUrl(error, request as FastifyRequest, reply as FastifyReply, logRequest)
    },
    ajv: {
      // TypeBox makes the schemas: to check each against the schema of schemas costs a tenth of the start.
      customOptions: {
        coerceTypes: false, removeAdditional: false, allErrors: false, meta: false, validateSchema: false
      }
    }
  })
  app.removeContentTypeParser('text/plain')
  app.setErrorHandler(plainErrorHandler)
  app.decorateRequest('logFields', undefined)
  app.decorateRequest('traceStep', undefined)
  app.decorateRequest('traceId', undefined)
  app.decorateRequest('failure', undefined)
  app.addHook('onRequest', (request, reply, done) => {
    readAddress(request)
    reply.headers(SECURITY_HEADERS).header('x-request-id', request.id)
    done()
  })
  const logRequest = createRequestLogger(app.log)
  app.addHook('onResponse', (request, reply, done) => {
    logRequest(request, reply)
    done()
  })
  return app
}

/** Makes Node keep the address of a connection: once that is closed, only an address that was read before is known. */
function readAddress ({ socket }: FastifyRequest): string | undefined {
  return socket.remoteAddress
}

async function loadDefinitions (
  given: AppOptions['definitions'] = [],
  settings: Config
): Promise<readonly Definition[]> {
  return typeof given === 'function' ? await given(settings) : given
}

/** Answers and logs a URL that cannot be decoded: it reaches no route and no hook. */
async function answerBadUrl (
  error: FastifyError, request: FastifyRequest, reply: FastifyReply, logRequest: RequestLogger
): Promise<void> {
  reply.headers({ ...SECURITY_HEADERS, 'x-request-id': request.id })
  const cause = await request.server.rateLimits.countRefused(request).then(
    () => error,
    (limited: FastifyError) => limited
  )
  await plainErrorHandler(cause, request, reply)
  logRequest(request, reply)
}
