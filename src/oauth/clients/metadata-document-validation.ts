import type { JWK } from 'jose'
import { OAuthError } from '../../errors/oauth-error.ts'
import { JWT_BEARER } from '../protocol/grant-types.ts'
import { registrableRedirectUris } from '../protocol/redirect-uri.ts'
import { stripControlCharacters } from './client-name.ts'

/** A validated client ID metadata document (draft-ietf-oauth-client-id-metadata-document, RFC 7591 section 2). */
export interface MetadataDocument {
  /** The document's URL. */
  clientId: string
  name: string
  redirectUris: readonly string[]
  /** `client_uri`, http or https: shown to people, never fetched. */
  uri?: string | undefined
  grantTypes: readonly string[]
  tokenEndpointAuthMethod: 'none' | 'private_key_jwt'
  /** Public keys; present with private_key_jwt. */
  jwks?: { keys: JWK[] }
  applicationType?: 'native' | 'web'
}

const MAX_REDIRECT_URIS = 20
const MAX_NAME_LENGTH = 200
const MAX_URL_LENGTH = 2_048

/** Returns true for client ids that are document URLs. `checkDocumentUrl` decides whether the URL is acceptable. */
export function isMetadataDocumentUrl (clientId: string): boolean {
  return /^https:\/\//i.test(clientId)
}

/**
 * Checks a URL that Seed is about to fetch: https, with a path, and written as a URL parser serializes it. Client ids
 * are compared byte for byte (section 3 of the draft), and no two parsers may disagree about the host.
 *
 * @param refusal makes the error from the end of a sentence about the URL
 * @throws OAuthError invalid_client
 */
export function checkDocumentUrl (given: unknown, refusal: (why: string) => OAuthError): URL {
  if (typeof given !== 'string' || given.length > MAX_URL_LENGTH || !URL.canParse(given)) {
    throw refusal(`must be well-formed, of at most ${MAX_URL_LENGTH} characters`)
  }
  const url = new URL(given)
  if (url.protocol !== 'https:') throw refusal('must use https')
  if (url.pathname === '/') throw refusal('must have a path')
  if (given.includes('#')) throw refusal('must not contain a fragment')
  if (url.username !== '' || url.password !== '') throw refusal('must not contain a user name or password')
  if (/%0[0-9a-f]|%1[0-9a-f]|%7f/i.test(given)) throw refusal('must not contain control characters')
  if (url.href !== given || url.hostname.endsWith('.')) throw refusal('must be written in its normal form')
  return url
}

/**
 * Validates a fetched document (section 4 of the draft). Every client is public or has a key of its own; a document
 * that anyone can read cannot hold a secret. Redirect URIs that are not acceptable are left out.
 *
 * @param clientId the URL that was fetched
 * @param schemes REDIRECT_URI_SCHEMES
 * @throws OAuthError invalid_client
 */
export function validateDocument (
  clientId: string,
  given: Record<string, unknown>,
  schemes: readonly string[]
): MetadataDocument {
  // Documents say null for what they do not have.
  const document = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null))
  if (document['client_id'] !== clientId) throw invalidDocument('its client_id must be its own URL, byte for byte')
  for (const name of ['client_secret', 'client_secret_expires_at']) {
    if (document[name] !== undefined) throw invalidDocument(`it must not contain ${name}`)
  }
  const applicationType = readApplicationType(document['application_type'])
  if (!readStrings(document['response_types'] ?? ['code'])?.includes('code')) {
    throw invalidDocument('response_types must include code')
  }
  return {
    clientId,
    name: readName(document['client_name']),
    redirectUris: readRedirectUris(document['redirect_uris'], schemes),
    uri: readWebPage(document['client_uri']),
    grantTypes: readGrantTypes(document['grant_types']),
    ...readAuthentication(document),
    ...(applicationType !== undefined && { applicationType })
  }
}

/**
 * Returns the error for a document that cannot be used. Its answer is the same whatever the reason, which only the log
 * has: whoever may name a URL must not learn which hosts Seed can resolve or reach, nor how they answer.
 */
