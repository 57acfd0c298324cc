import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import t from 'tap'
import { ready, startSeed } from '../support/seed.ts'
import { promptsAndResources } from '../conformance/prompts-and-resources.ts'
import { tools } from '../conformance/tools.ts'

/** Clients of both SDKs in both eras list and use everything a server can offer: the conformance suite's fixtures. */

/** The methods that the clients of both SDKs have in common. */
type AnyClient = Pick<
  Client,
  | 'listTools'
  | 'callTool'
  | 'listPrompts'
  | 'getPrompt'
  | 'complete'
  | 'listResources'
  | 'listResourceTemplates'
  | 'readResource'
  | 'close'
>

const info = { name: 'everything', version: '1.0.0' }
const clients: Array<{ name: string, connect (url: URL, headers: Record<string, string>): Promise<AnyClient> }> = [
  {
    name: 'SDK v1',
    async connect (url, headers) {
      const client = new ClientV1(info)
      await client.connect(new TransportV1(url, { requestInit: { headers } }) as never)
      const callTool = client.callTool.bind(client)
      return Object.assign(client, {
        callTool: async (params: Parameters<typeof callTool>[0], options: Parameters<typeof callTool>[2]) =>
          await callTool(params, undefined, options)
      }) as unknown as AnyClient
    }
  },
  ...(['legacy', { pin: '2026-07-28' }] as const).map((mode) => ({
    name: `SDK v2, ${mode === 'legacy' ? 'sessions' : mode.pin}`,
    async connect (url: URL, headers: Record<string, string>) {
      const client = new Client(info, { versionNegotiation: { mode } })
      await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }))
      return client
    }
  }))
]

for (const { name, connect } of clients) {
  t.test(name, async (t) => {
    const seed = await startSeed(t, { definitions: [...tools, ...promptsAndResources], env: { LIST_PAGE_SIZE: '3' } })
    await ready(seed)
    const client = await connect(new URL(`${seed.url}/mcp`), { authorization: `Bearer ${await seed.provider.mint()}` })

    const listed: string[] = []
    let cursor: string | undefined
    do {
      // A client may page by itself, or give one page at a time.
      const page = await client.listTools(cursor === undefined ? {} : { cursor })
      listed.push(...page.tools.map(({ name }) => name))
      cursor = page.nextCursor
    } while (cursor !== undefined)
    t.same(listed, tools.map((tool) => (tool as { name: string }).name).sort(), 'all pages, in order')

    t.match(await client.callTool({ name: 'test_multiple_content_types' }), {
      content: [
        { type: 'text' },
        { type: 'image', mimeType: 'image/png' },
        { type: 'resource', resource: { uri: 'test://mixed-content-resource' } }
      ]
    })
    const told: unknown[] = []
    t.match(
      await client.callTool(
        { name: 'test_tool_with_progress' },
        {
          onprogress: (progress) => {
            told.push(progress)
          }
        }
      ),
      { content: [{ text: 'Done' }] }
    )
    t.same(told, [0, 50, 100].map((progress) => ({ progress, total: 100 })))
    t.match(
      await client.callTool({ name: 'json_schema_2020_12_tool', arguments: { contactMethod: 'phone', phone: '1' } }),
      { content: [{ text: 'The arguments fit' }] }
    )
    t.match(
      await client.callTool({
        name: 'json_schema_2020_12_tool',
        arguments: { contactMethod: 'phone', email: 'a@example.com' }
      }),
      { isError: true },
      'if and then are heeded'
    )
    t.match(await client.callTool({ name: 'test_custom_header', arguments: { region: 'eu-west' } }), {
      content: [{ text: 'eu-west' }]
    })

    t.match(await client.listPrompts(), {
      prompts: [
        { name: 'test_prompt_with_arguments', arguments: [{ name: 'arg1', required: true }, { name: 'arg2' }] },
        {},
        {}
      ]
    })
    t.match(await client.getPrompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'one', arg2: 'two' } }), {
      messages: [{ content: { text: "Prompt with arguments: arg1='one', arg2='two'" } }]
    })
    t.match(
      await client.complete({
        ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' },
        argument: { name: 'arg1', value: 'pa' }
      }),
      { completion: { values: ['paris', 'park', 'party'] } }
    )
    t.match(await client.listResources(), {
      resources: [{ uri: 'test://static-binary' }, { uri: 'test://static-text' }, { uri: 'test://watched-resource' }]
    })
    t.match(await client.listResourceTemplates(), { resourceTemplates: [{ uriTemplate: 'test://template/{id}/data' }] })
    t.match(await client.readResource({ uri: 'test://template/a%20b/data' }), {
      contents: [{ uri: 'test://template/a%20b/data', mimeType: 'application/json', text: /"id":"a b"/ }]
    })
    await t.rejects(client.readResource({ uri: 'test://nowhere' }), { code: -32602 })
    await t.rejects(client.getPrompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'one' } }), {
      code: -32602,
      message: /arg2/
    })
    await client.close()
  })
}
