import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { FetchError, fetchJson, parseJsonObject, boundedFetch } from '../../src/net/fetch.ts'
import { freePort } from '../support/free-port.ts'

const json = (body: string | Buffer, headers = {}): RequestListener => (_req, res) => {
  res.writeHead(200, { 'content-type': 'application/json', ...headers }).end(body)
}

/** The server's behaviour at each path. */
const answers: Record<string, RequestListener> = {
  '/object': json('{"one":1}'),
  '/array': json('[1]'),
  '/null': json('null'),
  '/string': json('"text"'),
  '/html': json('<html>'),
  '/cut': json('{"one":'),
  '/empty': json(''),
  '/deep': json(`{"deep":${'['.repeat(100)}${']'.repeat(100)}}`),
  '/nowhere': (_req, res) => { res.writeHead(302, { location: 'http://[' }).end() },
  '/500': (_req, res) => { res.writeHead(500).end('{"one":1}') },
  '/201': (_req, res) => { res.writeHead(201).end('{"one":1}') },
  '/204': (_req, res) => { res.writeHead(204).end() },
  '/304': (_req, res) => { res.writeHead(304).end() },
  '/utf8': (_req, res) => {
    const bytes = Buffer.from('{"name":"Zoë"}')
    res.writeHead(200).write(bytes.subarray(0, 11))
    setImmediate(() => { res.end(bytes.subarray(11)) })
  },
  '/echo': (req, res) => { res.writeHead(200, { 'x-method': req.method! }).end(JSON.stringify(req.headers)) },
  '/hang': () => {},
  '/drip': (_req, res) => { res.writeHead(200).write('{"one"') },
  '/drop': (req) => { req.socket.destroy() },
  '/shorter': (_req, res) => {
    res.writeHead(200, { 'content-length': '100' })
    res.write('{"one":', () => { res.destroy() })
  },
  '/long': json(`{"filler":"${'a'.repeat(100)}"}`),
  '/endless': (_req, res) => {
    const timer = setInterval(() => { res.write('a'.repeat(1_000)) }, 1)
    res.on('close', () => {
      clearInterval(timer)
      events.emit('let go')
    })
  },
  '/bomb': json(gzipSync(`{"filler":"${'a'.repeat(1_000_000)}"}`), { 'content-encoding': 'gzip' }),
  '/gzip': json(gzipSync('{"one":1}'), { 'content-encoding': 'gzip' }),
  '/bad-gzip': json('not gzip at all', { 'content-encoding': 'gzip' })
}
for (const status of [301, 302, 303, 307, 308]) {
  answers[`/redirect/${status}`] = (_req, res) => { res.writeHead(status, { location: '/object' }).end('moved') }
}

const events = new EventEmitter()
let base: string
const asked: string[] = []

