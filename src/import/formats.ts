/** Formats that Seed checks as the specification of OpenAPI means them, each with a text of it. */
export const FORMAT_SAMPLES: ReadonlyMap<string, string> = new Map([
  ['date', '2026-01-31'],
  ['date-time', '2026-01-31T12:00:00Z'],
  ['email', 'ada@example.com'],
  ['ipv4', '192.0.2.1'],
  ['ipv6', '2001:db8::1'],
  ['uuid', '5ca1ab1e-0000-4000-8000-000000000000'],
  ['uri', 'https://example.com/']
])
