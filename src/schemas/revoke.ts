import { Type } from 'typebox'
import type { Static } from 'typebox'
import { OAuthErrorSchema } from './common.ts'
import { ClientCredentialsSchema } from './token.ts'

/** Revocation request: RFC 7009 section 2.1. A repeated parameter is refused. */
export const RevokeBodySchema = Type.Object({
  ...ClientCredentialsSchema.properties,
  token: Type.Optional(Type.String({ minLength: 1, maxLength: 8192 })),
  token_type_hint: Type.Optional(Type.String())
})
export type RevokeBody = Static<typeof RevokeBodySchema>

/** RFC 7009 section 2.2: the content of the answer means nothing. */
export const RevokeResponses = {
  200: Type.Object({}),
  '4xx': OAuthErrorSchema,
  '5xx': OAuthErrorSchema
}
