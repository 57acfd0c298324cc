import type { Annotations, Icon } from '@modelcontextprotocol/server'
import type { Static, TObject } from 'typebox'
import type { Completions } from './completion.ts'
import type { RequestContext } from './context.ts'
import type { Policy } from './policy.ts'

interface Described extends Policy {
  name: string
  title?: string
  description?: string
  mimeType?: string
  annotations?: Annotations
  icons?: Icon[]
  /** How long clients may keep what they read, and whether for all callers (`public`) or each its own. Not at all where absent. */
  cache?: { ttlSeconds: number, scope?: 'public' | 'private' }
  /** How long reading may take; TOOL_TIMEOUT_SECONDS where absent. */
  timeoutSeconds?: number
  _meta?: Record<string, unknown>
}

/** A resource as its author declares it. */
export interface ResourceDeclaration extends Described {
  /** An absolute URI, of a scheme of one's own for what no browser can open. */
  uri: string
  /** In bytes, where it is known. */
  size?: number
  /** Gives text, bytes, an object (as JSON), or several contents. */
  read (context: RequestContext): ResourceOutput | Promise<ResourceOutput>
  /**
   * Called when the server starts: watches what the resource shows, and calls `changed` when its subscribers should know.
   * @returns what stops it
   */
  watch? (changed: () => void): () => void
}

/** Resources of one pattern, as their author declares them. */
export interface ResourceTemplateDeclaration<Params extends TObject> extends Described {
  /** RFC 6570: `tickets://{id}`. */
  uriTemplate: string
  /** The variables of the template, checked before `read` runs; without it they are strings. */
  params?: Params
  /** Suggestions while somebody types a variable. */
  complete?: Completions<Static<Params>>
  /** Those that the resource list should show; none where absent. */
  list? (context: Pick<RequestContext, 'principal' | 'log'>): readonly ListedResource[] | Promise<readonly ListedResource[]>
  /** Gives text, bytes, an object (as JSON), or several contents; undefined where there is no such resource. */
  read (params: Static<Params>, context: RequestContext & { uri: string }): ResourceOutput | undefined | Promise<ResourceOutput | undefined>
}

export interface ListedResource {
  uri: string
  name: string
  title?: string
  description?: string
  mimeType?: string
  size?: number
}

export interface ResourceContent {
  /** The resource's own where absent. */
  uri?: string
  mimeType?: string
  /** Text, or bytes. */
  content: string | Uint8Array
}

export type ResourceOutput = string | Uint8Array | readonly ResourceContent[] | object

/** A resource as the engine takes it. */
export interface ResourceDefinition extends ResourceDeclaration {
  readonly kind: 'resource'
}

/** A resource template as the engine takes it, its types erased. */
export interface ResourceTemplateDefinition extends ResourceTemplateDeclaration<TObject> {
  readonly kind: 'resource-template'
}

export function defineResource (resource: ResourceDeclaration): ResourceDefinition {
  return { ...resource, kind: 'resource' }
}

/** Declares a resource template. The type of what `read` is given follows from `params`. */
export function defineResourceTemplate<Params extends TObject> (template: ResourceTemplateDeclaration<Params>): ResourceTemplateDefinition {
  return { ...template, kind: 'resource-template' } as unknown as ResourceTemplateDefinition
}
