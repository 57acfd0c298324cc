import { generateKeyPairSync } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { SignJWT, exportJWK, importJWK } from 'jose'
import type { CryptoKey } from 'jose'
import t from 'tap'
import { isSignedBy } from '../../src/tokens/verify-signature.ts'

/** jose signs, Node verifies. */

const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2_048 })
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve })
const KEYS: Record<string, () => { publicKey: KeyObject, privateKey: KeyObject }> = {
  RS256: rsa,
  RS384: rsa,
  RS512: rsa,
  PS256: rsa,
  PS384: rsa,
  PS512: rsa,
  ES256: () => ec('P-256'),
  ES384: () => ec('P-384'),
  ES512: () => ec('P-521'),
  EdDSA: () => generateKeyPairSync('ed25519'),
  Ed25519: () => generateKeyPairSync('ed25519')
}

for (const [alg, make] of Object.entries(KEYS)) {
  t.test(`${alg}: its signature is good, and nothing else is`, async (t) => {
    const { publicKey, privateKey } = make()
    const token = await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg }).sign(privateKey)
    const [header, payload, signature] = token.split('.') as [string, string, string]
    const asJose = await importJWK(await exportJWK(publicKey), alg) as CryptoKey
    for (const key of [publicKey, asJose, asJose]) t.ok(isSignedBy(key, alg, token))
    t.notOk(isSignedBy(make().publicKey, alg, token), 'another key')
    t.notOk(isSignedBy(publicKey, alg, `${header}.${payload}A.${signature}`), 'another payload')
    t.notOk(isSignedBy(publicKey, alg, `${header}A.${payload}.${signature}`), 'another header')
    t.notOk(isSignedBy(publicKey, alg, `${header}.${payload}.`), 'no signature')
    t.notOk(isSignedBy(publicKey, alg, `${header}.${payload}.${signature.slice(0, -4)}`), 'a part of it')
    t.notOk(isSignedBy(publicKey, alg, `${token}AAAA`), 'more than it')
  })
}

t.test('the same signature in other characters is refused, because the token would have another digest', async (t) => {
  const { publicKey, privateKey } = rsa()
  const token = await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'RS256' }).sign(privateKey)
  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = ALPHABET.indexOf(token.at(-1)!)
  const others = [...ALPHABET]
    .filter((_letter, at) => at !== last && at >> 4 === last >> 4)
    .map((letter) => token.slice(0, -1) + letter)
  t.equal(others.length, 15)
  for (const other of others) {
    t.same(Buffer.from(other.split('.')[2]!, 'base64url'), Buffer.from(token.split('.')[2]!, 'base64url'))
    t.notOk(isSignedBy(publicKey, 'RS256', other))
  }
  t.notOk(isSignedBy(publicKey, 'RS256', `${token}A`))
})
