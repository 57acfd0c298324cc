import { announceRevocation } from '../audit/operator-revocations.ts'
import type { Config } from '../config/config.ts'
import type { Log } from '../logging/log.ts'
import { describeEnded } from '../oauth/modes/broker/grant-revocation.ts'
import { StoreUnavailableError, ignoreOutage } from '../store/store.ts'
import type { Store } from '../store/store.ts'
import { createRevocations, markTtlSeconds, subjectKey } from '../tokens/revocations.ts'
import { UsageError, defineCommand } from './command.ts'
import { showConnections } from './connections.ts'
import { createErrorLog, issuerOf, withGrants, withStore } from './open-store.ts'

export const command = defineCommand({
  description: [
    'Ends the sign-ins of a person, those of a client, or one of them, with their access tokens, on every replica at ' +
    'once. seed connections shows them, and ends those that match other rules.',
    'With OAUTH_MODE=proxy the provider keeps the grants: --subject ends the access tokens that the person has now.'
  ],
  examples: [
    ['seed revoke --subject 248289761001', 'End everything that a person has'],
    ['seed revoke --client https://client.example.com/metadata.json --dry-run', 'Show the sign-ins of a client'],
    ['seed revoke --client https://client.example.com/metadata.json', 'End them']
  ],

  declare: (parser) => parser
    .option('--subject <sub>', 'the person\'s sub at the provider, as the log shows it')
    .option('--client <id>', 'the client\'s id')
    .option('--grant <id>', 'the grant\'s id, as the log shows it')
    .option('--dry-run', 'only show what would end', false),

  async run ({ dryRun, ...owner }, { readConfig, print, printError }) {
    if (Object.keys(owner).length !== 1) throw new UsageError('name one subject, client or grant')
    const options = { subject: owner.subject, clientId: owner.client, grantId: owner.grant }
    const config = await readConfig()
    const log = createErrorLog(printError)
    if (dryRun) await showConnections(config, { filter: options, end: true, dryRun, json: false }, { print, log })
    else print(await revoke(config, options, log))
    return 0
  }
})

/** The grants to revoke, by one of the three. */
export interface RevokeOptions {
  /** `sub` at the provider. */
  subject?: string | undefined
  clientId?: string | undefined
  grantId?: string | undefined
}

/**
 * Revokes grants and their access tokens on every replica, and the provider's tokens if it can be reached.
 *
 * @returns a sentence that says what was done
 * @throws Error with a sentence for the operator
 */
export async function revoke (config: Config, options: RevokeOptions, log: Log): Promise<string> {
  const isBroker = config.oauth.mode === 'broker'
  return await withStore(config, log, async (store) => {
    const { subject, clientId: client, grantId: grant } = options
    const revocation = { issuer: issuerOf(config), subject, client, grant }
    const end = isBroker ? revokeGrants : revokeTokens
    const done = await end(config, options, store, log).catch(async (err: unknown) => {
      if (err instanceof StoreUnavailableError) {
        await announceRevocation(store, { ...revocation, outcome: 'unavailable' }).catch(ignoreOutage)
      }
      throw err
    })
    await announceRevocation(store, revocation).catch((err: unknown) => {
      throw new Error(`${done}. No audit log has a line of it, as the store (REDIS_URL) did not take the message`, {
        cause: err
      })
    })
    return done
  })
}

/** Broker mode: the grants are Seed's own. */
async function revokeGrants (config: Config, options: RevokeOptions, store: Store, log: Log): Promise<string> {
  const { subject, clientId, grantId } = options
  return await withGrants({ config, store, log, toEnd: true }, async (grants) => {
    if (grantId !== undefined) {
      const grant = await grants.find(grantId)
      await grants.revoke(grantId, 'revoked by the operator')
      return grant === undefined
        ? 'No such grant; its access tokens, if there are any, have ended'
        : 'One grant has ended'
    }
    const owner = subject === undefined ? { clientId: clientId! } : { subject }
    return describeEnded(await grants.revokeAll(owner, 'revoked by the operator'))
  })
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
