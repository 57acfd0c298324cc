import { isLegacyRequest } from '@modelcontextprotocol/server'
import type { Implementation } from '@modelcontextprotocol/server'
import { isPromise } from '../async/maybe-async.ts'
import type { MaybePromise } from '../async/maybe-async.ts'
import type { Keyring } from '../crypto/keyring.ts'
import type { RequestLog } from '../define/context.ts'
import type { Definition } from '../define/definition.ts'
import { createPolicyEvaluator } from '../policy/evaluator.ts'
import type { PolicyOptions } from '../policy/evaluator.ts'
import { createLiveCatalog } from './catalog/live-catalog.ts'
import type { IsUriOffered } from './catalog/resources.ts'
import { createEndpointChanges } from './cluster/list-change-broadcast.ts'
import { createClientRequests } from './cluster/client-requests.ts'
import type { EngineServices } from './engine-services.ts'
import { createLegacy } from './eras/legacy.ts'
import type { LegacyOptions } from './eras/legacy.ts'
import { createModern } from './eras/modern.ts'
import { createOpenSubscriptions } from './eras/open-subscriptions.ts'
import { createProtocolServers } from './eras/protocol-server.ts'
import type { Extensions } from './eras/protocol-server.ts'
import { errorResponse, jsonResponse } from './exchange.ts'
import type { CallLimits, McpRequest, McpResponse, RecordCall, TraceHandler } from './exchange.ts'
import { createFastPath } from './fast-path/fast-path.ts'
import { createPendingCalls } from './fast-path/pending-calls.ts'
import type { HandedOverCall } from './fast-path/pending-calls.ts'
import { createPlainResponses } from './fast-path/plain-response.ts'
import type { AssertionFor } from './handlers/assertion-for.ts'
import type { TokenFor } from './handlers/context.ts'
import { INVALID_PARAMS, deleteNullParams, describeInvalidParams } from './handlers/request-params.ts'
import { createRequestStates } from './handlers/request-state.ts'
import { recordRefusedCall } from './handlers/finished-calls.ts'
import { createRunner } from './handlers/runner.ts'
import { MODERN_REVISION } from './revisions.ts'
import { checkStepUp } from './step-up-challenge.ts'
import type { SessionOptions } from './sessions/session.ts'
import { createSessions } from './sessions/sessions.ts'
import { createEventStreams } from './streams/event-stream.ts'
import type { EventStreamsOptions } from './streams/event-stream.ts'
import { createSubscribedListener } from './streams/on-subscribed.ts'
import { createSessionQuestions } from './streams/session-questions.ts'
import { createSessionStreams } from './streams/session-streams.ts'
import type { SessionStreamTimings } from './streams/session-streams.ts'

/**
 * The engine of one MCP endpoint: one HTTP request in, one response out, for both eras of the protocol.
 *
 * The SDK is the authority on the protocol, and decides to which era a request belongs: 2026-07-28 goes to
 * eras/modern.ts, everything older to eras/legacy.ts.
 */
export interface Engine {
  /**
   * Answers one request; a plain one without a promise.
   * @throws (or rejects with) InsufficientAuthenticationError, InsufficientScopeError, StoreUnavailableError,
   * SessionNotFoundError, TooManySessionsError, LimitError
   */
  handle (request: McpRequest): MaybePromise<McpResponse>
  /**
   * Checks what is to be offered instead.
   * @returns a function that replaces what the endpoint offers, and notifies clients of the lists that have changed;
   * sessions and running calls continue
   * @throws DefinitionError for definitions that cannot be served
   */
  prepare (definitions: readonly Definition[]): () => void
  /** Replaces what the endpoint offers at once. @throws DefinitionError as prepare; nothing changes then */
  replace (definitions: readonly Definition[]): void
  /** Ends streams at once, lets calls finish for `graceMs`, then aborts them. */
  close (graceMs: number): Promise<void>
}

