import type { Endpoint } from '../config/endpoints.ts'
import { mountOf } from '../define/definition.ts'
import type { Definition } from '../define/definition.ts'
import { describeRule } from './describe-rule.ts'
import { findRuleAgainstName, findUnmatchedPatterns, isSelected } from './name-selection.ts'
import { findRuleAgainstTool, namesOf } from './tool-selection.ts'
import { isUriSelected } from './uri-selection.ts'

type EndpointSelection = Endpoint['selection']

/** Returns what an MCP endpoint offers of all that the server has. */
export function selectDefinitions (
  all: readonly Definition[], endpoint: Pick<Endpoint, 'path' | 'selection'>
): Definition[] {
  return all.filter((definition) => isOffered(definition, endpoint))
}

/** Tells whether an MCP endpoint offers something: both its author and the operator have a say. */
export function isOffered (definition: Definition, endpoint: Pick<Endpoint, 'path' | 'selection'>): boolean {
  return describeRuleAgainst(definition, endpoint) === undefined
}

/**
 * Says why an MCP endpoint does not offer something, for the operator: `tools.deny: ops_*`.
 *
 * @returns undefined if the endpoint offers it
 */
export function describeRuleAgainst (
  definition: Definition, { path, selection }: Pick<Endpoint, 'path' | 'selection'>
): string | undefined {
  if (definition.endpoints?.includes(path) === false) return 'endpoints of its definition'
  const mount = mountOf(definition)
  if (mount !== undefined && !isSelected(mount, selection.mounts)) return 'mounts'
  const { tools, prompts, resources } = selection
  switch (definition.kind) {
    case 'tool': return describeRule('tools', findRuleAgainstTool(definition, tools))
    case 'prompt': return describeRule('prompts', findRuleAgainstName(definition.name, prompts))
    case 'resource': return describeRule('resources', findRuleAgainstName(definition.uri, resources))
    case 'resource-template': return describeRule('resources', findRuleAgainstName(definition.uriTemplate, resources))
  }
}

/** Returns the check of URIs that templates lead to; undefined where an endpoint offers all of them. */
export function createUriCheck (
  { resources }: EndpointSelection
): ((uri: string, uriTemplate: string) => boolean) | undefined {
  if (typeof resources === 'boolean') return undefined
  return (uri, uriTemplate) => isUriSelected(uri, uriTemplate, resources)
}

/** Finds the paths in the `endpoints` of definitions that are no MCP endpoint of this server. */
export function findUnknownEndpoints (all: readonly Definition[], endpoints: readonly Endpoint[]): string[] {
  const named = new Set(all.flatMap((definition) => definition.endpoints ?? []))
  return [...named].filter((path) => !endpoints.some((endpoint) => endpoint.path === path))
}

/** Finds the names in the selection of an MCP endpoint that fit nothing that the server has. */
export function findUnmatchedNames (all: readonly Definition[], selection: EndpointSelection): string[] {
  const { tools, prompts, resources } = selection
  const names = { tool: new Array<string>(), prompt: new Array<string>(), resource: new Array<string>() }
  for (const definition of all) {
    switch (definition.kind) {
      case 'tool': names.tool.push(definition.name); break
      case 'prompt': names.prompt.push(definition.name); break
      case 'resource': names.resource.push(definition.uri); break
      case 'resource-template': names.resource.push(definition.uriTemplate)
    }
  }
  return [
    ...findUnmatchedPatterns('tools', namesOf(tools), names.tool),
    ...findUnmatchedPatterns('prompts', prompts, names.prompt),
    ...findUnmatchedPatterns('resources', resources, names.resource)
  ]
}
