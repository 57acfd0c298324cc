import { once } from 'node:events'
import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { createHttpTransport } from '../../src/mounts/transport/http-transport.ts'
import { createLimitedFetch, sendLimited } from '../../src/mounts/transport/limited-fetch.ts'
import { MountClient } from '../../src/mounts/transport/mount-client.ts'
import type { Mount } from '../../src/mounts/settings/mounts-file.ts'
import { useProxy } from '../../src/net/proxy.ts'
import { until } from '../support/until.ts'
import { ADD, startMounted, startUpstream } from '../support/upstream.ts'
import type { Upstream } from '../support/upstream.ts'

const LIMITS = { maxBytes: 1_000, onTooLarge: () => {} }
const REQUEST = { method: 'GET', headers: {}, body: null, signals: [] }

/** Answers calls of a tool in the place of the mounted server. */
function answerCalls (upstream: Upstream, answer: (id: unknown, response: ServerResponse, url: string) => void): void {
  upstream.intercept = (request, response) => {
    const { method, id } = upstream.messages.at(-1) as { method: string, id: unknown }
    if (method !== 'tools/call') return false
    answer(id, response, request.url!)
    return true
  }
}

const EVENTS = { 'content-type': 'text/event-stream' }

const pong = (id: unknown, result: object = { content: [{ type: 'text', text: 'pong' }] }): string =>
  JSON.stringify({ jsonrpc: '2.0', id, result: { resultType: 'complete', ...result } })

t.test('an answer of a mounted server is found in an event stream, among whatever else is in it', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const call = async () => (await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} })).response.result
  const note = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'ü' } })
  for (const stream of [
    (id: unknown) => `: hi\n\nid: 7\nevent: message\ndata: ${note}\n\ndata:${pong(id)}\n\n`,
    (id: unknown) => `event: other\r\ndata: none\r\n\r\nretry\r\ndata: ${pong(id).replace(',', ',\r\ndata: ')}\r\n\r\n`,
    (id: unknown) => `data: ${pong('another')}\n\ndata: ${pong(id)}\n\n`,
    (id: unknown) => `\uFEFFdata: ${pong(id).replace('pong', 'pong \u2028\u2029\u0085 pong')}\n\n`,
    (id: unknown) => `:\u2028\r\n: hi\revent: message\rdata: ${pong(id).replace(',', ',\rdata: ')}\n\r`
  ]) {
    answerCalls(upstream, (id, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
      // Byte by byte: events and characters are cut anywhere.
      for (const byte of Buffer.from(stream(id))) response.write(Buffer.of(byte))
      response.end()
    })
    t.match(await call(), { content: [{ text: /^pong/ }] })
    answerCalls(upstream, (id, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(stream(id))
    })
    t.match(await call(), { content: [{ text: /^pong/ }] }, 'and at once')
  }
  answerCalls(upstream, (_id, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: {"jsonrpc":1}\n\n')
  })
  t.match(await call(), { isError: true, content: [{ text: /something other than MCP/ }] })
})

for (const [what, era, meta] of [
  ['', 'modern', {}],
  [' with progress', 'modern', { progressToken: 1 }],
  [' in a session', 'session', {}]
] as const) {
  t.test(`a mounted server that leaves the stream of a call${what} open after its answer keeps no socket`, async (t) => {
    const upstream = await startUpstream(t, era)
    const seed = await startMounted(t, { calc: { url: upstream.url } })
    const streams: ServerResponse[] = []
    answerCalls(upstream, (id, response) => {
      streams.push(response)
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(`data: ${pong(id)}\n\n`)
    })
    const params = { name: 'calc_add', arguments: {}, _meta: meta }
    const { text } = await seed.send('modern', 'tools/call', params)
    t.match(text, 'pong')
    await until(() => streams.length === 1 && streams[0]!.closed, 'the stream is closed')
    t.match((await seed.send('modern', 'tools/call', params)).text, 'pong', 'and the connection is used on')
    t.notOk(seed.logs.some(({ event }) => event === 'mount.unavailable'))
  })
}

const PRIMING = 'id: 1\nretry: 1\ndata:\n\n'

