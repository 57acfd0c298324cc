import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { ping, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

const LIST = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} })

t.test('the MCP endpoint', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const authorization = `Bearer ${await seed.provider.mint()}`
  const post = async (body: string | undefined, headers: Record<string, string> = {}) => await fetch(`${seed.url}/mcp`, {
    method: 'POST', headers: { 'content-type': 'application/json', authorization, ...headers }, ...(body !== undefined && { body })
  })
  const stillGood = async () => { t.equal((await ping(seed.url, authorization.slice(7))).status, 200, 'and the next call is served') }

  t.test('answers JSON that nobody may store', async (t) => {
    const response = await post(LIST)
    t.equal(response.status, 200)
    t.match(response.headers.get('content-type'), /^application\/json/)
    t.equal(response.headers.get('cache-control'), 'no-store')
    t.match(await response.json(), { id: 1, result: { tools: [{ name: 'seed_ping', title: String, description: String, inputSchema: { type: 'object' }, outputSchema: { type: 'object' } }] } })
  })

  t.test('has no sessions yet: GET and DELETE are 405, behind authentication', async (t) => {
    for (const method of ['GET', 'DELETE', 'PUT', 'PATCH']) {
      const response = await fetch(`${seed.url}/mcp`, { method, headers: { authorization } })
      t.equal(response.status, 405, method)
      t.equal(response.headers.get('allow'), 'POST')
      t.match(await response.json(), { jsonrpc: '2.0', id: null, error: { code: -32000 } })
      t.equal((await fetch(`${seed.url}/mcp`, { method })).status, 401)
    }
    const response = await post(LIST, { 'mcp-session-id': 'from-somewhere-else', 'last-event-id': '1' })
    t.equal(response.status, 200)
    t.equal(response.headers.get('mcp-session-id'), null, 'an incoming session id is ignored and not echoed')
  })

  t.test('serves whoever takes JSON', async (t) => {
    for (const accept of ['application/json', 'application/json, text/event-stream', 'text/event-stream, application/json;q=0.9', '*/*', 'application/*', 'text/html, */*;q=0.1', 'APPLICATION/JSON']) {
      t.equal((await post(LIST, { accept })).status, 200, accept)
    }
    for (const accept of ['text/event-stream', 'text/html', 'application/jsonp', 'image/*']) {
      const response = await post(LIST, { accept })
      t.equal(response.status, 406, accept)
      t.match(await response.json(), { jsonrpc: '2.0', error: { code: -32000 } })
    }
  })

  t.test('takes JSON and nothing else', async (t) => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonp', 'application/json, text/plain', 'text/plain; application/json']) {
      const response = await post(LIST, { 'content-type': type })
      t.equal(response.status, 415, type)
      t.match(await response.json(), { error: { code: -32000 } })
    }
    t.equal((await fetch(`${seed.url}/mcp`, { method: 'POST', headers: { authorization }, body: new Blob([LIST]) })).status, 415, 'no content type')
    t.equal((await post(LIST, { 'content-type': 'application/json; charset=utf-8' })).status, 200)
    await stillGood()
  })

  t.test('answers what is no message in the form of JSON-RPC', async (t) => {
    for (const body of ['', '{', '{"jsonrpc":"2.0",}', `${LIST}${LIST}`]) {
      const response = await post(body)
      t.equal(response.status, 400, body.slice(0, 30))
      t.match(await response.json(), { jsonrpc: '2.0', id: null, error: { code: -32700 } })
    }
    for (const body of ['null', '1', 'true', '"1"', '{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '{"\\u005f_proto__":1}']) {
      const response = await post(body)
      t.equal(response.status, 400, body)
      t.ok([-32600, -32700].includes((await response.json() as { error: { code: number } }).error.code))
    }
    t.equal((await post('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"seed_ping","arguments":{"__proto__":{"a":1}}}}')).status, 400)
    t.equal(({} as { polluted?: unknown }).polluted, undefined)
    await stillGood()
  })

  t.test('refuses what is nested deeper than 64 levels, at any depth beyond', async (t) => {
    const nested = (levels: number, [open, close]: readonly [string, string]) => `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":${open.repeat(levels)}1${close.repeat(levels)}}}`
    for (const kind of [['[', ']'], ['{"a":', '}']] as const) {
      t.equal((await post(nested(60, kind))).status, 200)
      for (const levels of [65, 1_000, 100_000]) t.equal((await post(nested(levels, kind))).status, 400, `${levels} levels`)
    }
    await stillGood()
  })

  t.test('refuses a body over 1 MiB', async (t) => {
    const response = await post(`"${'x'.repeat(1_048_577)}"`)
    t.equal(response.status, 413)
    t.match(await response.json(), { error: { message: 'The body is too large' } })
    await stillGood()
  })

  t.test('no variant of its path is served without a token', async (t) => {
    for (const path of ['/mcp/', '//mcp', '/%6dcp', '/MCP', '/mcp;a', '/mcp%2f', '/mcp/../mcp', '/mcp?x', '/mcp/anything', '/mcpx', '/./mcp', '/mcp%00', 'http://evil.example/mcp']) {
      const answer = await raw(seed, `POST ${path} HTTP/1.1\r\nHost: ${new URL(seed.url).host}\r\nContent-Type: application/json\r\nContent-Length: ${LIST.length}\r\nConnection: close\r\n\r\n${LIST}`)
      t.match(answer, /^HTTP\/1\.1 (401|404|400) /, path)
    }
  })

  t.test('survives what is no HTTP', async (t) => {
    const host = `Host: ${new URL(seed.url).host}`
    for (const request of [
      `POST /mcp HTTP/1.1\r\n${host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `GET /mcp HTTP/1.1\r\n${host}\r\nX: a\r\n b\r\n\r\n`,
      'GET /mcp HTTP/1.1\r\n\r\n',
      `GET /mcp HTTP/1.1\r\n${host}\r\nX: ${'a'.repeat(17_000)}\r\n\r\n`,
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    ]) t.match(await raw(seed, request), /^(HTTP\/1\.1 4\d\d |$)/)
    const upgrade = await raw(seed, `GET /mcp HTTP/1.1\r\n${host}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n`)
    t.notMatch(upgrade, /^HTTP\/1\.1 101/)
    await stillGood()
  })

  t.test('one log line per request says who called what, cut where a client could write at length', async (t) => {
    await post(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'no\nsuch\u202etool'.padEnd(500, 'x') } }))
    const line = await seed.logged(({ tool }) => String(tool).startsWith('no\nsuch'))
    t.match(line, { msg: 'User context', mcpMethod: 'tools/call', user: { subject: String, clientId: String }, status: 200, method: 'POST', path: '/mcp' })
    t.equal(String(line['tool']).length, 64)
    await post(`[${LIST},${LIST}]`)
    await seed.logged(({ batch }) => batch === 2)
    await post(JSON.stringify({ jsonrpc: '2.0', method: 7 }))
    const refused = await seed.logged(({ refused }) => refused === 'missing_token')
    t.equal(refused.msg, 'Request')
  })
})

async function raw ({ url }: TestSeed, request: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write(request)
  socket.on('error', () => {})
  return await text(socket).catch(() => '')
}
