import type { Annotations, Icon } from '@modelcontextprotocol/server'
import type { Static, TObject } from 'typebox'
import type { Completions } from './completion.ts'
import type { RequestContext } from './context.ts'
import type { EndpointChoice } from './endpoints.ts'
import type { Policy } from './policy.ts'

/** Members that resources and resource templates have in common. */
interface ResourceDescription extends Policy, EndpointChoice {
  name: string
  /** Name for people. */
  title?: string
  description?: string
  /** Media type of what `read` returns, unless it names another; `application/json` by default for objects. */
  mimeType?: string
  /** Hints for clients: who the resource is for (`audience`), how important it is (`priority`, 0 to 1). */
  annotations?: Annotations
  icons?: Icon[]
  /**
   * Lifetime in the caches of clients (2026-07-28), and whether shared caches may keep the content for all callers
   * (`public`) or each client for itself (`private`, the default). Nothing is kept by default. A resource with a policy
   * is always private, and so is everything where people sign in (`AUTH_REQUIRED`).
   */
  cache?: { ttlSeconds: number, scope?: 'public' | 'private' }
  /** Maximum time for `read` in seconds; `TOOL_TIMEOUT_SECONDS` by default. */
  timeoutSeconds?: number
  /** Metadata for clients, under names with a prefix of your own (`example.com/name`). */
  _meta?: Record<string, unknown>
  /**
   * Set by Seed for the resources of mounted servers: called when a client subscribes, then twice a minute while one
   * is subscribed and has a stream open.
   *
   * @param subscriber the person whose client it is; undefined if nobody is known
   */
  onSubscribed? (uri: string, changed: () => void, subscriber: string | undefined): void
  /** Set by Seed for the resources of mounted servers: `false` if clients cannot subscribe to it. */
  isSubscribable?: boolean
}

/** The members of a resource, as `defineResource` takes them. */
export interface ResourceDeclaration extends ResourceDescription {
  /** Unique absolute URI, up to 8,192 characters. Use a scheme of your own for what no browser can open. */
  uri: string
  /** Size in bytes, if known. */
  size?: number
  /**
   * Reads the resource.
   *
   * @returns text, bytes, an object (sent as JSON), or several contents
   * @throws ToolError to tell the client what went wrong. Any other error is logged, and replaced by a generic message.
   */
  read (context: RequestContext): ResourceOutput | Promise<ResourceOutput>
  /**
   * Watches the resource while it is offered, at every replica. Call `changed` to notify all subscribers.
   *
   * @returns a function that stops watching
   */
  watch? (changed: () => void): () => void
}

/** The members of a resource template, as `defineResourceTemplate` takes them. */
export interface ResourceTemplateDeclaration<Params extends TObject> extends ResourceDescription {
  /** URI template (RFC 6570) with an absolute URI: `tickets://{id}`. */
  uriTemplate: string
  /** Schema of the template's variables, validated before `read` runs. Variables are strings. */
  params?: Params
  /** Suggests values while somebody fills in a variable. */
  complete?: Completions<Static<Params>>
  /** Lists resources of this template for `resources/list`; none by default. Failures are logged, and list nothing. */
  list? (
    context: Pick<RequestContext, 'principal' | 'log'>
  ): readonly ListedResource[] | Promise<readonly ListedResource[]>
  /**
   * Reads a resource of this template.
   *
   * @param params the template's variables, decoded and validated. A variable that is used as a path is yours to check:
   * `..` is a valid value.
   * @returns text, bytes, an object (sent as JSON), or several contents; undefined if there is no such resource
   * @throws ToolError to tell the client what went wrong. Any other error is logged, and replaced by a generic message.
   */
  read (
    params: Static<Params>,
    context: RequestContext & { uri: string }
  ): ResourceOutput | undefined | Promise<ResourceOutput | undefined>
}

/** A resource in `resources/list`. */
export interface ListedResource {
  uri: string
  name: string
  /** Name for people. */
  title?: string
  description?: string
  mimeType?: string
  /** Size in bytes. */
  size?: number
}

/** One of several contents that `read` returns. */
export interface ResourceContent {
  /** The URI that was read, by default. */
  uri?: string
  /** The resource's media type, by default. */
  mimeType?: string
  /** Text, or bytes. */
  content: string | Uint8Array
}

export type ResourceOutput = string | Uint8Array | readonly ResourceContent[] | object

/** A resource, as `defineResource` returns it. */
export interface ResourceDefinition extends ResourceDeclaration {
  readonly kind: 'resource'
}

/** A resource template, as `defineResourceTemplate` returns it. */
export interface ResourceTemplateDefinition extends ResourceTemplateDeclaration<TObject> {
  readonly kind: 'resource-template'
}

/**
 * Defines a resource.
 *
 * @example
 * export const handbook = defineResource({
 *   uri: 'handbook://contents',
 *   name: 'handbook',
 *   mimeType: 'text/markdown',
 *   read: async () => await readFile('/srv/handbook.md', 'utf8')
 * })
 */
export function defineResource (resource: ResourceDeclaration): ResourceDefinition {
  return { ...resource, kind: 'resource' }
}

/**
 * Defines a resource template: resources whose URIs follow a pattern. The type of the first argument of `read` follows
 * from `params`.
 *
 * @example
 * export const ticket = defineResourceTemplate({
 *   uriTemplate: 'tickets://{id}',
 *   name: 'ticket',
 *   params: Type.Object({ id: Type.String({ pattern: '^\\d+$' }) }),
 *   read: async ({ id }, { principal }) => await findTicket(id, principal)
 * })
 */
export function defineResourceTemplate<Params extends TObject> (
  template: ResourceTemplateDeclaration<Params>
): ResourceTemplateDefinition {
  return { ...template, kind: 'resource-template' } as unknown as ResourceTemplateDefinition
}
