import { createMcpExpressApp, requireBearerAuth } from '@modelcontextprotocol/express'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { McpServer, OAuthError, createMcpHandler } from '@modelcontextprotocol/server'
import { toAuthInfo } from './check.mjs'
import { register } from './tools.mjs'

/** Express with SDK v2, as documented. */
const handle = toNodeHandler(
  createMcpHandler(() => register(new McpServer({ name: 'express-v2', version: '1.0.0' }), { v2: true }))
)
const app = createMcpExpressApp()

app.use(requireBearerAuth({
  verifier: {
    async verifyAccessToken (token) {
      return await toAuthInfo(token).catch((err) => { throw new OAuthError('invalid_token', err.message) })
    }
  }
}))

app.post('/mcp', async (request, response) => { await handle(request, response, request.body) })

app.listen(Number(process.env.PORT), '127.0.0.1')
