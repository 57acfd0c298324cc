import type { Config } from '../config/config.ts'
import { fetchJson } from '../net/fetch.ts'
import { createGrants } from '../oauth/modes/broker/grants.ts'
import { createRevocations, subjectKey } from '../tokens/revocations.ts'
import { createKeyring } from '../crypto/keyring.ts'
import { createTokenClient } from '../provider/token-client.ts'
import { createProviderDiscovery } from '../provider/discovery.ts'
import type { Log } from '../logging/log.ts'
import { openRedisClient } from '../store/redis-client.ts'
import { createRedisStore } from '../store/redis.ts'
import type { Store } from '../store/store.ts'

/** Whose grants are to end: one of the three. */
export interface RevokeOptions {
  /** `sub` at the provider, as the log shows it. */
  subject?: string | undefined
  clientId?: string | undefined
  grantId?: string | undefined
}

/** How long the provider may take to be found before its own tokens are left to run out. */
const DISCOVERY_MS = 5_000

/**
 * `seed revoke`: ends grants and their access tokens on every replica at once, and the provider's tokens where it can.
 *
 * @returns a sentence that says what was done
 * @throws Error with a sentence for the operator
 */
export async function revoke (config: Config, options: RevokeOptions, log: Log): Promise<string> {
  const { url, ...redis } = config.redis
  if (url === undefined) throw new Error('REDIS_URL is not set: a server without it keeps its grants to itself, and a restart ends them')
  const store = createRedisStore(openRedisClient({ ...redis, url, log }))
  try {
    await store.ready()
    return config.oauth.mode === 'broker' ? await revokeGrants(config, options, store, log) : await revokeTokens(config, options, store)
  } finally {
    await store.close()
  }
}

async function revokeGrants (config: Config, { subject, clientId, grantId }: RevokeOptions, store: Store, log: Log): Promise<string> {
  const provider = await discover(config, log)
  try {
    const grants = createGrants({
      lifetimes: config.oauth.grant,
      store,
      keyring: createKeyring(config.secrets.current, config.secrets.previous),
      revocations: createRevocations(store, config.oauth.grant.accessTokenTtlSeconds + 2 * config.token.clockSkewSeconds),
      upstream: createTokenClient({ ...config.oidc, provider: provider.metadata }),
      log
    })
    if (grantId !== undefined) {
      const found = await grants.find(grantId)
      await grants.revoke(grantId, 'revoked by the operator')
      return found === undefined ? 'No such grant; its access tokens, if there are any, have ended' : 'One grant has ended'
    }
    const ended = await grants.revokeAll(subject === undefined ? { clientId: clientId! } : { subject }, 'revoked by the operator')
    return ended === 1 ? 'One grant has ended' : `${ended} grants have ended`
  } finally {
    provider.close()
  }
}

/** Proxy mode: the provider keeps the grants; what can end here is what it has issued so far. */
async function revokeTokens ({ token }: Config, { subject }: RevokeOptions, store: Store): Promise<string> {
  if (subject === undefined) throw new Error('With OAUTH_MODE=proxy the provider keeps the grants: revoke them there. Here --subject ends the access tokens that somebody has now')
  await createRevocations(store, token.maxLifetimeSeconds + 2 * token.clockSkewSeconds).revoke([subjectKey(subject)], Math.floor(Date.now() / 1_000))
  return 'The access tokens that this subject has now have ended; end the sign-in at the provider too, or it gives new ones'
}

/** The provider, or what throws ProviderUnavailableError in its place: then its tokens are not revoked, and the log says so. */
async function discover (config: Config, log: Log) {
  let found!: () => void
  const ready = new Promise<void>((resolve) => { found = resolve })
  const provider = createProviderDiscovery({ ...config.oidc, fetchJson, log, onReady: found })
  provider.start()
  const patience = setTimeout(found, DISCOVERY_MS)
  await ready
  clearTimeout(patience)
  return provider
}
