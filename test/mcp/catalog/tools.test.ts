import t from 'tap'
import { Type } from 'typebox'
import { audio, embeddedResource, image, resourceLink, text, toolResult } from '../../../src/define/content.ts'
import { ToolError, defineTool } from '../../../src/define/tool.ts'
import type { ToolDefinition } from '../../../src/define/tool.ts'
import { createTestClient } from '../../../src/testing/index.ts'
import { startEngine } from '../../support/engine-fixture.ts'

/** Return values of handlers, as clients receive them. */

const NONE = Type.Object({})
const tool = (name: string, handler: ToolDefinition['handler'], more: object = {}): ToolDefinition => ({
  ...defineTool({ name, description: name, input: NONE, handler: () => '' }),
  handler,
  ...more
})
const OUTPUT = { output: Type.Object({ n: Type.Number() }) }
const BYTES = new Uint8Array([1, 2, 3, 4]).subarray(1, 3)

for (const protocolVersion of ['2026-07-28', '2025-11-25'] as const) {
  t.test(`converts what a handler returns, ${protocolVersion}`, async (t) => {
    const cases: Array<[what: string, ToolDefinition, result: object]> = [
      ['text', tool('a', () => 'hello'), { content: [{ type: 'text', text: 'hello' }] }],
      ['text, later', tool('a', async () => 'hello'), { content: [{ type: 'text', text: 'hello' }] }],
      [
        'an object',
        tool('a', () => ({ n: 1 })),
        { content: [{ type: 'text', text: '{"n":1}' }], structuredContent: { n: 1 } }
      ],
      [
        'an object that has a type',
        tool('a', () => ({ type: 'cat' })),
        { content: [{ type: 'text', text: '{"type":"cat"}' }], structuredContent: { type: 'cat' } }
      ],
      [
        'an object of the promised form',
        tool('a', () => ({ n: 1 }), OUTPUT),
        { content: [{ type: 'text', text: '{"n":1}' }], structuredContent: { n: 1 } }
      ],
      [
        'one block',
        tool('a', () => text('x', { annotations: { audience: ['user'] } })),
        { content: [{ type: 'text', text: 'x', annotations: { audience: ['user'] } }] }
      ],
      ['blocks', tool('a', () => [
        image(BYTES, 'image/png'),
        audio('AAAA', 'audio/wav'),
        resourceLink({ uri: 'x://1', name: 'one' }),
        embeddedResource('x://2', 'two', 'text/plain'),
        embeddedResource('x://3', BYTES)
      ]), {
        content: [
          { type: 'image', data: 'AgM=', mimeType: 'image/png' },
          { type: 'audio', data: 'AAAA', mimeType: 'audio/wav' },
          { type: 'resource_link', uri: 'x://1', name: 'one' },
          { type: 'resource', resource: { uri: 'x://2', mimeType: 'text/plain', text: 'two' } },
          { type: 'resource', resource: { uri: 'x://3', blob: 'AgM=' } }
        ]
      }],
      [
        'a toolResult with all its parts',
        tool('a', () => toolResult({
          content: [text('short')],
          structuredContent: { n: 1 },
          _meta: { 'example.com/a': 1 }
        }), OUTPUT),
        { content: [{ type: 'text', text: 'short' }], structuredContent: { n: 1 }, _meta: { 'example.com/a': 1 } }
      ],
      [
        'structured content without blocks is rendered',
        tool('a', () => toolResult({ structuredContent: { n: 1 } })),
        { content: [{ type: 'text', text: '{"n":1}' }], structuredContent: { n: 1 } }
      ],
      [
        'an error with blocks',
        tool('a', () => toolResult({ isError: true, content: [text('no')] }), OUTPUT),
        { isError: true, content: [{ type: 'text', text: 'no' }] }
      ],
      [
        'an error with structured content',
        tool('a', () => toolResult({ isError: true, structuredContent: { reason: 'no' } }), OUTPUT),
        { isError: true, content: [{ type: 'text', text: '{"reason":"no"}' }], structuredContent: { reason: 'no' } }
      ],
      [
        'a ToolError',
        tool('a', () => { throw new ToolError('There is no such invoice') }),
        { isError: true, content: [{ type: 'text', text: 'There is no such invoice' }] }
      ],
      [
        'a ToolError, later',
        tool('a', async () => { throw new ToolError('no') }),
        { isError: true, content: [{ type: 'text', text: 'no' }] }
      ]
    ]
    for (const [what, definition, result] of cases) {
      const client = await createTestClient({ definitions: [definition], protocolVersion })
      t.same(await client.callTool('a'), result, what)
      await client.close()
    }
  })

  t.test(`a generator reports its progress, ${protocolVersion}`, async (t) => {
    let tellEnded!: () => void
    const ended = new Promise<void>((resolve) => { tellEnded = resolve })
    const client = await createTestClient({
      protocolVersion,
      definitions: [
        tool('steps', async function * () {
          yield { progress: 1, total: 2, message: 'half' }
          yield { progress: 2 }
          return { done: true }
        } as ToolDefinition['handler']),
        tool('fails', async function * () {
          yield { progress: 1 }
          throw new ToolError('stuck')
        } as ToolDefinition['handler']),
        tool('endless', async function * () {
          try {
            for (let progress = 1; ; progress++) {
              yield { progress }
              await new Promise((resolve) => setImmediate(resolve))
            }
          } finally {
            tellEnded()
          }
        } as unknown as ToolDefinition['handler'])
      ]
    })
    t.teardown(async () => { await client.close() })
    t.match(await client.callTool('steps'), { structuredContent: { done: true } })
    t.same(client.progress, [{ progress: 1, total: 2, message: 'half' }, { progress: 2 }])
    t.match(await client.callTool('fails'), { isError: true, content: [{ text: 'stuck' }] })

    const controller = new AbortController()
    const calling = client.callTool('endless', {}, { signal: controller.signal })
    while (client.progress.length < 10) await new Promise((resolve) => setImmediate(resolve))
    controller.abort(new Error('enough'))
    await t.rejects(calling, { message: 'enough' })
    await ended
  })
}

