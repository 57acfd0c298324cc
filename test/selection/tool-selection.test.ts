import t from 'tap'
import { findRuleAgainstTool, namesOf } from '../../src/selection/tool-selection.ts'

t.test('tools are chosen by name and by annotation, and the rule against one is told', async (t) => {
  const reading = { name: 'read', annotations: { readOnlyHint: true } }
  const allow = ['add', { readOnlyHint: true }]
  t.equal(findRuleAgainstTool(reading, true), undefined)
  t.same(findRuleAgainstTool(reading, false), { list: 'all' })
  t.equal(findRuleAgainstTool(reading, { allow }), undefined)
  t.equal(findRuleAgainstTool({ name: 'add' }, { allow }), undefined)
  t.same(findRuleAgainstTool({ name: 'drop', annotations: undefined }, { allow }), { list: 'allow' })
  t.same(findRuleAgainstTool(reading, { deny: ['x', { openWorldHint: true }] }),
    { list: 'deny', entry: { openWorldHint: true } })
})

t.test('the names of a choice are those of its entries that are names', async (t) => {
  t.same(namesOf({ allow: ['a', { readOnlyHint: true }], deny: [{ openWorldHint: false }, 'b'] }), { allow: ['a'], deny: ['b'] })
  t.same(namesOf({}), { allow: [], deny: [] })
  t.equal(namesOf(false), false)
})
