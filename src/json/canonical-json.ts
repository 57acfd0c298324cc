/** Serializes a JSON value with sorted members: equal values give equal texts, whatever order their members are in. */
export function canonicalJson (value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => {
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member
    return Object.fromEntries(Object.entries(member).sort(([a], [b]) => a < b ? -1 : 1))
  })
}
