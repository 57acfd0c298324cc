import { serve } from '@hono/node-server'
import { createMcpHandler, withMcpAuth } from 'mcp-handler'
import { toAuthInfo } from './check.mjs'
import { register } from './tools.mjs'

/** mcp-handler (Vercel), on Hono's adapter of Fetch to Node. */
const handler = withMcpAuth(
  createMcpHandler(
    (server) => {
      register(server, { v2: true })
    },
    { serverInfo: { name: 'mcp-handler', version: '1.0.0' } }
  ),
  async (_request, token) => (token === undefined ? undefined : await toAuthInfo(token).catch(() => undefined)),
  { required: true }
)

serve({ fetch: handler, port: Number(process.env.PORT), hostname: '127.0.0.1' })
