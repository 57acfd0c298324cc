import { ASSERTION_ALGORITHMS } from '../clients/authentication.ts'
import type { AuthorizationServer, OpenidConfiguration, ProtectedResource } from '../../schemas/well-known.ts'

/** The documents by which clients find everything. All strings come from configuration, never from a request. */
export interface MetadataOptions {
  baseUrl: string
  resource: string
  /** OIDC_SCOPES */
  scopes: readonly string[]
  /** Scopes that only some tools need: clients are told of them when they do. */
  toolScopes: readonly string[]
  /** broker: Seed answers the client's redirect URI itself, and signs the tokens. */
  mode: 'proxy' | 'broker'
}

/** What may change while Seed runs. */
export interface MetadataState {
  /** Client ID metadata documents can be fetched now. */
  clientDocuments: boolean
}

/**
 * Protected resource metadata (RFC 9728). `scopes_supported` is what a client asks for when nothing told it more,
 * so it leaves out `offline_access`, which is the client's own affair.
 */
export function protectedResource ({ baseUrl, resource, scopes }: MetadataOptions): ProtectedResource {
  return {
    resource,
    resource_name: 'Seed MCP server',
    authorization_servers: [baseUrl],
    bearer_methods_supported: ['header'],
    scopes_supported: baseScopes(scopes)
  }
}

/** The scopes of the challenge and of the resource's metadata. */
export function baseScopes (scopes: readonly string[]): string[] {
  return scopes.filter((scope) => scope !== 'offline_access')
}

const AUTH_METHODS = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt']

/**
 * Authorization server metadata (RFC 8414 section 2). In proxy mode the provider itself answers the client's redirect
 * URI, so RFC 9207 `iss` cannot be promised there.
 */
export function authorizationServer ({ baseUrl, scopes, toolScopes, mode }: MetadataOptions, { clientDocuments }: MetadataState): AuthorizationServer {
  return {
    issuer: baseUrl,
    authorization_endpoint: `${baseUrl}/oauth/authorize`,
    token_endpoint: `${baseUrl}/oauth/token`,
    registration_endpoint: `${baseUrl}/oauth/register`,
    revocation_endpoint: `${baseUrl}/oauth/revoke`,
    revocation_endpoint_auth_methods_supported: AUTH_METHODS,
    revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    ...(mode === 'broker' && { jwks_uri: `${baseUrl}/.well-known/jwks.json` }),
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: ['authorization_code', 'refresh_token'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: AUTH_METHODS,
    token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    prompt_values_supported: ['login', 'consent', 'select_account'],
    authorization_response_iss_parameter_supported: mode === 'broker',
    client_id_metadata_document_supported: clientDocuments,
    scopes_supported: [...scopes, ...toolScopes]
  }
}

/**
 * The same as an OpenID configuration, for clients that look there.
 * @param keys those of the access tokens: Seed's own, or in proxy mode the provider's
 */
export function openidConfiguration (options: MetadataOptions, state: MetadataState, keys: { jwksUri: string, algorithms: readonly string[] }): OpenidConfiguration {
  return {
    ...authorizationServer(options, state),
    jwks_uri: keys.jwksUri,
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: [...keys.algorithms]
  }
}
