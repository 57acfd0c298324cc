import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { SpanKind, TraceFlags, trace } from '@opentelemetry/api'
import type { Attributes, Context, Span } from '@opentelemetry/api'
import { toHttpMethod } from './label-values.ts'
import { IN_BACKGROUND, IN_HANDLER, failSpan } from './spans.ts'
import type { SpanTools } from './spans.ts'

/** A request of undici, which is also what Node.js's `fetch` is made of (undici, docs/api/DiagnosticsChannel.md). */
interface UndiciRequest {
  origin: string | URL
  path: string
  method: string
  headers: unknown
  addHeader (name: string, value: string): unknown
}

const CREATED = 'undici:request:create'
const ANSWERED = 'undici:request:headers'
const FAILED = 'undici:request:error'

/**
 * Gives the HTTP requests that are sent while a request is answered a span each, and the header `traceparent`: those to
 * the provider, and whatever tools send by `fetch` or undici. Other requests of the process are left alone. A span ends
 * with the response's headers, as nobody may ever read the body.
 *
 * @returns the function that ends this
 */
export function traceFetches ({ tracer, contexts, propagator }: SpanTools): () => void {
  const spans = new WeakMap<UndiciRequest, Span>()

  const onCreated = (message: unknown): void => {
    const { request } = message as { request: UndiciRequest }
    const active = contexts.active()
    const parent = trace.getSpan(active)
    if (parent === undefined && active.getValue(IN_BACKGROUND) !== true) return
    // An author who traces requests has a span of it already.
    if (/traceparent/i.test(String(request.headers))) return
    // A timer that a request has set belongs to that request, however long it runs on: a trace would never end.
    const isOver = parent !== undefined && isSampled(parent) && !parent.isRecording()
    const span = tracer.startSpan(toHttpMethod(request.method), {
      kind: SpanKind.CLIENT,
      attributes: toAttributes(request, active),
      root: isOver,
      links: isOver ? [{ context: parent.spanContext() }] : []
    }, active)
    propagator.inject(trace.setSpan(active, span), request, {
      set (target, name, value) { target.addHeader(name, value) }
    })
    spans.set(request, span)
  }

  const onAnswered = (message: unknown): void => {
    const { request, response: { statusCode } } = message as
      { request: UndiciRequest, response: { statusCode: number } }
    const span = spans.get(request)
    span?.setAttribute('http.response.status_code', statusCode)
    if (span !== undefined && statusCode >= 400) failSpan(span, String(statusCode))
    span?.end()
  }

  const onFailed = (message: unknown): void => {
    const { request, error } = message as { request: UndiciRequest, error: Error & { code?: unknown } }
    const span = spans.get(request)
    if (span?.isRecording() !== true) return
    failSpan(span, typeof error.code === 'string' ? error.code : error.name)
    span.end()
  }

  const listeners = Object.entries({ [CREATED]: onCreated, [ANSWERED]: onAnswered, [FAILED]: onFailed })
    .map(([channel, listener]) => [channel, withoutThrowing(listener)] as const)
  for (const [channel, listener] of listeners) subscribe(channel, listener)
  return () => {
    for (const [channel, listener] of listeners) unsubscribe(channel, listener)
  }
}

/** An error of a subscriber would end the process, and an author's undici may be of a version with other messages. */
function withoutThrowing (listener: (message: unknown) => void): (message: unknown) => void {
  return (message) => {
    try {
      listener(message)
    } catch {
      // That request has no span.
    }
  }
}

function isSampled (span: Span): boolean {
  return (span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0
}

/** Never a query. A path is named for Seed's own requests only: in those of tools it may be a secret. */
function toAttributes ({ origin, path, method }: UndiciRequest, context: Context): Attributes {
  const { protocol, hostname, port, origin: target } = new URL(origin)
  const attributes: Attributes = {
    'http.request.method': toHttpMethod(method),
    'server.address': hostname,
    'server.port': Number(port) || (protocol === 'https:' ? 443 : 80)
  }
  if (context.getValue(IN_HANDLER) !== true) attributes['url.full'] = `${target}${path.split('?')[0]!}`
  return attributes
}
