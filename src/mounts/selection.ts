import type { Tool, ToolAnnotations } from '@modelcontextprotocol/client'
import type { Selection, ToolSelection } from './mount-schema.ts'

/** Tells whether the operator offers something of a mounted server, by its name there. */
export function isSelected (name: string, selection: Selection | ToolSelection = true): boolean {
  if (typeof selection === 'boolean') return selection
  const { allow, deny = [] } = selection
  const matches = (pattern: string): boolean => matchesPattern(name, pattern)
  return (allow === undefined || allow.some(matches)) && !deny.some(matches)
}

/** The meaning of annotations that are absent (MCP, ToolAnnotations). */
const DEFAULT_HINTS = { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true }

/** Tells whether the operator offers a tool, by its name and by what its server says of it. */
export function isToolSelected ({ name, annotations = {} }: Tool, selection: ToolSelection = true): boolean {
  if (!isSelected(name, selection)) return false
  const wanted = typeof selection === 'boolean' ? {} : selection.annotations ?? {}
  return Object.entries(wanted).every(([hint, value]) =>
    (annotations[hint as keyof ToolAnnotations] ?? DEFAULT_HINTS[hint as keyof typeof DEFAULT_HINTS]) === value)
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
