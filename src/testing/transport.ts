import { PassThrough, addAbortSignal } from 'node:stream'
import type { Readable } from 'node:stream'
import {
  CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, LOG_LEVEL_META_KEY, PROTOCOL_VERSION_META_KEY, ProtocolError,
  SERVER_INFO_META_KEY
} from '@modelcontextprotocol/server'
import { onAbort } from '../async/on-abort.ts'
import type { RequestLog } from '../define/context.ts'
import { encodeHeader } from '../mcp/catalog/param-headers.ts'
import type { Engine } from '../mcp/engine.ts'
import type { EventStream, McpResponse } from '../mcp/exchange.ts'
import type { Principal } from '../tokens/principal.ts'
import { answerRequest, capabilitiesOf } from './client-answers.ts'
import type { ClientAnswers } from './client-answers.ts'

/** Sends the requests of a test's client to the engine, with the messages of Streamable HTTP, but without HTTP. */
export interface TestTransport {
  /**
   * @param options.headers besides those that the protocol requires of every request
   * @throws ProtocolError for an error response; what the engine throws; the reason of the signal
   */
  request (method: string, params: Record<string, unknown>, options: {
    headers: Record<string, string>
    signal: AbortSignal
  }): Promise<Record<string, unknown>>
}

export interface TransportOptions {
  engine: Engine
  principal: Principal | undefined
  log: RequestLog
  answers: ClientAnswers
  onNotification (notification: Message): void
}

/** A JSON-RPC message of the server. */
export interface Message {
  id?: string | number
  method?: string
  params?: Record<string, unknown>
  result?: Record<string, unknown>
  error?: { code: number, message: string, data?: unknown }
}

const CLIENT_INFO = { name: 'seed-test-client', version: '1' }

/** Speaks 2026-07-28: each request stands alone, and what a handler asks is answered in another round. */
export function createModernTransport (options: TransportOptions): TestTransport {
  const { answers, onNotification } = options
  const protocolVersion = '2026-07-28'
  const meta = {
    [PROTOCOL_VERSION_META_KEY]: protocolVersion,
    [CLIENT_INFO_META_KEY]: CLIENT_INFO,
    [CLIENT_CAPABILITIES_META_KEY]: capabilitiesOf(answers),
    [LOG_LEVEL_META_KEY]: 'debug'
  }
  const post = createPost(options)
  let requests = 0

  async function sendRound (
    method: string,
    params: Record<string, unknown>,
    headers: Record<string, string>,
    signal: AbortSignal
  ): Promise<Record<string, unknown>> {
    const id = ++requests
    const body = { jsonrpc: '2.0', id, method, params: { ...params, _meta: { progressToken: id, ...meta } } }
    const onMessage = async (message: Message): Promise<void> => { onNotification(message) }
    const client = new AbortController()
    const removeListener = onAbort(signal, () => { client.abort() })
    try {
      return await readResult(id, await post(body, headers, client.signal), signal, onMessage)
    } finally {
      removeListener()
    }
  }

  return {
    async request (method, params, { headers, signal }) {
      const name = params['name'] ?? params['uri']
      const allHeaders = {
        'mcp-protocol-version': protocolVersion,
        'mcp-method': method,
        ...(typeof name === 'string' && { 'mcp-name': encodeHeader(name) }),
        ...headers
      }
      let roundParams = params
      for (;;) {
        const sent = await sendRound(method, roundParams, allHeaders, signal)
        const { resultType, inputRequests, requestState, ...result } = sent
        if (resultType !== 'input_required') return withoutServerInfo(result)
        const questions = inputRequests as Record<string, { method: string, params?: unknown }>
        roundParams = { ...params, requestState, inputResponses: await answerAll(questions, answers) }
      }
    }
  }
}

async function answerAll (
  questions: Record<string, { method: string, params?: unknown }>,
  answers: ClientAnswers
): Promise<Record<string, unknown>> {
  return Object.fromEntries(await Promise.all(Object.entries(questions).map(async ([key, question]) =>
    [key, await answerRequest(answers, question)] as const)))
}

