import t from 'tap'
import { Type } from 'typebox'
import { defineResource, defineResourceTemplate } from '../../../src/define/resource.ts'
import { ToolError } from '../../../src/define/tool.ts'
import { createPolicyEvaluator } from '../../../src/policy/evaluator.ts'
import { createResourceCatalog } from '../../../src/mcp/catalog/resources.ts'
import { createTestClient } from '../../../src/testing/index.ts'
import { ERAS, startEngine } from '../../support/engine-fixture.ts'

const BYTES = new Uint8Array([1, 2, 3, 4]).subarray(1, 3)

const definitions = [
  defineResource({ uri: 'memo://text', name: 'text', mimeType: 'text/markdown', read: () => '# One' }),
  defineResource({
    uri: 'memo://bytes',
    name: 'bytes',
    title: 'Bytes',
    size: 2,
    mimeType: 'image/png',
    annotations: { priority: 1 },
    read: () => BYTES
  }),
  defineResource({ uri: 'memo://json', name: 'json', read: async () => ({ n: 1 }) }),
  defineResource({ uri: 'memo://list', name: 'list', read: () => [1, 2] }),
  defineResource({
    uri: 'memo://many',
    name: 'many',
    mimeType: 'text/plain',
    read: () => [{ content: 'a' }, { uri: 'memo://many/b', mimeType: 'image/gif', content: BYTES }]
  }),
  defineResource({ uri: 'memo://nothing', name: 'nothing', read: () => undefined as never }),
  defineResource({ uri: 'memo://breaks', name: 'breaks', read () { throw new Error('password=hunter2') } }),
  defineResource({ uri: 'memo://refuses', name: 'refuses', read () { throw new ToolError('Not today') } }),
  defineResource({ uri: 'memo://kept', name: 'kept', cache: { ttlSeconds: 60, scope: 'public' }, read: () => 'x' }),
  defineResource({ uri: 'memo://mine', name: 'mine', cache: { ttlSeconds: 60 }, read: () => 'x' }),
  defineResource({
    uri: 'memo://secret',
    name: 'secret',
    groups: ['staff'],
    cache: { ttlSeconds: 60, scope: 'public' },
    read: () => 'x'
  }),
  defineResourceTemplate({
    uriTemplate: 'tickets://{id}',
    name: 'ticket',
    mimeType: 'text/plain',
    params: Type.Object({ id: Type.String({ pattern: '^[A-Z]+-\\d+$' }) }),
    list: () => [
      { uri: 'tickets://AB-1', name: 'AB-1' },
      { uri: 'tickets://AB-2', name: 'AB-2', mimeType: 'text/html' }
    ],
    read: ({ id }, { uri }) => id === 'AB-404' ? undefined : `${id} at ${uri}`
  }),
  defineResourceTemplate({
    uriTemplate: 'notes://{owner}/{name}.md',
    name: 'note',
    read: ({ owner, name }, { principal, signal }) => `${owner}|${name}|${principal?.subject}|${signal.aborted}`
  }),
  defineResourceTemplate({ uriTemplate: 'logs://{year}-{month}-{day}', name: 'log', read: (params) => params }),
  defineResourceTemplate({ uriTemplate: 'file:///{+path}', name: 'file', read: (params) => params }),
  defineResourceTemplate({ uriTemplate: 'search://all{?q,page}', name: 'search', read: (params) => params }),
  defineResourceTemplate({
    uriTemplate: 'tags://{tags*}{/rest}{.ending}{#part}',
    name: 'tags',
    read: (params) => params
  })
]

