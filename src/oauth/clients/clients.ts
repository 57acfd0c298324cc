import type { JWK } from 'jose'
import type { ConfiguredClient } from '../../config/clients.ts'
import { isMetadataDocumentUrl } from './metadata-documents.ts'
import type { MetadataDocuments } from './metadata-documents.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { checkRegistrableRedirectUri, isLoopbackRedirectUri, matchesRedirectUri } from '../protocol/redirect-uri.ts'
import { REGISTERED_PREFIX } from './registrations.ts'
import type { Registrations } from './registrations.ts'

/** A client, wherever it is known from. */
export interface Client {
  /**
   * `configured` by the operator, `registered` by itself, published as a metadata `document`, or `unregistered`: one that
   * names itself and is confined to loopback (Claude Code may use any id).
   */
  kind: 'configured' | 'registered' | 'document' | 'unregistered'
  id: string
  /** Fit to be shown to people; nobody vouches for it unless configured. */
  name: string
  redirectUris: readonly string[]
  authMethod: 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'
  /** SHA-256 of the secret, base64url. */
  secretHash: string | undefined
  jwks: { keys: JWK[] } | undefined
  /** May it have refresh tokens? */
  refreshes: boolean
}

export interface Clients {
  /**
   * The client behind an id.
   * @throws UnknownClientError for an id that Seed gave out and no longer holds, or that can be no client's
   * @throws OAuthError for a metadata document that is none or cannot be had; StoreUnavailableError
   */
  find (clientId: string): Promise<Client>
  /** Somebody signs in with this client, or has a token of it: a registration lives on. */
  keepAlive (client: Pick<Client, 'kind' | 'id'>): Promise<void>
}

/** The id belongs to a registration that is gone: the client must register again. */
export class UnknownClientError extends OAuthError {
  constructor () {
    super('invalid_client', 'This client is not registered here (any more): register again', {
      page: {
        title: 'Connect the application again',
        sentence: 'This application is not registered here any more.',
        advice: 'Go back to the application, sign out of this server there (or remove it) and connect it again.'
      }
    })
  }
}

export interface ClientsOptions {
  registrations: Registrations
  configured: readonly ConfiguredClient[]
  documents: Pick<MetadataDocuments, 'find'>
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

/** @throws Error for a configured client whose redirect URI cannot be used */
export function createClients ({ registrations, configured, documents, redirectUriSchemes }: ClientsOptions): Clients {
  for (const { id, redirectUris } of configured) checkConfigured(id, redirectUris, redirectUriSchemes)

  async function findDocument (clientId: string): Promise<Client> {
    const { name, redirectUris, tokenEndpointAuthMethod: authMethod, jwks, grantTypes } = await documents.find(clientId)
    return { kind: 'document', id: clientId, name, redirectUris, authMethod, secretHash: undefined, jwks, refreshes: grantTypes.includes('refresh_token') }
  }

  async function findRegistered (clientId: string): Promise<Client> {
    const registration = await registrations.find(clientId)
    if (registration === undefined) throw new UnknownClientError()
    const { client_name: name = clientId, redirect_uris: redirectUris, grant_types: grantTypes } = registration
    return { ...PUBLIC, kind: 'registered', id: clientId, name, redirectUris, refreshes: grantTypes.includes('refresh_token') }
  }

  return {
    async find (clientId) {
      const ahead = configured.find(({ id }) => id === clientId)
      if (ahead !== undefined) return { ...ahead, kind: 'configured', name: ahead.name ?? ahead.id, refreshes: true }
      if (isMetadataDocumentUrl(clientId)) return await findDocument(clientId)
      if (clientId.includes('://')) throw new UnknownClientError()
      if (clientId.startsWith(REGISTERED_PREFIX)) return await findRegistered(clientId)
      return { ...PUBLIC, kind: 'unregistered', id: clientId, name: clientId, redirectUris: [], refreshes: true }
    },

    async keepAlive ({ kind, id }) {
      if (kind === 'registered') await registrations.keepAlive(id)
    }
  }
}

function checkConfigured (id: string, redirectUris: readonly string[], schemes: readonly string[]): void {
  for (const uri of redirectUris) {
    try {
      checkRegistrableRedirectUri(uri, schemes)
    } catch (err) {
      throw new Error(`OAUTH_CLIENTS: client "${id}": ${(err as Error).message}`, { cause: err })
    }
  }
}

const PUBLIC = { authMethod: 'none', secretHash: undefined, jwks: undefined } as const

/**
 * The redirect URI an authorization may go to (OAuth 2.1 section 2.3.1): one of the client's, or for a client that
 * never registered a loopback one. A sole one may be left out (RFC 6749 section 3.1.2.3).
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
  const uri = redirectUri ?? soleRedirectUri(client)
  if (!matchesRedirectUri(uri, client.redirectUris)) {
    throw new OAuthError('invalid_request', 'redirect_uri is not one that this client registered')
  }
  checkRegistrableRedirectUri(uri, schemes)
  return uri
}

function soleRedirectUri ({ redirectUris: [first, ...others] }: Client): string {
  if (others.length > 0) throw new OAuthError('invalid_request', 'redirect_uri is required: this client registered more than one')
  return first!
}
