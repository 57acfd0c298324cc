import { deepFreeze } from '../../json/deep-freeze.ts'
import type { Session } from './sessions.ts'

/**
 * Copies of sessions in this process, which live for seconds: the next requests of a busy client are not looked up. One
 * goes at once when its session ends or changes, at whatever replica.
 */
export interface SessionCache {
  readonly lifeMs: number
  /** @returns what keeps a copy of a session that was read since, unless something has been forgotten meanwhile */
  begin (): (id: string, session: Session) => void
  find (id: string, principalKey: string): Session | undefined
  /** @param digest of the session; all where absent */
  forget (digest?: string): void
}

const MAX_COPIES = 10_000

/** @param now milliseconds since the epoch */
export function createSessionCache (lifeMs: number, maxAgeSeconds: number, now: () => number): SessionCache {
  const byId = new Map<string, { session: Session, until: number }>()
  const idOf = new Map<string, string>()
  let generation = 0
  let sweptAt = 0

  function remove (id: string, { digest }: Session): void {
    byId.delete(id)
    idOf.delete(digest)
  }

  function sweep (): void {
    sweptAt = now()
    for (const [id, { session, until }] of byId) if (until <= sweptAt) remove(id, session)
  }

  return {
    lifeMs,
    begin () {
      const startedIn = generation
      return (id, session) => {
        if (startedIn !== generation) return
        if (now() - sweptAt >= lifeMs) sweep()
        if (byId.size >= MAX_COPIES) return
        byId.set(id, { session: deepFreeze(session), until: Math.min(now() + lifeMs, session.createdAt + (maxAgeSeconds - 1) * 1_000) })
        idOf.set(session.digest, id)
      }
    },
    find (id, principalKey) {
      const copy = byId.get(id)
      if (copy === undefined || copy.session.principalKey !== principalKey) return undefined
      if (copy.until > now()) return copy.session
      remove(id, copy.session)
    },
    forget (digest) {
      generation++
      if (digest === undefined) {
        byId.clear()
        idOf.clear()
        return
      }
      const id = idOf.get(digest)
      if (id !== undefined) remove(id, byId.get(id)!.session)
    }
  }
}
