import { readFile, writeFile } from 'node:fs/promises'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import type { DevProvider } from '../../dev/provider.ts'
import { getTokens, newRequest, post, refresh, register, toCallback } from '../support/broker.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { connectV1, connectV2 } from '../support/interactive-clients.ts'
import { createOAuthClient } from '../support/oauth-client.ts'
import { emptyFolder, startCommand, startServerProcess } from '../support/process.ts'
import { initialize } from '../support/mcp.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { ROOT } from '../support/root.ts'
import { startRoundRobin } from '../support/round-robin.ts'
import { modernRequest, ping, postMcp, ready, sendModern, subscribe } from '../support/seed.ts'
import { signInV1, signInV2 } from '../support/sign-in-clients.ts'
import { until } from '../support/until.ts'
import { ADD, startUpstream, writeMounts } from '../support/upstream.ts'

/** The shipped dashboard and alerts, with a real Prometheus that scrapes two replicas. */

const run = promisify(execFile)
const RULES = join(ROOT, 'deploy/prometheus/seed.rules.yml')

function lacksPrometheus (t: Test): boolean {
  if (existsSync('/usr/bin/prometheus')) return false
  const hint = 'no prometheus: apt-get install prometheus'
  if (process.env['CI']) t.fail(hint)
  else t.plan(0, hint)
  return true
}

/** Names of metrics in an expression, with the labels that it asks for. */
function selectorsOf (expression: string): Array<{ metric: string, labels: string[] }> {
  return [...expression.matchAll(/\b((?:seed|mcp|http|nodejs|process|v8js)_[a-z0-9_]+)(?:\{([^}]*)\})?/g)]
    .filter(([, metric, labels]) => labels !== undefined || /_(total|seconds|bytes|count|bucket|up|info|open|running|sessions)$/.test(metric!))
    .map(([, metric, labels = '']) => ({ metric: metric!, labels: [...labels.matchAll(/(\w+)\s*[=!]/g)].map(([, name]) => name!) }))
}

/** An alert's expression that has a value for each series, whether the alert would fire or not. */
function withoutConditions (expression: string): string {
  return expression.replaceAll(/(==|>=|>)(?= )/g, '$1 bool')
}

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const COMPANY_APP = { client_id: 'company-app', client_secret: 'the secret of the company app' }
const SERVICE = { client_id: 'nightly-job', client_secret: 'the secret of the nightly job' }

const EXTENSION = `import { ToolError, defineTool } from 'seed-mcp-server'
export const askForm = defineTool({
  name: 'ask_form', description: 'Asks for a name and a number', input: { type: 'object' },
  async handler (_input, { elicit }) {
    const answer = await elicit('Who are you?', {
      type: 'object', properties: { name: { type: 'string' }, age: { type: 'integer' } }, required: ['name', 'age']
    })
    return answer.action === 'accept' ? answer.content.name + ' is ' + answer.content.age : answer.action
  }
})
export const count = defineTool({
  name: 'count', description: 'Counts, telling of each step', input: { type: 'object' },
  async handler (_input, { progress }) {
    for (let step = 1; step <= 3; step++) {
      await progress(step, 3)
      await new Promise((resolve) => { setTimeout(resolve, 20) })
    }
    return 'Counted to 3'
  }
})
export const refuses = defineTool({
  name: 'refuses', description: 'Refuses', input: { type: 'object' },
  handler () { throw new ToolError('not today') }
})`

/** BASE_URL of two replicas, and their provider. */
interface Cluster {
  url: string
  provider: DevProvider
}

