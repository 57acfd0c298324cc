/**
 * Every key Seed writes, what lies under it and for how long. The store adds REDIS_KEY_PREFIX. Secrets are named by
 * their SHA-256, never by themselves.
 *
 * | key | contents | time to live |
 * |---|---|---|
 * | `client:<client_id>` | JSON of a registered client (src/oauth/registrations.ts) | a day, from its first use DCR_CLIENT_TTL, restarted on use |
 * | `registration:<SHA-256 of the metadata>` | the client id that was given for it | DCR_CLIENT_TTL |
 * | `consent:<SHA-256 of the id>` | JSON of a request that waits for a person's answer (src/oauth/consent.ts) | 15 minutes |
 * | `sign-in:<SHA-256 of state>` | JSON of a request on its way through the provider (src/oauth/broker/sign-in.ts) | 10 minutes |
 * | `code:<SHA-256 of the code>` | JSON of an authorization code (src/oauth/broker/codes.ts) | 1 minute; once redeemed, 10 minutes |
 * | `code-tries:<SHA-256 of the code>` | counter of wrong verifiers | 1 minute |
 * | `grant:<id>` | JSON of a grant, its upstream tokens sealed (src/oauth/broker/grants.ts) | REFRESH_TOKEN_TTL, restarted on refresh, to GRANT_MAX_AGE |
 * | `grants-of:<SHA-256 of what they share>` | set of grant ids, for revocation | GRANT_MAX_AGE each |
 * | `refreshing:<grant id>` | held by the replica that asks the provider (src/oauth/broker/refresh.ts) | 30 seconds |
 * | `revoked:<name>` | up to when its access tokens have ended (src/oauth/revocations.ts) | the longest life of an access token |
 * | `assertion:<SHA-256>` | mark: this client assertion or logout token was used | until it expires |
 * | `limit:<endpoint>:<SHA-256 of whose>` | counter of requests, registrations | 1 minute, registrations 1 hour; fixed window |
 * | `ping` | nothing: written by readiness checks (src/store/redis.ts) | 1 second |
 *
 * Messages are published on the channel `revocations` (src/oauth/revocations.ts).
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
  revoked: (name: string) => `revoked:${name}`,
  assertion: (digest: string) => `assertion:${digest}`,
  limit: (endpoint: string, whose: string) => `limit:${endpoint}:${whose}`
}
