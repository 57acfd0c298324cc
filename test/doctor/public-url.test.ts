import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { readConfig } from '../../plugins/config.ts'
import { checkPublicUrl } from '../../src/doctor/public-url.ts'
import type { Finding } from '../../src/doctor/finding.ts'
import { protectedResource } from '../../src/oauth/endpoints/metadata.ts'
import { mainEndpoint, writeEndpoints } from '../support/endpoints.ts'
import { forward } from '../support/forward.ts'
import { freePort } from '../support/free-port.ts'
import { startPathProxy } from '../support/path-proxy.ts'
import { startSeed } from '../support/seed.ts'

/** The checks of BASE_URL, by name. */
async function check (url: string, env: Record<string, string> = {}) {
  const findings = await checkPublicUrl(await readConfig({
    environment: { BASE_URL: url, OIDC_ISSUER: 'https://id.example.com', OIDC_AUDIENCE: 'x', ...env }
  }))
  return {
    findings,
    find: (name: string): Finding | undefined => findings.find((finding) => finding.check === `public-url.${name}`)
  }
}

interface Front {
  /** Changes the headers that Seed receives. */
  headers?: (headers: IncomingHttpHeaders) => IncomingHttpHeaders
  /** Answers in place of Seed; true if it did. */
  answer?: (request: IncomingMessage, response: ServerResponse) => boolean
}

/** Seed behind a proxy, whose address is BASE_URL. */
async function startBehind (t: Test, { headers = (given) => given, answer = () => false }: Front, env = {}) {
  let port = 0
  const front = createServer((request, response) => {
    if (answer(request, response)) request.resume()
    else forward(request, response, { port, headers: headers(request.headers) })
  }).listen(0, '127.0.0.1')
  await once(front, 'listening')
  const url = `http://127.0.0.1:${(front.address() as AddressInfo).port}`
  const seed = await startSeed(t, { env: { BASE_URL: url, ...env } })
  port = (seed.app.server.address() as AddressInfo).port
  t.teardown(() => {
    front.closeAllConnections()
    front.close()
  })
  return url
}

const path = (request: IncomingMessage): string => request.url!

t.test('a Seed at BASE_URL, with and without sign-in, has nothing against it', async (t) => {
  const seed = await startSeed(t)
  const { findings, find } = await check(seed.url)
  t.same(findings.filter(({ severity }) => severity !== 'ok').map(({ check }) => check), ['public-url.streams'])
  t.ok(find('protected-resource-metadata'))
  const open = await startSeed(t, { env: { AUTH_REQUIRED: 'false' } })
  const without = await check(open.url, { AUTH_REQUIRED: 'false' })
  t.same(without.findings.filter(({ severity }) => severity !== 'ok').map(({ check }) => check), ['public-url.streams'])
})

t.test('nobody, or another server, at BASE_URL is no error before the first start', async (t) => {
  t.match((await check('http://127.0.0.1:9')).find('reachable'), { severity: 'unknown', meaning: /No Seed answers/ })
  const url = await startBehind(t, {
    answer (_request, response) {
      response.end('hello')
      return true
    }
  })
  t.match((await check(url)).find('reachable'), { severity: 'unknown', meaning: /No Seed answers/ })
})

