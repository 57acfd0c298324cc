import type { Shape } from './shape.ts'

const FORMAT_SAMPLES: Record<string, string> = {
  date: '2026-01-31',
  'date-time': '2026-01-31T12:00:00Z',
  email: 'ada@example.com',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  uuid: '5ca1ab1e-0000-4000-8000-000000000000',
  uri: 'https://example.com/'
}

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
    case 'array': return Array.from({ length: Number(shape.limits['minItems'] ?? 1) }, () => sampleOf(shape.items))
    case 'record': return {}
    case 'object': return Object.fromEntries(shape.properties.filter(({ required }) => required)
      .map(({ name, shape }) => [name, sampleOf(shape)]))
    case 'union': return sampleOf(shape.members[0]!)
  }
}

function sampleText ({ format, minLength = 0, maxLength = Infinity }: Record<string, number | string>): string {
  if (format !== undefined) return FORMAT_SAMPLES[format]!
  return 'sample'.padEnd(Number(minLength), 'x').slice(0, Number(maxLength))
}

function sampleNumber (
  { minimum = -Infinity, maximum = Infinity }: Record<string, number | string>, isInteger: boolean
): number {
  const [least, greatest] = [Number(minimum), Number(maximum)]
  if (least > 1) return isInteger ? Math.ceil(least) : least
  return isInteger ? Math.floor(Math.min(1, greatest)) : Math.min(1, greatest)
}
