import { digest, randomId } from '../../crypto/hash.ts'
import type { FindKeyring } from '../../crypto/keyring.ts'
import { canonicalJson } from '../../json/canonical-json.ts'
import { RegisterResponseSchema } from '../../schemas/register.ts'
import type { RegisteredClient } from '../../schemas/register.ts'
import { keys } from '../../store/keys.ts'
import { defineRecord } from '../../store/record.ts'
import { leaveOutLater } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'
import { withoutLoopbackPort } from '../protocol/redirect-uri.ts'
import {
  REGISTERED_PREFIX, isSelfContainedId, makeSelfContainedId, readSelfContainedId
} from './self-contained-client-id.ts'

/**
 * The validated metadata of a client that registers itself (RFC 7591 section 2). Registered clients are public: none
 * gets a secret.
 */
export type ClientMetadata = Omit<RegisteredClient, 'client_id' | 'client_id_issued_at'>

/** Life of a registration that is never used. */
const UNUSED_TTL_SECONDS = 86_400

/** The record is the response that the client got. */
const clientRecord = defineRecord('registered client', RegisterResponseSchema)

export interface RegistrationsOptions {
  store: Store
  /** DCR_CLIENT_TTL */
  ttlSeconds: number
  findKeyring: FindKeyring
  /** Wall clock in milliseconds. */
  now?: () => number
}

export type Registrations = ReturnType<typeof createRegistrations>

/**
 * The registered clients. Each has a record in the store, except for those that registered when there was no room for
 * more: their id contains the registration, and they get a record when a user has signed in with them.
 */
export function createRegistrations ({ store, ttlSeconds, findKeyring, now = Date.now }: RegistrationsOptions) {
  const unusedTtlSeconds = Math.min(ttlSeconds, UNUSED_TTL_SECONDS)
  const seconds = () => Math.floor(now() / 1_000)

  async function find (clientId: string): Promise<RegisteredClient | undefined> {
    const client = await readId(clientId)
    if (client !== undefined && seconds() < client.client_id_issued_at + unusedTtlSeconds) return client
    return (await clientRecord.find(store, keys.client(clientId)))?.value
  }

  async function readId (clientId: string): Promise<RegisteredClient | undefined> {
    return isSelfContainedId(clientId) ? readSelfContainedId(await findKeyring(), clientId) : undefined
  }

  return {
    async register (metadata: ClientMetadata): Promise<RegisteredClient> {
      const client: RegisteredClient = {
        client_id: `${REGISTERED_PREFIX}${randomId(18)}`,
        client_id_issued_at: seconds(),
        ...metadata
      }
      await store.set(keys.client(client.client_id), clientRecord.serialize(client), unusedTtlSeconds)
      await store.set(keys.registration(fingerprint(metadata)), client.client_id, ttlSeconds)
      return client
    },

    /**
     * Registers a client without writing to the store, by an id that contains its metadata.
     * @returns undefined if the metadata is too long for that
     */
    async registerWithoutRecord (metadata: ClientMetadata): Promise<RegisteredClient | undefined> {
      const client = { client_id_issued_at: seconds(), ...metadata }
      const clientId = makeSelfContainedId(await findKeyring(), client)
      return clientId === undefined ? undefined : { client_id: clientId, ...client }
    },

    find,

    /**
     * Returns the live client that registered this metadata, ports of loopback redirect URIs aside. A client of a later
     * release can register again: others keep the id that they have.
     */
    async findByMetadata (metadata: ClientMetadata): Promise<RegisteredClient | undefined> {
      const clientId = await store.get(keys.registration(fingerprint(metadata)))
      return clientId === undefined ? undefined : await find(clientId).catch(leaveOutLater)
    },

    /** Extends the life of a client's record to DCR_CLIENT_TTL, because someone is signing in with it. */
    async keepAlive (clientId: string): Promise<void> {
      await store.touch(keys.client(clientId), ttlSeconds)
    },

    /** Does the same for a client that gets tokens. One without a record gets it now: a user has signed in with it. */
    async keepRecord (clientId: string): Promise<void> {
      if (await store.touch(keys.client(clientId), ttlSeconds) !== undefined) return
      const client = await readId(clientId)
      if (client !== undefined) await store.set(keys.client(clientId), clientRecord.serialize(client), ttlSeconds)
    }
  }
}

/** Identifies metadata. Ports of loopback redirect URIs are no part of it, as a client may use any. */
function fingerprint (metadata: ClientMetadata): string {
  return digest(canonicalJson({ ...metadata, redirect_uris: metadata.redirect_uris.map(withoutLoopbackPort) }))
}