t.test('what a proxy in front does wrong is named', async (t) => {
  const answers = (where: string, status: number, headers = {}) =>
    (request: IncomingMessage, response: ServerResponse): boolean => {
      if (!path(request).startsWith(where)) return false
      response.writeHead(status, headers).end(status === 200 ? '{"resource":"x"}' : '')
      return true
    }
  for (const [what, front, name, expected] of [
    ['another Host', { headers: (given) => ({ ...given, host: 'seed.internal' }) }, 'host',
      { severity: 'error', setting: 'ALLOWED_HOSTS' }],
    ['no challenge', { answer: answers('/mcp', 401) }, 'host', { severity: 'error', meaning: /WWW-Authenticate/ }],
    ['small bodies', { answer: answers('/mcp', 413) }, 'body-size', {
      severity: 'error',
      meaning: /client_max_body_size/
    }],
    ['/health kept inside', { answer: answers('/health', 403) }, 'reachable', { severity: 'ok' }],
    ['no metadata', { answer: answers('/.well-known', 404) }, 'protected-resource-metadata', { severity: 'error' }],
    ['other metadata', { answer: answers('/.well-known', 200) }, 'protected-resource-metadata',
      { severity: 'error', setting: 'BASE_URL', answered: '"resource" is "x"' }],
    ['other metadata of the server', { answer: answers('/.well-known', 200) }, 'authorization-server-metadata',
      { severity: 'error', setting: 'BASE_URL' }],
    ['logouts that do not arrive', { answer: answers('/oauth/backchannel-logout', 403) }, 'back-channel-logout',
      { severity: 'warning', setting: 'BASE_URL' }],
    ['logouts that arrive', {}, 'back-channel-logout', { severity: 'ok', answered: '400' }],
    ['a redirect', { answer: answers('/', 301, { location: 'https://seed.example.com/health/live' }) }, 'reachable',
      { severity: 'error', setting: 'BASE_URL', value: 'https://seed.example.com' }],
    ['cut connections', {
      answer (request, response) {
        if (request.method !== 'POST') return false
        response.destroy()
        return true
      }
    }, 'body-size', { severity: 'unknown' }]
  ] as Array<[string, Front, string, Partial<Finding>]>) {
    t.match((await check(await startBehind(t, front))).find(name), expected, what)
  }
})

t.test('below a path, each place where clients look is asked, and one that the proxy does not route is named', async (t) => {
  const sound = await startSeed(t, { basePath: '/seed' })
  const { find, findings } = await check(sound.url)
  t.same(findings.filter(({ severity }) => severity !== 'ok').map(({ check }) => check), ['public-url.streams'])
  const { origin } = new URL(sound.url)
  t.match(find('protected-resource-metadata')?.asked, `${origin}/.well-known/oauth-protected-resource/seed/mcp`)
  t.same(findings.filter(({ check }) => check === 'public-url.authorization-server-metadata')
    .map(({ asked }) => asked.replace(`GET ${origin}`, '')), [
    '/.well-known/oauth-authorization-server/seed',
    '/.well-known/openid-configuration/seed',
    '/seed/.well-known/openid-configuration'
  ])

  const proxy = await startPathProxy(t, { documents: false })
  const url = `${proxy.origin}/seed`
  const behind = await startSeed(t, { env: { BASE_URL: url } })
  proxy.route('/seed', Number(new URL(behind.url).port))
  const { find: named, findings: all } = await check(url)
  t.match(named('protected-resource-metadata'), {
    severity: 'error', meaning: /must route \/seed\/, http:\S+\/oauth-protected-resource\/seed\/mcp and the documents/
  })
  t.same(all.filter(({ check }) => check === 'public-url.authorization-server-metadata')
    .map(({ severity }) => severity), ['error', 'error', 'ok'])
  t.match(named('authorization-server-metadata'), { meaning: /must route this address to Seed/ })
})

/** A proxy in front of the port where the server would listen; no server runs. */
async function checkBehind (t: Test, change: {
  headers?: (headers: IncomingHttpHeaders) => IncomingHttpHeaders
  answer?: (request: IncomingMessage, response: ServerResponse) => boolean
  relay?: (received: IncomingMessage, response: ServerResponse) => void
} = {}, env: Record<string, string> = {}) {
  const port = await freePort()
  const {
    headers = (given) => ({ ...given, 'x-forwarded-for': '198.51.100.7', 'x-forwarded-proto': 'https' }),
    answer = () => false,
    relay = (received, response) => { received.pipe(response) }
  } = change
  const front = createServer((request, response) => {
    if (answer(request, response)) return request.resume()
    const options = { method: request.method, headers: headers(request.headers) }
    const onward = httpRequest(new URL(request.url!, `http://127.0.0.1:${port}`), options, (received) => {
      response.writeHead(received.statusCode!, received.headers)
      relay(received, response)
    })
    onward.on('error', () => { response.writeHead(502).end('no server') })
    return request.pipe(onward)
  }).listen(0, '127.0.0.1')
  await once(front, 'listening')
  t.teardown(() => {
    front.closeAllConnections()
    front.close()
  })
  const url = `http://127.0.0.1:${(front.address() as AddressInfo).port}`
  return { port, url, ...await check(url, { HOST: '127.0.0.1', PORT: String(port), ...env }) }
}