/** What the flow tests do, with their clients. Each request goes to the next replica. */
const FLOWS: Record<string, (t: Test, cluster: Cluster) => Promise<void>> = {
  async 'clients of both SDKs sign in, list, call, and refresh by themselves, in both eras' (t, { url }) {
    for (const connect of [signInV1, signInV2('auto'), signInV2('legacy')]) {
      const oauth = createOAuthClient()
      const client = await connect(t, new URL(`${url}/mcp`), oauth)
      t.ok((await client.listTools()).includes('seed_ping'))
      t.match(await client.ping(), { caller: { subject: 'ada' } })
      oauth.spoilAccessToken()
      t.match(await client.ping(), { caller: { subject: 'ada' } })
      await client.close()
    }
  },

  async 'tools ask the person, tell of their progress, and fail' (t, cluster) {
    for (const connect of [connectV1, connectV2('auto')]) {
      const token = async (): Promise<string> => (await getTokens(cluster)).accessToken
      const client = await connect(t, { url: cluster.url, token }, fetch)
      t.equal(await client.call('ask_form'), 'Ada is 36')
      const steps: number[] = []
      t.equal(await client.call('count', {}, { onprogress: ({ progress }) => { steps.push(progress) } }), 'Counted to 3')
      t.same(steps, [1, 2, 3])
      t.equal(await client.call('refuses'), 'error: not today')
      await client.close()
    }
  },

  async 'tools of a mounted server work, and fail' (t, cluster) {
    const token = async (): Promise<string> => (await getTokens(cluster)).accessToken
    const client = await connectV2('auto')(t, { url: cluster.url, token }, fetch)
    t.equal(await client.call('calc_add', { a: 1 }), '{"a":1}')
    t.match(await client.call('calc_sub'), /^error: /)
    await client.close()
  },

  async 'arguments, names and methods that there are not' (t, cluster) {
    const { accessToken } = await getTokens(cluster)
    for (const [method, params] of [
      ['tools/call', { name: 'seed_ping', arguments: { wrong: 1 } }], ['tools/call', { name: 'made-up', arguments: {} }],
      ['made/up', {}]
    ] as const) t.ok((await sendModern(cluster.url, modernRequest(method, params), accessToken)).ok === (method !== 'made/up'))
  },

  async 'people change their minds: a refusal, a revocation, a spent refresh token' (t, cluster) {
    const { url } = cluster
    const browser = createBrowser()
    const page = await browser.get(newRequest(cluster, await register(url)).url)
    const denied = await browser.submit(page.forms[0]!, { decision: 'deny' }, ({ port }) => port === '53217')
    t.equal(denied.url.searchParams.get('error'), 'access_denied')
    const { clientId, accessToken, refreshToken } = await getTokens(cluster)
    t.equal((await refresh(url, clientId, refreshToken)).statusCode, 200)
    t.equal((await post(`${url}/oauth/revoke`, { client_id: clientId, token: accessToken })).statusCode, 200)
    t.equal((await ping(url, accessToken)).status, 401)
    t.equal((await refresh(url, clientId, refreshToken)).statusCode, 400)
  },

  async 'sign-ins that break: an unknown client, another browser, another code' (t, cluster) {
    const { url } = cluster
    t.equal((await fetch(newRequest(cluster, `seed-${'A'.repeat(24)}`).url)).status, 400)
    t.equal((await fetch((await toCallback(cluster)).callback)).status, 403)
    const { browser, callback } = await toCallback(cluster)
    callback.searchParams.set('code', 'another')
    t.match(await browser.get(callback), { status: 400 })
    const { clientId } = await getTokens(cluster)
    t.match(await post(`${url}/oauth/token`, {
      grant_type: 'authorization_code', client_id: clientId, code: 'made-up', code_verifier: 'v'.repeat(43)
    }), { statusCode: 400 })
  },

  async 'a service without a person' (t, { url }) {
    const { json } = await post(`${url}/oauth/token`, { grant_type: 'client_credentials', ...SERVICE })
    t.equal((await ping(url, String(json['access_token']))).status, 200)
    t.match(await post(`${url}/oauth/token`, { grant_type: 'client_credentials', ...SERVICE, client_secret: 'wrong' }),
      { statusCode: 401 })
  },

  async 'an application of the company, with ID-JAGs of its provider' (t, { url, provider }) {
    const seconds = Math.floor(Date.now() / 1_000)
    for (const [aud, statusCode] of [[url, 200], ['https://other.example', 400]] as const) {
      const assertion = await provider.mint({
        aud, client_id: COMPANY_APP.client_id, resource: `${url}/mcp`, jti: randomUUID(), iat: seconds, exp: seconds + 60
      }, { typ: 'oauth-id-jag+jwt' })
      const answer = await post(`${url}/oauth/token`, { grant_type: JWT_BEARER, assertion, ...COMPANY_APP })
      t.match(answer, { statusCode })
    }
  },

  async 'the provider is down when a person comes back, and when a client refreshes' (t, cluster) {
    const { clientId, refreshToken } = await getTokens(cluster)
    const { browser, callback } = await toCallback(cluster)
    await cluster.provider.stop()
    t.match(await browser.get(callback), { status: 503 })
    t.match(await refresh(cluster.url, clientId, refreshToken), { statusCode: 503 })
    await cluster.provider.start()
    await getTokens(cluster)
  }
}

