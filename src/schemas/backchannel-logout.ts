import { Type } from 'typebox'
import { OAuthErrorSchema } from './common.ts'

/** OpenID Connect Back-Channel Logout 1.0 section 2.5. */
export const LogoutBodySchema = Type.Object({
  logout_token: Type.Optional(Type.String({ minLength: 1, maxLength: 8192 }))
})

export const LogoutResponses = {
  200: Type.Object({}),
  '4xx': OAuthErrorSchema,
  '5xx': OAuthErrorSchema
}
