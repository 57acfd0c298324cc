import type { Selection } from '../config/selection-schema.ts'

/** Tells whether the operator has chosen something, by its name. */
export function isSelected (name: string, selection: Selection = true): boolean {
  if (typeof selection === 'boolean') return selection
  const { allow, deny = [] } = selection
  const matches = (pattern: string): boolean => matchesPattern(name, pattern)
  return (allow === undefined || allow.some(matches)) && !deny.some(matches)
}

/**
 * Finds the patterns that fit none of the names: `tools.deny: drop_*`.
 *
 * @param member where the selection is in its file
 */
export function findUnmatchedPatterns (member: string, selection: Selection, names: readonly string[]): string[] {
  if (typeof selection === 'boolean') return []
  const { allow = [], deny = [] } = selection
  return Object.entries({ allow, deny }).flatMap(([list, patterns]) => patterns
    .filter((pattern) => !names.some((name) => matchesPattern(name, pattern)))
    .map((pattern) => `${member}.${list}: ${pattern}`))
}

/** Compares without a regular expression, so that the time grows no faster than the lengths multiplied. */
export function matchesPattern (name: string, pattern: string): boolean {
  const [first = '', ...parts] = pattern.split('*')
  if (parts.length === 0) return name === pattern
  const last = parts.pop()!
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false
  let position = first.length
  for (const part of parts) {
    const found = name.indexOf(part, position)
    if (found === -1) return false
    position = found + part.length
  }
  return position <= name.length - last.length
}
