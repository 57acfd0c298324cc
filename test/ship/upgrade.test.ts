import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { startDevProvider } from '../../dev/provider.ts'
import { getTokens, newRequest, post, readTokens, redeem, refresh, register, toCallback } from '../support/broker.ts'
import { forward } from '../support/forward.ts'
import { freePort } from '../support/free-port.ts'
import { call } from '../support/mcp.ts'
import { previousReleaseForTests } from '../support/previous-release.ts'
import { TOOL_SERVER, emptyFolder, startProcess } from '../support/process.ts'
import type { TestProcess } from '../support/process.ts'
import { startRawSession } from '../support/raw-client.ts'
import { ownRedisForTests } from '../support/redis.ts'
import { modernRequest, openSession, ping, postMcp, ready } from '../support/seed.ts'
import { createPlainClient, readTokens as readPlainTokens, signedIn } from '../support/sign-in.ts'
import { startTraffic } from '../support/traffic.ts'
import { until } from '../support/until.ts'

/**
 * Upgrade and rollback: the previous release and this one run side by side on one Redis, and whatever a client has
 * begun at one of them it goes on with at the other.
 */

type Release = 'previous' | 'this'

const DIRECTIONS: ReadonlyArray<{ name: string, from: Release, to: Release }> = [
  { name: 'upgrade', from: 'previous', to: 'this' },
  { name: 'rollback', from: 'this', to: 'previous' }
]

