import { PassThrough, addAbortSignal } from 'node:stream'
import type { Readable } from 'node:stream'
import { CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, LOG_LEVEL_META_KEY, PROTOCOL_VERSION_META_KEY, ProtocolError, SERVER_INFO_META_KEY } from '@modelcontextprotocol/server'
import type { EventStream, McpResponse } from '../mcp/exchange.ts'
import { encodeHeader } from '../mcp/catalog/param-headers.ts'
import type { Engine } from '../mcp/engine.ts'
import type { Principal } from '../tokens/principal.ts'
import { answer, capabilitiesOf } from './answering.ts'
import type { Answering } from './answering.ts'

/** How requests reach the engine and answers come back, in one era of the protocol: as over HTTP, without the HTTP. */
export interface Wire {
  /**
   * @param headers besides those that the protocol asks of every request
   * @returns the result @throws ProtocolError for an error, what the engine throws, the signal's reason
   */
  request (method: string, params: Record<string, unknown>, options: { headers: Record<string, string>, signal: AbortSignal }): Promise<Record<string, unknown>>
}

export interface WireOptions {
  engine: Engine
  principal: Principal | undefined
  log: Parameters<Engine['handle']>[0]['log']
  answering: Answering
  /** Takes what the server tells on the way. */
  hear (notification: Message): void
}

export interface Message {
  id?: string | number
  method?: string
  params?: Record<string, unknown>
  result?: Record<string, unknown>
  error?: { code: number, message: string, data?: unknown }
}

const CLIENT_INFO = { name: 'seed-test-client', version: '1' }
const MODERN = '2026-07-28'
const SESSIONS = '2025-11-25'

/** 2026-07-28: each request by itself; what a tool asks is answered in another round. */
export function createModernWire (options: WireOptions): Wire {
  const { answering, hear } = options
  const meta = {
    [PROTOCOL_VERSION_META_KEY]: MODERN,
    [CLIENT_INFO_META_KEY]: CLIENT_INFO,
    [CLIENT_CAPABILITIES_META_KEY]: capabilitiesOf(answering),
    [LOG_LEVEL_META_KEY]: 'debug'
  }
  const post = createPost(options)
  let ids = 0

  return {
    async request (method, params, { headers, signal }) {
      const named = params['name'] ?? params['uri']
      const own = { 'mcp-protocol-version': MODERN, 'mcp-method': method, ...(typeof named === 'string' && { 'mcp-name': encodeHeader(named) }), ...headers }
      let further = {}
      for (;;) {
        const id = ++ids
        const body = { jsonrpc: '2.0', id, method, params: { ...params, ...further, _meta: { progressToken: id, ...meta } } }
        const { resultType, inputRequests, requestState, ...result } = await responseTo(id, await post(body, own, signal), signal, async (message) => { hear(message) })
        if (resultType !== 'input_required') return withoutServerInfo(result)
        const asked = Object.entries(inputRequests as Record<string, { method: string, params?: unknown }>)
        further = { requestState, inputResponses: Object.fromEntries(await Promise.all(asked.map(async ([key, request]) => [key, await answer(answering, request)] as const))) }
      }
    }
  }
}

/** 2025-11-25: a session; what a tool asks comes on the stream of its call. */
export async function createSessionWire (options: WireOptions): Promise<Wire> {
  const { answering, hear } = options
  const post = createPost(options)
  const never = new AbortController().signal
  const { headers: { 'mcp-session-id': session } } = await post({
    jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: SESSIONS, capabilities: capabilitiesOf(answering), clientInfo: CLIENT_INFO }
  }, {}, never)
  const own = { 'mcp-protocol-version': SESSIONS, 'mcp-session-id': session! }
  let ids = 0

  async function take (message: Message): Promise<void> {
    if (message.id === undefined) hear(message)
    else await post({ jsonrpc: '2.0', id: message.id, result: await answer(answering, message as { method: string }) }, own, never)
  }

  return {
    async request (method, params, { signal }) {
      const id = ++ids
      const cancel = (): void => { post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } }, own, never).catch(() => {}) }
      signal.addEventListener('abort', cancel)
      try {
        return await responseTo(id, await post({ jsonrpc: '2.0', id, method, params: { ...params, _meta: { progressToken: id } } }, own, never), signal, take)
      } finally {
        signal.removeEventListener('abort', cancel)
      }
    }
  }
}

function createPost ({ engine, principal, log }: WireOptions) {
  return async (body: object, headers: Record<string, string>, signal: AbortSignal): Promise<McpResponse> => await engine.handle({
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    url: 'http://localhost/mcp',
    // Nothing of the test's own objects gets in or out.
    body: JSON.parse(JSON.stringify(body)),
    acceptsStream: true,
    principal,
    address: '127.0.0.1',
    log,
    signal
  })
}

/** Reads until the response is there; the answer to a request has a body. */
async function responseTo (id: number, { body, stream }: McpResponse, signal: AbortSignal, take: (message: Message) => Promise<void>): Promise<Record<string, unknown>> {
  try {
    for await (const message of stream === undefined ? [JSON.parse(String(body)) as Message] : events(addAbortSignal(signal, throughPipe(stream)))) {
      if (message.method !== undefined) await take(message)
      else if (message.error !== undefined) throw new ProtocolError(message.error.code, message.error.message, message.error.data)
      else if (message.id === id) return message.result!
    }
    throw new Error('The server ended the stream without an answer')
  } catch (err) {
    signal.throwIfAborted()
    throw (err as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE' ? new Error('The server broke off the stream', { cause: err }) : err
  }
}

/** What of a response would arrive at the client. */
function throughPipe (stream: EventStream): Readable {
  const response = new PassThrough()
  stream.pipe(response)
  return response
}

/** Server-sent events (HTML, 9.2), as this server writes them: one line of data each. */
async function * events (body: Readable): AsyncGenerator<Message> {
  let text = ''
  for await (const chunk of body) {
    const parts = (text + String(chunk)).split('\n\n')
    text = parts.pop()!
    for (const part of parts) {
      const [, data] = /^data: (.+)$/m.exec(part) ?? []
      if (data !== undefined) yield JSON.parse(data) as Message
    }
  }
}

/** Every result of 2026-07-28 names the server in its `_meta`. */
function withoutServerInfo ({ _meta, ...result }: Record<string, unknown>): Record<string, unknown> {
  const { [SERVER_INFO_META_KEY]: serverInfo, ...meta } = _meta as Record<string, unknown>
  return Object.keys(meta).length === 0 ? result : { ...result, _meta: meta }
}
