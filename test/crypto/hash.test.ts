import t from 'tap'
import { digest, randomId, timingSafeEquals } from '../../src/crypto/hash.ts'

t.test('strings are compared whole', async (t) => {
  t.equal(timingSafeEquals('abc', 'abc'), true)
  t.equal(timingSafeEquals('abc', 'abd'), false)
  t.equal(timingSafeEquals('abc', 'abcd'), false)
  t.equal(timingSafeEquals('', ''), true)
})

t.test('a digest is the SHA-256, base64url', async (t) => {
  t.equal(digest('abc'), 'ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0', 'the example of FIPS 180')
})

t.test('random ids are base64url, and never the same', async (t) => {
  t.match(randomId(), /^[\w-]{32}$/)
  t.match(randomId(16), /^[\w-]{22}$/)
  t.not(randomId(), randomId())
})
