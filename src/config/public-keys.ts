import { createPublicKey } from 'node:crypto'
import { isLoopbackHost } from '../net/addresses.ts'
import { Type } from 'typebox'

/** A JWK Set in a JSON setting (RFC 7517 section 5). */
export const JwksSchema = Type.Object({
  keys: Type.Array(Type.Object({ kty: Type.String() }, { additionalProperties: true }), { minItems: 1 })
})

/** Members of private and of symmetric keys (RFC 7518 sections 6.2.2, 6.3.2 and 6.4). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

export function hasPrivateKey (keys: ReadonlyArray<{ kty: string }>): boolean {
  return keys.some((key) => PRIVATE_MEMBERS.some((member) => Object.hasOwn(key, member)))
}

/** Whether a key can verify signatures: RSA has 2,048 bits or more. */
export function isPublicKey (key: { kty: string }): boolean {
  try {
    const { modulusLength = 2_048 } = createPublicKey({ key, format: 'jwk' }).asymmetricKeyDetails!
    return modulusLength >= 2_048
  } catch {
    return false
  }
}

/** Accepts https, and http on this machine, without user, password and fragment. */
export function isSafeUrl (text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password, hash: fragment } = new URL(text)
  if (username !== '' || password !== '' || fragment !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackHost(hostname))
}
