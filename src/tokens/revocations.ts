import { keys } from '../store/keys.ts'
import { StoreUnavailableError } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { digest } from '../crypto/hash.ts'

/** A revocation, as all replicas learn of it. */
export interface Revocation {
  revocationKeys: string[]
  /** Seconds since the epoch: tokens issued later are good. */
  issuedUntil: number
}

export type Revocations = ReturnType<typeof createRevocations>

const CHANNEL = 'revocations'

/**
 * Ends access tokens before they expire, on every replica: with a mark in the store, which is read when a token is
 * first seen, and with a message to the replicas that have the token in their cache.
 *
 * A token is revoked by one of its revocation keys: `grant:<id>` for tokens that Seed issued, `token:<SHA-256>`,
 * `subject:<SHA-256 of sub>` and `sid:<SHA-256 of sid>` for the provider's.
 *
 * @param ttlSeconds the longest life of an access token: a mark is not needed for longer
 */
export function createRevocations (store: Store, ttlSeconds: number) {
  return {
    /** Revokes all tokens with these keys, or those issued up to `issuedUntil` (seconds since the epoch). */
    async revoke (revocationKeys: string[], issuedUntil = Number.MAX_SAFE_INTEGER): Promise<void> {
      await Promise.all(revocationKeys.map((key) => store.set(keys.revoked(key), String(issuedUntil), ttlSeconds)))
      await store.publish(CHANNEL, encode({ revocationKeys, issuedUntil }))
    },

    /** Whether any of these keys is revoked. False while the store is unavailable: tokens are short-lived. */
    async isRevoked (revocationKeys: string[], issuedAt: number): Promise<boolean> {
      try {
        const marks = await Promise.all(revocationKeys.map((key) => store.get(keys.revoked(key))))
        return marks.some((mark) => mark !== undefined && issuedAt <= Number(mark))
      } catch (err) {
        if (err instanceof StoreUnavailableError) return false
        throw err
      }
    },

    /** Calls `listener` on every replica for each revocation, and with undefined when some may have been missed. */
    onRevoked (listener: (revocation: Revocation | undefined) => unknown): void {
      store.subscribe(CHANNEL, (message) => { listener(decode(message)) }, () => { listener(undefined) })
    }
  }
}

/** The message calls the keys `names`: replicas of earlier versions read it during a rolling upgrade. */
function encode ({ revocationKeys, issuedUntil }: Revocation): string {
  return JSON.stringify({ names: revocationKeys, issuedUntil })
}

function decode (message: string): Revocation {
  const { names, issuedUntil } = JSON.parse(message) as { names: string[], issuedUntil: number }
  return { revocationKeys: names, issuedUntil }
}

export const grantKey = (grantId: string): string => `grant:${grantId}`
export const tokenKey = (tokenDigest: string): string => `token:${tokenDigest}`
export const subjectKey = (subject: string): string => `subject:${digest(subject)}`
export const sidKey = (sid: string): string => `sid:${digest(sid)}`
