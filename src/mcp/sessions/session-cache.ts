import { LRUCache } from 'lru-cache'
import { deepFreeze } from '../../json/deep-freeze.ts'
import type { Session } from './session.ts'

const MAX_SESSIONS = 10_000

export type SessionCache = ReturnType<typeof createSessionCache>

/**
 * Sessions that this process has read from the store, for a few seconds: the next requests of a busy client need no
 * lookup. An entry is removed as soon as its session ends or changes, at whatever replica.
 *
 * @param now milliseconds since the epoch
 */
export function createSessionCache (ttlMs: number, maxAgeSeconds: number, now: () => number) {
  const idByDigest = new Map<string, string>()
  const byId = new LRUCache<string, Session>({
    max: MAX_SESSIONS,
    ttl: ttlMs,
    // No cached clock: it would arm a timer.
    ttlResolution: 0,
    perf: { now },
    dispose: ({ digest }) => { idByDigest.delete(digest) }
  })
  /** Counts removals: a session that was read before one may be outdated. */
  let generation = 0

  function set (id: string, session: Session): void {
    const ttl = Math.min(ttlMs, session.createdAt + (maxAgeSeconds - 1) * 1_000 - now())
    if (ttl <= 0) return
    byId.set(id, deepFreeze(session), { ttl })
    idByDigest.set(session.digest, id)
  }

  return {
    ttlMs,

    /** @returns a function that caches a session read after this call, unless entries were removed in between */
    beginRead (): (id: string, session: Session) => void {
      const startedIn = generation
      return (id, session) => { if (startedIn === generation) set(id, session) }
    },

    /** The cached session, if there is one and it is this principal's. It is shared, and frozen. */
    find (id: string, principalKey: string): Session | undefined {
      const session = byId.get(id)
      return session?.principalKey === principalKey ? session : undefined
    },

    /** @param digest the session to remove; all where absent */
    remove (digest?: string): void {
      generation++
      const id = digest === undefined ? undefined : idByDigest.get(digest)
      if (digest === undefined) byId.clear()
      else if (id !== undefined) byId.delete(id)
    }
  }
}
