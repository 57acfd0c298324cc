import { FastMCP } from 'fastmcp'
import { z } from 'zod'
import { verifyHeader } from './check.mjs'
import { tools } from './tools.mjs'

/** fastmcp, over HTTP, with sessions or without (MODE). */
const server = new FastMCP({
  name: 'fastmcp',
  version: '1.0.0',
  async authenticate (request) {
    const claims = await verifyHeader(request.headers.authorization)
    if (claims === undefined) throw new Response(null, { status: 401, statusText: 'Unauthorized' })
    return { subject: claims.sub }
  }
})
for (const { name, description, annotations, shape, answer } of tools) {
  server.addTool({
    name,
    description,
    annotations,
    parameters: z.object(shape),
    execute: async (input) => answer(input)
  })
}
await server.start({
  transportType: 'httpStream',
  httpStream: {
    port: Number(process.env.PORT),
    host: '127.0.0.1',
    endpoint: '/mcp',
    stateless: process.env.MODE === 'stateless'
  }
})
