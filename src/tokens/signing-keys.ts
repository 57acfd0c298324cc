import { createECDH, createPrivateKey, createPublicKey, hash } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { JWSHeaderParameters } from 'jose'
import { KeyNotFoundError } from '../provider/key-set.ts'
import type { JwkSet } from '../schemas/well-known.ts'
import type { KeyGeneration, Keyring } from '../crypto/keyring.ts'

export type SigningKeys = ReturnType<typeof createSigningKeys>

export interface SigningKey {
  kid: string
  privateKey: KeyObject
  publicKey: KeyObject
  jwk: JwkSet['keys'][number]
}

const PERIOD_MS = 30 * 86_400_000

/** The order of P-256's group (FIPS 186-5, SP 800-186 section 3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/**
 * The keys that sign Seed's access tokens (ES256), derived from SEED_SECRET and the calendar: all replicas have the
 * same ones without exchanging them, and nothing is lost with the store. Each month has its own key. Those of the
 * previous, this and the next month are published, because clocks differ and tokens outlive the month; so are those
 * of SEED_SECRET_PREVIOUS.
 *
 * @param now wall clock in milliseconds
 */
export function createSigningKeys ({ generations }: Keyring, now: () => number = Date.now) {
  const derived = new Map<string, SigningKey>()

  function keyFor (generation: KeyGeneration, period: number): SigningKey {
    const name = `${generation.id}:${period}`
    const key = derived.get(name) ?? deriveKey(generation, period)
    derived.set(name, key)
    return key
  }

  function publishedKeys (): SigningKey[] {
    const current = Math.floor(now() / PERIOD_MS)
    const periods = [current, current - 1, current + 1]
    return generations.flatMap((generation) => periods.map((period) => keyFor(generation, period)))
  }

  return {
    /** The key to sign with now. */
    current: (): SigningKey => publishedKeys()[0]!,

    /** The JWK Set for /.well-known/jwks.json (RFC 7517 section 5). */
    published: (): JwkSet => ({ keys: publishedKeys().map(({ jwk }) => jwk) }),

    /** The public key that a token's header names. @throws KeyNotFoundError */
    getKey ({ kid }: JWSHeaderParameters): KeyObject {
      const key = publishedKeys().find((candidate) => candidate.kid === kid)
      if (key !== undefined) return key.publicKey
      throw new KeyNotFoundError(
        `no key "${kid}" among this server's own (was SEED_SECRET changed without SEED_SECRET_PREVIOUS?)`)
    }
  }
}

/** Derives a private key from extra random bits (FIPS 186-5 appendix A.2.1): with 384 the remainder is not biased. */
function deriveKey (generation: KeyGeneration, period: number): SigningKey {
  const bits = BigInt(`0x${generation.derive(`signing-key:${period}`, 48).toString('hex')}`)
  const d = Buffer.from((bits % (ORDER - 1n) + 1n).toString(16).padStart(64, '0'), 'hex')
  const curve = createECDH('prime256v1')
  curve.setPrivateKey(d)
  const point = curve.getPublicKey()
  const [x, y] = [point.subarray(1, 33).toString('base64url'), point.subarray(33).toString('base64url')]
  const publicJwk = { crv: 'P-256', kty: 'EC', x, y } as const
  const kid = hash('sha256', JSON.stringify(publicJwk), 'base64url')
  return {
    kid,
    privateKey: createPrivateKey({ key: { ...publicJwk, d: d.toString('base64url') }, format: 'jwk' }),
    publicKey: createPublicKey({ key: publicJwk, format: 'jwk' }),
    jwk: { ...publicJwk, kid, alg: 'ES256', use: 'sig' }
  }
}
