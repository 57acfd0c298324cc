import { Server } from '@modelcontextprotocol/server'
import type { JSONRPCMessage } from '@modelcontextprotocol/server'
import t from 'tap'
import { connect } from '../../src/mcp/call-transport.ts'

t.test('what a server says that belongs to no request is left for the session', async (t) => {
  const queued: JSONRPCMessage[] = []
  const server = new Server({ name: 'seed', version: '1' }, { capabilities: { tools: { listChanged: true } } })
  const transport = await connect(server, {
    session: { digest: 'd', principalKey: '', clientInfo: { name: 'x', version: '1' }, capabilities: {}, protocolVersion: '2025-11-25', logLevel: undefined, createdAt: 0, lastSeenAt: 0 },
    call: {} as never,
    clientRequests: {} as never,
    queue: async (message) => { queued.push(message) }
  })
  await server.sendToolListChanged()
  t.match(queued, [{ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }])
  await transport.close()
})
