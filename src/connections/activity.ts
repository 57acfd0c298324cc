import type { Config } from '../config/config.ts'
import { createSessionRecords } from '../mcp/sessions/session-records.ts'
import type { Registrations } from '../oauth/clients/registrations.ts'
import type { Connection } from '../oauth/modes/broker/connections.ts'
import { keys } from '../store/keys.ts'
import { leaveOutLater } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { personKey, principalKey } from '../tokens/principal.ts'

/** A connection with what goes on in it. */
export interface ActiveConnection extends Connection {
  /** The URL of its MCP endpoint; undefined where the server has `/mcp` alone. */
  resource: string | undefined
  /** Sessions of the 2025 revisions that are open at the endpoint. */
  sessions: number
  /** Streams that are open, on all replicas and of all clients of this person. */
  streams: number
}

export interface ConnectionActivityOptions {
  config: Config
  store: Store
  registrations: Pick<Registrations, 'find'>
  /** Returns how many streams of a person are open, on all replicas. */
  openStreams: (personKey: string) => number
}

export type ConnectionActivity = ReturnType<typeof createConnectionActivity>

/** Finds out what goes on in connections. */
export function createConnectionActivity ({ config, store, registrations, openStreams }: ConnectionActivityOptions) {
  const { baseUrl, resource: main, endpoints, oauth: { configuredClients }, mcp } = config
  const sessionRecords = createSessionRecords(store, mcp.session, Date.now)

  /** Returns the name that the client has besides its id. Grants of earlier versions do not have it. */
  async function readClientName ({ clientName, clientId, clientKind }: Connection): Promise<string | undefined> {
    if (clientKind === 'configured') return configuredClients.find(({ id }) => id === clientId)?.name
    if (clientName !== undefined) return clientName === clientId ? undefined : clientName
    if (clientKind !== 'registered') return undefined
    return (await registrations.find(clientId).catch(leaveOutLater))?.client_name
  }

  async function sessionsOf (subject: string) {
    const digests = await store.members(keys.sessionsOf(personKey(baseUrl, subject)))
    const records = await Promise.all(digests.map((digest) =>
      sessionRecords.read(digest).catch(leaveOutLater)))
    return records.flatMap((record) => record === undefined ? [] : [record.session])
  }

  /** An endpoint that SEED_ENDPOINTS no longer has is shown as well: its grants are still there. */
  function resourceOf ({ endpoint }: Connection): string | undefined {
    if (endpoint !== undefined) return `${main}/${endpoint}`
    return endpoints.length === 1 ? undefined : main
  }

  return {
    /** Describes connections. The sessions of a person, and the names of a client, are read once for all of them. */
    async describe (connections: readonly Connection[]): Promise<ActiveConnection[]> {
      const sessions = new Map<string, ReturnType<typeof sessionsOf>>()
      const names = new Map<string, Promise<string | undefined>>()

      return await Promise.all(connections.map(async (connection) => {
        const { subject, clientId } = connection
        const ofPerson = sessions.get(subject) ?? sessionsOf(subject)
        sessions.set(subject, ofPerson)
        const nameKey = `${clientId} ${connection.clientName}`
        const name = names.get(nameKey) ?? readClientName(connection)
        names.set(nameKey, name)
        const owner = principalKey(baseUrl, subject, clientId)
        const path = connection.endpoint === undefined ? undefined : `/mcp/${connection.endpoint}`
        const open = (await ofPerson).filter(({ principalKey, endpoint }) =>
          principalKey === owner && endpoint === path)
        return {
          ...connection,
          resource: resourceOf(connection),
          clientName: await name,
          lastUsed: Math.max(connection.lastUsed, ...open.map(({ lastSeenAt }) => Math.floor(lastSeenAt / 1_000))),
          sessions: open.length,
          streams: openStreams(personKey(baseUrl, subject))
        }
      }))
    }
  }
}
