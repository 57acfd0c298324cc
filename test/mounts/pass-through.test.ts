import t from 'tap'
import { ProtocolError } from '@modelcontextprotocol/server'
import { ERAS } from '../support/open-server.ts'
import { ADD, startMounted, startUpstream } from '../support/upstream.ts'

for (const upstreamEra of ['modern', 'session'] as const) {
  t.test(`a mounted server (${upstreamEra}) is served whole to clients of both eras`, async (t) => {
    const upstream = await startUpstream(t, upstreamEra)
    upstream.tools = [ADD, { ...ADD, name: 'sub', outputSchema: { type: 'object', properties: { n: { type: 'number' } } } }]
    const seed = await startMounted(t, { calc: { url: upstream.url } })

    for (const era of ERAS) {
      t.test(`client: ${era}`, async (t) => {
        const { response: { result: { tools } } } = await seed.send(era, 'tools/list', {})
        t.same(tools.map(({ name }: { name: string }) => name), ['calc_add', 'calc_sub'])
        t.same(tools[0].inputSchema, ADD.inputSchema)

        upstream.call = () => ({
          content: [
            { type: 'text', text: 'three', annotations: { audience: ['user'] } },
            { type: 'image', data: 'AAAA', mimeType: 'image/png' },
            { type: 'resource_link', uri: 'notes://1', name: 'First note' },
            { type: 'resource', resource: { uri: 'notes://2', text: 'two' } }
          ],
          structuredContent: { n: 'not a number' },
          _meta: { 'example.com/cost': 3 }
        })
        const called = await seed.send(era, 'tools/call', { name: 'calc_sub', arguments: { a: 'any' } })
        const { content, structuredContent, _meta: meta } = called.response.result
        t.same(content, [
          { type: 'text', text: 'three', annotations: { audience: ['user'] } },
          { type: 'image', data: 'AAAA', mimeType: 'image/png' },
          { type: 'resource_link', uri: 'calc+notes://1', name: 'First note' },
          { type: 'resource', resource: { uri: 'calc+notes://2', text: 'two' } }
        ])
        t.same(structuredContent, { n: 'not a number' })
        t.equal(meta['example.com/cost'], 3)

        upstream.call = () => ({ content: [{ type: 'text', text: 'no such account' }], isError: true })
        const failed = await seed.send(era, 'tools/call', { name: 'calc_add', arguments: {} })
        t.match(failed.response.result, { isError: true, content: [{ text: 'no such account' }] })

        upstream.call = () => { throw new ProtocolError(-31077, 'Out of paper', { tray: 2 }) }
        const refused = await seed.send(era, 'tools/call', { name: 'calc_add', arguments: {} })
        t.match(refused.response.error, { code: -31077, message: 'Out of paper', data: { tray: 2 } })

        const prompts = await seed.send(era, 'prompts/list', {})
        t.match(prompts.response.result.prompts, [{ name: 'calc_greet', arguments: [{ name: 'who', required: true }] }])
        const got = await seed.send(era, 'prompts/get', { name: 'calc_greet', arguments: { who: 'Ada' } })
        t.match(got.response.result, { description: 'greet for Ada', messages: [{}, { content: { resource: { uri: 'calc+notes://1' } } }] })
        const wrong = await seed.send(era, 'prompts/get', { name: 'calc_greet', arguments: { who: 'nobody' } })
        t.match(wrong.response.error, { code: -31050, message: 'Nobody is here', data: { who: 'nobody' } })
        const completed = await seed.send(era, 'completion/complete', {
          ref: { type: 'ref/prompt', name: 'calc_greet' }, argument: { name: 'who', value: 'A' }
        })
        t.same(completed.response.result.completion.values, ['A1', 'A2'])

        const resources = await seed.send(era, 'resources/list', {})
        t.match(resources.response.result.resources, [{ uri: 'calc+notes://1', name: 'First note' }])
        const read = await seed.send(era, 'resources/read', { uri: 'calc+notes://1' })
        t.same(read.response.result.contents, [{ uri: 'calc+notes://1', mimeType: 'text/plain', text: 'content of notes://1' }])
        const templates = await seed.send(era, 'resources/templates/list', {})
        t.match(templates.response.result.resourceTemplates, [{ uriTemplate: 'calc+notes://{id}' }])
        const other = await seed.send(era, 'resources/read', { uri: 'calc+notes://7' })
        t.match(other.response.result.contents, [{ uri: 'calc+notes://7', text: 'content of notes://7' }])
        const suggested = await seed.send(era, 'completion/complete', {
          ref: { type: 'ref/resource', uri: 'calc+notes://{id}' }, argument: { name: 'id', value: '4' }
        })
        t.same(suggested.response.result.completion.values, ['41', '42'])
      })
    }
  })
}