t.test('a return value that cannot become a result fails the tool, and the log says why', async (t) => {
  const cases: Array<[ToolDefinition, RegExp]> = [
    [tool('a', () => undefined as never), /returned nothing: it must be text/],
    [tool('a', () => null as never), /returned null/],
    [tool('a', () => 7 as never), /returned a number/],
    [tool('a', () => []), /returned an array/],
    [tool('a', () => [text('x'), { type: 'cat' }] as never), /returned an array/],
    [tool('a', () => toolResult({ content: [{ type: 'cat' } as never] })), /something other than content blocks/],
    [tool('a', () => toolResult({ content: [text('x')] }), OUTPUT), /something other than its output schema says/],
    [tool('a', () => ({ n: 'one' }), OUTPUT), /output schema says: n must be number/],
    [tool('a', () => 'text', OUTPUT), /output schema says: they must be object/],
    [tool('a', () => toolResult({ structuredContent: { n: 'one' } }), OUTPUT), /n must be number/]
  ]
  for (const [definition, reason] of cases) {
    const client = await createTestClient({ definitions: [definition] })
    const { isError, content } = await client.callTool('a')
    t.match(
      { isError, content },
      { isError: true, content: [{ text: /^a failed; the server's log holds the reason under reference/ }] },
      String(reason)
    )
    t.match(client.serverLog.find(({ level }) => level === 'error')!.fields, { err: { message: reason } })
    await client.close()
  }
})

t.test('a tool that takes too long is cancelled, and its signal says why', async (t) => {
  let reason: unknown
  const client = await createTestClient({
    definitions: [tool('slow', async (_input, { signal }) => await new Promise(() => {
      signal.addEventListener('abort', () => { reason = signal.reason })
    }), { timeoutSeconds: 0.05 })]
  })
  t.teardown(async () => { await client.close() })
  t.match(await client.callTool('slow'), { isError: true, content: [{ text: /^slow / }] })
  t.match(reason, { name: 'TimeoutError' })
  t.match(client.serverLog, [{ level: 'warn', message: /took too long/ }])
})

const routed = defineTool({
  name: 'routed',
  description: 'repeats arguments in headers',
  input: Type.Object({
    region: Type.Optional(Type.Union([Type.Null(), Type.String()], { type: 'string', 'x-mcp-header': 'Region' })),
    place: Type.Optional(Type.Object({
      floor: Type.Optional(Type.Integer({ 'x-mcp-header': 'Floor' })),
      open: Type.Optional(Type.Boolean({ 'x-mcp-header': 'Open' }))
    }))
  }),
  handler: () => 'arrived'
})

t.test('headers that repeat arguments must match them (2026-07-28)', async (t) => {
  const { send } = startEngine(t, [routed, tool('plain', () => 'x')])
  const call = async (args: object | undefined, headers: Record<string, string>, name = 'routed') => {
    const params = { name, ...(args !== undefined && { arguments: args }) }
    const { status, body: { error, result } } = await send('modern', 'tools/call', params, { headers })
    if (error === undefined) return { status, text: result.content[0].text }
    return { status, code: error.code, header: error.data?.mismatch?.header }
  }
  const good: Array<[object | undefined, Record<string, string>]> = [
    [undefined, {}],
    [{}, { 'mcp-param-region': 'ignored' }],
    [{ region: 'west' }, { 'mcp-param-region': 'west' }],
    [{ region: 'west' }, { 'mcp-param-region': '  west ' }],
    [{ region: 'süd' }, { 'mcp-param-region': `=?base64?${Buffer.from('süd').toString('base64')}?=` }],
    [{ place: { floor: 3, open: true } }, { 'mcp-param-floor': '3', 'mcp-param-open': 'true' }],
    [{ place: { floor: -3 } }, { 'mcp-param-floor': '-3.0' }]
  ]
  for (const [args, headers] of good) {
    t.match(
      await call(args, headers),
      { status: 200, text: 'arrived' },
      JSON.stringify([args, headers])
    )
  }
  const bad: Array<[object, Record<string, string>, string]> = [
    [{ region: 'west' }, {}, 'mcp-param-region'],
    [{ region: 'west' }, { 'mcp-param-region': 'east' }, 'mcp-param-region'],
    [{ region: 'west' }, { 'mcp-param-region': 'West' }, 'mcp-param-region'],
    [{ region: 'west' }, { 'mcp-param-region': '=?base64?!!!!?=' }, 'mcp-param-region'],
    [{ region: 'west' }, { 'mcp-param-region': '=?base64?abc?=' }, 'mcp-param-region'],
    [{ region: 'west' }, { 'mcp-param-region': '=?base64?/w==?=' }, 'mcp-param-region'],
    [{ place: { floor: 3 } }, { 'mcp-param-floor': '0x3' }, 'mcp-param-floor'],
    [{ place: { floor: 3 } }, { 'mcp-param-floor': '4' }, 'mcp-param-floor'],
    [{ place: { floor: 3 } }, { 'mcp-param-floor': '' }, 'mcp-param-floor'],
    [{ place: { open: true } }, { 'mcp-param-open': '1' }, 'mcp-param-open']
  ]
  for (const [args, headers, header] of bad) {
    t.match(
      await call(args, headers),
      { status: 400, code: -32020, header },
      JSON.stringify([args, headers])
    )
  }
  t.match(await call({ region: 'west' }, {}, 'plain'), { status: 200 }, 'a tool that repeats nothing')
  t.match(await call({ region: 'west' }, {}, 'nosuch'), { code: -32602 })
  t.match(
    (await send('legacy', 'tools/call', { name: 'routed', arguments: { region: 'west' } })).body.result,
    { content: [{ text: 'arrived' }] },
    'the 2025 revisions know no such headers'
  )
  t.match(
    (await send('modern', 'tools/list')).body.result.tools[1].inputSchema.properties.region,
    { 'x-mcp-header': 'Region' }
  )
})

t.test('an x-mcp-header that would make clients refuse the tool prevents the start', async (t) => {
  const declared = (schema: object) => [{ ...routed, input: Type.Object({ a: Type.Unsafe(schema) }) }]
  for (const [definitions, message] of [
    [declared({ type: 'string', 'x-mcp-header': 'a b' }), /Tool routed, a: x-mcp-header must be a header name/],
    [declared({ type: 'string', 'x-mcp-header': 7 }), /must be a header name/],
    [declared({ type: 'number', 'x-mcp-header': 'A' }), /strings, integers and booleans/],
    [[{
      ...routed,
      input: Type.Object({ a: Type.String({ 'x-mcp-header': 'X' }), b: Type.String({ 'x-mcp-header': 'x' }) })
    }], /a name of its own/]
  ] as const) await t.rejects(createTestClient({ definitions }), { message })
})
