import t from 'tap'
import { Type } from 'typebox'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResourceTemplate } from '../../src/define/resource.ts'
import { defineTool } from '../../src/define/tool.ts'
import { modernRequest, openSession, postMcp, ready, startSeed } from '../support/seed.ts'

/** Work that one caller can cause within the limits, over HTTP. */

const EMPTY = Type.Object({})

/** A filter expression as authors write it: a union that refers to itself. */
const filter = {
  anyOf: [
    ...['and', 'or', 'xor', 'any'].map((op) => ({
      type: 'object',
      required: ['op', 'args'],
      properties: { op: { const: op }, args: { type: 'array', items: { $ref: '#/$defs/filter' } } }
    })),
    { type: 'object', required: ['field', 'value'], properties: { field: { type: 'string' }, value: {} } }
  ]
}
const search = defineTool({
  name: 'search',
  description: 'Takes a filter expression',
  input: {
    ...Type.Object({ filter: Type.Unknown() }), $defs: { filter }, properties: { filter: { $ref: '#/$defs/filter' } }
  } as unknown as typeof EMPTY,
  handler: () => 'found'
})
/** An expression of so many levels, whose innermost filter is the given one. */
function nested (levels: number, innermost: object): object {
  let expression = innermost
  for (let level = 0; level < levels; level++) expression = { op: 'or', args: [expression] }
  return { filter: expression }
}

t.test('what is wrong with arguments is said within milliseconds, however deep a recursive union is', async (t) => {
  const tools = [
    search,
    defineTool({
      name: 'frozen',
      description: 'Returns constants that are not of its output schema',
      input: EMPTY,
      output: Type.Object({ list: Type.Array(Type.Object({ n: Type.Number() })) }),
      handler: () => Object.freeze({ list: Object.freeze([Object.freeze({ n: 'one' })]) }) as never
    }),
    defineTool({
      name: 'any_name',
      description: 'Takes numbers by any name',
      input: Type.Record(Type.String(), Type.Number()) as unknown as typeof EMPTY,
      handler: () => 'fine'
    })
  ]
  const seed = await startSeed(t, { definitions: tools })
  await ready(seed)
  const token = await seed.provider.mint()
  const session = await openSession(seed, token)
  const call = async (name: string, args: object) => {
    const params = { name, arguments: args }
    const started = performance.now()
    const answers = [
      await postMcp(seed, modernRequest('tools/call', params), token),
      await postMcp(seed, session.request('tools/call', params), token)
    ]
    const [text] = answers.map(({ body }) => body.result.content[0].text as string)
    return { text: text!, milliseconds: performance.now() - started }
  }

  t.equal((await call('search', nested(10, { field: 'a', value: 1 }))).text, 'found')
  t.match((await call('search', nested(1, { field: 'a' }))).text, /filter\/args\/0 must have required properties op, args/)
  for (const levels of [10, 25]) {
    const { text, milliseconds } = await call('search', nested(levels, { field: 'a' }))
    t.equal(text, 'The arguments of search are not valid: they do not match the schema, and are too complex to name ' +
      'the place')
    t.ok(milliseconds < 1_000, `${levels} levels: ${Math.round(milliseconds)} ms for two calls`)
  }
  const { text } = await call('any_name', { ['x'.repeat(100_000)]: 'no number' })
  t.match(text, /^The arguments of any_name are not valid: x{100,200} must be number/)

  await call('frozen', {})
  const { err } = await seed.logged(({ handler }) => handler === 'frozen') as unknown as { err: { message: string } }
  t.match(err.message, /its output schema says: list\/0\/n must be number/)
})

t.test('a body of too many messages or values is refused before anything looks at them', async (t) => {
  const scoped = defineTool({
    name: 'scoped', description: 'Needs a scope', input: EMPTY, scopes: ['payroll'], handler: () => 'fine'
  })
  const echo = defineTool({
    name: 'length',
    description: 'Counts characters',
    input: Type.Object({ text: Type.Optional(Type.String()), list: Type.Optional(Type.Array(Type.Unknown())) }),
    handler: ({ text = '', list = [] }) => String(text.length + list.length)
  })
  const seed = await startSeed(t, { definitions: [scoped, echo], env: { OIDC_SCOPES: 'openid payroll' } })
  await ready(seed)
  const token = await seed.provider.mint({ scope: 'openid' })
  const { headers } = await openSession(seed, token, '2025-03-26')
  const send = async (body: string) => await postMcp(seed, { body, headers }, token)
  const message = { jsonrpc: '2.0', method: 'tools/call', params: { name: 'scoped', arguments: {} } }
  const batch = (size: number) => JSON.stringify(Array.from({ length: size }, (_none, id) => ({ ...message, id })))
  const call = (args: object) =>
    JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'length', arguments: args } })

  t.equal((await send(batch(100))).status, 403, 'the scopes of a hundred are checked')
  const many = { status: 400, body: { error: { code: -32600, message: 'A batch must have 1 to 100 messages' } } }
  for (const body of [batch(101), batch(5_000), `[${'{},'.repeat(40_000)}{}]`]) t.match(await send(body), many)
  const huge = { status: 400, body: { error: { code: -32600, message: 'The body has more than 100000 values' } } }
  for (const body of [
    `[${'{},'.repeat(340_000)}{}]`,
    call({ list: Array.from({ length: 340_000 }, () => ({})) }),
    call({ list: Array.from({ length: 100_000 }, () => 1) }),
    call(Object.fromEntries(Array.from({ length: 60_000 }, (_none, number) => [`m${number}`, 1]))),
    '['.repeat(200_000)
  ]) t.match(await send(body), huge)

  for (const text of ['[{,:'.repeat(200_000), '\\",'.repeat(90_000), `${'x'.repeat(200_000)}\\`]) {
    t.match((await send(call({ text }))).body, { result: { content: [{ text: String(text.length) }] } }, 'long text')
  }
  const list = Array.from({ length: 90_000 }, (_none, number) => number)
  t.match((await send(call({ list }))).body, { result: { content: [{ text: '90000' }] } }, 'many numbers')
  t.match(await send(`{"unfinished":"${'x'.repeat(200_000)}`), { status: 400, body: { error: { code: -32700 } } })
})

