import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import { createKeyring } from '../crypto/keyring.ts'
import { randomId } from '../crypto/hash.ts'
import { createSharedCounters } from '../limits/shared-counters.ts'
import { createSessionRecords } from '../mcp/sessions/session-records.ts'
import { createRegistrations } from '../oauth/clients/registrations.ts'
import type { Connection } from '../oauth/modes/broker/connections.ts'
import { keys } from '../store/keys.ts'
import { leaveOutLater } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { personKey, principalKey } from '../tokens/principal.ts'

/** A connection with what goes on in it. */
export interface ActiveConnection extends Connection {
  /** The client's name, where it has one besides its id. */
  clientName: string | undefined
  /** Sessions of the 2025 revisions that are open. */
  sessions: number
  /** Streams that are open, on all replicas and of all clients of this person. */
  streams: number
}

/** Time for the replicas to say what they count; they do so at once. */
const REPLICAS_ANSWER_MS = 500

export type ConnectionActivity = Awaited<ReturnType<typeof openConnectionActivity>>

/** Reads the sessions of connections from the store, and asks the replicas for the streams. */
export async function openConnectionActivity (config: Config, store: Store) {
  const { oauth: { configuredClients, registration }, secrets, baseUrl } = config
  const counters = createSharedCounters(store, { replicaId: randomId(9) })
  const openStreams = counters.gauge('streams')
  const sessionRecords = createSessionRecords(store, config.mcp.session, Date.now)
  const keyring = createKeyring(secrets.current, secrets.previous)
  const registrations = createRegistrations({
    store, ttlSeconds: registration.clientTtlSeconds, findKeyring: async () => keyring
  })
  const clientNames = new Map<string, Promise<string | undefined>>()
  await delay(REPLICAS_ANSWER_MS)

  async function readClientName ({ clientId, clientKind }: Connection): Promise<string | undefined> {
    if (clientKind === 'configured') return configuredClients.find(({ id }) => id === clientId)?.name
    if (clientKind !== 'registered') return undefined
    return (await registrations.find(clientId).catch(leaveOutLater))?.client_name
  }

  function clientNameOf (connection: Connection): Promise<string | undefined> {
    const name = clientNames.get(connection.clientId) ?? readClientName(connection)
    clientNames.set(connection.clientId, name)
    return name
  }

  async function sessionsOf ({ subject, clientId }: Connection) {
    const digests = await store.members(keys.sessionsOf(personKey(baseUrl, subject)))
    const records = await Promise.all(digests.map((digest) => sessionRecords.read(digest).catch(leaveOutLater)))
    const owner = principalKey(baseUrl, subject, clientId)
    return records.flatMap((record) => record?.session.principalKey === owner ? [record.session] : [])
  }

  return {
    async describe (connection: Connection): Promise<ActiveConnection> {
      const [sessions, clientName] = await Promise.all([sessionsOf(connection), clientNameOf(connection)])
      const seen = sessions.map(({ lastSeenAt }) => Math.floor(lastSeenAt / 1_000))
      return {
        ...connection,
        clientName,
        lastUsed: Math.max(connection.lastUsed, ...seen),
        sessions: sessions.length,
        streams: openStreams.total(personKey(baseUrl, connection.subject))
      }
    },

    close: counters.close
  }
}
