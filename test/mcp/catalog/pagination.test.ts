import t from 'tap'
import { Type } from 'typebox'
import { definePrompt } from '../../../src/define/prompt.ts'
import { defineResource, defineResourceTemplate } from '../../../src/define/resource.ts'
import { defineTool } from '../../../src/define/tool.ts'
import { ERAS, startEngine } from '../../support/engine-fixture.ts'

const tool = (name: string) => defineTool({ name, description: name, input: Type.Object({}), handler: () => '' })
const NAMES = ['e', 'a', 'd', 'b', 'c']
const definitions = NAMES.flatMap((name) => [
  tool(name),
  definePrompt({ name, handler: () => '' }),
  defineResource({ uri: `memo://${name}`, name, read: () => '' }),
  defineResourceTemplate({
    uriTemplate: `${name}://{x}`,
    name,
    ...(name === 'a' && { list: () => [{ uri: 'memo://bb', name: 'bb' }] }),
    read: () => ''
  })
])

const LISTS = [
  ['tools/list', 'tools', 'name', ['a', 'b', 'c', 'd', 'e']],
  ['prompts/list', 'prompts', 'name', ['a', 'b', 'c', 'd', 'e']],
  ['resources/list', 'resources', 'uri', ['memo://a', 'memo://b', 'memo://bb', 'memo://c', 'memo://d', 'memo://e']],
  [
    'resources/templates/list',
    'resourceTemplates',
    'uriTemplate',
    ['a://{x}', 'b://{x}', 'c://{x}', 'd://{x}', 'e://{x}']
  ]
] as const

for (const era of ERAS) {
  t.test(`every list is paginated, ${era}`, async (t) => {
    const fixture = startEngine(t, definitions, { pageSize: 2 })
    const cursors: string[] = []
    for (const [method, member, key, all] of LISTS) {
      const found: string[] = []
      let cursor: string | undefined
      do {
        const { result } = (await fixture.send(era, method, cursor === undefined ? {} : { cursor })).body
        t.ok(result[member].length <= 2)
        found.push(...result[member].map((item: Record<string, string>) => item[key]))
        cursor = result.nextCursor
        if (cursor !== undefined) cursors.push(cursor)
      } while (cursor !== undefined)
      t.same(found, all, method)
    }
    const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const wrong = ['', 'x', '!!', cursors.at(-1)!, `${cursors[0]!}x`, 'A'.repeat(20_000)]
    for (const value of [['tools'], ['tools', 7], {}, null, ['prompts', 'a']]) wrong.push(encoded(value))
    for (const cursor of wrong) {
      t.match((await fixture.send(era, 'tools/list', { cursor })).body.error, { code: -32602 }, cursor.slice(0, 40))
    }
    t.same(
      (await fixture.send(era, 'tools/list', { cursor: encoded(['tools', 'zzz']) })).body.result.tools,
      [],
      'after the last there is nothing'
    )
  })

  t.test(`the next page is right after items were added or removed, ${era}`, async (t) => {
    const { send, engines } = startEngine(t, definitions, { pageSize: 2 })
    const { nextCursor: cursor } = (await send(era, 'tools/list')).body.result
    engines[0]!.replace(['a', 'c', 'd', 'bb'].map(tool))
    t.match((await send(era, 'tools/list', { cursor })).body.result.tools, [{ name: 'bb' }, { name: 'c' }])
  })
}
