import t from 'tap'
import { defineResourceTemplate } from '../../src/define/resource.ts'
import { readMounts } from '../../src/mounts/settings/mounts-file.ts'
import { ERAS } from '../support/open-server.ts'
import type { OpenServer } from '../support/open-server.ts'
import { ADD, startMounted, startUpstream, writeMounts } from '../support/upstream.ts'

async function listed (seed: OpenServer, method: string, member: string, key: string): Promise<string[]> {
  const { response: { result } } = await seed.send('modern', method, {})
  return result[member].map((one: Record<string, string>) => one[key])
}

t.test('what a mount without a prefix offers is called as at its server', async (t) => {
  const upstream = await startUpstream(t)
  upstream.resources = [{ uri: 'notes://1', name: 'First note' }, { uri: 'ui://view.html', name: 'View' }]
  upstream.tools = [{ ...ADD, _meta: { ui: { resourceUri: 'ui://view.html' } } }]
  const tools = { overrides: { add: { title: 'Sum' } } }
  const seed = await startMounted(t, { calc: { url: upstream.url, prefix: false, tools } })
  for (const era of ERAS) {
    const { response: { result: { tools } } } = await seed.send(era, 'tools/list', {})
    t.match(tools, [{ name: 'add', title: 'Sum', _meta: { ui: { resourceUri: 'ui://view.html' } } }])
    const called = await seed.send(era, 'tools/call', { name: 'add', arguments: { a: 1 } })
    t.equal(called.response.result.content[0].text, '{"a":1}')
    const prompt = await seed.send(era, 'prompts/get', { name: 'greet', arguments: { who: 'Ada' } })
    t.match(prompt.response.result.messages[1], { content: { resource: { uri: 'notes://1' } } })
    for (const uri of ['notes://1', 'notes://2', 'ui://view.html']) {
      const read = await seed.send(era, 'resources/read', { uri })
      t.match(read.response.result.contents, [{ uri, text: `content of ${uri}` }])
    }
  }
})

t.test('a mount without a prefix cannot offer what could pass for something of Seed or of another mount', async (t) => {
  const [bare, tickets] = [await startUpstream(t), await startUpstream(t)]
  bare.tools = ['add', 'own', 'seed_ping', 'seed_login', 'tickets_add', 'tickets_new'].map((name) => ({ ...ADD, name }))
  bare.prompts = [{ name: 'seed_help' }, { name: 'greet' }]
  bare.resources = ['notes://1', 'tickets+notes://9', 'ui://tickets/view', 'docs://1', 'file:///a'].map((uri) =>
    ({ uri, name: 'Resource' }))
  bare.templates = ['notes://{id}', 'ti{x}://{id}', '{+all}', 'ui://{page}', 'docs://{+all}', 'd{x}'].map((uriTemplate) =>
    ({ uriTemplate, name: 'Template' }))
  const docs = defineResourceTemplate({
    uriTemplate: 'docs://{page}', name: 'Docs', description: 'Own', read: () => 'a page of Seed'
  })
  const seed = await startMounted(t, {
    bare: { url: bare.url, prefix: false }, tickets: { url: tickets.url }
  }, { definitions: [docs] })
  t.same(await listed(seed, 'tools/list', 'tools', 'name'), ['add', 'own', 'tickets_add'])
  t.same(await listed(seed, 'prompts/list', 'prompts', 'name'), ['greet', 'tickets_greet'])
  t.same(await listed(seed, 'resources/list', 'resources', 'uri'), ['file:///a', 'notes://1', 'tickets+notes://1'])
  t.same((await listed(seed, 'resources/templates/list', 'resourceTemplates', 'uriTemplate')).sort(),
    ['docs://{page}', 'notes://{id}', 'tickets+notes://{id}'])
  await seed.send('modern', 'tools/call', { name: 'tickets_add', arguments: {} })
  t.equal(bare.messages.filter(({ method }) => method === 'tools/call').length, 0)
  const read = await seed.send('modern', 'resources/read', { uri: 'docs://1' })
  t.equal(read.response.result.contents[0].text, 'a page of Seed')
  const refused = seed.logs.filter(({ event }) => event === 'mount.offers_refused').at(-1)
  t.match(refused, { mount: 'bare', count: 13 })
  t.match(JSON.stringify(refused), /seed_login.*it begins with seed_, as everything of seed does/)
  t.match(JSON.stringify(refused), /could be those of tickets.*could be those of a resource template that begins with docs:/)
})

t.test('only one mount may be without a prefix', async (t) => {
  const url = 'https://a.example/mcp'
  const path = await writeMounts({ a: { url, prefix: false }, b: { url }, c: { url, prefix: false } })
  t.throws(() => readMounts(path),
    /mount "c": prefix is false for mount "a" already, and only one mount may be without a prefix/)
})
