import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'
import type { ClientRequest, IncomingMessage } from 'node:http'

/** Clients of the 2025 revisions, as thin as can be: thousands of them live in one process. */
export interface McpClients {
  /** A call of 2026-07-28, without a session. */
  callModern (token: string, tool: string, args?: object): Promise<void>
  /** initialize, and that it is done. */
  initialize (token: string): Promise<McpSession>
  /** Closes the connections on which nothing happens. */
  closeIdle (): void
}

export interface McpSession {
  call (tool: string, args?: object): Promise<void>
  /** The stream of the session on which the server speaks by itself, once its first event is there. */
  openStream (): Promise<McpStream>
  end (): Promise<void>
}

export interface McpStream {
  /** Messages so far. */
  messages: Array<{ method: string, at: number }>
  /** Comments that keep it open, so far. */
  keepAlives: number
  /** Whether the server has ended it. */
  over: boolean
  close (): void
}

const VERSION = '2025-11-25'
const CLIENT_INFO = { name: 'claude-code', title: 'Claude Code', version: '2.0.14' }
const CAPABILITIES = { roots: { listChanged: true }, elicitation: { form: {}, url: {} }, sampling: {} }
const MODERN_META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': CLIENT_INFO,
  'io.modelcontextprotocol/clientCapabilities': {}
}

interface Response {
  status: number
  headers: IncomingMessage['headers']
  body: string
}

export function createMcpClients (baseUrl: string): McpClients {
  const url = `${baseUrl}/mcp`
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })

  async function send (method: string, headers: Record<string, string>, body?: object): Promise<Response> {
    return await new Promise((resolve, reject) => {
      const all = {
        accept: 'application/json, text/event-stream',
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers
      }
      const req = request(url, { method, agent, headers: all }, (res) => {
        text(res).then((body) => { resolve({ status: res.statusCode!, headers: res.headers, body }) }, reject)
      })
      req.once('error', reject).end(body === undefined ? undefined : JSON.stringify(body))
    })
  }

  function check ({ status, body }: Response, wanted: number, what: string): void {
    if (status !== wanted) throw new Error(`${what}: HTTP ${status} instead of ${wanted}: ${body}`)
  }

  function checkResult (response: Response, what: string): void {
    check(response, 200, what)
    const { result } = JSON.parse(response.body) as { result?: { isError?: boolean, content?: unknown[] } }
    if (result?.content === undefined || result.isError === true) throw new Error(`${what}: ${response.body}`)
  }

  return {
    async callModern (token, tool, args = {}) {
      const headers = {
        authorization: `Bearer ${token}`,
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': tool
      }
      checkResult(
        await send('POST', headers, {
          jsonrpc: '2.0',
          id: 1,
          method: 'tools/call',
          params: { name: tool, arguments: args, _meta: MODERN_META }
        }),
        tool
      )
    },

    async initialize (token) {
      const authorization = `Bearer ${token}`
      const response = await send(
        'POST',
        { authorization },
        {
          jsonrpc: '2.0',
          id: 0,
          method: 'initialize',
          params: { protocolVersion: VERSION, capabilities: CAPABILITIES, clientInfo: CLIENT_INFO }
        }
      )
      check(response, 200, 'initialize')
      const id = response.headers['mcp-session-id']
      if (typeof id !== 'string') throw new Error(`initialize gave no session: ${response.body}`)
      const headers = { authorization, 'mcp-session-id': id, 'mcp-protocol-version': VERSION }
      check(await send('POST', headers, { jsonrpc: '2.0', method: 'notifications/initialized' }), 202, 'initialized')
      return {
        async call (tool, args = {}) {
          checkResult(
            await send('POST', headers, {
              jsonrpc: '2.0',
              id: 1,
              method: 'tools/call',
              params: { name: tool, arguments: args }
            }),
            tool
          )
        },
        openStream: async () => await openStream(url, headers),
        async end () { check(await send('DELETE', headers), 204, 'DELETE') }
      }
    },

    closeIdle () {
      for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy()
    }
  }
}

/** Each on a connection of its own. */
async function openStream (url: string, headers: Record<string, string>): Promise<McpStream> {
  return await new Promise((resolve, reject) => {
    const options = { method: 'GET', agent: false, headers: { accept: 'text/event-stream', ...headers } }
    const req: ClientRequest = request(url, options, (res) => {
      if (res.statusCode !== 200) {
        text(res).then((body) => { reject(new Error(`GET: HTTP ${res.statusCode} instead of 200: ${body}`)) }, reject)
        return
      }
      const stream: McpStream = { messages: [], keepAlives: 0, over: false, close () { req.destroy() } }
      let rest = ''
      res.setEncoding('utf8').on('data', (chunk: string) => {
        const events = (rest + chunk).split('\n\n')
        rest = events.pop()!
        for (const event of events) {
          const data = /^data: (.+)$/m.exec(event)?.[1]
          if (data !== undefined) {
            stream.messages.push({ method: (JSON.parse(data) as { method: string }).method, at: performance.now() })
          } else if (event.startsWith(':')) stream.keepAlives++
          // The first event says where the stream begins.
          else resolve(stream)
        }
      })
      res.once('close', () => { stream.over = true })
      res.once('error', () => {})
    })
    req.once('error', reject).end()
  })
}
