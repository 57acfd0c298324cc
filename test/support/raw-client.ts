import { Readable } from 'node:stream'
import { ABLE, MODERN, initialize, modern, readEvents } from './mcp.ts'
import type { Events } from './mcp.ts'

/** An answer as it came over the wire, read to its end unless it is a stream. */
export interface RawAnswer {
  status: number
  retryAfter: string | null
  /** Milliseconds until the headers came. */
  ms: number
  /** A JSON body, parsed; undefined otherwise. */
  body: any
  /** The messages of a stream. */
  events: Events | undefined
  headers: Headers
}

/** Clients of both eras without an SDK: what they send and get is what is written here. */
export async function sendRaw (
  url: string,
  token: string,
  { method = 'POST', body, headers = {} }: { method?: string; body?: unknown; headers?: Record<string, string> } = {}
): Promise<RawAnswer> {
  const started = performance.now()
  const response = await fetch(`${url}/mcp`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers
    },
    ...(body !== undefined && { body: JSON.stringify(body) })
  })
  const ms = performance.now() - started
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true
  const text = isStream ? '' : await response.text()
  return {
    status: response.status,
    retryAfter: response.headers.get('retry-after'),
    ms,
    headers: response.headers,
    body: text === '' ? undefined : JSON.parse(text),
    events: isStream ? readEvents(Readable.fromWeb(response.body as never)) : undefined
  }
}

/** One request of 2026-07-28. */
export async function sendModern (url: string, token: string, method: string, params: object = {}): Promise<RawAnswer> {
  const [body, { headers }] = modern(method, params)
  return await sendRaw(url, token, { body, headers: { ...headers, 'mcp-protocol-version': MODERN } })
}

/** A client of 2025-11-25 in its session. */
export interface RawSession {
  id: string
  post (message: unknown): Promise<RawAnswer>
  get (lastEventId?: string): Promise<RawAnswer>
  end (): Promise<RawAnswer>
}

export async function startRawSession (url: string, token: string): Promise<RawSession> {
  const { status, headers, body } = await sendRaw(url, token, { body: initialize('2025-11-25', ABLE) })
  const id = headers.get('mcp-session-id')
  if (id === null) throw new Error(`No session: ${status} ${JSON.stringify(body)}`)
  const own = { 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' }
  return {
    id,
    post: async (message) => await sendRaw(url, token, { body: message, headers: own }),
    get: async (lastEventId) =>
      await sendRaw(url, token, {
        method: 'GET',
        headers: { ...own, ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) }
      }),
    end: async () => await sendRaw(url, token, { method: 'DELETE', headers: own })
  }
}
