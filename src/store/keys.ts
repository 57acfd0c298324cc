/**
 * Every key Seed writes, what lies under it and for how long. The store adds REDIS_KEY_PREFIX. Secrets are named by
 * their SHA-256, never by themselves.
 *
 * | key | contents | time to live |
 * |---|---|---|
 * | `client:<client_id>` | JSON of a registered client (src/oauth/clients/registrations.ts) | a day, from its first use DCR_CLIENT_TTL, restarted on use |
 * | `registration:<SHA-256 of the metadata>` | the client id that was issued for it | DCR_CLIENT_TTL |
 * | `consent:<SHA-256 of the id>` | JSON of a request that waits for a person's answer (src/oauth/endpoints/consent.ts) | 15 minutes |
 * | `sign-in:<SHA-256 of state>` | JSON of a request on its way through the provider (src/oauth/modes/broker/sign-in.ts) | 10 minutes |
 * | `code:<SHA-256 of the code>` | JSON of an authorization code (src/oauth/modes/broker/authorization-codes.ts) | 1 minute; once redeemed, 10 minutes |
 * | `code-tries:<SHA-256 of the code>` | counter of wrong verifiers | 1 minute |
 * | `grant:<id>` | JSON of a grant, its upstream tokens sealed (src/oauth/modes/broker/grants.ts) | REFRESH_TOKEN_TTL, restarted on refresh, to GRANT_MAX_AGE |
 * | `grants-of:<SHA-256 of what they share>` | set of grant ids, for revocation | GRANT_MAX_AGE each |
 * | `refreshing:<grant id>` | held by the replica that asks the provider (src/oauth/modes/broker/upstream-refresh.ts) | 30 seconds |
 * | `delegated:<grant id>:<SHA-256 of what for>` | a token of the provider's for an API, sealed (src/oauth/modes/broker/token-exchange.ts) | until shortly before it expires, to GRANT_MAX_AGE |
 * | `revoked:<name>` | up to when its access tokens have ended (src/tokens/revocations.ts) | the longest life of an access token and twice the clock skew |
 * | `assertion:<SHA-256>` | mark: this client assertion or logout token was used | until it expires |
 * | `session:<SHA-256 of the id>` | JSON of a session of the 2025 revisions (src/mcp/sessions/sessions.ts) | SESSION_IDLE_TTL, restarted on use, to SESSION_MAX_AGE |
 * | `sessions-of:<principal>` | set of its sessions' digests | as the sessions |
 * | `sessions` | set of all sessions' digests | as the sessions |
 * | `stream:<session>:<stream>` | JSON of an answer that is streamed: whose, and whether it is complete (src/mcp/streams/call-stream.ts) | TOOL_TIMEOUT_SECONDS + INPUT_TIMEOUT_SECONDS + 5 minutes; once complete, 5 minutes |
 * | `events:<session>:<stream>` | log of its events, the newest 1000 | the same, from the last event |
 * | `queue:<session>` | log of messages for its standalone streams, the newest 1000 (src/mcp/streams/standalone-stream.ts) | 1 hour from the last |
 * | `standalone:<session>` | which of its standalone streams gets the messages | 1 day |
 * | `answer:<session>:<request>` | JSON of a client's answer to a request of the server (src/mcp/cluster/client-requests.ts) | 5 minutes |
 * | `changes` | log of changes of what is offered, the newest 1000 (src/mcp/cluster/change-log.ts) | 1 day from the last |
 * | `round:<nonce>` | mark: this request state was used (src/mcp/handlers/request-state.ts) | INPUT_TIMEOUT_SECONDS |
 * | `replica:<name>` | a sign of life (src/mcp/cluster/replicas.ts) | 6 seconds |
 * | `limit:<SHA-256 of endpoint and whose>` | counter of requests, registrations | 1 minute, registrations 1 hour; fixed window |
 * | `ping` | nothing: written by readiness checks (src/store/redis.ts) | 1 second |
 *
 * Messages are published on the channels `revocations` (src/tokens/revocations.ts), `replicas` and `replicas:<name>`
 * (src/mcp/cluster/replicas.ts), `tallies` (src/limits/shared-counters.ts).
 */
export const keys = {
  client: (clientId: string) => `client:${clientId}`,
  registration: (fingerprint: string) => `registration:${fingerprint}`,
  consent: (digest: string) => `consent:${digest}`,
  signIn: (digest: string) => `sign-in:${digest}`,
  code: (digest: string) => `code:${digest}`,
  codeTries: (digest: string) => `code-tries:${digest}`,
  grant: (grantId: string) => `grant:${grantId}`,
  grantsOf: (digest: string) => `grants-of:${digest}`,
  refreshing: (grantId: string) => `refreshing:${grantId}`,
  delegated: (grantId: string, digest: string) => `delegated:${grantId}:${digest}`,
  revoked: (name: string) => `revoked:${name}`,
  assertion: (digest: string) => `assertion:${digest}`,
  session: (digest: string) => `session:${digest}`,
  sessionsOf: (principalKey: string) => `sessions-of:${principalKey}`,
  sessions: () => 'sessions',
  stream: (session: string, stream: string) => `stream:${session}:${stream}`,
  events: (session: string, stream: string) => `events:${session}:${stream}`,
  queue: (session: string) => `queue:${session}`,
  standalone: (session: string) => `standalone:${session}`,
  answer: (session: string, request: string) => `answer:${session}:${request}`,
  changes: () => 'changes',
  round: (nonce: string) => `round:${nonce}`,
  replica: (name: string) => `replica:${name}`,
  limit: (digest: string) => `limit:${digest}`
}
