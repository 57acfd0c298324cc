import { once } from 'node:events'
import { request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { Type } from 'typebox'
import { text, toolResult } from '../../src/define/content.ts'
import { ToolError, defineTool } from '../../src/define/tool.ts'
import type { ToolDefinition } from '../../src/define/tool.ts'
import { subjectKey } from '../../src/tokens/revocations.ts'
import { modernRequest, ready, startSeed } from '../support/seed.ts'
import type { TestSeed } from '../support/seed.ts'

/** The fast path of plain calls (src/mcp/fast-path) over real HTTP: what it serves, and when it must not. */

const input = Type.Object({ nonce: Type.Optional(Type.Integer()) })
const tool = (name: string, handler: ToolDefinition['handler'], rest: Partial<ToolDefinition> = {}): ToolDefinition =>
  defineTool({ name, description: `The tool ${name}`, input, handler, ...rest } as Parameters<typeof defineTool>[0])
const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => { setImmediate(resolve) })
}

const definitions = [
  tool('says', () => 'été "1" 2\u2028'),
  tool('later', async ({ nonce }) => {
    await turns(Number(nonce ?? 5))
    return `after ${nonce}`
  }),
  tool('form', () => ({ count: 1, nested: [null, 'x'] }), { output: Type.Object({ count: Type.Integer() }) }),
  tool('refuses', () => { throw new ToolError('no') }),
  tool('rich', () => toolResult({ content: [text('a'), text('b')], isError: true })),
  tool('nothing', () => undefined as never, { output: Type.Object({}) }),
  tool('scoped', () => 'allowed', { scopes: ['openid'] }),
  tool('who', async ({ nonce }, { principal }) => {
    await turns(Number(nonce) % 4)
    return `${principal!.subject} ${nonce}`
  })
]

/** So many that their list is sent as bytes. */
const many = Array.from({ length: 150 }, (_none, number) =>
  tool(`filler_${number}`, () => 'filled', { description: `${number}: ${'né "x" '.repeat(60)}` })
)

interface Sent {
  body: string
  headers: Record<string, string>
}

/** The answer as it is on the wire, but for the time and the reference. */
async function onTheWire ({ url }: TestSeed, { body, headers }: Sent, token: string) {
  const sent = request(`${url}/mcp`, {
    method: 'POST',
    headers: {
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      ...headers
    }
  })
  sent.end(body)
  const [response] = await once(sent, 'response')
  const lines: string[] = response.rawHeaders
  const head = lines.map((line, at) =>
    at % 2 === 1 && ['date', 'x-request-id'].includes(lines[at - 1]!.toLowerCase()) ? '…' : line
  )
  const answer = (await buffer(response)).toString().replace(/under reference [\w-]{12}/, 'under reference …')
  return { status: response.statusCode, head, answer }
}

async function openSession ({ url }: TestSeed, token: string): Promise<string> {
  const initialize = {
    jsonrpc: '2.0',
    id: 0,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  }
  const response = await fetch(`${url}/mcp`, {
    method: 'POST',
    body: JSON.stringify(initialize),
    headers: {
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      authorization: `Bearer ${token}`
    }
  })
  await response.text()
  return response.headers.get('mcp-session-id')!
}

t.test('over HTTP the fast path responds as the SDK does: status, headers in order, and every byte', async (t) => {
  const seed = await startSeed(t, { definitions: [...definitions, ...many] })
  await ready(seed)
  const token = await seed.provider.mint()
  const session = { 'mcp-session-id': await openSession(seed, token), 'mcp-protocol-version': '2025-11-25' }
  const calls = definitions.map(({ name }, index) => ({
    method: 'tools/call',
    params: { name, arguments: { nonce: index } }
  }))
  for (const { method, params } of [
    ...calls,
    { method: 'tools/call', params: { name: 'says', arguments: { nonce: 'no number' } } },
    { method: 'tools/list', params: {} }
  ]) {
    const about = `${method} ${'name' in params ? params.name : ''}`
    for (const id of [7, 'a "b" é']) {
      const modern = modernRequest(method, params, id)
      const inSession = { body: JSON.stringify({ jsonrpc: '2.0', id, method, params }), headers: session }
      for (const sent of [modern, inSession]) {
        const fast = await onTheWire(seed, sent, token)
        // The same to every reader, and not what clients of the protocol write: no plain request.
        const slow = await onTheWire(
          seed,
          { ...sent, headers: { ...sent.headers, 'content-type': 'application/json; Charset=UTF-8' } },
          token
        )
        t.strictSame(fast, slow, about)
        t.equal(fast.status, 200, about)
        t.same(JSON.parse(fast.answer).id, id)
      }
    }
  }
})

