import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { StoreUnavailableError } from '../../src/store/store.ts'
import { createTelemetry } from '../../src/telemetry/telemetry.ts'
import { getTokens, post, refresh, register, startBroker } from '../support/broker.ts'
import { interactiveTools } from '../support/interactive-tools.ts'
import { startRawSession } from '../support/raw-client.ts'
import { modernRequest, ping, postMcp, sendModern, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

const SECRET = 'a secret of the nightly job'
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/** The port that Seed has logged. */
async function metricsUrl ({ logged }: TestSeed): Promise<string> {
  const { port } = await logged(({ msg }) => msg.startsWith('Metrics are exported'))
  return `http://127.0.0.1:${String(port)}/metrics`
}

/** The samples, each by its name and labels as Prometheus writes them. */
async function scrape (url: string): Promise<Map<string, number>> {
  const text = await (await fetch(url)).text()
  return new Map(text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => {
    const at = line.lastIndexOf(' ')
    return [line.slice(0, at), Number(line.slice(at + 1))]
  }))
}

t.test('metrics of sign-ins, calls, refusals, the provider and the store', async (t) => {
  const seed = await startBroker(t, {
    definitions: interactiveTools,
    env: {
      METRICS_PORT: '0',
      OAUTH_LIMIT_PER_CLIENT: '5',
      ENTERPRISE_AUTHORIZATION: 'also',
      OAUTH_CLIENTS: JSON.stringify([{
        client_id: 'nightly',
        client_secret: SECRET,
        token_endpoint_auth_method: 'client_secret_post',
        grant_types: ['client_credentials', JWT_BEARER]
      }])
    }
  })
  const url = await metricsUrl(seed)
  const tokens = await getTokens(seed)
  t.match(await refresh(seed.url, tokens.clientId, tokens.refreshToken), { statusCode: 200 })
  t.match(await refresh(seed.url, tokens.clientId, 'made.up'), { statusCode: 400 })
  await post(`${seed.url}/oauth/token`, { grant_type: 'password', client_id: tokens.clientId })
  const service = { client_id: 'nightly', client_secret: SECRET }
  await post(`${seed.url}/oauth/token`, { grant_type: 'client_credentials', ...service })
  await post(`${seed.url}/oauth/token`, { grant_type: 'client_credentials', ...service, client_secret: 'made up' })
  await post(`${seed.url}/oauth/token`, { grant_type: JWT_BEARER, assertion: 'made up', ...service })
  await fetch(`${seed.url}/oauth/authorize?client_id=${await register(seed.url)}&response_type=token`, { redirect: 'manual' })
  await fetch(`${seed.url}/oauth/callback?error=${'x'.repeat(100)}`)
  await fetch(`${seed.url}/nowhere`)
  t.equal((await ping(seed.url)).status, 401)
  t.equal((await ping(seed.url, tokens.accessToken)).status, 200)
  await postMcp(seed, modernRequest('tools/call', { name: 'count', arguments: {} }), tokens.accessToken)
  for (const name of ['made-up-1', 'made-up-2']) {
    await postMcp(seed, modernRequest('tools/call', { name, arguments: {} }), tokens.accessToken)
  }
  await sendModern(seed.url, modernRequest('tools/list'), tokens.accessToken)
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: {} } })
  const headers = { 'mcp-session-id': 'x'.repeat(32), 'mcp-protocol-version': '2025-11-25' }
  t.equal((await postMcp(seed, { body, headers }, tokens.accessToken)).status, 404)
  await sendModern(seed.url, modernRequest('made/up'), tokens.accessToken)
  const session = await startRawSession(seed.url, tokens.accessToken)
  const { events } = await session.get()
  for (let round = 0; round < 6; round++) await refresh(seed.url, tokens.clientId, 'made.up')

  let samples = await scrape(url)
  const value = (name: string, labels = ''): number | undefined => samples.get(labels === '' ? name : `${name}{${labels}}`)
  for (const step of ['authorize', 'consent', 'callback', 'token', 'call']) {
    t.equal(value('seed_sign_in_steps_total', `seed_step="${step}",seed_outcome="ok"`), 1, step)
  }
  t.match([...samples.keys()].join('\n'), /seed_sign_in_steps_total\{seed_step="authorize",seed_outcome="[a-z]+_[a-z_]+"\}/)
  t.equal(value('seed_token_requests_total', 'seed_grant_type="authorization_code",seed_outcome="ok"'), 1)
  t.equal(value('seed_token_requests_total', 'seed_grant_type="client_credentials",seed_outcome="ok"'), 1)
  t.equal(value('seed_token_requests_total', 'seed_grant_type="client_credentials",seed_outcome="invalid_client"'), 1)
  t.equal(value('seed_token_requests_total', 'seed_grant_type="jwt-bearer",seed_outcome="invalid_grant"'), 1)
  t.equal(value('seed_token_requests_total', 'seed_grant_type="_OTHER",seed_outcome="unsupported_grant_type"'), 1)
  t.equal(value('seed_refreshes_total', 'seed_outcome="ok"'), 1)
  t.ok(value('seed_refreshes_total', 'seed_outcome="invalid_grant"')! >= 1)
  t.equal(value('seed_refusals_total', 'http_route="/mcp/",seed_reason="missing_token"') ??
    value('seed_refusals_total', 'http_route="/mcp",seed_reason="missing_token"'), 1)
  t.ok(value('seed_limits_hit_total', 'seed_setting="OAUTH_LIMIT_PER_CLIENT"')! >= 1)
  t.equal(value('seed_revocations_total'), 0)
  t.equal(value('seed_streams_open'), 1)
  t.equal(value('seed_calls_running'), 0)
  t.equal(value('seed_sessions'), 1)
  t.equal(value('seed_store_up'), 1)
  t.equal(value('seed_provider_up'), 1)
  t.ok(value('seed_provider_keys_age_seconds')! >= 0)
  t.ok(value('seed_provider_request_duration_seconds_count', 'seed_outcome="ok"')! >= 3)
  t.ok(value('seed_store_operation_duration_seconds_count', 'db_operation_name="get",seed_outcome="ok"')! > 0)
  t.ok(value('nodejs_eventloop_delay_p99_seconds')! >= 0)
  t.ok(value('process_memory_usage_bytes')! > 0)
  t.ok(value('process_cpu_time_seconds_total', 'cpu_mode="user"')! > 0)
  const calls = 'mcp_server_operation_duration_seconds_count'
  t.equal(value(calls, 'mcp_method_name="tools/list"'), 1)
  t.equal(value(calls, 'mcp_method_name="tools/call",gen_ai_tool_name="seed_ping"'), 1)
  t.equal(value(calls, 'mcp_method_name="tools/call",gen_ai_tool_name="_OTHER",error_type="refused"'), 2)
  t.equal(value(calls, 'mcp_method_name="tools/call",gen_ai_tool_name="count",error_type="tool_error"'), 1)
  t.equal(value(calls, 'mcp_method_name="tools/call",error_type="404"'), 1, 'an unknown session')
  const names = [...samples.keys()].join('\n')
  t.notMatch(names, /made|x{20}/, 'nothing that a caller chose is a label')
  t.match(names, 'mcp_method_name="_OTHER"')
  const requests = [...samples].filter(([name]) => name.startsWith('http_server_request_duration_seconds_count'))
  t.ok(requests.length > 5)
  t.match(names, 'http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="404"}')

  await session.end()
  await events!.rest()
  t.equal((await post(`${seed.url}/oauth/revoke`, { client_id: tokens.clientId, token: tokens.accessToken })).statusCode, 200)
  samples = await scrape(url)
  t.equal(value('seed_revocations_total'), 1)
  t.equal(value('seed_streams_open'), 0)
})

