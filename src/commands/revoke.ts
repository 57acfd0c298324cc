import type { Config } from '../config/config.ts'
import { createKeyring } from '../crypto/keyring.ts'
import type { Log } from '../logging/log.ts'
import { fetchJson } from '../net/fetch.ts'
import { createGrants } from '../oauth/modes/broker/grants.ts'
import { createProviderContact } from '../provider/contact.ts'
import { createProviderDiscovery } from '../provider/discovery.ts'
import { createTokenClient } from '../provider/token-client.ts'
import { openRedisClient } from '../store/redis-client.ts'
import { createRedisStore } from '../store/redis.ts'
import type { Store } from '../store/store.ts'
import { createRevocations, markTtlSeconds, subjectKey } from '../tokens/revocations.ts'
import { UsageError, defineCommand } from './command.ts'

export const command = defineCommand({
  description: [
    'Ends the sign-ins of a person, those of a client, or one of them, with their access tokens, on every replica at ' +
    'once.',
    'With OAUTH_MODE=proxy the provider keeps the grants: --subject ends the access tokens that the person has now.'
  ],
  examples: [
    ['seed revoke --subject 248289761001', 'End everything that a person has'],
    ['seed revoke --client https://client.example.com/metadata.json', 'End all sign-ins of a client']
  ],

  declare: (parser) => parser
    .option('--subject <sub>', 'the person\'s sub at the provider, as the log shows it')
    .option('--client <id>', 'the client\'s id')
    .option('--grant <id>', 'the grant\'s id, as the log shows it'),

  async run (options, { readConfig, print, printError }) {
    if (Object.keys(options).length !== 1) throw new UsageError('name one subject, client or grant')
    const { subject, client, grant } = options
    const config = await readConfig()
    print(await revoke(config, { subject, clientId: client, grantId: grant }, errorLog(printError)))
    return 0
  }
})

/** Logs warnings and errors only: what was done is the command's output. */
function errorLog (printError: (text: string) => void): Log {
  const print = (fields: object, message: string): void => { printError(JSON.stringify({ msg: message, ...fields })) }
  return { info () {}, warn: print, error: print }
}

/** The grants to revoke, by one of the three. */
export interface RevokeOptions {
  /** `sub` at the provider. */
  subject?: string | undefined
  clientId?: string | undefined
  grantId?: string | undefined
}

/** Maximum time to look for the provider. If it is not found, its own tokens are left to expire. */
const DISCOVERY_MS = 5_000

/**
 * Revokes grants and their access tokens on every replica, and the provider's tokens if it can be reached.
 *
 * @returns a sentence that says what was done
 * @throws Error with a sentence for the operator
 */
export async function revoke (config: Config, options: RevokeOptions, log: Log): Promise<string> {
  const { url, ...redis } = config.redis
  if (url === undefined) {
    throw new Error('REDIS_URL is not set: without it, each server keeps its grants to itself, and a restart ends them')
  }
  const store = createRedisStore(openRedisClient({ ...redis, url, log }), log)
  try {
    await store.ready()
    return config.oauth.mode === 'broker'
      ? await revokeGrants(config, options, store, log)
      : await revokeTokens(config, options, store)
  } finally {
    await store.close()
  }
}

/** Broker mode: the grants are Seed's own. */
async function revokeGrants (config: Config, options: RevokeOptions, store: Store, log: Log): Promise<string> {
  const { subject, clientId, grantId } = options
  const provider = await discoverProvider(config, log)
  try {
    const grants = createGrants({
      lifetimes: config.oauth.grant,
      store,
      keyring: createKeyring(config.secrets.current, config.secrets.previous),
      revocations: createRevocations(store, markTtlSeconds(config.token.maxLifetimeSeconds)),
      upstream: createTokenClient({
        ...config.oidc, provider: provider.metadata, contact: createProviderContact(), log
      }),
      log
    })
    if (grantId !== undefined) {
      const grant = await grants.find(grantId)
      await grants.revoke(grantId, 'revoked by the operator')
      return grant === undefined
        ? 'No such grant; its access tokens, if there are any, have ended'
        : 'One grant has ended'
    }
    const owner = subject === undefined ? { clientId: clientId! } : { subject }
    const count = await grants.revokeAll(owner, 'revoked by the operator')
    return count === 1 ? 'One grant has ended' : `${count} grants have ended`
  } finally {
    provider.close()
  }
}

/** Proxy mode: the provider keeps the grants; only the access tokens that it has issued so far can be revoked here. */
async function revokeTokens ({ token }: Config, { subject }: RevokeOptions, store: Store): Promise<string> {
  if (subject === undefined) {
    throw new Error('With OAUTH_MODE=proxy the provider keeps the grants: revoke them there. ' +
      'Here, --subject ends the access tokens that a person has now')
  }
  const revocations = createRevocations(store, markTtlSeconds(token.maxLifetimeSeconds))
  await revocations.revoke([subjectKey(subject)], Math.floor(Date.now() / 1_000) + token.clockSkewSeconds)
  return 'The access tokens that this subject has now have ended; ' +
    'end the sign-in at the provider too, or it issues new ones'
}

/** Waits until the provider is found, or for DISCOVERY_MS: revoking its tokens then fails, and the log says so. */
async function discoverProvider (config: Config, log: Log) {
  let settle!: () => void
  const settled = new Promise<void>((resolve) => { settle = resolve })
  const provider = createProviderDiscovery({ ...config.oidc, fetchJson, log, onReady: settle })
  provider.start()
  const timer = setTimeout(settle, DISCOVERY_MS)
  await settled
  clearTimeout(timer)
  return provider
}
