import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { Type } from 'typebox'
import { text, toolResult } from '../../../src/define/content.ts'
import { ToolError, defineTool } from '../../../src/define/tool.ts'
import type { ToolDefinition } from '../../../src/define/tool.ts'
import { ABLE, MODERN, asPrincipal, modern, request, send, startEngines, startSession } from '../../support/mcp.ts'
import type { SendOptions, Sent } from '../../support/mcp.ts'
import { interactiveTools } from '../../support/interactive-tools.ts'

/**
 * The fast path against the SDK's path: an engine with it and one without it get the same generated requests, and must
 * answer them alike. `DIFFERENTIAL_SEED=7` generates others.
 */

const runs = new Map<string, number>()

function tool (name: string, handler: ToolDefinition['handler'], rest: Partial<ToolDefinition> = {}): ToolDefinition {
  return defineTool({
    name,
    description: `The tool ${name}`,
    input: Type.Object({ text: Type.Optional(Type.String()), count: Type.Optional(Type.Integer()) }),
    handler (input, context) {
      runs.set(name, (runs.get(name) ?? 0) + 1)
      return handler(input, context) as never
    },
    ...rest
  } as Parameters<typeof defineTool>[0])
}

const definitions: readonly ToolDefinition[] = [
  ...interactiveTools.filter(({ name }) => ['ask_form', 'ask_roots', 'ask_model'].includes(name)),
  tool('says', ({ text: given }) => String(given)),
  tool('later', async ({ text: given }) => {
    await new Promise((resolve) => { setImmediate(resolve) })
    return String(given)
  }),
  tool('who', (_input, { client, principal }) => ({ client, subject: principal?.subject ?? null })),
  tool(
    'form',
    ({ count }) => ({ count: count ?? 0, nested: { list: [1, 'é"\\\u2028'], nothing: null, left: undefined } }),
    { output: Type.Object({ count: Type.Integer() }) }
  ),
  tool('wrong', () => ({ count: 'many' }), { output: Type.Object({ count: Type.Integer() }) }),
  tool('own', () => toolResult({
    content: [text('a'), text('b', { annotations: { priority: 1 } })],
    _meta: { 'example.com/x': 1 }
  })),
  tool('own_error', () => toolResult({ content: [text('bad')], isError: true, structuredContent: { why: 'so' } })),
  tool('own_false', () => toolResult({ content: [text('good')], isError: false })),
  tool('block', () => ({ type: 'text', text: 'one', extra: 1 })),
  tool('picture', () => ({ type: 'image', data: 'AAAA', mimeType: 'image/png' })),
  tool('dated', () => new Date(0)),
  tool('json', () => ({ toJSON: () => ({ a: 1 }) })),
  tool('hidden', () => Object.defineProperty({ a: 1 }, 'b', { value: 2 })),
  tool('symbol', () => ({ a: 1, [Symbol('x')]: 2 })),
  tool('proto', () => JSON.parse('{"a":1,"__proto__":{"b":2}}') as object),
  tool('refuses', () => { throw new ToolError('No, "thank" you') }),
  tool('tells', async (_input, { logToClient }) => {
    await logToClient('info', 'on its way')
    return 'told'
  }),
  tool('tells_unheard', (_input, { logToClient }) => {
    logToClient('warning', { not: 'awaited' }).catch(() => {})
    return 'told'
  }),
  tool('generates', async function * () {
    yield { progress: 1, total: 2 }
    return 'done'
  } as unknown as ToolDefinition['handler']),
  tool('scoped', () => 'allowed', { scopes: ['tools:use'] }),
  tool('grouped', () => 'allowed', { groups: ['staff'] }),
  tool(
    'mirrored',
    ({ region }: { region?: string }) => String(region),
    { input: Type.Object({ region: Type.Optional(Type.String({ 'x-mcp-header': 'Region' })) }) }
  ),
  tool('titled', () => 'x', {
    title: 'Title',
    annotations: { readOnlyHint: true },
    icons: [{ src: 'https://example.com/i.png' }],
    _meta: { 'example.com/a': { b: 1 } }
  })
]

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A seeded random number generator (Mulberry32). */
function random (seed: number) {
  let state = seed
  const next = (): number => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    pick: <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)]!,
    chance: (of: number) => next() < of
  }
}

