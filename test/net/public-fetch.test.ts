import { EventEmitter, once } from 'node:events'
import type { LookupAddress } from 'node:dns'
import type { IncomingHttpHeaders, RequestListener } from 'node:http'
import { createServer } from 'node:https'
import { createServer as createNetServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { createPublicFetcher } from '../../src/net/public-fetch.ts'
import type { PublicFetcherOptions } from '../../src/net/public-fetch.ts'
import { FetchError } from '../../src/net/fetch.ts'
import { freePort } from '../support/free-port.ts'
import { selfSigned } from '../support/tls.ts'

const LIMIT = 5_120
const raw = (answer: string): RequestListener => (req) => { req.socket.end(answer) }

/** The server's behaviour at each path. */
const answers: Record<string, RequestListener> = {
  '/document': (req, res) => {
    res.writeHead(200, {
      'content-type': 'application/json',
      'cache-control': 'max-age=60',
      age: '1',
      'x-query': new URL(req.url!, 'https://x').search
    }).end('{"one":1}')
  },
  '/404': (_req, res) => { res.writeHead(404).end('no') },
  '/500': (_req, res) => { res.writeHead(500).end() },
  '/204': (_req, res) => { res.writeHead(204).end() },
  '/utf8': (_req, res) => {
    const bytes = Buffer.from('Zoë')
    res.writeHead(200).write(bytes.subarray(0, 3))
    setImmediate(() => { res.end(bytes.subarray(3)) })
  },
  '/pointers': (_req, res) => {
    res.writeHead(200, { refresh: '0; url=/sink', link: '</sink>; rel="preload"' }).end('{}')
  },
  '/identity': (_req, res) => { res.writeHead(200, { 'content-encoding': 'Identity' }).end('{}') },
  '/gzip': (_req, res) => { res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('{}')) },
  '/chain': (_req, res) => { res.writeHead(200, { 'content-encoding': 'identity, br' }).end('{}') },
  '/full': (_req, res) => { res.writeHead(200).end('a'.repeat(LIMIT)) },
  '/long': (_req, res) => { res.writeHead(200).end('a'.repeat(LIMIT + 1)) },
  '/endless': (_req, res) => {
    const timer = setInterval(() => { res.write('a'.repeat(1_000)) }, 1)
    res.on('close', () => {
      clearInterval(timer)
      events.emit('let go')
    })
  },
  '/hang': () => {},
  '/drip-headers': (req) => { req.socket.write('HTTP/1.1 200 OK\r\nx-slow:') },
  '/drip-body': (_req, res) => { res.writeHead(200).write('{"one"') },
  '/drop': (req) => { req.socket.destroy() },
  '/cut': (_req, res) => {
    res.writeHead(200, { 'content-length': '100' })
    res.write('{"one":', () => { res.destroy() })
  },
  '/garbage': raw('this is not HTTP\r\n\r\n'),
  '/upgrade': raw('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n')
}
for (const status of [300, 301, 302, 303, 304, 307, 308]) {
  answers[`/redirect/${status}`] = (_req, res) => { res.writeHead(status, { location: '/sink' }).end() }
}

const events = new EventEmitter()
const asked: Array<{ path: string, headers: IncomingHttpHeaders }> = []
let connections = 0
let port: number
let ca: string
let base: string

