import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import { digest, randomId } from '../../crypto/hash.ts'
import { HttpError } from '../../errors/http-error.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import { createSessionCache } from './session-cache.ts'

/**
 * Sessions of the 2025 revisions (MCP 2025-11-25, Streamable HTTP, session management). They live in the store and
 * nowhere else, so every replica serves the next request of each. A session belongs to a principal (issuer, subject,
 * client), never to a token: a refreshed one continues it.
 */
export interface Sessions {
  /**
   * @returns the id for Mcp-Session-Id, which only its client knows, and the session
   * @throws TooManySessionsError, StoreUnavailableError
   */
  create (principalKey: string, client: ClientDescription): Promise<{ id: string, session: Session }>
  /**
   * The session with this id, when it is this principal's; it counts as used.
   * @throws SessionNotFoundError alike for an id that is unknown, ended or somebody else's; StoreUnavailableError
   */
  use (id: string, principalKey: string): Promise<Session>
  /** As `use`, and keeps a copy in this process for `COPY_MS`. */
  useCached (id: string, principalKey: string): Promise<Session>
  /** The copy, where there is one that is this principal's. It is shared, and frozen. */
  cached (id: string, principalKey: string): Session | undefined
  /** A session has ended or changed somewhere, or all may have: its copy is gone. */
  forget (sessionDigest?: string): void
  /** Counts as a use of a session that is held open. @throws SessionNotFoundError when it has ended */
  renew (session: Pick<Session, 'digest'>): Promise<Session>
  /** Ends a session. @throws as `use` */
  end (id: string, principalKey: string): Promise<Session>
  /** From which severity on the client wants to be told. Looked up, as another replica may have been told just now; without the store what is known here counts. */
  logLevel (session: Session): Promise<string | undefined>
  /** From which severity on the client wants to be told (logging/setLevel). */
  setLogLevel (session: Session, level: string): Promise<void>
  /** The client wants to be told when this resource changes. @throws ProtocolError where there are too many */
  subscribe (session: Session, uri: string): Promise<void>
  unsubscribe (session: Session, uri: string): Promise<void>
  /** What the client is to be told of. @throws SessionNotFoundError */
  subscriptions (session: Pick<Session, 'digest'>): Promise<ReadonlySet<string>>
}

export interface ClientDescription {
  clientInfo: { name: string, version: string }
  capabilities: Record<string, unknown>
  /** What was agreed on. */
  protocolVersion: string
}

export interface Session extends ClientDescription {
  /** SHA-256 of the id: its name in the store, in messages and in logs. */
  digest: string
  principalKey: string
  logLevel: string | undefined
  /** URIs of resources (resources/subscribe); absent in records of older processes. */
  subscriptions?: readonly string[]
  /** Milliseconds since the epoch; `lastSeenAt` is renewed once in a while, not on every request. */
  createdAt: number
  lastSeenAt: number
}

export class SessionNotFoundError extends HttpError {
  override readonly name = 'SessionNotFoundError'

  constructor () {
    super(404, 'invalid_request', 'Session not found')
  }
}

export class TooManySessionsError extends HttpError {
  override readonly name = 'TooManySessionsError'

  /** @param setting the setting to raise, for the log */
  constructor (statusCode: 429 | 503, setting: string, max: number) {
    super(statusCode, 'temporarily_unavailable', statusCode === 429
      ? 'You have too many open sessions; end some of them'
      : 'The server has too many open sessions; try again in a minute', { retryAfterSeconds: 60, detail: `${setting} is ${max}` })
  }
}

/** Times in seconds. */
export interface SessionOptions {
  idleTtlSeconds: number
  maxAgeSeconds: number
  maxPerPrincipal: number
  maxTotal: number
}

/** A principal at its limit loses the session that it has not used for so long, rather than being locked out. */
const STALE_MS = 30 * 60_000

/** Each is at most 8 KiB in the session's record. */
const MOST_SUBSCRIPTIONS = 50

/** How long a copy may stand for the store, in milliseconds: less where sessions end sooner. */
const COPY_MS = 2_000

/** Records of another form are those of another version of Seed: not found, so that the client begins anew. */
const FORM = 1

