import t from 'tap'
import type { Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { SERVER_NAME } from '../support/nginx.ts'
import { lacksRedis, ownRedisForTests } from '../support/redis.ts'
import { modernRequest } from '../support/seed.ts'
import { createPlainClient } from '../support/sign-in.ts'
import { startTraffic } from '../support/traffic.ts'
import { until } from '../support/until.ts'
import { PROXIES } from './proxies/proxies.ts'
import type { RunningProxy } from './proxies/proxies.ts'
import { BASE_URL, startReplicaPair } from './proxies/replicas.ts'
import type { ReplicaPair } from './proxies/replicas.ts'

/** Two replicas in broker mode with an https BASE_URL behind each of the reverse proxies of deploy/, as they ship. */

const MODERN_CLIENTS = 1
const SESSION_CLIENTS = 1
/** The subjects of `startTraffic`. */
const LOGINS = ['modern-0', 'session-0']
const BODY_LIMIT = 1_048_576

for (const { name, shutdownDelaySeconds, start } of PROXIES) {
  t.test(name, async (t) => {
    if (lacksRedis(t)) return
    const ports: [number, number] = [await freePort(), await freePort()]
    const proxy = await start(t, ports)
    if (proxy === undefined) return
    const redis = await ownRedisForTests(t)
    const replicas = await startReplicaPair(t, ports, redis!.url, LOGINS, shutdownDelaySeconds)
    // One that checks its replicas in intervals has found none when it started.
    await until(
      async () => (await proxy.send('/.well-known/oauth-protected-resource')).status === 200, 'it has found a replica'
    )
    await checkSeed(t, proxy, replicas)
  })
}

async function checkSeed (t: Test, proxy: RunningProxy, replicas: ReplicaPair): Promise<void> {
  const tokens = new Map<string, string>()

  await t.test('clients register and people sign in through it, pages, cookies and redirects included', async (t) => {
    const client = await createPlainClient(BASE_URL, undefined, proxy.fetch)
    for (const login of LOGINS) {
      const browser = createBrowser({
        [BASE_URL]: { hostname: '127.0.0.1', port: proxy.port, ca: proxy.ca, servername: SERVER_NAME }
      })
      const page = await client.walk({ login, password: login }, {}, browser)
      t.equal(page.status, 0, page.body)
      const { access_token: token } = await (await client.redeem(page)).json() as { access_token: string }
      tokens.set(login, token)
    }
  })
  const authorization = `Bearer ${tokens.get('modern-0')}`

  await t.test('a request without a token gets the challenge as Seed sent it', async (t) => {
    const { status, headers } = await proxy.send('/mcp', { method: 'POST', body: '{}' })
    t.equal(status, 401)
    t.match(headers['www-authenticate'], `resource_metadata="${BASE_URL}/.well-known/oauth-protected-resource/mcp"`)
  })

  await t.test('the address in the log is the client\'s, whatever it claims', async (t) => {
    const { body, headers } = modernRequest('tools/call', { name: 'echo', arguments: { text: 'x' } })
    const sent = { authorization, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    const address = '127.0.0.20'
    const forged = { 'x-forwarded-for': '203.0.113.7', forwarded: 'for=203.0.113.7' }
    const answer = await proxy.send('/mcp', {
      method: 'POST', body, from: address, headers: { ...headers, ...sent, ...forged }
    })
    t.equal(answer.status, 200, answer.body)
    const outputs = async (): Promise<string> => await replicas.output(0) + await replicas.output(1)
    await until(async () => (await outputs()).includes(`"address":"${address}"`), 'the address is logged')
    t.notMatch(await outputs(), /203\.0\.113\.7/)
  })

  await t.test('a body of 1 MiB passes, a larger one does not', async (t) => {
    for (const [length, expected] of [[BODY_LIMIT, 200], [BODY_LIMIT + 1, 413]] as const) {
      const empty = modernRequest('tools/call', { name: 'echo', arguments: { text: '' } })
      const text = 'x'.repeat(length - empty.body.length)
      const { body, headers } = modernRequest('tools/call', { name: 'echo', arguments: { text } })
      t.equal(body.length, length)
      const answer = await proxy.send('/mcp', {
        method: 'POST',
        body,
        headers: { ...headers, authorization, 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
      })
      t.equal(answer.status, expected, answer.body.slice(0, 200))
    }
  })

  await t.test('replicas are restarted in turn under traffic, and no call is lost', async (t) => {
    await checkRestart(t, proxy, replicas, async (subject) => tokens.get(subject)!)
  })
}

async function checkRestart (
  t: Test, proxy: RunningProxy, replicas: ReplicaPair, token: (subject: string) => Promise<string>
): Promise<void> {
  let during = 'before'
  const traffic = startTraffic({
    targets: [BASE_URL],
    fetch: proxy.fetch,
    token,
    mayBreak: () => false,
    during: () => during,
    modernClients: MODERN_CLIENTS,
    sessionClients: SESSION_CLIENTS
  })
  const { tally } = traffic
  const moreAnswers = async (count: number): Promise<void> => {
    const enough = tally.right + count
    await until(() => tally.right >= enough || tally.wrong.size > 0, 'more calls are answered')
  }
  await moreAnswers(50)
  for (const index of [0, 1] as const) {
    during = `restart of replica ${index + 1}`
    t.equal(await replicas.drain(index), 0)
    await moreAnswers(20)
    await replicas.restart(index)
    // The proxy may take a moment to see that it is back.
    await until(async () => (await replicas.output(index)).includes('"path":"/mcp"'), 'it has calls again')
  }
  await traffic.stop()
  t.comment(`${tally.right} right, ${tally.refused} refused`)
  t.same(Object.fromEntries(tally.wrong), {})
  t.ok(tally.refused <= tally.right / 50, 'hardly any was refused')
}
