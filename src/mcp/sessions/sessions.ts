import { digest, randomId } from '../../crypto/hash.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { createSessionCache } from './session-cache.ts'
import { createSessionQuota } from './session-quota.ts'
import { createSessionRecords } from './session-records.ts'
import type { SessionRecord } from './session-records.ts'
import { createSessionSettings } from './session-settings.ts'
import type { SessionsInUse } from './sessions-in-use.ts'
import { SessionNotFoundError, sessionsKey } from './session.ts'
import type { ClientDescription, Session, SessionOptions, SessionRef } from './session.ts'

/** Time for which a session may be served without reading the store; less where sessions end sooner. */
const CACHE_MS = 2_000

export interface SessionsOptions extends SessionOptions {
  /** Shared by the endpoints of a process. */
  inUse: SessionsInUse
  /** The path of the MCP endpoint; undefined for `/mcp`. A session id has no meaning at another one. */
  endpoint?: string | undefined
}

export type Sessions = ReturnType<typeof createSessions>

/**
 * Sessions of the 2025 revisions (MCP 2025-11-25, Streamable HTTP, session management). They live in the store alone,
 * so every replica can serve the next request of each. A session belongs to a principal (issuer, subject, client) and
 * not to a token, so it survives a refresh.
 *
 * @param now milliseconds since the epoch
 */
export function createSessions ({ store, replicas }: Cluster, options: SessionsOptions, now: () => number = Date.now) {
  const { inUse, endpoint } = options
  const records = createSessionRecords(store, options, now)
  const cache = createSessionCache(Math.min(CACHE_MS, records.renewSeconds * 500), options.maxAgeSeconds, now)
  const quota = createSessionQuota({
    store,
    records,
    limits: options,
    isInUse: inUse.has,
    async removeSession (sessionDigest, countedIn) {
      await removeSession(sessionDigest, countedIn)
      replicas.send({ kind: 'session-ended', session: sessionDigest })
    }
  })

  replicas.onMessage((message) => {
    switch (message.kind) {
      case 'session-ended':
      case 'log-level-changed':
      case 'subscriptions-changed': cache.remove(message.session)
    }
  })
  replicas.onGap(() => { cache.remove() })

  function digestOf (id: string): string {
    return digest(endpoint === undefined ? id : `${endpoint} ${id}`)
  }

  async function findRecord (id: string, principalKey: string): Promise<SessionRecord> {
    const record = /^[\w-]{32}$/.test(id) ? await records.read(digestOf(id)) : undefined
    if (record === undefined || record.session.principalKey !== principalKey) throw new SessionNotFoundError()
    return record
  }

  /** @param unseenMs for how long uses may go unrecorded after this one */
  async function recordUse (record: SessionRecord, unseenMs = 0): Promise<Session> {
    const isDue = now() - record.session.lastSeenAt >= records.renewSeconds * 1_000 - unseenMs
    return isDue ? await records.renew(record) : record.session
  }

  /** @param countedIn key of the set that counts it (sessionsKey) */
  async function removeSession (sessionDigest: string, countedIn: string): Promise<boolean> {
    cache.remove(sessionDigest)
    const existed = await records.remove(sessionDigest)
    // A request may have read and cached the session meanwhile.
    cache.remove(sessionDigest)
    await records.removeTraces(sessionDigest, countedIn)
    return existed
  }

  return {
    ...createSessionSettings({ records, cache, replicas }),

    /**
     * @param callerKey key of the person or address whose sessions are limited, whatever their clients are
     * @returns the session, and the id for Mcp-Session-Id, which only its client knows
     * @throws TooManySessionsError, StoreUnavailableError
     */
    async create (
      principalKey: string, client: ClientDescription, callerKey = principalKey
    ): Promise<{ id: string, session: Session }> {
      const id = randomId(24)
      const { clientInfo, capabilities, protocolVersion } = client
      const times = { createdAt: now(), lastSeenAt: now() }
      const session: Session = {
        digest: digestOf(id),
        principalKey,
        callerKey,
        clientInfo,
        capabilities,
        protocolVersion,
        endpoint,
        logLevel: undefined,
        ...times
      }
      // The record comes first: a counted session without a record counts as lost, and is removed.
      await records.create(session)
      try {
        await quota.admit(session)
      } catch (err) {
        await records.remove(session.digest)
        throw err
      }
      return { id, session }
    },

    /**
     * Returns the session with this id, which counts as used.
     * @throws SessionNotFoundError when the id is unknown, has ended, or is another principal's; StoreUnavailableError
     */
    async use (id: string, principalKey: string): Promise<Session> {
      return await recordUse(await findRecord(id, principalKey))
    },

    /** Does the same, and caches the session. */
    async useCached (id: string, principalKey: string): Promise<Session> {
      const setCached = cache.beginRead()
      const session = await recordUse(await findRecord(id, principalKey), cache.ttlMs)
      setCached(id, session)
      return session
    },

    /** The cached session with this id, if there is one and it is this principal's. It is shared, and frozen. */
    cached: cache.find,

    /** Counts as a use of a session whose stream is open. @throws SessionNotFoundError when it has ended */
    async renew (session: SessionRef): Promise<Session> {
      return await recordUse(await records.get(session.digest))
    },

    /** Marks a session as one with an open stream or a running call here. @returns a function that ends this use */
    hold: inUse.hold,

    /** Ends a session, and its streams at all replicas. @throws as `use` */
    async end (id: string, principalKey: string): Promise<void> {
      const { session } = await findRecord(id, principalKey)
      if (!await removeSession(session.digest, sessionsKey(session))) throw new SessionNotFoundError()
      replicas.send({ kind: 'session-ended', session: session.digest })
    }
  }
}
