import { Type } from 'typebox'
import { digest } from '../crypto/hash.ts'
import { keys } from '../store/keys.ts'
import { defineMessage } from '../store/record.ts'
import { StoreUnavailableError } from '../store/store.ts'
import type { Store } from '../store/store.ts'

/** A revocation, as all replicas learn of it. */
export interface Revocation {
  revocationKeys: string[]
  /** Seconds since the epoch: tokens issued later are good. */
  issuedUntil: number
}

export type Revocations = ReturnType<typeof createRevocations>

const CHANNEL = 'revocations'

/** The keys are called `names`, which replicas of earlier versions read during a rolling upgrade. */
const message = defineMessage('message about revocations', Type.Object({
  names: Type.Array(Type.String()), issuedUntil: Type.Number()
}))

/** The largest ACCESS_TOKEN_TTL: Seed accepts its own tokens up to this age, whatever the setting is today. */
export const MAX_OWN_LIFETIME_SECONDS = 86_400
/** The largest TOKEN_CLOCK_SKEW_SECONDS. */
const MAX_CLOCK_SKEW_SECONDS = 300

/**
 * Returns how long a mark must last: as long as any verifier accepts a token, whatever its settings were when the mark
 * was made.
 *
 * @param maxLifetimeSeconds TOKEN_MAX_LIFETIME_SECONDS
 */
export function markTtlSeconds (maxLifetimeSeconds: number): number {
  return Math.max(maxLifetimeSeconds, MAX_OWN_LIFETIME_SECONDS) + 2 * MAX_CLOCK_SKEW_SECONDS
}

/**
 * Ends access tokens before they expire, on every replica: with a mark in the store, which is read when a token is
 * first seen, and with a message to the replicas that have the token in their cache.
 *
 * A token is revoked by one of its revocation keys (below). One mark ends all tokens of a person or a client, however
 * many there are.
 *
 * @param ttlSeconds how long a mark lasts by default (markTtlSeconds)
 */
export function createRevocations (store: Store, ttlSeconds: number) {
  /** Returns until when a mark revokes. One that cannot be read revokes all: it is there because of a revocation. */
  function readMark (mark: string): number {
    if (/^\d{1,16}$/.test(mark)) return Number(mark)
    store.reportUnreadable('revocation mark', 'it revokes all tokens that it is about')
    return Infinity
  }

  /**
   * Revokes as `revoke` does, as far as the store can be reached.
   *
   * @returns the keys that are revoked, and what failed with the others, or with the message about these
   */
  async function tryRevoke (
    revocationKeys: string[], issuedUntil = Number.MAX_SAFE_INTEGER, markSeconds = ttlSeconds
  ): Promise<{ revoked: Set<string>, failures: unknown[] }> {
    const revoked = new Set<string>()
    const failures: unknown[] = []
    await Promise.all(revocationKeys.map(async (key) => {
      try {
        await store.set(keys.revoked(key), String(issuedUntil), markSeconds, { evenIfFull: true })
        revoked.add(key)
      } catch (err) {
        failures.push(err)
      }
    }))
    if (revoked.size > 0) {
      // Replicas with these tokens in their caches do not read the marks.
      await store.publish(CHANNEL, JSON.stringify({ names: [...revoked], issuedUntil }))
        .catch((err: unknown) => { failures.push(err) })
    }
    return { revoked, failures }
  }

  return {
    tryRevoke,

    /** Revokes all tokens with these keys, or those issued up to `issuedUntil` (seconds since the epoch). */
    async revoke (revocationKeys: string[], issuedUntil?: number, markSeconds?: number): Promise<void> {
      const { failures } = await tryRevoke(revocationKeys, issuedUntil, markSeconds)
      if (failures.length > 0) throw failures[0]
    },

    /** Whether any of these keys is revoked. False while the store is unavailable: tokens are short-lived. */
    async isRevoked (revocationKeys: string[], issuedAt: number): Promise<boolean> {
      try {
        const marks = await Promise.all(revocationKeys.map((key) => store.get(keys.revoked(key))))
        return marks.some((mark) => mark !== undefined && issuedAt <= readMark(mark))
      } catch (err) {
        if (err instanceof StoreUnavailableError) return false
        throw err
      }
    },

    /** Calls `listener` on every replica for each revocation, and with undefined when some may have been missed. */
    onRevoked (listener: (revocation: Revocation | undefined) => unknown): void {
      store.subscribe(CHANNEL, (text) => {
        const received = message.parse(store, text)
        if (received !== undefined) listener({ revocationKeys: received.names, issuedUntil: received.issuedUntil })
      }, () => { listener(undefined) })
    }
  }
}

/** All tokens of a grant in broker mode. */
export const grantKey = (grantId: string): string => `grant:${grantId}`
/** All tokens of a person. */
export const subjectKey = (subject: string): string => `subject:${digest(subject)}`
/** All tokens of a person that name no session at the provider. */
export const subjectWithoutSidKey = (subject: string): string => `subject-without-sid:${digest(subject)}`
/** All tokens of a session at the provider. */
export const sidKey = (sid: string): string => `sid:${digest(sid)}`
/** All tokens of a client in broker mode. */
export const clientKey = (clientId: string): string => `client:${digest(clientId)}`

/**
 * The tokens of a person or a client that belong to no grant. They have no mark of their own, so that this one ends
 * those of the very second too, which the mark of the owner leaves to the grants.
 *
 * @param ownerKey subjectKey or clientKey
 */
export const withoutGrantKey = (ownerKey: string): string => `without-grant:${ownerKey}`

/**
 * One token, by what is signed. Its holder can vary the signature: an ECDSA signature (r, s) has the twin (r, n - s).
 */
export const tokenKey = (token: string): string => `token:${digest(token.slice(0, token.lastIndexOf('.')))}`
