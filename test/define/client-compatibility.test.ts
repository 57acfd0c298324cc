import t from 'tap'
import { Type } from 'typebox'
import { recordFile } from '../../src/define/definition.ts'
import { defineTool } from '../../src/define/tool.ts'
import { startSeed } from '../support/seed.ts'

const tool = (name: string, input = Type.Object({})) =>
  defineTool({ name, description: name, input, handler: () => 'done' })

t.test('an operator is warned at start of tools that some clients refuse', async (t) => {
  const dotted = tool('tickets.close')
  recordFile(dotted, '/srv/tickets.js')
  const combined = Type.Object({}, { anyOf: [{ required: ['a'] }, { required: ['b'] }] })
  const { logs } = await startSeed(t, {
    env: { AUTH_REQUIRED: 'false' },
    definitions: [dotted, tool('x'.repeat(65)), tool('combined', combined), tool('fine-1_A')]
  })
  const warnings = logs.filter(({ msg }) => /clients/.test(msg) && !/ready/.test(msg)).map(({ msg, file }) => ({ msg, file }))
  t.match(warnings, [
    { msg: /^Tool "tickets.close": some clients refuse names/, file: '/srv/tickets.js' },
    { msg: /^Tool "x{65}": some clients refuse names/ },
    { msg: /^Tool "combined": some clients refuse an input with anyOf at the top level/ }
  ])
  t.equal(warnings.length, 3)
})

t.test('an operator is warned at start of several hundred tools', async (t) => {
  const definitions = Array.from({ length: 201 }, (_, index) => tool(`tool_${index}`))
  const { logs } = await startSeed(t, { env: { AUTH_REQUIRED: 'false' }, definitions })
  t.ok(logs.some(({ msg, level }) => level === 40 && /^201 tools are offered/.test(msg)))
})
