import { Type } from 'typebox'
import type { Static } from 'typebox'

/** Protected resource metadata (RFC 9728 section 2). */
export const ProtectedResourceSchema = Type.Object({
  resource: Type.String(),
  resource_name: Type.String(),
  authorization_servers: Type.Array(Type.String(), { minItems: 1 }),
  bearer_methods_supported: Type.Array(Type.String()),
  scopes_supported: Type.Array(Type.String()),
  resource_documentation: Type.Optional(Type.String()),
  resource_policy_uri: Type.Optional(Type.String()),
  resource_tos_uri: Type.Optional(Type.String())
})
export type ProtectedResource = Static<typeof ProtectedResourceSchema>

/** Authorization server metadata (RFC 8414 section 2). */
export const AuthorizationServerSchema = Type.Object({
  issuer: Type.String(),
  authorization_endpoint: Type.String(),
  token_endpoint: Type.String(),
  registration_endpoint: Type.String(),
  revocation_endpoint: Type.String(),
  jwks_uri: Type.Optional(Type.String()),
  response_types_supported: Type.Array(Type.String()),
  response_modes_supported: Type.Array(Type.String()),
  grant_types_supported: Type.Array(Type.String()),
  authorization_grant_profiles_supported: Type.Optional(Type.Array(Type.String())),
  code_challenge_methods_supported: Type.Array(Type.String()),
  token_endpoint_auth_methods_supported: Type.Array(Type.String()),
  token_endpoint_auth_signing_alg_values_supported: Type.Array(Type.String()),
  revocation_endpoint_auth_methods_supported: Type.Array(Type.String()),
  revocation_endpoint_auth_signing_alg_values_supported: Type.Array(Type.String()),
  prompt_values_supported: Type.Array(Type.String()),
  acr_values_supported: Type.Optional(Type.Array(Type.String())),
  authorization_response_iss_parameter_supported: Type.Boolean(),
  client_id_metadata_document_supported: Type.Boolean(),
  scopes_supported: Type.Array(Type.String()),
  service_documentation: Type.Optional(Type.String()),
  op_policy_uri: Type.Optional(Type.String()),
  op_tos_uri: Type.Optional(Type.String())
})
export type AuthorizationServer = Static<typeof AuthorizationServerSchema>

/** OpenID provider metadata (OpenID Connect Discovery 1.0 section 3). */
export const OpenidConfigurationSchema = Type.Object({
  ...AuthorizationServerSchema.properties,
  jwks_uri: Type.String(),
  subject_types_supported: Type.Array(Type.String()),
  id_token_signing_alg_values_supported: Type.Array(Type.String())
})
export type OpenidConfiguration = Static<typeof OpenidConfigurationSchema>

/** A JWK Set (RFC 7517 section 5) of public keys for ES256. */
export const JwkSetSchema = Type.Object({
  keys: Type.Array(Type.Object({
    kty: Type.Literal('EC'),
    crv: Type.Literal('P-256'),
    x: Type.String(),
    y: Type.String(),
    kid: Type.String(),
    alg: Type.Literal('ES256'),
    use: Type.Literal('sig')
  }))
})
export type JwkSet = Static<typeof JwkSetSchema>
