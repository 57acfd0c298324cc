import type { PromptDefinition } from './prompt.ts'
import type { ResourceDefinition, ResourceTemplateDefinition } from './resource.ts'
import type { ToolDefinition } from './tool.ts'

/** Anything that this server can offer. */
export type Definition = ToolDefinition | PromptDefinition | ResourceDefinition | ResourceTemplateDefinition

const KINDS: ReadonlySet<unknown> = new Set<Definition['kind']>(['tool', 'prompt', 'resource', 'resource-template'])

/** Whether a value is what one of the `define…` functions gave. */
export function isDefinition (value: unknown): value is Definition {
  return typeof value === 'object' && value !== null && KINDS.has((value as { kind?: unknown }).kind)
}

/** What to call it in a message to its author. */
export function describeDefinition (definition: Definition): string {
  switch (definition.kind) {
    case 'tool': return `Tool ${JSON.stringify(definition.name)}`
    case 'prompt': return `Prompt ${JSON.stringify(definition.name)}`
    case 'resource': return `Resource ${JSON.stringify(definition.uri)}`
    case 'resource-template': return `Resource template ${JSON.stringify(definition.uriTemplate)}`
  }
}
