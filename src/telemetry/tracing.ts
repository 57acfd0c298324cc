import { ROOT_CONTEXT, SpanKind, context, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import type { Store } from '../store/store.ts'
import { traceFetches } from './fetch-spans.ts'
import { McpSpans } from './mcp-spans.ts'
import { wrapStore } from './measured-store.ts'
import { RequestSpan } from './request-spans.ts'
import type { BegunRequest } from './request-spans.ts'
import { startSpanExport } from './span-export.ts'
import type { SpanExportOptions } from './span-export.ts'
import { IN_BACKGROUND, failSpan, recordingSpan } from './spans.ts'
import type { SpanTools } from './spans.ts'

export type Tracing = ReturnType<typeof startTracing>

/**
 * Traces requests: a span for the HTTP request, for the MCP message, for the handler, and for what these ask of the
 * store, the provider and others. Loaded only where spans are exported (docs/tracing.md).
 */
export function startTracing (options: SpanExportOptions) {
  const { provider, close } = startSpanExport(options)
  const tools: SpanTools = {
    tracer: provider.getTracer('seed-mcp-server', options.version),
    contexts: new AsyncLocalStorageContextManager().enable(),
    propagator: new W3CTraceContextPropagator()
  }
  const { tracer, contexts } = tools
  const mcp = new McpSpans(tools)
  const stopTracingFetches = traceFetches(tools)
  // Tools that use @opentelemetry/api have their spans in the same trace, unless another SDK was there before.
  const isGlobal = trace.setGlobalTracerProvider(provider)
  if (isGlobal) {
    context.setGlobalContextManager(contexts)
    propagation.setGlobalPropagator(tools.propagator)
  }

  return {
    beginRequest: (request: BegunRequest): RequestSpan => new RequestSpan(tools, request),

    traceEngine: mcp.traceEngine.bind(mcp) as McpSpans['traceEngine'],
    callEnded: mcp.callEnded,
    runHandler: mcp.runHandler,

    /** Runs work that no request asks for, such as discovery: each of its HTTP requests is a trace of its own. */
    runInBackground<T> (work: () => T): T {
      return contexts.with(ROOT_CONTEXT.setValue(IN_BACKGROUND, true), work)
    },

    /** Returns the store with a span for each operation of a request. The memory store is no other system. */
    traceStore (store: Store): Store {
      if (store.kind === 'memory') return store
      return wrapStore(store, async (operation, run) => {
        const parent = contexts.active()
        if (recordingSpan(parent) === undefined) return await run()
        const attributes = { 'db.system.name': 'redis', 'db.operation.name': operation }
        const span = tracer.startSpan(operation, { kind: SpanKind.CLIENT, attributes }, parent)
        return await run()
          .catch((err: unknown) => {
            failSpan(span, 'unavailable')
            throw err
          })
          .finally(() => { span.end() })
      })
    },

    async close (): Promise<void> {
      stopTracingFetches()
      if (isGlobal) {
        trace.disable()
        context.disable()
        propagation.disable()
      }
      await close()
      contexts.disable()
    }
  }
}
