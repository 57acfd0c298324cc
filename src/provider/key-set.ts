import { createPublicKey } from 'node:crypto'
import { createLocalJWKSet } from 'jose'
import type { CryptoKey, JWK, JWSHeaderParameters } from 'jose'

/** No key of the provider's fits the token's header. */
export class KeyNotFoundError extends Error {
  override readonly name = 'KeyNotFoundError'
}

export type KeySet = ReturnType<typeof createKeySet>

const MAX_KEYS = 100

/** What helps where a provider has no key to sign with. */
const PROVIDER_ADVICE = 'authentik: select a Signing Key in the provider; HS256 with the client secret is not accepted'

const CURVES: unknown[] = ['P-256', 'P-384', 'P-521']

/**
 * The keys of a JWK Set (RFC 7517 section 5) that may verify a signature: at most 100, the first of each `kid`.
 * Symmetric, encryption and weak keys are ignored, and private members are dropped (RFC 8725 section 3.5).
 *
 * @param advice what helps where the document has no such key
 * @throws Error when the document has no such key
 */
export function createKeySet (document: Record<string, unknown>, advice = PROVIDER_ADVICE) {
  const keys = readKeys(document, advice)
  const kids = new Set(keys.map(({ kid }) => kid))
  const select = createLocalJWKSet({ keys })
  /** Imported keys by `alg` and `kid`. Bounded: only keys of the set get in. */
  const imported = new Map<string, CryptoKey>()

  return {
    size: keys.length,
    kids: [...kids],
    /** Two sets with the same fingerprint have the same keys. */
    fingerprint: JSON.stringify(keys),

    /** Without a `kid`, only a set of one key is unambiguous (OpenID Connect Core 1.0 section 10.1). */
    hasKey: (kid: string | undefined): boolean => kid === undefined ? keys.length === 1 : kids.has(kid),

    /** The key that a token's header asks for. @throws KeyNotFoundError */
    async getKey (header: JWSHeaderParameters): Promise<CryptoKey> {
      const name = `${header.alg} ${header.kid}`
      const known = imported.get(name)
      if (known !== undefined) return known
      try {
        const key = await select(header) as CryptoKey
        imported.set(name, key)
        return key
      } catch (err) {
        throw new KeyNotFoundError(`no key "${header.kid}" fits algorithm ${header.alg}`, { cause: err })
      }
    }
  }
}

function readKeys (document: Record<string, unknown>, advice: string): JWK[] {
  if (!Array.isArray(document['keys'])) throw new Error('the key set has no "keys" array')
  const usable: JWK[] = []
  for (const candidate of document['keys'].slice(0, MAX_KEYS)) {
    const jwk = publicSigningKey(candidate)
    if (jwk === undefined || !isSound(jwk)) continue
    if (jwk.kid === undefined || !usable.some(({ kid }) => kid === jwk.kid)) usable.push(jwk)
  }
  if (usable.length > 0) return usable
  throw new Error(`the key set holds no usable signing key (${advice})`)
}

/** Returns the public members of a key that is meant for signatures; undefined for any other. */
function publicSigningKey (candidate: unknown): JWK | undefined {
  if (typeof candidate !== 'object' || candidate === null) return undefined
  const { kty, kid, use, key_ops: operations, alg, n, e, crv, x, y } = candidate as JWK
  if (use !== undefined && use !== 'sig') return undefined
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return undefined
  if (kid !== undefined && typeof kid !== 'string') return undefined
  const common = { ...(kid !== undefined && { kid }), ...(typeof alg === 'string' && { alg }) }
  if (kty === 'RSA') return { kty, n: n!, e: e!, ...common }
  if (kty === 'EC' && CURVES.includes(crv)) return { kty, crv: crv!, x: x!, y: y!, ...common }
  if (kty === 'OKP' && crv === 'Ed25519') return { kty, crv, x: x!, ...common }
  return undefined
}

/** Whether a key can be imported and is not weak: RSA has 2,048 bits or more, and an exponent that is not 1. */
function isSound (jwk: JWK): boolean {
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    const { modulusLength = 2_048, publicExponent = 3n } = key.asymmetricKeyDetails!
    return modulusLength >= 2_048 && publicExponent >= 3n
  } catch {
    return false
  }
}
