import { Type } from 'typebox'
import type { Static } from 'typebox'
import { ClientIdSchema, HtmlSchema, RedirectSchema } from './common.ts'

/**
 * Authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3, RFC 8707 section 2, RFC 9470 section 4, OpenID
 * Connect Core 1.0 section 3.1.2.1). A repeated parameter parses to an array, so it is refused (RFC 6749 section 3.1).
 */
export const AuthorizeQuerySchema = Type.Object({
  client_id: ClientIdSchema,
  response_type: Type.Optional(Type.String()),
  response_mode: Type.Optional(Type.String()),
  redirect_uri: Type.Optional(Type.String({ maxLength: 2048 })),
  scope: Type.Optional(Type.String({ maxLength: 4096 })),
  state: Type.Optional(Type.String({ maxLength: 2048, pattern: '^[\\x20-\\x7e]*$' })),
  code_challenge: Type.Optional(Type.String()),
  code_challenge_method: Type.Optional(Type.String()),
  resource: Type.Optional(Type.String({ maxLength: 2048 })),
  nonce: Type.Optional(Type.String({ maxLength: 1024 })),
  prompt: Type.Optional(Type.String()),
  max_age: Type.Optional(Type.String({ pattern: '^\\d{1,9}$' })),
  acr_values: Type.Optional(Type.String({ maxLength: 1024, pattern: '^[\\x20-\\x7e]*$' })),
  login_hint: Type.Optional(Type.String({ maxLength: 320 })),
  request: Type.Optional(Type.String()),
  request_uri: Type.Optional(Type.String())
})
export type AuthorizeQuery = Static<typeof AuthorizeQuerySchema>

/** A cookie identifies a browser that has seen a consent page before. */
export const AuthorizeHeadersSchema = Type.Object({
  cookie: Type.Optional(Type.String())
})

/** 200 is the consent page. */
export const AuthorizeResponses = {
  200: HtmlSchema,
  302: RedirectSchema,
  '4xx': HtmlSchema,
  '5xx': HtmlSchema
}
