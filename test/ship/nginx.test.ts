import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, RequestListener } from 'node:http'
import { Agent } from 'node:https'
import type { AddressInfo } from 'node:net'
import { connect as connectPlain } from 'node:net'
import { connect } from 'node:tls'
import t from 'tap'
import type { Test } from 'tap'
import { freePort } from '../support/free-port.ts'
import { SERVER_NAME, nginxForTests } from '../support/nginx.ts'
import type { Nginx } from '../support/nginx.ts'
import { checkEventsPassAtOnce } from './proxies/events.ts'
import { MCP_HEADERS, SENT_HEADERS } from './proxies/sent-headers.ts'

/** The shipped deploy/nginx/seed.conf in a real nginx, in front of servers that show what reaches them. */

interface Upstream { port: number, connections: () => number, close: () => Promise<void> }

async function startUpstream (t: Test, answer: RequestListener, port = 0): Promise<Upstream> {
  const server = createServer({ keepAliveTimeout: 72_000 }, answer).listen(port, '127.0.0.1')
  let connections = 0
  server.on('connection', () => { connections++ })
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    if (server.listening) await new Promise((resolve) => { server.close(resolve) })
  }
  t.teardown(close)
  return { port: (server.address() as AddressInfo).port, connections: () => connections, close }
}

/** Answers with the headers that arrived. */
const echo: RequestListener = (request, response) => {
  request.resume().on('end', () => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(request.headers))
  })
}

async function startBoth (
  t: Test,
  answer: RequestListener = echo
): Promise<{ nginx: Nginx; upstreams: [Upstream, Upstream] } | undefined> {
  const upstreams: [Upstream, Upstream] = [await startUpstream(t, answer), await startUpstream(t, answer)]
  const nginx = await nginxForTests(t, [upstreams[0].port, upstreams[1].port])
  return nginx && { nginx, upstreams }
}

t.test('what Seed reads of the way here comes from nginx, and the headers of MCP pass', async (t) => {
  const started = await startBoth(t)
  if (!started) return
  const { status, body } = await started.nginx.send('/mcp', {
    method: 'POST',
    from: '127.0.0.9',
    body: '{}',
    headers: { ...SENT_HEADERS, x_forwarded_for: '203.0.113.7' }
  })
  t.equal(status, 200)
  const { authorization, ...arrived } = JSON.parse(body) as IncomingHttpHeaders
  t.equal(authorization?.length, 12_007)
  t.same(arrived, {
    host: SERVER_NAME,
    'x-forwarded-for': '127.0.0.9',
    'x-forwarded-proto': 'https',
    'x-real-ip': '127.0.0.9',
    'content-length': '2',
    ...MCP_HEADERS
  })
})

