import type { Tool, ToolAnnotations } from '@modelcontextprotocol/client'
import { findUnmatchedPatterns, isSelected } from '../../selection/name-selection.ts'
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
    ...findUnmatchedPatterns('tools', tools, toolNames),
    ...overrides.filter((name) => !toolNames.includes(name)).map((name) => `tools.overrides: ${name}`),
    ...findUnmatchedPatterns('prompts', prompts, offers.prompts.map(({ name }) => name)),
    ...findUnmatchedPatterns('resources', resources, uris)
  ]
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
