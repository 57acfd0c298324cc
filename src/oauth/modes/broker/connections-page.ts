import type { Config } from '../../../config/config.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { Store } from '../../../store/store.ts'
import type { Revocations } from '../../../tokens/revocations.ts'
import { listConnections } from './connections.ts'
import type { Connection } from './connections.ts'
import { createConnectionsSessions } from './connections-session.ts'
import type { ConnectionsSession } from './connections-session.ts'
import { createConnectionsSignIn } from './connections-sign-in.ts'
import type { Grant } from './grant.ts'
import type { GrantServices } from './grant-services.ts'

/** Connections that the page shows: a person's clients can make any number of them. */
const MAX_SHOWN = 200

export interface ConnectionsPageOptions {
  config: Config
  store: Store
  keyring: Keyring
  revocations: Pick<Revocations, 'isRevoked'>
  grantServices: Pick<GrantServices, 'grants' | 'identity' | 'upstream'>
}

export type ConnectionsPageServices = ReturnType<typeof createConnectionsPage>

/** The page /connections: a person sees the applications that act in their name, and cuts them off. */
export function createConnectionsPage (options: ConnectionsPageOptions) {
  const { config, store, keyring, grantServices: { grants, identity, upstream } } = options
  const sessions = createConnectionsSessions(options)
  const signIn = createConnectionsSignIn({
    store,
    keyring,
    upstream,
    identity,
    sessions,
    config: {
      baseUrl: config.baseUrl,
      scopes: config.oidc.scopes,
      clockSkewSeconds: config.token.clockSkewSeconds,
      maxPerAddress: config.oauth.limits.perAddress
    }
  })

  return {
    sessions,
    signIn,

    /** Returns the person's connections, and whether these are all of them. */
    async list ({ person: { subject } }: ConnectionsSession): Promise<{ shown: Connection[], isComplete: boolean }> {
      const found: Connection[] = []
      for await (const batch of listConnections(store, grants, { subject })) {
        found.push(...batch)
        if (found.length > MAX_SHOWN) break
      }
      return { shown: found.slice(0, MAX_SHOWN), isComplete: found.length <= MAX_SHOWN }
    },

    /**
     * Ends a connection of the person, on every replica at once.
     *
     * @returns its grant; undefined if it has ended before, or is not theirs
     */
    async end ({ person: { subject } }: ConnectionsSession, grantId: string): Promise<Grant | undefined> {
      const { grant } = await grants.find(grantId) ?? {}
      if (grant?.subject !== subject) return undefined
      await grants.revoke(grantId, 'ended by the person')
      return grant
    },

    /** Ends all connections of the person, and those that are about to begin. @returns how many there were */
    endAll: async ({ person: { subject } }: ConnectionsSession): Promise<number> =>
      await grants.revokeAll({ subject }, 'ended by the person')
  }
}
