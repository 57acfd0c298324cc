import { array, call, json, object } from './code.ts'
import type { Code } from './code.ts'
import type { Property, Shape } from './shape.ts'

/** Returns the TypeBox expression of a shape. */
export function toTypeBox (shape: Shape): Code {
  const options = optionsOf(shape)
  switch (shape.kind) {
    case 'unknown': return call('Type.Unknown', ...options)
    case 'null': return call('Type.Null', ...options)
    case 'boolean': return call('Type.Boolean', ...options)
    case 'string': return call('Type.String', ...options)
    case 'integer': return call('Type.Integer', ...options)
    case 'number': return call('Type.Number', ...options)
    case 'enum': return toEnum(shape.values, options)
    case 'array': return call('Type.Array', toTypeBox(shape.items), ...options)
    case 'record': return toRecord(shape.values, shape.description)
    case 'object': return toObject(shape.properties, options)
    case 'union': return call('Type.Union', array(shape.members.map(toTypeBox)), ...options)
  }
}

/** @param options of the schema, as an object */
export function toObject (properties: readonly Property[], options: readonly Code[] = []): Code {
  const members = properties.map(({ name, shape, required }) =>
    [name, required ? toTypeBox(shape) : call('Type.Optional', toTypeBox(shape))] as const)
  return call('Type.Object', object(members), ...options)
}

/**
 * An object with members of any name. `Type.Record` of `Type.String()` has the pattern `^.*$`, which names with a line
 * break do not match, so that their values could be of any form.
 */
function toRecord (values: Shape, description: string | undefined): Code {
  const isOpen = values.kind === 'unknown' && values.description === undefined
  return call('Type.Object', object({}), object({
    ...(description !== undefined && { description: json(description) }),
    additionalProperties: isOpen ? json(true) : toTypeBox(values)
  }))
}

function toEnum (values: readonly unknown[], options: readonly Code[]): Code {
  const [only] = values
  return values.length === 1
    ? call('Type.Literal', json(only), ...options)
    : call('Type.Enum', json(values), ...options)
}

function optionsOf (shape: Shape): Code[] {
  const { description } = shape
  const options = { ...(description !== undefined && { description }), ...('limits' in shape && shape.limits) }
  return Object.keys(options).length === 0 ? [] : [json(options)]
}
