import { randomUUID } from 'node:crypto'
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js'
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import express from 'express'
import { toAuthInfo } from './check.mjs'
import { register } from './tools.mjs'

/** Express with SDK v1, with sessions or without (MODE), as in the SDK's examples. */
const create = () => register(new McpServer({ name: 'express-v1', version: '1.0.0' }), { v2: false })
const transports = new Map()
const app = express()

app.use(express.json())
app.use(requireBearerAuth({
  verifier: {
    async verifyAccessToken (token) {
      return await toAuthInfo(token).catch((err) => { throw new InvalidTokenError(err.message) })
    }
  }
}))

app.post('/mcp', process.env.MODE === 'stateless'
  ? async (request, response) => {
    const server = create()
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined })
    response.on('close', () => {
      transport.close()
      server.close()
    })
    await server.connect(transport)
    await transport.handleRequest(request, response, request.body)
  }
  : async (request, response) => {
    let transport = transports.get(request.headers['mcp-session-id'])
    if (transport === undefined) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized (id) {
          transports.set(id, transport)
        }
      })
      await create().connect(transport)
    }
    await transport.handleRequest(request, response, request.body)
  })

app.listen(Number(process.env.PORT), '127.0.0.1')
