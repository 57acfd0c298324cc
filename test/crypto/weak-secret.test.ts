import { randomBytes } from 'node:crypto'
import t from 'tap'
import { weaknessOf } from '../../src/crypto/weak-secret.ts'

t.test('secrets that somebody typed are told from random ones', async (t) => {
  for (const [secret, says] of [
    ['x'.repeat(44), 'different characters'],
    ['ababababababababababababababababab', 'different characters'],
    ['changemechangemechangemechangeme', 'placeholder'],
    ['please-change-this-before-going-live', 'placeholder'],
    ['CHANGE_ME_1234567890_CHANGE_ME_123456', 'placeholder'],
    ['your-32-character-secret-goes-here!!', 'placeholder'],
    ['0123456789abcdef0123456789abcdef', 'repeats'],
    ['correct-horse-correct-horse-corr', 'repeats'],
    ['abcdefghijklmnopqrstuvwxyzABCDEFGHIJ', 'in order'],
    ['0123456789abcdefghijklmnopqrstuvwxyz', 'in order'],
    ['zyxwvutsrqponmlkjihgfedcba9876543210', 'in order']
  ] as const) t.match(weaknessOf(secret), says, secret)
  for (let index = 0; index < 200; index++) {
    for (const encoding of ['base64', 'base64url', 'hex'] as const) {
      const secret = randomBytes(encoding === 'hex' ? 16 : 32).toString(encoding)
      t.equal(weaknessOf(secret), undefined, secret)
    }
  }
})
