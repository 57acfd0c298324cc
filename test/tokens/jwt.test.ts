import t from 'tap'
import { parseJwt } from '../../src/tokens/jwt.ts'

/** Parsing of JWTs; hostile ones over HTTP: verifier.test.ts. */

const HEADER = Buffer.from('{"alg":"ES256","kid":"one"}').toString('base64url')
const encode = (text: string, encoding: BufferEncoding = 'utf8'): string =>
  Buffer.from(text, encoding).toString('base64url')

t.test('returns header and claims', async (t) => {
  t.same(parseJwt(`${HEADER}.${encode('{"sub":"ada"}')}.c2ln`, ['ES256']), {
    header: { alg: 'ES256', kid: 'one' }, claims: { sub: 'ada' }
  })
})

t.test('refuses a payload that is not UTF-8, instead of replacing characters in a name', async (t) => {
  const refusal = { name: 'TokenError', reason: 'invalid_format', detail: 'its payload is not a JSON object' }
  t.throws(() => parseJwt(`${HEADER}.${encode('{"sub":"\xff"}', 'latin1')}.c2ln`, ['ES256']), refusal)
  t.throws(() => parseJwt(`${HEADER}.${encode('\ufeff{"sub":"ada"}')}.c2ln`, ['ES256']), refusal, 'a byte order mark')
})

t.test('refuses a length that no base64url encoding has', async (t) => {
  const payload = encode('{"sub":"ada"}  ')
  t.equal(payload.length % 4, 0)
  t.match(parseJwt(`${HEADER}.${payload}.c2ln`, ['ES256']), { claims: { sub: 'ada' } })
  const refusal = { name: 'TokenError', reason: 'invalid_format' }
  t.throws(() => parseJwt(`${HEADER}.${payload}A.c2ln`, ['ES256']), refusal)
})
