import { createMcpFastifyApp } from '@modelcontextprotocol/fastify'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { McpServer, createMcpHandler } from '@modelcontextprotocol/server'
import { verifyHeader } from './check.mjs'
import { register } from './tools.mjs'

/** The SDK's documented recipe on Fastify: a server for each request, from a factory. */
const handler = createMcpHandler(() => register(new McpServer({ name: 'recipe', version: '1.0.0' }), { v2: true }))
const handle = toNodeHandler(handler)
const app = createMcpFastifyApp()

app.addHook('onRequest', async (request, reply) => {
  const claims = await verifyHeader(request.headers.authorization)
  if (claims === undefined) return await reply.code(401).send()
  request.raw.auth = { token: '', clientId: claims.client_id, scopes: claims.scope.split(' '), expiresAt: claims.exp }
})

app.post('/mcp', async (request, reply) => {
  reply.hijack()
  await handle(request.raw, reply.raw, request.body)
})

await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
