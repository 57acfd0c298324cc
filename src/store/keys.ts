/**
 * Every key that Seed writes, with its value and its time to live. The store prepends REDIS_KEY_PREFIX. A secret
 * appears as its SHA-256 ("digest"), never as itself. docs/operations.md says what the eviction of each would do.
 *
 * Messages use the channels `revocations` (src/tokens/revocations.ts), `replicas` and `replicas:<name>`
 * (src/mcp/cluster/replicas.ts), and `shared-counters` (src/limits/gossip.ts).
 */
export const keys = {
  /**
   * JSON of a registered client (src/oauth/clients/registrations.ts). Expires after a day; from its first use after
   * DCR_CLIENT_TTL, restarted on use. Where the id contains the registration, written at its first use.
   */
  client: (clientId: string) => `client:${clientId}`,

  /** Client id that was issued for this metadata. Expires after DCR_CLIENT_TTL. */
  registration: (metadataDigest: string) => `registration:${metadataDigest}`,

  /** Mark of a consent page that was answered (src/oauth/endpoints/consent.ts). Expires after 16 minutes. */
  consent: (id: string) => `consent:${id}`,

  /**
   * Set of the ids of answered consent pages whose sign-in has not completed, by address and by network
   * (src/oauth/modes/unfinished-sign-ins.ts). Each for 16 minutes.
   */
  unfinishedSignIns: (addressDigest: string) => `unfinished-sign-ins:${addressDigest}`,

  /** JSON of a sign-in at the provider (src/oauth/modes/broker/pending-sign-ins.ts). Expires after 10 minutes. */
  signIn: (stateDigest: string) => `sign-in:${stateDigest}`,

  /**
   * JSON of a sign-in to the page /connections, at the provider (src/oauth/modes/broker/connections-sign-in.ts).
   * Expires after 10 minutes.
   */
  connectionsSignIn: (stateDigest: string) => `connections-sign-in:${stateDigest}`,

  /** JSON of a session of the page /connections (connections-session.ts). Expires after 15 minutes. */
  connectionsSession: (tokenDigest: string) => `connections-session:${tokenDigest}`,

  /** Time up to which an owner's sessions of the page /connections have ended. Expires after 15 minutes. */
  connectionsSessionsEnded: (ownerDigest: string) => `connections-sessions-ended:${ownerDigest}`,

  /**
   * JSON of an authorization code (src/oauth/modes/broker/authorization-codes.ts). Expires after a minute, once
   * redeemed after 10 minutes.
   */
  code: (codeDigest: string) => `code:${codeDigest}`,

  /** Counter of wrong verifiers for a code. Expires after a minute. */
  codeTries: (codeDigest: string) => `code-tries:${codeDigest}`,

  /**
   * JSON of a grant, its upstream tokens sealed (src/oauth/modes/broker/grant.ts). Expires after REFRESH_TOKEN_TTL,
   * restarted on refresh, and after GRANT_MAX_AGE at the latest.
   */
  grant: (grantId: string) => `grant:${grantId}`,

  /**
   * JSON of the sign-in that a tool demands of a person with a client
   * (src/oauth/modes/broker/authentication-demands.ts). Expires after 10 minutes.
   */
  authenticationDemand: (principalKey: string) => `authentication-demand:${principalKey}`,

  /** Set of the ids of grants that share a subject, a client or a session, for revocation. Each for GRANT_MAX_AGE. */
  grantsOf: (digest: string) => `grants-of:${digest}`,

  /**
   * Lock of the replica that refreshes a grant, or in proxy mode a family of refresh tokens, at the provider
   * (src/oauth/modes/upstream-refresh-lock.ts). Expires after 30 seconds.
   */
  refreshing: (id: string) => `refreshing:${id}`,

  /**
   * JSON of a sign-in that a person has allowed in proxy mode (src/oauth/modes/proxy/approvals.ts), by the digest of
   * its code challenge. Expires after 15 minutes.
   */
  approval: (challengeDigest: string) => `approval:${challengeDigest}`,

  /**
   * JSON of a family of refresh tokens in proxy mode (src/oauth/modes/proxy/refresh-families.ts). Expires after
   * REFRESH_TOKEN_TTL, restarted on refresh.
   */
  refreshFamily: (familyId: string) => `refresh-family:${familyId}`,

  /**
   * Id of the client that the provider's access token was issued to (src/oauth/modes/proxy/issued-tokens.ts). Expires
   * with the token.
   */
  tokenClient: (tokenDigest: string) => `token-client:${tokenDigest}`,

  /**
   * The secret of consent pages, and of proxy mode, where SEED_SECRET is not set (src/oauth/modes/stored-keyring.ts).
   * Expires after ten years.
   */
  secret: () => 'secret',

  /**
   * A delegated token for an API, sealed (src/oauth/modes/broker/delegated-tokens.ts). Expires shortly before the token
   * does, and after GRANT_MAX_AGE at the latest.
   */
  delegated: (grantId: string, digest: string) => `delegated:${grantId}:${digest}`,

  /**
   * Time up to which the access tokens of a grant, subject, session or token are revoked (src/tokens/revocations.ts).
   * Expires after the longest lifetime of an access token and twice the clock skew.
   */
  revoked: (name: string) => `revoked:${name}`,

  /** Mark of a command's revocation that is in an audit log (src/audit/operator-revocations.ts). Lasts a minute. */
  recordedRevocation: (id: string) => `recorded-revocation:${id}`,

  /** Mark of a client assertion or logout token that was used. Expires with it. */
  assertion: (digest: string) => `assertion:${digest}`,

  /**
   * JSON of a session of the 2025 revisions (src/mcp/sessions/sessions.ts). Expires after SESSION_IDLE_TTL, restarted
   * on use, and after SESSION_MAX_AGE at the latest.
   */
  session: (idDigest: string) => `session:${idDigest}`,

  /** Set of the digests of a caller's sessions, of all their clients. Each as long as its session. */
  sessionsOf: (callerKey: string) => `sessions-of:${callerKey}`,

  /** Set of the digests of all sessions. Each as long as its session. */
  sessions: () => 'sessions',

  /**
   * JSON of the state of a call's stream: its owner, and whether it is complete (src/mcp/streams/call-stream.ts).
   * Expires after TOOL_TIMEOUT_SECONDS, INPUT_TIMEOUT_SECONDS and 5 minutes; once complete, after 5 minutes.
   */
  stream: (session: string, stream: string) => `stream:${session}:${stream}`,

  /** Log of the events of a call's stream, the newest 1000. Expires as the state does, from the last event. */
  events: (session: string, stream: string) => `events:${session}:${stream}`,

  /**
   * Log of messages for a session's standalone streams, the newest 1000 (src/mcp/streams/standalone-stream.ts).
   * Expires an hour after the last.
   */
  queue: (session: string) => `queue:${session}`,

  /** Id of the standalone stream that gets the messages. Expires after a day. */
  standalone: (session: string) => `standalone:${session}`,

  /** JSON of a client's answer to a server request (src/mcp/cluster/client-requests.ts). Expires after 5 minutes. */
  answer: (session: string, request: string) => `answer:${session}:${request}`,

  /**
   * What a client has sent for a call that another replica holds, sealed (src/mcp/cluster/held-calls.ts). Expires after
   * 30 seconds, restarted for as long as the client waits.
   */
  heldCall: (id: string) => `held-call:${id}`,

  /** Log of what becomes of that call, sealed, the newest 1000. Expires 30 seconds after the last. */
  heldCallEvents: (id: string) => `held-call-events:${id}`,

  /** A part of the call's answer, sealed. Expires after 30 seconds, and is removed when it is read. */
  heldCallPart: (id: string, part: number) => `held-call-part:${id}:${part}`,

  /**
   * Log of list and resource changes, the newest 1000 (src/mcp/cluster/list-change-broadcast.ts). Expires a day after
   * the last.
   */
  changes: () => 'changes',

  /** Mark of a request state that was used (src/mcp/handlers/request-state.ts). Expires after INPUT_TIMEOUT_SECONDS. */
  round: (nonce: string) => `round:${nonce}`,

  /** Log of the steps of a sign-in, or of a refused call (src/trace/traces.ts). Expires a day after the last. */
  trace: (reference: string) => `trace:${reference}`,

  /** Reference in a ring of TRACE_LIMIT_TOTAL, whose oldest is pushed out. Expires after a day. */
  traceSlot: (kind: string, slot: number) => `trace-slot:${kind}:${slot}`,

  /** Counter of traces, which leads to the next place in the ring. Expires after a day. */
  traceCount: (kind: string) => `trace-count:${kind}`,

  /** Reference of the sign-in that an access token was issued in, until its first use. Expires after 5 minutes. */
  firstCall: (tokenDigest: string) => `first-call:${tokenDigest}`,

  /** Heartbeat of a replica (src/mcp/cluster/replicas.ts). Expires after 6 seconds. */
  replica: (name: string) => `replica:${name}`,

  /**
   * Counter of wrong secrets of a client, and of those from one network (src/oauth/clients/wrong-secret-limit.ts).
   * Expires after a minute.
   */
  wrongSecrets: (digest: string) => `wrong-secrets:${digest}`,

  /**
   * Counter of requests of an address or client to an endpoint. A fixed window: a minute, for registrations an hour.
   */
  limit: (digest: string) => `limit:${digest}`
}
