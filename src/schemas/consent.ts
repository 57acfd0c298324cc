import { Type } from 'typebox'
import { HtmlSchema, RedirectSchema } from './common.ts'

/** The answer of the consent page's form. */
export const ConsentBodySchema = Type.Object({
  consent: Type.String({ minLength: 1, maxLength: 128 }),
  decision: Type.Union([Type.Literal('approve'), Type.Literal('deny')])
})

/** Browsers that say where a request comes from are believed; the cookie is what counts. */
export const ConsentHeadersSchema = Type.Object({
  'sec-fetch-site': Type.Optional(Type.String())
})

export const ConsentResponses = {
  303: RedirectSchema,
  '4xx': HtmlSchema,
  '5xx': HtmlSchema
}
