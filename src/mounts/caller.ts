import type { RequestContext } from '../define/context.ts'
import type { RunContext } from '../mcp/handlers/execute.ts'

/** The caller for whom a mounted server is used: the context of a handler, or what completions get of it. */
export type Caller = Pick<RequestContext, 'principal'> & Partial<RunContext>

/** Whose requests travel on one connection to a mounted server: everybody's, a person's, or those of one session. */
export type ConnectionScope = 'shared' | 'person' | 'session'

/**
 * Returns the key of the connection that a caller has. It is made of what Seed has verified or issued itself, so no
 * caller can choose that of another: issuer and subject of the token, its client, and the digest of the session.
 * Undefined for a caller who has none of these: such a request gets a connection of its own.
 */
export function connectionKey (scope: Exclude<ConnectionScope, 'shared'>, caller: Caller): string | undefined {
  const { principal, session } = caller
  if (scope === 'person') return principal?.personKey
  // Clients of 2026-07-28 have no session: one connection for each person and client takes its place.
  return session === undefined ? principal?.key : `${principal?.key ?? ''} ${session.digest}`
}
