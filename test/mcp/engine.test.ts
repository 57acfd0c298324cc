import t from 'tap'
import type { Test } from 'tap'
import { Type } from 'typebox'
import { createEngine } from '../../src/mcp/engine.ts'
import type { Engine } from '../../src/mcp/engine.ts'
import { ToolError, defineTool } from '../../src/mcp/define.ts'
import type { ToolContext } from '../../src/mcp/define.ts'
import { createToolRegistry } from '../../src/mcp/registry.ts'
import type { Principal } from '../../src/oidc/principal.ts'

const MODERN = '2026-07-28'
const META = {
  'io.modelcontextprotocol/protocolVersion': MODERN,
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {}
}

/** A tool that tells when it runs and waits to be let go. */
function gate () {
  let tellStarted: (context: ToolContext) => void
  let open: (text: string) => void
  const started = new Promise<ToolContext>((resolve) => { tellStarted = resolve })
  const opened = new Promise<string>((resolve) => { open = resolve })
  const tool = defineTool({
    name: 'gate',
    description: 'waits',
    input: Type.Object({}),
    async handler (_input, context) {
      tellStarted(context)
      return await Promise.race([opened, new Promise<string>((_resolve, reject) => {
        context.signal.addEventListener('abort', () => { reject(new ToolError('stopped')) })
      })])
    }
  })
  return { tool, started, open: open! }
}

const tools = [
  defineTool({ name: 'whoami', description: 'names the caller', input: Type.Object({}), handler: (_input, { principal }) => principal?.subject ?? 'nobody' }),
  defineTool({
    name: 'add',
    description: 'adds',
    input: Type.Object({ a: Type.Number(), b: Type.Number() }),
    output: Type.Object({ sum: Type.Number() }),
    handler: ({ a, b }) => ({ sum: a + b })
  }),
  defineTool({ name: 'refuses', description: 'throws a ToolError', input: Type.Object({}), handler () { throw new ToolError('There is no such invoice') } }),
  defineTool({ name: 'breaks', description: 'throws', input: Type.Object({}), handler () { throw new Error('password=hunter2') } }),
  defineTool({ name: 'lies', description: 'breaks its output schema', input: Type.Object({}), output: Type.Object({ n: Type.Number() }), handler: () => ({ n: 'one' as unknown as number }) }),
  { ...defineTool({ name: 'shapeless', description: 'returns an object it never declared', input: Type.Object({}), handler: () => 'text' }), handler: () => ({ n: 1 }) }
]

function setUp (t: Test, extra: Parameters<typeof createToolRegistry>[0] = []) {
  const lines: Array<Record<string, unknown>> = []
  const write = (fields: object, message?: string) => { lines.push({ ...fields, message }) }
  const log = { info: write, warn: write, error: write }
  const engine = createEngine({ serverInfo: { name: 'seed', version: '1.2.3' }, tools: [...tools, ...extra], log })
  t.teardown(async () => { await engine.close(0) })
  return { engine, log, lines }
}

function asPrincipal (subject: string): Principal {
  return { issuer: 'i', subject, clientId: 'c', scopes: new Set(['openid']), name: undefined, email: undefined, groups: [], claims: {}, expiresAt: 0, key: subject }
}

interface Sent { status: number, body: any, response: Response }

async function send (engine: Engine, body: unknown, { headers = {}, principal, signal = new AbortController().signal }: {
  headers?: Record<string, string>, principal?: Principal, signal?: AbortSignal
} = {}): Promise<Sent> {
  const quiet = { info () {}, warn () {}, error () {} }
  const response = await engine.handle({
    headers: { 'content-type': 'application/json', ...headers }, url: 'http://localhost:3000/mcp', body, principal, log: quiet, signal
  })
  const type = response.headers.get('content-type') ?? ''
  return { status: response.status, response, body: type.includes('json') ? await response.json() : undefined }
}

function legacy (method: string, params: object = {}, id: string | number = 1) {
  return { jsonrpc: '2.0', id, method, params }
}

function modern (method: string, params: object = {}, id: string | number = 1) {
  return [
    { jsonrpc: '2.0', id, method, params: { ...params, _meta: META } },
    { headers: { 'mcp-protocol-version': MODERN, 'mcp-method': method, ...('name' in params && { 'mcp-name': String(params.name) }) } }
  ] as const
}