async function listen (t: Tap, server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
type Tap = Pick<typeof t, 'teardown'>

t.before(async () => {
  const { key, cert } = selfSigned(t, ['client.example', '127.0.0.1'])
  const server = createServer({ key, cert }, (req, res) => {
    const path = new URL(req.url!, 'https://x').pathname
    asked.push({ path, headers: req.headers })
    answers[path]!(req, res)
  })
  server.on('connection', () => { connections++ })
  server.on('tlsClientError', () => {})
  port = await listen(t, server)
  ca = cert
  base = `https://client.example:${port}`
})

t.beforeEach(() => {
  asked.length = 0
  connections = 0
})

const resolvesTo = (...addresses: string[]) => async (): Promise<LookupAddress[]> => addresses.map((address) => ({
  address,
  family: address.includes(':') ? 6 : 4
}))

/** Reaches the server at client.example. */
function fetcher (options: PublicFetcherOptions = {}) {
  return createPublicFetcher({
    lookup: resolvesTo('127.0.0.1'),
    isAllowed: (address) => address === '127.0.0.1',
    ca,
    ...options
  })
}

/** A failure that may be over later, as far as can be told from here. */
const away = (message: string | RegExp) => ({ name: 'FetchError', network: true, status: undefined, message })
const refused = (message: string | RegExp, status?: number) => ({ name: 'FetchError', network: false, status, message })

t.test('status, headers and body are returned, whatever the status', async (t) => {
  const { status, headers, body } = await fetcher()(`${base}/document?a=b&c`)
  t.equal(status, 200)
  t.match(headers, { 'content-type': 'application/json', 'cache-control': 'max-age=60', age: '1', 'x-query': '?a=b&c' })
  t.equal(body, '{"one":1}')
  t.match(await fetcher()(`${base}/404`), { status: 404, body: 'no' })
  t.match(await fetcher()(`${base}/500`), { status: 500, body: '' })
  t.match(await fetcher()(`${base}/204`), { status: 204, body: '' })
  t.match(await fetcher()(`${base}/utf8`), { body: 'Zoë' }, 'a character may span two chunks')
  t.match(
    await fetcher()(`https://127.0.0.1:${port}/document`),
    { status: 200 },
    'an address instead of a name, where it is allowed'
  )
})

t.test('a request has no credentials, no cookie and nothing that identifies this server', async (t) => {
  await fetcher()(`${base}/document`)
  await fetcher()(`${base}/document`)
  t.strictSame(asked.map(({ headers }) => headers), Array(2).fill({
    accept: 'application/json',
    'accept-encoding': 'identity',
    'user-agent': 'Seed',
    host: `client.example:${port}`,
    connection: 'close'
  }))
  t.equal(connections, 2, 'each fetch has a connection of its own')
})

t.test('a URL without https, or with credentials or a fragment, is refused and not repeated', async (t) => {
  for (const url of [
    `http://client.example:${port}/document`, 'ftp://client.example/', 'file:///etc/passwd',
    'data:application/json,{}', 'not a URL', '',
    `https://user@client.example:${port}/document`, `https://user:secret@client.example:${port}/document`,
    `https://:secret@client.example:${port}/document`,
    `${base}/document#fragment`, `${base}/document#`
  ]) {
    await t.rejects(
      fetcher()(url),
      refused('A public document must have an https URL without credentials and without a fragment'),
      url
    )
  }
  t.equal(connections, 0)
})

/** Everything that leads to this machine or to its neighbours. */
const PRIVATE = [
  '127.0.0.1', '0.0.0.0', '10.0.0.1', '100.64.0.1', '169.254.169.254', '172.16.0.1', '192.168.0.1', '::1', '::',
  '::ffff:127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::', '::127.0.0.1', 'fd00::1', 'fe80::1'
]

t.test('an address that is not public is refused before a connection is opened', async (t) => {
  let lookups = 0
  const fetchDocument = createPublicFetcher({ ca, lookup: async () => { lookups++; return [] } })
  for (const host of [
    ...PRIVATE.map((address) => address.includes(':') ? `[${address}]` : address),
    '2130706433',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '127.0.0.1.',
    '①②⑦.0.0.1'
  ]) {
    const { origin } = new URL(`https://${host}:${port}`)
    await t.rejects(
      fetchDocument(`https://${host}:${port}/document?secret=1`),
      refused(`${origin}/document is not at a public address`),
      host
    )
  }
  t.equal(lookups, 0, 'none of them is a name')
  t.equal(connections, 0)
})

t.test('a name is refused if any of its addresses is not public', async (t) => {
  const message = `${base}/document is not at a public address`
  for (const address of PRIVATE) {
    await t.rejects(
      createPublicFetcher({ ca, lookup: resolvesTo(address) })(`${base}/document?secret=1`),
      refused(message),
      address
    )
    await t.rejects(
      createPublicFetcher({ ca, lookup: resolvesTo('8.8.8.8', address) })(`${base}/document`),
      refused(message),
      `8.8.8.8 and ${address}`
    )
  }
  await t.rejects(
    createPublicFetcher({ ca, lookup: resolvesTo() })(`${base}/document`),
    refused(message),
    'no address at all'
  )
  await t.rejects(
    createPublicFetcher({ ca })(`https://localhost:${port}/document`),
    refused(/is not at a public address$/),
    'as this machine looks names up'
  )
  t.equal(connections, 0)
})

t.test('the address of the connection is checked again before a byte is sent', async (t) => {
  const received: Array<Promise<number>> = []
  const silent = createNetServer((socket) => {
    socket.on('error', () => {}).resume()
    received.push(once(socket, 'close').then(() => socket.bytesRead))
  })
  const silentPort = await listen(t, silent)
  for (const host of ['client.example', '127.0.0.1']) {
    const judged: string[] = []
    const fetchDocument = fetcher({ isAllowed: (address) => judged.push(address) === 1 })
    await t.rejects(
      fetchDocument(`https://${host}:${silentPort}/document`),
      refused(`https://${host}:${silentPort}/document is not at a public address`)
    )
    t.strictSame(judged, ['127.0.0.1', '127.0.0.1'])
  }
  t.strictSame(await Promise.all(received), [0, 0])
})

t.test('redirects are not followed', async (t) => {
  for (const status of [300, 301, 302, 303, 304, 307, 308]) {
    await t.rejects(
      fetcher()(`${base}/redirect/${status}?secret=1`),
      refused(`${base}/redirect/${status} answered with a redirect, which is not followed`, status)
    )
  }
  t.match(await fetcher()(`${base}/pointers`), { status: 200, body: '{}' })
  t.notOk(asked.some(({ path }) => path === '/sink'))
})

t.test('a compressed response is refused', async (t) => {
  t.match(await fetcher()(`${base}/identity`), { body: '{}' })
  for (const path of ['/gzip', '/chain']) {
    await t.rejects(
      fetcher()(base + path),
      refused(`${base}${path} answered with a content-encoding that was not asked for`, 200)
    )
  }
})

t.test('the byte limit covers the body', async (t) => {
  t.equal((await fetcher()(`${base}/full`)).body.length, LIMIT)
  await t.rejects(fetcher()(`${base}/long`), refused(`${base}/long answered with more than 5120 bytes`, 200))
  t.equal((await fetcher()(`${base}/long`, { maxBytes: LIMIT + 1 })).body.length, LIMIT + 1)
  const ended = once(events, 'let go')
  await t.rejects(fetcher()(`${base}/endless`), refused(/more than 5120 bytes/, 200))
  await ended
  t.pass('the connection was let go')
})

t.test('the time limit covers everything, DNS included', async (t) => {
  for (const path of ['/hang', '/drip-headers', '/drip-body', '/endless']) {
    const ended = path === '/endless' ? once(events, 'let go') : undefined
    await t.rejects(
      fetcher()(base + path, { timeoutMs: 200, maxBytes: 1e9 }),
      away(`${base}${path} did not answer within 200 ms`)
    )
    await ended
  }
  const neverFound = fetcher({ lookup: () => new Promise(() => {}) })
  await t.rejects(
    neverFound(`${base}/document`, { timeoutMs: 50 }),
    away(`${base}/document did not answer within 50 ms`),
    'looking the name up included'
  )

  let found: (addresses: LookupAddress[]) => void
  const foundTooLate = fetcher({ lookup: () => new Promise((resolve) => { found = resolve }) })
  connections = 0
  await t.rejects(foundTooLate(`${base}/document`, { timeoutMs: 50 }), away(/within 50 ms/))
  found!(await resolvesTo('127.0.0.1')())
  await fetcher()(`${base}/document`)
  t.equal(connections, 1, 'a name that is found later is not connected to')

  const silentPort = await listen(t, createNetServer(() => {}))
  await t.rejects(
    fetcher()(`https://127.0.0.1:${silentPort}/x`, { timeoutMs: 100 }),
    away(/within 100 ms/),
    'and the TLS handshake'
  )
})

t.test('the error says why there is no response, without the query of the URL', async (t) => {
  const nobody = await freePort()
  await t.rejects(
    fetcher()(`https://client.example:${nobody}/path?secret=1`),
    away(`https://client.example:${nobody}/path cannot be reached (ECONNREFUSED)`)
  )
  const unknown = Object.assign(new Error('getaddrinfo ENOTFOUND client.example'), { code: 'ENOTFOUND' })
  await t.rejects(
    fetcher({ lookup: () => Promise.reject(unknown) })(`${base}/document`),
    away(`${base}/document cannot be reached (ENOTFOUND)`)
  )
  await t.rejects(
    fetcher({ lookup: () => Promise.reject(new Error('broken')) })(`${base}/document`),
    away(`${base}/document cannot be reached (Error)`)
  )
  for (const path of [
    '/drop', '/cut'
  ]) await t.rejects(fetcher()(base + path), away(`${base}${path} cannot be reached (ECONNRESET)`))
  await t.rejects(fetcher()(`${base}/garbage`), away(/cannot be reached \(HPE_\w+\)/))
  await t.rejects(fetcher()(`${base}/upgrade`), away(`${base}/upgrade gave no answer`))

  const error = await fetcher()(`https://127.0.0.1:${nobody}/`).then(() => undefined, (err: unknown) => err)
  t.ok(error instanceof FetchError)
  t.equal(((error as FetchError).cause as NodeJS.ErrnoException).code, 'ECONNREFUSED')
})

t.test('a server without a valid certificate for the name is refused', async (t) => {
  await t.rejects(
    createPublicFetcher({ lookup: resolvesTo('127.0.0.1'), isAllowed: () => true })(`${base}/document`),
    away(`${base}/document cannot be reached (DEPTH_ZERO_SELF_SIGNED_CERT)`)
  )
  await t.rejects(
    fetcher()(`https://other.example:${port}/document`),
    away(`https://other.example:${port}/document cannot be reached (ERR_TLS_CERT_ALTNAME_INVALID)`)
  )
  t.intercept(process, 'env', { value: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0' } })
  await t.rejects(
    fetcher()(`https://other.example:${port}/document`),
    away(/ERR_TLS_CERT_ALTNAME_INVALID/),
    'whatever the environment allows'
  )
  t.strictSame(asked, [])
})
