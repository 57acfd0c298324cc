import type { Selection } from '../config/selection-schema.ts'

/** Tells whether the operator has chosen something, by its name. */
export function isSelected (name: string, selection: Selection = true): boolean {
  return findRuleAgainstName(name, selection) === undefined
}

/** Finds the rule by which the operator does not offer something of this name. */
export function findRuleAgainstName (name: string, selection: Selection): RuleAgainst<string> | undefined {
  return findRuleAgainst(selection, (pattern) => matchesPattern(name, pattern))
}

/** The rule by which the operator does not offer something. `entry` is that of `deny`; `allow` has none that fits. */
export type RuleAgainst<Entry> = { list: 'deny', entry: Entry } | { list: 'allow' | 'all' }

/**
 * Finds the rule by which the operator does not offer something; `all` is `false` instead of lists.
 *
 * @param fits tells whether an entry of the lists means it
 * @returns undefined if it is offered
 */
export function findRuleAgainst<Entry> (
  selection: boolean | { allow?: Entry[], deny?: Entry[] }, fits: (entry: Entry) => boolean
): RuleAgainst<Entry> | undefined {
  if (typeof selection === 'boolean') return selection ? undefined : { list: 'all' }
  const { allow, deny = [] } = selection
  const denied = deny.find(fits)
  if (denied !== undefined) return { list: 'deny', entry: denied }
  return allow === undefined || allow.some(fits) ? undefined : { list: 'allow' }
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
