import t from 'tap'
import { parseList, parsePairs } from '../../src/config/values.ts'

t.test('a list has its items trimmed, and no empty ones', async (t) => {
  t.same(parseList(''), [])
  t.same(parseList(' , ,'), [])
  t.same(parseList('a'), ['a'])
  t.same(parseList(' a ,b c,, d'), ['a', 'b c', 'd'])
  t.same(parseList(' a  b,c ', ' '), ['a', 'b,c'])
})

t.test('a list may be a JSON array of strings, whose items may contain the separator', async (t) => {
  t.same(parseList('["cn=eng,ou=groups,dc=example", "b"]'), ['cn=eng,ou=groups,dc=example', 'b'])
  t.same(parseList(' ["a b"]', ' '), ['a b'])
  t.same(parseList('[]'), [])
  t.same(parsePairs('["memberOf=cn=eng,dc=example"]', '='), [['memberOf', 'cn=eng,dc=example']])
  t.same(parseList('[::1]:3000,[::1]'), ['[::1]:3000', '[::1]'], 'an address in brackets is none')
})

t.test('the first separator parts a pair', async (t) => {
  t.same(parsePairs('', '='), [])
  t.same(parsePairs(' a = b , c=d=e, f=', '='), [['a', 'b'], ['c', 'd=e'], ['f', '']])
  t.same(parsePairs('wide > narrow', '>'), [['wide', 'narrow']])
})