t.test('initialize settles on a version that both know', async (t) => {
  const { engine } = setUp(t)
  const initialize = (protocolVersion: string) => legacy('initialize', { protocolVersion, capabilities: {}, clientInfo: { name: 'x', version: '1' } })
  for (const version of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
    t.match((await send(engine, initialize(version))).body.result, { protocolVersion: version, serverInfo: { name: 'seed', version: '1.2.3' } })
  }
  for (const version of [MODERN, '1999-01-01']) {
    t.equal((await send(engine, initialize(version))).body.result.protocolVersion, '2025-11-25', `${version} is answered with the newest that has a handshake`)
  }
  t.same((await send(engine, initialize('2025-06-18'))).body.result.capabilities, { tools: {} })
})

t.test('2026-07-28 has every required member', async (t) => {
  const { engine } = setUp(t)
  t.match((await send(engine, ...modern('server/discover'))).body.result, { resultType: 'complete', supportedVersions: [MODERN], capabilities: { tools: {} }, ttlMs: Number, cacheScope: 'private' })
  t.match((await send(engine, ...modern('tools/list'))).body.result, { resultType: 'complete', ttlMs: Number, cacheScope: 'private', _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'seed' } } })
  t.match((await send(engine, ...modern('tools/call', { name: 'whoami', arguments: {} }))).body.result, { resultType: 'complete', content: [{ type: 'text', text: 'nobody' }] })
})

