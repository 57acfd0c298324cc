import type { Config } from '../config/config.ts'
import { createKeyring } from '../crypto/keyring.ts'
import type { Log } from '../logging/log.ts'
import { fetchJson } from '../net/fetch.ts'
import { createGrants } from '../oauth/modes/broker/grants.ts'
import type { Grants } from '../oauth/modes/broker/grants.ts'
import { createProviderContact } from '../provider/contact.ts'
import { createProviderDiscovery } from '../provider/discovery.ts'
import { createTokenClient } from '../provider/token-client.ts'
import { openRedisClient } from '../store/redis-client.ts'
import { createRedisStore } from '../store/redis.ts'
import type { Store } from '../store/store.ts'
import { createRevocations, markTtlSeconds } from '../tokens/revocations.ts'

/** Maximum time to look for the provider. If it is not found, its own tokens are left to expire. */
const DISCOVERY_MS = 5_000

/** Logs warnings and errors only: what was done is the command's output. */
export function createErrorLog (printError: (text: string) => void): Log {
  const print = (fields: object, message: string): void => { printError(JSON.stringify({ msg: message, ...fields })) }
  return { info () {}, warn: print, error: print }
}

/**
 * Hands over the store that the servers share, and closes it afterwards.
 *
 * @throws Error with a sentence for the operator, if each server keeps to itself what it knows
 */
export async function withStore<T> (config: Config, log: Log, work: (store: Store) => Promise<T>): Promise<T> {
  const { url, ...redis } = config.redis
  if (url === undefined) {
    throw new Error('REDIS_URL is not set: without it, each server keeps grants and sign-ins to itself, and a ' +
      'restart ends them')
  }
  const store = createRedisStore(openRedisClient({ ...redis, url, log }), log)
  try {
    await store.ready()
    return await work(store)
  } finally {
    await store.close()
  }
}

/** Returns `iss` of the access tokens that the servers accept. */
export function issuerOf ({ oauth, baseUrl, oidc }: Config): string {
  return oauth.mode === 'broker' ? baseUrl : oidc.issuer
}

/**
 * Hands over the grants of broker mode.
 *
 * @param options.toEnd finds the provider first, where the tokens of grants that end are revoked as well
 */
export async function withGrants<T> (
  { config, store, log, toEnd }: { config: Config, store: Store, log: Log, toEnd: boolean },
  work: (grants: Grants) => Promise<T>
): Promise<T> {
  const provider = await openProvider(config, log, toEnd)
  try {
    return await work(createGrants({
      lifetimes: config.oauth.grant,
      store,
      keyring: createKeyring(config.secrets.current, config.secrets.previous),
      revocations: createRevocations(store, markTtlSeconds(config.token.maxLifetimeSeconds)),
      upstream: createTokenClient({
        ...config.oidc, provider: provider.metadata, contact: createProviderContact(), log
      }),
      log
    }))
  } finally {
    provider.close()
  }
}

/**
 * @param discover waits until the provider is found, or for DISCOVERY_MS: revoking its tokens then fails, and the log
 * says so
 */
async function openProvider (config: Config, log: Log, discover: boolean) {
  let settle!: () => void
  const settled = new Promise<void>((resolve) => { settle = resolve })
  const provider = createProviderDiscovery({ ...config.oidc, fetchJson, log, onReady: settle })
  if (!discover) return provider
  provider.start()
  const timer = setTimeout(settle, DISCOVERY_MS)
  await settled
  clearTimeout(timer)
  return provider
}
