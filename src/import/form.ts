import { ImportError, isJsonObject } from './description.ts'
import type { ApiDescription, Json } from './description.ts'
import type { Property, Shape } from './shape.ts'

/** A form, as a media type of a description has it. */
export interface FormDescription {
  type: 'form' | 'multipart'
  schema: unknown
  /** Encoding Objects by field (OpenAPI 3.1, 4.8.15). */
  encoding: unknown
  shape: Extract<Shape, { kind: 'object' }>
}

export interface FormField {
  /** The type of a file. */
  file?: string
  style?: string
  explode?: boolean
}

const STYLES = ['form', 'spaceDelimited', 'pipeDelimited', 'deepObject']
const MEDIA_TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/
const BASE64 = 'The file in base64'
const MAX_PARTS = 10

/**
 * Plans the fields of a form. Files are base64 in the tool's input.
 *
 * @throws ImportError for a field that cannot be written
 */
export function planForm (
  api: ApiDescription, { type, schema, encoding, shape }: FormDescription
): { shape: Shape, fields: ReadonlyMap<string, FormField> } {
  const encodings = isJsonObject(encoding) ? encoding : {}
  const fields = new Map<string, FormField>()
  const properties = shape.properties.map((property): Property => {
    const { name } = property
    const given = isJsonObject(encodings[name]) ? encodings[name] : {}
    const items = type === 'multipart' ? filesOf(api, findProperty(api, schema, name)) : undefined
    const field = items === undefined ? styleOf(name, given, property.shape) : { file: typeOf(given, items) }
    if (field !== undefined) fields.set(name, field)
    return items === undefined ? property : { ...property, shape: describeFiles(property.shape) }
  })
  return { shape: { ...shape, properties }, fields }
}

/** Returns the schema of a property, wherever in the parts of a schema it is. */
function findProperty (api: ApiDescription, given: unknown, name: string, depth = 0): Json {
  const { properties, allOf } = api.resolve(given)
  if (isJsonObject(properties) && name in properties) return api.resolve(properties[name])
  if (!Array.isArray(allOf) || depth > MAX_PARTS) return {}
  for (const part of allOf) {
    const found = findProperty(api, part, name, depth + 1)
    if (Object.keys(found).length > 0) return found
  }
  return {}
}

/** Returns the schema of the file that a field is, or of each if it is a list of files. */
function filesOf (api: ApiDescription, schema: Json): Json | undefined {
  if (schema['type'] === 'array') return filesOf(api, { ...api.resolve(schema['items']), type: 'string' })
  const isText = schema['type'] === 'string' || schema['type'] === undefined
  const isFile = schema['format'] === 'binary' ||
    (schema['contentMediaType'] !== undefined && schema['contentEncoding'] === undefined)
  return isText && isFile ? schema : undefined
}

/** Returns the media type of a file: the one that the description names, if it is a single one. */
function typeOf (encoding: Json, schema: Json): string {
  const given = String(encoding['contentType'] ?? schema['contentMediaType'])
  return MEDIA_TYPE.test(given) ? given.toLowerCase() : 'application/octet-stream'
}

function describeFiles (shape: Shape): Shape {
  const { description = '' } = shape
  const described = description === '' ? BASE64 : `${description} · ${BASE64}`
  return shape.kind === 'array'
    ? { ...shape, items: { kind: 'string', limits: {} }, description: described }
    : { kind: 'string', limits: {}, description: described }
}

/** Returns the style of a field, if one is named and it makes a difference: not for text, numbers and the like. */
function styleOf (name: string, { style, explode, contentType }: Json, shape: Shape): FormField | undefined {
  if (['string', 'integer', 'number', 'boolean', 'enum', 'null'].includes(shape.kind)) return undefined
  if (style === undefined && explode === undefined) {
    const isJson = contentType === undefined || /[/+]json\b/i.test(String(contentType))
    if (isJson || shape.kind === 'array') return undefined
    throw new ImportError(`its field ${name} is ${String(contentType)}: only JSON and files are sent in forms`)
  }
  const named = String(style ?? 'form')
  if (!STYLES.includes(named)) throw new ImportError(`its field ${name} has the style ${named}, which is not supported`)
  return {
    ...(named !== 'form' && { style: named }),
    ...(named !== 'deepObject' && { explode: typeof explode === 'boolean' ? explode : named === 'form' })
  }
}
