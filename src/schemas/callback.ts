import { Type } from 'typebox'
import { HtmlSchema, RedirectSchema } from './common.ts'

/**
 * The provider's authorization response (RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207 section 2). Other parameters
 * (session_state, scope) are ignored. A repeated parameter is refused, unless only the log shows it.
 */
export const CallbackQuerySchema = Type.Object({
  state: Type.Optional(Type.String({ maxLength: 512 })),
  code: Type.Optional(Type.String({ maxLength: 8192 })),
  iss: Type.Optional(Type.String({ maxLength: 2048 })),
  error: Type.Optional(Type.String({ maxLength: 512 })),
  error_description: Type.Optional(Type.Unknown())
})

/** A cookie proves that this browser began the sign-in. */
export const CallbackHeadersSchema = Type.Object({
  cookie: Type.Optional(Type.String())
})

export const CallbackResponses = {
  303: RedirectSchema,
  '4xx': HtmlSchema,
  '5xx': HtmlSchema
}
