import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { forward } from './forward.ts'

/** A load balancer on loopback without session affinity: each request goes to the next of these ports. */
export async function startRoundRobin (t: Test, ports: readonly number[]): Promise<{ url: string }> {
  let turn = 0
  const server = createServer((request, response) => {
    forward(request, response, { port: ports[turn++ % ports.length] })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}
