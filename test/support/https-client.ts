import { once } from 'node:events'
import { request } from 'node:https'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Agent } from 'node:https'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

/** A client of one https server on this machine, whatever the name is in the URL. */
export interface HttpsClient {
  /** Sends one request and reads the whole answer. */
  send (path: string, options?: SendOptions): Promise<Answer>
  /** Sends one request as the global fetch does. */
  fetch: typeof fetch
}

export interface SendOptions {
  method?: string
  headers?: Record<string, string>
  body?: string
  /** Keeps connections, where it is one that does. */
  agent?: Agent
  /** An address of 127.0.0.0/8, which the server sees as the client's. */
  from?: string
  timeoutMs?: number
}

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

export function createHttpsClient (
  { port, ca, serverName }: { port: number, ca: string, serverName: string }
): HttpsClient {
  const target = { host: '127.0.0.1', port, ca, servername: serverName }
  return {
    async send (path, { method = 'GET', headers = {}, body, agent, from, timeoutMs = 20_000 } = {}) {
      const sent = request({
        ...target,
        path,
        method,
        headers: {
          host: serverName,
          ...headers,
          ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) })
        },
        signal: AbortSignal.timeout(timeoutMs),
        ...(agent !== undefined && { agent }),
        ...(from !== undefined && { localAddress: from })
      })
      sent.end(body)
      const [response] = await once(sent, 'response')
      return { status: response.statusCode, headers: response.headers, body: await text(response) }
    },

    async fetch (input, { method = 'GET', headers, body, signal } = {}) {
      const { pathname, search } = new URL(String(input))
      const content = body == null ? undefined : String(body)
      const sent = request({
        ...target,
        path: pathname + search,
        method,
        headers: {
          host: serverName,
          ...(body instanceof URLSearchParams && { 'content-type': 'application/x-www-form-urlencoded' }),
          ...Object.fromEntries(new Headers(headers)),
          ...(content !== undefined && { 'content-length': String(Buffer.byteLength(content)) })
        },
        ...(signal != null && { signal })
      })
      sent.end(content)
      const [response] = (await once(sent, 'response')) as [IncomingMessage]
      const headerList = Object.entries(response.headers).map(([name, value]): [string, string] => [
        name,
        String(value)
      ])
      return new Response(
        [202, 204].includes(response.statusCode!) ? null : (Readable.toWeb(response) as ReadableStream),
        { status: response.statusCode!, headers: headerList }
      )
    }
  }
}
