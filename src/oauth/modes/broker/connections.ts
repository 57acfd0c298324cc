import { keys } from '../../../store/keys.ts'
import { leaveOutLater } from '../../../store/store.ts'
import type { Store } from '../../../store/store.ts'
import { firstString } from '../../../tokens/principal.ts'
import type { Grant } from './grant.ts'
import { clientIndex, subjectIndex } from './grant-index.ts'
import type { Grants } from './grants.ts'

/** A client that acts in the name of a person. */
export interface Connection {
  /** Id of its grant. */
  grant: string
  subject: string
  name: string | undefined
  email: string | undefined
  clientId: string
  clientKind: Grant['clientKind']
  /** The name that the consent page showed; undefined for grants of earlier versions. */
  clientName: string | undefined
  /** The name of its MCP endpoint (SEED_ENDPOINTS); undefined for `/mcp`. */
  endpoint: string | undefined
  scopes: readonly string[]
  /** Seconds since the epoch: the sign-in. */
  since: number
  /**
   * Seconds since the epoch: the last refresh, or the sign-in. A client in use refreshes whenever an access token has
   * expired, so the last call was at most ACCESS_TOKEN_TTL later; nothing is written for it.
   */
  lastUsed: number
  /** Seconds since the epoch: the person must sign in again. */
  expires: number
}

/** Connections match if they match every member that is given. */
export interface ConnectionFilter {
  subject?: string | undefined
  /** Subject, name, user name or email address, whole and in any case. */
  person?: string | undefined
  clientId?: string | undefined
  grantId?: string | undefined
  /** Keeps connections that began before: seconds since the epoch. */
  sinceBefore?: number | undefined
  /** Keeps connections that were last used before: seconds since the epoch. */
  usedBefore?: number | undefined
}

/** Grants that are read side by side. */
const BATCH_SIZE = 100

/**
 * Yields the live connections that match, at most 100 at a time and in no order: there may be tens of thousands.
 *
 * @throws StoreUnavailableError
 */
export async function * listConnections (
  store: Store, grants: Pick<Grants, 'find'>, filter: ConnectionFilter
): AsyncGenerator<Connection[]> {
  for await (const ids of candidates(store, filter)) {
    for (let start = 0; start < ids.length; start += BATCH_SIZE) {
      const found = await Promise.all(ids.slice(start, start + BATCH_SIZE)
        .map(async (id) => await grants.find(id).catch(leaveOutLater)))
      const batch = found.flatMap((stored) => stored === undefined ? [] : [stored.grant])
        .filter((grant) => matches(grant, filter)).map(toConnection)
      if (batch.length > 0) yield batch
    }
  }
}

/** The ids of grants among which all matches are: those of an index where the filter names one. */
async function * candidates (
  store: Store, { grantId, subject, clientId }: ConnectionFilter
): AsyncGenerator<string[]> {
  if (grantId !== undefined) return yield [grantId]
  if (subject !== undefined) return yield await store.members(subjectIndex(subject))
  if (clientId !== undefined) return yield await store.members(clientIndex(clientId))
  const prefix = keys.grant('')
  for await (const batch of store.scan(prefix)) yield batch.map((key) => key.slice(prefix.length))
}

function toConnection (grant: Grant): Connection {
  return {
    grant: grant.id,
    subject: grant.subject,
    name: firstString(grant.claims, ['name', 'preferred_username']),
    email: firstString(grant.claims, ['email']),
    clientId: grant.clientId,
    clientKind: grant.clientKind,
    clientName: grant.clientName,
    endpoint: grant.endpoint,
    scopes: grant.scope.split(' ').filter((scope) => scope !== ''),
    since: grant.createdAt,
    lastUsed: Math.max(grant.createdAt, Math.floor(grant.rotatedAt / 1_000)),
    expires: grant.expiresAt
  }
}

function matches (grant: Grant, filter: ConnectionFilter): boolean {
  const { subject, person, clientId, sinceBefore = Infinity, usedBefore = Infinity } = filter
  const { since, lastUsed } = toConnection(grant)
  return (subject === undefined || grant.subject === subject) &&
    (person === undefined || isPerson(grant, person.toLowerCase())) &&
    (clientId === undefined || grant.clientId === clientId) &&
    since < sinceBefore && lastUsed < usedBefore
}

function isPerson ({ subject, claims }: Grant, person: string): boolean {
  const names = ['name', 'preferred_username', 'email'].map((name) => claims[name])
  return [subject, ...names].some((name) => typeof name === 'string' && name.toLowerCase() === person)
}
