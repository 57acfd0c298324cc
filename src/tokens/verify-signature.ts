import { KeyObject, constants, verify } from 'node:crypto'
import type { SigningOptions } from 'node:crypto'
import type { CryptoKey } from 'jose'

interface SignatureMethod extends SigningOptions {
  digest: string | null
}

/** Signature methods by `alg` (RFC 7518 section 3.1, RFC 8037 section 3.1, RFC 9864 section 2.2). */
const METHODS: Readonly<Record<string, SignatureMethod>> = {
  ...withDigests('RS', { padding: constants.RSA_PKCS1_PADDING }),
  ...withDigests('PS', { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }),
  ...withDigests('ES', { dsaEncoding: 'ieee-p1363' }),
  EdDSA: { digest: null },
  Ed25519: { digest: null }
}

const keyObjects = new WeakMap<CryptoKey, KeyObject>()

/**
 * Verifies the signature of a compact JWS (RFC 7515 section 5.2) with Node's own crypto. jose uses WebCrypto, whose
 * jobs for the thread pool cost as much again as verifying RS256.
 *
 * A signature that is not in the one canonical base64url form is refused: the same token in other characters would
 * have another digest, and could come back after it was revoked by its digest.
 *
 * @param alg an accepted algorithm, for which the key was made
 */
export function isSignedBy (key: CryptoKey | KeyObject, alg: string, token: string): boolean {
  const dot = token.lastIndexOf('.')
  const encoded = token.slice(dot + 1)
  const signature = Buffer.from(encoded, 'base64url')
  if (signature.toString('base64url') !== encoded) return false
  const { digest, ...method } = METHODS[alg]!
  return verify(digest, Buffer.from(token.slice(0, dot), 'latin1'), { key: toKeyObject(key), ...method }, signature)
}

function toKeyObject (key: CryptoKey | KeyObject): KeyObject {
  if (key instanceof KeyObject) return key
  let keyObject = keyObjects.get(key)
  if (keyObject === undefined) {
    keyObject = KeyObject.from(key as Parameters<typeof KeyObject.from>[0])
    keyObjects.set(key, keyObject)
  }
  return keyObject
}

function withDigests (family: string, options: SigningOptions): Record<string, SignatureMethod> {
  return Object.fromEntries(['256', '384', '512'].map((bits) => [family + bits, { digest: `sha${bits}`, ...options }]))
}
