import { SpanStatusCode, createContextKey, trace } from '@opentelemetry/api'
import type { Context, ContextManager, Span, TextMapGetter, TextMapPropagator, Tracer } from '@opentelemetry/api'

/** The parts of OpenTelemetry that every kind of span needs. */
export interface SpanTools {
  tracer: Tracer
  /** The context of the code that runs now. */
  contexts: ContextManager
  /** `traceparent` and `tracestate` (W3C Trace Context). */
  propagator: TextMapPropagator
}

/** Set while an author's code may run: its URLs are nobody else's business. */
export const IN_HANDLER = createContextKey('seed: in a handler')
/** Set for work that no request asks for, and that is traced all the same. */
export const IN_BACKGROUND = createContextKey('seed: in the background')

/** Reads members that are strings; whatever else a caller sends is ignored. */
export const CARRIER: TextMapGetter<Record<string, unknown>> = {
  keys: Object.keys,
  get (carrier, key) {
    const value = Object.hasOwn(carrier, key) ? carrier[key] : undefined
    return typeof value === 'string' ? value : undefined
  }
}

/** The span of the context, if it is recorded and has not ended. */
export function recordingSpan (context: Context): Span | undefined {
  const span = trace.getSpan(context)
  return span?.isRecording() === true ? span : undefined
}

/** Marks a span as failed. Messages of errors stay in the log: they may hold what must not leave. */
export function failSpan (span: Span, type: string): void {
  span.setAttribute('error.type', type)
  span.setStatus({ code: SpanStatusCode.ERROR })
}
