import t from 'tap'
import { modernRequest, ready, sendModern, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'
import type { Test } from 'tap'

/** Requests as real clients send them, a little off the specification, over HTTP. */

const JSON_TYPE = 'application/json'
const INITIALIZED = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })
const LIST = { jsonrpc: '2.0', id: 1, method: 'tools/list' }

interface Client {
  seed: TestSeed
  send (
    method: string, options?: { body?: unknown, headers?: Record<string, string>, path?: string }
  ): Promise<Response>
}

async function openSession (t: Test): Promise<Client> {
  const seed = await startSeed(t)
  await ready(seed)
  const authorization = `Bearer ${await seed.provider.mint()}`
  const headers = { authorization, 'content-type': JSON_TYPE, accept: 'application/json, text/event-stream' }
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  const begun = await fetch(`${seed.url}/mcp`, {
    method: 'POST', headers, body: JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params })
  })
  const session = { 'mcp-session-id': begun.headers.get('mcp-session-id')!, 'mcp-protocol-version': '2025-11-25' }
  return {
    seed,
    send: async (method, { body, headers: own = {}, path = '/mcp' } = {}) => await fetch(`${seed.url}${path}`, {
      method,
      headers: { ...headers, ...session, ...own },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) })
    })
  }
}

t.test('a notification gets 202 without a body', async (t) => {
  const { seed, send } = await openSession(t)
  const cancelled = modernRequest('notifications/cancelled', { requestId: 1 })
  const { id, ...notification } = JSON.parse(cancelled.body) as Record<string, unknown>
  for (const [what, response] of [
    ['in a session', await send('POST', { body: INITIALIZED })],
    ['without a session', await sendModern(
      seed.url, { ...cancelled, body: JSON.stringify(notification) }, await seed.provider.mint()
    )]
  ] as const) {
    t.equal(response.status, 202, what)
    t.equal(response.headers.get('content-length'), '0', what)
    t.equal(response.headers.get('content-type'), null, what)
    t.equal(await response.text(), '', what)
  }
})

t.test('the official Python client ends its session: DELETE with a content type and no body', async (t) => {
  const { send } = await openSession(t)
  const response = await send('DELETE')
  t.equal(response.status, 204)
  t.equal(await response.text(), '')
  t.equal((await send('POST', { body: LIST })).status, 404, 'it is over')
})

t.test('a body of DELETE is not read', async (t) => {
  const { send } = await openSession(t)
  t.equal((await send('DELETE', { body: '{"not json', headers: { 'content-type': 'text/plain' } })).status, 204)
  t.equal((await send('PUT', { body: '{"not json' })).status, 405)
})

t.test('a client that accepts only event streams gets its response as an event', async (t) => {
  const { send } = await openSession(t)
  const response = await send('POST', { body: LIST, headers: { accept: 'text/event-stream' } })
  t.equal(response.status, 200)
  t.equal(response.headers.get('content-type'), 'text/event-stream')
  const [, data] = /^event: message\ndata: (.*)\n\n$/.exec(await response.text())!
  t.match(JSON.parse(data!), { id: 1, result: { tools: [{ name: 'seed_ping' }] } })
  const refused = await send('POST', { body: 'junk', headers: { accept: 'text/event-stream' } })
  t.equal(refused.status, 400)
  t.match(refused.headers.get('content-type'), /^application\/json/, 'an error of HTTP is JSON')
})

t.test('an empty Accept accepts everything; one without both types is 406', async (t) => {
  const { send } = await openSession(t)
  t.equal((await send('POST', { body: LIST, headers: { accept: '' } })).status, 200)
  t.equal((await send('POST', { body: LIST, headers: { accept: 'text/html' } })).status, 406)
})

t.test('a slash more at the end is the same address, with the same checks', async (t) => {
  const { send } = await openSession(t)
  t.equal((await send('POST', { body: LIST, path: '/mcp/' })).status, 200)
  const refused = await send('POST', { body: LIST, path: '/mcp/', headers: { authorization: '' } })
  t.equal(refused.status, 401)
  t.match(refused.headers.get('www-authenticate'), /resource_metadata=/)
})