for (const era of ERAS) {
  t.test(`resources/read, ${era}`, async (t) => {
    const { send } = startEngine(t, definitions)
    const read = async (uri: string) => (await send(era, 'resources/read', { uri })).body
    const contents = async (uri: string) => (await read(uri)).result?.contents
    const params = async (uri: string) => {
      const [one] = await contents(uri) ?? []
      return one && JSON.parse(one.text)
    }

    t.same(await contents('memo://text'), [{ uri: 'memo://text', mimeType: 'text/markdown', text: '# One' }])
    t.same(await contents('memo://bytes'), [{ uri: 'memo://bytes', mimeType: 'image/png', blob: 'AgM=' }])
    t.same(await contents('memo://json'), [{ uri: 'memo://json', mimeType: 'application/json', text: '{"n":1}' }])
    t.same(await contents('memo://list'), [{ uri: 'memo://list', mimeType: 'application/json', text: '[1,2]' }])
    t.same(await contents('memo://many'), [
      { uri: 'memo://many', mimeType: 'text/plain', text: 'a' },
      { uri: 'memo://many/b', mimeType: 'image/gif', blob: 'AgM=' }
    ])
    for (const name of ['nothing', 'breaks']) {
      t.match(
        (await read(`memo://${name}`)).error,
        { code: -32603, message: new RegExp(`^resource memo://${name} failed`) }
      )
    }
    t.match((await read('memo://refuses')).error, { code: -32603, message: 'Not today' })

    t.same(
      await contents('tickets://AB-1'),
      [{ uri: 'tickets://AB-1', mimeType: 'text/plain', text: 'AB-1 at tickets://AB-1' }]
    )
    for (const uri of [
      'tickets://AB-404',
      'tickets://ab-1',
      'tickets://',
      'tickets://AB-1/x',
      'tickets:///AB-1',
      'xtickets://AB-1',
      'memo://nosuch',
      'memo://secret',
      'not a uri',
      ''
    ]) {
      t.match((await read(uri)).error, { code: -32602 }, uri)
    }

    t.match(await contents('notes://ada/a.b.md'), [{ text: 'ada|a.b|undefined|false' }])
    t.match(
      await contents('notes://ada%2Fbob/caf%C3%A9%20two.md'),
      [{ text: 'ada/bob|café two|undefined|false' }],
      'variables are decoded, once each'
    )
    t.match(await contents('notes://ada/100%2525.md'), [{ text: 'ada|100%25|undefined|false' }])
    for (const uri of [
      'notes://ada/%00.md',
      'notes://ada/a%0Ab.md',
      'notes://ada/%7F.md',
      'notes://ada/%FF.md',
      'notes://ada/%.md',
      'notes://ada/.md',
      'notes://ada/a.md.',
      'notes://ada/a/b.md',
      'notes://ada/a\u0000.md'
    ]) {
      t.match((await read(uri)).error, { code: -32602 }, JSON.stringify(uri))
    }

    t.same(await params('logs://2026-11-25'), { year: '2026', month: '11', day: '25' })
    t.same(
      await params('logs://a-b-2026-11-25'),
      { year: 'a-b-2026', month: '11', day: '25' },
      'the earlier ones get the most'
    )
    t.same(await params('file:///etc/hosts,1'), { path: 'etc/hosts,1' })
    t.same(await params('search://all?q=a%26b&page=2'), { q: 'a&b', page: '2' })
    t.equal(await params('search://all?page=2'), undefined)
    t.same(await params('tags://a,b/c.d#e'), { tags: 'a,b', rest: 'c', ending: 'd', part: 'e' })
  })

  t.test(`hostile URIs are answered quickly, ${era}`, async (t) => {
    const { send } = startEngine(t, definitions)
    const long = 8_192
    for (const uri of [
      `memo://${'a'.repeat(1_000_000)}`,
      `file:///${'a'.repeat(1_000_000)}`,
      `file:///${'%'.repeat(8_000)}`,
      `logs://${'-'.repeat(long - 8)}/`,
      `notes://${'/'.repeat(long - 8)}`,
      `notes://a/${'.md'.repeat(2_700)}/`,
      `tags://${','.repeat(long - 8)}/`,
      `tags://${'a.'.repeat(4_000)}`,
      `search://all?q=${'&page='.repeat(1_300)}&`
    ]) {
      const began = performance.now()
      // What is no header could hold is sent by a session alone.
      const { body } = await send(era, 'resources/read', { uri })
      t.match(body.error, { code: -32602 }, uri.slice(0, 40))
      // A pattern that backtracks would take hours.
      t.ok(performance.now() - began < 10_000, uri.slice(0, 20))
    }
  })

  t.test(`lists, ${era}`, async (t) => {
    const { send } = startEngine(t, definitions)
    const { resources } = (await send(era, 'resources/list')).body.result
    t.same(resources.map(({ uri }: { uri: string }) => uri), [
      'memo://breaks',
      'memo://bytes',
      'memo://json',
      'memo://kept',
      'memo://list',
      'memo://many',
      'memo://mine',
      'memo://nothing',
      'memo://refuses',
      'memo://text',
      'tickets://AB-1',
      'tickets://AB-2'
    ])
    t.same(resources[1], {
      uri: 'memo://bytes',
      name: 'bytes',
      title: 'Bytes',
      mimeType: 'image/png',
      size: 2,
      annotations: { priority: 1 }
    })
    t.same(resources.slice(-2), [
      { uri: 'tickets://AB-1', name: 'AB-1', mimeType: 'text/plain' },
      { uri: 'tickets://AB-2', name: 'AB-2', mimeType: 'text/html' }
    ])
    const { resourceTemplates } = (await send(era, 'resources/templates/list')).body.result
    t.same(resourceTemplates.map(({ uriTemplate }: { uriTemplate: string }) => uriTemplate), [
      'file:///{+path}',
      'logs://{year}-{month}-{day}',
      'notes://{owner}/{name}.md',
      'search://all{?q,page}',
      'tags://{tags*}{/rest}{.ending}{#part}',
      'tickets://{id}'
    ])
    t.same(resourceTemplates.at(-1), { uriTemplate: 'tickets://{id}', name: 'ticket', mimeType: 'text/plain' })
  })
}

