import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { startOpenServer } from '../support/open-server.ts'
import { runCommand } from '../support/run-command.ts'
import { until } from '../support/until.ts'
import { ADD, startUpstream, writeMounts } from '../support/upstream.ts'

/** Returns the samples of mounted servers, by name and labels without those of the replica. */
async function scrape (port: string): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const lines = text.split('\n').filter((line) => line.startsWith('seed_mount_') && !line.includes('_bucket'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]))
}

t.test('an operator sees which mounted server is away, how its requests end, and what is hidden', async (t) => {
  const upstream = await startUpstream(t)
  const refusing = await startUpstream(t)
  refusing.intercept = (_request, response) => {
    response.writeHead(403).end()
    return true
  }
  const SEED_MOUNTS = await writeMounts({
    away: { url: `http://127.0.0.1:${await freePort()}/mcp` },
    calc: { url: upstream.url, connectTimeoutSeconds: 60, resources: false, pin: { file: 'calc.json' } },
    shut: { url: refusing.url }
  })
  await runCommand(['mounts', 'accept', 'calc'], { AUTH_REQUIRED: 'false', SEED_MOUNTS })
  upstream.tools.push({ ...ADD, name: 'sub' })
  const METRICS_PORT = String(await freePort())
  const timings = { mountsWaitMs: 60_000, mountsRetryMs: 10 }
  const { send } = await startOpenServer(t, [], { SEED_MOUNTS, METRICS_PORT }, timings)

  const call = async (): Promise<unknown> => (await send('modern', 'tools/call', { name: 'calc_add', arguments: {} })).text
  t.match(await call(), /"content"/)
  upstream.call = () => ({ isError: true, content: [] })
  await call()
  upstream.call = () => { throw new Error('broken') }
  await call()
  upstream.intercept = ({ headers }, response) => {
    if (headers['mcp-method'] !== 'tools/call') return false
    response.writeHead(502).end()
    return true
  }
  t.match(await call(), /HTTP status 502/)

  const samples = await scrape(METRICS_PORT)
  const sample = (name: string, labels: string): number | undefined => samples.get(`${name}{${labels}}`)
  t.equal(sample('seed_mount_up', 'seed_mount="calc"'), 1)
  t.equal(sample('seed_mount_up', 'seed_mount="away"'), 0)
  for (const outcome of ['ok', 'tool_error', 'error', 'unavailable']) {
    t.equal(sample('seed_mount_request_duration_seconds_count', `seed_mount="calc",seed_outcome="${outcome}"`), 1, outcome)
  }
  t.equal(sample('seed_mount_offers', 'seed_mount="calc",seed_state="offered"'), 2)
  t.equal(sample('seed_mount_offers', 'seed_mount="calc",seed_state="hidden"'), 1)
  t.equal(sample('seed_mount_offers', 'seed_mount="calc",seed_state="refused"'), 0)
  t.equal(sample('seed_mount_connections_total', 'seed_mount="calc",seed_outcome="ok"'), 1)
  t.ok(sample('seed_mount_connections_total', 'seed_mount="away",seed_outcome="unavailable"')! >= 1)
  t.ok(sample('seed_mount_connections_total', 'seed_mount="shut",seed_outcome="refused"')! >= 1)
})

t.test('a call that the client cancels is counted as such', async (t) => {
  const upstream = await startUpstream(t)
  const SEED_MOUNTS = await writeMounts({ calc: { url: upstream.url, connectTimeoutSeconds: 60 } })
  const METRICS_PORT = String(await freePort())
  const { prepare, url } = await startOpenServer(t, [], { SEED_MOUNTS, METRICS_PORT }, { mountsWaitMs: 60_000 })
  let isCalled = false
  upstream.call = async () => {
    isCalled = true
    return await new Promise(() => {})
  }
  const { body, headers } = prepare('modern', 'tools/call', { name: 'calc_add', arguments: {} })
  const abort = new AbortController()
  const answer = fetch(`${url}/mcp`, { method: 'POST', body, headers, signal: abort.signal }).catch(() => {})
  await until(() => isCalled, 'the server is called')
  abort.abort()
  await answer
  await until(async () => (await scrape(METRICS_PORT))
    .get('seed_mount_request_duration_seconds_count{seed_mount="calc",seed_outcome="cancelled"}') === 1, 'it is counted')
})

t.test('a call whose time is up is one that the server has not answered', async (t) => {
  const upstream = await startUpstream(t)
  const SEED_MOUNTS = await writeMounts({ calc: { url: upstream.url, connectTimeoutSeconds: 60, timeoutSeconds: 1 } })
  const METRICS_PORT = String(await freePort())
  const { send } = await startOpenServer(t, [], { SEED_MOUNTS, METRICS_PORT }, { mountsWaitMs: 60_000 })
  upstream.call = async () => await new Promise(() => {})
  t.match((await send('modern', 'tools/call', { name: 'calc_add', arguments: {} })).text, 'did not finish within 1 second')
  await until(async () => (await scrape(METRICS_PORT))
    .get('seed_mount_request_duration_seconds_count{seed_mount="calc",seed_outcome="unavailable"}') === 1, 'it is counted')
})