t.test('/ tells a person the address for clients, and a client that POSTs there too', async (t) => {
  const { seed, send } = await openSession(t)
  const page = await fetch(`${seed.url}/`)
  t.equal(page.status, 200)
  t.match(page.headers.get('content-type'), /^text\/html/)
  t.match(page.headers.get('content-security-policy'), "default-src 'none'")
  t.match(await page.text(), `<code>${seed.url}/mcp</code>`)
  for (const path of ['/', '/sse', '/MCP', '/messages']) {
    const response = await send('POST', { body: LIST, path })
    t.equal(response.status, 404, path)
    t.match(await response.json(), { message: `There is nothing at this path. MCP clients connect to ${seed.url}/mcp` })
  }
})

t.test('pages of a browser extension or desktop application may be allowed by name', async (t) => {
  const allowed = ['chrome-extension://abcdefghijklmnopabcdefghijklmnop', 'app://obsidian.md', 'vscode-file://vscode-app']
  const seed = await startSeed(t, { env: { CORS_EXTRA_ORIGINS: allowed.join(',') } })
  await ready(seed)
  const send = async (origin: string): Promise<Response> =>
    await sendModern(seed.url, modernRequest('tools/list'), await seed.provider.mint(), { origin })
  for (const origin of allowed) {
    const response = await send(origin)
    t.equal(response.status, 200, origin)
    t.equal(response.headers.get('access-control-allow-origin'), origin)
  }
  for (const origin of ['chrome-extension://other', 'app://obsidian.md.evil', 'null']) {
    t.equal((await send(origin)).status, 403, origin)
  }
})

t.test('null is taken for an absent member where the protocol lets it be absent', async (t) => {
  const { seed, send } = await openSession(t)
  for (const params of [null, { cursor: null }, { _meta: null }, { _meta: { progressToken: null } }]) {
    const response = await send('POST', { body: { ...LIST, params } })
    t.equal(response.status, 200)
    t.match(await response.json(), { id: 1, result: { tools: [{ name: 'seed_ping' }] } }, JSON.stringify(params))
  }
  const call = await send('POST', { body: { ...LIST, method: 'tools/call', params: { name: 'seed_ping', arguments: null } } })
  t.match(await call.json(), { id: 1, result: { content: [{ type: 'text' }] } })
  const modern = await sendModern(seed.url, modernRequest('tools/list', { cursor: null }), await seed.provider.mint())
  t.match(await modern.json(), { result: { tools: [{ name: 'seed_ping' }] } })
})

t.test('params of a wrong type are -32602, with a sentence', async (t) => {
  const { send } = await openSession(t)
  for (const [method, params, message] of [
    ['tools/list', { cursor: 5 }, 'Invalid params: cursor must be string, not number'],
    ['tools/call', { name: 5 }, 'Invalid params: name must be string, not number'],
    ['tools/call', undefined, 'Invalid params: they must have required properties name'],
    ['tools/call', { name: 'seed_ping', arguments: 'x' }, 'Invalid params: arguments must be object, not string'],
    ['prompts/get', { name: 'x', arguments: { a: 1 } }, 'Invalid params: arguments/a must be string, not number'],
    ['prompts/get', { name: 'x', arguments: { 'a\nb': 1 } }, 'Invalid params: arguments/a\nb must be string, not number'],
    ['resources/read', { uri: null }, 'Invalid params: uri must be string, not null'],
    ['resources/subscribe', {}, 'Invalid params: they must have required properties uri'],
    ['logging/setLevel', { level: 1 }, 'Invalid params: level must be string, not number'],
    ['initialize', { protocolVersion: '2025-11-25', capabilities: {} },
      'Invalid params: they must have required properties clientInfo']
  ] as const) {
    const response = await send('POST', { body: { ...LIST, method, ...(params !== undefined && { params }) } })
    t.equal(response.status, 200)
    t.same(await response.json(), { jsonrpc: '2.0', id: 1, error: { code: -32602, message } })
  }
})
