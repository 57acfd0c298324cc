import { setTimeout as delay } from 'node:timers/promises'
import { createNoopMeter } from '@opentelemetry/api'
import type { Attributes, Counter, Meter, MeterProvider } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  AlwaysOffSampler, AlwaysOnSampler, BatchSpanProcessor, ParentBasedSampler, TraceIdRatioBasedSampler, TracerProvider
} from '@opentelemetry/sdk-trace'
import type { Sampler } from '@opentelemetry/sdk-trace'
import type { Log } from '../logging/log.ts'
import { createResource } from './resource.ts'

export interface SpanExportOptions {
  version: string
  /** The URL that spans are sent to. */
  endpoint: string
  /** OTEL_TRACES_SAMPLER */
  sampler: string
  /** OTEL_TRACES_SAMPLER_ARG, for the samplers that have a ratio. */
  ratio: number
  log: Log
  /** Gets the number of spans that could not be sent. */
  onLost: ((spans: number) => void) | undefined
  /** Limit of the last export, when the process ends; 2 seconds by default. */
  closeMs?: number | undefined
}

export interface SpanExport {
  provider: TracerProvider
  /** Sends what is left. */
  close (): Promise<void>
}

/** Time without losses after which the log says so. With too many spans, some are sent all the time. */
const CALM_MS = 60_000
const NOT_EXPORTED = 'Spans are lost: the collector does not take them (OTEL_EXPORTER_OTLP_ENDPOINT)'

/**
 * Sends finished spans to a collector by OTLP (http/protobuf), in batches, in the background. The exporter reads the
 * other variables of OpenTelemetry by itself: `OTEL_EXPORTER_OTLP_HEADERS`, timeouts, certificates.
 */
export function startSpanExport (options: SpanExportOptions): SpanExport {
  const { version, endpoint, sampler, ratio, log, onLost, closeMs = 2_000 } = options
  const processor = new BatchSpanProcessor({
    exporter: new OTLPTraceExporter({ url: endpoint }),
    selfObsMeterProvider: createLossMeter(log, onLost)
  })
  const provider = new TracerProvider({
    resource: createResource(version),
    sampler: createSampler(sampler, ratio),
    spanProcessors: [processor],
    spanLimits: { attributeValueLengthLimit: 1_024 }
  })
  return {
    provider,
    async close () {
      const sent = provider.shutdown().then(() => true, () => true)
      if (await Promise.race([sent, delay(closeMs, false, { ref: false })])) return
      log.warn({ event: 'spans.not_exported', reason: 'timeout' }, NOT_EXPORTED)
    }
  }
}

/** The samplers of the specification (OpenTelemetry, environment variables, OTEL_TRACES_SAMPLER). */
export function createSampler (name: string, ratio: number): Sampler {
  const kind = name.replace('parentbased_', '')
  const root = kind === 'always_on'
    ? new AlwaysOnSampler()
    : kind === 'always_off' ? new AlwaysOffSampler() : new TraceIdRatioBasedSampler(ratio)
  return kind === name ? root : new ParentBasedSampler({ root })
}

/** A meter for the processor's measurements of itself: it logs and counts lost spans, and ignores the rest. */
export function createLossMeter (
  log: Log, onLost: SpanExportOptions['onLost'], now: () => number = Date.now
): MeterProvider {
  const noop = createNoopMeter()
  let lost = 0
  let lostAt = 0
  const processed: Counter = {
    add (spans: number, attributes: Attributes = {}): void {
      const reason = attributes['error.type']
      if (reason !== undefined) {
        if (lost === 0) {
          log.warn({ event: 'spans.not_exported', reason }, NOT_EXPORTED)
        }
        lost += spans
        lostAt = now()
        onLost?.(spans)
      } else if (lost > 0 && now() - lostAt >= CALM_MS) {
        log.info({ event: 'spans.exported_again', lost }, 'The collector takes spans again')
        lost = 0
      }
    }
  }
  const meter = Object.assign(Object.create(noop) as Meter, {
    createCounter: (name: string): Counter =>
      name === 'otel.sdk.processor.span.processed' ? processed : noop.createCounter(name)
  })
  return { getMeter: () => meter }
}
