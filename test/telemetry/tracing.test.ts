import { trace } from '@opentelemetry/api'
import t from 'tap'
import type { Test } from 'tap'
import { StoreUnavailableError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'
import type { TracedRequest, TracedResponse } from '../../src/telemetry/mcp-spans.ts'
import { startTracing } from '../../src/telemetry/tracing.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'

const REQUEST = { id: 'r', method: 'POST', route: undefined, scheme: 'http', headers: {} }

async function start (t: Test) {
  const receiver = await startOtlpReceiver(t)
  const ignore = (): void => {}
  const log = { info: ignore, warn: ignore, error: ignore }
  const endpoint = `${receiver.url}/v1/traces`
  const tracing = startTracing({
    version: '1.0.0', endpoint, sampler: 'always_on', ratio: 1, log, onLost: undefined, closeMs: 60_000
  })
  return { receiver, tracing }
}

t.test('what a request asks of Redis has spans with the operation alone, and nothing else has', async (t) => {
  const { receiver, tracing } = await start(t)
  const redis = new Proxy({ kind: 'redis' }, {
    get: (target, name) => name === 'kind'
      ? target.kind
      : async (key: string) => {
        if (key === 'away') throw new StoreUnavailableError()
        return 'secret value'
      }
  }) as unknown as Store
  const memory = { kind: 'memory' } as Store
  t.equal(tracing.traceStore(memory), memory)
  const store = tracing.traceStore(redis)
  await store.get('code:8d7a2e')
  const span = tracing.beginRequest({ ...REQUEST, method: 'BREW' })
  const done: Array<Promise<unknown>> = []
  span.run(() => { done.push(store.get('code:8d7a2e'), store.take('away').catch(() => {})) })
  await Promise.all(done)
  span.end(503)
  await tracing.close()
  t.same(receiver.spans.map(({ name, failed }) => [name, failed]), [['get', false], ['take', true], ['_OTHER', true]])
  t.same(receiver.spans[0]!.attributes, { 'db.system.name': 'redis', 'db.operation.name': 'get' })
  t.equal(receiver.spans[0]!.parentSpanId, receiver.spans[2]!.spanId)
  t.notMatch(receiver.received(), /8d7a2e|secret value/)
})

t.test('a message is failed by the error of its response, or by its status', async (t) => {
  const { receiver, tracing } = await start(t)
  const send = (response: () => TracedResponse, method = 'ping', id: unknown = 'x'.repeat(100)): void => {
    const params = { _meta: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' } }
    const request: TracedRequest = { method: 'POST', headers: {}, body: { id, method, params } }
    const engine = tracing.traceEngine({ handle: (_request: TracedRequest) => response() })
    t.ok(engine.handle(request))
  }
  send(() => ({ status: 200, body: '{"result":{"error":"none"}}' }))
  send(() => ({ status: 200, body: '{"error":{"code":-32601,"message":"secret"}}' }))
  send(() => ({ status: 499, body: null }), 'made/up', null)
  send(() => ({ status: 503, body: null }), 'made/up', null)
  t.throws(() => { send(() => { throw new Error('secret') }) }, /secret/)
  t.throws(() => { send(() => { throw Object.assign(new Error('secret'), { statusCode: 429 }) }) }, /secret/)
  let end = (): void => {}
  send(() => ({ status: 200, body: null, stream: { onEnd (listener) { end = listener } } }))
  await tracing.runInBackground(async () => {})
  end()
  await tracing.close()
  t.same(receiver.spans.map(({ name, attributes }) => [name, attributes['error.type'], attributes['jsonrpc.request.id']]), [
    ['ping', undefined, 'x'.repeat(64)],
    ['ping', '-32601', 'x'.repeat(64)],
    ['_OTHER', 'cancelled', undefined],
    ['_OTHER', '503', undefined],
    ['ping', '500', 'x'.repeat(64)],
    ['ping', '429', 'x'.repeat(64)],
    ['ping', undefined, 'x'.repeat(64)]
  ])
  t.notMatch(receiver.received(), 'secret')
})

t.test('batches, responses of clients and GET have no span of a message', async (t) => {
  const { receiver, tracing } = await start(t)
  const handle = (_request: TracedRequest): TracedResponse => ({ status: 202, body: null })
  const engine = tracing.traceEngine({ handle })
  const requests = [
    { method: 'POST', headers: {}, body: [{ id: 1, method: 'ping' }] },
    { method: 'POST', headers: {}, body: { id: 1, result: {} } },
    { method: 'GET', headers: {}, body: undefined }
  ]
  for (const request of requests) {
    t.match(await engine.handle(request), { status: 202 })
    tracing.callEnded({ request, method: 'tools/call', name: 'x', outcome: 'ok' })
  }
  await tracing.close()
  t.same(receiver.spans, [])
})

t.test('an SDK of OpenTelemetry that was there before stays', async (t) => {
  const first = await start(t)
  const second = await start(t)
  await second.tracing.close()
  trace.getTracer('author').startSpan('work').end()
  await first.tracing.close()
  t.match(first.receiver.spans, [{ name: 'work' }])
  t.same(second.receiver.spans, [])
})
