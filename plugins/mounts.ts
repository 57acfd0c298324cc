import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../src/config/config.ts'
import { findUnknownMounts } from '../src/config/endpoints.ts'
import { ConfigError } from '../src/config/problem.ts'
import { VERSION } from '../src/config/version.ts'
import type { IdentityServices } from '../src/mounts/caller/caller-identity.ts'
import type { DeclaredMount } from '../src/mounts/settings/define-mount.ts'
import type { Mounts } from '../src/mounts/mounts.ts'
import { createCallerAssertions } from '../src/tokens/caller-assertion.ts'
import type { IssueCallerAssertion } from '../src/tokens/caller-assertion.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The mounted MCP servers; undefined if there are none. */
    mounts: Mounts | undefined
  }
}

/** For tests: times that the configuration does not offer. */
export interface MountsTimings {
  /** Time for which the start waits for mounted servers; 3 seconds by default. */
  mountsWaitMs?: number
  /** The first pause after a failed attempt to connect; a second by default. */
  mountsRetryMs?: number
  /** The shortest time after which a server's hints have its lists fetched again; a minute by default. */
  mountsMinRefreshMs?: number
}

export interface MountsOptions extends MountsTimings {
  /** The mounts of extensions. */
  declared: readonly DeclaredMount[]
}

/**
 * Shares the MCP servers of SEED_MOUNTS and of extensions. `src/app.ts` connects to them when the services that say
 * who calls are there.
 *
 * @throws ConfigError for mounts that are not valid, and for endpoints whose mounts do not exist
 */
async function mounts (app: FastifyInstance, options: MountsOptions): Promise<void> {
  const { config, log } = app
  const { mountsRetryMs, mountsMinRefreshMs, declared } = options
  const { endpoints, mountsFile, mcp: { tool: { maxResultBytes } }, tracing: { endpoint } } = config
  if (mountsFile === undefined && declared.length === 0) {
    checkMountsOf(endpoints, [])
    app.decorate('mounts', undefined)
    return
  }
  // The MCP client is imported only where it is needed.
  const { createMounts, readMounts } = await import('../src/mounts/mounts.ts')
  const read = readMounts(mountsFile, { ...config, declared })
  checkMountsOf(endpoints, read.map(({ name }) => name))
  const metrics = app.telemetry?.measureMounts()
  const mounted = createMounts({
    mounts: read,
    version: VERSION,
    maxResultBytes,
    identityServices: identityServices(app),
    log,
    isTraced: endpoint !== undefined,
    observer: metrics,
    ...(mountsRetryMs !== undefined && { retryMs: mountsRetryMs }),
    ...(mountsMinRefreshMs !== undefined && { minRefreshMs: mountsMinRefreshMs })
  })
  app.decorate('mounts', mounted)
  for (const watched of mounted.watched) metrics?.watch(watched)
  app.addHook('onReady', async () => { mounted.countCalls(app.sharedCounters) })
  app.addHook('onClose', async () => { await mounted.close() })
}

/** The services that say who calls. Those of later plugins are there when the first request needs them. */
function identityServices (app: FastifyInstance): IdentityServices {
  let issue: IssueCallerAssertion | undefined
  return {
    issueAssertion (caller, request) {
      issue ??= createCallerAssertions({ signingKeys: app.signingKeys, issuer: app.config.baseUrl })
      return issue(caller, request)
    },
    tokenFor: async (caller, request, signal) => await app.toolTokens.tokenFor(caller, request, signal),
    serverTokenFor: async (request) => await app.toolTokens.serverTokenFor(request)
  }
}

function checkMountsOf (endpoints: Config['endpoints'], mounts: readonly string[]): void {
  const problems = findUnknownMounts(endpoints, mounts)
  if (problems.length > 0) throw new ConfigError(problems)
}

export default fp(mounts, { name: 'mounts', dependencies: ['config', 'telemetry'], fastify: '5.x' })