t.test('before the first start the doctor finds out what a proxy in front changes', async (t) => {
  const sound = await checkBehind(t, {}, { TRUST_PROXY: '127.0.0.1' })
  t.same(sound.findings.map(({ check, severity }) => `${check} ${severity}`), [
    'reachable', 'protected-resource-metadata', 'host', 'forwarded-headers', 'body-size', 'streams'
  ].map((name) => `public-url.${name} ok`))
  t.match(sound.find('forwarded-headers'), {
    answered: 'x-forwarded-for: 198.51.100.7, x-forwarded-proto: https; from 127.0.0.1', meaning: /client is 198\.51\.100\.7/
  })
  t.match((await check(sound.url, { HOST: '127.0.0.1', PORT: String(sound.port) })).find('reachable'),
    { severity: 'ok' }, 'the port is free again')
  const stranger = await fetch(`${sound.url}/mcp`)
  t.equal(stranger.status, 502)
})

t.test('what a proxy in front would do wrong is named before the first start', async (t) => {
  const spoilt = (received: IncomingMessage, response: ServerResponse): void => {
    received.resume()
    response.end('{}')
  }
  const answers = (method: string, act: (response: ServerResponse) => void) =>
    (request: IncomingMessage, response: ServerResponse): boolean => {
      if (request.method !== method) return false
      act(response)
      return true
    }
  /** As nginx does with proxy_buffering on. */
  const buffered = (received: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = []
    received.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => { response.end(Buffer.concat(chunks)) })
  }
  const cut = (received: IncomingMessage, response: ServerResponse): void => {
    if (received.headers['content-type'] !== 'text/event-stream') received.pipe(response)
    else response.destroy()
  }
  const proxied = (changes: IncomingHttpHeaders) =>
    ({ headers: (given: IncomingHttpHeaders) => ({ ...given, ...changes }) })
  for (const [what, change, env, name, expected] of [
    ['buffered streams', { relay: buffered }, {}, 'streams', { severity: 'error', meaning: /proxy_buffering off/ }],
    ['streams that are cut', { relay: cut }, {}, 'streams', { severity: 'unknown' }],
    ['another document', { relay: spoilt }, {}, 'protected-resource-metadata', { severity: 'error', setting: 'BASE_URL' }],
    ['another Host', proxied({ host: 'seed.internal' }), {}, 'host',
      { severity: 'error', setting: 'ALLOWED_HOSTS', value: 'seed.internal' }],
    ['another Host that is allowed', proxied({ host: 'seed.internal' }), { ALLOWED_HOSTS: 'seed.internal' }, 'host',
      { severity: 'ok' }],
    ['small bodies', { answer: answers('POST', (response) => { response.writeHead(413).end() }) }, {}, 'body-size',
      { severity: 'error', meaning: /client_max_body_size/ }],
    ['cut bodies', { answer: answers('POST', (response) => { response.destroy() }) }, {}, 'body-size',
      { severity: 'unknown' }],
    ['an address that is not trusted', {}, {}, 'forwarded-headers',
      { severity: 'warning', setting: 'TRUST_PROXY', value: '127.0.0.1' }],
    ['no X-Forwarded-For', proxied({}), {}, 'forwarded-headers', { severity: 'ok', answered: 'none; from 127.0.0.1' }],
    ['none, although one is trusted', proxied({}), { TRUST_PROXY: '127.0.0.1' }, 'forwarded-headers',
      { severity: 'warning', meaning: /proxy_add_x_forwarded_for/ }],
    ['trusted addresses only', {}, { TRUST_PROXY: '127.0.0.1,198.51.100.7' }, 'forwarded-headers',
      { severity: 'ok', meaning: /client is 198/ }],
    ['requests that arrive without their headers', proxied({ 'seed-doctor': 'x' }), {}, 'reachable',
      { severity: 'unknown', meaning: /No Seed answers/ }],
    ['requests that do not arrive', { answer: answers('GET', (response) => { response.writeHead(404).end() }) }, {},
      'reachable', { severity: 'unknown', meaning: /No Seed answers/ }]
  ] as Array<[string, Parameters<typeof checkBehind>[1], Record<string, string>, string, Partial<Finding>]>) {
    t.match((await checkBehind(t, change, env)).find(name), expected, what)
  }
})

