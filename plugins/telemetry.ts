import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { VERSION } from '../src/config/version.ts'
import { createTelemetry } from '../src/telemetry/telemetry.ts'
import type { Telemetry } from '../src/telemetry/telemetry.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The metrics; undefined where nobody asks for it. */
    telemetry: Telemetry | undefined
  }
}

const NO_FIELDS = {}

/** Measures requests and exports metrics, where METRICS_PORT or OTEL_EXPORTER_OTLP_ENDPOINT asks for it. */
async function telemetry (app: FastifyInstance): Promise<void> {
  const { config: { metrics: { host, port, otlpEndpoint } }, log } = app
  if (port === undefined && otlpEndpoint === undefined) {
    app.decorate('telemetry', undefined)
    return
  }
  const measured = createTelemetry(VERSION)
  app.decorate('telemetry', measured)
  app.addHook('onResponse', (request, reply, done) => {
    const { routeOptions: { url }, body } = request
    measured.requestEnded({
      method: request.method,
      route: url,
      status: reply.statusCode,
      ms: reply.elapsedTime,
      grantType: (body as { grant_type?: unknown } | null | undefined)?.grant_type,
      fields: request.logFields ?? NO_FIELDS
    })
    done()
  })
  // Imported only where needed.
  const { startMetricExport } = await import('../src/telemetry/export.ts')
  const { instruments } = measured
  const metricExport = await startMetricExport({ instruments, version: VERSION, port, host, otlpEndpoint })
  log.info({ event: 'metrics.exported', host: metricExport.host, port: metricExport.port, otlpEndpoint },
    'Metrics are exported (METRICS_PORT, METRICS_HOST, OTEL_EXPORTER_OTLP_ENDPOINT)')
  app.addHook('onClose', async () => { await metricExport.close() })
}

export default fp(telemetry, { name: 'telemetry', dependencies: ['config'], fastify: '5.x' })