/** Values of a label that an expression must show, or the smallest number of its series. */
type Shown = { label: string, values: string[] } | { series: number }

const PER_REPLICA: Shown = { series: 2 }
const ONE: Shown = { series: 1 }
/** What each panel and alert shows after the flows: [by its title, or the name of the alert]. */
const SHOWN: Record<string, Shown> = {
  Replicas: PER_REPLICA,
  'Requests by status': { label: 'http_response_status_code', values: ['200', '303', '400', '401', '403', '429', '503'] },
  'Event loop delay, p99': PER_REPLICA,
  'Memory and CPU': PER_REPLICA,
  CPU: PER_REPLICA,
  'Calls by method': { label: 'mcp_method_name', values: ['initialize', 'tools/list', 'tools/call', '_OTHER'] },
  'Tools: p95': { label: 'gen_ai_tool_name', values: ['seed_ping', 'ask_form', 'count', 'refuses'] },
  'Tools: errors': { label: 'error_type', values: ['tool_error', 'refused'] },
  'Limits hit': { label: 'seed_setting', values: ['MCP_LIMIT_REFUSED'] },
  'Sign-ins by step': { label: 'seed_step', values: ['authorize', 'consent', 'callback', 'token', 'call'] },
  'Sign-ins that failed': { label: 'seed_step', values: ['authorize', 'consent', 'callback', 'token'] },
  'Refreshes by outcome': { label: 'seed_outcome', values: ['ok', 'invalid_grant', 'temporarily_unavailable'] },
  'Refusals by reason': { label: 'seed_reason', values: ['missing_token', 'invalid_client', 'access_denied'] },
  'Tokens without a sign-in, by outcome': { label: 'seed_grant_type', values: ['client_credentials', 'jwt-bearer'] },
  'Spans that the collector has not taken': PER_REPLICA,
  'Provider: p95': { label: 'seed_outcome', values: ['ok', 'unreachable'] },
  'Store: p99 by operation': { label: 'db_operation_name', values: ['get', 'set', 'take', 'compareAndSet'] },
  'Mounted servers: connected': { label: 'seed_mount', values: ['calc'] },
  'Mounted servers: p95 by outcome': { label: 'seed_outcome', values: ['ok', 'tool_error'] },
  'Mounted servers: hidden and refused offers': { label: 'seed_state', values: ['hidden', 'refused'] },
  'Mounted servers: calls refused': { label: 'seed_setting', values: ['maxConcurrentCalls', 'callsPerMinute'] },
  'Mounted servers: ended for their memory': { label: 'seed_mount', values: ['calc'] },
  SeedDown: PER_REPLICA,
  SeedMountUnavailable: PER_REPLICA,
  SeedMountOfferHidden: ONE,
  SeedMountMemoryExceeded: { label: 'seed_mount', values: ['calc'] },
  SeedMountCallsRefused: { label: 'seed_setting', values: ['maxConcurrentCalls', 'callsPerMinute'] },
  SeedStoreUnavailable: PER_REPLICA,
  SeedProviderUnavailable: PER_REPLICA,
  SeedProviderKeysOld: PER_REPLICA,
  SeedServerErrors: { series: 1 },
  SeedToolErrors: { label: 'gen_ai_tool_name', values: ['refuses'] },
  SeedTokensRefused: { label: 'seed_grant_type', values: ['client_credentials', 'jwt-bearer'] },
  SeedSpansLost: PER_REPLICA,
  SeedLimitsHit: { label: 'seed_setting', values: ['MCP_LIMIT_REFUSED'] },
  SeedEventLoopBlocked: PER_REPLICA
}

type Series = Array<{ metric: Record<string, string>, value: [number, string] }>

interface Prometheus {
  api (path: string): Promise<any>
  query (expression: string): Promise<Series>
}

