import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { forward } from './forward.ts'

export interface PathProxy {
  /** Without a path. */
  origin: string
  /** Passes everything below a path on to a server on this machine, and the documents about it. */
  route (path: string, port: number): void
}

/**
 * A proxy on loopback that gives servers a path of one host each. As nginx with a slash behind `proxy_pass`, it can
 * strip the path, but never from the documents under /.well-known. Without `documents` it does not pass these on.
 */
export async function startPathProxy (t: Test, { strips = false, documents = true } = {}): Promise<PathProxy> {
  const routes = new Map<string, number>()
  const server = createServer((request, response) => {
    const { url = '' } = request
    const path = [...routes.keys()].find((path) =>
      new RegExp(`^${documents ? '(/\\.well-known/[^/?]+)?' : ''}${path}([/?]|$)`).test(url))
    if (path === undefined) {
      response.writeHead(404).end('another application')
      return
    }
    const sent = strips && url.startsWith(path) ? url.slice(path.length).replace(/^(?!\/)/, '/') : url
    forward(request, response, { port: routes.get(path), path: sent })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    route (path, port) { routes.set(path, port) }
  }
}
