import type { TraceStep } from '../../trace/step.ts'
import type { Client } from './clients.ts'

/** The sender of a request, for limits. */
export interface Requester {
  /** IP address. */
  ip: string
  /** Facts about the sign-in that the request belongs to. */
  step: TraceStep
  /**
   * Counts a request of a client (OAUTH_LIMIT_PER_CLIENT).
   * @throws LimitError
   */
  limitClient: LimitClient
}

/**
 * @param client counted by its id if the request authenticated it, and else by id and address: anyone can send the id
 * of a public client, and must not use up the limit of the people who use that client
 */
export type LimitClient = (client: Pick<Client, 'id'>, authenticated: boolean) => Promise<void>
