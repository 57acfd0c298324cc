import t from 'tap'
import { Type } from 'typebox'
import { assistant, image, user } from '../../../src/define/content.ts'
import { definePrompt } from '../../../src/define/prompt.ts'
import { ToolError } from '../../../src/define/tool.ts'
import { createTestClient } from '../../../src/testing/index.ts'
import { ERAS, startEngine } from '../../support/engine-fixture.ts'

const prompts = [
  definePrompt({ name: 'plain', handler: () => 'Say hello' }),
  definePrompt({
    name: 'greet',
    title: 'Greet',
    description: 'Greets somebody',
    arguments: Type.Object({
      name: Type.String({ description: 'Whom', title: 'Name' }),
      tone: Type.Optional(Type.String())
    }),
    handler: ({ name, tone }, { principal }) => [
      user(`Greet ${name}, ${tone ?? 'as ever'}`),
      assistant(`As ${principal?.subject ?? 'nobody'}?`),
      user(image('AAAA', 'image/png'))
    ]
  }),
  definePrompt({ name: 'refuses', handler () { throw new ToolError('Not today') } }),
  definePrompt({ name: 'breaks', handler () { throw new Error('password=hunter2') } }),
  definePrompt({ name: 'shapeless', handler: () => [{ role: 'nobody' }] as never }),
  definePrompt({ name: 'nothing', handler: () => undefined as never }),
  definePrompt({
    name: 'elicits',
    async handler (_input, { elicit }) {
      const answer = await elicit('Which?', Type.Object({ which: Type.String() }))
      return answer.action === 'accept' ? answer.content.which : 'none'
    }
  })
]

for (const era of ERAS) {
  t.test(`prompts/get and prompts/list, ${era}`, async (t) => {
    const { send } = startEngine(t, prompts)
    const get = async (name: string, args?: object) => (await send(
      era,
      'prompts/get',
      { name, ...(args !== undefined && { arguments: args }) }
    )).body

    t.match(
      (await get('plain')).result.messages,
      [{ role: 'user', content: { type: 'text', text: 'Say hello' } }],
      'text is what the user says'
    )
    t.match((await get('greet', { name: 'Ada' })).result, {
      description: 'Greets somebody',
      messages: [
        { role: 'user', content: { text: 'Greet Ada, as ever' } },
        { role: 'assistant', content: { text: 'As nobody?' } },
        { role: 'user', content: { type: 'image' } }
      ]
    })
    t.match((await get('greet')).error, { code: -32602, message: /arguments of greet are not valid: .*name/ })
    t.match((await get('greet', { name: 7 })).error, { code: Number })
    for (const name of [
      'nosuch',
      '__proto__',
      'constructor'
    ]) t.match((await get(name)).error, { code: -32602, message: `Unknown prompt: ${name}` })
    t.match(
      (await get('refuses')).error,
      { code: -32603, message: 'Not today' },
      'the message of a ToolError reaches the client'
    )
    for (const name of ['breaks', 'shapeless', 'nothing']) {
      t.match(
        (await get(name)).error,
        { code: -32603, message: new RegExp(`^prompt ${name} failed; the server's log holds the reason`) }
      )
    }
    t.notMatch(JSON.stringify(await get('breaks')), /hunter2/)

    const { prompts: listed } = (await send(era, 'prompts/list')).body.result
    t.same(
      listed.map(({ name }: { name: string }) => name),
      ['breaks', 'elicits', 'greet', 'nothing', 'plain', 'refuses', 'shapeless']
    )
    t.same(listed[2], {
      name: 'greet',
      title: 'Greet',
      description: 'Greets somebody',
      arguments: [
        { name: 'name', title: 'Name', description: 'Whom', required: true },
        { name: 'tone', required: false }
      ]
    })
    t.same(listed[4], { name: 'plain' })
  })
}

t.test('the log has the real error of a prompt that failed', async (t) => {
  const client = await createTestClient({ definitions: prompts })
  t.teardown(async () => { await client.close() })
  for (const [name, message] of [
    ['breaks', 'password=hunter2'],
    ['shapeless', /something other than text or messages/]
  ] as const) {
    await t.rejects(client.getPrompt(name))
    t.match(
      client.serverLog.findLast(({ level }) => level === 'error'),
      { message: 'A handler failed', fields: { handler: `prompt ${name}`, err: { message } } }
    )
  }
})

t.test('a prompt may ask the person', async (t) => {
  const { send } = startEngine(t, prompts)
  const question = (await send('modern', 'prompts/get', { name: 'elicits' })).body.result
  t.match(question, { resultType: 'input_required' })
  t.match((await send('modern', 'prompts/get', {
    name: 'elicits',
    requestState: question.requestState,
    inputResponses: { 'input-1': { action: 'accept', content: { which: 'this' } } }
  })).body.result, { messages: [{ content: { text: 'this' } }] })
})

t.test('prompts that cannot be served prevent the start', (t) => {
  for (const [definitions, message] of [
    [[prompts[0]!, prompts[0]!], 'Prompt "plain" is defined twice'],
    [[definePrompt({ name: 'a b', handler: () => '' })], /Prompt name "a b"/]
  ] as const) t.throws(() => startEngine(t, definitions), { message })
  t.end()
})