t.test('each message of a batch counts against the request limits', async (t) => {
  let runs = 0
  const counted = definePrompt({
    name: 'counted', description: 'Counts its runs', handler: () => `run ${++runs}`
  })
  for (const [env, reason] of [
    [{ MCP_LIMIT_PER_PRINCIPAL: '50' }, '50 requests of one person in this minute (MCP_LIMIT_PER_PRINCIPAL)'],
    [{ MCP_LIMIT_PER_ADDRESS: '50' }, '50 requests of one address in this minute (MCP_LIMIT_PER_ADDRESS, TRUST_PROXY)']
  ] as const) {
    runs = 0
    const seed = await startSeed(t, { definitions: [counted], env })
    await ready(seed)
    const token = await seed.provider.mint()
    // A minute that begins in between would count anew.
    if (Date.now() % 60_000 > 50_000) await new Promise((resolve) => setTimeout(resolve, 10_100))
    const session = await openSession(seed, token, '2025-03-26')
    const batch = async (size: number) => {
      const get = { jsonrpc: '2.0', method: 'prompts/get', params: { name: 'counted' } }
      const body = JSON.stringify(Array.from({ length: size }, (_none, id) => ({ ...get, id })))
      return await postMcp(seed, { body, headers: session.headers }, token)
    }
    const ping = async () => (await postMcp(seed, session.request('ping'), token)).status
    t.equal((await batch(24)).status, 200)
    t.equal((await batch(24)).status, 200, 'with the handshake 49')
    const refused = await batch(24)
    t.match(refused, { status: 429, body: { error: { message: /^Too many requests: at most 50 a minute/ } } })
    t.match(refused.headers.get('retry-after'), /^\d+$/)
    t.equal(runs, 48, 'nothing of a refused batch runs')
    t.ok(seed.logs.some((line) => line['reason'] === reason))
    t.equal(await ping(), 429, 'the refused batch was one request, the fiftieth')
  }
})

t.test('whatever runs code of an author counts as a call at once', async (t) => {
  let open!: () => void
  const opened = new Promise<void>((resolve) => { open = resolve })
  let waiting = 0
  const wait = async () => {
    waiting++
    await opened
    return 'done'
  }
  const definitions = [
    defineTool({ name: 'slow', description: 'Waits', input: EMPTY, handler: wait }),
    definePrompt({
      name: 'slow',
      description: 'Waits',
      arguments: Type.Object({ city: Type.String() }),
      handler: wait,
      complete: { city: async () => [await wait()] }
    }),
    defineResourceTemplate({
      uriTemplate: 'slow://{name}',
      name: 'slow',
      params: Type.Object({ name: Type.String() }),
      read: wait,
      list: async () => [{ uri: `slow://${await wait()}`, name: 'slow' }]
    })
  ]
  const requests: Array<[method: string, params: Record<string, unknown>, name?: string]> = [
    ['tools/call', { name: 'slow', arguments: {} }, 'slow'],
    ['prompts/get', { name: 'slow', arguments: { city: 'x' } }, 'slow'],
    ['resources/read', { uri: 'slow://x' }, 'slow://x'],
    ['resources/list', {}],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'slow' }, argument: { name: 'city', value: '' } }]
  ]
  const seed = await startSeed(t, { definitions, env: { CALLS_PER_PRINCIPAL: String(requests.length * 2) } })
  await ready(seed)
  const token = await seed.provider.mint()
  const session = await openSession(seed, token)
  const sent = requests.flatMap(([method, params, name], id) => {
    const modern = modernRequest(method, params)
    const headers = { ...modern.headers, ...(name !== undefined && { 'mcp-name': name }) }
    return [{ ...modern, headers }, session.request(method, params, id)]
  })
  const send = async (message: typeof sent[number]) => await postMcp(seed, message, token)
  const running = sent.map(send)
  while (waiting < sent.length) await new Promise((resolve) => setTimeout(resolve, 5))
  for (const message of sent) {
    const refused = await send({ ...message, body: message.body.replace(/"id":\d+/, '"id":99') })
    t.match(refused, { status: 429, body: { error: { message: /^You already have 10 calls running/ } } }, message.body)
  }
  t.equal((await send(session.request('prompts/list', {}, 98))).status, 200, 'what runs no code of theirs is served')
  open()
  for (const { status, body } of await Promise.all(running)) {
    t.match({ status, body }, { status: 200, body: { result: {} } })
  }
  for (const { status, body } of await Promise.all(sent.map(send))) {
    t.match({ status, body }, { status: 200, body: { result: {} } }, 'calls that have ended count no longer')
  }
})
