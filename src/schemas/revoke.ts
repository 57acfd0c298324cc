import { Type } from 'typebox'
import type { Static } from 'typebox'
import { OAuthErrorSchema } from './common.ts'
import { ClientCredentialsSchema, TokenHeadersSchema } from './token.ts'

/** Clients authenticate as at the token endpoint (RFC 7009 section 2.1). */
export const RevokeHeadersSchema = TokenHeadersSchema

/** Revocation request (RFC 7009 section 2.1). A repeated parameter is refused. */
export const RevokeBodySchema = Type.Object({
  ...ClientCredentialsSchema.properties,
  token: Type.Optional(Type.String({ minLength: 1, maxLength: 8192 })),
  token_type_hint: Type.Optional(Type.String())
})
export type RevokeBody = Static<typeof RevokeBodySchema>

/** Clients ignore the body of a 200 (RFC 7009 section 2.2). */
export const RevokeResponses = {
  200: Type.Object({}),
  '4xx': OAuthErrorSchema,
  '5xx': OAuthErrorSchema
}
