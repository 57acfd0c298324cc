import type { ElicitRequestFormParams } from '@modelcontextprotocol/server'
import type { TObject } from 'typebox'

type RequestedSchema = ElicitRequestFormParams['requestedSchema']

/**
 * Converts a form into the schema that clients understand (MCP, elicitation, requested schema): an object whose fields
 * are strings, numbers, booleans, a choice, or several choices. TypeBox has its own ways to write choices.
 *
 * @throws Error, for the form's author, for any other field
 */
export function toRequestedSchema (form: TObject): RequestedSchema {
  // A copy without what JSON cannot hold, such as the hidden members of TypeBox.
  const { properties, required, title, description } = JSON.parse(JSON.stringify(form)) as FormSchema
  return {
    type: 'object',
    ...(title !== undefined && { title }),
    ...(description !== undefined && { description }),
    properties: Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, toField(name, field)])),
    ...(required !== undefined && { required })
  } as RequestedSchema
}

interface FormSchema {
  properties: Record<string, Field>
  required?: string[]
  title?: string
  description?: string
}

interface Choice {
  const?: unknown
  title?: string
}

interface Field extends Choice {
  type?: string
  enum?: unknown[]
  anyOf?: Choice[]
  oneOf?: Choice[]
  items?: Field
}

function toField (name: string, field: Field): object {
  const { type, anyOf, items, ...rest } = field
  if (type === 'array' && items !== undefined) return { ...rest, type, items: toChoices(name, items, 'anyOf') }
  const isText = type === 'string' && anyOf === undefined
  return isText || ['number', 'integer', 'boolean'].includes(String(type)) ? field : toChoices(name, field, 'oneOf')
}

/** @param keyword for choices with titles: `oneOf` for a field, `anyOf` for the items of a list */
function toChoices (name: string, field: Field, keyword: 'oneOf' | 'anyOf'): object {
  const { anyOf, oneOf, enum: values, const: literal, ...rest } = field
  const choices = anyOf ?? oneOf ?? (values ?? [literal]).map((value): Choice => ({ const: value }))
  if (!choices.every((choice) => typeof choice.const === 'string')) {
    throw new Error(`A form cannot have the field ${name}: use a string, number, boolean, or choice of strings`)
  }
  if (choices.every(({ title }) => title === undefined)) {
    return { ...rest, type: 'string', enum: choices.map(({ const: value }) => value) }
  }
  return {
    ...rest,
    // Items of a list with titled choices have no type of their own.
    ...(keyword === 'oneOf' && { type: 'string' }),
    [keyword]: choices.map(({ const: value, title }) => ({ const: value, title: title ?? value }))
  }
}
