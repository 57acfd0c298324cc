import t from 'tap'
import { describeRuleAgainstTool } from '../../src/mounts/settings/selection.ts'

const TOOL = { name: 'read', inputSchema: { type: 'object' as const } }

t.test('tools are offered by what their server says of them; absent hints mean what MCP says', async (t) => {
  t.equal(describeRuleAgainstTool(TOOL), undefined)
  t.equal(describeRuleAgainstTool(TOOL, { allow: [{ readOnlyHint: true }] }), 'not in tools.allow')
  const readOnly = { readOnlyHint: true }
  t.equal(describeRuleAgainstTool({ ...TOOL, annotations: readOnly }, { allow: [readOnly] }), undefined)
  const defaults = { readOnlyHint: false, destructiveHint: true, openWorldHint: true, idempotentHint: false }
  t.equal(describeRuleAgainstTool(TOOL, { allow: [defaults] }), undefined)
  t.equal(describeRuleAgainstTool(TOOL, false), 'tools: false')
})

t.test('a name or an annotation of allow is enough, an annotation must fit whole, and deny wins', async (t) => {
  const tool = { ...TOOL, annotations: { readOnlyHint: true, openWorldHint: false } }
  t.equal(describeRuleAgainstTool(TOOL, { allow: ['r*', { readOnlyHint: true }] }), undefined)
  t.equal(describeRuleAgainstTool(tool, { allow: ['write', { readOnlyHint: true }] }), undefined)
  t.equal(describeRuleAgainstTool(tool, { allow: [{ readOnlyHint: true, openWorldHint: true }] }), 'not in tools.allow')
  t.equal(describeRuleAgainstTool(tool, { allow: ['read'], deny: [{ readOnlyHint: true, openWorldHint: false }] }),
    'tools.deny: { readOnlyHint: true, openWorldHint: false }')
  t.equal(describeRuleAgainstTool(tool, { allow: [{ readOnlyHint: true }], deny: ['x', 're*'] }), 'tools.deny: re*')
})

t.test('what says it only reads is not taken for destructive, unless it says so itself', async (t) => {
  const deny = [{ destructiveHint: true }]
  t.equal(describeRuleAgainstTool(TOOL, { deny }), 'tools.deny: { destructiveHint: true }')
  t.equal(describeRuleAgainstTool({ ...TOOL, annotations: { readOnlyHint: true } }, { deny }), undefined)
  t.ok(describeRuleAgainstTool({ ...TOOL, annotations: { readOnlyHint: true, destructiveHint: true } }, { deny }))
})
