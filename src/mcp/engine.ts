import { isLegacyRequest } from '@modelcontextprotocol/server'
import type { Implementation, ServerEvent } from '@modelcontextprotocol/server'
import type { Keyring } from '../crypto/keyring.ts'
import type { RequestLog } from '../define/context.ts'
import type { Definition } from '../define/definition.ts'
import type { Store } from '../store/store.ts'
import { checkScopes } from './scope-check.ts'
import type { CallLimits, McpRequest, McpResponse } from './exchange.ts'
import { errorResponse } from './exchange.ts'
import type { CallStreamOptions } from './streams/call-stream.ts'
import { createCatalog } from './catalog/catalog.ts'
import { createChangeLog } from './cluster/change-log.ts'
import { createClientRequests } from './cluster/client-requests.ts'
import { createPendingCalls } from './fast-path/pending-calls.ts'
import { createFastPath } from './fast-path/fast-path.ts'
import type { HandedOverCall } from './fast-path/fast-path.ts'
import { createPlainResponses } from './fast-path/plain-response.ts'
import { createEventStreams } from './streams/event-stream.ts'
import type { EventStreamsOptions } from './streams/event-stream.ts'
import { createLegacy } from './eras/legacy.ts'
import { createModern } from './eras/modern.ts'
import type { TokenFor } from './handlers/context.ts'
import { changedLists } from './catalog/diff.ts'
import { createPolicyEvaluator } from '../policy/evaluator.ts'
import type { PolicyOptions } from '../policy/evaluator.ts'
import { LIST_TTL_MS, createProtocolServers } from './eras/protocol-server.ts'
import { createReplicas } from './cluster/replicas.ts'
import { createRequestStates } from './handlers/request-state.ts'
import { createRunner } from './handlers/runner.ts'
import { createSessions } from './sessions/sessions.ts'
import type { SessionOptions } from './sessions/sessions.ts'
import { createStandaloneStreams } from './streams/standalone-stream.ts'
import type { StandaloneStreamOptions } from './streams/standalone-stream.ts'
import { createResumedStreams } from './streams/resumed-stream.ts'
import type { ResumedStreamOptions } from './streams/resumed-stream.ts'
import { watchResources } from './catalog/watch-resources.ts'
import { isPromise } from '../async/maybe-async.ts'
import type { MaybePromise } from '../async/maybe-async.ts'

/**
 * The MCP engine: one HTTP exchange in, one answer out, for both eras of the protocol on one endpoint.
 *
 * The SDK is the authority on the protocol. Which era a request belongs to is the SDK's own classification:
 * 2026-07-28 goes to modern.ts, everything older to legacy.ts.
 */
export interface Engine {
  /** Answers one request, a plain one at once. @throws (or rejects with) InsufficientScopeError, StoreUnavailableError, SessionNotFoundError, TooManySessionsError, and what limits throw */
  handle (exchange: McpRequest): MaybePromise<McpResponse>
  /**
   * Offers this from now on, and tells clients which lists have changed; sessions and what runs go on.
   * @throws Error for definitions that cannot be served; then nothing changes
   */
  replace (definitions: readonly Definition[]): void
  /** Ends streams at once, lets calls finish for `graceMs`, then aborts them. */
  close (graceMs: number): Promise<void>
}

export interface EngineOptions {
  serverInfo: Implementation
  definitions: readonly Definition[]
  policy: PolicyOptions
  tokenFor: TokenFor | undefined
  /** Of lists. */
  pageSize: number
  store: Store
  secrets: Keyring
  session: SessionOptions
  tool: { timeoutSeconds: number, inputTimeoutSeconds: number }
  limits: CallLimits
  log: RequestLog
  /** For tests: other times than those of production. */
  streamOptions?: Omit<EventStreamsOptions, 'onCut'>
  times?: EngineTimes
  /** For tests: without it every request is the SDK's. */
  fast?: boolean
}

/** Where each is explained. */
export type EngineTimes = Pick<CallStreamOptions, 'streamAfterMs'> & Pick<ResumedStreamOptions, 'lookMs' | 'deadMs'> &
  Pick<StandaloneStreamOptions, 'renewMs'> & { answerLookMs?: number }

