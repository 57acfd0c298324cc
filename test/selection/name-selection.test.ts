import t from 'tap'
import { isSelected } from '../../src/selection/name-selection.ts'

t.test('what is offered is chosen by name: * stands for any characters, and deny wins', async (t) => {
  t.equal(isSelected('anything'), true)
  t.equal(isSelected('anything', false), false)
  const selection = { allow: ['get_*', 'list', '*_by_*_id', 'a*a'], deny: ['get_secret*'] }
  for (const name of ['get_', 'get_file', 'list', 'find_by_person_id', 'x_by_y_by_z_id', 'aa']) t.equal(isSelected(name, selection), true, name)
  for (const name of ['lists', 'get_secret_file', 'by_id', '_by_id', 'a', 'other']) t.equal(isSelected(name, selection), false, name)
  t.equal(isSelected('delete', { deny: ['delete'] }), false)
  t.equal(isSelected('a'.repeat(10_000), { allow: [`${'*a'.repeat(100)}b`] }), false)
})
