import { ImportError } from './description.ts'
import type { ApiDescription, Json } from './description.ts'
import { planForm } from './form.ts'
import type { FormField } from './form.ts'
import type { Operation } from './operations.ts'
import { toShape } from './shape.ts'
import type { Property } from './shape.ts'
import { cleanText } from './texts.ts'

/** The body of the request, which is an argument of the tool. */
export interface BodyPlan extends Property {
  type: 'json' | 'form' | 'multipart'
  /** The media type of JSON that is another than application/json. */
  mediaType: string | undefined
  /** Fields of a form that are files, or are written in a style. */
  fields: ReadonlyMap<string, FormField>
}

export const JSON_TYPE = /^(application\/([\w.-]+\+)?json|\*\/\*|application\/\*)\s*(;|$)/i
const BODY_TYPES = [
  ['json', /^(application\/json|\*\/\*|application\/\*)\s*(;|$)/i],
  // Of the ways to write a change (RFC 7396, RFC 6902), the one that looks like what is changed.
  ['json', /^application\/merge-patch\+json\s*(;|$)/i],
  ['json', JSON_TYPE],
  ['form', /^application\/x-www-form-urlencoded\s*(;|$)/i],
  ['multipart', /^multipart\/form-data\s*(;|$)/i]
] as const

/**
 * Plans the body of an operation.
 *
 * @param note receives why the tool has no body, if it can do without
 * @throws ImportError for a body that is needed and cannot be sent
 */
export function planBody (
  api: ApiDescription, { operation, method }: Operation, note: (reason: string) => void
): BodyPlan | undefined {
  if (operation['requestBody'] === undefined) return undefined
  const body = api.resolve(operation['requestBody'])
  const required = body['required'] === true
  const content = body['content'] as Json
  const hasNoBody = method === 'GET' || method === 'HEAD'
  if (!required && hasNoBody) {
    note('its body is left out: such a request has none')
    return undefined
  }
  const found = findType(content)
  if (found === undefined || hasNoBody) {
    const types = Object.keys(content).join(' or ')
    throw new ImportError(`its body is ${types}: only JSON and forms are sent, and none with GET`)
  }
  const { type, named } = found
  const { schema, encoding } = content[named] as Json
  const shape = toShape(api, 'input', schema)
  const described = cleanText(body['description'], 300)
  const property = { name: 'body', shape: described === '' ? shape : { ...shape, description: described }, required }
  if (type === 'json') return { ...property, type, mediaType: otherJsonType(named), fields: new Map() }
  if (property.shape.kind === 'object') {
    const form = planForm(api, { type, schema, encoding, shape: property.shape })
    return { ...property, type, mediaType: undefined, ...form }
  }
  if (required) throw new ImportError('its body is a form without named fields')
  note('its body is left out: a form without named fields')
  return undefined
}

function findType (content: Json): { type: BodyPlan['type'], named: string } | undefined {
  for (const [type, pattern] of BODY_TYPES) {
    const named = Object.keys(content).find((name) => pattern.test(name))
    if (named !== undefined) return { type, named }
  }
  return undefined
}

/** Servers refuse a patch, or a type of their own, that is sent as application/json (RFC 9110 section 15.5.16). */
function otherJsonType (named: string): string | undefined {
  const type = named.split(';')[0]!.trim().toLowerCase()
  return type === 'application/json' || type.includes('*') ? undefined : type
}