for (const [what, begin] of [
  ['is left without an answer', () => {}],
  ['is left with an open stream', (response) => { response.writeHead(200, EVENTS).write(PRIMING) }],
  ['has a stream that is to be resumed', (response) => { response.writeHead(200, EVENTS).end(PRIMING) }]
] as Array<[string, (response: ServerResponse) => void]>) {
  t.test(`a call that is cancelled and ${what} keeps no socket, and its session goes on`, async (t) => {
    const upstream = await startUpstream(t, 'session')
    const seed = await startMounted(t, { calc: { url: upstream.url, connectTimeoutSeconds: 2 } })
    const call = async (signal?: AbortSignal) => {
      const { body, headers } = seed.prepare('modern', 'tools/call', { name: 'calc_add', arguments: {} })
      return await (await fetch(`${seed.url}/mcp`, { method: 'POST', body, headers, signal: signal ?? null })).text()
    }
    t.match(await call(), '{}')
    const sessions = new Set(upstream.requests.map((headers) => headers['mcp-session-id']))
    const sockets = new Set<Socket>()
    const exchanges: string[] = []
    upstream.intercept = ({ method, headers, socket }, response) => {
      const message = method === 'POST' ? upstream.messages.at(-1)! : { method: `GET ${headers['last-event-id']}` }
      exchanges.push(message.method!)
      if (!['tools/call', 'GET 1', 'notifications/cancelled'].includes(message.method!)) return false
      sockets.add(socket)
      socket.once('close', () => { sockets.delete(socket) })
      // The cancellation is ignored as well, and not even accepted.
      if (message.method !== 'notifications/cancelled') begin(response)
      return true
    }
    const abort = new AbortController()
    const calls = [1, 2, 3].map(async () => await call(abort.signal).catch(() => {}))
    await until(() => exchanges.filter((method) => method === 'tools/call').length === 3, 'the calls are there')
    if (what.includes('resumed')) await until(() => exchanges.includes('GET 1'), 'a stream is resumed')
    abort.abort()
    await Promise.all(calls)
    await until(() => exchanges.filter((method) => method === 'notifications/cancelled').length === 3, 'they are cancelled')
    await until(() => sockets.size === 0, 'the sockets are closed')
    upstream.intercept = () => false
    t.match(await call(), '{}')
    t.same(new Set(upstream.requests.map((headers) => headers['mcp-session-id'])), sessions, 'in the same session')
    t.notOk(seed.logs.some(({ event }) => event === 'mount.unavailable'))
  })
}

t.test('a call that is answered on the stream of another keeps no socket', async (t) => {
  const upstream = await startUpstream(t, 'session')
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const call = async () => (await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} })).response.result
  const open: Array<{ id: unknown, response: ServerResponse }> = []
  answerCalls(upstream, (id, response) => {
    open.push({ id, response })
    if (open.length < 2) return
    const events = open.map((one) => `data: ${pong(one.id)}\n\n`)
    response.writeHead(200, EVENTS).write(events.join(''))
  })
  for (const { content } of await Promise.all([call(), call()])) t.equal(content[0].text, 'pong')
  await until(() => open.every(({ response }) => response.closed), 'the sockets are closed')
})

t.test('a mounted server that does not accept the end of the handshake is away, as one that does not answer', async (t) => {
  const upstream = await startUpstream(t, 'session')
  const accept = (): boolean => false
  upstream.intercept = () => upstream.messages.at(-1)?.method === 'notifications/initialized'
  const seed = await startMounted(t, { calc: { url: upstream.url, connectTimeoutSeconds: 1 } })
  t.match(seed.logs.find(({ event }) => event === 'mount.unavailable'), { mount: 'calc', reason: /./ })
  upstream.intercept = accept
  await until(() => seed.logs.some(({ event }) => event === 'mount.connected'), 'it is back')
})

t.test('a stream of a mounted server that is not MCP is not read on', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const called = new Promise<ServerResponse>((resolve) => {
    answerCalls(upstream, (_id, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"jsonrpc":1}\n\n')
      resolve(response)
    })
  })
  const { text } = await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} })
  t.match(text, /something other than MCP/)
  const response = await called
  await until(() => response.closed, 'the stream is closed')
})

