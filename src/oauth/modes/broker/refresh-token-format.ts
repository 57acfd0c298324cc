import { digest, timingSafeEquals } from '../../../crypto/hash.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { Grant } from './grant.ts'

/** A refresh token, taken apart. */
export interface RefreshToken {
  grantId: string
  number: number
  keyId: string
  mac: string
}

/** Takes a refresh token apart; undefined for a string that cannot be one. */
export function parseRefreshToken (token: string): RefreshToken | undefined {
  const match = /^([\w-]{22})\.(\d{1,9})\.([\w-]{8})\.([\w-]{43})$/.exec(token)
  if (match === null) return undefined
  const [, grantId, number, keyId, mac] = match as unknown as [string, string, string, string, string]
  return { grantId, number: Number(number), keyId, mac }
}

export type RefreshTokens = ReturnType<typeof createRefreshTokens>

/**
 * Makes and checks refresh tokens: `<grant id>.<number>.<key id>.<MAC>`.
 *
 * The MAC is over grant id, number and the grant's salt, so that neither the store nor SEED_SECRET alone can make one,
 * and the successor of a token is always the same. Thanks to the number a store that has lost its last writes does no
 * harm: a token with a higher number than the grant's is genuine, and lower ones stay spent.
 */
export function createRefreshTokens ({ generations, mac }: Keyring) {
  const currentKeyId = generations[0]!.id

  const macOf = (keyId: string, grantId: string, number: number, salt: string): string | undefined =>
    mac(keyId, `refresh:${grantId}:${number}:${salt}`)

  /** The grant's current refresh token. */
  function currentToken ({ id, number, keyId, salt }: Pick<Grant, 'id' | 'number' | 'keyId' | 'salt'>): string {
    return `${id}.${number}.${keyId}.${macOf(keyId, id, number, salt)}`
  }

  return {
    currentToken,

    /** Returns the grant with a new current refresh token. @param now wall clock in milliseconds */
    withToken (grant: Grant, number: number, now: number): Grant {
      const unhashed = { ...grant, number, keyId: currentKeyId, rotatedAt: now }
      return { ...unhashed, currentHash: digest(currentToken(unhashed)) }
    },

    /** Whether Seed made this refresh token for this grant. */
    isGenuine (token: RefreshToken, { id, salt }: Pick<Grant, 'id' | 'salt'>): boolean {
      const expected = macOf(token.keyId, token.grantId, token.number, salt)
      return token.grantId === id && expected !== undefined && timingSafeEquals(token.mac, expected)
    }
  }
}
