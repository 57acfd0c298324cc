import t from 'tap'
import { Type } from 'typebox'
import { text, toolResult } from '../../src/define/content.ts'
import { recordFile } from '../../src/define/definition.ts'
import type { Definition } from '../../src/define/definition.ts'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResource } from '../../src/define/resource.ts'
import { ToolError, defineTool } from '../../src/define/tool.ts'
import type { ToolDefinition } from '../../src/define/tool.ts'
import { ERAS, startOpenServer } from '../support/open-server.ts'

/** Whatever an author's code returns or throws, the client gets one clear answer, and the log names tool and file. */

const FILE = '/srv/extensions/broken.js'
const PUBLIC = /^(prompt |resource )?\S+ failed; the server's log holds the reason under reference [\w-]{12}$/

/** A tool that returns at once, and one that returns later: both paths are tested. */
function tools (name: string, returned: () => unknown): ToolDefinition[] {
  const declared = { description: name, input: Type.Object({}) }
  return [
    defineTool({ ...declared, name: `${name}_now`, handler: () => returned() as string }),
    defineTool({
      ...declared,
      name: `${name}_later`,
      async handler () {
        await new Promise((resolve) => setImmediate(resolve))
        return returned() as string
      }
    })
  ]
}

function fromFile<Kind extends Definition> (definitions: Kind[]): Kind[] {
  for (const definition of definitions) recordFile(definition, FILE)
  return definitions
}

class Row {
  id = 7
  get secret (): string { return 'not in JSON' }
}

const cycle: Record<string, unknown> = {}
cycle['self'] = cycle
const selfCaused = new Error('my own cause')
selfCaused.cause = selfCaused

const MISTAKES: Record<string, () => unknown> = {
  bigint_in_meta: () => toolResult({ content: [text('x')], _meta: { n: 1n } }),
  bigint_in_block: () => text('x', { annotations: { n: 1n } as never }),
  bigint_in_data: () => ({ n: 1n }),
  bigint_beside_text: () => toolResult({ content: [text('x')], structuredContent: { n: 1n } }),
  cycle: () => cycle,
  cycle_in_result: () => toolResult({ content: [text('x')], structuredContent: cycle }),
  throwing_getter: () => ({ get n () { throw new Error('a getter') } }),
  text_as_json: () => ({ toJSON: () => 'text' }),
  no_json: () => ({ toJSON: () => undefined }),
  buffer: () => Buffer.from('bytes'),
  date: () => new Date(),
  map: () => new Map([['a', 1]]),
  function: () => () => 'x',
  symbol: () => Symbol('x'),
  data_as_text: () => toolResult({ structuredContent: 'text' as never }),
  content_as_text: () => toolResult({ content: 'text' as never }),
  odd_is_error: () => toolResult({ content: [text('x')], isError: 'yes' as never }),
  throws_null: () => { throw null }, // eslint-disable-line
  throws_undefined: () => { throw undefined }, // eslint-disable-line
  throws_text: () => { throw 'a secret' }, // eslint-disable-line
  throws_its_own_cause: () => { throw selfCaused }
}