async function startPrometheus (t: Test, targets: string[]): Promise<Prometheus> {
  const folder = await emptyFolder(t)
  const config = join(folder, 'prometheus.yml')
  await writeFile(config, JSON.stringify({
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [RULES],
    scrape_configs: [{ job_name: 'seed', static_configs: [{ targets }] }]
  }))
  await run('/usr/bin/promtool', ['check', 'config', config])
  await run('/usr/bin/promtool', ['check', 'config', '--syntax-only', join(ROOT, 'deploy/prometheus/prometheus.yml')])
  const port = await freePort()
  const prometheus = startCommand(t, '/usr/bin/prometheus', [
    `--config.file=${config}`, `--storage.tsdb.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`
  ], {}, folder)
  await prometheus.printed(/Server is ready/)

  async function api (path: string): Promise<any> {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)
    const { status, data, error } = await response.json() as { status: string, data: unknown, error?: string }
    if (status !== 'success') throw new Error(`${path}: ${error}`)
    return data
  }
  return { api, query: async (expression) => (await api(`query?query=${encodeURIComponent(expression)}`)).result }
}

interface Expression {
  name: string
  expression: string
}

async function readDashboard (): Promise<Expression[]> {
  const { panels } = JSON.parse(await readFile(join(ROOT, 'deploy/grafana/seed.json'), 'utf8')) as {
    panels: Array<{ title: string, targets?: Array<{ expr: string }> }>
  }
  return panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({
    name: title, expression: expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', '.+')
  })))
}

async function readAlerts (t: Test, { api }: Prometheus): Promise<Expression[]> {
  const { groups } = await api('rules') as {
    groups: Array<{ rules: Array<{ name: string, query: string, health: string, lastError?: string }> }>
  }
  const rules = groups.flatMap(({ rules }) => rules)
  t.ok(rules.length >= 10, 'Prometheus has the alerts')
  for (const { name, health, lastError } of rules) t.not(health, 'err', `${name}: ${lastError}`)
  return rules.map(({ name, query }) => ({ name, expression: query }))
}

/** Finds what panels and alerts do not show (SHOWN). */
async function findMissing ({ query }: Prometheus, expressions: Expression[]): Promise<object[]> {
  const missing: object[] = []
  for (const { name, expression } of expressions) {
    const shown = SHOWN[name] ?? ONE
    const series = await query(withoutConditions(expression))
    if ('series' in shown) {
      if (series.length < shown.series) missing.push({ name, ...shown, found: series.length })
    } else {
      const found = new Set(series.map(({ metric }) => metric[shown.label]))
      const values = shown.values.filter((value) => !found.has(value))
      if (values.length > 0) missing.push({ name, values, found: [...found] })
    }
  }
  return missing
}