t.test('the public port has no metrics, and the port of metrics nothing else', async (t) => {
  const seed = await startBroker(t, { env: { METRICS_PORT: '0' } })
  const url = await metricsUrl(seed)
  t.equal((await fetch(`${seed.url}/metrics`)).status, 404)
  t.equal((await fetch(url.replace('/metrics', '/mcp'))).status, 404)
  t.equal((await fetch(url, { method: 'POST', body: 'x' })).status, 404)
  await seed.app.close()
  await t.rejects(fetch(url), 'the port is closed with the server')
})

t.test('metrics are reachable from this machine only, wherever the server listens', async (t) => {
  for (const [env, address] of [
    [{ HOST: '0.0.0.0' }, '127.0.0.1'], [{ HOST: '0.0.0.0', METRICS_HOST: '0.0.0.0' }, '0.0.0.0']
  ] as const) {
    const { logged } = await startSeed(t, { env: { AUTH_REQUIRED: 'false', METRICS_PORT: '0', ...env } })
    t.match(await logged(({ msg }) => msg.startsWith('Metrics are exported')), { host: address })
  }
})

t.test('a port of metrics that cannot be had prevents the start, by the name of its setting', async (t) => {
  const { logged } = await startSeed(t, { env: { AUTH_REQUIRED: 'false', METRICS_PORT: '0' } })
  const { port } = await logged(({ msg }) => msg.startsWith('Metrics are exported'))
  const start = async (env: Record<string, string>) => await startSeed(t, { env: { AUTH_REQUIRED: 'false', ...env } })
  await t.rejects(start({ METRICS_PORT: String(port) }), /in use: stop what listens there, or set METRICS_PORT/)
  await t.rejects(start({ METRICS_PORT: '0', METRICS_HOST: '192.0.2.1' }), /no address "192\.0\.2\.1": set METRICS_HOST/)
})

t.test('without METRICS_PORT and OTEL_EXPORTER_OTLP_ENDPOINT nothing is measured', async (t) => {
  const { app } = await startSeed(t, { env: { AUTH_REQUIRED: 'false' } })
  t.equal(app.telemetry, undefined)
})

