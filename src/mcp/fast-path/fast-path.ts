import { isPromise } from '../../async/maybe-async.ts'
import type { MaybePromise } from '../../async/maybe-async.ts'
import type { Catalog } from '../catalog/catalog.ts'
import type { CompiledTool } from '../catalog/compiled-tool.ts'
import { callTool } from '../catalog/tools.ts'
import type { CallLimits, McpRequest, McpResponse } from '../exchange.ts'
import type { Caller } from '../handlers/caller.ts'
import type { Runner } from '../handlers/runner.ts'
import type { Session } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { PendingCalls } from './pending-calls.ts'
import { createPlainRequestReader } from './plain-request.ts'
import type { PlainRequest } from './plain-request.ts'
import type { PlainResponses } from './plain-response.ts'
import { UnfinishedCall } from './unfinished-call.ts'
import type { SdkPath } from './unfinished-call.ts'

export interface FastPathOptions {
  /** The catalog that is served now. */
  catalog: () => Catalog
  runner: Runner
  sessions: Pick<Sessions, 'cached' | 'useCached'>
  pendingCalls: PendingCalls
  responses: PlainResponses
  limits: CallLimits
  sdk: SdkPath
  pageSize: number
}

export type FastPath = ReturnType<typeof createFastPath>

/**
 * Answers plain requests without the work that the SDK does for each, and leaves all others to the SDK.
 *
 * A call starts here. A plain result that comes soon is written here, without a promise if the handler returns without
 * one. When the handler needs its client, takes long or ends otherwise, the request goes to the SDK together with the
 * running handler, which is never started twice. So streams, elicitation, cancellation, errors and everything rare have
 * one implementation.
 */
export function createFastPath (options: FastPathOptions) {
  const { catalog, runner, sessions, pendingCalls, responses, limits, sdk, pageSize } = options
  const readPlainRequest = createPlainRequestReader()
  const services = { sdk, pendingCalls, responses }
  let isStopped = false

  /** @returns undefined where the caller has no such tool, or headers must repeat some of its arguments */
  function findTool (name: string, { principal }: McpRequest): CompiledTool | undefined {
    const tool = catalog().tools.find(name, principal)
    return tool?.headerParams.length === 0 ? tool : undefined
  }

  function listTools (request: McpRequest, { id, envelope }: PlainRequest): McpResponse {
    const { listing } = catalog().tools
    const hint = envelope === undefined ? undefined : listing.cacheHint()
    return responses.toolList(id, listing.visible(request.principal), hint)
  }

  function call (
    request: McpRequest,
    plain: PlainRequest,
    tool: CompiledTool,
    session: Session | undefined
  ): MaybePromise<McpResponse> {
    const { id, name, arguments: input, envelope } = plain
    const { principal, log } = request
    const release = limits.beginCall(request)
    const caller: Caller = session === undefined ? { principal, log, request } : { principal, log, request, session }
    let isClientNeeded = false
    let unfinished: UnfinishedCall | null = null
    let response: McpResponse | undefined
    try {
      const { outcome, channel } = caller.running = runner.start(
        { caller, method: 'tools/call', name, arguments: input, envelope },
        (run) => callTool(tool, input, run),
        () => {
          isClientNeeded = true
          unfinished?.handOver()
        }
      )
      if (!isClientNeeded && !isPromise(outcome)) response = responses.toolResult(id, session === undefined, outcome)
      if (response !== undefined) channel.close()
    } catch (err) {
      release()
      throw err
    }
    if (response !== undefined) {
      release()
      return response
    }
    unfinished = new UnfinishedCall(services, request, id, { caller, release })
    return unfinished.respond(isClientNeeded)
  }

  /** @param tool undefined for a list */
  function serve (
    request: McpRequest,
    plain: PlainRequest,
    tool: CompiledTool | undefined,
    session: Session | undefined
  ): MaybePromise<McpResponse> {
    return tool === undefined ? listTools(request, plain) : call(request, plain, tool, session)
  }

  function serveInSession (
    request: McpRequest,
    plain: PlainRequest,
    tool: CompiledTool | undefined
  ): MaybePromise<McpResponse | undefined> {
    const id = request.headers['mcp-session-id'] as string
    const principalKey = request.principal?.key ?? ''
    const session = sessions.cached(id, principalKey)
    if (session !== undefined) return serveUnlessRunning(request, plain, tool, session)
    return sessions.useCached(id, principalKey).then((found) => serveUnlessRunning(request, plain, tool, found))
  }

  /** Leaves a request whose id is in use to the SDK's path, which refuses it. */
  function serveUnlessRunning (
    request: McpRequest,
    plain: PlainRequest,
    tool: CompiledTool | undefined,
    session: Session
  ): MaybePromise<McpResponse | undefined> {
    if (isStopped || sdk.isRunning(session.digest, plain.id)) return undefined
    return serve(request, plain, tool, session)
  }

  return {
    /** @returns undefined for a request that is the SDK's. @throws (or rejects) as Engine.handle */
    respond (request: McpRequest): MaybePromise<McpResponse | undefined> {
      const plain = isStopped ? undefined : readPlainRequest(request)
      if (plain === undefined) return undefined
      let tool: CompiledTool | undefined
      if (plain.method === 'tools/call') {
        tool = findTool(plain.name, request)
        if (tool === undefined) return undefined
      } else if (catalog().tools.listing.visible(request.principal).length > pageSize) {
        return undefined
      }
      if (plain.envelope === undefined) return serveInSession(request, plain, tool)
      return serve(request, plain, tool, undefined)
    },

    /** Leaves every request to the SDK from now on, running calls included. */
    stop (): void {
      isStopped = true
      pendingCalls.handOverAll()
    }
  }
}