export function invalidDocument (why: string, cause?: Error): OAuthError {
  const detail = cause === undefined ? why : `${why}: ${cause.message}`
  return new OAuthError('invalid_client', 'The client metadata document cannot be used', {
    detail, causeCode: 'metadata_document', cause
  })
}

function readAuthentication (
  document: Record<string, unknown>
): Pick<MetadataDocument, 'tokenEndpointAuthMethod' | 'jwks'> {
  const method = document['token_endpoint_auth_method'] ?? 'none'
  const { jwks, jwks_uri: jwksUri } = document
  if (method !== 'none' && method !== 'private_key_jwt') {
    throw invalidDocument('token_endpoint_auth_method must be none or private_key_jwt')
  }
  if (jwks !== undefined && jwksUri !== undefined) throw invalidDocument('it must contain jwks or jwks_uri, not both')
  if (method === 'private_key_jwt' && jwks === undefined && jwksUri === undefined) {
    throw invalidDocument('private_key_jwt needs jwks or jwks_uri')
  }
  const keySet = jwks === undefined ? undefined : validateKeySet(jwks)
  return {
    tokenEndpointAuthMethod: method,
    ...(method === 'private_key_jwt' && keySet !== undefined && { jwks: keySet })
  }
}

/** Members of private and of symmetric keys (RFC 7518 sections 6.2.2, 6.3.2 and 6.4). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/**
 * Validates a JWK Set (RFC 7517 section 5) of public keys.
 * @throws OAuthError invalid_client
 */
export function validateKeySet (set: unknown): { keys: JWK[] } {
  const keys = (set as { keys?: unknown } | null)?.keys
  if (!Array.isArray(keys) || keys.length === 0 || !keys.every((key) => typeof key?.kty === 'string')) {
    throw invalidDocument('its key set must contain at least one key')
  }
  if (keys.some((key) => PRIVATE_MEMBERS.some((member) => Object.hasOwn(key, member)))) {
    throw invalidDocument('its key set must contain public keys only')
  }
  return { keys }
}

function readName (given: unknown): string {
  const name = typeof given === 'string' ? stripControlCharacters(given) : ''
  if (name === '' || name.length > MAX_NAME_LENGTH) {
    throw invalidDocument(`client_name must be a text of 1 to ${MAX_NAME_LENGTH} characters`)
  }
  return name
}

function readRedirectUris (given: unknown, schemes: readonly string[]): string[] {
  const uris = readStrings(given) ?? []
  if (uris.length === 0 || uris.length > MAX_REDIRECT_URIS) {
    throw invalidDocument(`redirect_uris must be a list of 1 to ${MAX_REDIRECT_URIS} URIs`)
  }
  try {
    return registrableRedirectUris(uris, schemes)
  } catch (err) {
    throw invalidDocument('its redirect_uris', err as OAuthError)
  }
}

/** A link for people must not be a script or a local file. */
function readWebPage (given: unknown): string | undefined {
  if (given === undefined) return undefined
  const acceptable = typeof given === 'string' && given.length <= MAX_URL_LENGTH && /^https?:\/\//i.test(given)
  if (!acceptable || !URL.canParse(given)) throw invalidDocument('client_uri must be an http(s) URL')
  return new URL(given).href
}

/** The grant types that Seed supports for such clients. */
const GRANT_TYPES = ['authorization_code', 'refresh_token', JWT_BEARER]

/** Keeps the grant types that Seed supports. The default is that of registration: both of a sign-in. */
function readGrantTypes (given: unknown): string[] {
  const types = readStrings(given ?? ['authorization_code', 'refresh_token'])
  if (!types?.includes('authorization_code')) throw invalidDocument('grant_types must include authorization_code')
  return types.filter((type) => GRANT_TYPES.includes(type))
}

function readApplicationType (given: unknown): 'native' | 'web' | undefined {
  if (given !== undefined && given !== 'native' && given !== 'web') {
    throw invalidDocument('application_type must be native or web')
  }
  return given
}

function readStrings (value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined
}
