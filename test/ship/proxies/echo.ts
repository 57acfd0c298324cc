import { once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** Two servers that answer in the place of replicas, and what has reached them. */
export interface EchoReplicas {
  ports: [number, number]
  /** `METHOD path` of each request so far, except for probes of the proxy. */
  seen: string[]
  /** Writes the next event to the stream that is open. */
  sendEvent (): void
  close (): Promise<void>
}

/**
 * Answers with the headers that arrived. `?stream` opens a stream, and `?break` closes the connection after the request
 * has arrived whole.
 */
export async function startEchoReplicas (t: Test): Promise<EchoReplicas> {
  const seen: string[] = []
  let events = 0
  let sendEvent = (): void => {}
  const answer: RequestListener = (request, response) => {
    if (request.url === '/health/ready' && request.headers.host === 'localhost') {
      response.end()
      return
    }
    seen.push(`${request.method} ${request.url}`)
    request.resume().on('end', () => {
      if (request.url === '/mcp?break') {
        response.socket!.destroy()
      } else if (request.url === '/mcp?stream') {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        sendEvent = () => { response.write(`id: ${++events}\n\n`) }
        sendEvent()
      } else {
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify(request.headers))
      }
    })
  }
  const servers = [0, 1].map(() => createServer({ keepAliveTimeout: 72_000 }, answer))
  const ports: number[] = []
  for (const server of servers) {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    ports.push((server.address() as AddressInfo).port)
  }
  const close = async (): Promise<void> => {
    for (const server of servers) {
      server.closeAllConnections()
      if (server.listening) await new Promise((resolve) => { server.close(resolve) })
    }
  }
  t.teardown(close)
  return { ports: ports as [number, number], seen, sendEvent: () => { sendEvent() }, close }
}
