import { once } from 'node:events'
import { createServer, request as sendRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

const REFUSAL = JSON.stringify({
  jsonrpc: '2.0', id: null, error: { code: -32_000, message: 'Bad Request: Server not initialized' }
})

/** Starts a proxy in front of an MCP server that refuses requests of 2026-07-28, as older SDKs do. @returns its URL */
export async function startLegacyOnly (t: Test, target: string): Promise<string> {
  const { hostname: host, port, pathname: path } = new URL(target)
  const server = createServer((request, response) => {
    const { method, headers } = request
    if (headers['mcp-protocol-version'] === '2026-07-28') {
      request.resume()
      response.writeHead(400, { 'content-type': 'application/json' }).end(REFUSAL)
      return
    }
    const sent = { ...headers, host: `${host}:${port}` }
    const onward = sendRequest({ host, port, path, method, headers: sent }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      response.flushHeaders()
      answer.pipe(response)
    })
    onward.on('error', () => { response.destroy() })
    response.on('close', () => { onward.destroy() })
    request.pipe(onward)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`
}