export function createEngine ({ serverInfo, definitions, policy, tokenFor, pageSize, store, secrets, session, tool, limits, log, streamOptions, times = {}, fast: isFast = true }: EngineOptions): Engine {
  const onerror = (err: Error): void => { log.warn({ reason: err.message }, 'An MCP request was refused or failed') }
  const policies = createPolicyEvaluator(policy)
  let catalog = createCatalog(definitions, policies)
  const replicas = createReplicas(store, log)
  const streams = createEventStreams({ ...streamOptions, onCut: (reason) => { log.warn({ reason }, 'A stream was cut, as its client does not read it') } })
  const sessions = createSessions(store, session)
  const requestStates = createRequestStates(secrets, store, tool.inputTimeoutSeconds)
  const changes = createChangeLog({ store, replicas, log, lookMs: times.lookMs })
  const clientRequests = createClientRequests(store, replicas, log, times.answerLookMs)
  const standalone = createStandaloneStreams({ store, replicas, streams, changes, log, renew: sessions.renew, subscriptions: sessions.subscriptions, ...times })
  const announce = (change: ServerEvent): void => { changes.bus.publish(change) }
  let stopWatching = watchResources(definitions, announce, log)
  const runner = createRunner({
    sessions,
    requestStates,
    ...tool,
    announce,
    queue: standalone.queue,
    tokenFor,
    onerror
  })
  const servers = createProtocolServers({
    serverInfo,
    catalog: () => catalog,
    runner,
    sessions,
    timeoutSeconds: tool.timeoutSeconds,
    pageSize,
    onSubscriptionsChanged: (session) => { replicas.send({ kind: 'subscribed', session }) },
    onLogLevelChanged: (session) => { replicas.send({ kind: 'altered', session }) },
    onerror
  })
  const readers = createResumedStreams({ store, replicas, streams, log, ...times })
  const pendingCalls = createPendingCalls()
  const legacy = createLegacy({
    store,
    replicas,
    streams,
    sessions,
    servers,
    clientRequests,
    standalone,
    readers,
    pendingCalls,
    limits,
    log,
    streamTtlSeconds: tool.timeoutSeconds + tool.inputTimeoutSeconds + 300,
    ...times
  })
  const modern = createModern({ servers, catalog: () => catalog, streams, bus: changes.bus, limits, onerror })

  const fast = createFastPath({
    catalog: () => catalog,
    runner,
    sessions,
    sdk: { modern: async (exchange, begun) => await postModern(exchange, toRequest(exchange), begun), session: legacy.resume },
    isRunning: legacy.isRunning,
    pendingCalls,
    answers: createPlainResponses(serverInfo, LIST_TTL_MS),
    limits,
    pageSize
  })
  if (!isFast) fast.stop()
  replicas.onMessage((message) => { if (message.kind === 'ended' || message.kind === 'subscribed' || message.kind === 'altered') sessions.forget(message.session) })
  replicas.onGap(() => { sessions.forget() })

  async function post (exchange: McpRequest): Promise<McpResponse> {
    const { body, principal } = exchange
    checkScopes(Array.isArray(body) ? body : [body], principal, catalog, policies)
    const request = toRequest(exchange)
    return await isLegacyRequest(request, body) ? await legacy.post(exchange) : await postModern(exchange, request)
  }

  async function postModern (exchange: McpRequest, request: Request, begun?: HandedOverCall): Promise<McpResponse> {
    const { signal } = exchange
    const answer = await modern.post(exchange, request, begun)
    // 499: the exchange was abandoned. The client that still waits is told to try another replica.
    return answer.status === 499 && !signal.aborted ? errorResponse(503, -32000, SHUTTING_DOWN, { 'retry-after': '1' }) : answer
  }

  return {
    handle (exchange) {
      if (exchange.method === 'POST') {
        const answer = fast.answer(exchange)
        if (answer === undefined) return post(exchange)
        return isPromise(answer) ? answer.then((fit) => fit ?? post(exchange)) : answer
      }
      // The revision without sessions has nothing to get or delete.
      if (exchange.headers['mcp-protocol-version'] === '2026-07-28') return errorResponse(405, -32000, 'Method not allowed', { allow: 'POST' })
      return exchange.method === 'GET' ? legacy.get(exchange) : legacy.delete(exchange)
    },
    replace (next) {
      const before = catalog
      catalog = createCatalog(next, policies)
      stopWatching()
      stopWatching = watchResources(next, announce, log)
      for (const change of changedLists(before, catalog)) announce(change)
    },
    async close (graceMs) {
      stopWatching()
      fast.stop()
      await modern.endSubscriptions()
      standalone.endAll()
      readers.endAll()
      await settled(Promise.all([modern.idle(), legacy.idle()]), graceMs)
      legacy.failAll(SHUTTING_DOWN)
      runner.abortAll(new Error('The server is shutting down'))
      await modern.close()
      await legacy.idle()
      clientRequests.stop()
      changes.stop()
      await replicas.close()
      streams.close()
    }
  }
}

const SHUTTING_DOWN = 'The server is shutting down: send the call again'

function toRequest ({ url, headers, signal }: McpRequest): Request {
  return new Request(url, { method: 'POST', headers: toHeaders(headers), signal })
}

/** The SDK's transports want both media types; the route has settled that what is wanted is one of them. */
function toHeaders (given: McpRequest['headers']): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(given)) {
    if (name !== 'authorization' && value !== undefined) headers.set(name, String(value))
  }
  headers.set('accept', 'application/json, text/event-stream')
  return headers
}

async function settled (work: Promise<unknown>, withinMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([work, new Promise((resolve) => { timer = setTimeout(resolve, withinMs) })])
  clearTimeout(timer)
}
