import { SpanKind, trace } from '@opentelemetry/api'
import type { Attributes, Context, Span } from '@opentelemetry/api'
import { mapMaybe } from '../async/maybe-async.ts'
import type { MaybePromise } from '../async/maybe-async.ts'
import { isOffered, toErrorType, toMcpMethod } from './label-values.ts'
import { CARRIER, IN_HANDLER, failSpan, recordingSpan } from './spans.ts'
import type { SpanTools } from './spans.ts'

/** A request to the MCP engine, as far as its span needs it. */
export interface TracedRequest {
  method: string
  headers: Record<string, string | string[] | undefined>
  body: unknown
}

/** The engine's response. */
export interface TracedResponse {
  status: number
  body: string | Buffer | null
  stream?: { onEnd (listener: () => void): void }
}

export interface TracedCall {
  request: TracedRequest
  method: string
  name: string
  outcome: string
}

/** A handler that is about to run. */
export interface TracedHandler {
  kind: 'tool' | 'prompt' | 'resource' | 'resource-template'
  name: string
}

interface Message {
  id?: unknown
  method?: unknown
  params?: { _meta?: unknown } | null
}

/** Longest response that is searched for the code of a JSON-RPC error. */
const MAX_ERROR_LENGTH = 2_048
const MAX_ID_LENGTH = 64
/** The SDK's status for a request whose client has disconnected. */
const CLIENT_GONE = 499

/** The spans of MCP messages and of the handlers that they run (semantic conventions for MCP and generative AI). */
export class McpSpans {
  readonly #tools: SpanTools
  readonly #byRequest = new WeakMap<TracedRequest, Span>()

  constructor (tools: SpanTools) {
    this.#tools = tools
  }

  /**
   * Returns the engine, each of whose messages has a span. A batch has none: only its calls have.
   *
   * @param endpoint the path of the MCP endpoint; undefined for `/mcp`
   */
  traceEngine<
    Request extends TracedRequest, Response extends TracedResponse,
    Engine extends { handle (request: Request): MaybePromise<Response> }
  > (engine: Engine, endpoint?: string): Engine {
    const handle = (request: Request): MaybePromise<Response> => {
      const started = this.#start(request, endpoint)
      if (started === undefined) return engine.handle(request)
      const { span, context } = started
      this.#byRequest.set(request, span)
      return this.#tools.contexts.with(context, () => mapMaybe(
        () => engine.handle(request),
        (response) => {
          endWith(span, response)
          return response
        },
        (err) => {
          const { statusCode = 500 } = err as { statusCode?: number }
          failSpan(span, String(statusCode))
          span.end()
          throw err
        }
      ))
    }
    return { ...engine, handle }
  }

  /** Names the span of a call, which has only its method until it is known whether there is such a tool. */
  readonly callEnded = ({ request, method, name, outcome }: TracedCall): void => {
    const span = this.#byRequest.get(request)
    if (span === undefined) return
    const kind = method === 'tools/call' ? 'tool' : method === 'prompts/get' ? 'prompt' : undefined
    if (kind !== undefined && isOffered(outcome)) {
      span.updateName(`${method} ${name}`)
      span.setAttribute(`gen_ai.${kind}.name`, name)
    }
    const error = toErrorType(method, outcome)
    if (error !== undefined) failSpan(span, error)
  }

  /** Runs a handler within a span of its own. */
  readonly runHandler = <T>({ kind, name }: TracedHandler, run: () => MaybePromise<T>): MaybePromise<T> => {
    const { contexts, tracer } = this.#tools
    const parent = contexts.active()
    if (recordingSpan(parent) === undefined) return run()
    const isTool = kind === 'tool'
    const attributes = isTool ? { 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': name } : {}
    const span = tracer.startSpan(`${isTool ? 'execute_tool' : kind} ${name}`, { attributes }, parent)
    const context = trace.setSpan(parent, span).setValue(IN_HANDLER, true)
    return contexts.with(context, () => mapMaybe(
      run,
      (result) => {
        span.end()
        return result
      },
      (err) => {
        const { name: type } = err as Error
        if (type === 'ToolError') failSpan(span, 'tool_error')
        else if (type !== 'InputRequiredError') failSpan(span, type)
        span.end()
        throw err
      }
    ))
  }

  /**
   * The context of `_meta` is the parent, and that of the HTTP request a link: they are independent in MCP. A message
   * without one belongs to its HTTP request, and has no span where that is not sampled.
   */
  #start (
    { method: httpMethod, headers, body }: TracedRequest, endpoint: string | undefined
  ): { span: Span, context: Context } | undefined {
    const { id, method, params } = Object(body) as Message
    if (httpMethod !== 'POST' || typeof method !== 'string') return undefined
    const { tracer, contexts, propagator } = this.#tools
    const active = contexts.active()
    const meta = Object(params?._meta) as Record<string, unknown>
    const parent = meta['traceparent'] === undefined ? active : propagator.extract(active, meta, CARRIER)
    if (parent === active && recordingSpan(active) === undefined) return undefined
    const transport = trace.getSpanContext(active)
    const links = parent === active || transport === undefined ? [] : [{ context: transport }]
    const name = toMcpMethod(method)
    const attributes = toAttributes(name, id, headers['mcp-protocol-version'])
    if (endpoint !== undefined) attributes['seed.endpoint'] = endpoint
    const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes, links }, parent)
    // Completions and the lists of templates are an author's code without a handler's span.
    return { span, context: trace.setSpan(parent, span).setValue(IN_HANDLER, true) }
  }
}

function toAttributes (method: string, id: unknown, version: unknown): Attributes {
  const attributes: Attributes = {
    'mcp.method.name': method, 'network.transport': 'tcp', 'network.protocol.name': 'http'
  }
  if (method === 'tools/call') attributes['gen_ai.operation.name'] = 'execute_tool'
  if (typeof id === 'string' || typeof id === 'number') {
    attributes['jsonrpc.request.id'] = String(id).slice(0, MAX_ID_LENGTH)
  }
  if (typeof version === 'string' && /^\d{4}-\d\d-\d\d$/.test(version)) attributes['mcp.protocol.version'] = version
  return attributes
}

/** Ends a span with the response, or with the end of its stream. */
function endWith (span: Span, { status, body, stream }: TracedResponse): void {
  if (stream !== undefined) {
    stream.onEnd(() => { span.end() })
    return
  }
  const code = span.isRecording() ? errorCodeOf(body) : undefined
  if (code !== undefined) {
    span.setAttribute('rpc.response.status_code', code)
    failSpan(span, code)
  } else if (status >= 400) {
    failSpan(span, status === CLIENT_GONE ? 'cancelled' : String(status))
  }
  span.end()
}

/** The code of a JSON-RPC error. */
function errorCodeOf (body: string | Buffer | null): string | undefined {
  if (typeof body !== 'string' || body.length > MAX_ERROR_LENGTH || !body.includes('"error"')) return undefined
  const { error } = JSON.parse(body) as { error?: { code: number } }
  return error === undefined ? undefined : String(error.code)
}