t.test('many callers at once with the same ids on shared connections each get their own response', async (t) => {
  const seed = await startSeed(t, { definitions })
  await ready(seed)
  const people = await Promise.all(Array.from({ length: 12 }, async (_none, index) => {
    const token = await seed.provider.mint({ sub: `p${index}` })
    return { subject: `p${index}`, token, session: { 'mcp-session-id': await openSession(seed, token) } }
  }))
  const wrong: string[] = []
  for (let round = 0; round < 15; round++) {
    await Promise.all(people.flatMap(({ subject, token, session }, index) => [true, false].map(async (isModern) => {
      const nonce = round * 100 + index
      const params = { name: 'who', arguments: { nonce } }
      const sent = isModern
        ? modernRequest('tools/call', params)
        : { body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }), headers: session }
      const { answer } = await onTheWire(seed, sent, token)
      if (JSON.parse(answer).result?.content[0].text !== `${subject} ${nonce}`) wrong.push(answer)
    })))
  }
  t.same(wrong, [])
})

t.test('a cached token is refused', async (t) => {
  const says = modernRequest('tools/call', { name: 'says', arguments: {} })
  const status = async (seed: TestSeed, token: string): Promise<number> => (await onTheWire(seed, says, token)).status!

  t.test('from the second it expires', async (t) => {
    const seed = await startSeed(t, { definitions, env: { TOKEN_CLOCK_SKEW_SECONDS: '0' } })
    await ready(seed)
    const exp = Math.floor(Date.now() / 1_000) + 3
    const token = await seed.provider.mint({ exp })
    let good = 0
    let late = 0
    for (;;) {
      const sentAt = Date.now()
      if (await status(seed, token) === 401) break
      good++
      if (sentAt >= exp * 1_000) late++
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    t.ok(Date.now() >= exp * 1_000, 'and not before')
    t.ok(good > 1)
    t.equal(late, 0)
  })

  t.test('from the moment it is revoked, in a session too', async (t) => {
    const seed = await startSeed(t, { definitions })
    await ready(seed)
    const token = await seed.provider.mint({ sub: 'ada' })
    const inSession = {
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'says', arguments: {} } }),
      headers: { 'mcp-session-id': await openSession(seed, token) }
    }
    for (let call = 0; call < 2; call++) {
      t.equal(await status(seed, token), 200)
      t.equal((await onTheWire(seed, inSession, token)).status, 200)
    }
    await seed.app.accessTokens!.revocations.revoke([subjectKey('ada')])
    t.equal(await status(seed, token), 401)
    t.equal((await onTheWire(seed, inSession, token)).status, 401)
  })

  t.test('from the moment its key is withdrawn', async (t) => {
    const now = performance.now.bind(performance)
    let ahead = 0
    t.intercept(performance, 'now', { value: () => now() + ahead })
    const seed = await startSeed(t, { definitions })
    await ready(seed)
    const token = await seed.provider.mint()
    t.equal(await status(seed, token), 200)
    t.equal(await status(seed, token), 200)
    await seed.provider.rotateKeys({ keepOld: false })
    // A token with an unknown key makes Seed fetch the keys, five seconds after the last time.
    ahead += 5_000
    t.equal(await status(seed, await seed.provider.mint()), 200)
    ahead += 5_000
    t.equal(await status(seed, token), 401)
  })
})

t.test('a client that disconnects cancels its call in 2026-07-28 but not in a session', async (t) => {
  const signals: AbortSignal[] = []
  let begun: () => void
  let finish: () => void
  const waits = tool('waits', async (_input, { signal }) => {
    signals.push(signal)
    begun()
    return await new Promise<string>((resolve) => { finish = () => { resolve('done') } })
  })
  const seed = await startSeed(t, { definitions: [waits] })
  await ready(seed)
  const token = await seed.provider.mint()
  const session = { 'mcp-session-id': await openSession(seed, token), 'mcp-protocol-version': '2025-11-25' }
  const params = { name: 'waits', arguments: {} }
  for (const { body, headers } of [
    modernRequest('tools/call', params),
    { body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }), headers: session }
  ]) {
    const running = new Promise<void>((resolve) => { begun = resolve })
    const connected = once(seed.app.server, 'connection')
    const sent = request(`${seed.url}/mcp`, {
      method: 'POST',
      agent: false,
      headers: {
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        ...headers
      }
    })
    sent.on('error', () => {})
    sent.end(body)
    await running
    // Behind the turn in which it began.
    await turns(3)
    const [socket] = await connected
    const left = once(socket, 'close')
    sent.destroy()
    await left
    const signal = signals.at(-1)!
    if (headers !== session) {
      if (!signal.aborted) await once(signal, 'abort')
      t.match(signal.reason, { message: 'The client is no longer waiting' })
    } else {
      await turns(3)
      t.notOk(signal.aborted)
      finish!()
    }
  }
})
