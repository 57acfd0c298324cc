import t from 'tap'
import { createListing } from '../../../src/mcp/catalog/listing.ts'
import { createPolicyEvaluator } from '../../../src/policy/evaluator.ts'
import { asPrincipal } from '../../support/mcp.ts'

const GROUPS = Array.from({ length: 8 }, (_none, number) => `g${number}`)
const entries = GROUPS.map((group) => ({ name: group, item: { name: group }, policy: { groups: [group] } }))
const member = (sub: string, groups: readonly string[]) => asPrincipal(sub, { groups })

t.test('callers who see the same share one frozen array, so that a long list is not copied for each', (t) => {
  const { visible } = createListing(entries, createPolicyEvaluator({ hierarchy: [], scopes: [] }))
  const [ada, bob, eve] = [member('ada', ['g1', 'g3']), member('bob', ['g3', 'g1']), member('eve', ['g1'])]
  t.same(visible(ada), [{ name: 'g1' }, { name: 'g3' }])
  t.equal(visible(bob), visible(ada))
  t.same(visible(eve), [{ name: 'g1' }])
  t.equal(visible(ada), visible(ada))
  t.throws(() => { (visible(ada) as object[]).push({ name: 'g2' }) }, 'the shared array cannot be changed')
  t.end()
})

t.test('with more distinct selections than are cached, each caller still sees their own', (t) => {
  const { visible } = createListing(entries, createPolicyEvaluator({ hierarchy: [], scopes: [] }))
  for (let mask = 0; mask < 256; mask++) {
    const groups = GROUPS.filter((_group, at) => (mask >> at) % 2 === 1)
    t.same(visible(member(`p${mask}`, groups)), groups.map((name) => ({ name })))
  }
  t.end()
})
