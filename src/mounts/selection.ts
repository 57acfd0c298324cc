import type { Tool, ToolAnnotations } from '@modelcontextprotocol/client'
import type { Selection } from '../config/selection-schema.ts'
import type { MountEntry, ToolSelection } from './mount-schema.ts'

/** The names by which an operator chooses. */
interface OfferedNames {
  tools: ReadonlyArray<{ name: string }>
  prompts: ReadonlyArray<{ name: string }>
  resources: ReadonlyArray<{ uri: string }>
  templates: ReadonlyArray<{ uriTemplate: string }>
}

/** Finds the names of `allow`, `deny` and `overrides` that fit nothing of a server: a tool may have been renamed. */
export function findUnmatchedNames (
  { tools = true, prompts = true, resources = true }: Pick<MountEntry, 'tools' | 'prompts' | 'resources'>,
  offers: OfferedNames
): string[] {
  const toolNames = offers.tools.map(({ name }) => name)
  const uris = [...offers.resources.map(({ uri }) => uri), ...offers.templates.map(({ uriTemplate }) => uriTemplate)]
  const overrides = typeof tools === 'object' ? Object.keys(tools.overrides ?? {}) : []
  return [
    ...unmatchedPatterns('tools', tools, toolNames),
    ...overrides.filter((name) => !toolNames.includes(name)).map((name) => `tools.overrides: ${name}`),
    ...unmatchedPatterns('prompts', prompts, offers.prompts.map(({ name }) => name)),
    ...unmatchedPatterns('resources', resources, uris)
  ]
}

function unmatchedPatterns (member: string, selection: Selection | ToolSelection, names: readonly string[]): string[] {
  if (typeof selection === 'boolean') return []
  const { allow = [], deny = [] } = selection
  return Object.entries({ allow, deny }).flatMap(([list, patterns]) => patterns
    .filter((pattern) => !names.some((name) => matchesPattern(name, pattern)))
    .map((pattern) => `${member}.${list}: ${pattern}`))
}

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