t.test("2026-07-28 requests that contradict themselves are refused with the protocol's codes", async (t) => {
  const { engine } = setUp(t)
  const [body, { headers }] = modern('tools/call', { name: 'whoami', arguments: {} })
  const cases = [
    { name: 'Mcp-Method differs', headers: { ...headers, 'mcp-method': 'tools/list' }, status: 400, code: -32020 },
    { name: 'Mcp-Name differs', headers: { ...headers, 'mcp-name': 'add' }, status: 400, code: -32020 },
    { name: 'Mcp-Method is missing', headers: { 'mcp-protocol-version': MODERN, 'mcp-name': 'whoami' }, status: 400, code: -32020 },
    { name: 'the version header differs', headers: { ...headers, 'mcp-protocol-version': '2025-11-25' }, status: 400, code: -32020 },
    { name: 'no envelope behind a modern header', body: legacy('tools/list'), headers: { 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/list' }, status: 400, code: -32602 },
    { name: 'a version nobody speaks', body: { ...body, params: { ...body.params, _meta: { ...META, 'io.modelcontextprotocol/protocolVersion': '2030-01-01' } } }, headers: { ...headers, 'mcp-protocol-version': '2030-01-01' }, status: 400, code: -32022 }
  ]
  for (const { name, status, code, ...sent } of cases) {
    const answer = await send(engine, sent.body ?? body, { headers: sent.headers })
    t.match({ status: answer.status, code: answer.body.error.code }, { status, code }, name)
  }
  const unknown = await send(engine, ...modern('tools/destroy'))
  t.match({ status: unknown.status, code: unknown.body.error.code }, { status: 404, code: -32601 }, 'an unknown method is 404')
})

t.test('tools are listed in the order of their names, the same in both eras, and cannot be changed by a request', async (t) => {
  const { engine } = setUp(t)
  const [old, now] = [await send(engine, legacy('tools/list')), await send(engine, ...modern('tools/list'))]
  t.same(old.body.result.tools.map(({ name }: { name: string }) => name), ['add', 'breaks', 'lies', 'refuses', 'shapeless', 'whoami'])
  t.same(now.body.result.tools, old.body.result.tools)
  t.match(old.body.result.tools[0], { inputSchema: { type: 'object', required: ['a', 'b'] }, outputSchema: { type: 'object' } })
  t.throws(() => { (createToolRegistry(tools).listed[0]!.inputSchema as { type: string }).type = 'array' }, TypeError)
})

for (const era of ['legacy', 'modern'] as const) {
  t.test(`tools/call, ${era}`, async (t) => {
    const { engine, lines, log } = setUp(t)
    const call = async (name: string, args?: object) => {
      const params = { name, ...(args !== undefined && { arguments: args }) }
      return await (era === 'legacy' ? send(engine, legacy('tools/call', params)) : send(engine, ...modern('tools/call', params)))
    }

    t.match((await call('add', { a: 1, b: 2 })).body.result, { structuredContent: { sum: 3 }, content: [{ type: 'text', text: '{"sum":3}' }] }, 'structured content with its text')
    t.match((await call('whoami')).body.result, { content: [{ type: 'text', text: 'nobody' }] }, 'arguments may be left out')

    const invalid = (await call('add', { a: 'one' })).body.result
    t.equal(invalid.isError, true)
    t.match(invalid.content[0].text, /arguments of add are not valid: .*b/, 'says what is wrong with the arguments')
    t.match((await call('add', { a: 'one', b: 2 })).body.result.content[0].text, /a must be number/)

    t.match((await call('refuses')).body.result, { isError: true, content: [{ type: 'text', text: 'There is no such invoice' }] })
    t.match((await call('nosuch')).body.error, { code: -32602, message: /Unknown tool: nosuch/ })
    for (const name of ['__proto__', 'constructor', 'toString']) t.equal((await call(name)).body.error.code, -32602, name)

    const broken = (await call('breaks')).body.result
    t.equal(broken.isError, true)
    t.match(broken.content[0].text, /^breaks failed; .* reference [\w-]{12}$/)
    t.notMatch(JSON.stringify(broken), /hunter2/)
    for (const name of ['lies', 'shapeless']) t.match((await call(name)).body.result, { isError: true }, name)
    t.ok(lines.length >= 0 && log)
  })
}

t.test('the truth about a failed tool is in the log under the reference', async (t) => {
  const lines: Array<Record<string, any>> = []
  const log = { info () {}, warn () {}, error: (fields: object) => { lines.push(fields) } }
  const registry = createToolRegistry(tools)
  const result = await registry.call('breaks', {}, { principal: undefined, log, signal: new AbortController().signal })
  t.equal(lines[0]!['err'].message, 'password=hunter2')
  t.match((result.content[0] as { text: string }).text, new RegExp(`${lines[0]!['reference']}$`))
  await registry.call('lies', {}, { principal: undefined, log, signal: new AbortController().signal })
  t.match(lines[1]!['err'].message, /lies returned something other than its output schema says: n must be number/)
})

t.test('a tool that cannot be served fails at start', (t) => {
  const named = (name: string) => ({ ...tools[0]!, name })
  t.throws(() => createToolRegistry([named('a b')]), { message: /Tool name "a b"/ })
  t.throws(() => createToolRegistry([named('')]), { message: /1 to 128/ })
  t.throws(() => createToolRegistry([named('x'), named('x')]), { message: 'Two tools are called x' })
  t.end()
})

t.test('two callers with the same JSON-RPC ids never get each other\'s answers', async (t) => {
  const { engine } = setUp(t)
  const rounds = Array.from({ length: 300 }, (_, round) => round)
  const answers = await Promise.all(rounds.map(async (round) => {
    const subject = round % 2 === 0 ? 'ada' : 'bob'
    const params = { name: 'whoami', arguments: {} }
    const [body, { headers }] = modern('tools/call', params, 7)
    const answer = round % 3 === 0
      ? await send(engine, legacy('tools/call', params, 7), { principal: asPrincipal(subject) })
      : await send(engine, body, { headers, principal: asPrincipal(subject) })
    return answer.body.id === 7 && answer.body.result.content[0].text === subject
  }))
  t.ok(answers.every(Boolean))
})

t.test('2025-03-26 batches are answered together, notifications alone with 202', async (t) => {
  const { engine } = setUp(t)
  const { body } = await send(engine, [legacy('tools/list', {}, 1), legacy('ping', {}, 2)])
  t.same(body.map(({ id }: { id: number }) => id).sort(), [1, 2])
  const { status, response } = await send(engine, { jsonrpc: '2.0', method: 'notifications/initialized' })
  t.equal(status, 202)
  t.equal(await response.text(), '')
  t.equal((await send(engine, { jsonrpc: '2.0', id: 9, result: {} })).status, 202, 'a posted response')
})

t.test('messages that are none are refused in the form of the protocol', async (t) => {
  const { engine } = setUp(t)
  const bodies = [{}, { jsonrpc: '1.0', id: 1, method: 'ping' }, { jsonrpc: '2.0', id: null, method: 'ping' }, { jsonrpc: '2.0', id: {}, method: 'ping' }, { jsonrpc: '2.0', id: 1, method: 7 }, [], [1]]
  for (const body of bodies) {
    const answer = await send(engine, body)
    t.ok(answer.status >= 400 && answer.status < 500 && Number.isInteger(answer.body.error.code), JSON.stringify(body))
  }
  for (const method of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '']) {
    t.equal((await send(engine, legacy(method))).body.error.code, -32601, `method ${method}`)
  }
  const version = await send(engine, legacy('tools/list'), { headers: { 'mcp-protocol-version': '1999-01-01' } })
  t.equal(version.status, 400, 'an unknown version header')
})

t.test('the token and the Authorization header stay outside the engine', async (t) => {
  const { tool, started, open } = gate()
  const { engine } = setUp(t, [tool])
  const [body, { headers }] = modern('tools/call', { name: 'gate', arguments: {} })
  const answer = send(engine, body, { headers: { ...headers, authorization: 'Bearer secret-token' }, principal: asPrincipal('ada') })
  t.notMatch(JSON.stringify(await started), /secret-token/)
  open('done')
  t.equal((await answer).body.result.content[0].text, 'done')
})

for (const era of ['legacy', 'modern'] as const) {
  t.test(`a client that goes away stops the tool it waited for, ${era}`, async (t) => {
    const { tool, started } = gate()
    const { engine } = setUp(t, [tool])
    const client = new AbortController()
    const [body, { headers }] = modern('tools/call', { name: 'gate', arguments: {} })
    const answer = era === 'legacy'
      ? send(engine, legacy('tools/call', { name: 'gate' }), { signal: client.signal })
      : send(engine, body, { headers, signal: client.signal })
    const { signal } = await started
    client.abort()
    t.equal((await answer).status, 499)
    if (!signal.aborted) await new Promise((resolve) => { signal.addEventListener('abort', resolve) })
    t.ok(signal.aborted)
  })
}

t.test('closing lets a running call finish', async (t) => {
  const { tool, started, open } = gate()
  const { engine } = setUp(t, [tool])
  const answer = send(engine, ...modern('tools/call', { name: 'gate', arguments: {} }))
  await started
  const closing = engine.close(10_000)
  open('finished')
  t.equal((await answer).body.result.content[0].text, 'finished')
  await closing
})

for (const era of ['legacy', 'modern'] as const) {
  t.test(`closing aborts a call that takes longer than the grace, and answers for a tool that does not heed it, ${era}`, async (t) => {
    let tellStarted: (signal: AbortSignal) => void
    const started = new Promise<AbortSignal>((resolve) => { tellStarted = resolve })
    const deaf = defineTool({
      name: 'deaf',
      description: 'heeds no signal',
      input: Type.Object({}),
      async handler (_input, { signal }) {
        tellStarted(signal)
        return await new Promise<string>(() => {})
      }
    })
    const { engine } = setUp(t, [deaf])
    const [body, options] = modern('tools/call', { name: 'deaf', arguments: {} })
    const answer = era === 'legacy' ? send(engine, legacy('tools/call', { name: 'deaf' })) : send(engine, body, options)
    const signal = await started
    await engine.close(1)
    t.ok(signal.aborted)
    const { status, response, body: answered } = await answer
    t.equal(status, 503)
    t.equal(response.headers.get('retry-after'), '1')
    t.match(answered, { jsonrpc: '2.0', error: { message: /shutting down/ } })
  })
}

t.test('a subscription is acknowledged, and ends with its result when the server closes', async (t) => {
  const { engine } = setUp(t)
  const { response } = await send(engine, ...modern('subscriptions/listen', { notifications: { toolsListChanged: true } }, 'sub-1'))
  t.match(response.headers.get('content-type'), /^text\/event-stream/)
  const stream = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  t.match((await stream.read()).value, /notifications\/subscriptions\/acknowledged/)
  await engine.close(10_000)
  let rest = ''
  for (let chunk = await stream.read(); !chunk.done; chunk = await stream.read()) rest += chunk.value
  t.match(rest, /"id":"sub-1".*"resultType":"complete"|"resultType":"complete".*"id":"sub-1"/)
})
