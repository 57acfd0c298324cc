import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { VERSION } from '../src/config/version.ts'
import type { RequestSpan } from '../src/telemetry/request-spans.ts'
import type { Tracing } from '../src/telemetry/tracing.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The spans of OpenTelemetry; undefined where nobody asks for them. */
    tracing: Tracing | undefined
  }
  interface FastifyRequest {
    /** Undefined without tracing, and for probes. */
    span: RequestSpan | undefined
  }
}

export interface TracingTimings {
  /** Limit of the last export, when the server closes; 2 seconds by default. */
  spanCloseMs?: number
}

/** Traces requests and exports their spans, where OTEL_EXPORTER_OTLP_ENDPOINT or …_TRACES_ENDPOINT asks for it. */
async function tracing (app: FastifyInstance, { spanCloseMs }: TracingTimings): Promise<void> {
  const { config: { tracing: { endpoint, sampler, ratio } }, log, telemetry } = app
  if (endpoint === undefined) {
    app.decorate('tracing', undefined)
    return
  }
  // Imported only where needed.
  const { startTracing } = await import('../src/telemetry/tracing.ts')
  const tracing = startTracing({
    version: VERSION, endpoint, sampler, ratio, log, onLost: telemetry?.spansLost, closeMs: spanCloseMs
  })
  app.decorate('tracing', tracing)
  app.decorateRequest('span', undefined)
  app.addHook('onRequest', (request, { raw }, done) => {
    const { id, method, protocol, headers, routeOptions: { url, config } } = request
    if (config?.quiet === true) {
      done()
      return
    }
    const span = tracing.beginRequest({ id, method, route: url, scheme: protocol, headers })
    request.span = span
    request.traceId = span.traceId
    if (!span.isRecording) {
      done()
      return
    }
    raw.once('close', () => { span.end(raw.headersSent ? raw.statusCode : undefined) })
    span.run(done)
  })
  // The events of a body belong to the connection, not to the request. A request that is not sampled runs in its
  // context only from here on, as each change of context takes CPU time: so it passes on that it is not.
  app.addHook('preValidation', ({ span }, _reply, done) => {
    if (span === undefined) done()
    else span.run(done)
  })
  // Some services want their key in the query.
  log.info({ event: 'spans.exported', endpoint: endpoint.split('?')[0] },
    'Traces are exported (OTEL_EXPORTER_OTLP_ENDPOINT)')
  app.addHook('onClose', async () => { await tracing.close() })
}

export default fp(tracing, { name: 'tracing', dependencies: ['config', 'telemetry'], fastify: '5.x' })
