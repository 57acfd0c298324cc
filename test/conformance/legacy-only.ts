import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { forward } from '../support/forward.ts'

const REFUSAL = JSON.stringify({
  jsonrpc: '2.0', id: null, error: { code: -32_000, message: 'Bad Request: Server not initialized' }
})

/** Starts a proxy in front of an MCP server that refuses requests of 2026-07-28, as older SDKs do. @returns its URL */
export async function startLegacyOnly (t: Test, target: string): Promise<string> {
  const { hostname: host, port, pathname: path } = new URL(target)
  const server = createServer((request, response) => {
    const { headers } = request
    if (headers['mcp-protocol-version'] === '2026-07-28') {
      request.resume()
      response.writeHead(400, { 'content-type': 'application/json' }).end(REFUSAL)
      return
    }
    forward(request, response, { host, port, path, headers: { ...headers, host: `${host}:${port}` } })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`
}