t.test('an answer of a mounted server in JSON is what MCP says, or an error', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const error = (id: unknown) => JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32602, message: 'Not like this' } })
  const isMalformed = { result: { isError: true, content: [{ text: /something other than MCP/ }] } }
  const image = { content: [{ type: 'image', data: 'AAAA', mimeType: 'image/png' }] }
  for (const [status, body, expected] of [
    [200, pong, { result: { content: [{ text: 'pong' }] } }],
    [200, (id: unknown) => pong(id, image), { result: image }],
    [200, (id: unknown) => pong(id, { content: [{ type: 'text' }] }), isMalformed],
    [200, (id: unknown) => pong(id, { content: [], resultType: 'input_required' }), isMalformed],
    [200, () => pong('another'), isMalformed],
    [200, error, { error: { code: -32602, message: 'Not like this' } }],
    [400, error, { error: { code: -32602, message: 'Not like this' } }],
    [400, pong, { result: { content: [{ text: /HTTP status 400/ }] } }],
    [400, () => '{', { result: { content: [{ text: /HTTP status 400/ }] } }]
  ] as const) {
    answerCalls(upstream, (id, response) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(body(id))
    })
    t.match((await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} })).response, expected)
  }
})

t.test('a call is sent on to where the mounted server redirects it, on the same origin', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  answerCalls(upstream, (id, response, url) => {
    if (url === '/mcp') response.writeHead(307, { location: '/other' }).end()
    else response.writeHead(200, { 'content-type': 'application/json' }).end(pong(id))
  })
  const { response } = await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} })
  t.match(response.result, { content: [{ text: 'pong' }] })
})

t.test('arguments that the schema wants in a header are sent there, too', async (t) => {
  const upstream = await startUpstream(t)
  const region = { type: 'string', 'x-mcp-header': 'Region' }
  upstream.tools = [{ ...ADD, inputSchema: { type: 'object', properties: { region } } }]
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  await seed.send('legacy', 'tools/call', { name: 'calc_add', arguments: { region: 'eu' } })
  t.equal(upstream.requests.at(-1)!['mcp-param-region'], 'eu')
})

t.test('calls that run are given up when the connection is closed', async (t) => {
  const upstream = await startUpstream(t)
  const seed = await startMounted(t, { calc: { url: upstream.url } })
  const called = new Promise<ServerResponse>((resolve) => {
    answerCalls(upstream, (_id, response) => { resolve(response) })
  })
  const call = seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} }).catch(() => {})
  const response = await called
  const closed = once(response, 'close')
  await seed.app.close()
  await closed
  await call
})

t.test('what a mounted server asks for is returned to a caller that wants it, and to no other', async (t) => {
  const upstream = await startUpstream(t)
  const client = new MountClient({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } })
  const processLog = { stderr () {}, memoryExceeded () {} }
  const options = { maxBytes: 1e6, timeoutMs: 60_000, onFailure: () => {}, processLog, caller: undefined }
  await client.connect(createHttpTransport({ url: upstream.url } as Mount, options))
  t.teardown(async () => { await client.close() })
  const asked = {
    inputRequests: { a: { method: 'elicitation/create', params: { mode: 'url', message: 'Go', url: 'https://x/' } } },
    requestState: 's',
    resultType: 'input_required'
  }
  answerCalls(upstream, (id, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(pong(id, asked))
  })
  t.same(await client.callTool({ name: 'add' }, { toolDefinition: ADD, allowInputRequired: true }), asked)
  await t.rejects(client.callTool({ name: 'add' }, { toolDefinition: ADD }), { code: 'UNSUPPORTED_RESULT_TYPE' })
  upstream.intercept = () => false
  t.match(await client.callTool({ name: 'add', arguments: { a: 1 } }), { content: [{ text: '{"a":1}' }] })
})

t.test('a client that is not connected calls nothing', async (t) => {
  await t.rejects(new MountClient({ name: 'test', version: '1' }).callTool({ name: 'add' }))
})

