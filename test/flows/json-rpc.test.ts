import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { MODERN_META, openSession, postMcp, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** Malformed JSON-RPC and unusual request targets, over HTTP: refused, and never an internal error. */

/** JSON values that throw, or change, when they are coerced to text. */
const ODD = [{ toString: 1 }, [{ toString: null, valueOf: null }], null, 7]

/** Requests with `odd` where a text belongs. */
const withOdd = (odd: unknown) => [
  { method: odd },
  { method: 'tools/call', params: odd },
  { method: 'tools/call', params: { name: odd, arguments: {} } },
  { method: 'tools/call', params: { name: 'seed_ping', arguments: odd } },
  { method: 'prompts/get', params: { name: odd } },
  { method: 'resources/read', params: { uri: odd } },
  { method: 'resources/subscribe', params: { uri: odd } },
  { method: 'completion/complete', params: { ref: odd, argument: { name: 'a', value: 'b' } } },
  { method: 'completion/complete', params: { ref: { type: odd, name: odd }, argument: odd } },
  { method: 'completion/complete', params: { ref: { type: 'ref/prompt', name: odd }, argument: {} } },
  { method: 'completion/complete', params: { ref: { type: 'ref/resource', uri: odd }, argument: {} } },
  { method: 'subscriptions/listen', params: { notifications: odd } },
  { method: 'subscriptions/listen', params: { notifications: { resourceSubscriptions: odd } } },
  { method: 'logging/setLevel', params: { level: odd } },
  { method: 'notifications/cancelled', params: { requestId: odd } }
]

t.test('a member that should be text and is not is refused, never an internal error', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const token = await seed.provider.mint()
  const session = await openSession(seed, token)
  const batches = await openSession(seed, token, '2025-03-26')
  for (const odd of ODD) {
    for (const message of withOdd(odd)) {
      const about = JSON.stringify(message)
      const { params } = message as { params?: unknown }
      const withEnvelope = params !== null && typeof params === 'object' && !Array.isArray(params)
        ? { ...message, params: { ...params, _meta: MODERN_META } }
        : message
      const modern = {
        'mcp-protocol-version': '2026-07-28',
        ...(typeof message.method === 'string' && { 'mcp-method': message.method })
      }
      const request = { jsonrpc: '2.0', id: 1, ...message }
      for (const [body, headers] of [
        [{ ...request, ...withEnvelope }, modern],
        [{ ...request, ...withEnvelope }, { ...modern, 'mcp-name': 'seed_ping' }],
        [request, session.headers],
        [{ ...request, id: odd }, session.headers],
        [{ jsonrpc: '2.0', ...message }, session.headers],
        [{ jsonrpc: '2.0', id: odd, method: 'notifications/initialized' }, session.headers],
        [[request, { ...request, id: 2 }], batches.headers],
        [[odd, request], batches.headers]
      ] as Array<[unknown, Record<string, string>]>) {
        // A subscription stays open.
        const signal = message.method === 'subscriptions/listen' ? AbortSignal.timeout(50) : undefined
        const { status } = await postMcp(seed, { body: JSON.stringify(body), headers }, token, signal)
          .catch(() => ({ status: 0 }))
        if (status >= 500) t.fail(`${status}: ${about} with ${JSON.stringify(headers)}`)
      }
    }
  }
  t.same(seed.logs.filter(({ level }) => level >= 50), [], 'nothing is logged as an error')
})

t.test('a wrong request in a batch of 2025-03-26 is invalid params, and the others are answered', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const token = await seed.provider.mint()
  const { headers } = await openSession(seed, token, '2025-03-26')
  const request = (id: number, method: string, params: object) => ({ jsonrpc: '2.0', id, method, params })
  const { status, body } = await postMcp(seed, {
    headers,
    body: JSON.stringify([
      request(1, 'tools/call', { name: 7 }),
      request(2, 'tools/call', { name: 'seed_ping', arguments: {} }),
      request(3, 'resources/read', { uri: { toString: 1 } })
    ])
  }, token)
  t.equal(status, 200)
  const answers = new Map((body as Array<{ id: number }>).map((answer) => [answer.id, answer]))
  t.equal(answers.size, 3)
  for (const id of [1, 3]) t.match(answers.get(id), { error: { code: -32602, message: /^Invalid params: / } })
  t.match(answers.get(2), { result: { structuredContent: Object } })
  const wrong = JSON.stringify([request(1, 'tools/list', { cursor: 7 })])
  t.match((await postMcp(seed, { headers, body: wrong }, token)).body, [{ id: 1, error: { code: -32602 } }])
})

t.test('a request target in absolute form is served by its path alone, whatever host it names', async (t) => {
  const seed = await startSeed(t)
  await ready(seed)
  const token = await seed.provider.mint()
  const body = JSON.stringify({
    jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'seed_ping', arguments: {}, _meta: MODERN_META }
  })
  // The second is no plain request, so it goes to the SDK.
  for (const name of ['mcp-name: seed_ping', 'mcp-name: =?base64?c2VlZF9waW5n?=']) {
    const send = async (target: string): Promise<string> => await sendRaw(seed, [
      `POST ${target} HTTP/1.1`, `host: ${new URL(seed.url).host}`, `authorization: Bearer ${token}`,
      'content-type: application/json', 'accept: application/json, text/event-stream',
      'mcp-protocol-version: 2026-07-28', 'mcp-method: tools/call', name,
      `content-length: ${body.length}`, 'connection: close', '', body
    ].join('\r\n'))
    for (const target of ['/mcp', '/mcp?x=1', `${seed.url}/mcp`, 'http://evil.example/mcp', 'https://a:b@[::1]:1/mcp']) {
      t.match(await send(target), /^HTTP\/1\.1 200 [^]*"result"/, target)
    }
    for (const target of ['http://', 'evil.example', 'ftp://evil.example/mcp', '*']) {
      t.match(await send(target), /^HTTP\/1\.1 4\d\d /, target)
    }
  }
  t.same(seed.logs.filter(({ level }) => level >= 50), [])
})

async function sendRaw ({ url }: TestSeed, request: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write(request)
  return await text(socket)
}
