import t from 'tap'
import { parseJwt } from '../../src/tokens/jwt.ts'

/** Parsing of JWTs; hostile ones over HTTP: verifier.test.ts. */

const HEADER = Buffer.from('{"alg":"ES256","kid":"one"}').toString('base64url')
const encode = (bytes: string, encoding: BufferEncoding = 'utf8'): string => Buffer.from(bytes, encoding).toString('base64url')

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
  const payload = encode('{"sub":"ada"} ')
  t.match(parseJwt(`${HEADER}.${encode('{"sub":"ada"}  ')}.c2ln`, ['ES256']), { claims: { sub: 'ada' } })
  t.throws(() => parseJwt(`${HEADER}.${payload.padEnd(payload.length + (5 - payload.length % 4) % 4, 'A')}.c2ln`, ['ES256']), {
    name: 'TokenError', reason: 'invalid_format'
  })
})
