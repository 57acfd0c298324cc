import t from 'tap'
import { canonicalJson } from '../../src/json/canonical-json.ts'

t.test('members are sorted at every level, and the order of lists is kept', async (t) => {
  t.equal(
    canonicalJson({ b: [{ d: 1, c: null }, 'text'], a: { z: true, y: {} } }),
    '{"a":{"y":{},"z":true},"b":[{"c":null,"d":1},"text"]}'
  )
  t.equal(canonicalJson({ y: 1, x: 2 }), canonicalJson({ x: 2, y: 1 }))
  t.not(canonicalJson(['x', 'y']), canonicalJson(['y', 'x']))
})

t.test('members without a value are left out', async (t) => {
  t.equal(canonicalJson({ b: undefined, a: 1 }), '{"a":1}')
})
