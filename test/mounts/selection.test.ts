import t from 'tap'
import { isSelected, isToolSelected } from '../../src/mounts/selection.ts'

t.test('tools are offered by name: * stands for any characters, and deny wins', async (t) => {
  t.equal(isSelected('anything'), true)
  t.equal(isSelected('anything', false), false)
  const selection = { allow: ['get_*', 'list', '*_by_*_id', 'a*a'], deny: ['get_secret*'] }
  for (const name of ['get_', 'get_file', 'list', 'find_by_person_id', 'x_by_y_by_z_id', 'aa']) t.equal(isSelected(name, selection), true, name)
  for (const name of ['lists', 'get_secret_file', 'by_id', '_by_id', 'a', 'other']) t.equal(isSelected(name, selection), false, name)
  t.equal(isSelected('delete', { deny: ['delete'] }), false)
  t.equal(isSelected('a'.repeat(10_000), { allow: [`${'*a'.repeat(100)}b`] }), false)
})

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