t.before(async () => {
  const server = createServer((req, res) => {
    const { pathname } = new URL(req.url!, 'http://localhost')
    asked.push(pathname)
    answers[pathname]!(req, res)
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

t.test('a request is sent as given; status, headers and body are returned, whatever the status', async (t) => {
  const response = await boundedFetch(
    `${base}/echo?a=b`,
    { method: 'POST', headers: { 'x-sent': 'yes' }, body: 'hello' }
  )
  t.equal(response.status, 200)
  t.equal(response.headers.get('x-method'), 'POST')
  t.match(JSON.parse(response.body), { 'x-sent': 'yes', 'content-length': '5' })
  t.match(await boundedFetch(new URL(`${base}/500`)), { status: 500, body: '{"one":1}' })
  t.match(await boundedFetch(`${base}/204`), { status: 204, body: '' })
})

t.test('a JSON object is parsed', async (t) => {
  t.strictSame(await fetchJson(`${base}/object`), { one: 1 })
  t.strictSame(await fetchJson(`${base}/gzip`), { one: 1 })
  t.strictSame(await fetchJson(`${base}/utf8`), { name: 'Zoë' }, 'a character may span two chunks')
  t.match(await fetchJson(`${base}/echo`), { accept: 'application/json' })
})

t.test('redirects are not followed', async (t) => {
  asked.length = 0
  for (const status of [301, 302, 303, 307, 308]) {
    await t.rejects(fetchJson(`${base}/redirect/${status}`), {
      name: 'FetchError',
      status,
      redirectsTo: new URL(`${base}/object`),
      message: `${base}/redirect/${status} answered with a redirect to ${base}/object, which is not followed`
    })
  }
  await t.rejects(boundedFetch(`${base}/nowhere`), {
    status: 302, redirectsTo: undefined, message: `${base}/nowhere answered with a redirect, which is not followed`
  })
  await t.rejects(
    boundedFetch(`${base}/304`),
    { name: 'FetchError', status: 304 },
    'nor anything else in the three hundreds'
  )
  t.notOk(asked.includes('/object'))
})

t.test('only a JSON object with status 200 is accepted', async (t) => {
  for (const path of ['/array', '/null', '/string', '/html', '/cut', '/empty', '/deep']) {
    await t.rejects(
      fetchJson(base + path),
      { name: 'FetchError', status: 200, message: `${base}${path} answered with something other than a JSON object` }
    )
  }
  for (const status of [500, 201, 204]) {
    await t.rejects(
      fetchJson(`${base}/${status}`),
      { name: 'FetchError', status, message: `${base}/${status} answered ${status}` }
    )
  }
  t.strictSame(parseJsonObject('{"a":[]}'), { a: [] })
  for (const text of ['[]', 'null', '1', '"a"', 'true', '', '{']) t.equal(parseJsonObject(text), undefined, text)
})

t.test('the time limit covers the whole exchange', async (t) => {
  for (const path of ['/hang', '/drip', '/endless']) {
    const ended = path === '/endless' ? once(events, 'let go') : undefined
    await t.rejects(
      boundedFetch(base + path, {}, { timeoutMs: 200, maxBytes: 1e9 }),
      { name: 'FetchError', status: undefined, message: `${base}${path} did not answer within 200 ms` }
    )
    await ended
  }
})

t.test('the byte limit covers the decompressed body', async (t) => {
  const { length } = await boundedFetch(`${base}/long`).then(({ body }) => body)
  t.equal((await boundedFetch(`${base}/long`, {}, { maxBytes: length })).body.length, length)
  await t.rejects(
    boundedFetch(`${base}/long`, {}, { maxBytes: length - 1 }),
    { name: 'FetchError', status: 200, message: `${base}/long answered with more than ${length - 1} bytes` }
  )
  await t.rejects(fetchJson(`${base}/bomb`, { maxBytes: 50_000 }), { message: /more than 50000 bytes/ })
  await t.rejects(
    fetchJson(`${base}/bomb`),
    { message: /more than 262144 bytes/ },
    'and without one, no more than 256 KiB'
  )

  const ended = once(events, 'let go')
  await t.rejects(boundedFetch(`${base}/endless`, {}, { maxBytes: 10_000 }), { message: /more than 10000 bytes/ })
  await ended
  t.pass('the connection was let go')
})

t.test('the error says why there is no response, without the query of the URL', async (t) => {
  const nobody = `http://127.0.0.1:${await freePort()}`
  await t.rejects(
    boundedFetch(`${nobody}/path?secret=1`),
    { name: 'FetchError', status: undefined, message: `${nobody}/path cannot be reached (ECONNREFUSED)` }
  )
  await t.rejects(fetchJson(`${base}/drop`), { message: `${base}/drop cannot be reached (UND_ERR_SOCKET)` })
  await t.rejects(fetchJson(`${base}/shorter`), { name: 'FetchError', message: /cannot be reached \(UND_ERR_\w+\)/ })
  await t.rejects(fetchJson(`${base}/bad-gzip`), { name: 'FetchError', message: /cannot be reached \(Z_DATA_ERROR\)/ })
  await t.rejects(
    boundedFetch('http://127.0.0.1:6000/'),
    { message: 'http://127.0.0.1:6000/ cannot be reached (bad port)' }
  )
  await t.rejects(
    boundedFetch('http://user:secret@127.0.0.1/'),
    { message: 'http://127.0.0.1/ cannot be reached (TypeError)' },
    'and without the credentials of a URL'
  )

  const error = await boundedFetch(nobody).then(() => undefined, (err: unknown) => err)
  t.ok(error instanceof FetchError)
  t.ok((error as FetchError).cause instanceof Error)
})

t.test('a certificate for another name is said to be one', async (t) => {
  const cause = Object.assign(new Error('not shown'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  t.intercept(globalThis, 'fetch', { value: async () => { throw new TypeError('fetch failed', { cause }) } })
  await t.rejects(boundedFetch('https://id.example.com/x'), {
    network: true,
    message: 'https://id.example.com/x cannot be reached (ERR_TLS_CERT_ALTNAME_INVALID: ' +
      'its certificate is for another name)'
  })
})
