import { ProtocolError, ProtocolErrorCode, ResourceNotFoundError, Server } from '@modelcontextprotocol/server'
import type { CacheHint, CompleteResult, Implementation } from '@modelcontextprotocol/server'
import type { Caller } from '../handlers/caller.ts'
import { recordStoreFailure } from '../handlers/caller.ts'
import type { Catalog } from '../catalog/catalog.ts'
import { page } from '../catalog/listing.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import type { Runner } from '../handlers/runner.ts'
import type { Sessions } from '../sessions/sessions.ts'

/**
 * The SDK's server objects, one for each request and never shared (GHSA-345p-7cg4-v4c7): the caller comes in by
 * closure, so no request can see another's. What does not change, the catalog, is made once.
 */
export interface ProtocolServers {
  create (caller: Caller): Server
}

export interface ProtocolServerOptions {
  serverInfo: Implementation
  /** What is offered now. */
  catalog: () => Catalog
  policies: PolicyEvaluator
  runner: Runner
  sessions: Sessions
  /** How long listing may take (TOOL_TIMEOUT_SECONDS). */
  timeoutSeconds: number
  pageSize: number
  /** The session's subscriptions have changed. */
  onSubscriptionsChanged (session: string): void
  /** The session's level of log messages has changed. */
  onLogLevelChanged (session: string): void
  onerror (error: Error): void
}

/** Changes are told to clients that listen; others look again after this. */
export const LIST_TTL_MS = 60_000
const CAPABILITIES = { tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true, subscribe: true }, completions: {}, logging: {} }

export function createProtocolServers ({ serverInfo, catalog, policies, runner, sessions, timeoutSeconds, pageSize, onSubscriptionsChanged, onLogLevelChanged, onerror }: ProtocolServerOptions): ProtocolServers {
  /** The revisions before 2026-07-28 know no hints. */
  function hint ({ session }: Caller, isPublic: boolean): CacheHint {
    return session === undefined ? { ttlMs: LIST_TTL_MS, cacheScope: isPublic ? 'public' : 'private' } : {}
  }

  async function complete (caller: Caller, ref: { type: string, name?: string, uri?: string }, argument: { name: string, value: string }, given: Record<string, string>): Promise<CompleteResult> {
    const { prompts, resources } = catalog()
    const found = ref.type === 'ref/prompt' ? prompts.find(ref.name!) : resources.findTemplate(ref.uri!)
    if (found === undefined || !policies.isAllowed(found.definition, caller.principal)) {
      // A resource without variables may be asked for too, and has nothing to complete.
      if (ref.type === 'ref/resource' && catalog().resources.listing.visible(caller.principal).some(({ uri }) => uri === ref.uri)) return { completion: { values: [] } }
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'There is nothing of this name to complete')
    }
    return { completion: await found.complete(argument, given, caller) }
  }

  function checkReadable (caller: Caller, uri: string): void {
    const found = catalog().resources.find(uri)
    if (found === undefined || !policies.isAllowed(found.policy, caller.principal)) throw new ResourceNotFoundError(uri)
  }

  return {
    create (caller) {
      const { principal } = caller
      const server = new Server(serverInfo, { capabilities: CAPABILITIES, cacheHints: { 'server/discover': { ttlMs: LIST_TTL_MS, cacheScope: 'public' } } })
      server.onerror = onerror

      server.setRequestHandler('tools/list', ({ params }) => {
        const { listing } = catalog().tools
        const { items, ...rest } = page('tools', listing.visible(principal), ({ name }) => name, params?.cursor, pageSize)
        return { tools: [...items], ...rest, ...hint(caller, listing.isPublic) }
      })
      server.setRequestHandler('tools/call', async ({ params: { name, arguments: input = {} } }, context) =>
        await runner.run({ caller, context, method: 'tools/call', name, arguments: input }, async (run) => await catalog().tools.call(name, input, principal, run)))

      server.setRequestHandler('prompts/list', ({ params }) => {
        const { listing } = catalog().prompts
        const { items, ...rest } = page('prompts', listing.visible(principal), ({ name }) => name, params?.cursor, pageSize)
        return { prompts: [...items], ...rest, ...hint(caller, listing.isPublic) }
      })
      server.setRequestHandler('prompts/get', async ({ params: { name, arguments: given = {} } }, context) =>
        await runner.run({ caller, context, method: 'prompts/get', name, arguments: given }, async (run) => await catalog().prompts.get(name, given, principal, run)))

      server.setRequestHandler('resources/list', async ({ params }) => {
        const { resources, isPublic } = await catalog().resources.list(caller, timeoutSeconds)
        const { items, ...rest } = page('resources', resources, ({ uri }) => uri, params?.cursor, pageSize)
        return { resources: [...items], ...rest, ...hint(caller, isPublic) }
      })
      server.setRequestHandler('resources/templates/list', ({ params }) => {
        const { templates } = catalog().resources
        const { items, ...rest } = page('templates', templates.visible(principal), ({ uriTemplate }) => uriTemplate, params?.cursor, pageSize)
        return { resourceTemplates: [...items], ...rest, ...hint(caller, templates.isPublic) }
      })
      server.setRequestHandler('resources/read', async ({ params: { uri } }, context) =>
        await runner.run({ caller, context, method: 'resources/read', name: uri, arguments: {} }, async (run) => {
          const { ttlMs, cacheScope, ...result } = await catalog().resources.read(uri, principal, run)
          return caller.session === undefined ? { ...result, ttlMs, cacheScope } : result
        }))

      server.setRequestHandler('completion/complete', async ({ params: { ref, argument, context } }) => await complete(caller, ref, argument, context?.arguments ?? {}))

      // The following are those of sessions: 2026-07-28 has none of them.
      server.setRequestHandler('logging/setLevel', async ({ params }) => {
        await recordStoreFailure(caller, sessions.setLogLevel(caller.session!, params.level))
        onLogLevelChanged(caller.session!.digest)
        return {}
      })
      server.setRequestHandler('resources/subscribe', async ({ params: { uri } }) => {
        checkReadable(caller, uri)
        await recordStoreFailure(caller, sessions.subscribe(caller.session!, uri))
        onSubscriptionsChanged(caller.session!.digest)
        return {}
      })
      server.setRequestHandler('resources/unsubscribe', async ({ params: { uri } }) => {
        await recordStoreFailure(caller, sessions.unsubscribe(caller.session!, uri))
        onSubscriptionsChanged(caller.session!.digest)
        return {}
      })
      return server
    }
  }
}
