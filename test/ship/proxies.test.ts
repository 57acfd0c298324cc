import type { IncomingHttpHeaders } from 'node:http'
import t from 'tap'
import type { Test } from 'tap'
import { SERVER_NAME } from '../support/nginx.ts'
import { until } from '../support/until.ts'
import { startEchoReplicas } from './proxies/echo.ts'
import { checkEventsPassAtOnce } from './proxies/events.ts'
import { PROXIES } from './proxies/proxies.ts'
import type { RunningProxy } from './proxies/proxies.ts'
import { MCP_HEADERS, SENT_HEADERS } from './proxies/sent-headers.ts'

/**
 * What the reverse proxies of deploy/, as they ship, make of requests and answers. Only addresses, ports and paths are
 * changed.
 */

for (const kind of PROXIES) {
  t.test(kind.name, async (t) => {
    const echo = await startEchoReplicas(t)
    const proxy = await kind.start(t, echo.ports)
    if (proxy === undefined) return

    await t.test('the forwarding headers are its own, and those of MCP pass', async (t) => {
      await checkHeaders(t, proxy)
    })

    await t.test('health endpoints are not public, however their path is written', async (t) => {
      echo.seen.splice(0)
      for (const path of ['/health', '/health/live', '/health/ready', '/health/', '/%68ealth/ready']) {
        t.equal((await proxy.send(path)).status, 404, path)
      }
      t.same(echo.seen, [])
    })

    await t.test('each event of a stream passes at once', async (t) => {
      await checkEventsPassAtOnce(t, proxy, '/mcp?stream', echo.sendEvent)
    })

    await t.test('a call that a replica may have executed is not sent again', async (t) => {
      echo.seen.splice(0)
      const { status } = await proxy.send('/mcp?break', { method: 'POST', body: '{}' })
      t.ok(status === 502 || status === 503, String(status))
      t.same(echo.seen, ['POST /mcp?break'])
    })

    await t.test('no log has a query, Referer, Cookie or token', async (t) => {
      const headers = { referer: 'https://idp.example/?code=SECRET', cookie: 'a=SECRET', authorization: 'Bearer SECRET' }
      await proxy.send('/oauth/callback?code=SECRET&state=SECRET', { headers })
      await echo.close()
      t.ok((await proxy.send('/oauth/callback?code=SECRET', { headers })).status >= 502, 'no replica is there')
      await until(() => proxy.logs().includes('/oauth/callback'), 'the request is logged')
      t.notMatch(proxy.logs(), /SECRET/)
    })
  })
}

async function checkHeaders (t: Test, proxy: RunningProxy): Promise<void> {
  const { status, body, headers } = await proxy.send('/mcp', {
    method: 'POST',
    from: '127.0.0.9',
    body: '{}',
    headers: SENT_HEADERS
  })
  t.equal(status, 200)
  t.match(headers['strict-transport-security'], /^max-age=63072000/)
  const { authorization, ...arrived } = JSON.parse(body) as IncomingHttpHeaders
  t.equal(authorization?.length, 12_007)
  t.match(arrived, {
    host: SERVER_NAME,
    'x-forwarded-for': '127.0.0.9',
    'x-forwarded-proto': 'https',
    ...MCP_HEADERS
  })
  t.notMatch(JSON.stringify(arrived), /203\.0\.113\.7|evil\.example/)
}
