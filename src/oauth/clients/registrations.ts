import { digest, randomId } from '../../crypto/hash.ts'
import { canonicalJson } from '../../json/canonical-json.ts'
import { RegisterResponseSchema } from '../../schemas/register.ts'
import type { RegisteredClient } from '../../schemas/register.ts'
import { keys } from '../../store/keys.ts'
import { defineRecord } from '../../store/record.ts'
import type { Store } from '../../store/store.ts'
import { withoutLoopbackPort } from '../protocol/redirect-uri.ts'

/**
 * The validated metadata of a client that registers itself (RFC 7591 section 2). Registered clients are public: none
 * gets a secret.
 */
export type ClientMetadata = Omit<RegisteredClient, 'client_id' | 'client_id_issued_at'>

/** Prefix of the client ids that Seed issues. No other kind of client may use it. */
export const REGISTERED_PREFIX = 'seed-'

/** Life of a registration that is never used. */
const UNUSED_TTL_SECONDS = 86_400

/** The record is the response that the client got. */
const clientRecord = defineRecord('registered client', RegisterResponseSchema)

export type Registrations = ReturnType<typeof createRegistrations>

/**
 * The stored records of registered clients.
 * @param ttlSeconds DCR_CLIENT_TTL
 * @param now wall clock in milliseconds
 */
export function createRegistrations (store: Store, ttlSeconds: number, now: () => number = Date.now) {
  async function find (clientId: string): Promise<RegisteredClient | undefined> {
    return (await clientRecord.find(store, keys.client(clientId)))?.value
  }

  return {
    async register (metadata: ClientMetadata): Promise<RegisteredClient> {
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

    /** Returns the live client that registered this metadata, ports of loopback redirect URIs aside. */
    async findByMetadata (metadata: ClientMetadata): Promise<RegisteredClient | undefined> {
      const clientId = await store.get(keys.registration(fingerprint(metadata)))
      return clientId === undefined ? undefined : await find(clientId)
    },

    /** Extends the life of a registration to DCR_CLIENT_TTL, because someone signs in or gets tokens with it. */
    async keepAlive (clientId: string): Promise<void> {
      await store.touch(keys.client(clientId), ttlSeconds)
    }
  }
}

/** Identifies metadata. Ports of loopback redirect URIs are no part of it, as a client may use any. */
function fingerprint (metadata: ClientMetadata): string {
  return digest(canonicalJson({ ...metadata, redirect_uris: metadata.redirect_uris.map(withoutLoopbackPort) }))
}
