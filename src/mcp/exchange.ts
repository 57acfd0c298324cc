import type { Writable } from 'node:stream'
import type { MaybePromise } from '../async/maybe-async.ts'
import type { RequestLog } from '../define/context.ts'
import type { Definition } from '../define/definition.ts'
import type { Principal } from '../tokens/principal.ts'

/** A request to the MCP endpoint, as far as the engine needs it. */
export interface McpRequest {
  /** The reference of the HTTP request, as in the log. */
  id: string
  method: 'POST' | 'GET' | 'DELETE'
  headers: Record<string, string | string[] | undefined>
  /** Absolute, under BASE_URL. */
  url: string
  /** The parsed body of a POST. */
  body: unknown
  /** Accept includes text/event-stream. */
  acceptsStream: boolean
  principal: Principal | undefined
  /** The client's address, for limits where there is no principal. */
  address: string
  log: RequestLog
  /**
   * Calls the listener once the client has disconnected without the whole response. Cheaper than an AbortSignal.
   *
   * @returns removes the listener
   */
  onDisconnect (listener: () => void): () => void
  /** The id of its OpenTelemetry trace; undefined where requests are not traced. */
  traceId?: string | undefined
  /** Called once a call of this request was recorded, so that a failure of the request is not recorded as well. */
  markRecorded? (): void
}

/** The end of a call of a tool, prompt or resource, for the audit log. */
export interface FinishedCall {
  request: McpRequest
  method: string
  /** The tool's or prompt's name, or the resource's URI. */
  name: string
  arguments: unknown
  outcome: 'ok' | 'error' | 'refused' | 'cancelled' | 'unavailable' | 'input_required'
  /** Message of the failure, for the log. */
  reason?: string | undefined
  ms: number
}

export type RecordCall = (call: FinishedCall) => void

/** Runs a handler within a span of its own. */
export type TraceHandler = <T>(definition: Definition, run: () => MaybePromise<T>) => MaybePromise<T>

/** The most messages of one body (2025-03-26). */
export const MAX_BATCH = 100

/** The HTTP response to it. */
export interface McpResponse {
  status: number
  headers: Record<string, string>
  /** JSON text, or bytes for large lists. */
  body: string | Buffer | null
  /** Sent instead of a body. */
  stream?: EventStream
}

/**
 * A response of server-sent events (HTML Standard, section 9.2) to one client. It writes straight to the HTTP response:
 * there may be ten thousand of them, and a Node stream in between would buffer for each.
 */
export interface EventStream {
  readonly open: boolean
  /** Writes one event of any size. A client that has left too much unread before it is disconnected instead. */
  write (event: { data: string, id?: string | undefined, retryMs?: number }): void
  /** Writes a comment, which clients ignore. */
  comment (text: string): void
  /** Writes frames that are already encoded. */
  raw (frames: string | Uint8Array): void
  /** Waits until the client has read enough to take more; undefined if it can at once. */
  untilReady (): Promise<void> | undefined
  /** Ends the stream after what has been written. */
  end (): void
  /** Breaks the stream off, so that the client sees that it is incomplete. */
  destroy (): void
  /** Calls the listener once, when the stream has ended, was broken off or the client has left. */
  onEnd (listener: () => void): void
  /** Sends the stream, beginning with what was written before the response was there. */
  pipe (response: Writable): void
}

/** Concurrency limits of callers. `begin…` returns its release function and throws LimitError at the limit. */
export interface CallLimits {
  beginCall (requester: Pick<McpRequest, 'principal' | 'address'>): () => void
  beginStream (requester: Pick<McpRequest, 'principal' | 'address'>): () => void
  /** Returns the key under which a caller's sessions are counted. */
  callerKey (requester: Pick<McpRequest, 'principal' | 'address'>): string
}

/** Kinds of requests that run an author's code. */
const HANDLER_METHODS: ReadonlySet<unknown> = new Set([
  'tools/call', 'prompts/get', 'resources/read', 'resources/list', 'completion/complete'
])

/** Tells whether a request of this method counts as a call while it runs (CALLS_PER_PRINCIPAL). */
export function runsHandler (method: unknown): boolean {
  return HANDLER_METHODS.has(method)
}

export function jsonResponse (status: number, body: unknown, headers: Record<string, string> = {}): McpResponse {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
}

/** A JSON-RPC error without an id (JSON-RPC 2.0 section 5.1). */
export function errorResponse (
  status: number,
  code: number,
  message: string,
  headers: Record<string, string> = {}
): McpResponse {
  return jsonResponse(status, { jsonrpc: '2.0', id: null, error: { code, message } }, headers)
}

/** Not cached, and not buffered by nginx. */
const EVENT_STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no'
}

export function streamResponse (stream: EventStream): McpResponse {
  return { status: 200, headers: { ...EVENT_STREAM_HEADERS }, body: null, stream }
}
