import t from 'tap'
import { isLoopbackHost, list, readClaimPairs } from '../../src/config/checks.ts'

/** What each setting accepts and refuses is in env.test.ts; here is what is behind several of them. */
t.test('only three names can mean nothing but this machine', async (t) => {
  for (const name of ['localhost', '127.0.0.1', '::1', '[::1]']) t.ok(isLoopbackHost(name))
  for (const name of ['localhost.', 'LOCALHOST', '127.0.0.2', '127.1', '0.0.0.0', '[::]', '', 'localhost.example', '[::ffff:127.0.0.1]']) t.notOk(isLoopbackHost(name), name)
})

t.test('a list is what stands between commas, without spaces around it and without holes', async (t) => {
  t.same(list(''), [])
  t.same(list(' , ,'), [])
  t.same(list('a'), ['a'])
  t.same(list(' a ,b c,, d'), ['a', 'b c', 'd'])
})

t.test('of a pair the first = parts claim and value', async (t) => {
  const problems: string[] = []
  t.same(readClaimPairs('', problems), [])
  t.same(readClaimPairs(' a = b , c=d=e, f=', problems), [{ claim: 'a', value: 'b' }, { claim: 'c', value: 'd=e' }, { claim: 'f', value: '' }])
  t.same(problems, [])
  for (const pair of ['a', '=b']) readClaimPairs(`x=y,${pair}`, problems)
  t.same(problems, ['a', '=b'].map((pair) => `ACCESS_CLAIMS must list claims and their values, such as department=Engineering,active=true (it has "${pair}")`))
})
