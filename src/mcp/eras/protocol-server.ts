import { ProtocolError, ProtocolErrorCode, ResourceNotFoundError, Server } from '@modelcontextprotocol/server'
import type { CacheHint, Implementation, ServerCapabilities } from '@modelcontextprotocol/server'
import type { Catalog } from '../catalog/catalog.ts'
import { LIST_TTL_MS } from '../catalog/listing.ts'
import { paginate } from '../catalog/pagination.ts'
import { recordStoreFailure } from '../handlers/caller.ts'
import type { Caller } from '../handlers/caller.ts'
import type { Runner } from '../handlers/runner.ts'
import { subscriberOf } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { OnSubscribed } from '../streams/on-subscribed.ts'

/** Extensions of the protocol by identifier, with their settings. */
export type Extensions = NonNullable<ServerCapabilities['extensions']>

export interface ProtocolServerOptions {
  serverInfo: Implementation
  instructions: string | undefined
  /** Extensions of the protocol that the server declares, by identifier. */
  extensions: Extensions | undefined
  /** The catalog that is served now. */
  catalog: () => Catalog
  runner: Runner
  sessions: Sessions
  /** The limit for listing resources (TOOL_TIMEOUT_SECONDS). */
  timeoutSeconds: number
  pageSize: number
  onSubscribed: OnSubscribed
  onerror (error: Error): void
}

const CAPABILITIES = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  completions: {},
  logging: {}
}

export type ProtocolServers = ReturnType<typeof createProtocolServers>

/**
 * The SDK's server objects. There is one for each request, and none is shared (GHSA-345p-7cg4-v4c7): its handlers hold
 * the caller, so no request can see another's. The catalog is shared.
 */
export function createProtocolServers (options: ProtocolServerOptions) {
  const { serverInfo, instructions, extensions, catalog, onerror } = options
  const serverOptions = {
    capabilities: { ...CAPABILITIES, ...(extensions !== undefined && { extensions }) },
    cacheHints: { 'server/discover': { ttlMs: LIST_TTL_MS, cacheScope: catalog().cacheScope } },
    ...(instructions !== undefined && { instructions })
  }
  return {
    create (caller: Caller): Server {
      const server = new Server(serverInfo, serverOptions)
      server.onerror = onerror
      handleTools(server, caller, options)
      handlePrompts(server, caller, options)
      handleResources(server, caller, options)
      // Revision 2026-07-28 has no sessions, and none of their methods.
      handleSession(server, caller, options)
      return server
    }
  }
}

function handleTools (server: Server, caller: Caller, { catalog, runner, pageSize }: ProtocolServerOptions): void {
  const { principal } = caller

  server.setRequestHandler('tools/list', ({ params }) => {
    const { listing } = catalog().tools
    const { items, ...rest } = paginate(listing.visible(principal), {
      list: 'tools', nameOf: ({ name }) => name, cursor: params?.cursor, pageSize
    })
    return { tools: [...items], ...rest, ...listHint(caller, listing.cacheHint()) }
  })

  server.setRequestHandler('tools/call', async ({ params: { name, arguments: input = {} } }, context) => {
    const { tools } = catalog()
    const result = await runner.run({ caller, context, method: 'tools/call', name, arguments: input }, async (run) =>
      await tools.call(name, input, principal, run))
    return tools.copyForSending(name, result, caller.log)
  })
}

function handlePrompts (server: Server, caller: Caller, { catalog, runner, pageSize }: ProtocolServerOptions): void {
  const { principal } = caller

  server.setRequestHandler('prompts/list', ({ params }) => {
    const { listing } = catalog().prompts
    const { items, ...rest } = paginate(listing.visible(principal), {
      list: 'prompts', nameOf: ({ name }) => name, cursor: params?.cursor, pageSize
    })
    return { prompts: [...items], ...rest, ...listHint(caller, listing.cacheHint()) }
  })

  server.setRequestHandler('prompts/get', async ({ params: { name, arguments: args = {} } }, context) =>
    await runner.run({ caller, context, method: 'prompts/get', name, arguments: args }, async (run) =>
      await catalog().prompts.get(name, args, principal, run)))

  server.setRequestHandler('completion/complete', async ({ params }) =>
    ({ completion: await catalog().complete(params, caller) }))
}

function handleResources (server: Server, caller: Caller, options: ProtocolServerOptions): void {
  const { catalog, runner, pageSize, timeoutSeconds } = options
  const { principal } = caller

  server.setRequestHandler('resources/list', async ({ params }) => {
    const { resources, hint } = await catalog().resources.list(caller, timeoutSeconds)
    const { items, ...rest } = paginate(resources, {
      list: 'resources', nameOf: ({ uri }) => uri, cursor: params?.cursor, pageSize
    })
    return { resources: [...items], ...rest, ...listHint(caller, hint) }
  })

  server.setRequestHandler('resources/templates/list', ({ params }) => {
    const { templates } = catalog().resources
    const { items, ...rest } = paginate(templates.visible(principal), {
      list: 'templates', nameOf: ({ uriTemplate }) => uriTemplate, cursor: params?.cursor, pageSize
    })
    return { resourceTemplates: [...items], ...rest, ...listHint(caller, templates.cacheHint()) }
  })

  server.setRequestHandler('resources/read', async ({ params: { uri } }, context) =>
    await runner.run({ caller, context, method: 'resources/read', name: uri, arguments: {} }, async (run) => {
      const { ttlMs, cacheScope, ...result } = await catalog().resources.read(uri, principal, run)
      return caller.session === undefined ? { ...result, ttlMs, cacheScope } : result
    }))
}

function handleSession (server: Server, caller: Caller, options: ProtocolServerOptions): void {
  const { catalog, sessions, onSubscribed } = options

  server.setRequestHandler('logging/setLevel', async ({ params: { level } }) => {
    await recordStoreFailure(caller, sessions.setLogLevel(caller.session!, level))
    return {}
  })

  server.setRequestHandler('resources/subscribe', async ({ params: { uri } }) => {
    const { resources } = catalog()
    if (resources.find(uri, caller.principal) === undefined) throw new ResourceNotFoundError(uri)
    if (!resources.isSubscribable(uri, caller.principal)) {
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'Clients cannot subscribe to this resource')
    }
    await recordStoreFailure(caller, sessions.subscribe(caller.session!, uri))
    onSubscribed([uri], subscriberOf(caller.session!))
    return {}
  })

  server.setRequestHandler('resources/unsubscribe', async ({ params: { uri } }) => {
    await recordStoreFailure(caller, sessions.unsubscribe(caller.session!, uri))
    return {}
  })
}

/** Cache hints of a list. The revisions before 2026-07-28 have none. */
function listHint ({ session }: Caller, hint: CacheHint): CacheHint {
  return session === undefined ? hint : {}
}
