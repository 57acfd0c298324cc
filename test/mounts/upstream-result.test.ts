import t from 'tap'
import { Type } from 'typebox'
import { definePrompt } from '../../src/define/prompt.ts'
import { defineResource } from '../../src/define/resource.ts'
import { defineTool } from '../../src/define/tool.ts'
import { UpstreamResult } from '../../src/define/upstream.ts'
import { startOpenServer } from '../support/open-server.ts'

t.test('a result of a mounted server that is none of MCP is not passed on, and the log names the reason', async (t) => {
  const wrong = new UpstreamResult({ content: 'text', messages: 7, contents: [{}] })
  const seed = await startOpenServer(t, [
    defineTool({ name: 'odd', description: 'Odd', input: Type.Object({}), handler: () => wrong }),
    definePrompt({ name: 'odd', handler: () => wrong as never }),
    defineResource({ uri: 'odd://1', name: 'Odd', read: () => wrong })
  ])
  const tool = await seed.send('modern', 'tools/call', { name: 'odd', arguments: {} })
  t.match(tool.response.result, { isError: true, content: [{ text: /odd failed/ }] })
  const prompt = await seed.send('modern', 'prompts/get', { name: 'odd' })
  t.match(prompt.response.error!.message, /prompt odd failed/)
  const resource = await seed.send('modern', 'resources/read', { uri: 'odd://1' })
  t.match(resource.response.error!.message, /resource odd:\/\/1 failed/)
  const failures = seed.logs.filter(({ event }) => event === 'handler.failed')
  t.match(failures.map(({ err }) => (err as Error).message), [
    'The server behind this one returned something other than the result of a tool',
    'The server behind this one returned something other than the result of a prompt',
    'The server behind this one returned something other than the contents of a resource'
  ])
})
