/** Levels of JSON from outside. Deeper values overflow the stack of recursive code, such as JSON.stringify. */
export const MAX_DEPTH = 64

export function isDeeperThan (value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (levels === 0) return true
  if (Array.isArray(value)) return value.some((element) => isDeeperThan(element, levels - 1))
  for (const name in value) if (isDeeperThan((value as Record<string, unknown>)[name], levels - 1)) return true
  return false
}
