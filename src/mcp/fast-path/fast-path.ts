import type { RequestId } from '@modelcontextprotocol/server'
import type { CallLimits, McpRequest, McpResponse } from '../exchange.ts'
import type { Caller } from '../handlers/caller.ts'
import type { Catalog } from '../catalog/catalog.ts'
import type { CompiledTool } from '../catalog/compiled-tool.ts'
import { callTool } from '../catalog/tools.ts'
import type { Runner } from '../handlers/runner.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import { isPromise } from '../../async/maybe-async.ts'
import type { MaybePromise } from '../../async/maybe-async.ts'
import { requestKey } from './pending-calls.ts'
import type { PendingCalls } from './pending-calls.ts'
import type { PlainResponses } from './plain-response.ts'
import { createPlainRequests } from './plain-request.ts'
import type { PlainRequest } from './plain-request.ts'

/**
 * Answers plain requests without what the SDK does for each, and leaves every other to it.
 *
 * A call begins here. Where its result is plain and soon there, it is written; where the handler needs its client, takes
 * long or ends otherwise, the request goes to the SDK with the handler that runs, which is never begun twice. So streams,
 * questions, cancelling, errors and all that is rare have one implementation.
 */
export interface FastPath {
  /** @returns undefined for a request that is the SDK's. @throws as Engine.handle */
  answer (exchange: McpRequest): MaybePromise<McpResponse | undefined>
  /** Everything is the SDK's from now on. */
  stop (): void
}

/** A call that the SDK is to go on with. */
export interface HandedOverCall {
  caller: Caller
  /** It counts as running until then. */
  release: () => void
}

export interface FastPathOptions {
  catalog: () => Catalog
  runner: Runner
  sessions: Sessions
  /** Go on with a call through the SDK. */
  sdk: {
    modern (exchange: McpRequest, begun: HandedOverCall): Promise<McpResponse>
    session (exchange: McpRequest, session: Session, begun: HandedOverCall): Promise<McpResponse>
  }
  /** Whether a request with this id runs in a session. */
  isRunning (session: string, id: RequestId): boolean
  pendingCalls: PendingCalls
  answers: PlainResponses
  limits: CallLimits
  pageSize: number
}

export function createFastPath ({ catalog, runner, sessions, sdk, isRunning, pendingCalls, answers, limits, pageSize }: FastPathOptions): FastPath {
  const readPlain = createPlainRequests()
  let stopped = false

  /** Returns a tool that the caller may call. One whose arguments are repeated in headers is left to the SDK's side. */
  function findTool ({ name }: PlainRequest, { principal }: McpRequest): CompiledTool | undefined {
    const tool = catalog().tools.find(name, principal)
    return tool !== undefined && tool.headerParams.length === 0 ? tool : undefined
  }

  function isOnePage ({ principal }: McpRequest): boolean {
    return catalog().tools.listing.visible(principal).length <= pageSize
  }

  /** @param tool undefined for a list */
  function serve (
    exchange: McpRequest,
    plain: PlainRequest,
    tool: CompiledTool | undefined,
    session: Session | undefined
  ): MaybePromise<McpResponse> {
    if (tool !== undefined) return call(exchange, plain, tool, session)
    const { listing } = catalog().tools
    return answers.list(plain.id, session === undefined, listing.visible(exchange.principal), listing.isPublic)
  }

  function call (
    exchange: McpRequest,
    plain: PlainRequest,
    tool: CompiledTool,
    session: Session | undefined
  ): MaybePromise<McpResponse> {
    const { name, arguments: input, envelope } = plain
    const { principal, log, address } = exchange
    const release = limits.beginCall(principal?.key, address)
    const caller: Caller = session === undefined ? { principal, log } : { principal, log, session }
    let isNeeded = false
    let handOver: (() => void) | undefined
    const begun = caller.running = runner.start({ caller, method: 'tools/call', name, arguments: input, envelope }, (run) => callTool(tool, input, run), () => {
      isNeeded = true
      handOver?.()
    })
    const { outcome, channel } = begun
    if (!isNeeded && !isPromise(outcome)) {
      const answer = answers.call(plain.id, session === undefined, outcome)
      if (answer !== undefined) {
        channel.close()
        release()
        return answer
      }
    }
    return goOn(exchange, plain, { caller, release }, isNeeded, (hand) => { handOver = hand })
  }

  /** @param onNeeded takes what to do when the handler needs its client, as it may already */
  async function goOn (exchange: McpRequest, { id }: PlainRequest, begun: HandedOverCall, isNeeded: boolean, onNeeded: (handOver: () => void) => void): Promise<McpResponse> {
    const { caller, release } = begun
    const { session } = caller
    const { outcome, channel } = caller.running!
    const key = session === undefined ? caller : requestKey(session.digest, id)
    let handed: Promise<McpResponse> | undefined
    let stopWatching: (() => void) | undefined
    let settle: (result: object | undefined) => void
    const soon = new Promise<object | undefined>((resolve) => { settle = resolve })

    function handOver (): void {
      if (handed !== undefined) return
      pendingCalls.delete(key)
      stopWatching?.()
      handed = session === undefined ? sdk.modern(exchange, begun) : sdk.session(exchange, session, begun)
      settle(undefined)
    }

    /** In a session the call goes on; in 2026-07-28 its client has cancelled it. */
    function watch (): void {
      const { signal } = exchange
      const left = (): void => {
        if (session === undefined) channel.disconnect()
        handOver()
      }
      signal.addEventListener('abort', left, { once: true })
      stopWatching = () => { signal.removeEventListener('abort', left) }
      if (signal.aborted) left()
    }

    onNeeded(handOver)
    if (isNeeded || !isPromise(outcome)) handOver()
    else {
      pendingCalls.add(key, { handOver, watch })
      outcome.then(settle!, () => { settle(undefined) })
    }
    const result = await soon
    const answer = handed === undefined && result !== undefined ? answers.call(id, session === undefined, result) : undefined
    if (answer === undefined) {
      handOver()
      return await handed!
    }
    pendingCalls.delete(key)
    stopWatching?.()
    channel.close()
    release()
    return answer
  }

  function serveSession (
    exchange: McpRequest,
    plain: PlainRequest,
    tool: CompiledTool | undefined
  ): MaybePromise<McpResponse | undefined> {
    const id = exchange.headers['mcp-session-id'] as string
    const principalKey = exchange.principal?.key ?? ''
    const copy = sessions.cached(id, principalKey)
    return copy === undefined ? sessions.useCached(id, principalKey).then((session) => serveIn(session, exchange, plain, tool)) : serveIn(copy, exchange, plain, tool)
  }

  function serveIn (
    session: Session,
    exchange: McpRequest,
    plain: PlainRequest,
    tool: CompiledTool | undefined
  ): MaybePromise<McpResponse | undefined> {
    // What is refused is refused by the SDK's side.
    if (stopped || isRunning(session.digest, plain.id)) return undefined
    return serve(exchange, plain, tool, session)
  }

  return {
    answer (exchange) {
      const plain = stopped ? undefined : readPlain(exchange)
      if (plain === undefined) return undefined
      const tool = plain.method === 'tools/call' ? findTool(plain, exchange) : undefined
      if (plain.method === 'tools/call' ? tool === undefined : !isOnePage(exchange)) return undefined
      return plain.envelope === undefined ? serveSession(exchange, plain, tool) : serve(exchange, plain, tool, undefined)
    },
    stop () {
      stopped = true
      pendingCalls.handOverAll()
    }
  }
}
