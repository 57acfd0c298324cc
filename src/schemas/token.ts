import { Type } from 'typebox'
import type { Static } from 'typebox'
import { ClientIdSchema, OAuthErrorSchema } from './common.ts'

/** Client authentication in the header (RFC 6749 section 2.3.1). */
export const TokenHeadersSchema = Type.Object({
  authorization: Type.Optional(Type.String())
})

/** Client authentication in the body (RFC 6749 section 2.3.1, RFC 7521 section 4.2). */
export const ClientCredentialsSchema = Type.Object({
  client_id: Type.Optional(ClientIdSchema),
  client_secret: Type.Optional(Type.String({ maxLength: 1024 })),
  client_assertion: Type.Optional(Type.String({ maxLength: 8192 })),
  client_assertion_type: Type.Optional(Type.String())
})
export type ClientCredentials = Static<typeof ClientCredentialsSchema>

/**
 * Token request (RFC 6749 sections 4.1.3 and 6, RFC 7523 section 2.1, RFC 7636 section 4.5, RFC 8707 section 2.2). A
 * repeated parameter is refused.
 */
export const TokenBodySchema = Type.Object({
  ...ClientCredentialsSchema.properties,
  grant_type: Type.String(),
  code: Type.Optional(Type.String({ minLength: 1, maxLength: 8192 })),
  redirect_uri: Type.Optional(Type.String({ maxLength: 2048 })),
  code_verifier: Type.Optional(Type.String()),
  refresh_token: Type.Optional(Type.String({ minLength: 1, maxLength: 8192 })),
  assertion: Type.Optional(Type.String({ minLength: 1, maxLength: 8192 })),
  scope: Type.Optional(Type.String({ maxLength: 4096 })),
  resource: Type.Optional(Type.String({ maxLength: 2048 }))
})
export type TokenBody = Static<typeof TokenBodySchema>

/** Token response (RFC 6749 section 5.1). */
export const TokenResponseSchema = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Optional(Type.Number()),
  refresh_token: Type.Optional(Type.String()),
  scope: Type.Optional(Type.String())
})
export type TokenResponse = Static<typeof TokenResponseSchema>

export const TokenResponses = {
  200: TokenResponseSchema,
  '4xx': OAuthErrorSchema,
  '5xx': OAuthErrorSchema
}
