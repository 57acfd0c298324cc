import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import { TooManySessionsError, sessionsKey } from './session.ts'
import type { Session, SessionOptions } from './session.ts'
import type { SessionRecords } from './session-records.ts'

/** A caller at their limit loses a session that was unused for this long, rather than being locked out. */
const STALE_MS = 30 * 60_000

export interface SessionQuotaOptions {
  store: Store
  records: SessionRecords
  limits: Pick<SessionOptions, 'maxPerPrincipal' | 'maxTotal'>
  removeSession (digest: string, countedIn: string): Promise<unknown>
  /** Milliseconds since the epoch. */
  now (): number
}

export type SessionQuota = ReturnType<typeof createSessionQuota>

/** The limits on open sessions: per caller, with all their clients, and in total. */
export function createSessionQuota ({ store, records, limits, removeSession, now }: SessionQuotaOptions) {
  const { maxPerPrincipal, maxTotal } = limits

  /** Removes sessions whose record is lost, and the one that was unused the longest if it is stale. */
  async function makeRoom (countedIn: string): Promise<void> {
    const digests = await store.members(countedIn)
    const found = await Promise.all(digests.map(records.read))
    for (const [index, record] of found.entries()) {
      if (record === undefined) await removeSession(digests[index]!, countedIn)
    }
    const sessions = found.flatMap((record) => record?.session ?? [])
    const [oldest] = sessions.sort((a, b) => a.lastSeenAt - b.lastSeenAt)
    if (oldest !== undefined && oldest.lastSeenAt < now() - STALE_MS) await removeSession(oldest.digest, countedIn)
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