t.test('while two replicas run the flows of the flow tests, each panel and alert shows them', { timeout: 300_000 }, async (t) => {
  if (lacksPrometheus(t)) return
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const redirectUris: string[] = []
  const provider = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: redirectUris })
  t.teardown(async () => { await provider.close() })
  const extension = join(await emptyFolder(t), 'tools.mjs')
  await writeFile(extension, EXTENSION)
  const upstream = await startUpstream(t)
  upstream.tools.push({ ...ADD, name: 'sub' })
  const { call } = upstream
  upstream.call = (name, args, context) =>
    name === 'sub' ? { isError: true, content: [{ type: 'text', text: 'no' }] } : call(name, args, context)
  const mounts = await writeMounts({ calc: { url: upstream.url } })
  const metricsPorts = [await freePort(), await freePort()]
  const ports: number[] = []
  const { url } = await startRoundRobin(t, ports)
  redirectUris.push(`${url}/oauth/callback`)
  const servers = await Promise.all(metricsPorts.map(async (port) => await startServerProcess(t, {
    BASE_URL: url,
    ALLOWED_HOSTS: '127.0.0.1',
    OAUTH_MODE: 'broker',
    SEED_SECRET: 'the secret of two replicas that are scraped',
    OIDC_ISSUER: provider.issuer,
    OIDC_AUDIENCE: provider.clientId,
    REDIS_URL: redis.url,
    METRICS_PORT: String(port),
    SEED_EXTENSIONS: extension,
    SEED_MOUNTS: mounts,
    ENTERPRISE_AUTHORIZATION: 'also',
    OAUTH_CLIENTS: JSON.stringify([
      { ...SERVICE, grant_types: ['client_credentials'], token_endpoint_auth_method: 'client_secret_post' },
      { ...COMPANY_APP, grant_types: [JWT_BEARER], token_endpoint_auth_method: 'client_secret_post' }
    ]),
    OAUTH_LIMIT_PER_ADDRESS: '100000',
    DCR_LIMIT_PER_ADDRESS: '100000'
  })))
  ports.push(...servers.map((server) => Number(new URL(server.url).port)))
  for (const server of servers) await ready(server)

  const prometheus = await startPrometheus(t, metricsPorts.map((port) => `127.0.0.1:${port}`))
  const { api, query } = prometheus
  const isScraped = async (): Promise<boolean> =>
    (await query('up{job="seed"}')).filter(({ value }) => value[1] === '1').length === 2
  await until(isScraped, 'both replicas are scraped')

  // A session and a subscription stay open, and what is counted from the second round on has grown since a scrape.
  const cluster = { url, provider }
  const { clientId, accessToken, refreshToken } = await getTokens(cluster)
  const stream = await subscribe(url, accessToken)
  t.teardown(async () => { await stream.body!.cancel() })
  const openSession = async (): Promise<number> =>
    (await postMcp(cluster, { body: JSON.stringify(initialize()), headers: {} }, accessToken)).status
  t.equal(await openSession(), 200)
  for (const round of ['first', 'second']) {
    for (const [name, flow] of Object.entries(FLOWS)) {
      await t.test(`${name}, ${round} time`, async (t) => { await flow(t, cluster) })
    }
  }

  // The first of these replies are 401. Sent to the end: what is counted must grow between two scrapes.
  const isLimited = async (): Promise<boolean> => {
    for (let sent = 0; sent < 20; sent++) await ping(url, 'x.y.z')
    return (await query('sum(rate(seed_limits_hit_total[1m])) > 0')).length > 0
  }
  await until(isLimited, 'a limit stops whoever tries tokens')

  const ofDashboard = await readDashboard()
  t.ok(ofDashboard.length >= 20)
  const all = [...ofDashboard, ...await readAlerts(t, prometheus)]
  t.same(Object.keys(SHOWN).filter((name) => !all.some((one) => one.name === name)), [], 'the panels and alerts of this test')

  for (const { name, expression } of all) {
    for (const { metric, labels } of selectorsOf(expression)) {
      const exported = await query(metric)
      t.ok(exported.length > 0, `${name}: ${metric} is exported`)
      for (const label of labels) t.ok(exported.some((one) => label in one.metric), `${name}: ${metric} has ${label}`)
    }
  }
  await t.resolves(until(async () => (await findMissing(prometheus, all)).length === 0, 'all is shown'))
  t.same(await findMissing(prometheus, all), [], 'each panel and alert shows the flows')
  const above = async (expression: string): Promise<boolean> => (await query(`${expression} > 0`)).length > 0
  for (const expression of [
    'max(seed_sessions)', 'sum(seed_streams_open)', 'max(increase(seed_revocations_total[1m]))',
    'sum(rate(mcp_server_operation_duration_seconds_count{gen_ai_tool_name="ask_form"}[1m]))'
  ]) await until(async () => await above(expression), `${expression} is above 0`)

  const isPending = async (name: string): Promise<boolean> =>
    (await api('alerts') as { alerts: Array<{ labels: { alertname: string } }> }).alerts
      .some(({ labels }) => labels.alertname === name)
  await provider.stop()
  const noticeProvider = async (): Promise<boolean> => {
    await refresh(url, clientId, refreshToken)
    return await isPending('SeedProviderUnavailable')
  }
  await until(noticeProvider, 'the alert of a provider that is away is pending')
  await redis.kill('SIGKILL')
  const noticeOutage = async (): Promise<boolean> => {
    t.equal(await openSession(), 503)
    return await isPending('SeedStoreUnavailable')
  }
  await until(noticeOutage, 'the alert of a store that is away is pending')
  servers[0]!.child.kill('SIGKILL')
  await until(async () => await isPending('SeedDown'), 'the alert of a replica that is down is pending')
})
