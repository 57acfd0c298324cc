import t from 'tap'
import { FetchError } from '../../src/net/fetch.ts'
import { createProviderContact } from '../../src/provider/contact.ts'

t.test('only a request without a response counts as a failure of the provider', async (t) => {
  const ended: boolean[] = []
  const contact = createProviderContact(() => 0, (_ms, failed) => { ended.push(failed) })
  await contact.watch(async () => {})
  t.same([contact.last(), contact.problem()], ['1970-01-01T00:00:00.000Z', undefined])
  for (const network of [false, true]) {
    const error = new FetchError(network ? 'refused' : 'answered 404', { network })
    await t.rejects(contact.watch(async () => { throw error }), error)
  }
  t.same(ended, [false, false, true])
  t.equal(contact.problem(), 'refused')
})