/** @param now milliseconds since the epoch */
export function createSessions (store: Store, options: SessionOptions, now: () => number = Date.now): Sessions {
  const { idleTtlSeconds, maxAgeSeconds, maxPerPrincipal, maxTotal } = options
  // A use is written down at most once in this time, and the time to live is longer by as much.
  const stepSeconds = Math.max(1, Math.min(60, Math.floor(idleTtlSeconds / 4)))
  const copies = createSessionCache(Math.min(COPY_MS, stepSeconds * 500), maxAgeSeconds, now)

  async function read (sessionDigest: string): Promise<{ text: string, session: Session } | undefined> {
    const text = await store.get(keys.session(sessionDigest))
    if (text === undefined) return undefined
    const { form, ...session } = JSON.parse(text) as Session & { form: number }
    return form === FORM ? { text, session } : undefined
  }

  const write = (session: Session): string => JSON.stringify({ form: FORM, ...session })

  function ttlSeconds ({ createdAt }: Session): number {
    return Math.min(idleTtlSeconds + stepSeconds, Math.ceil((createdAt + maxAgeSeconds * 1_000 - now()) / 1_000))
  }

  async function find (id: string, principalKey: string): Promise<{ text: string, session: Session }> {
    const found = /^[\w-]{32}$/.test(id) ? await read(digest(id)) : undefined
    if (found === undefined || found.session.principalKey !== principalKey || ttlSeconds(found.session) < 1) throw new SessionNotFoundError()
    return found
  }

  /** @param unseenMs for how long uses may go unseen after this one */
  async function seen ({ text, session }: { text: string, session: Session }, unseenMs = 0): Promise<Session> {
    if (now() - session.lastSeenAt < stepSeconds * 1_000 - unseenMs) return session
    const renewed = { ...session, lastSeenAt: now() }
    const seconds = ttlSeconds(session)
    try {
      // Whoever comes second here, on whatever replica, leaves it at that.
      if (await store.compareAndSet(keys.session(session.digest), text, write(renewed), seconds)) {
        await store.addMember(keys.sessionsOf(session.principalKey), session.digest, seconds)
        await store.addMember(keys.sessions(), session.digest, seconds)
      }
      return renewed
    } catch {
      // A store that is full reads all the same, and lets live on what is there.
      await store.touch(keys.session(session.digest), seconds)
      return session
    }
  }

  async function remove (sessionDigest: string, principalKey: string): Promise<boolean> {
    copies.forget(sessionDigest)
    const there = await store.delete(keys.session(sessionDigest))
    // What was being read meanwhile.
    copies.forget(sessionDigest)
    await store.removeMember(keys.sessionsOf(principalKey), sessionDigest)
    await store.removeMember(keys.sessions(), sessionDigest)
    // Its streams leave these behind when the store is slow to answer them, as when very many end at once.
    await store.delete(keys.standalone(sessionDigest))
    await store.delete(keys.queue(sessionDigest))
    return there
  }

  /** Takes away the sessions of a principal that have not been used for long, the longest unused first, until there is room for one. */
  async function makeRoom (principalKey: string): Promise<void> {
    const digests = await store.members(keys.sessionsOf(principalKey))
    const found = await Promise.all(digests.map(read))
    for (const [index, entry] of found.entries()) {
      if (entry === undefined) await remove(digests[index]!, principalKey)
    }
    const oldest = found.flatMap((entry) => entry?.session ?? []).sort((a, b) => a.lastSeenAt - b.lastSeenAt)[0]
    if (oldest !== undefined && oldest.lastSeenAt < now() - STALE_MS) await remove(oldest.digest, principalKey)
  }

  async function admit (sessionDigest: string, principalKey: string, seconds: number): Promise<void> {
    const own = keys.sessionsOf(principalKey)
    if (!await store.addMemberWithin(own, sessionDigest, seconds, maxPerPrincipal)) {
      await makeRoom(principalKey)
      if (!await store.addMemberWithin(own, sessionDigest, seconds, maxPerPrincipal)) throw new TooManySessionsError(429, 'SESSIONS_PER_PRINCIPAL', maxPerPrincipal)
    }
    if (await store.addMemberWithin(keys.sessions(), sessionDigest, seconds, maxTotal)) return
    await store.removeMember(own, sessionDigest)
    throw new TooManySessionsError(503, 'SESSIONS_TOTAL', maxTotal)
  }

  /** Whoever comes second begins again from what the first has written. */
  async function change (session: Session, make: (found: Session) => Partial<Session>): Promise<void> {
    for (;;) {
      const found = await read(session.digest)
      if (found === undefined) throw new SessionNotFoundError()
      const changed = write({ ...found.session, ...make(found.session) })
      if (await store.compareAndSet(keys.session(session.digest), found.text, changed, ttlSeconds(found.session))) return copies.forget(session.digest)
    }
  }

  return {
    async create (principalKey, { clientInfo, capabilities, protocolVersion }) {
      const id = randomId(24)
      const time = now()
      const session: Session = { digest: digest(id), principalKey, clientInfo, capabilities, protocolVersion, logLevel: undefined, createdAt: time, lastSeenAt: time }
      // The record comes first: an admitted session without one is taken for lost, and gives way.
      await store.set(keys.session(session.digest), write(session), ttlSeconds(session))
      try {
        await admit(session.digest, principalKey, ttlSeconds(session))
      } catch (err) {
        await store.delete(keys.session(session.digest))
        throw err
      }
      return { id, session }
    },

    async use (id, principalKey) {
      return await seen(await find(id, principalKey))
    },

    async useCached (id, principalKey) {
      const keep = copies.begin()
      const session = await seen(await find(id, principalKey), copies.lifeMs)
      keep(id, session)
      return session
    },

    cached (id, principalKey) {
      return copies.find(id, principalKey)
    },

    forget (sessionDigest) { copies.forget(sessionDigest) },

    async renew (session) {
      const found = await read(session.digest)
      if (found === undefined || ttlSeconds(found.session) < 1) throw new SessionNotFoundError()
      return await seen(found)
    },

    async end (id, principalKey) {
      const { session } = await find(id, principalKey)
      if (!await remove(session.digest, principalKey)) throw new SessionNotFoundError()
      return session
    },

    async logLevel (session) {
      try {
        return (await read(session.digest))?.session.logLevel
      } catch {
        return session.logLevel
      }
    },

    async setLogLevel (session, level) {
      await change(session, () => ({ logLevel: level }))
    },

    async subscribe (session, uri) {
      await change(session, ({ subscriptions = [] }) => {
        if (subscriptions.includes(uri)) return {}
        if (subscriptions.length >= MOST_SUBSCRIPTIONS) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `A session may subscribe to ${MOST_SUBSCRIPTIONS} resources at most`)
        return { subscriptions: [...subscriptions, uri] }
      })
    },

    async unsubscribe (session, uri) {
      await change(session, ({ subscriptions = [] }) => ({ subscriptions: subscriptions.filter((other) => other !== uri) }))
    },

    async subscriptions (session) {
      const found = await read(session.digest)
      if (found === undefined) throw new SessionNotFoundError()
      return new Set(found.session.subscriptions)
    }
  }
}
