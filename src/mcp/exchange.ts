import { EVENT_STREAM_HEADERS } from './streams/event-stream.ts'
import type { EventStream } from './streams/event-stream.ts'

/** What the endpoint answers over HTTP. */
export interface Answer {
  status: number
  headers: Record<string, string>
  /** Of JSON; bytes where it is long. */
  body: string | Buffer | null
  /** Sent instead of a body. */
  stream?: EventStream
}

export function jsonAnswer (status: number, body: unknown, headers: Record<string, string> = {}): Answer {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
}

/** JSON-RPC 2.0 section 5.1. */
export function errorAnswer (status: number, code: number, message: string, headers: Record<string, string> = {}): Answer {
  return jsonAnswer(status, { jsonrpc: '2.0', id: null, error: { code, message } }, headers)
}

export function streamAnswer (stream: EventStream): Answer {
  return { status: 200, headers: { ...EVENT_STREAM_HEADERS }, body: null, stream }
}
