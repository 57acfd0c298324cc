import { isJsonObject } from './description.ts'
import type { ApiDescription, Json } from './description.ts'
import { FORMAT_SAMPLES } from './formats.ts'
import { cleanText } from './texts.ts'

/** A JSON Schema of a description, reduced to what a tool's schema says: bounded, and without references. */
export type Shape = { description?: string } & (
  | { kind: 'unknown' | 'null' | 'boolean' }
  | { kind: 'string' | 'integer' | 'number', limits: Limits }
  | { kind: 'enum', values: readonly Scalar[] }
  | { kind: 'array', items: Shape, limits: Limits }
  | { kind: 'record', values: Shape }
  | { kind: 'object', properties: readonly Property[] }
  | { kind: 'union', members: readonly Shape[] }
)

export type Scalar = string | number | boolean
type Limits = Record<string, number | string>

export interface Property {
  name: string
  shape: Shape
  required: boolean
}

/** Inputs are validated as the description says; in what an API answers, only types, names and enums are. */
export type Direction = 'input' | 'output'

const MAX_DEPTH = 8
/** Schemas within a body, parameter or answer: where there are more, the deepest are left open. */
const MAX_SCHEMAS = 150
/** Schemas to visit before it is known that there are too many. */
const MAX_VISITS = 2_000
const MAX_PROPERTIES = 200
const MAX_MEMBERS = 12
const MAX_ENUM = 60
const MAX_DESCRIPTION = 300
const LIMITS = {
  string: ['minLength', 'maxLength'],
  integer: ['minimum', 'maximum'],
  number: ['minimum', 'maximum'],
  array: ['minItems', 'maxItems']
} as const
/** Larger lower limits are left to the API: tests send values that meet them. */
const MAX_MINIMUM: Record<string, number> = { minLength: 1_000, minItems: 3 }

/**
 * Converts a schema as deep as it stays readable.
 *
 * @throws ImportError for a reference that cannot be followed
 */
export function toShape (api: ApiDescription, direction: Direction, schema: unknown): Shape {
  const convert = (maxDepth: number): Shape => {
    const converter = new Converter(api, direction, maxDepth)
    const shape = converter.convert(schema)
    return converter.count <= MAX_SCHEMAS || maxDepth === 1 ? shape : convert(maxDepth - 1)
  }
  return convert(MAX_DEPTH)
}

class Converter {
  /** Schemas converted so far. */
  count = 0
  readonly #api: ApiDescription
  readonly #direction: Direction
  readonly #maxDepth: number
  /** The schemas around the one that is converted: one that contains itself is left open. */
  readonly #ancestors: Json[] = []

  constructor (api: ApiDescription, direction: Direction, maxDepth: number) {
    this.#api = api
    this.#direction = direction
    this.#maxDepth = maxDepth
  }

  convert (given: unknown): Shape {
    const schema = this.#api.resolve(given)
    // OpenAPI 3.1 allows a description beside a reference.
    const depth = this.#ancestors.length
    const description = describe({ ...schema, ...pickDescription(given) }, depth < 3 ? MAX_DESCRIPTION : 120)
    this.count++
    const isOpen = this.#ancestors.includes(schema) || depth > this.#maxDepth || this.count > MAX_VISITS
    if (isOpen) return { kind: 'unknown', ...description }
    this.#ancestors.push(schema)
    try {
      return { ...this.#convertNullable(schema), ...description }
    } finally {
      this.#ancestors.pop()
    }
  }

  #convertNullable (schema: Json): Shape {
    const types = Array.isArray(schema['type']) ? schema['type'] : [schema['type']]
    const values = Array.isArray(schema['enum']) ? schema['enum'] : undefined
    const isNullable = schema['nullable'] === true || (types.length > 1 && types.includes('null')) ||
      (values !== undefined && values.length > 1 && values.includes(null))
    const others = types.filter((type) => type !== 'null')
    const shapes = (others.length === 0 ? ['null'] : others).map((type) => this.#convertType(schema, type))
    return unite([...shapes, ...(isNullable ? [{ kind: 'null' } as const] : [])])
  }

  #convertType (schema: Json, type: unknown): Shape {
    if ('const' in schema) return toEnum([schema['const']])
    if (Array.isArray(schema['enum'])) return toEnum(schema['enum'])
    if (Array.isArray(schema['allOf'])) return this.#convertAllOf(schema, schema['allOf'], type)
    const alternatives = [schema['oneOf'], schema['anyOf']].find(Array.isArray) as unknown[] | undefined
    if (alternatives !== undefined) return this.#convertAlternatives(schema, alternatives, type)
    switch (type) {
      case 'null': case 'boolean': return { kind: type }
      case 'string': case 'integer': case 'number': return { kind: type, limits: this.#limitsOf(schema, type) }
      case 'array': return { kind: 'array', items: this.convert(schema['items']), limits: this.#limitsOf(schema, type) }
      case 'object': case undefined: return this.#convertObject(schema, type)
      default: return { kind: 'unknown' }
    }
  }

  #convertObject (schema: Json, type: unknown): Shape {
    const properties = this.#propertiesOf(schema)
    if (properties.length > 0) return { kind: 'object', properties }
    const values = schema['additionalProperties']
    if (isJsonObject(values)) return { kind: 'record', values: this.convert(values) }
    return type === 'object' ? { kind: 'record', values: { kind: 'unknown' } } : { kind: 'unknown' }
  }

  #propertiesOf (schema: Json): Property[] {
    if (!isJsonObject(schema['properties']) || Object.keys(schema['properties']).length > MAX_PROPERTIES) return []
    const required = Array.isArray(schema['required']) ? schema['required'] : []
    const properties: Property[] = []
    for (const [name, property] of Object.entries(schema['properties'])) {
      const { readOnly, writeOnly } = this.#api.resolve(property)
      const isLeftOut = this.#direction === 'input' ? readOnly === true : writeOnly === true
      // A schema cannot have a property of this name in every engine.
      if (isLeftOut || name === '__proto__') continue
      properties.push({ name, shape: this.convert(property), required: required.includes(name) })
    }
    return properties
  }

