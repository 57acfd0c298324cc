import { once } from 'node:events'
import { connect } from 'node:net'
import { checkList, checkPong, readAnswer } from './answers.ts'
import type { Answer } from './answers.ts'
import { withBrokenSignature } from './identity.ts'
import type { Traffic } from './load.ts'

/**
 * The protocol of the clients: 2026-07-28, a session of 2025-11-25, or 2025-11-25 without a session. The bare route
 * gets the same requests.
 */
export type Kind = 'modern' | 'session' | 'stateless'

export interface TrafficOptions {
  kind: Kind
  port: number
  tokens: readonly string[]
  /** The number of different requests. */
  variants?: number
  /** tools/list, which must answer so many tools, instead of a call. */
  list?: number
  /** The tool that is called; it answers `pong`. */
  tool?: string
}

const MODERN = '2026-07-28'
const LEGACY = '2025-11-25'
const CLIENT_INFO = { name: 'claude-code', version: '2.0.14' }
const META = {
  'io.modelcontextprotocol/protocolVersion': MODERN,
  'io.modelcontextprotocol/clientInfo': CLIENT_INFO,
  'io.modelcontextprotocol/clientCapabilities': {}
}
const VARIANTS = 1_024
/** All ids have as many digits, so all requests have the same length. */
const FIRST_ID = 100_000
/** Nobody waits longer for an answer. */
const PATIENCE_MS = 15_000

/** Requests in rotation: different ids, the tokens in turn, and for sessions one for each token. */
export async function createTraffic ({
  kind,
  port,
  tokens,
  variants = VARIANTS,
  list,
  tool = list === undefined ? 'ping' : undefined
}: TrafficOptions): Promise<Traffic> {
  const sessions = kind === 'session' ? await openSessions(port, tokens) : undefined
  const requests = Array.from({ length: variants }, (_none, index) => {
    const caller = index % tokens.length
    return serialise(port, message(kind, FIRST_ID + index, tool), {
      ...headersOf(kind, tokens[caller]!, tool),
      ...(sessions !== undefined && { 'Mcp-Session-Id': sessions[caller]! })
    })
  })
  return {
    requests,
    check: (index, answer) =>
      list === undefined ? checkPong(FIRST_ID + index, answer) : checkList(FIRST_ID + index, list, answer),
    known: []
  }
}

/** The bare route: the same requests, to a server that reads no header. */
export async function createBareTraffic (options: TrafficOptions): Promise<Traffic> {
  return await createTraffic({ ...options, kind: options.kind === 'session' ? 'stateless' : options.kind })
}

/** @param tool the tool that is called; without one, tools are listed */
function message (kind: Kind, id: number, tool: string | undefined): object {
  const meta = kind === 'modern' ? { _meta: META } : {}
  return tool === undefined
    ? { jsonrpc: '2.0', id, method: 'tools/list', params: meta }
    : { jsonrpc: '2.0', id, method: 'tools/call', params: { name: tool, arguments: {}, ...meta } }
}

function headersOf (kind: Kind, token: string, tool: string | undefined): Record<string, string> {
  return {
    Authorization: `Bearer ${token}`,
    'MCP-Protocol-Version': kind === 'modern' ? MODERN : LEGACY,
    ...(kind === 'modern' && (tool === undefined
      ? { 'Mcp-Method': 'tools/list' }
      : { 'Mcp-Method': 'tools/call', 'Mcp-Name': tool }))
  }
}

function serialise (port: number, body: object, headers: Record<string, string>): Buffer {
  const text = JSON.stringify(body)
  const lines = Object.entries({
    Host: `127.0.0.1:${port}`,
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    ...headers,
    'Content-Length': String(Buffer.byteLength(text))
  })
  return Buffer.from(
    `POST /mcp HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${text}`
  )
}

async function openSessions (port: number, tokens: readonly string[]): Promise<string[]> {
  // All at once: fastmcp takes a second for each.
  return await Promise.all(tokens.map(async (token) => {
    const authorization = { Authorization: `Bearer ${token}` }
    const made = await exchange(
      port,
      serialise(
        port,
        {
          jsonrpc: '2.0',
          id: 0,
          method: 'initialize',
          params: { protocolVersion: LEGACY, capabilities: {}, clientInfo: CLIENT_INFO }
        },
        authorization
      )
    )
    const session = /^mcp-session-id: *(\S+)/im.exec(made.headers)?.[1]
    if (made.status !== 200 || session === undefined) {
      throw new Error(`initialize: HTTP ${made.status}: ${made.body.slice(0, 300)}`)
    }
    const ready = await exchange(
      port,
      serialise(
        port,
        { jsonrpc: '2.0', method: 'notifications/initialized' },
        { ...headersOf('session', token, undefined), 'Mcp-Session-Id': session }
      )
    )
    if (ready.status !== 202) {
      throw new Error(`notifications/initialized: HTTP ${ready.status}: ${ready.body.slice(0, 300)}`)
    }
    return session
  }))
}

/** One request on a connection of its own. */
export async function exchange (port: number, request: Buffer): Promise<Answer> {
  const socket = connect(port, '127.0.0.1')
  socket.setTimeout(PATIENCE_MS, () => { socket.destroy(new Error(`no answer for ${PATIENCE_MS / 1_000} s`)) })
  try {
    await once(socket, 'connect')
    socket.write(request)
    let received: Buffer = Buffer.alloc(0)
    for await (const piece of socket) {
      received = Buffer.concat([received, piece as Buffer])
      const answer = readAnswer(received)
      if (answer !== undefined) return answer
    }
    throw new Error('the server closed the connection without an answer')
  } finally {
    socket.destroy()
  }
}

/** Before anything counts: each request in turn is answered rightly, and a token with a broken signature is refused. */
export async function checkServer (
  port: number,
  { requests, check }: Traffic,
  {
    kind,
    tokens,
    list,
    tool = list === undefined ? 'ping' : undefined,
    authenticated
  }: { kind: Kind; tokens: readonly string[]; list?: number; tool?: string; authenticated: boolean }
): Promise<void> {
  for (let index = 0; index < Math.min(tokens.length, requests.length); index++) {
    const problem = check(index, await exchange(port, requests[index]!))
    if (problem !== undefined) throw new Error(problem)
  }
  if (!authenticated) return
  const forged = withBrokenSignature(tokens[0]!)
  const { status } = await exchange(
    port,
    serialise(port, message(kind, FIRST_ID, tool), headersOf(kind, forged, tool))
  )
  if (status !== 401 && status !== 403) {
    throw new Error(`a token with a broken signature is answered with HTTP ${status}`)
  }
}
