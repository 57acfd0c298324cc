import { Type } from 'typebox'
import type { Static } from 'typebox'
import { OAuthErrorSchema } from './common.ts'

/**
 * Client metadata (RFC 7591 section 2, and `application_type` of OpenID Connect Dynamic Client Registration 1.0
 * section 2). Other members are neither stored nor returned.
 */
export const RegisterBodySchema = Type.Object({
  redirect_uris: Type.Array(Type.String({ minLength: 1, maxLength: 2048 }), { minItems: 1, maxItems: 10 }),
  client_name: Type.Optional(Type.String({ maxLength: 200 })),
  client_uri: Type.Optional(Type.String({ maxLength: 2048 })),
  logo_uri: Type.Optional(Type.String({ maxLength: 2048 })),
  tos_uri: Type.Optional(Type.String({ maxLength: 2048 })),
  policy_uri: Type.Optional(Type.String({ maxLength: 2048 })),
  grant_types: Type.Optional(Type.Array(Type.String(), { maxItems: 20 })),
  response_types: Type.Optional(Type.Array(Type.String(), { maxItems: 20 })),
  token_endpoint_auth_method: Type.Optional(Type.String()),
  application_type: Type.Optional(Type.String()),
  scope: Type.Optional(Type.String({ maxLength: 4096 })),
  software_statement: Type.Optional(Type.Unknown())
})
export type RegisterBody = Static<typeof RegisterBodySchema>

/** Client information response (RFC 7591 section 3.2.1). */
export const RegisterResponseSchema = Type.Object({
  client_id: Type.String(),
  client_id_issued_at: Type.Integer(),
  redirect_uris: Type.Array(Type.String()),
  client_name: Type.Optional(Type.String()),
  client_uri: Type.Optional(Type.String()),
  grant_types: Type.Array(Type.String()),
  response_types: Type.Array(Type.String()),
  token_endpoint_auth_method: Type.Literal('none'),
  application_type: Type.Union([Type.Literal('native'), Type.Literal('web')]),
  scope: Type.Optional(Type.String())
})
export type RegisteredClient = Static<typeof RegisterResponseSchema>

export const RegisterResponses = {
  201: RegisterResponseSchema,
  '4xx': OAuthErrorSchema,
  '5xx': OAuthErrorSchema
}
