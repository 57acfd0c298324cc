import { AsyncResource } from 'node:async_hooks'
import {
  Client, ProtocolError, SdkError, SdkErrorCode, SdkHttpError, parseJSONRPCMessage
} from '@modelcontextprotocol/client'
import type {
  CallToolRequest, CallToolRequestOptions, CallToolResult, JSONRPCMessage, JSONRPCResponse, Tool
} from '@modelcontextprotocol/client'
import { EventReader } from './event-reader.ts'
import { HttpTransport, NO_RESPONSE, noResponse } from './http-transport.ts'
import { checkDepth, isEventStream } from './limited-fetch.ts'
import type { EventSource, HttpResponse } from './limited-fetch.ts'

type CallParams = CallToolRequest['params']

/** Names that the header `Mcp-Name` holds as they are. */
const PLAIN_NAME = /^[\w./-]+$/
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308]

/**
 * An MCP client that sends calls to HTTP servers of 2026-07-28 itself, unless their caller wants progress: the SDK
 * takes several times the CPU time of the request, for schemas, signals and streams. All the rest is the SDK's.
 */
export class MountClient extends Client {
  #calls = 0

  override async callTool (params: CallParams, options: CallToolRequestOptions = {}): Promise<CallToolResult> {
    const { transport } = this
    const isDirect = transport instanceof HttpTransport && this.getProtocolEra() === 'modern' &&
      options.onprogress === undefined && PLAIN_NAME.test(params.name) && !hasHeaderArguments(options.toolDefinition)
    if (!isDirect) return await super.callTool(params, options)
    const response = await this.#exchange(transport, params, options)
    // Redirects are the SDK's. None has been followed yet.
    return response === undefined ? await super.callTool(params, options) : this.#toResult(response, options)
  }

  protected override _onresponse (response: JSONRPCResponse): void {
    if (this.transport instanceof HttpTransport) this.transport.endExchange(response.id)
    try {
      checkDepth(response)
    } catch (err) {
      super._onresponse(noResponse(response.id!, err as Error))
      return
    }
    super._onresponse(response)
  }

  /**
   * Sends a call.
   *
   * @returns its response as soon as it is there, or undefined for a redirect
   */
  async #exchange (
    transport: HttpTransport, params: CallParams, options: CallToolRequestOptions
  ): Promise<JSONRPCResponse | undefined> {
    const id = `call-${++this.#calls}`
    const _meta = { ...this._outboundMetaEnvelope(), ...params._meta }
    const body = JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { ...params, _meta } })
    const headers = {
      ...options.headers,
      'mcp-protocol-version': this.getNegotiatedProtocolVersion()!,
      'mcp-method': 'tools/call',
      'mcp-name': params.name
    }
    return await new Promise((resolve, reject) => {
      let stream: EventSource
      // Connections to the server read in the context of the request that has opened them, whoever sent that.
      const receive = AsyncResource.bind((message: JSONRPCMessage) => { transport.onmessage?.(message) })
      const events = new EventReader((data) => {
        const message = parseMessage(data)
        if (!isResponseTo(message, id)) {
          receive(message)
          return
        }
        resolve(message)
        stream.endSoon()
      })
      const onStart = (_response: HttpResponse, source: EventSource): void => { stream = source }
      const onData = (chunk: Buffer): boolean => {
        try {
          events.read(chunk)
        } catch (err) {
          reject(err)
          stream.abort(err as Error)
        }
        return false
      }
      transport.post(body, headers, options.signal, { onStart, onData }).then((received) => {
        resolve(REDIRECTS.includes(received.status) ? undefined : findResponse(received, id))
      }).catch(reject)
    })
  }

  #toResult (response: JSONRPCResponse, { allowInputRequired }: CallToolRequestOptions): CallToolResult {
    if ('error' in response) {
      const { code, message, data } = response.error
      throw ProtocolError.fromError(code, message, data)
    }
    const { resultType: type, ...result } = response.result as Record<string, unknown>
    if (type === 'complete' && isPlainText(result)) return result
    const decoded = this._wireCodec().decodeResult('tools/call', response.result)
    if (decoded.kind === 'complete') return decoded.result as CallToolResult
    if (decoded.kind === 'invalid') throw decoded.error
    const { kind: resultType, ...input } = decoded
    // The type of the SDK's method leaves out that this is returned too.
    if (allowInputRequired === true) return { resultType, ...input } as unknown as CallToolResult
    throw new SdkError(SdkErrorCode.UnsupportedResultType, 'The result asks for input')
  }
}

const headerArguments = new WeakMap<Tool, boolean>()

/** Tells whether arguments of a tool are sent in headers too, which the SDK does. */
function hasHeaderArguments (tool: Tool | undefined): boolean {
  if (tool === undefined) return true
  const known = headerArguments.get(tool)
  if (known !== undefined) return known
  const found = JSON.stringify(tool.inputSchema).includes('"x-mcp-header"')
  headerArguments.set(tool, found)
  return found
}

/** Returns the response in an HTTP response. @throws the errors of the SDK if there is none */
function findResponse ({ status, statusText, headers, body }: HttpResponse, id: string): JSONRPCResponse {
  const type = headers['content-type'] ?? ''
  const isJson = /^application\/json\s*(;|$)/i.test(type)
  if (status < 200 || status >= 300) {
    const error = status === 400 && isJson ? findError(body.toString('utf8'), id) : undefined
    if (error !== undefined) return error
    throw new SdkHttpError(SdkErrorCode.ClientHttpNotImplemented, `HTTP status ${status}`, { status, statusText })
  }
  if (isEventStream(headers)) {
    throw new ProtocolError(NO_RESPONSE, 'The stream ended without a response')
  }
  const message = isJson ? parseMessage(body.toString('utf8')) : undefined
  if (message !== undefined && isResponseTo(message, id)) return message
  throw new SdkError(SdkErrorCode.ClientHttpUnexpectedContent, 'The response is none to the request')
}

/** Returns the error that a server sends with status 400 for a request that it does not accept. */
function findError (text: string, id: string): JSONRPCResponse | undefined {
  try {
    const message = parseMessage(text)
    return isResponseTo(message, id) && 'error' in message ? message : undefined
  } catch {
    return undefined
  }
}

/** @throws SyntaxError or ZodError for anything other than a message; ResponseTooLargeError if it is too deep */
function parseMessage (text: string): JSONRPCMessage {
  const value = JSON.parse(text) as JSONRPCMessage
  checkDepth(value)
  return isPlainResult(value) ? value : parseJSONRPCMessage(value)
}

/** Tells of the most frequent message that it is valid, without a schema. */
function isPlainResult (value: unknown): boolean {
  const { jsonrpc, id, result, ...others } = Object(value) as Record<string, unknown>
  return jsonrpc === '2.0' && typeof id === 'string' && isObject(result) && Object.keys(others).length === 0
}

/** Tells of the most frequent result that it is valid, without a schema: texts, and nothing else. */
function isPlainText (result: Record<string, unknown>): result is CallToolResult {
  const { content, isError, _meta, ...others } = result
  return Object.keys(others).length === 0 && (isError === undefined || typeof isError === 'boolean') &&
    (_meta === undefined || isObject(_meta)) && Array.isArray(content) && content.every(isText)
}

function isText (block: unknown): boolean {
  const { type, text, ...others } = Object(block) as Record<string, unknown>
  return type === 'text' && typeof text === 'string' && Object.keys(others).length === 0
}

function isObject (value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isResponseTo (message: JSONRPCMessage, id: string): message is JSONRPCResponse {
  return !('method' in message) && message.id === id
}
