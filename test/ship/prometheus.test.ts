import { readFile, writeFile } from 'node:fs/promises'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { getTokens, post, refresh } from '../support/broker.ts'
import { freePort } from '../support/free-port.ts'
import { emptyFolder, startCommand, startServerProcess } from '../support/process.ts'
import { initialize } from '../support/mcp.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { ROOT } from '../support/root.ts'
import { modernRequest, ping, postMcp, ready } from '../support/seed.ts'
import { until } from '../support/until.ts'

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

t.test('the dashboard and the alerts find what two replicas export', { timeout: 150_000 }, async (t) => {
  if (lacksPrometheus(t)) return
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const redirectUris: string[] = []
  const provider = await startDevProvider({ algorithm: 'ES256', fixedRedirectUris: redirectUris })
  t.teardown(async () => { await provider.close() })
  const ports = [await freePort(), await freePort()]
  const servers = await Promise.all(ports.map(async (port) => await startServerProcess(t, {
    OAUTH_MODE: 'broker',
    SEED_SECRET: 'the secret of two replicas that are scraped',
    OIDC_ISSUER: provider.issuer,
    OIDC_AUDIENCE: provider.clientId,
    REDIS_URL: redis.url,
    METRICS_PORT: String(port),
    OAUTH_LIMIT_PER_CLIENT: '4',
    OAUTH_CLIENTS: JSON.stringify([{
      client_id: 'nightly', client_secret: 'a secret of the nightly job', grant_types: ['client_credentials']
    }])
  })))
  redirectUris.push(...servers.map(({ url }) => `${url}/oauth/callback`))

  const folder = await emptyFolder(t)
  const config = join(folder, 'prometheus.yml')
  await writeFile(config, JSON.stringify({
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [RULES],
    scrape_configs: [{ job_name: 'seed', static_configs: [{ targets: ports.map((port) => `127.0.0.1:${port}`) }] }]
  }))
  await run('/usr/bin/promtool', ['check', 'config', config])
  await run('/usr/bin/promtool', ['check', 'config', '--syntax-only', join(ROOT, 'deploy/prometheus/prometheus.yml')])
  const port = await freePort()
  const prometheus = startCommand(t, '/usr/bin/prometheus', [
    `--config.file=${config}`, `--storage.tsdb.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`
  ], {}, folder)
  await prometheus.printed(/Server is ready/)

  const api = async (path: string): Promise<any> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)
    const { status, data, error } = await response.json() as { status: string, data: unknown, error?: string }
    if (status !== 'success') throw new Error(`${path}: ${error}`)
    return data
  }
  type Series = Array<{ metric: Record<string, string>, value: [number, string] }>
  const query = async (expression: string): Promise<Series> =>
    (await api(`query?query=${encodeURIComponent(expression)}`)).result

  const accessTokens: string[] = []
  for (const server of servers) {
    await ready(server)
    const { clientId, accessToken, refreshToken } = await getTokens(server)
    accessTokens.push(accessToken)
    await refresh(server.url, clientId, refreshToken)
    for (let round = 0; round < 6; round++) await refresh(server.url, clientId, 'made.up')
    for (const secret of ['a secret of the nightly job', 'another secret than it has']) {
      await post(`${server.url}/oauth/token`, { grant_type: 'client_credentials' }, {
        authorization: `Basic ${Buffer.from(`nightly:${encodeURIComponent(secret)}`).toString('base64')}`
      })
    }
    await ping(server.url)
    await ping(server.url, accessToken)
    await postMcp(server, modernRequest('tools/call', { name: 'seed_ping', arguments: { wrong: 1 } }), accessToken)
    await fetch(`${server.url}/oauth/callback?state=of-no-sign-in&code=x`)
  }
  const isScraped = async (): Promise<boolean> => (await query('seed_limits_hit_total > 0')).length >= 2
  await until(isScraped, 'both replicas are scraped')
  t.same((await query('up{job="seed"}')).map(({ value }) => value[1]), ['1', '1'])

  const funnel = await query('sum by (seed_step) (seed_sign_in_steps_total{seed_outcome="ok"})')
  t.same(Object.fromEntries(funnel.map(({ metric, value }) => [metric['seed_step'], value[1]])), {
    authorize: '2', consent: '2', callback: '2', token: '2', call: '2'
  }, 'the funnel of both sign-ins, from the first request to the first call')

  const dashboard = JSON.parse(await readFile(join(ROOT, 'deploy/grafana/seed.json'), 'utf8')) as {
    panels: Array<{ title: string, targets?: Array<{ expr: string }> }>
  }
  const ofDashboard = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({
    name: title, expression: expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', '.+')
  })))
  const { groups } = await api('rules') as { groups: Array<{ rules: Array<{ name: string, query: string, health: string, lastError?: string }> }> }
  const alerts = groups.flatMap(({ rules }) => rules)
  t.ok(alerts.length >= 10, 'Prometheus has the alerts')
  for (const { name, health, lastError } of alerts) t.not(health, 'err', `${name}: ${lastError}`)
  t.ok(ofDashboard.length >= 20)

  const ofAlerts = alerts.map((rule) => ({ name: rule.name, expression: rule.query }))
  for (const { name, expression } of [...ofDashboard, ...ofAlerts]) {
    await query(expression)
    for (const { metric, labels } of selectorsOf(expression)) {
      const [series] = await query(metric)
      t.ok(series !== undefined, `${name}: ${metric} is exported`)
      const all = await query(metric)
      for (const label of labels) t.ok(all.some((one) => label in one.metric), `${name}: ${metric} has ${label}`)
    }
  }
  const showsSomething = async ({ name, expression }: { name: string, expression: string }): Promise<void> => {
    const unconditional = withoutConditions(expression)
    await until(async () => (await query(unconditional)).length > 0, `${name} shows something: ${unconditional}`)
  }
  const [ofServerErrors, others] = [true, false]
    .map((isOfErrors) => [...ofDashboard, ...ofAlerts].filter(({ expression }) => expression.includes('"5.."') === isOfErrors))
  for (const one of others!) await showsSomething(one)

  await redis.kill('SIGKILL')
  await ping(servers[0]!.url, 'x.y.z')
  const isAlert = async (name: string): Promise<boolean> =>
    (await api('alerts') as { alerts: Array<{ labels: { alertname: string } }> }).alerts
      .some(({ labels }) => labels.alertname === name)
  const noticeOutage = async (): Promise<boolean> => {
    const { status } = await postMcp(servers[0]!, { body: JSON.stringify(initialize()), headers: {} }, accessTokens[0])
    t.equal(status, 503)
    return await isAlert('SeedStoreUnavailable')
  }
  await until(noticeOutage, 'the alert of a store that is away is pending')
  for (const one of ofServerErrors!) await showsSomething(one)
})
