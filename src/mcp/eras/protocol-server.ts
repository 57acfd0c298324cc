import { ResourceNotFoundError, Server } from '@modelcontextprotocol/server'
import type { CacheHint, Implementation } from '@modelcontextprotocol/server'
import type { Caller } from '../handlers/caller.ts'
import { recordStoreFailure } from '../handlers/caller.ts'
import type { Catalog } from '../catalog/catalog.ts'
import { paginate } from '../catalog/pagination.ts'
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

export function createProtocolServers ({ serverInfo, catalog, runner, sessions, timeoutSeconds, pageSize, onSubscriptionsChanged, onLogLevelChanged, onerror }: ProtocolServerOptions): ProtocolServers {
  /** The revisions before 2026-07-28 know no hints. */
  function hint ({ session }: Caller, isPublic: boolean): CacheHint {
    return session === undefined ? { ttlMs: LIST_TTL_MS, cacheScope: isPublic ? 'public' : 'private' } : {}
  }

  function checkReadable (caller: Caller, uri: string): void {
    if (catalog().resources.find(uri, caller.principal) === undefined) throw new ResourceNotFoundError(uri)
  }

  return {
    create (caller) {
      const { principal } = caller
      const server = new Server(serverInfo, { capabilities: CAPABILITIES, cacheHints: { 'server/discover': { ttlMs: LIST_TTL_MS, cacheScope: 'public' } } })
      server.onerror = onerror

      server.setRequestHandler('tools/list', ({ params }) => {
        const { listing } = catalog().tools
        const { items, ...rest } = paginate(listing.visible(principal), { list: 'tools', nameOf: ({ name }) => name, cursor: params?.cursor, pageSize })
        return { tools: [...items], ...rest, ...hint(caller, listing.isPublic) }
      })
      server.setRequestHandler('tools/call', async ({ params: { name, arguments: input = {} } }, context) =>
        await runner.run({ caller, context, method: 'tools/call', name, arguments: input }, async (run) => await catalog().tools.call(name, input, principal, run)))

      server.setRequestHandler('prompts/list', ({ params }) => {
        const { listing } = catalog().prompts
        const { items, ...rest } = paginate(listing.visible(principal), { list: 'prompts', nameOf: ({ name }) => name, cursor: params?.cursor, pageSize })
        return { prompts: [...items], ...rest, ...hint(caller, listing.isPublic) }
      })
      server.setRequestHandler('prompts/get', async ({ params: { name, arguments: given = {} } }, context) =>
        await runner.run({ caller, context, method: 'prompts/get', name, arguments: given }, async (run) => await catalog().prompts.get(name, given, principal, run)))

      server.setRequestHandler('resources/list', async ({ params }) => {
        const { resources, isPublic } = await catalog().resources.list(caller, timeoutSeconds)
        const { items, ...rest } = paginate(resources, { list: 'resources', nameOf: ({ uri }) => uri, cursor: params?.cursor, pageSize })
        return { resources: [...items], ...rest, ...hint(caller, isPublic) }
      })
      server.setRequestHandler('resources/templates/list', ({ params }) => {
        const { templates } = catalog().resources
        const { items, ...rest } = paginate(templates.visible(principal), { list: 'templates', nameOf: ({ uriTemplate }) => uriTemplate, cursor: params?.cursor, pageSize })
        return { resourceTemplates: [...items], ...rest, ...hint(caller, templates.isPublic) }
      })
      server.setRequestHandler('resources/read', async ({ params: { uri } }, context) =>
        await runner.run({ caller, context, method: 'resources/read', name: uri, arguments: {} }, async (run) => {
          const { ttlMs, cacheScope, ...result } = await catalog().resources.read(uri, principal, run)
          return caller.session === undefined ? { ...result, ttlMs, cacheScope } : result
        }))

      server.setRequestHandler('completion/complete', async ({ params }) => ({ completion: await catalog().complete(params, caller) }))

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