/** Speaks 2025-11-25: starts a session, in which what a handler asks comes on the stream of its call. */
export async function createSessionTransport (options: TransportOptions): Promise<TestTransport> {
  const { answers, onNotification } = options
  const protocolVersion = '2025-11-25'
  const post = createPost(options)
  const initialize = { protocolVersion, capabilities: capabilitiesOf(answers), clientInfo: CLIENT_INFO }
  const response = await post({ jsonrpc: '2.0', id: 0, method: 'initialize', params: initialize }, {})
  const headers = { 'mcp-protocol-version': protocolVersion, 'mcp-session-id': response.headers['mcp-session-id']! }
  let requests = 0

  async function onMessage (message: Message): Promise<void> {
    const { id } = message
    if (id === undefined) onNotification(message)
    else {
      const result = await answerRequest(answers, message as { method: string })
      await post({ jsonrpc: '2.0', id, result }, headers)
    }
  }

  function cancel (requestId: number): void {
    const notification = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } }
    post(notification, headers).catch(() => {})
  }

  return {
    async request (method, params, { signal }) {
      const id = ++requests
      const onAborted = (): void => { cancel(id) }
      signal.addEventListener('abort', onAborted)
      try {
        const body = { jsonrpc: '2.0', id, method, params: { ...params, _meta: { progressToken: id } } }
        return await readResult(id, await post(body, headers), signal, onMessage)
      } finally {
        signal.removeEventListener('abort', onAborted)
      }
    }
  }
}

function createPost ({ engine, principal, log }: TransportOptions) {
  return async (
    body: object, headers: Record<string, string>, signal = new AbortController().signal
  ): Promise<McpResponse> =>
    await engine.handle({
      id: 'test',
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      url: 'http://localhost/mcp',
      // A copy, so that test and server share no objects.
      body: JSON.parse(JSON.stringify(body)),
      acceptsStream: true,
      principal,
      address: '127.0.0.1',
      log,
      onDisconnect: (listener) => onAbort(signal, listener)
    })
}

/** Reads messages until the response to a request arrives, and returns its result. */
async function readResult (
  id: number,
  { body, stream }: McpResponse,
  signal: AbortSignal,
  onMessage: (message: Message) => Promise<void>
): Promise<Record<string, unknown>> {
  const messages = stream === undefined
    ? [JSON.parse(String(body)) as Message]
    : readEvents(addAbortSignal(signal, pipe(stream)))
  try {
    for await (const message of messages) {
      if (message.method !== undefined) await onMessage(message)
      else if (message.error !== undefined) throw toProtocolError(message.error)
      else if (message.id === id) return message.result!
    }
    throw new Error('The server ended the stream without a response')
  } catch (err) {
    signal.throwIfAborted()
    throw err
  }
}

function toProtocolError ({ code, message, data }: NonNullable<Message['error']>): ProtocolError {
  return new ProtocolError(code, message, data)
}

/** Returns what would arrive at the client. */
function pipe (stream: EventStream): Readable {
  const response = new PassThrough()
  stream.pipe(response)
  return response
}

/** Parses server-sent events (HTML Standard, section 9.2) as this server writes them: one line of data each. */
async function * readEvents (body: Readable): AsyncGenerator<Message> {
  let text = ''
  for await (const chunk of body) {
    const events = (text + String(chunk)).split('\n\n')
    text = events.pop()!
    for (const event of events) {
      const [, data] = /^data: (.+)$/m.exec(event) ?? []
      if (data !== undefined) yield JSON.parse(data) as Message
    }
  }
}

/** Removes the server's description, which every result of 2026-07-28 has in its `_meta`. */
function withoutServerInfo ({ _meta, ...result }: Record<string, unknown>): Record<string, unknown> {
  const { [SERVER_INFO_META_KEY]: serverInfo, ...meta } = _meta as Record<string, unknown>
  return Object.keys(meta).length === 0 ? result : { ...result, _meta: meta }
}
