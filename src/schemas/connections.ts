import { Type } from 'typebox'
import { HtmlSchema, RedirectSchema } from './common.ts'

/** A form of the page /connections: the token of the session, and what the button is about. */
export const ConnectionsBodySchema = Type.Object({
  token: Type.String({ maxLength: 64 })
})

export const EndConnectionBodySchema = Type.Object({
  token: Type.String({ maxLength: 64 }),
  /** Id of a grant. */
  connection: Type.String({ pattern: '^[\\w-]{22}$' })
})

/** The form that begins a sign-in. It has no token: it changes nothing, and most browsers have no session yet. */
export const ConnectionsSignInBodySchema = Type.Object({
  /** Whether the person is to prove anew who they are. */
  again: Type.Optional(Type.Literal('yes'))
})

/** A cookie is the session; the other two say, where sent, whose page the form was on. */
export const ConnectionsHeadersSchema = Type.Object({
  cookie: Type.Optional(Type.String()),
  origin: Type.Optional(Type.String()),
  'sec-fetch-site': Type.Optional(Type.String())
})

export const ConnectionsResponses = {
  200: HtmlSchema,
  303: RedirectSchema,
  '4xx': HtmlSchema,
  '5xx': HtmlSchema
}
