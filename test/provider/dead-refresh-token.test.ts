import t from 'tap'
import { createDeadTokenCheck } from '../../src/provider/dead-refresh-token.ts'

const PARAMETERS = { refresh_token: 'eyJh.abc-DEF_123', scope: 'openid' }

const answer = (status: number, body: unknown): Response =>
  new Response(typeof body === 'string' ? body : JSON.stringify(body), { status })
const invalidRequest = (): Response => answer(400, { error: 'invalid_request' })

/** A provider that answers made-up refresh tokens with these responses, one after the other. */
function createProvider (...answers: Array<Response | Error>) {
  const asked: Array<Record<string, string>> = []
  const logged: object[] = []
  const { isDead } = createDeadTokenCheck(async (parameters) => {
    asked.push(parameters)
    const next = answers.shift()!
    if (next instanceof Error) throw next
    return next
  }, { info: (fields) => { logged.push(fields) } })
  return { isDead: async (response: Response) => await isDead(response, PARAMETERS), asked, logged }
}

t.test('a refresh token has ended if the provider answers one that cannot exist in the same way', async (t) => {
  const { isDead, asked, logged } = createProvider(invalidRequest())
  t.same(await Promise.all([isDead(invalidRequest()), isDead(invalidRequest())]), [true, true])
  t.equal(await isDead(invalidRequest()), true)
  t.equal(await isDead(answer(400, '')), false, 'another answer')
  t.equal(asked.length, 1, 'the provider is asked once')
  t.match(asked[0], { scope: 'openid', refresh_token: /^[A-Za-z0-9]{4}\.[A-Za-z0-9]{3}-[A-Za-z0-9]{3}_[A-Za-z0-9]{3}$/ })
  t.not(asked[0]!['refresh_token'], PARAMETERS.refresh_token)
  t.same(logged, [{ event: 'provider.refresh_error_unclear', answer: '400 invalid_request' }])
})

t.test('a provider that tells the two apart has not ended the token', async (t) => {
  const { isDead, asked, logged } = createProvider(answer(400, { error: 'invalid_grant' }))
  for (const response of [invalidRequest(), invalidRequest(), answer(400, { error: 'invalid_grant' })]) {
    t.equal(await isDead(response), false)
  }
  t.equal(asked.length, 1, 'it is asked once')
  t.same(logged, [])
})

t.test('while the provider is away or busy nothing is learned, and it is asked again later', async (t) => {
  const { isDead, asked } = createProvider(
    new Error('away'), answer(503, ''), answer(429, ''), answer(400, '<html>'), answer(404, ''), invalidRequest())
  for (const dead of [false, false, false, false, false, true]) t.equal(await isDead(invalidRequest()), dead)
  t.equal(asked.length, 6)
})

t.test("answers that are about Seed's client, its request, or from something in between are never about the token",
  async (t) => {
    const { isDead, asked } = createProvider()
    for (const response of [
      answer(200, {}), answer(429, ''), answer(500, ''), answer(403, ''), answer(404, ''), answer(400, '<html>'),
      answer(400, { error: 'invalid_client' }), answer(400, { error: 'invalid_grant' }), answer(400, { error: 'invalid_scope' })
    ]) t.equal(await isDead(response), false)
    t.equal(asked.length, 0)
  })
