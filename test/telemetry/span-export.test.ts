import { ROOT_CONTEXT, trace } from '@opentelemetry/api'
import t from 'tap'
import { createLossMeter, createSampler, startSpanExport } from '../../src/telemetry/span-export.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'

function collectLog () {
  const lines: Array<Record<string, unknown>> = []
  const add = (fields: object): void => { lines.push({ ...fields }) }
  return { lines, log: { info: add, warn: add, error: add } }
}

t.test('spans that the collector refuses are lost: logged once, and counted', async (t) => {
  const receiver = await startOtlpReceiver(t)
  const { lines, log } = collectLog()
  let lost = 0
  const { provider, close } = startSpanExport({
    version: '1.0.0', endpoint: `${receiver.url}/v1/traces`, sampler: 'always_on', ratio: 1, log, closeMs: 60_000, onLost (spans) { lost += spans }
  })
  const send = async (): Promise<void> => {
    provider.getTracer('test').startSpan('a').end()
    await provider.forceFlush().catch(() => {})
  }
  receiver.status = 400
  await send()
  await send()
  t.match(lines, [{ event: 'spans.not_exported' }])
  t.equal(lost, 2)
  receiver.status = 200
  await send()
  await send()
  t.equal(lines.length, 1)
  t.equal(receiver.spans.length, 2)
  await close()
})

t.test('the log says that the collector takes spans again after a minute without losses', async (t) => {
  const { lines, log } = collectLog()
  let time = 1_000_000
  const processed = createLossMeter(log, undefined, () => time).getMeter('x')
    .createCounter('otel.sdk.processor.span.processed')
  for (let second = 0; second < 100; second++) {
    processed.add(1, { 'error.type': 'queue_full' })
    processed.add(1)
    time += 1_000
  }
  t.equal(lines.length, 1, 'while some are lost and some are sent, there is one line')
  time += 60_000
  processed.add(1)
  processed.add(1)
  t.match(lines, [{ event: 'spans.not_exported' }, { event: 'spans.exported_again', lost: 100 }])
})

t.test('spans beyond the queue are lost, and requests do not wait', async (t) => {
  const { lines, log } = collectLog()
  const meter = createLossMeter(log, undefined).getMeter('x')
  meter.createUpDownCounter('otel.sdk.processor.span.queue.capacity').add(1)
  meter.createCounter('other').add(1, { 'error.type': 'x' })
  meter.createCounter('otel.sdk.processor.span.processed').add(1)
  t.same(lines, [])
  meter.createCounter('otel.sdk.processor.span.processed').add(1, { 'error.type': 'queue_full' })
  t.match(lines, [{ event: 'spans.not_exported', reason: 'queue_full' }])
})

t.test('OTEL_TRACES_SAMPLER decides which requests are traced; parentbased_… follow the client', async (t) => {
  const traceId = 'f'.repeat(8) + '0'.repeat(24)
  const decide = (name: string, ratio = 1, parent = ROOT_CONTEXT): number =>
    createSampler(name, ratio).shouldSample(parent, traceId, 'x', 1, {}, []).decision
  const withParent = (traceFlags: number) =>
    trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId: 'f'.repeat(16), traceFlags, isRemote: true })
  const [never, always] = [0, 2]
  t.equal(decide('always_on'), always)
  t.equal(decide('always_off'), never)
  t.equal(decide('traceidratio', 0.5), never)
  t.equal(decide('traceidratio', 1), always)
  t.equal(decide('parentbased_always_on'), always)
  t.equal(decide('parentbased_always_off'), never)
  t.equal(decide('parentbased_traceidratio', 0), never)
  t.equal(decide('parentbased_always_on', 1, withParent(0)), never)
  t.equal(decide('parentbased_always_off', 1, withParent(1)), always)
  t.equal(decide('always_on', 1, withParent(0)), always)
})
