import { createServer, request as httpRequest } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** A load balancer on loopback without session affinity: each request goes to the next of these ports. */
export async function startRoundRobin (t: Test, ports: readonly number[]): Promise<{ url: string }> {
  let turn = 0
  const server = createServer((request, response) => {
    const { method, url: path, headers } = request
    const port = ports[turn++ % ports.length]
    const forwarded = httpRequest({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      // A stream has its headers before its first event.
      response.flushHeaders()
      answer.pipe(response)
    })
    forwarded.on('error', () => { response.destroy() })
    response.on('close', () => { forwarded.destroy() })
    request.pipe(forwarded)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}
