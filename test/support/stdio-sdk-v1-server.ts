import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import {
  CallToolRequestSchema, ListToolsRequestSchema, RootsListChangedNotificationSchema
} from '@modelcontextprotocol/sdk/types.js'

/**
 * An MCP server of the SDK's version 1 on stdio, to mount. `tell` sends a log message, `page` asks the person to open a
 * page and says at once that it is complete, and `roots` returns the folders that it has been told of.
 */
const server = new Server({ name: 'v1', version: '1' }, { capabilities: { tools: {}, logging: {} } })
let roots: string[] = []

async function call (name: string): Promise<string> {
  if (name === 'roots') return roots.join()
  if (name === 'tell') await server.sendLoggingMessage({ level: 'info', logger: 'db', data: 'three rows' })
  if (name === 'page') {
    const elicitationId = 'page-1'
    await server.elicitInput({ mode: 'url', message: 'Sign', url: 'https://forms.example/1', elicitationId })
    await server.createElicitationCompletionNotifier(elicitationId)()
  }
  return 'done'
}

server.setRequestHandler(ListToolsRequestSchema, () => ({
  tools: ['tell', 'page', 'roots'].map((name) => ({ name, inputSchema: { type: 'object' } }))
}))
server.setRequestHandler(CallToolRequestSchema, async ({ params: { name } }) =>
  ({ content: [{ type: 'text', text: await call(name) }] }))
server.setNotificationHandler(RootsListChangedNotificationSchema, async () => {
  roots = (await server.listRoots()).roots.map(({ uri }) => uri)
})
await server.connect(new StdioServerTransport())
