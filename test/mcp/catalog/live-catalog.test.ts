import t from 'tap'
import { Type } from 'typebox'
import type { Definition } from '../../../src/define/definition.ts'
import { definePrompt } from '../../../src/define/prompt.ts'
import { defineResource, defineResourceTemplate } from '../../../src/define/resource.ts'
import { defineTool } from '../../../src/define/tool.ts'
import { gate } from '../../support/gate.ts'
import { call, modern, request, send, settle, startEngines, startSession } from '../../support/mcp.ts'

/** Replaces the definitions while the server runs, as npm run dev does after a save. */

const tool = (text: string, more: object = {}) => defineTool({
  name: 'tool',
  description: 'says',
  input: Type.Object({}),
  handler: () => text,
  ...more
})
const prompt = definePrompt({ name: 'prompt', handler: () => '' })
const resource = defineResource({ uri: 'memo://one', name: 'one', read: () => '' })
const template = defineResourceTemplate({ uriTemplate: 'memo://{x}', name: 'x', read: () => '' })

const CASES: Array<[what: string, before: Definition[], after: Definition[], changedLists: string[]]> = [
  ['a tool comes', [], [tool('a')], ['tools']],
  ['a tool goes', [tool('a')], [], ['tools']],
  ['a tool says something else of itself', [tool('a')], [tool('a', { description: 'other' })], ['tools']],
  ['a tool is for others', [tool('a')], [tool('a', { scopes: ['x'] })], ['tools']],
  ['a tool only does something else', [tool('a')], [tool('b')], []],
  ['a prompt comes', [], [prompt], ['prompts']],
  ['a resource comes', [], [resource], ['resources']],
  ['a template comes', [], [template], ['resources']],
  ['everything goes', [tool('a'), prompt, resource], [], ['tools', 'prompts', 'resources']],
  ['the order of files changes', [resource, template, tool('a')], [tool('a'), template, resource], []]
]

t.test('clients of both eras are notified of the lists that changed, and of no others', async (t) => {
  for (const [what, before, after, changedLists] of CASES) {
    const cluster = startEngines(t, { count: 1, definitions: before })
    const session = await startSession(cluster)
    const { events: old } = await session.get()
    const [body, options] = modern(
      'subscriptions/listen',
      { notifications: { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true } }
    )
    const { events: now } = await send(cluster.engines[0]!, body, options)
    await now.message()
    await settle()
    cluster.engines[0]!.replace(after)
    for (const events of [old, now]) {
      for (const list of changedLists) {
        t.match(
          await events.message(),
          { method: `notifications/${list}/list_changed` },
        `${what}: ${list}`
        )
      }
    }
    await settle()
    await Promise.all([old.cut(), now.cut()])
    t.same(await old.rest(), [], `${what}: nothing else`)
    t.same(await now.rest(), [], `${what}: nothing else`)
  }
})

t.test('sessions use the new definitions, and running calls finish with the old ones', async (t) => {
  const { tool: slow, started, open } = gate()
  const cluster = startEngines(t, { count: 1, definitions: [tool('before'), slow] })
  const [engine] = cluster.engines
  const session = await startSession(cluster)
  const running = session.post(call('gate', {}, { id: 2 }))
  await started
  engine!.replace([tool('after')])
  t.match((await session.post(call('tool'))).body.result, { content: [{ text: 'after' }] })
  t.match(
    (await send(engine!, ...modern('tools/call', { name: 'tool', arguments: {} }))).body.result,
    { content: [{ text: 'after' }] }
  )
  t.match((await session.post(call('gate'))).body.error, { code: -32602 })
  open('done')
  const answer = await running
  t.match(answer.body ?? await answer.events.message(), { id: 2, result: { content: [{ text: 'done' }] } })

  t.throws(() => { engine!.replace([tool('a'), tool('b')]) }, { message: 'Tool "tool" is defined twice' })
  t.match(
    (await session.post(call('tool'))).body.result,
    { content: [{ text: 'after' }] },
    'what cannot be served changes nothing'
  )
  t.same((await session.post(request('prompts/list'))).body.result, { prompts: [] })
})