t.test('another name, plain http, health and what is too large stay outside', async (t) => {
  const started = await startBoth(t)
  if (!started) return
  const { nginx, upstreams } = started
  for (const path of ['/health', '/health/live', '/health/ready', '/health/']) {
    t.equal((await nginx.send(path)).status, 404, path)
  }
  t.equal((await nginx.send('/mcp', { method: 'POST', body: 'x'.repeat(1_048_577) })).status, 413)
  t.equal((await nginx.send('/oauth/token', { method: 'POST', body: 'x'.repeat(65_537) })).status, 413)
  t.notMatch((await nginx.send('/health')).headers['server'], /\d/)
  await t.rejects(nginx.send('/mcp', { headers: { host: 'evil.example' } }), 'the right certificate, another host')

  const stranger = connect({
    host: '127.0.0.1',
    port: nginx.port,
    servername: 'evil.example',
    rejectUnauthorized: false
  })
  await t.rejects(once(stranger, 'secureConnect'), { code: 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME' })
  const old = connect({
    host: '127.0.0.1',
    port: nginx.port,
    servername: SERVER_NAME,
    ca: nginx.ca,
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT:@SECLEVEL=0'
  })
  await t.rejects(once(old, 'secureConnect'))

  const plain = connectPlain(nginx.plainPort, '127.0.0.1')
  plain.end(`GET /mcp HTTP/1.1\r\nHost: ${SERVER_NAME}\r\n\r\n`)
  let answer = ''
  plain.setEncoding('utf8').on('data', (chunk: string) => { answer += chunk })
  await once(plain, 'close')
  t.equal(answer, '')
  t.same(upstreams.map(({ connections }) => connections()), [0, 0])
})

for (const path of ['/mcp', '/mcp/', '/mcp/sales']) {
  t.test(`each event of a stream of ${path} passes at once`, async (t) => {
    let next: () => void = () => {}
    const started = await startBoth(t, (request, response) => {
      request.resume()
      response.writeHead(200, { 'content-type': 'text/event-stream', connection: 'close' })
      let number = 0
      next = () => { response.write(`id: ${++number}\n\n`) }
      next()
    })
    if (!started) return
    await checkEventsPassAtOnce(t, started.nginx, path, () => { next() })
  })
}

t.test('a replica that is away costs no request; neither do both together, once one is back', async (t) => {
  const [port, dead] = [await freePort(), await freePort()]
  const nginx = await nginxForTests(t, [port, dead])
  if (!nginx) return
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => { agent.destroy() })
  const post = async (): Promise<number> => (await nginx.send('/mcp', { method: 'POST', body: '{}', agent })).status
  for (let tries = 0; tries < 6; tries++) t.equal(await post(), 502, 'nobody is there')
  const first = await startUpstream(t, echo, port)
  for (let tries = 0; tries < 20; tries++) t.equal(await post(), 200, 'one of them is, at once')
  await first.close()
  await startUpstream(t, echo, dead)
  for (let tries = 0; tries < 20; tries++) t.equal(await post(), 200, 'the other one is')
})

t.test('a request that a replica may have executed is not sent again, unless it may be executed twice', async (t) => {
  const seen: string[] = []
  const started = await startBoth(t, (request, response) => {
    seen.push(request.method!)
    request.resume().on('end', () => { response.socket!.destroy() })
  })
  if (!started) return
  t.equal((await started.nginx.send('/mcp', { method: 'POST', body: '{}' })).status, 502)
  t.same(seen, ['POST'])
  t.equal((await started.nginx.send('/.well-known/oauth-protected-resource')).status, 502)
  t.ok(seen.filter((method) => method === 'GET').length > 1)
})

t.test('connections to the replicas are kept, and closed by nginx before Seed does', async (t) => {
  const open = new Map<unknown, Promise<unknown>>()
  const started = await startBoth(t, (request, response) => {
    if (!open.has(request.socket)) open.set(request.socket, once(request.socket, 'end'))
    echo(request, response)
  })
  if (!started) return
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => { agent.destroy() })
  for (let number = 0; number < 20; number++) await started.nginx.send('/mcp', { method: 'POST', body: '{}', agent })
  t.ok(open.size < 10, 'used again')
  const began = performance.now()
  await Promise.all(open.values())
  t.ok(performance.now() - began < 20_000, 'and closed by nginx, long before Seed would')
})

t.test('one address with too many requests is told when to try again, the others go on', async (t) => {
  const started = await startBoth(t)
  if (!started) return
  const { nginx } = started
  const paths = ['/oauth/token', '/token', '/register', '/authorize', '/revoke']
  for (const [index, path] of paths.entries()) {
    const agent = new Agent({ keepAlive: true, maxSockets: 8, localAddress: `127.0.0.${30 + index}` })
    t.teardown(() => { agent.destroy() })
    // Above the limit for sign-in (a burst of 200), below that of all other paths (400).
    const responses = await Promise.all(
      Array.from({ length: 320 }, async () => await nginx.send(path, { method: 'POST', body: 'a=b', agent }))
    )
    const refused = responses.find(({ status }) => status !== 200)
    t.match(refused, {
      status: 429,
      headers: { 'retry-after': '1', 'content-type': 'application/json', 'strict-transport-security': /^max-age=/ }
    }, path)
    t.match(JSON.parse(refused?.body ?? '{}'), { error: 'temporarily_unavailable' }, path)
    t.equal((await nginx.send(path, { method: 'POST', body: 'x'.repeat(65_537), from: '127.0.0.4' })).status, 413, path)
  }
  t.equal((await nginx.send('/oauth/token', { method: 'POST', body: 'a=b', from: '127.0.0.4' })).status, 200)
})

t.test('the log has no query, no Referer, no Cookie and no token', async (t) => {
  const started = await startBoth(t)
  if (!started) return
  const { nginx } = started
  await nginx.send('/oauth/callback?code=SECRET&state=SECRET', {
    headers: { referer: 'https://idp.example/?code=SECRET', cookie: 'a=SECRET', authorization: 'Bearer SECRET' }
  })
  await started.upstreams[0].close()
  await started.upstreams[1].close()
  t.equal((await nginx.send('/oauth/callback?code=SECRET')).status, 502)
  t.match(nginx.accessLog(), [
    { path: '/oauth/callback', status: 200, address: '127.0.0.1', method: 'GET' },
    { status: 502 }
  ])
  t.notMatch(JSON.stringify(nginx.accessLog()) + nginx.output() + nginx.errorLog(), 'SECRET')
})