t.test('a template whose list fails does not affect the rest of the list', async (t) => {
  const template = (uriTemplate: string, list: () => unknown) => defineResourceTemplate({
    uriTemplate,
    name: 'x',
    list: list as never,
    read: () => ''
  })
  const client = await createTestClient({
    definitions: [
      definitions[0]!,
      template('a://{x}', () => { throw new Error('password=hunter2') }),
      template('b://{x}', () => 7),
      template('c://{x}', () => [{ name: 'no URI' }]),
      template('cc://{x}', () => { throw new ToolError('Not today') }),
      template('d://{x}', () => [{ uri: 'd://1', name: 'one' }, { uri: 'memo://text', name: 'declared elsewhere' }]),
      defineResourceTemplate({
        uriTemplate: 'e://{x}',
        name: 'x',
        groups: ['staff'],
        list: () => [{ uri: 'e://1', name: 'hidden' }],
        read: () => ''
      })
    ]
  })
  t.teardown(async () => { await client.close() })
  t.match(await client.listResources(), [{ uri: 'd://1' }, { uri: 'memo://text', name: 'text' }])
  t.equal(client.serverLog.filter(({ level }) => level === 'error').length, 4)
  const reasons = JSON.stringify(client.serverLog.map(({ fields }) => String(fields['err'])))
  for (const reason of [
    /hunter2/,
    /Not today/,
    /map is not a function/,
    /c:\/\/\{x\} listed something other than resources/
  ]) t.match(reasons, reason)
})

t.test('results of 2026-07-28 say how long, and by whom, they may be cached', async (t) => {
  const { send } = startEngine(t, definitions)
  const hints = async (method: string, params: object = {}) => {
    const { ttlMs, cacheScope } = (await send('modern', method, params)).body.result
    return { ttlMs, cacheScope }
  }
  t.same(await hints('resources/read', { uri: 'memo://text' }), { ttlMs: 0, cacheScope: 'private' })
  t.same(await hints('resources/read', { uri: 'memo://kept' }), { ttlMs: 60_000, cacheScope: 'public' })
  t.same(await hints('resources/read', { uri: 'memo://mine' }), { ttlMs: 60_000, cacheScope: 'private' })
  t.same(await hints('resources/list'), { ttlMs: 60_000, cacheScope: 'private' }, 'something in it has a policy')
  t.same(await hints('resources/templates/list'), { ttlMs: 60_000, cacheScope: 'public' })
  const old = (await send('legacy', 'resources/read', { uri: 'memo://kept' })).body.result
  t.same(Object.keys(old), ['contents'])
})

t.test('a resource with a policy is never for shared caches, whatever it declares', async (t) => {
  const client = await createTestClient({ definitions, principal: { subject: 'ada', groups: ['staff'] } })
  t.teardown(async () => { await client.close() })
  t.match(await client.readResource('memo://secret'), { ttlMs: 60_000, cacheScope: 'private' })
})

t.test('resources that cannot be served prevent the start', (t) => {
  const policies = createPolicyEvaluator({ hierarchy: [], scopes: [] })
  const resource = (uri: string) => defineResource({ uri, name: 'x', read: () => '' })
  const template = (uriTemplate: string, more: object = {}) => defineResourceTemplate({
    uriTemplate,
    name: 'x',
    read: () => '',
    ...more
  })
  for (const [uri, message] of [
    ['relative', /"relative" must be absolute/],
    [`a://${'b'.repeat(9_000)}`, /must be absolute/]
  ] as const) {
    t.throws(() => createResourceCatalog([resource(uri)], [], policies), { message })
  }
  t.throws(
    () => createResourceCatalog([resource('a://b'), resource('a://b')], [], policies),
    { message: 'Resource "a://b" is defined twice' }
  )
  t.throws(
    () => createResourceCatalog([], [template('a://{b}'), template('a://{b}')], policies),
    { message: 'Resource template "a://{b}" is defined twice' }
  )
  for (const [uriTemplate, message] of [
    ['a://b', /must be absolute and have variables/],
    ['{a}://b', /must be absolute/],
    ['b/{a}', /must be absolute/],
    ['a://{b', /a brace is not closed/],
    ['a://b}{c}', /a brace is not closed/],
    ['a://{}', /\{\} is not understood/],
    ['a://{b:3}', /\{b:3\} is not understood/],
    ['a://{b}/{b}', /a name of its own/]
  ] as const) t.throws(() => createResourceCatalog([], [template(uriTemplate)], policies), { message }, uriTemplate)
  t.throws(
    () => createResourceCatalog([], [template('a://{b}', { params: Type.Object({ c: Type.String() }) })], policies),
    { message: /params.c, which is none of its variables/ }
  )
  t.throws(
    () => createResourceCatalog([], [template('a://{b}', { complete: { c: () => [] } })], policies),
    { message: /completes c, which it does not have/ }
  )
  t.end()
})
