import { Type } from 'typebox'
import { OAuthErrorSchema } from './common.ts'

/** Logout request (OpenID Connect Back-Channel Logout 1.0 section 2.5). A repeated parameter is refused. */
export const LogoutBodySchema = Type.Object({
  logout_token: Type.Optional(Type.String({ minLength: 1, maxLength: 8192 }))
})

/** Sections 2.7 and 2.8. */
export const LogoutResponses = {
  200: Type.Object({}),
  '4xx': OAuthErrorSchema,
  '5xx': OAuthErrorSchema
}
