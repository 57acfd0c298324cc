import type { ElicitRequestFormParams } from '@modelcontextprotocol/server'
import type { TObject } from 'typebox'

/**
 * A form as clients know it (MCP, elicitation, requested schema): an object of plain fields, each a string, a number, a
 * boolean, a choice or several choices. TypeBox writes choices in ways of its own; here they get the one that clients
 * read.
 *
 * @throws Error for its author, where a field is none of these
 */
export function toRequestedSchema (form: TObject): ElicitRequestFormParams['requestedSchema'] {
  const { properties, required, title, description } = JSON.parse(JSON.stringify(form)) as { properties: Record<string, Field>, required?: string[], title?: string, description?: string }
  return {
    type: 'object',
    ...(title !== undefined && { title }),
    ...(description !== undefined && { description }),
    properties: Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, toField(name, field)])),
    ...(required !== undefined && { required })
  } as ElicitRequestFormParams['requestedSchema']
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
  if (type === 'array' && items !== undefined) return { ...rest, type, items: toChoice(name, items, 'anyOf') }
  if (['number', 'integer', 'boolean'].includes(String(type)) || (type === 'string' && anyOf === undefined)) return field
  return toChoice(name, field, 'oneOf')
}

/** @param titled the keyword of choices that have titles: `oneOf` for one, `anyOf` for several */
function toChoice (name: string, { anyOf, oneOf, enum: values, const: only, ...rest }: Field, titled: 'oneOf' | 'anyOf'): object {
  const choices = anyOf ?? oneOf ?? (values ?? [only]).map((value): Choice => ({ const: value }))
  if (!choices.every((choice) => typeof choice.const === 'string')) {
    throw new Error(`A form cannot have ${name} as it is: clients know strings, numbers, booleans, and choices of strings`)
  }
  // Those of several choices have no type of their own.
  const own = titled === 'oneOf' ? { ...rest, type: 'string' } : rest
  return choices.some(({ title }) => title !== undefined)
    ? { ...own, [titled]: choices.map(({ const: value, title }) => ({ const: value, title: title ?? value })) }
    : { ...rest, type: 'string', enum: choices.map(({ const: value }) => value) }
}
