import { keys } from '../../store/keys.ts'
import { defineRecord } from '../../store/record.ts'
import type { Store } from '../../store/store.ts'
import { SessionNotFoundError, SessionSchema, sessionsKey } from './session.ts'
import type { Session, SessionOptions } from './session.ts'

/** A session and its record's text, which a later compare-and-set expects. */
export interface SessionRecord {
  session: Session
  text: string
}

const sessionRecord = defineRecord('session', SessionSchema)

export type SessionRecords = ReturnType<typeof createSessionRecords>

/**
 * The records of sessions in the store, and the two sets that count them: per caller, and in total.
 *
 * @param now milliseconds since the epoch
 */
export function createSessionRecords (
  store: Store,
  { idleTtlSeconds, maxAgeSeconds }: Pick<SessionOptions, 'idleTtlSeconds' | 'maxAgeSeconds'>,
  now: () => number
) {
  /** Uses are recorded no more often than this, so a record lives longer than the idle time by as much. */
  const renewSeconds = Math.max(1, Math.min(60, Math.floor(idleTtlSeconds / 4)))

  function ttlSeconds ({ createdAt }: Session): number {
    return Math.min(idleTtlSeconds + renewSeconds, Math.ceil((createdAt + maxAgeSeconds * 1_000 - now()) / 1_000))
  }

  async function replace (record: SessionRecord, session: Session): Promise<boolean> {
    const text = sessionRecord.serialize(session)
    return await store.compareAndSet(keys.session(session.digest), record.text, text, ttlSeconds(session))
  }

  async function read (digest: string): Promise<SessionRecord | undefined> {
    const stored = await sessionRecord.find(store, keys.session(digest))
    if (stored === undefined) return undefined
    const { value: session, text } = stored
    // A record under another session's key would let its client into this one.
    return session.digest === digest && ttlSeconds(session) > 0 ? { text, session } : undefined
  }

  return {
    renewSeconds,
    ttlSeconds,

    /** @returns undefined where there is none, or it has reached its maximum age */
    read,

    /** @throws SessionNotFoundError where there is none, or it has reached its maximum age */
    async get (digest: string): Promise<SessionRecord> {
      const record = await read(digest)
      if (record === undefined) throw new SessionNotFoundError()
      return record
    },

    async create (session: Session): Promise<void> {
      await store.set(keys.session(session.digest), sessionRecord.serialize(session), ttlSeconds(session))
    },

    /** Replaces a record, unless it has changed since it was read. */
    replace,

    /** Records a use. When several requests do so at the same time, on whatever replica, one of them succeeds. */
    async renew (record: SessionRecord): Promise<Session> {
      const { digest } = record.session
      const renewed = { ...record.session, lastSeenAt: now() }
      const seconds = ttlSeconds(renewed)
      try {
        if (await replace(record, renewed)) {
          await store.addMember(sessionsKey(renewed), digest, seconds)
          await store.addMember(keys.sessions(), digest, seconds)
        }
        return renewed
      } catch {
        // A store that is full still reads, and can prolong what it has.
        await store.touch(keys.session(digest), seconds)
        return record.session
      }
    },

    /** @returns whether there was a record */
    async remove (digest: string): Promise<boolean> {
      return await store.delete(keys.session(digest))
    },

    /**
     * Removes what belongs to a session that has ended, besides its record.
     * @param countedIn key of the set that counts it (sessionsKey)
     */
    async removeTraces (digest: string, countedIn: string): Promise<void> {
      await store.removeMember(countedIn, digest)
      await store.removeMember(keys.sessions(), digest)
      // Streams may leave these behind when very many end at the same time and the store is slow.
      await store.delete(keys.standalone(digest))
      await store.delete(keys.queue(digest))
    }
  }
}