for (const era of ERAS) {
  t.test(`a handler that returns what is no result, or throws anything, ${era}`, async (t) => {
    const definitions = Object.entries(MISTAKES).flatMap(([name, returned]) => tools(name, returned))
    const { send, logs } = await startOpenServer(t, fromFile(definitions))
    for (const { name } of definitions) {
      logs.length = 0
      const { status, response, text } = await send(era, 'tools/call', { name, arguments: {} })
      t.equal(status, 200, name)
      t.match(response, { result: { isError: true, content: [{ type: 'text', text: PUBLIC }] } }, name)
      t.notMatch(text, /secret|BigInt|Cannot|Invalid|expected/, `${name}: no internal text`)
      t.match(logs.find(({ msg }) => msg === 'A handler failed'), { handler: name, file: FILE }, `${name}: logged`)
    }
  })

  t.test(`such a result on a stream is answered as well, ${era}`, async (t) => {
    const [now] = fromFile([defineTool({
      name: 'streamed',
      description: 'reports progress first',
      input: Type.Object({}),
      async handler (_input, { progress }) {
        await progress(1)
        return toolResult({ _meta: { n: 1n } })
      }
    })])
    const { send } = await startOpenServer(t, [now!])
    const params = { name: 'streamed', arguments: {}, _meta: { progressToken: 'p' } }
    const { notifications, response } = await send(era, 'tools/call', params)
    t.match(notifications, [{ method: 'notifications/progress', params: { progress: 1 } }])
    t.match(response, { result: { isError: true, content: [{ text: PUBLIC }] } })
  })

  t.test(`an object of a class is sent as what its JSON holds, and checked as that, ${era}`, async (t) => {
    const row = { description: 'row', input: Type.Object({}), handler: () => new Row() }
    const { send } = await startOpenServer(t, [
      defineTool({ ...row, name: 'row' }),
      defineTool({ ...row, name: 'declared', output: Type.Object({ id: Type.Number(), secret: Type.String() }) })
    ])
    t.match((await send(era, 'tools/call', { name: 'row', arguments: {} })).response, {
      result: { structuredContent: { id: 7 }, content: [{ text: '{"id":7}' }] }
    })
    t.match((await send(era, 'tools/call', { name: 'declared', arguments: {} })).response, { result: { isError: true } })
  })

  t.test(`prompts and resources that return what cannot be sent, ${era}`, async (t) => {
    const description = 'broken'
    const prompt = (name: string, returned: unknown) =>
      definePrompt({ name, description, handler: () => returned as string })
    const resource = (name: string, returned: unknown) =>
      defineResource({ uri: `x://${name}`, name, read: () => returned as string })
    const message = { role: 'user', content: { type: 'text', text: 'x', _meta: { n: 1n } } }
    const definitions = fromFile<Definition>([
      prompt('bigint', [message]), prompt('date', new Date()), prompt('function', () => 'x'),
      resource('bigint', { n: 1n }), resource('function', () => 'x'), resource('no_json', { toJSON: () => undefined }),
      resource('odd_type', [{ mimeType: 7, content: 'x' }])
    ])
    const { send, logs } = await startOpenServer(t, definitions)
    for (const definition of definitions) {
      logs.length = 0
      const { response } = definition.kind === 'prompt'
        ? await send(era, 'prompts/get', { name: definition.name })
        : await send(era, 'resources/read', { uri: (definition as { uri: string }).uri })
      t.match(response, { error: { code: -32603, message: PUBLIC } })
      t.match(logs.find(({ msg }) => msg === 'A handler failed'), { file: FILE })
    }
  })

  t.test(`a result that is larger than MCP_MAX_RESULT_BYTES is an error that says so, ${era}`, async (t) => {
    const large = 'é'.repeat(1_500)
    const returned: Record<string, () => unknown> = {
      text: () => large,
      data: () => ({ large }),
      block: () => text(large),
      result: () => toolResult({ structuredContent: { large } }),
      tool_error: () => { throw new ToolError(large) }
    }
    const definitions = fromFile<Definition>([
      ...Object.entries(returned).flatMap(([name, handler]) => tools(name, handler)),
      ...tools('small', () => 'é'.repeat(1_000)),
      definePrompt({ name: 'large', description: 'large', handler: () => large }),
      defineResource({ uri: 'x://text', name: 'text', read: () => large }),
      defineResource({ uri: 'x://data', name: 'data', read: () => ({ large }) }),
      defineResource({ uri: 'x://bytes', name: 'bytes', read: () => new Uint8Array(4_000) })
    ])
    const { send, logs } = await startOpenServer(t, definitions, { MCP_MAX_RESULT_BYTES: '2048' })
    const message = /^(prompt |resource )?\S+ returned more than 2048 bytes, which this server does not send: ask for less$/
    for (const definition of definitions) {
      logs.length = 0
      const { kind, name } = definition
      const { response } = kind === 'tool'
        ? await send(era, 'tools/call', { name, arguments: {} })
        : kind === 'prompt'
          ? await send(era, 'prompts/get', { name })
          : await send(era, 'resources/read', { uri: (definition as { uri: string }).uri })
      if (name.startsWith('small')) {
        t.notOk(response.result.isError, `${name}: within the limit`)
        continue
      }
      if (kind === 'tool') t.match(response, { result: { isError: true, content: [{ text: message }] } }, name)
      else t.match(response, { error: { code: -32603, message } }, name)
      t.match(logs.find(({ msg }) => /MCP_MAX_RESULT_BYTES/.test(msg)), { file: FILE, maxBytes: 2_048, level: 40 })
    }
  })
}

t.test('a question that JSON cannot hold fails the tool, instead of leaving the request without an answer', async (t) => {
  const { send, logs } = await startOpenServer(t, fromFile([defineTool({
    name: 'asks',
    description: 'asks',
    input: Type.Object({}),
    async handler (_input, { sample }) {
      await sample({ messages: [], maxTokens: 1n as never })
      return 'never'
    }
  })]))
  for (const era of ERAS) {
    const { response } = await send(era, 'tools/call', { name: 'asks', arguments: {} })
    t.match(response, { result: { isError: true } })
  }
  t.match(logs.find(({ msg }) => msg === 'A handler failed'), { handler: 'asks', file: FILE })
})
