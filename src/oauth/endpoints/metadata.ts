import type { Endpoint } from '../../config/endpoints.ts'
import type { AuthorizationServer, OpenidConfiguration, ProtectedResource } from '../../schemas/well-known.ts'
import { ASSERTION_ALGORITHMS } from '../clients/authentication.ts'
import { PROMPT_VALUES } from './authorize.ts'

/** jwt-bearer with an ID-JAG for an assertion (draft-ietf-oauth-identity-assertion-authz-grant section 7). */
const ID_JAG_PROFILE = 'urn:ietf:params:oauth:grant-profile:id-jag'

/** The configuration that metadata is made from. No string in it comes from a request. */
export interface MetadataOptions {
  baseUrl: string
  /** All MCP endpoints; `/mcp` first. */
  endpoints: readonly Endpoint[]
  /** OIDC_SCOPES */
  scopes: readonly string[]
  /** Scopes that only some tools need. A client asks for them after a step-up challenge. */
  toolScopes: readonly string[]
  /** SERVER_TITLE and the URLs that go with it. */
  names: {
    title: string | undefined
    website: string | undefined
    policyUrl: string | undefined
    termsUrl: string | undefined
  }
  /** In broker mode Seed signs the tokens and answers the client's redirect URI itself. */
  mode: 'proxy' | 'broker'
  /** The grant types that the token endpoint has (supportedGrantTypes). */
  grantTypes: readonly string[]
  /** Other issuers whose access tokens for services are accepted at /mcp. */
  accessTokenIssuers: readonly string[]
  /** Whether jwt-bearer takes ID-JAGs, and not the tokens of workloads alone. */
  acceptsIdentityAssertions: boolean
  /** Methods with a secret that a client of OAUTH_CLIENTS uses. No client gets a secret by registering itself. */
  secretMethods: readonly string[]
}

export type ProtectedResourceOptions =
  Pick<MetadataOptions, 'baseUrl' | 'names' | 'accessTokenIssuers'>

/** The part of the metadata that changes while Seed runs. */
export interface MetadataState {
  /** True while client ID metadata documents can be fetched. */
  metadataDocuments: boolean
  /** `acr_values_supported` of the provider; undefined before it was discovered, or if it lists none. */
  acrValues: readonly string[] | undefined
}

/**
 * Returns the protected resource metadata of an MCP endpoint (RFC 9728 section 2). Clients request
 * `scopes_supported` unless a challenge names other scopes, so it omits `offline_access`: whether to ask for refresh
 * tokens is the client's choice. Seed is the first authorization server, as clients of people take the first.
 */
export function protectedResource (
  { resource, scopes, server: { title } }: Pick<Endpoint, 'resource' | 'scopes' | 'server'>,
  { baseUrl, names, accessTokenIssuers }: ProtectedResourceOptions
): ProtectedResource {
  return {
    resource,
    resource_name: title ?? 'Seed MCP server',
    authorization_servers: [baseUrl, ...accessTokenIssuers],
    bearer_methods_supported: ['header'],
    scopes_supported: baseScopes(scopes),
    ...(names.website !== undefined && { resource_documentation: names.website }),
    ...(names.policyUrl !== undefined && { resource_policy_uri: names.policyUrl }),
    ...(names.termsUrl !== undefined && { resource_tos_uri: names.termsUrl })
  }
}

/**
 * Returns the URL of the document about an issuer or a resource: the well-known name comes between host and path
 * (RFC 8414 section 3.1, RFC 9728 section 3.1).
 *
 * @param identifier an issuer or a resource without query, and without a slash at its end
 */
export function wellKnownUrl (name: string, identifier: string): string {
  const { origin } = new URL(identifier)
  return `${origin}/.well-known/${name}${identifier.slice(origin.length)}`
}

/** Returns the scopes of bearer challenges and of the protected resource metadata. */
export function baseScopes (scopes: readonly string[]): string[] {
  return scopes.filter((scope) => scope !== 'offline_access')
}

/**
 * Returns the authorization server metadata (RFC 8414 section 2). In proxy mode the provider answers the client's
 * redirect URI, so `iss` (RFC 9207) cannot be promised there.
 */
export function authorizationServer (
  options: MetadataOptions, { metadataDocuments, acrValues }: MetadataState
): AuthorizationServer {
  const { baseUrl, endpoints, scopes, toolScopes, mode, grantTypes, secretMethods, names } = options
  const authMethods = ['none', ...secretMethods, 'private_key_jwt']
  return {
    issuer: baseUrl,
    authorization_endpoint: `${baseUrl}/oauth/authorize`,
    token_endpoint: `${baseUrl}/oauth/token`,
    registration_endpoint: `${baseUrl}/oauth/register`,
    revocation_endpoint: `${baseUrl}/oauth/revoke`,
    revocation_endpoint_auth_methods_supported: authMethods,
    revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    ...(mode === 'broker' && { jwks_uri: `${baseUrl}/.well-known/jwks.json` }),
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: [...grantTypes],
    ...(options.acceptsIdentityAssertions && { authorization_grant_profiles_supported: [ID_JAG_PROFILE] }),
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: authMethods,
    token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    prompt_values_supported: PROMPT_VALUES,
    ...(acrValues !== undefined && { acr_values_supported: [...acrValues] }),
    authorization_response_iss_parameter_supported: mode === 'broker',
    client_id_metadata_document_supported: metadataDocuments,
    scopes_supported: [...new Set([...scopes, ...endpoints.flatMap((endpoint) => endpoint.scopes), ...toolScopes])],
    ...(names.website !== undefined && { service_documentation: names.website }),
    ...(names.policyUrl !== undefined && { op_policy_uri: names.policyUrl }),
    ...(names.termsUrl !== undefined && { op_tos_uri: names.termsUrl })
  }
}

/** The keys that sign access tokens: Seed's own in broker mode, otherwise the provider's. */
export interface TokenKeys {
  jwksUri: string
  algorithms: readonly string[]
}

/**
 * Returns the OpenID provider metadata (OpenID Connect Discovery 1.0 section 3), for clients that look there. Seed
 * issues no ID tokens; the members about them are required by the specification.
 */
export function openidConfiguration (
  options: MetadataOptions,
  state: MetadataState,
  keys: TokenKeys
): OpenidConfiguration {
  return {
    ...authorizationServer(options, state),
    jwks_uri: keys.jwksUri,
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: [...keys.algorithms]
  }
}
