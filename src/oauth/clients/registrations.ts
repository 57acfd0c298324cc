import type { RegisteredClient } from '../../schemas/register.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import { digest, randomId } from '../../crypto/keyring.ts'

/** What a client registers (RFC 7591 section 2), checked. Registered clients are public: none gets a secret. */
export type ClientMetadata = Omit<RegisteredClient, 'client_id' | 'client_id_issued_at'>

/** The records of registered clients. */
export interface Registrations {
  register (metadata: ClientMetadata): Promise<RegisteredClient>
  find (clientId: string): Promise<RegisteredClient | undefined>
  /** The live client that registered exactly this; undefined when there is none. */
  findByMetadata (metadata: ClientMetadata): Promise<RegisteredClient | undefined>
  /** Somebody signs in with this client, or has a token of it: from now on it lives DCR_CLIENT_TTL. */
  keepAlive (clientId: string): Promise<void>
}

/** Ids that Seed gives out begin so; nobody else may use the prefix. */
export const REGISTERED_PREFIX = 'seed-'

/** A registration that nobody ever uses. */
const UNUSED_TTL_SECONDS = 86_400

/**
 * @param ttlSeconds DCR_CLIENT_TTL
 * @param now wall clock in milliseconds
 */
export function createRegistrations (store: Store, ttlSeconds: number, now: () => number = Date.now): Registrations {
  async function find (clientId: string): Promise<RegisteredClient | undefined> {
    const record = await store.get(keys.client(clientId))
    return record === undefined ? undefined : JSON.parse(record) as RegisteredClient
  }

  return {
    async register (metadata) {
      const client: RegisteredClient = {
        client_id: `${REGISTERED_PREFIX}${randomId(18)}`,
        client_id_issued_at: Math.floor(now() / 1_000),
        ...metadata
      }
      await store.set(keys.client(client.client_id), JSON.stringify(client), Math.min(ttlSeconds, UNUSED_TTL_SECONDS))
      await store.set(keys.registration(fingerprint(metadata)), client.client_id, ttlSeconds)
      return client
    },

    find,

    async findByMetadata (metadata) {
      const clientId = await store.get(keys.registration(fingerprint(metadata)))
      return clientId === undefined ? undefined : await find(clientId)
    },

    async keepAlive (clientId) {
      await store.touch(keys.client(clientId), ttlSeconds)
    }
  }
}

/** The members are always written in one order (registration.ts), so the same metadata is the same text. */
function fingerprint (metadata: ClientMetadata): string {
  return digest(JSON.stringify(metadata))
}