t.test('metrics are pushed to a collector by OTLP, at the latest when the server ends', async (t) => {
  const pushed: Array<{ path: string | undefined, type: string | undefined, body: Buffer }> = []
  const collector = createServer((request, response) => {
    buffer(request).then((body) => {
      pushed.push({ path: request.url, type: request.headers['content-type'], body })
      response.writeHead(200).end()
    }, t.error)
  })
  collector.listen(0, '127.0.0.1')
  await once(collector, 'listening')
  t.teardown(() => { collector.close() })
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/`
  const seed = await startSeed(t, {
    env: { AUTH_REQUIRED: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_EXPORTER: 'none' }
  })
  t.equal((await ping(seed.url)).status, 200)
  await seed.app.close()
  t.match(pushed, [{ path: '/v1/metrics', type: 'application/x-protobuf' }])
  for (const name of ['http.server.request.duration', 'seed.store.up', 'service.name']) {
    t.match(pushed[0]!.body.toString('latin1'), name)
  }
})

t.test('a collector that is away neither delays the end nor stops the server', async (t) => {
  const seed = await startSeed(t, { env: { AUTH_REQUIRED: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' } })
  t.equal((await ping(seed.url)).status, 200)
  const startedAt = performance.now()
  await seed.app.close()
  t.ok(performance.now() - startedAt < 10_000)
})

t.test('a store or provider that is away shows', async (t) => {
  const telemetry = createTelemetry('1.0.0')
  const read = async (name: string): Promise<unknown> => {
    const instrument = telemetry.instruments.find(({ about }) => about.name === name)!
    return instrument.kind === 'gauge' ? await instrument.readSeries() : instrument.series
  }
  t.same(await read('seed.store.up'), [], 'unknown before the first request')
  const away = new Proxy({}, { get: () => async () => { throw new StoreUnavailableError() } })
  const store = telemetry.watchStore(away as never)
  await t.rejects(store.get('x'), StoreUnavailableError)
  t.match(await read('seed.store.up'), [{ data: { value: 0 } }])
  t.same(await read('seed.sessions'), [])
  t.match(await read('seed.store.operation.duration'), [{ labels: { 'seed.outcome': 'unavailable' } }])
  telemetry.watchProvider(() => 'away', () => undefined)
  t.match(await read('seed.provider.up'), [{ data: { value: 0 } }])
  t.same(await read('seed.provider.keys.age'), [])
  telemetry.providerAnswered(5, true)
  t.match(await read('seed.provider.request.duration'), [{ labels: { 'seed.outcome': 'unreachable' } }])
})

t.test('denied sign-ins, prompts and limits that nobody knows are counted, and nothing of a URL is a label', async (t) => {
  const telemetry = createTelemetry('1.0.0')
  const read = (name: string): unknown => {
    const instrument = telemetry.instruments.find(({ about }) => about.name === name)!
    return instrument.kind === 'gauge' ? undefined : instrument.series.map(({ labels }) => labels)
  }
  const end = (request: Partial<Parameters<typeof telemetry.requestEnded>[0]>): void => {
    telemetry.requestEnded({ method: 'POST', route: '/mcp', status: 200, ms: 1, grantType: undefined, fields: {}, ...request })
  }
  end({ route: '/oauth/consent', fields: { decision: 'deny' } })
  end({ route: '/mcp/', fields: { mcpMethod: 'ping' } })
  end({ status: 429, fields: { error: 'temporarily_unavailable' } })
  telemetry.callEnded({ method: 'prompts/get', name: 'greet', outcome: 'ok', ms: 1 })
  telemetry.callEnded({ method: 'prompts/get', name: 'greet', outcome: 'error', ms: 1 })
  telemetry.callEnded({ method: 'resources/read', name: 'seed://secret', outcome: 'error', ms: 1 })
  t.same(read('seed.sign_in.steps'), [{ 'seed.step': 'consent', 'seed.outcome': 'denied' }])
  t.same(read('seed.limits.hit'), [{ 'seed.setting': '_OTHER' }])
  t.same(read('mcp.server.operation.duration'), [
    { 'mcp.method.name': 'ping' },
    { 'mcp.method.name': 'prompts/get', 'gen_ai.prompt.name': 'greet' },
    { 'mcp.method.name': 'prompts/get', 'gen_ai.prompt.name': 'greet', 'error.type': 'error' },
    { 'mcp.method.name': 'resources/read', 'error.type': 'error' }
  ])
})

t.test('calls are in the audit log and in the metrics, where both are on', async (t) => {
  const seed = await startSeed(t, { env: { AUTH_REQUIRED: 'false', METRICS_PORT: '0', AUDIT_LOG: 'stdout' } })
  t.equal((await ping(seed.url)).status, 200)
  t.ok(await seed.logged((line) => line['event'] === 'call' || line['target'] === 'seed_ping'))
  const samples = await scrape(await metricsUrl(seed))
  const calls = 'mcp_server_operation_duration_seconds_count{mcp_method_name="tools/call",gen_ai_tool_name="seed_ping"}'
  t.equal(samples.get(calls), 1)
})
