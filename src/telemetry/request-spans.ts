import { ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api'
import type { Context, ContextManager, Span } from '@opentelemetry/api'
import { toHttpMethod } from './label-values.ts'
import { CARRIER, failSpan } from './spans.ts'
import type { SpanTools } from './spans.ts'

/** An HTTP request that begins. */
export interface BegunRequest {
  /** The reference of the request, as in the log. */
  id: string
  method: string
  /** The route as declared; undefined for an unknown path, which anybody may choose. */
  route: string | undefined
  scheme: string
  headers: Record<string, unknown>
}

/** The span of an HTTP request (semantic conventions for HTTP servers). */
export class RequestSpan {
  readonly #contexts: ContextManager
  readonly #context: Context
  readonly #span: Span

  constructor ({ tracer, contexts, propagator }: SpanTools, { id, method, route, scheme, headers }: BegunRequest) {
    const name = toHttpMethod(method)
    const parent = propagator.extract(ROOT_CONTEXT, headers, CARRIER)
    const attributes = {
      'http.request.method': name,
      'url.scheme': scheme,
      'seed.request.id': id,
      ...(route !== undefined && { 'http.route': route })
    }
    const spanName = route === undefined ? name : `${name} ${route}`
    this.#span = tracer.startSpan(spanName, { kind: SpanKind.SERVER, attributes }, parent)
    this.#context = trace.setSpan(parent, this.#span)
    this.#contexts = contexts
  }

  /** Whether the sampler has chosen the request. */
  get isRecording (): boolean { return this.#span.isRecording() }

  get traceId (): string { return this.#span.spanContext().traceId }

  /** Runs work as a part of the request. */
  run (work: () => void): void {
    this.#contexts.with(this.#context, work)
  }

  /** @param status undefined if the client has left before there was a response */
  end (status: number | undefined): void {
    if (status !== undefined) this.#span.setAttribute('http.response.status_code', status)
    if (status !== undefined && status >= 500) failSpan(this.#span, String(status))
    this.#span.end()
  }
}
