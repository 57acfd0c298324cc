import type { ToolEntry } from '../config/selection-schema.ts'
import type { RuleAgainst } from './name-selection.ts'

/**
 * Names the rule by which something is not offered, for the operator: `tools.deny: delete_*`.
 *
 * @param member where the choice is in its file
 * @returns undefined where there is no such rule
 */
export function describeRule (member: string, rule: RuleAgainst<ToolEntry> | undefined): string | undefined {
  switch (rule?.list) {
    case undefined: return undefined
    case 'all': return `${member}: false`
    case 'allow': return `not in ${member}.allow`
    case 'deny': return `${member}.deny: ${describeEntry(rule.entry)}`
  }
}

function describeEntry (entry: ToolEntry): string {
  if (typeof entry === 'string') return entry
  return `{ ${Object.entries(entry).map(([hint, value]) => `${hint}: ${value}`).join(', ')} }`
}
