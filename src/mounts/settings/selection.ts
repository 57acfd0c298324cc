import type { Tool } from '@modelcontextprotocol/client'
import type { Selection, ToolSelection } from '../../config/selection-schema.ts'
import { describeRule } from '../../selection/describe-rule.ts'
import { findRuleAgainstName, findUnmatchedPatterns } from '../../selection/name-selection.ts'
import { findRuleAgainstTool, namesOf } from '../../selection/tool-selection.ts'
import type { MountEntry } from './mount-schema.ts'
import { listOverrides } from './overrides.ts'

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
  const names = { tools: offers.tools.map(({ name }) => name), prompts: offers.prompts.map(({ name }) => name) }
  const uris = [...offers.resources.map(({ uri }) => uri), ...offers.templates.map(({ uriTemplate }) => uriTemplate)]
  const overrides = listOverrides({ tools, prompts }).filter(({ member, name }) => !names[member].includes(name))
  return [
    ...findUnmatchedPatterns('tools', namesOf(tools), names.tools),
    ...findUnmatchedPatterns('prompts', prompts, names.prompts),
    ...overrides.map(({ member, name }) => `${member}.overrides: ${name}`),
    ...findUnmatchedPatterns('resources', resources, uris)
  ]
}

/**
 * Finds the rule of the file by which a tool is not offered, by its name and by what its server says of it.
 *
 * @returns `tools.deny: delete_*`; undefined if the tool is offered
 */
export function describeRuleAgainstTool (tool: Tool, selection: ToolSelection = true): string | undefined {
  return describeRule('tools', findRuleAgainstTool(tool, selection))
}

/** Finds the rule of the file by which a prompt, a resource or a template is not offered, by its name or URI. */
export function describeRuleAgainstName (
  member: 'prompts' | 'resources', name: string, selection: Selection = true
): string | undefined {
  return describeRule(member, findRuleAgainstName(name, selection))
}
