import { createECDH, createPrivateKey, createPublicKey, hash } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { JWSHeaderParameters } from 'jose'
import { KeyNotFoundError } from '../provider/jwks.ts'
import type { JwkSet } from '../schemas/well-known.ts'
import type { KeyGeneration, Keyring } from '../crypto/keyring.ts'

/**
 * The keys that sign Seed's access tokens (ES256), derived from SEED_SECRET and the calendar: all replicas have them
 * without asking anyone, and a lost store loses none. Each month has its key. The keys of the last, this and the next
 * month are published, so that clocks may differ and tokens outlive the month; those of the previous SEED_SECRET too.
 */
export interface SigningKeys {
  /** The key to sign with now. */
  current (): SigningKey
  /** The JWK Set for /.well-known/jwks.json (RFC 7517 section 5). */
  published (): JwkSet
  /** The public key a token's header names. @throws KeyNotFoundError */
  getKey (header: JWSHeaderParameters): KeyObject
}

export interface SigningKey {
  kid: string
  privateKey: KeyObject
  publicKey: KeyObject
  jwk: JwkSet['keys'][number]
}

const PERIOD_MS = 30 * 86_400_000

/** The order of P-256's group (FIPS 186-5, SP 800-186 section 3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/** @param now wall clock in milliseconds */
export function createSigningKeys ({ generations }: Keyring, now: () => number = Date.now): SigningKeys {
  const known = new Map<string, SigningKey>()

  function keyOf (generation: KeyGeneration, period: number): SigningKey {
    const name = `${generation.id}:${period}`
    const key = known.get(name) ?? deriveKey(generation, period)
    known.set(name, key)
    return key
  }

  function live (): SigningKey[] {
    const period = Math.floor(now() / PERIOD_MS)
    return generations.flatMap((generation) => [period, period - 1, period + 1].map((which) => keyOf(generation, which)))
  }

  return {
    current: () => live()[0]!,
    published: () => ({ keys: live().map(({ jwk }) => jwk) }),
    getKey ({ kid }) {
      const key = live().find((candidate) => candidate.kid === kid)
      if (key === undefined) throw new KeyNotFoundError(`no key "${kid}" among this server's own (was SEED_SECRET changed without SEED_SECRET_PREVIOUS?)`)
      return key.publicKey
    }
  }
}

/** A private key from extra random bits (FIPS 186-5 appendix A.2.1): 384 bits, so that the remainder is not biased. */
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
