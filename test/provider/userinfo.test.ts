import t from 'tap'
import { ProviderUnavailableError } from '../../src/provider/discovery.ts'
import { readUserinfo } from '../../src/provider/userinfo.ts'

t.test('a signed response that cannot be verified now is an outage, not an unusable answer', async (t) => {
  const response = new Response('a.b.c', { headers: { 'content-type': 'application/jwt' } })
  const verify = async (): Promise<never> => { throw new ProviderUnavailableError('no keys yet') }
  await t.rejects(readUserinfo(response, 'ada', verify), ProviderUnavailableError)
})
