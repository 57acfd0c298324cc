import type { CacheHint } from '@modelcontextprotocol/server'
import type { PromptDefinition } from './prompt.ts'
import type { ResourceDefinition, ResourceTemplateDefinition } from './resource.ts'
import type { ToolDefinition } from './tool.ts'

/** Anything that a server can offer: what the `define…` functions return. */
export type Definition = ToolDefinition | PromptDefinition | ResourceDefinition | ResourceTemplateDefinition

/** The files of loaded definitions. Those that a test or an embedding program hands over have none. */
const files = new WeakMap<Definition, string>()

/** Remembers the file or package that a definition was loaded from: the log names it when a handler fails. */
export function recordFile (definition: Definition, file: string): void {
  files.set(definition, file)
}

export function fileOf (definition: Definition): string | undefined {
  return files.get(definition)
}

const mounts = new WeakMap<Definition, string>()

/** Remembers the name of the mounted server that a definition was made of. */
export function recordMount (definition: Definition, mount: string): void {
  mounts.set(definition, mount)
}

/** Returns the name of the mounted server that a definition was made of; undefined for others. */
export function mountOf (definition: Definition): string | undefined {
  return mounts.get(definition)
}

/** Returns for how long, and for whom, clients may keep a list now (MCP 2026-07-28, caching). */
export type ListHint = () => Required<CacheHint>

const listHints = new WeakMap<Definition, ListHint>()

/** Remembers what the server that a definition comes from says about keeping its list. */
export function recordListHint (definition: Definition, hint: ListHint): void {
  listHints.set(definition, hint)
}

/** Returns what is known about keeping the list that a definition comes from; undefined for one without limits. */
export function listHintOf (definition: Definition): ListHint | undefined {
  return listHints.get(definition)
}

const KINDS: ReadonlySet<unknown> = new Set<Definition['kind']>(['tool', 'prompt', 'resource', 'resource-template'])

/** A definition that cannot be served. The message says why; the loader knows the definition's file. */
export class DefinitionError extends Error {
  override readonly name = 'DefinitionError'
  readonly definition: Definition

  constructor (message: string, definition: Definition, options?: ErrorOptions) {
    super(message, options)
    this.definition = definition
  }
}

/** Tells whether a value was returned by one of the `define…` functions. */
export function isDefinition (value: unknown): value is Definition {
  return typeof value === 'object' && value !== null && KINDS.has((value as { kind?: unknown }).kind)
}

/** Names a definition in messages: `Tool "close_ticket"`. No two definitions of a server have the same name. */
export function describeDefinition (definition: Definition): string {
  switch (definition.kind) {
    case 'tool': return `Tool ${JSON.stringify(definition.name)}`
    case 'prompt': return `Prompt ${JSON.stringify(definition.name)}`
    case 'resource': return `Resource ${JSON.stringify(definition.uri)}`
    case 'resource-template': return `Resource template ${JSON.stringify(definition.uriTemplate)}`
  }
}
