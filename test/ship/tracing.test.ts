import { createServer } from 'node:http'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { BUNDLE, SERVER, emptyFolder, startServerProcess } from '../support/process.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { modernRequest, openSession, postMcp } from '../support/seed.ts'

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const TRACEPARENT = `00-${TRACE_ID}-b7ad6b7169203331-01`
/** The trace of the request right before SIGTERM. */
const LAST_TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736'
const LAST_TRACEPARENT = `00-${LAST_TRACE_ID}-00f067aa0ba902b7-01`

t.test('SIGTERM sends the spans that are left: one trace from the client through Seed and its Redis to another service', async (t) => {
  const redis = await ownRedisForTests(t)
  if (redis === undefined) return
  const receiver = await startOtlpReceiver(t)
  const traceparents: unknown[] = []
  const service = createServer(({ headers }, response) => {
    traceparents.push(headers['traceparent'])
    response.end('{}')
  })
  service.listen(0, '127.0.0.1')
  await once(service, 'listening')
  t.teardown(() => { service.close() })
  const folder = await emptyFolder(t)
  const extension = join(folder, 'look-up.mjs')
  await writeFile(extension, `import { defineTool } from 'seed-mcp-server'
export default defineTool({
  name: 'look_up', description: 'Asks another service', input: { type: 'object' },
  handler: async () => await (await fetch('http://127.0.0.1:${(service.address() as AddressInfo).port}/')).text()
})`)
  const server = await startServerProcess(t, {
    AUTH_REQUIRED: 'false',
    REDIS_URL: redis.url,
    SEED_SECRET: 'the secret of a server that is traced',
    SEED_EXTENSIONS: extension,
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-collector-key=8d7a2e',
    OTEL_SERVICE_NAME: 'tickets',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test'
  })
  const { body, headers } = modernRequest('tools/call', { name: 'look_up', arguments: {} })
  const traced = { ...headers, traceparent: TRACEPARENT }
  t.match(await postMcp(server, { body, headers: traced }), { status: 200, body: { result: { content: [{ text: '{}' }] } } })
  const session = await openSession(server)
  t.equal((await postMcp(server, session.request('tools/list'))).status, 200)
  const named = (name: string, traceId = TRACE_ID) =>
    receiver.spans.find((span) => span.name === name && span.traceId === traceId)
  await until(() => receiver.spans.some(({ name }) => name === 'tools/list'), 'the spans are sent in the background')
  t.equal((await postMcp(server, { body, headers: { ...headers, traceparent: LAST_TRACEPARENT } })).status, 200)
  server.child.kill('SIGTERM')
  t.same(await server.ended, { code: 0, signal: null }, await server.output())
  await until(() => named('POST /mcp', LAST_TRACE_ID) !== undefined, 'the last spans arrive')

  const chain = ['POST /mcp', 'tools/call look_up', 'execute_tool look_up', 'GET'].map((name) => named(name))
  t.same(chain.map((span) => span?.parentSpanId), ['b7ad6b7169203331', ...chain.slice(0, 3).map((span) => span?.spanId)])
  t.equal(traceparents.length, 2)
  t.equal(traceparents[0], `00-${TRACE_ID}-${chain[3]!.spanId}-01`)
  const stored = receiver.spans.filter(({ attributes }) => attributes['db.system.name'] === 'redis')
  t.ok(stored.length > 0 && stored.every(({ parentSpanId }) => parentSpanId !== ''), 'the session is in Redis')
  t.match(receiver.resource, { 'service.name': 'tickets', 'deployment.environment.name': 'test' })
  t.equal(receiver.headers['x-collector-key'], '8d7a2e')
  t.notMatch(await server.output(), '8d7a2e')
})

t.test('what is loaded at the start has nothing of OpenTelemetry', async (t) => {
  const loaded = new Set<string>()
  const load = async (path: string): Promise<void> => {
    if (loaded.has(path)) return
    loaded.add(path)
    const text = await readFile(path, 'utf8')
    t.notMatch(text, /opentelemetry\.js\.api/, relative(BUNDLE, path))
    for (const [, name] of text.matchAll(/(?:from|import)"(\.[^"]+)"/g)) await load(join(dirname(path), name!))
  }
  await load(SERVER)
  t.ok(loaded.size > 5)
})