const principals = [undefined, asPrincipal('a'), asPrincipal(
  'b',
  { scope: 'openid tools:use' }
), asPrincipal('c', { groups: ['staff'] })]
const ODD: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 53,
  '',
  'x',
  '__proto__',
  'x'.repeat(300),
  [],
  [1],
  {},
  { a: 1 }
]
const names = [...definitions.map(({ name }) => name), 'nosuch', 'constructor', '']
const META = {
  progressToken: 'p',
  'io.modelcontextprotocol/logLevel': 'info',
  traceparent: '00-x',
  'example.com/x': {}
}

/** Generates a plain request, or one with something odd in it. */
function generate ({ pick, chance }: ReturnType<typeof random>, isModern: boolean): {
  body: any
  headers: Record<string, string>
  options: SendOptions
} {
  const method = chance(0.8) ? 'tools/call' : pick(['tools/list', 'tools/list', 'ping', 'prompts/list', 'nosuch'])
  const id = pick<any>([1, 7, 0, -1, 2 ** 53 - 1, 'a', '', 'é"', '\u2028', 'x'.repeat(256)])
  const params: any = method === 'tools/call'
    ? {
        name: pick(names),
        arguments: pick<object>([
          {},
          {},
          { text: 'hé "\\' },
          { count: 3 },
          { count: 'x' },
          { unknown: 1 },
          { region: 'eu' }
        ])
      }
    : {}
  const [modernBody, { headers: modernHeaders }] = modern(
    method,
    params,
    { id, capabilities: pick<object>([{}, ABLE, { experimental: { x: {} } }, { unknown: 1 }, { elicitation: 7 }]) }
  )
  const body: any = JSON.parse(JSON.stringify(isModern ? modernBody : request(method, params, id)))
  const headers: Record<string, any> = { ...(isModern && modernHeaders) }
  const meta = body.params._meta
  for (let odd = chance(0.5) ? 1 : 0; odd > 0; odd -= chance(0.6) ? 1 : 0) {
    pick<() => void>([
      () => { body[pick(['jsonrpc', 'id', 'method', 'params', 'extra'])] = pick(ODD) },
      () => { delete body[pick(['jsonrpc', 'id', 'method', 'params'])] },
      () => {
        if (isObject(body.params)) {
          body.params[pick([
            'name',
            'arguments',
            '_meta',
            'cursor',
            'task',
            'inputResponses',
            'requestState',
            'extra'
          ])] = pick(ODD)
        }
      },
      () => { if (isObject(body.params)) delete body.params[pick(['name', 'arguments', '_meta'])] },
      () => {
        if (meta) {
          meta[pick([
            'io.modelcontextprotocol/protocolVersion',
            'io.modelcontextprotocol/clientInfo',
            'io.modelcontextprotocol/clientCapabilities'
          ])] = pick<unknown>([
            ...ODD,
            MODERN,
            '2025-11-25',
            { name: 'x' },
            { name: 'x', version: '1', title: 'T', more: 1 }
          ])
        }
      },
      () => { if (meta) delete meta[pick(Object.keys(meta))!] },
      () => {
        if (isObject(body.params)) {
          body.params._meta = {
            ...body.params._meta,
            [pick(Object.keys(META))]: pick([...Object.values(META), ...ODD])
          }
        }
      },
      () => {
        headers[pick(['mcp-protocol-version', 'mcp-method', 'mcp-name'])] = pick([
          MODERN,
          '2025-11-25',
          '2024-11-05',
          '1999-01-01',
          'tools/call',
          'tools/list',
          'says',
          'SAYS',
          ' says ',
          '=?base64?c2F5cw==?=',
          ''
        ])
      },
      () => { delete headers[pick(['mcp-protocol-version', 'mcp-method', 'mcp-name'])] },
      () => {
        headers['content-type'] = pick([
          'application/json; charset=utf-8',
          'application/json;charset=UTF-8',
          'APPLICATION/JSON',
          'text/plain',
          'application/jsonx'
        ])
      },
      () => { headers['mcp-param-region'] = pick(['eu', 'us', '=?base64?ZXU=?=']) },
      () => { if (isModern) headers['mcp-session-id'] = 'x'.repeat(32) }
    ])()
  }
  return {
    body: chance(0.03) ? [body] : body,
    headers,
    options: { principal: pick(principals), acceptsStream: chance(0.8) }
  }
}