export interface EngineOptions {
  /** The path of the MCP endpoint; MAIN_ENDPOINT where absent. */
  endpoint?: string | undefined
  services: EngineServices
  serverInfo: Implementation
  /** Instructions for the model (SERVER_INSTRUCTIONS). */
  instructions?: string | undefined
  /** Extensions of the protocol that the server declares in its capabilities. */
  extensions?: Extensions | undefined
  definitions: readonly Definition[]
  /** Undefined where every URI of a template is offered. */
  isUriOffered?: IsUriOffered | undefined
  policy: PolicyOptions
  /** Undefined where tools cannot get tokens for other APIs. */
  tokenFor: TokenFor | undefined
  /** Undefined where handlers cannot have assertions about their callers. */
  assertionFor: AssertionFor | undefined
  /** Items per page of a list. */
  pageSize: number
  keyring: Keyring
  session: SessionOptions
  tool: { timeoutSeconds: number, inputTimeoutSeconds: number, maxResultBytes: number }
  limits: CallLimits
  log: RequestLog
  /** Gets each call of a tool, prompt or resource when it has ended; undefined without an audit log. */
  recordCall?: RecordCall | undefined
  /** Undefined where requests are not traced. */
  traceHandler?: TraceHandler | undefined
  internals?: EngineInternals
}

/** Timings and switches that only tests set; documented where they are used. */
export interface EngineInternals extends SessionStreamTimings {
  /** False sends every request through the SDK. */
  fastPath?: boolean
  eventStreams?: Omit<EventStreamsOptions, 'onCutOff'>
  clientRequestPollMs?: number
}

/** The endpoint that every server has. */
export const MAIN_ENDPOINT = '/mcp'

/** Time for which the store holds the stream of a call, beyond the longest time that the call may take. */
const STREAM_TTL_MARGIN_SECONDS = 300
/** Time for an answer that needs no person: roots, which a client is asked for outside of a call. */
const SESSION_ANSWER_MS = 10_000
const SHUTTING_DOWN = 'The server is shutting down: send the call again'

