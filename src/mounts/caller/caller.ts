import type { InputRequest } from '@modelcontextprotocol/client'
import type { RequestContext } from '../../define/context.ts'
import type { RunContext } from '../../mcp/handlers/execute.ts'
import { passedCapabilities } from './client-capabilities.ts'

/** The caller for whom a mounted server is used: the context of a handler, or what completions get of it. */
export type Caller = Pick<RequestContext, 'principal'> & Partial<RunContext> & {
  /** Asks the caller's client what the server asks while the call runs. Absent where it cannot be asked. */
  askClient?: (question: InputRequest) => Promise<unknown>
}

/**
 * Returns what a connection needs of the caller whose it is. It may be open for long, and a caller keeps a whole call,
 * with its arguments and its result.
 */
export function toOwner ({ principal, client, session, askOutsideCall }: Caller): Caller {
  return { principal, client, session, askOutsideCall } as Caller
}

/** The callers that share one connection to a mounted server: everybody, one person, or one session of a client. */
export type ConnectionScope = 'shared' | 'person' | 'session'

/**
 * Returns the key of the connection that a caller has. It is made of what Seed has verified or issued itself, so no
 * caller can choose that of another: issuer and subject of the token, its client, and the digest of the session.
 * Undefined for a caller who has none of these: such a request gets a connection of its own.
 */
export function connectionKey (scope: Exclude<ConnectionScope, 'shared'>, caller: Caller): string | undefined {
  const { principal, session } = caller
  if (scope === 'person') return principal?.personKey
  if (session !== undefined) return `${principal?.key ?? ''} ${session.digest}`
  // Clients of 2026-07-28 have no session: one connection for each person and client takes its place, which declares
  // what the client declares with this request.
  return principal && `${principal.key} ${JSON.stringify(passedCapabilities(caller))}`
}