/** BASE_URL of both replicas: forwards each request to the one that is chosen. */
async function startFront (t: Test) {
  let port = 0
  const server = createServer((request, response) => { forward(request, response, { port, agent: false }) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    choose (chosen: number): void { port = chosen }
  }
}

/** Both releases behind one address, on one Redis. */
async function startReleases (t: Test, previous: string, redisUrl: string, mode: 'broker' | 'proxy') {
  const front = await startFront(t)
  const provider = await startDevProvider({
    algorithm: 'ES256', ...(mode === 'broker' && { fixedRedirectUris: [`${front.url}/oauth/callback`] })
  })
  t.teardown(async () => { await provider.close() })

  async function start (script: string): Promise<TestProcess & { port: number, url: string }> {
    const port = await freePort()
    const replica = startProcess(t, ['--enable-source-maps', script], {
      PORT: String(port),
      HOST: '127.0.0.1',
      BASE_URL: front.url,
      ALLOWED_HOSTS: `127.0.0.1:${port}`,
      OAUTH_MODE: mode,
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: provider.clientId,
      REDIS_URL: redisUrl,
      REDIS_KEY_PREFIX: `${mode}:`,
      SEED_SECRET: 'one secret for both of the releases',
      CIMD_ENABLED: 'false'
    }, await emptyFolder(t))
    await replica.printed(/Seed is ready/)
    const url = `http://127.0.0.1:${port}`
    await ready({ url })
    return { ...replica, port, url }
  }

  const [before, now] = await Promise.all([
    start(join(previous, '.release/test/support/tool-server.js')), start(TOOL_SERVER)
  ])
  const replicas = { previous: before, this: now }
  return {
    url: front.url,
    provider,
    replicas,
    choose (release: Release): void { front.choose(replicas[release].port) },
    /** No replica has found a record or message that it cannot read. */
    async checkLogs (t: Test): Promise<void> {
      for (const [release, { output }] of Object.entries(replicas)) {
        const lines = (await output()).split('\n').filter((line) => line.includes('Unreadable'))
        t.same(lines, [], `the log of the ${release} release`)
      }
    }
  }
}

t.test('the previous release and this one side by side', { timeout: 170_000 }, async (t) => {
  const redis = await ownRedisForTests(t)
  if (!redis) return
  const previous = await previousReleaseForTests(t)
  if (previous === undefined) return

  await t.test('broker mode', async (t) => {
    const seed = await startReleases(t, previous, redis.url, 'broker')
    for (const { name, from, to } of DIRECTIONS) {
      await t.test(name, async (t) => {
        const [first, second] = [seed.replicas[from], seed.replicas[to]]

        await t.test('each step of a sign-in may be at either', async (t) => {
          seed.choose(from)
          const clientId = await register(seed.url)
          const { browser, callback, ...request } = await toCallback(seed, { clientId })
          seed.choose(to)
          const { url: answer } = await browser.get(callback)
          seed.choose(from)
          const code = answer.searchParams.get('code')!
          const tokens = readTokens(clientId, await redeem(seed.url, { ...request, code }))
          t.equal((await ping(second.url, tokens.accessToken)).status, 200)

          seed.choose(to)
          t.equal((await redeem(seed.url, { ...request, code })).statusCode, 400, 'a code is redeemed once')
          t.equal((await ping(first.url, tokens.accessToken)).status, 401, 'and its grant has ended')
        })

        await t.test('a registered client is known to the other', async (t) => {
          seed.choose(from)
          const clientId = await register(seed.url)
          seed.choose(to)
          t.equal((await fetch(newRequest(seed, clientId).url)).status, 200)
        })

        await t.test('a sign-in is refreshed at the other, and back again, and revoked', async (t) => {
          seed.choose(from)
          const tokens = await getTokens(seed)
          let { refreshToken } = tokens
          for (const release of [to, from, to]) {
            seed.choose(release)
            const refreshed = readTokens(tokens.clientId, await refresh(seed.url, tokens.clientId, refreshToken))
            t.not(refreshed.refreshToken, refreshToken)
            refreshToken = refreshed.refreshToken
            for (const { url } of [first, second]) t.equal((await ping(url, refreshed.accessToken)).status, 200)
          }
          const { events } = await (await startRawSession(first.url, tokens.accessToken)).get()
          const revoked = await post(`${seed.url}/oauth/revoke`, { client_id: tokens.clientId, token: refreshToken })
          t.equal(revoked.statusCode, 200)
          await events!.rest()
          t.pass('its stream at the other has ended')
          for (const { url } of [first, second]) t.equal((await ping(url, tokens.accessToken)).status, 401)
          seed.choose(from)
          t.equal((await refresh(seed.url, tokens.clientId, refreshToken)).statusCode, 400)
        })

        await t.test('2025-11-25: a session goes on, its stream is resumed and its question answered', async (t) => {
          seed.choose(from)
          const { accessToken } = await getTokens(seed)
          const session = await startRawSession(first.url, accessToken)
          const elsewhere = {
            'mcp-session-id': session.id, 'mcp-protocol-version': '2025-11-25', authorization: `Bearer ${accessToken}`
          }
          const send = async (init: RequestInit): Promise<Response> => await fetch(`${second.url}/mcp`, init)
          const json = {
            ...elsewhere, 'content-type': 'application/json', accept: 'application/json, text/event-stream'
          }

          const echo = await send({ method: 'POST', headers: json, body: JSON.stringify(call('echo', { text: 'x' })) })
          t.match(await echo.json(), { result: { content: [{ text: 'ada: x' }] } })

          const counting = (await session.post(
            call('count', { steps: 4, pauseMs: 100 }, { _meta: { progressToken: 1 } })
          )).events!
          t.match(await counting.message(), { params: { progress: 1 } })
          await counting.cut()
          const resumed = await send({
            headers: { ...elsewhere, accept: 'text/event-stream', 'last-event-id': counting.lastEventId! }
          })
          t.equal(resumed.status, 200)
          const rest = await resumed.text()
          for (const text of ['"progress":4', 'Counted to 4']) t.match(rest, text)
          t.notMatch(rest, '"progress":1,')

          const asking = (await session.post(call('ask_form'))).events!
          const { id } = await asking.message() as { id: string }
          const result = { action: 'accept', content: { name: 'Ada', age: 36 } }
          const answered = await send({
            method: 'POST', headers: json, body: JSON.stringify({ jsonrpc: '2.0', id, result })
          })
          t.equal(answered.status, 202)
          t.match(await asking.message(), { result: { content: [{ text: 'Ada is 36' }] } })

          const { events } = await session.get()
          await send({ method: 'POST', headers: json, body: JSON.stringify(call('change_tools')) })
          t.match(await events!.message(), { method: 'notifications/tools/list_changed' })
          t.equal((await send({ method: 'DELETE', headers: elsewhere })).status, 204)
          t.equal((await session.post(call('echo', { text: 'x' }))).status, 404, 'an ended session has ended')
        })

        await t.test('2026-07-28: a question is answered at the other', async (t) => {
          seed.choose(from)
          const { accessToken } = await getTokens(seed)
          const params = { name: 'ask_form', arguments: {} }
          const ask = modernRequest('tools/call', params, 1, { elicitation: {} })
          const { requestState, inputRequests } = (await postMcp(first, ask, accessToken)).body.result
          const [key] = Object.keys(inputRequests)
          const answer = modernRequest('tools/call', {
            ...params,
            requestState,
            inputResponses: { [key!]: { action: 'accept', content: { name: 'Ada', age: 36 } } }
          }, 2, { elicitation: {} })
          t.match((await postMcp(second, answer, accessToken)).body, { result: { content: [{ text: 'Ada is 36' }] } })
          t.match((await postMcp(first, answer, accessToken)).body, { error: {} }, 'once')
        })

        await t.test('a session that was used at both outlives the release it was made at', async (t) => {
          seed.choose(from)
          const { accessToken } = await getTokens(seed)
          const session = await openSession(first, accessToken)
          const level = session.request('logging/setLevel', { level: 'error' })
          t.equal((await postMcp(second, level, accessToken)).status, 200)
          t.equal((await postMcp(first, session.request('ping'), accessToken)).status, 200)
        })
      })
    }
    await seed.checkLogs(t)
  })

  await t.test('proxy mode', async (t) => {
    const seed = await startReleases(t, previous, redis.url, 'proxy')
    for (const { name, from, to } of DIRECTIONS) {
      await t.test(`${name}: a sign-in that was allowed at one is redeemed and refreshed at the other`, async (t) => {
        seed.choose(from)
        const client = await createPlainClient(seed.url)
        const page = await client.walk()
        seed.choose(to)
        const tokens = await readPlainTokens(await client.redeem(page))
        t.equal(tokens.status, 200)
        let refreshToken = tokens.refresh_token!
        for (const release of [from, to]) {
          seed.choose(release)
          const refreshed = await readPlainTokens(await client.refresh(refreshToken))
          t.equal(refreshed.status, 200)
          refreshToken = refreshed.refresh_token!
          for (const { url } of Object.values(seed.replicas)) {
            t.equal((await ping(url, refreshed.access_token)).status, 200)
          }
        }
        const revoked = await post(`${seed.url}/oauth/revoke`, { client_id: client.clientId, token: refreshToken })
        t.equal(revoked.statusCode, 200)
        seed.choose(from)
        t.equal((await readPlainTokens(await client.refresh(refreshToken))).status, 400)
        t.ok(await signedIn(client), 'and the client signs in again')
      })
    }

    await t.test('clients of both eras that send each request to another release get what they expect', async (t) => {
      const traffic = startTraffic({
        targets: Object.values(seed.replicas).map(({ url }) => url),
        token: async (sub) => await seed.provider.mint({ sub }),
        mayBreak: () => false,
        during: () => 'both releases run',
        modernClients: 2,
        sessionClients: 2
      })
      const { tally } = traffic
      await until(() => tally.right >= 100 || tally.wrong.size > 0, 'the clients have their answers')
      await traffic.stop()
      t.same(Object.fromEntries(tally.wrong), {})
    })
    await seed.checkLogs(t)
  })
})
