import { FORMAT_SAMPLES } from './formats.ts'
import type { Shape } from './shape.ts'

/** Returns a value that a shape accepts, for tests. Optional properties are left out. */
export function sampleOf (shape: Shape): unknown {
  switch (shape.kind) {
    case 'unknown': return 'sample'
    case 'null': return null
    case 'boolean': return true
    case 'string': return sampleText(shape.limits)
    case 'integer': return sampleNumber(shape.limits, true)
    case 'number': return sampleNumber(shape.limits, false)
    case 'enum': return shape.values[0]
    case 'array': return sampleList(shape)
    case 'record': return {}
    case 'object': return Object.fromEntries(shape.properties.filter(({ required }) => required)
      .map(({ name, shape }) => [name, sampleOf(shape)]))
    case 'union': return sampleOf(shape.members[0]!)
  }
}

function sampleList ({ items, limits: { minItems, maxItems = 1 } }: Extract<Shape, { kind: 'array' }>): unknown[] {
  return Array.from({ length: Number(minItems ?? Math.min(1, Number(maxItems))) }, () => sampleOf(items))
}

function sampleText ({ format, minLength = 0, maxLength = Infinity }: Record<string, number | string>): string {
  if (format !== undefined) return FORMAT_SAMPLES.get(String(format))!
  return 'sample'.padEnd(Number(minLength), 'x').slice(0, Number(maxLength))
}

function sampleNumber (
  { minimum = -Infinity, maximum = Infinity }: Record<string, number | string>, isInteger: boolean
): number {
  const [least, greatest] = [Number(minimum), Number(maximum)]
  if (least > 1) return isInteger ? Math.ceil(least) : least
  return isInteger ? Math.floor(Math.min(1, greatest)) : Math.min(1, greatest)
}
