/**
 * Counts a request of a client (OAUTH_LIMIT_PER_CLIENT).
 * @throws LimitError
 */
export type LimitClient = (clientId: string) => Promise<void>