t.test('before the first start below a path, a proxy that does not route the documents is named', async (t) => {
  for (const documents of [true, false]) {
    const proxy = await startPathProxy(t, { documents })
    const port = await freePort()
    proxy.route('/seed', port)
    const { find } = await check(`${proxy.origin}/seed`, { HOST: '127.0.0.1', PORT: String(port) })
    t.equal(find('reachable')?.severity, 'ok', 'requests below the path arrive')
    for (const name of ['protected-resource-metadata', 'authorization-server-metadata']) {
      t.equal(find(name)?.severity, documents ? 'ok' : 'error', name)
    }
    t.equal(find('streams')?.severity, 'ok')
  }
})

t.test('the document of each MCP endpoint is asked for, before the first start too, and one that is missing is named', async (t) => {
  const env = {
    OAUTH_MODE: 'broker', SEED_ENDPOINTS: await writeEndpoints({ endpoints: { sales: { scopes: ['openid', 'email'] } } })
  }
  const withoutSales = (request: IncomingMessage, response: ServerResponse): boolean => {
    if (!path(request).endsWith('/mcp/sales')) return false
    response.writeHead(404).end()
    return true
  }
  const documentsOf = ({ findings }: { findings: Finding[] }): string[] => findings
    .filter(({ check }) => check === 'public-url.protected-resource-metadata')
    .map(({ asked, severity, setting = '' }) => `${new URL(asked.slice('GET '.length)).pathname} ${severity} ${setting}`)
  const main = '/.well-known/oauth-protected-resource/mcp ok '
  const sales = '/.well-known/oauth-protected-resource/mcp/sales'

  t.same(documentsOf(await checkBehind(t, {}, env)), [main, `${sales} ok `])
  t.same(documentsOf(await checkBehind(t, { answer: withoutSales }, env)), [main, `${sales} error BASE_URL`])

  t.same(documentsOf(await check(await startBehind(t, {}, env), env)), [main, `${sales} ok `])
  const missing = await check(await startBehind(t, { answer: withoutSales }, env), env)
  t.same(documentsOf(missing), [main, `${sales} error BASE_URL`])
  const others = { ...env, SEED_ENDPOINTS: await writeEndpoints({ endpoints: { sales: { scopes: ['openid'] } } }) }
  t.same(documentsOf(await check(await startBehind(t, {}, env), others)), [main, `${sales} warning SEED_ENDPOINTS`])
})

t.test('a port that is taken, and a document that arrives in other words', async (t) => {
  const { port, url } = await checkBehind(t)
  const other = createServer((_request, response) => { response.writeHead(404).end() }).listen(port, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => { other.close() })
  t.match((await check(url, { HOST: '127.0.0.1', PORT: String(port) })).find('reachable'), { severity: 'unknown' })
  const own = `http://127.0.0.1:${await freePort()}`
  t.match((await check(own, { PORT: new URL(own).port })).find('reachable'), { severity: 'unknown' },
    'nothing can stand in front of the port itself')

  const written = await startBehind(t, {
    answer (request, response) {
      if (!path(request).startsWith('/.well-known/oauth-protected-resource')) return false
      response.end(JSON.stringify(protectedResource(mainEndpoint(`http://${request.headers.host}`), {
        baseUrl: `http://${request.headers.host}`,
        accessTokenIssuers: [],
        names: { title: undefined, website: undefined, policyUrl: undefined, termsUrl: undefined }
      }), null, 2))
      return true
    }
  })
  t.match((await check(written)).find('protected-resource-metadata'), { severity: 'warning', meaning: /writes it anew/ })
})

t.test('a server with other settings, and TRUST_PROXY', async (t) => {
  const seed = await startSeed(t)
  const other = await check(seed.url, { OIDC_SCOPES: 'openid' })
  t.match(other.find('protected-resource-metadata'), { severity: 'warning', setting: 'OIDC_SCOPES' })
  const https = 'https://seed.invalid'
  t.match((await check(https)).find('trust-proxy'), { severity: 'warning', setting: 'TRUST_PROXY' })
  t.match((await check(https, { TRUST_PROXY: '10.0.0.1' })).find('trust-proxy'), { severity: 'ok' })
})
