import { Type } from 'typebox'
import { HtmlSchema, RedirectSchema } from './common.ts'

/** The form of the consent page: the sealed request, whose parameters are limited (authorize.ts), and the answer. */
export const ConsentBodySchema = Type.Object({
  consent: Type.String({ minLength: 1, maxLength: 32_768 }),
  decision: Type.Union([Type.Literal('approve'), Type.Literal('deny')])
})

/** The cookie proves that this browser was asked; Sec-Fetch-Site, where sent, that the page was Seed's own. */
export const ConsentHeadersSchema = Type.Object({
  cookie: Type.Optional(Type.String()),
  'sec-fetch-site': Type.Optional(Type.String())
})

export const ConsentResponses = {
  303: RedirectSchema,
  '4xx': HtmlSchema,
  '5xx': HtmlSchema
}
