import { keys } from '../store/keys.ts'
import { StoreUnavailableError } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { digest } from '../crypto/keyring.ts'

/**
 * What stops access tokens before they expire, on every replica: a mark in the store for whoever looks later, and a
 * message for those who remember a verified token now.
 *
 * Whose tokens end is told by names: `grant:<id>` for those Seed issued, `token:<SHA-256>`, `subject:<sub>` and
 * `sid:<sid>` for the provider's. A token ends when it was issued no later than the mark says.
 */
export interface Revocations {
  /** Ends everything issued under these names up to `issuedUntil` (seconds since the epoch; without it, for good). */
  revoke (names: string[], issuedUntil?: number): Promise<void>
  /** Whether a token under any of these names has ended. While the store is away the answer is no: tokens are short-lived. */
  isRevoked (names: string[], issuedAt: number): Promise<boolean>
  /** Called on every replica for each revocation, and with undefined when some may have been missed. */
  onRevoked (listener: (revocation: Revocation | undefined) => unknown): void
}

export interface Revocation {
  names: string[]
  issuedUntil: number
}

const CHANNEL = 'revocations'

/** @param ttlSeconds how long an access token can live at most, so how long a mark is needed */
export function createRevocations (store: Store, ttlSeconds: number): Revocations {
  return {
    async revoke (names, issuedUntil = Number.MAX_SAFE_INTEGER) {
      await Promise.all(names.map((name) => store.set(keys.revoked(name), String(issuedUntil), ttlSeconds)))
      await store.publish(CHANNEL, JSON.stringify({ names, issuedUntil } satisfies Revocation))
    },

    async isRevoked (names, issuedAt) {
      try {
        const marks = await Promise.all(names.map((name) => store.get(keys.revoked(name))))
        return marks.some((mark) => mark !== undefined && issuedAt <= Number(mark))
      } catch (err) {
        if (err instanceof StoreUnavailableError) return false
        throw err
      }
    },

    onRevoked (listener) {
      store.subscribe(CHANNEL, (message) => { listener(JSON.parse(message) as Revocation) }, () => { listener(undefined) })
    }
  }
}

export const grantKey = (grantId: string): string => `grant:${grantId}`
export const tokenKey = (tokenDigest: string): string => `token:${tokenDigest}`
export const subjectKey = (subject: string): string => `subject:${digest(subject)}`
export const sidKey = (sid: string): string => `sid:${digest(sid)}`
