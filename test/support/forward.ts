import { request as sendRequest } from 'node:http'
import type { IncomingMessage, RequestOptions, ServerResponse } from 'node:http'

/** Sends a request on to a server on this machine as it came, except for these options, and its answer back. */
export function forward (request: IncomingMessage, response: ServerResponse, to: RequestOptions): void {
  const { method, url: path, headers } = request
  const forwarded = sendRequest({ host: '127.0.0.1', method, path, headers, ...to }, (answer) => {
    response.writeHead(answer.statusCode!, answer.headers)
    // A stream has its headers before its first event.
    response.flushHeaders()
    answer.pipe(response)
  })
  forwarded.on('error', () => { response.destroy() })
  response.on('close', () => { forwarded.destroy() })
  request.pipe(forwarded)
}