export function createEngine (options: EngineOptions): Engine {
  const { endpoint = MAIN_ENDPOINT, services, keyring, tool, limits, log, internals = {} } = options
  const { serverInfo, instructions, extensions, pageSize } = options
  const { timeoutSeconds, inputTimeoutSeconds, maxResultBytes } = tool
  const onerror = createErrorLog(log, endpoint)
  const { cluster, heldCalls, watches, sessionsInUse } = services
  const changes = createEndpointChanges(services.changes, endpoint)
  // What is in the store from before there were other endpoints remains valid.
  const further = endpoint === MAIN_ENDPOINT ? undefined : endpoint
  const scope = further === undefined ? '' : `${further} `
  const policies = createPolicyEvaluator(options.policy)
  const liveCatalog = createLiveCatalog({ ...options, policies, announce: changes.publishOwn, watches })
  const catalog = liveCatalog.current
  const sessions = createSessions(cluster, { ...options.session, inUse: sessionsInUse, endpoint: further })
  const onSubscribed = createSubscribedListener(catalog, services.changes)
  const eventStreams = createEventStreams({ ...internals.eventStreams, onCutOff: createCutOffLog(log, endpoint) })
  const callTtlSeconds = timeoutSeconds + inputTimeoutSeconds + STREAM_TTL_MARGIN_SECONDS
  const streams = createSessionStreams({
    cluster, eventStreams, changes, sessions, onSubscribed, callTtlSeconds, timings: internals
  })
  const clientRequests = createClientRequests(cluster, internals.clientRequestPollMs)
  const runner = createRunner({
    sessions,
    requestStates: createRequestStates(keyring, cluster.store, inputTimeoutSeconds, scope),
    timeoutSeconds,
    inputTimeoutSeconds,
    maxResultBytes,
    announce: services.changes.publish,
    queue: streams.queue,
    heldCalls,
    askSession: createSessionQuestions({ clientRequests, queue: streams.queue, timeoutMs: SESSION_ANSWER_MS }),
    tokenFor: options.tokenFor,
    assertionFor: options.assertionFor,
    recordCall: options.recordCall,
    traceHandler: options.traceHandler,
    onerror
  })
  const servers = createProtocolServers({
    serverInfo, instructions, extensions, catalog, runner, sessions, timeoutSeconds, pageSize, onSubscribed, onerror
  })
  const pendingCalls = createPendingCalls()
  const canRead: LegacyOptions['canRead'] = (uri, principal) => {
    const policy = catalog().resources.policyOf(uri)
    return policy === undefined || policies.isAllowed(policy, principal)
  }
  const legacy = createLegacy({
    cluster, sessions, streams, servers, clientRequests, pendingCalls, limits, canRead, recordCall: options.recordCall
  })
  const openSubscriptions = createOpenSubscriptions(canRead)
  const { bus } = changes
  const modern = createModern({ servers, catalog, eventStreams, bus, limits, openSubscriptions, onSubscribed, onerror })
  const fastPath = createFastPath({
    catalog,
    runner,
    sessions,
    pendingCalls,
    responses: createPlainResponses(serverInfo),
    limits,
    sdk: { resumeModern: postModern, resumeInSession: legacy.resumeCall, isRunning: legacy.isRunning },
    pageSize
  })
  if (internals.fastPath === false) fastPath.stop()

  async function post (request: McpRequest): Promise<McpResponse> {
    const { body, principal } = request
    for (const message of Array.isArray(body) ? body : [body]) deleteNullParams(message)
    checkStepUp(Array.isArray(body) ? body : [body], principal, catalog(), policies)
    const fetchRequest = toFetchRequest(request)
    const isLegacy = await isLegacyRequest(fetchRequest, body)
    const invalid = describeInvalidParams(body, isLegacy)
    if (invalid !== undefined) {
      recordRefusedCall(options.recordCall, request, body, invalid)
      const { id } = body as { id: unknown }
      return jsonResponse(200, { jsonrpc: '2.0', id, error: { code: INVALID_PARAMS, message: invalid } })
    }
    return isLegacy ? await legacy.post(request) : await postModern(request, undefined, fetchRequest)
  }

  async function postModern (
    request: McpRequest,
    call?: HandedOverCall,
    fetchRequest = toFetchRequest(request)
  ): Promise<McpResponse> {
    const response = await modern.post(request, fetchRequest, call)
    // 499: the SDK has abandoned the request. A client that still waits should try another replica.
    if (response.status !== 499 || fetchRequest.signal.aborted) return response
    const { id } = request.body as { id: unknown }
    const error = { code: -32000, message: SHUTTING_DOWN }
    return jsonResponse(503, { jsonrpc: '2.0', id, error }, { 'retry-after': '1' })
  }

  return {
    handle (request) {
      if (request.method === 'POST') {
        openSubscriptions.check(request.principal)
        const response = fastPath.respond(request)
        if (response === undefined) return post(request)
        return isPromise(response) ? response.then((plain) => plain ?? post(request)) : response
      }
      // The revision without sessions has nothing to GET or DELETE.
      if (request.headers['mcp-protocol-version'] === MODERN_REVISION) {
        return errorResponse(405, -32000, 'Method not allowed', { allow: 'POST' })
      }
      return request.method === 'GET' ? legacy.get(request) : legacy.delete(request)
    },

    prepare: liveCatalog.prepare,

    replace (next) { liveCatalog.prepare(next)() },

    async close (graceMs) {
      liveCatalog.stopWatching()
      fastPath.stop()
      await modern.endSubscriptions()
      streams.endAll()
      await settleWithin(graceMs, Promise.all([modern.idle(), legacy.idle(), heldCalls.idle()]))
      legacy.failAll(SHUTTING_DOWN)
      runner.abortAll(new Error('The server is shutting down'))
      await modern.close()
      await legacy.idle()
      clientRequests.stop()
      eventStreams.close()
    }
  }
}

function createErrorLog (log: RequestLog, endpoint: string) {
  return (err: Error): void => {
    log.warn({ event: 'mcp.request_refused', endpoint, reason: err.message }, 'An MCP request was refused or failed')
  }
}

function createCutOffLog (log: RequestLog, endpoint: string) {
  return (reason: string): void => {
    log.warn({ event: 'mcp.stream_cut_off', endpoint, reason },
      'A stream was cut off because its client does not read it')
  }
}

/** The request as the SDK takes it, without the access token. */
function toFetchRequest (request: McpRequest): Request {
  const { url, headers: given } = request
  const headers = new Headers()
  for (const [name, value] of Object.entries(given)) {
    if (name !== 'authorization' && value !== undefined) headers.set(name, String(value))
  }
  // The SDK requires both media types; the route has already checked that the client accepts one of them.
  headers.set('accept', 'application/json, text/event-stream')
  const client = new AbortController()
  request.onDisconnect(() => { client.abort() })
  return new Request(url, { method: 'POST', headers, signal: client.signal })
}

async function settleWithin (ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([work, new Promise((resolve) => { timer = setTimeout(resolve, ms) })])
  clearTimeout(timer)
}
