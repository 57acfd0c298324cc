import { EVENT_STREAM_HEADERS } from './streams/event-stream.ts'
import type { EventStream } from './streams/event-stream.ts'

/** What the endpoint answers over HTTP. */
export interface McpResponse {
  status: number
  headers: Record<string, string>
  /** Of JSON; bytes where it is long. */
  body: string | Buffer | null
  /** Sent instead of a body. */
  stream?: EventStream
}

export function jsonResponse (status: number, body: unknown, headers: Record<string, string> = {}): McpResponse {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
}

/** JSON-RPC 2.0 section 5.1. */
export function errorResponse (status: number, code: number, message: string, headers: Record<string, string> = {}): McpResponse {
  return jsonResponse(status, { jsonrpc: '2.0', id: null, error: { code, message } }, headers)
}

export function streamResponse (stream: EventStream): McpResponse {
  return { status: 200, headers: { ...EVENT_STREAM_HEADERS }, body: null, stream }
}
