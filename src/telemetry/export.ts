import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { ValueType } from '@opentelemetry/api'
import type { HrTime } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AggregationTemporality, DataPointType, MeterProvider, PeriodicExportingMetricReader
} from '@opentelemetry/sdk-metrics'
import type { CollectionResult, IMetricReader, MetricData, MetricProducer } from '@opentelemetry/sdk-metrics'
import { explainListenError } from '../net/listen-error.ts'
import type { Histogram, Instrument, Labels } from './instruments.ts'
import { createResource } from './resource.ts'

export interface ExportOptions {
  instruments: readonly Instrument[]
  version: string
  /** METRICS_PORT; undefined where nobody scrapes. */
  port: number | undefined
  /** METRICS_HOST */
  host: string
  /** OTEL_EXPORTER_OTLP_ENDPOINT; undefined where metrics are not pushed. */
  otlpEndpoint: string | undefined
}

export interface MetricExport {
  /** The address and the port that are listened on; undefined where nobody scrapes. */
  host: string | undefined
  port: number | undefined
  close (): Promise<void>
}

/** Limit of the last push, when the process ends. */
const CLOSE_MS = 2_000

/**
 * Exports metrics: to Prometheus on a port of its own, and to a collector by OTLP (http/protobuf). The exporters and
 * their settings are OpenTelemetry's: `OTEL_EXPORTER_OTLP_…`, OTEL_METRIC_EXPORT_INTERVAL, OTEL_RESOURCE_ATTRIBUTES,
 * OTEL_SERVICE_NAME.
 *
 * @throws Error with a sentence for a person when the address cannot be had
 */
export async function startMetricExport (options: ExportOptions): Promise<MetricExport> {
  const { instruments, version, port, host, otlpEndpoint } = options
  const readers: IMetricReader[] = []
  if (otlpEndpoint !== undefined) {
    const exporter = new OTLPMetricExporter({ url: `${otlpEndpoint}/v1/metrics` })
    const metricProducers = [createProducer(instruments, version, (name) => name)]
    readers.push(new PeriodicExportingMetricReader({ exporter, metricProducers }))
  }
  const prometheus = port === undefined
    ? undefined
    : new PrometheusExporter({
      preventServerStart: true,
      withoutScopeInfo: true,
      metricProducers: [createProducer(instruments, version, withUnit)]
    })
  if (prometheus !== undefined) readers.push(prometheus)
  const provider = new MeterProvider({ resource: createResource(version), readers })
  const server = prometheus === undefined ? undefined : await listen(prometheus, port!, host)

  const address = server?.address() as AddressInfo | undefined

  return {
    host: address?.address,
    port: address?.port,
    async close () {
      server?.close()
      server?.closeAllConnections()
      await provider.shutdown({ timeoutMillis: CLOSE_MS }).catch(() => {})
    }
  }
}

/** A listener of its own, as the exporter's answers to every method and waits for bodies. */
async function listen (prometheus: PrometheusExporter, port: number, host: string): Promise<Server> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    if (request.method === 'GET' && request.url === '/metrics') {
      prometheus.getMetricsRequestHandler(request, response)
    } else {
      response.writeHead(404).end()
    }
  })
  server.listen(port, host)
  await once(server, 'listening').catch((err: unknown) => {
    throw explainListenError(err, { host, port, hostSetting: 'METRICS_HOST', portSetting: 'METRICS_PORT' })
  })
  return server
}

/** Units in names, as Prometheus wants them (OpenTelemetry, Prometheus compatibility); the exporter leaves them out. */
const UNITS: Record<string, string> = { s: '.seconds', By: '.bytes' }

function withUnit (name: string, unit: string): string {
  return `${name}${UNITS[unit] ?? ''}`
}

function createProducer (
  instruments: readonly Instrument[], version: string, nameOf: (name: string, unit: string) => string
): MetricProducer {
  const startTime = toHrTime(Date.now())

  return {
    async collect (): Promise<CollectionResult> {
      const endTime = toHrTime(Date.now())
      const byName = new Map<string, MetricData>()
      for (const instrument of instruments) {
        const { name: ownName, unit } = instrument.about
        const name = nameOf(ownName, unit)
        const metric = await toMetric(instrument, name, startTime, endTime)
        const other = byName.get(name)
        // Values that are read are one instrument for each set of labels.
        if (other === undefined) byName.set(name, metric)
        else (other.dataPoints as unknown[]).push(...metric.dataPoints)
      }
      const metrics = [...byName.values()].filter(({ dataPoints }) => dataPoints.length > 0)
      return {
        resourceMetrics: {
          resource: resourceFromAttributes({}),
          scopeMetrics: [{ scope: { name: 'seed-mcp-server', version }, metrics }]
        },
        errors: []
      }
    }
  }
}

async function toMetric (
  instrument: Instrument, name: string, startTime: HrTime, endTime: HrTime
): Promise<MetricData> {
  const descriptor = { ...instrument.about, name, valueType: ValueType.DOUBLE }
  const common = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE }
  const toPoint = <T>(attributes: Labels, value: T) => ({ attributes: { ...attributes }, startTime, endTime, value })
  if (instrument.kind === 'histogram') {
    return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints: toHistograms(instrument, toPoint) }
  }
  const series = instrument.kind === 'counter' ? instrument.series : await instrument.readSeries()
  const dataPoints = series.map(({ labels, data }) => toPoint(labels, data.value))
  return instrument.kind === 'counter' || instrument.isMonotonic
    ? { ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }
    : { ...common, dataPointType: DataPointType.GAUGE, dataPoints }
}

function toHistograms<Point> (
  { series, bounds }: Histogram,
  toPoint: (
    labels: Labels, value: { count: number, sum: number, buckets: { boundaries: number[], counts: number[] } }
  ) => Point
): Point[] {
  return series.map(({ labels, data: { count, sum, counts } }) =>
    toPoint(labels, { count, sum, buckets: { boundaries: [...bounds], counts: [...counts] } }))
}

function toHrTime (ms: number): HrTime {
  return [Math.floor(ms / 1_000), (ms % 1_000) * 1_000_000]
}
