import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { readConfig } from '../../plugins/config.ts'
import { checkPublicUrl } from '../../src/doctor/public-url.ts'
import type { Finding } from '../../src/doctor/finding.ts'
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
  let target = ''
  const front = createServer((request, response) => {
    if (answer(request, response)) return request.resume()
    const options = { method: request.method, headers: headers(request.headers) }
    const onward = httpRequest(new URL(request.url!, target), options, (received) => {
      response.writeHead(received.statusCode!, received.headers)
      received.pipe(response)
    })
    onward.on('error', () => { response.destroy() })
    return request.pipe(onward)
  }).listen(0, '127.0.0.1')
  await once(front, 'listening')
  const url = `http://127.0.0.1:${(front.address() as AddressInfo).port}`
  const seed = await startSeed(t, { env: { BASE_URL: url, ...env } })
  target = `http://127.0.0.1:${(seed.app.server.address() as AddressInfo).port}`
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

t.test('a server with other settings, and TRUST_PROXY', async (t) => {
  const seed = await startSeed(t)
  const other = await check(seed.url, { OIDC_SCOPES: 'openid' })
  t.match(other.find('protected-resource-metadata'), { severity: 'warning', setting: 'OIDC_SCOPES' })
  const https = 'https://seed.invalid'
  t.match((await check(https)).find('trust-proxy'), { severity: 'warning', setting: 'TRUST_PROXY' })
  t.match((await check(https, { TRUST_PROXY: '10.0.0.1' })).find('trust-proxy'), { severity: 'ok' })
})
