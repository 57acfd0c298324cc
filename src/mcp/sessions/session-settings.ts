import { ProtocolError, ProtocolErrorCode } from '@modelcontextprotocol/server'
import type { Replicas } from '../cluster/replicas.ts'
import type { SessionCache } from './session-cache.ts'
import type { SessionRecords } from './session-records.ts'
import type { Session, SessionRef } from './session.ts'

export interface SessionSettingsOptions {
  records: SessionRecords
  cache: SessionCache
  replicas: Replicas
}

/** Limit of the resources that one session, or one stream of 2026-07-28, is subscribed to. */
export const MAX_SUBSCRIPTIONS = 50

/** The settings of a session that its client changes: its log level, and its subscriptions to resources. */
export function createSessionSettings ({ records, cache, replicas }: SessionSettingsOptions) {
  /** Changes a record; starts over when another request has changed it in between. */
  async function change ({ digest }: SessionRef, update: (session: Session) => Partial<Session>): Promise<void> {
    for (;;) {
      const record = await records.get(digest)
      const changed = { ...record.session, ...update(record.session) }
      if (await records.replace(record, changed)) return cache.remove(digest)
    }
  }

  async function changeSubscriptions (
    session: SessionRef,
    update: (uris: readonly string[]) => readonly string[]
  ): Promise<void> {
    await change(session, ({ subscriptions = [] }) => ({ subscriptions: update(subscriptions) }))
    replicas.send({ kind: 'subscriptions-changed', session: session.digest })
  }

  return {
    /**
     * The lowest severity of log messages that the client wants. It is read from the store, as it may have been set at
     * another replica; during an outage of the store the known one counts.
     */
    async logLevel (session: Session): Promise<string | undefined> {
      try {
        return (await records.read(session.digest))?.session.logLevel
      } catch {
        return session.logLevel
      }
    },

    async setLogLevel (session: SessionRef, level: string): Promise<void> {
      await change(session, () => ({ logLevel: level }))
      replicas.send({ kind: 'log-level-changed', session: session.digest })
    },

    /** The URIs that the session has subscribed to. @throws SessionNotFoundError, StoreUnavailableError */
    async subscriptions ({ digest }: SessionRef): Promise<ReadonlySet<string>> {
      const { session } = await records.get(digest)
      return new Set(session.subscriptions)
    },

    /**
     * Notifies the session when the resource changes. Each takes at most 8 KiB in the session's record.
     *
     * @throws ProtocolError at the limit
     */
    async subscribe (session: SessionRef, uri: string): Promise<void> {
      await changeSubscriptions(session, (uris) => {
        if (uris.includes(uri)) return uris
        if (uris.length < MAX_SUBSCRIPTIONS) return [...uris, uri]
        const message = `A session may subscribe to ${MAX_SUBSCRIPTIONS} resources at most`
        throw new ProtocolError(ProtocolErrorCode.InvalidParams, message)
      })
    },

    async unsubscribe (session: SessionRef, ...ended: string[]): Promise<void> {
      await changeSubscriptions(session, (uris) => uris.filter((uri) => !ended.includes(uri)))
    }
  }
}
