import { randomUUID } from 'node:crypto'
import { StreamableHTTPTransport } from '@hono/mcp'
import { serve } from '@hono/node-server'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { Hono } from 'hono'
import { verifyHeader } from './check.mjs'
import { register } from './tools.mjs'

/** @hono/mcp, with sessions (a server and a transport for each) or without (MODE). */
const create = () => register(new McpServer({ name: 'hono-mcp', version: '1.0.0' }), { v2: false })
const sessions = new Map()
const app = new Hono()

app.use('/mcp', async (context, next) => {
  const claims = await verifyHeader(context.req.header('authorization'))
  if (claims === undefined) return context.body(null, 401)
  await next()
})

async function openTransport () {
  const transport =
    process.env.MODE === 'stateless'
      ? new StreamableHTTPTransport({ sessionIdGenerator: undefined })
      : new StreamableHTTPTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized (id) {
          sessions.set(id, transport)
        }
      })
  await create().connect(transport)
  return transport
}

app.all('/mcp', async (context) => {
  const transport = sessions.get(context.req.header('mcp-session-id')) ?? await openTransport()
  return await transport.handleRequest(context)
})

serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: '127.0.0.1' })
