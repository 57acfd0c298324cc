import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import Fastify from 'fastify'
import { Sessions, streamableHttp } from 'fastify-mcp'
import { verifyHeader } from './check.mjs'
import { register } from './tools.mjs'

/** fastify-mcp, with sessions or without (MODE). */
const app = Fastify()

app.addHook('onRequest', async (request, reply) => {
  if (await verifyHeader(request.headers.authorization) === undefined) return await reply.code(401).send()
})

await app.register(streamableHttp, {
  stateful: process.env.MODE !== 'stateless',
  mcpEndpoint: '/mcp',
  sessions: new Sessions(),
  createServer: () => register(new McpServer({ name: 'fastify-mcp', version: '1.0.0' }), { v2: false }).server
})

await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
