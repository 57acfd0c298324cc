import type { JWK } from 'jose'
import { Type } from 'typebox'
import type { Static } from 'typebox'
import type { ConfiguredClient } from '../../config/clients.ts'
import type { ServiceRights } from '../../config/service-rights.ts'
import { OAuthError } from '../../errors/oauth-error.ts'
import { checkRegistrableRedirectUri, isLoopbackRedirectUri, matchesRedirectUri } from '../protocol/redirect-uri.ts'
import { isMetadataDocumentUrl } from './metadata-document-validation.ts'
import type { MetadataDocument } from './metadata-document-validation.ts'
import type { MetadataDocuments } from './metadata-document-cache.ts'
import type { Registrations } from './registrations.ts'
import { REGISTERED_PREFIX, isSelfContainedId } from './self-contained-client-id.ts'

/**
 * The source of a client: `configured` by the operator, `registered` by itself, published as a metadata `document`, or
 * `unregistered`. An unregistered client may use any id (Claude Code does) and is confined to loopback redirect URIs.
 */
export const ClientKindSchema = Type.Enum(['configured', 'registered', 'document', 'unregistered'])

export const ClientAuthMethodSchema = Type.Enum([
  'none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'
])

export interface Client {
  kind: Static<typeof ClientKindSchema>
  id: string
  /** Safe to show to people, but unverified unless the client is configured. */
  name: string
  redirectUris: readonly string[]
  authMethod: Static<typeof ClientAuthMethodSchema>
  /** The grant types that it may use; undefined where they are not known, as for a client without registration. */
  grantTypes: readonly string[] | undefined
  /** SHA-256 of each accepted secret, base64url. */
  secretHashes: readonly string[]
  jwks: { keys: JWK[] } | undefined
  /** True if the client may get refresh tokens. */
  refreshes: boolean
  /** Set if the client is a service, which only the operator can make it. */
  service: ServiceRights | undefined
}

