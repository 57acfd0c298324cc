/**
 * Every key Seed writes, what lies under it and for how long. The store adds REDIS_KEY_PREFIX.
 *
 * | key | contents | time to live |
 * |---|---|---|
 * | `client:<client_id>` | JSON of a registered client (src/oauth/clients.ts) | DCR_CLIENT_TTL, restarted on use |
 * | `limit:register:address:<address>` | counter of registrations | 1 hour, fixed window |
 * | `limit:register:total` | counter of registrations | 1 hour, fixed window |
 * | `ping` | nothing: written by readiness checks (src/store/redis.ts) | 1 second |
 */
export const keys = {
  client: (clientId: string) => `client:${clientId}`,
  registrationsOf: (address: string) => `limit:register:address:${address}`,
  registrations: () => 'limit:register:total'
}
