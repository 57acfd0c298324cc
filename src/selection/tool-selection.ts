import type { AnnotationsEntry, Selection, ToolEntry, ToolSelection } from '../config/selection-schema.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { findRuleAgainst, matchesPattern } from './name-selection.ts'
import type { RuleAgainst } from './name-selection.ts'

/** A tool of this server, or as a mounted server describes it. */
interface ChosenTool {
  name: string
  annotations?: ToolDefinition['annotations'] | undefined
}

/** Finds the rule by which the operator does not offer a tool, by its name and annotations. */
export function findRuleAgainstTool (tool: ChosenTool, selection: ToolSelection): RuleAgainst<ToolEntry> | undefined {
  return findRuleAgainst<ToolEntry>(selection, (entry) => typeof entry === 'string'
    ? matchesPattern(tool.name, entry)
    : hasAnnotations(tool, entry))
}

function hasAnnotations ({ annotations = {} }: ChosenTool, wanted: AnnotationsEntry): boolean {
  const hints = withDefaults(annotations)
  return Object.entries(wanted).every(([hint, value]) => hints[hint as keyof AnnotationsEntry] === value)
}

/** A tool that only reads destroys nothing, and may be repeated: both hints are about others (MCP, ToolAnnotations). */
function withDefaults ({
  readOnlyHint = false, destructiveHint = !readOnlyHint, idempotentHint = readOnlyHint, openWorldHint = true
}: NonNullable<ChosenTool['annotations']>): Required<AnnotationsEntry> {
  return { readOnlyHint, destructiveHint, idempotentHint, openWorldHint }
}

/** Returns the part of a choice that goes by name. */
export function namesOf (selection: ToolSelection): Selection {
  if (typeof selection === 'boolean') return selection
  const { allow = [], deny = [] } = selection
  const isName = (entry: ToolEntry): entry is string => typeof entry === 'string'
  return { allow: allow.filter(isName), deny: deny.filter(isName) }
}