t.test('a stream that is not read any more is ended, and a slow reader holds it back', async (t) => {
  const server = await listen(t, createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.on('close', () => { server.emit('left') })
    const write = (): void => { if (!response.destroyed) response.write(':\n', () => { setImmediate(write) }) }
    write()
  }))
  const left = once(server, 'left')
  const { body } = await createLimitedFetch({ ...LIMITS, maxBytes: 1e9 })(urlOf(server))
  const reader = body!.getReader()
  for (let reads = 0; reads < 20; reads++) t.equal((await reader.read()).done, false)
  await reader.cancel()
  await left
})

t.test('an event stream comes in whole lines, however it was cut', async (t) => {
  for (const [chunks, lines] of [
    [['da', 't', 'a: 1', '\n', 'id', ': 2\n\nda', 'ta: 3\r', '\n:', '\r\nrest'], ['data: 1\n', 'id: 2\n\n', 'data: 3\r', '\n', ':\r\n']],
    [['data: 1\n\n', ':\r'], ['data: 1\n\n', ':\r']]
  ] as const) {
    const server = await listen(t, createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const chunk of chunks) response.write(chunk)
      response.end()
    }))
    const { body } = await createLimitedFetch(LIMITS)(urlOf(server))
    const got: string[] = []
    for await (const chunk of body!) got.push(Buffer.from(chunk).toString())
    t.same(got, lines)
  }
})

for (const era of ['modern', 'session'] as const) {
  t.test(`a mounted server (${era}) that sends four megabytes byte by byte is read as fast as it sends`, async (t) => {
    const upstream = await startUpstream(t, era)
    const seed = await startMounted(t, { calc: { url: upstream.url, maxResponseBytes: 5_000_000 } })
    const pongs = 'pong '.repeat(800_000)
    answerCalls(upstream, (id, { socket }) => {
      const event = `data: ${pong(id, { content: [{ type: 'text', text: pongs }] })}\n\n`
      socket!.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n')
      socket!.end(`${event.replace(/[^]/g, '1\r\n$&\r\n')}0\r\n\r\n`)
    })
    const { response } = await seed.send('modern', 'tools/call', { name: 'calc_add', arguments: {} })
    // Not t.equal, which would print four megabytes.
    t.ok(response.result.content[0].text === pongs)
  })
}

t.test('requests to a mounted server go through the proxy, but for those to this machine', async (t) => {
  const upstream = await listen(t, createServer((_request, response) => { response.end('reached') }))
  const targets: string[] = []
  const proxy = createServer().on('connect', ({ url }, socket: Socket) => {
    targets.push(url!)
    const onward = connect((upstream.address() as AddressInfo).port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      onward.pipe(socket).pipe(onward)
    })
    t.teardown(() => { onward.destroy(); socket.destroy() })
  })
  await useProxy({ http: urlOf(await listen(t, proxy)), https: undefined, none: undefined })
  t.teardown(async () => { await useProxy({ http: undefined, https: undefined, none: undefined }) })
  for (const url of ['http://tickets.corp.example/mcp', urlOf(upstream)]) {
    const { status, body } = await sendLimited(new URL(url), REQUEST, LIMITS, { onData: () => false })
    t.equal(status, 200)
    t.equal(body.toString(), 'reached')
  }
  t.same(targets, ['tickets.corp.example:80'])
})

t.test('a request that is given up before it is sent is not sent', async (t) => {
  const requests: string[] = []
  const server = await listen(t, createServer(({ url }, response) => {
    requests.push(url!)
    response.end()
  }))
  const abort = new AbortController()
  const request = { ...REQUEST, signals: [abort.signal] }
  const sent = sendLimited(new URL(urlOf(server)), request, LIMITS, { onData: () => false })
  abort.abort(new Error('given up'))
  await t.rejects(sent, { message: 'given up' })
  t.same(requests, [])
})

async function listen (t: Test, server: ReturnType<typeof createServer>) {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => { server.close().closeAllConnections() })
  return server
}

function urlOf (server: ReturnType<typeof createServer>): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}