/** The response as a client sees it, without random ids. */
async function observe (exchange: Promise<Sent>) {
  const hung = new Promise((resolve) => { setTimeout(resolve, 60_000, { hung: true }).unref() })
  return await Promise.race([hung, readResponse(exchange)])
}

async function readResponse (exchange: Promise<Sent>) {
  try {
    const sent = await exchange
    const { status, headers, answer } = sent
    const body = answer.stream === undefined ? answer.body : JSON.stringify(await sent.events.rest())
    return {
      status,
      headers,
      body: body === null
        ? null
        : String(body)
          .replace(/under reference [\w-]{12}/g, 'under reference R').replace(
            /"requestState":"[^"]+"/g,
            '"requestState":"S"'
          ).replace(/"id":"[\w-]{12}\.[\w-]{12}"/g, '"id":"I"')
    }
  } catch (err) {
    return { thrown: (err as Error).name, message: (err as Error).message }
  }
}

const SEED = Number(process.env['DIFFERENTIAL_SEED'] ?? 1)
const unknownClient = { capabilities: {} }

t.test('2026-07-28: thousands of requests get the same responses on both paths', async (t) => {
  const [fast, sdk] = [
    startEngines(t, { definitions, count: 1 }),
    startEngines(t, { definitions, count: 1, internals: { fastPath: false } })
  ]
  const chances = random(SEED)
  const differ: object[] = []
  for (let number = 0; number < 3_000 && differ.length < 5; number++) {
    const { body, headers, options } = generate(chances, true)
    const answers = []
    for (const { engines } of [fast, sdk]) {
      runs.clear()
      answers.push([await observe(send(engines[0]!, body, { headers, ...options })), [...runs]])
    }
    if (!isDeepStrictEqual(answers[0], answers[1])) differ.push({ body, headers, options, answers })
  }
  t.same(differ.map((each) => JSON.stringify(each)), [])
})

t.test('sessions: thousands of requests get the same responses on both paths', async (t) => {
  const [fast, sdk] = [
    startEngines(t, { definitions, count: 1 }),
    startEngines(t, { definitions, count: 1, internals: { fastPath: false } })
  ]
  const chances = random(SEED + 1)
  const differ: object[] = []
  for (const version of ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']) {
    for (const principal of principals) {
      const sessions = [
        await startSession(fast, { version, ...principal && { principal }, ...unknownClient }),
        await startSession(sdk, { version, ...principal && { principal }, ...unknownClient })
      ]
      for (let number = 0; number < 200 && differ.length < 5; number++) {
        const { body, headers, options: { acceptsStream } } = generate(chances, false)
        const answers = []
        for (const { post } of sessions) {
          runs.clear()
          answers.push([
            await observe(post(body, { headers, ...acceptsStream !== undefined && { acceptsStream } })),
            [...runs]
          ])
        }
        if (!isDeepStrictEqual(answers[0], answers[1])) differ.push({ version, body, headers, acceptsStream, answers })
      }
    }
  }
  t.same(differ.map((each) => JSON.stringify(each)), [])
})
