import { randomBytes } from 'node:crypto'
import type { RegisteredClient } from '../schemas/register.ts'
import { keys } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import { OAuthError } from './errors.ts'
import { checkRegistrableRedirectUri, isLoopbackRedirectUri, matchesRedirectUri } from './redirect-uri.ts'

/** What a client registers (RFC 7591 section 2), checked. All clients are public: none gets a secret. */
export type ClientMetadata = Omit<RegisteredClient, 'client_id' | 'client_id_issued_at'>

/** Who asks to be authorized: a registered client, or one that names itself and is confined to loopback. */
export type Client =
  | { kind: 'registered', id: string, registration: RegisteredClient }
  | { kind: 'unregistered', id: string }

export interface Clients {
  register (metadata: ClientMetadata): Promise<RegisteredClient>
  /**
   * The client behind an id; being asked for keeps a registration alive.
   * @throws UnknownClientError for an id that Seed gave out and no longer holds, or that can be no client's
   * @throws StoreUnavailableError
   */
  find (clientId: string): Promise<Client>
}

/** The id belongs to a registration that is gone: the client must register again. */
export class UnknownClientError extends OAuthError {
  constructor () {
    super('invalid_client', 'This client is not registered here (any more): register again')
  }
}

/** Ids that Seed gives out begin so; nobody else may use the prefix. */
const PREFIX = 'seed-'

export function createClients (store: Store, ttlSeconds: number, now: () => number = Date.now): Clients {
  return {
    async register (metadata) {
      const client: RegisteredClient = {
        client_id: `${PREFIX}${randomBytes(18).toString('base64url')}`,
        client_id_issued_at: Math.floor(now() / 1_000),
        ...metadata
      }
      await store.set(keys.client(client.client_id), JSON.stringify(client), ttlSeconds)
      return client
    },

    async find (clientId) {
      if (!clientId.startsWith(PREFIX)) {
        // A URL is the id of a client metadata document, which may only be believed once it has been fetched.
        if (clientId.includes('://')) throw new UnknownClientError()
        return { kind: 'unregistered', id: clientId }
      }
      const record = await store.touch(keys.client(clientId), ttlSeconds)
      if (record === undefined) throw new UnknownClientError()
      return { kind: 'registered', id: clientId, registration: JSON.parse(record) as RegisteredClient }
    }
  }
}

/**
 * The redirect URI an authorization may go to (OAuth 2.1 section 2.3.1): registered, or for a client that never
 * registered a loopback one. A sole registered URI may be left out (RFC 6749 section 3.1.2.3).
 *
 * What was registered is judged again by today's rules, so that an old record never redirects to what is refused now.
 *
 * @param schemes REDIRECT_URI_SCHEMES
 * @returns the URI to use; undefined when an unregistered client names none
 * @throws OAuthError; never answer it with a redirect
 */
export function checkRedirectUri (client: Client, redirectUri: string | undefined, schemes: readonly string[]): string | undefined {
  if (client.kind === 'unregistered') {
    if (redirectUri === undefined || isLoopbackRedirectUri(redirectUri)) return redirectUri
    throw new OAuthError('invalid_request', 'A client that is not registered may only use a redirect URI on http://localhost, http://127.0.0.1 or http://[::1]')
  }
  const uri = redirectUri ?? soleRedirectUri(client.registration)
  if (!matchesRedirectUri(uri, client.registration.redirect_uris)) {
    throw new OAuthError('invalid_request', 'redirect_uri is not one that this client registered')
  }
  checkRegistrableRedirectUri(uri, schemes)
  return uri
}

function soleRedirectUri ({ redirect_uris: [first, ...others] }: RegisteredClient): string {
  if (others.length > 0) throw new OAuthError('invalid_request', 'redirect_uri is required: this client registered more than one')
  return first!
}
