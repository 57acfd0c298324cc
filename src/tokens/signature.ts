import { KeyObject, constants, verify } from 'node:crypto'
import type { CryptoKey } from 'jose'

/**
 * The signature of a compact JWS (RFC 7515 section 5.2), verified at once by Node's own crypto.
 *
 * jose verifies through WebCrypto, in a job for the thread pool: handing it over and back costs as much again as the
 * verification of RS256. Keys and claims are jose's to judge; what is verified here is bytes.
 */

/** By `alg` (RFC 7518 section 3.1, RFC 8037, RFC 9864): the digest, and how the signature is made. */
const METHODS: Readonly<Record<string, { digest: string | null, padding?: number, saltLength?: number, dsaEncoding?: 'ieee-p1363' }>> = {
  ...withDigests('RS', { padding: constants.RSA_PKCS1_PADDING }),
  ...withDigests('PS', { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }),
  ...withDigests('ES', { dsaEncoding: 'ieee-p1363' as const }),
  EdDSA: { digest: null },
  Ed25519: { digest: null }
}

const keyObjects = new WeakMap<CryptoKey, KeyObject>()

/**
 * @param alg one that is accepted, for which the key was made
 * @returns false also for a signature that is not written as an encoder writes it: the same bytes in other words would be
 * another token to whoever revokes tokens by their digest
 */
export function isSignedBy (key: CryptoKey | KeyObject, alg: string, token: string): boolean {
  const dot = token.lastIndexOf('.')
  const written = token.slice(dot + 1)
  const signature = Buffer.from(written, 'base64url')
  const { digest, ...method } = METHODS[alg]!
  return signature.toString('base64url') === written && verify(digest, Buffer.from(token.slice(0, dot), 'latin1'), { key: toKeyObject(key), ...method }, signature)
}

function toKeyObject (key: CryptoKey | KeyObject): KeyObject {
  if (key instanceof KeyObject) return key
  let keyObject = keyObjects.get(key)
  if (keyObject === undefined) keyObjects.set(key, keyObject = KeyObject.from(key as Parameters<typeof KeyObject.from>[0]))
  return keyObject
}

function withDigests<Method extends object> (family: string, method: Method): Record<string, Method & { digest: string }> {
  return Object.fromEntries(['256', '384', '512'].map((bits) => [family + bits, { digest: `sha${bits}`, ...method }]))
}
