import t from 'tap'
import { deepFreeze } from '../../src/json/deep-freeze.ts'

t.test('a frozen value cannot be changed at any depth', (t) => {
  const value = deepFreeze({ a: [{ b: 1 }], nothing: null })
  for (const inner of [value, value.a, value.a[0]!]) t.ok(Object.isFrozen(inner))
  t.throws(() => { value.a[0]!.b = 2 }, TypeError)
  t.end()
})
