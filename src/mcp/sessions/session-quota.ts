import { keys } from '../../store/keys.ts'
import { LaterRecordError, asLater } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'
import { TooManySessionsError, sessionsKey } from './session.ts'
import type { Session, SessionOptions } from './session.ts'
import type { SessionRecords } from './session-records.ts'

export interface SessionQuotaOptions {
  store: Store
  records: SessionRecords
  limits: Pick<SessionOptions, 'maxPerPrincipal' | 'maxTotal'>
  isInUse (digest: string): boolean
  removeSession (digest: string, countedIn: string): Promise<unknown>
}

export type SessionQuota = ReturnType<typeof createSessionQuota>

/** The limits on open sessions: per caller, with all their clients, and in total. */
export function createSessionQuota ({ store, records, limits, isInUse, removeSession }: SessionQuotaOptions) {
  const { maxPerPrincipal, maxTotal } = limits

  /**
   * Removes sessions whose record is lost, and the one that was unused the longest. Many clients never end theirs, and
   * one that is still wanted is begun again by its client, at the price of one request. A session of a later release
   * counts, and stays: nobody can tell here for how long it has been unused.
   */
  async function makeRoom (countedIn: string): Promise<void> {
    const digests = await store.members(countedIn)
    const found = await Promise.all(digests.map(async (digest) => await records.read(digest).catch(asLater)))
    for (const [index, record] of found.entries()) {
      if (record === undefined) await removeSession(digests[index]!, countedIn)
    }
    const idle = found
      .flatMap((record) => record === undefined || record instanceof LaterRecordError ? [] : [record.session])
      .filter(({ digest }) => !isInUse(digest))
    const [oldest] = idle.sort((a, b) => a.lastSeenAt - b.lastSeenAt || a.createdAt - b.createdAt)
    if (oldest !== undefined) await removeSession(oldest.digest, countedIn)
  }

  return {
    /** Counts a new session. @throws TooManySessionsError */
    async admit (session: Session): Promise<void> {
      const { digest } = session
      const seconds = records.ttlSeconds(session)
      const countedIn = sessionsKey(session)
      if (!await store.addMemberWithin(countedIn, digest, seconds, maxPerPrincipal)) {
        await makeRoom(countedIn)
        if (!await store.addMemberWithin(countedIn, digest, seconds, maxPerPrincipal)) {
          throw new TooManySessionsError(429, 'SESSIONS_PER_PRINCIPAL', maxPerPrincipal)
        }
      }
      if (await store.addMemberWithin(keys.sessions(), digest, seconds, maxTotal)) return
      await store.removeMember(countedIn, digest)
      throw new TooManySessionsError(503, 'SESSIONS_TOTAL', maxTotal)
    }
  }
}
