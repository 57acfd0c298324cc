import t from 'tap'
import { isToolSelected } from '../../src/mounts/settings/selection.ts'

t.test('tools are offered by what their server says of them; absent hints mean what MCP says', async (t) => {
  const tool = { name: 'read', inputSchema: { type: 'object' as const } }
  t.equal(isToolSelected(tool), true)
  t.equal(isToolSelected(tool, { annotations: { readOnlyHint: true } }), false)
  const annotations = { readOnlyHint: true }
  t.equal(isToolSelected({ ...tool, annotations }, { annotations }), true)
  t.equal(isToolSelected(tool, { annotations: { destructiveHint: true } }), true)
  t.equal(isToolSelected(tool, { deny: ['read'], annotations: { destructiveHint: true } }), false)
  t.equal(isToolSelected(tool, false), false)
})
