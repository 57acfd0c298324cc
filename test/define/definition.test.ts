import t from 'tap'
import { assistant, text, user } from '../../src/define/content.ts'
import { describeDefinition, isDefinition } from '../../src/define/definition.ts'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResource, defineResourceTemplate } from '../../src/define/resource.ts'

t.test('recognizes and names what the define functions return', async (t) => {
  const prompt = definePrompt({ name: 'greet', handler: () => 'hi' })
  const resource = defineResource({ uri: 'memo://one', name: 'one', read: () => 'text' })
  const template = defineResourceTemplate({ uriTemplate: 'memo://{id}', name: 'memo', read: () => 'text' })
  t.same(
    [prompt, resource, template].map(describeDefinition),
    ['Prompt "greet"', 'Resource "memo://one"', 'Resource template "memo://{id}"']
  )
  for (const definition of [prompt, resource, template]) t.ok(isDefinition(definition))
  for (const other of [undefined, null, 'tool', {}, { kind: 'else' }]) t.notOk(isDefinition(other))
})

t.test('makes messages of a prompt from text or content blocks', async (t) => {
  const block = text('hello', { annotations: { audience: ['user'] } })
  t.same([user('hello'), assistant('hello')], [
    { role: 'user', content: { type: 'text', text: 'hello' } },
    { role: 'assistant', content: { type: 'text', text: 'hello' } }
  ])
  t.same([user(block), assistant(block)], [{ role: 'user', content: block }, { role: 'assistant', content: block }])
})