/** The id belongs to a registration that is gone: the client must register again. */
export class UnknownClientError extends OAuthError {
  constructor () {
    super('invalid_client', 'This client is not registered here (any more): register again', {
      causeCode: 'client_unknown',
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
  documents: Pick<MetadataDocuments, 'find' | 'findCached'>
  /** REDIRECT_URI_SCHEMES */
  redirectUriSchemes: readonly string[]
}

/** Visible ASCII without the characters of a URL: `https:/claude.ai` must not be shown as the name of a client. */
const UNREGISTERED_ID = /^[\x21-\x2e\x30-\x39\x3b-\x7e]{1,256}$/

const PUBLIC_CLIENT = {
  authMethod: 'none', secretHashes: [], jwks: undefined, grantTypes: undefined, service: undefined
} as const

export type Clients = ReturnType<typeof createClients>

/**
 * Looks up clients of every kind.
 * @throws Error if a configured client has a redirect URI that is not acceptable
 */
export function createClients ({ registrations, configured, documents, redirectUriSchemes }: ClientsOptions) {
  for (const { id, redirectUris } of configured) checkConfigured(id, redirectUris, redirectUriSchemes)

  async function findRegistered (clientId: string): Promise<Client> {
    const registration = await registrations.find(clientId)
    if (registration === undefined) throw new UnknownClientError()
    const { client_name: name = shortId(clientId), redirect_uris: redirectUris, grant_types: grantTypes } = registration
    const refreshes = grantTypes.includes('refresh_token')
    return { ...PUBLIC_CLIENT, kind: 'registered', id: clientId, name, redirectUris, grantTypes, refreshes }
  }

  /** Returns a client that needs no metadata document; undefined if the id is a document's URL. */
  async function findWithoutDocument (clientId: string): Promise<Client | undefined> {
    const known = configured.find(({ id }) => id === clientId)
    if (known !== undefined) {
      const refreshes = known.grantTypes.includes('refresh_token')
      return { ...known, kind: 'configured', name: known.name ?? known.id, refreshes }
    }
    if (isMetadataDocumentUrl(clientId)) return undefined
    if (isSelfContainedId(clientId)) return await findRegistered(clientId)
    if (!UNREGISTERED_ID.test(clientId)) throw new UnknownClientError()
    if (clientId.startsWith(REGISTERED_PREFIX)) return await findRegistered(clientId)
    return { ...PUBLIC_CLIENT, kind: 'unregistered', id: clientId, name: clientId, redirectUris: [], refreshes: true }
  }

  return {
    /**
     * Returns the client with this id.
     * @param requester IP address of the client that sent the request
     * @throws UnknownClientError for an id that Seed issued and no longer knows, or that no client can have
     * @throws OAuthError for a metadata document that cannot be used; StoreUnavailableError
     */
    async find (clientId: string, requester: string): Promise<Client> {
      return await findWithoutDocument(clientId) ?? toClient(await documents.find(clientId, requester))
    },

    /**
     * Returns the client with this id without fetching its metadata document, for requests that a grant or a token
     * decides: it is bound to the client id. A client whose document is not in the cache is returned as a public one
     * without redirect URIs; the grant knows how the client must authenticate.
     * @throws UnknownClientError, OAuthError as `find` does; StoreUnavailableError
     */
    async findWithoutFetch (clientId: string): Promise<Client> {
      const client = await findWithoutDocument(clientId)
      if (client !== undefined) return client
      const document = documents.findCached(clientId)
      if (document !== undefined) return toClient(document)
      return { ...PUBLIC_CLIENT, kind: 'document', id: clientId, name: clientId, redirectUris: [], refreshes: true }
    },

    /** Extends the life of a registration, because someone is signing in with it. */
    async keepAlive ({ kind, id }: Pick<Client, 'kind' | 'id'>): Promise<void> {
      if (kind === 'registered') await registrations.keepAlive(id)
    },

    /** Extends the life of a registration, because it gets tokens; one without a record in the store gets it now. */
    async keepRecord ({ kind, id }: Pick<Client, 'kind' | 'id'>): Promise<void> {
      if (kind === 'registered') await registrations.keepRecord(id)
    }
  }
}

/** The name of a client that registered without one: an id that contains its registration is too long for people. */
function shortId (clientId: string): string {
  return clientId.length > 40 ? `${clientId.slice(0, 40)}…` : clientId
}

function toClient (document: MetadataDocument): Client {
  const { clientId: id, name, redirectUris, tokenEndpointAuthMethod: authMethod, jwks, grantTypes } = document
  const refreshes = grantTypes.includes('refresh_token')
  return { ...PUBLIC_CLIENT, kind: 'document', id, name, redirectUris, authMethod, jwks, grantTypes, refreshes }
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

/**
 * Checks that a client may use a grant type (RFC 6749 section 5.2, RFC 7591 section 2).
 * @throws OAuthError unauthorized_client
 */
export function checkGrantType ({ kind, grantTypes }: Client, grantType: string): void {
  if (grantTypes === undefined || grantTypes.includes(grantType)) return
  const where = kind === 'configured' ? 'its grant_types in OAUTH_CLIENTS' : 'the grant_types of its registration'
  throw new OAuthError('unauthorized_client', `This client may not use ${grantType}`, {
    detail: `${where} are ${grantTypes.join(', ')}`
  })
}

/**
 * Checks the redirect URI of an authorization request (OAuth 2.1 section 2.3.1): one of the client's, or any loopback
 * URI for an unregistered client. A client's only redirect URI may be omitted (RFC 6749 section 3.1.2.3).
 *
 * Registered URIs are checked again by the current rules, so that an old record never leads to a redirect that is
 * refused today.
 *
 * @param schemes REDIRECT_URI_SCHEMES
 * @returns the URI to use; undefined if an unregistered client sends none
 * @throws OAuthError, which must not be sent to the redirect URI
 */
export function checkRedirectUri (
  client: Client,
  redirectUri: string | undefined,
  schemes: readonly string[]
): string | undefined {
  if (client.kind === 'unregistered') {
    if (redirectUri === undefined || isLoopbackRedirectUri(redirectUri)) return redirectUri
    throw new OAuthError('invalid_request', 'A client that is not registered may only use a redirect URI on ' +
      'http://localhost, http://127.0.0.1 or http://[::1]', { causeCode: 'redirect_uri_not_registered' })
  }
  const uri = redirectUri ?? onlyRedirectUri(client)
  if (!matchesRedirectUri(uri, client.redirectUris)) {
    throw new OAuthError('invalid_request', 'redirect_uri is not one that this client registered', {
      causeCode: 'redirect_uri_not_registered'
    })
  }
  checkRegistrableRedirectUri(uri, schemes)
  return uri
}

function onlyRedirectUri ({ kind, redirectUris: [first, ...others] }: Client): string {
  if (others.length > 0) {
    throw new OAuthError('invalid_request', 'redirect_uri is required: this client registered more than one')
  }
  // Native clients that differ in the port only share a registration, and the port in it is that of the first.
  if (kind === 'registered' && isLoopbackRedirectUri(first!)) {
    throw new OAuthError('invalid_request', 'redirect_uri is required: the port of a program on this machine varies')
  }
  return first!
}
