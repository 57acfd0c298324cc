import type { AuthorizationServer, OpenidConfiguration, ProtectedResource } from '../schemas/well-known.ts'

/** The documents by which clients find everything. All strings come from configuration, never from a request. */
export interface MetadataOptions {
  baseUrl: string
  resource: string
  /** OIDC_SCOPES */
  scopes: readonly string[]
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

/**
 * Authorization server metadata (RFC 8414). In proxy mode the provider itself answers the client's redirect URI,
 * so RFC 9207 `iss` cannot be promised; client metadata documents are not advertised before they work.
 */
export function authorizationServer ({ baseUrl, scopes }: MetadataOptions): AuthorizationServer {
  return {
    issuer: baseUrl,
    authorization_endpoint: `${baseUrl}/oauth/authorize`,
    token_endpoint: `${baseUrl}/oauth/token`,
    registration_endpoint: `${baseUrl}/oauth/register`,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: ['authorization_code', 'refresh_token'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['none'],
    scopes_supported: [...scopes]
  }
}

/** The same as an OpenID configuration, for clients that look there. The keys are the provider's: its tokens are the access tokens. */
export function openidConfiguration (options: MetadataOptions, jwksUri: string, algorithms: readonly string[]): OpenidConfiguration {
  return {
    ...authorizationServer(options),
    jwks_uri: jwksUri,
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: [...algorithms]
  }
}
