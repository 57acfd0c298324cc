import t from 'tap'
import { Type } from 'typebox'
import { definePrompt } from '../../../src/define/prompt.ts'
import { defineResource, defineResourceTemplate } from '../../../src/define/resource.ts'
import { ERAS, startEngine } from '../../support/engine-fixture.ts'
import { asPrincipal } from '../../support/mcp.ts'

const definitions = [
  definePrompt({
    name: 'greet',
    arguments: Type.Object({
      tone: Type.Union([Type.Literal('formal'), Type.Literal('friendly'), Type.Literal(7 as never)]),
      size: Type.Optional(Type.Enum(['small', 'large'])),
      only: Type.Optional(Type.Literal('only')),
      name: Type.String(),
      city: Type.Optional(Type.String()),
      broken: Type.Optional(Type.String()),
      many: Type.Optional(Type.String())
    }),
    complete: {
      city: async (typed, given, { principal }) => [`${typed}|${given['name']}|${principal?.subject}`],
      broken () { throw new Error('password=hunter2') },
      many: () => Array.from({ length: 150 }, (_, at) => String(at))
    },
    handler: () => ''
  }),
  definePrompt({
    name: 'hidden',
    groups: ['staff'],
    arguments: Type.Object({ a: Type.String() }),
    complete: { a: () => ['secret'] },
    handler: () => ''
  }),
  definePrompt({ name: 'bare', handler: () => '' }),
  defineResource({ uri: 'memo://one', name: 'one', read: () => '' }),
  defineResource({ uri: 'memo://hidden', name: 'hidden', groups: ['staff'], read: () => '' }),
  defineResourceTemplate({
    uriTemplate: 'memo://by/{author}',
    name: 'by',
    complete: { author: (typed) => ['ada', 'alan', 'bob'].filter((name) => name.startsWith(typed)) },
    read: () => ''
  }),
  defineResourceTemplate({ uriTemplate: 'memo://plain/{id}', name: 'plain', read: () => '' })
]

for (const era of ERAS) {
  t.test(`completes arguments and variables, ${era}`, async (t) => {
    const { send } = startEngine(t, definitions)
    const complete = async (ref: object, name: string, value: string, given?: object, principal = asPrincipal('ada')) =>
      (await send(
        era,
        'completion/complete',
        { ref, argument: { name, value }, ...(given !== undefined && { context: { arguments: given } }) },
        { principal }
      )).body
    const greet = { type: 'ref/prompt', name: 'greet' }
    const of = (uri: string) => ({ type: 'ref/resource', uri })

    t.same(
      (await complete(greet, 'tone', 'f')).result.completion,
      { values: ['formal', 'friendly'], total: 2, hasMore: false },
      'what a schema lists completes itself'
    )
    t.same((await complete(greet, 'tone', 'fr')).result.completion.values, ['friendly'])
    t.same((await complete(greet, 'size', '')).result.completion.values, ['small', 'large'])
    t.same((await complete(greet, 'only', '')).result.completion.values, ['only'])
    t.same((await complete(greet, 'name', 'A')).result.completion.values, [])
    t.same((await complete(greet, 'city', 'Lo', { name: 'Ada' })).result.completion.values, ['Lo|Ada|ada'])
    t.match((await complete(greet, 'many', '')).result.completion, { total: 150, hasMore: true })
    t.equal((await complete(greet, 'many', '')).result.completion.values.length, 100)
    const broken = await complete(greet, 'broken', '')
    t.match(broken.error, { code: -32603, message: /completion of Prompt greet failed/ })
    t.notMatch(JSON.stringify(broken), /hunter2/)
    for (const name of [
      'nosuch',
      '__proto__',
      'constructor'
    ]) t.match((await complete(greet, name, '')).error, { code: -32602 }, name)
    t.match((await complete({ type: 'ref/prompt', name: 'bare' }, 'a', '')).error, { code: -32602 })

    t.same((await complete(of('memo://by/{author}'), 'author', 'a')).result.completion.values, ['ada', 'alan'])
    t.same((await complete(of('memo://plain/{id}'), 'id', 'a')).result.completion.values, [])
    t.same(
      (await complete(of('memo://one'), 'id', '')).result.completion.values,
      [],
      'a resource has nothing to complete'
    )
    const hidden = [
      { type: 'ref/prompt', name: 'hidden' },
      { type: 'ref/prompt', name: 'nosuch' },
      of('memo://hidden'),
      of('memo://nosuch')
    ]
    const answers = await Promise.all(hidden.map(async (ref) => (await complete(ref, 'a', '')).error))
    for (const answer of answers) t.same(answer, answers[0], 'what is hidden does not exist')
    t.match(answers[0], { code: -32602 })
    const staff = asPrincipal('ada', { groups: ['staff'] })
    t.same((await complete(hidden[0]!, 'a', '', {}, staff)).result.completion.values, ['secret'])
  })
}