  /** Merges the properties of all parts; of other parts, the first that says something counts. */
  #convertAllOf (schema: Json, parts: readonly unknown[], type: unknown): Shape {
    const { allOf, ...rest } = schema
    const shapes = [...parts.map((part) => this.convert(part)), this.#convertType(rest, type)]
    const objects = shapes.filter((shape) => shape.kind === 'object')
    if (objects.length > 0) return { kind: 'object', properties: mergeProperties(objects, schema['required']) }
    const known = shapes.find((shape) => shape.kind !== 'unknown') ?? { kind: 'unknown' }
    const { description, ...shape } = known
    return shape as Shape
  }

  /** Alternatives that only say which properties are required are left to the API. */
  #convertAlternatives (schema: Json, alternatives: readonly unknown[], type: unknown): Shape {
    const { oneOf, anyOf, ...rest } = schema
    const base = this.#convertType(rest, type)
    const shapes = alternatives.slice(0, MAX_MEMBERS + 1).map((alternative) => this.convert(alternative))
    if (base.kind === 'object') {
      const merged = shapes.every((shape) => shape.kind === 'object' || shape.kind === 'unknown')
      if (!merged) return base
      const optional = shapes.flatMap((shape) => shape.kind === 'object' ? shape.properties : [])
        .map((property) => ({ ...property, required: false }))
      return { kind: 'object', properties: mergeProperties([{ properties: optional }, base], undefined) }
    }
    return unite(shapes)
  }

  #limitsOf (schema: Json, type: keyof typeof LIMITS): Limits {
    if (this.#direction === 'output') return {}
    const limits: Limits = {}
    for (const name of LIMITS[type]) {
      const value = schema[name]
      if (typeof value !== 'number' || !Number.isFinite(value) || value > (MAX_MINIMUM[name] ?? Infinity)) continue
      limits[name] = value
    }
    const [least, greatest] = LIMITS[type]
    // What contradicts itself is left to the API: no value would be valid.
    if (Number(limits[least]) > Number(limits[greatest])) return {}
    const { format } = schema
    if (type === 'string' && typeof format === 'string' && isFormatWithin(format, limits)) limits['format'] = format
    return limits
  }
}

/** Whether a format is checked: not where lengths contradict it, as in a UUID of 64 characters. */
function isFormatWithin (format: string, { minLength = 0, maxLength = Infinity }: Limits): boolean {
  const length = FORMAT_SAMPLES.get(format)?.length
  return length !== undefined && length >= Number(minLength) && length <= Number(maxLength)
}

function pickDescription (given: unknown): Json {
  return isJsonObject(given) && given['description'] !== undefined ? { description: given['description'] } : {}
}

/** Returns the description, with what is not in the shape: patterns are never run, as a stranger wrote them. */
function describe (schema: Json, max: number): { description?: string } {
  const parts = [
    cleanText(schema['description'] ?? schema['title'], max),
    ...(typeof schema['pattern'] === 'string' ? [`Pattern: ${cleanText(schema['pattern'], 80)}`] : []),
    ...(isScalar(schema['default']) ? [`Default: ${cleanText(String(schema['default']), 80)}`] : [])
  ].filter((part) => part !== '')
  return parts.length === 0 ? {} : { description: parts.join(' · ') }
}

function isScalar (value: unknown): value is Scalar {
  return ['string', 'boolean'].includes(typeof value) || (typeof value === 'number' && Number.isFinite(value))
}

function toEnum (values: readonly unknown[]): Shape {
  if (values.every((value) => value === null)) return { kind: 'null' }
  const scalars = values.filter(isScalar)
  const hasOthers = values.some((value) => value !== null && !isScalar(value))
  const types = new Set(scalars.map((value) => typeof value))
  if (hasOthers || types.size > 1) return { kind: 'unknown' }
  if (types.has('boolean') && scalars.length > 1) return { kind: 'boolean' }
  if (scalars.length <= MAX_ENUM) return { kind: 'enum', values: [...new Set(scalars)] }
  return { kind: types.has('string') ? 'string' : 'number', limits: {} }
}

function mergeProperties (
  objects: ReadonlyArray<{ properties: readonly Property[] }>, alsoRequired: unknown
): Property[] {
  const merged = new Map<string, Property>()
  const required = new Set<unknown>(Array.isArray(alsoRequired) ? alsoRequired : [])
  for (const property of objects.flatMap(({ properties }) => properties)) {
    if (property.required) required.add(property.name)
    merged.set(property.name, property)
  }
  return Array.from(merged.values(), (property) => ({ ...property, required: required.has(property.name) }))
}

/** Joins alternatives: each once, flat, and nothing at all if one of them is open. */
function unite (shapes: readonly Shape[]): Shape {
  const members = new Map<string, Shape>()
  for (const shape of shapes.flatMap((shape) => shape.kind === 'union' ? shape.members : [shape])) {
    members.set(JSON.stringify(shape), shape)
  }
  const [first, ...others] = members.values()
  if (first === undefined || members.size > MAX_MEMBERS) return { kind: 'unknown' }
  if (others.length === 0) return first
  return [first, ...others].some(({ kind }) => kind === 'unknown')
    ? { kind: 'unknown' }
    : { kind: 'union', members: [first, ...others] }
}
