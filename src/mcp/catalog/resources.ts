import { ResourceNotFoundError, isSpecType } from '@modelcontextprotocol/server'
import type { CacheHint, ReadResourceResult, Resource, ResourceTemplateType } from '@modelcontextprotocol/server'
import type { RequestContext } from '../../define/context.ts'
import { listHintOf } from '../../define/definition.ts'
import type { Policy } from '../../define/policy.ts'
import type { ResourceDefinition, ResourceTemplateDefinition } from '../../define/resource.ts'
import { UpstreamResult } from '../../define/upstream.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import type { Principal } from '../../tokens/principal.ts'
import { Deadline } from '../handlers/handler-timeout.ts'
import { HandlerError, execute, logFailure } from '../handlers/execute.ts'
import type { RunContext } from '../handlers/execute.ts'
import { withProtocolErrors } from '../handlers/protocol-errors.ts'
import { compileDefinitions } from './compile-definitions.ts'
import { copyJson, createListing } from './listing.ts'
import { toContents, toUpstreamContents } from './resource-contents.ts'
import { MAX_URI, compileTemplate } from './resource-template.ts'
import type { CompiledTemplate } from './resource-template.ts'

/** The caller of resources/list, as the `list` function of a template gets it. */
export type ListCaller = Pick<RequestContext, 'principal' | 'log'>

/** The resource that a URI leads to: one that is declared by itself, or one of a template. */
export interface FoundResource {
  definition: ResourceDefinition | ResourceTemplateDefinition
  /** @param context made for this call alone: a template adds the URI to it */
  read (context: RequestContext): unknown
}

/** Tells whether a URI to which a template leads is offered. */
export type IsUriOffered = (uri: string, uriTemplate: string) => boolean

export type ResourceCatalog = ReturnType<typeof createResourceCatalog>

/**
 * The server's resources and resource templates. Only what the caller may use is found.
 *
 * @throws DefinitionError for a definition that cannot be served
 */
export function createResourceCatalog (
  definitions: readonly ResourceDefinition[],
  templateDefinitions: readonly ResourceTemplateDefinition[],
  policies: PolicyEvaluator,
  isUriOffered: IsUriOffered = () => true
) {
  const resources = compileDefinitions(definitions, ({ uri }) => uri, checkResource)
  const templates = compileDefinitions(byUriTemplate(templateDefinitions), (one) => one.uriTemplate, compileTemplate)
  const listing = createListing<Resource>(
    definitions.map((definition) => ({
      name: definition.uri, item: toResource(definition), policy: definition, hint: listHintOf(definition)
    })),
    policies
  )

  function resolve (uri: string): FoundResource | undefined {
    const definition = resources.get(uri)
    return definition === undefined
      ? resolveTemplate(uri, templates, isUriOffered)
      : { definition, read: (context) => definition.read(context) }
  }

  /** Returns the resource at a URI, or undefined if the caller may not read it. */
  function find (uri: string, principal: Principal | undefined): FoundResource | undefined {
    const found = resolve(uri)
    return found !== undefined && policies.isAllowed(found.definition, principal) ? found : undefined
  }

  return {
    /** The resources that are declared one by one. */
    listing,

    /** The resource templates as resources/templates/list returns them. */
    templates: createListing<ResourceTemplateType>(
      templateDefinitions.map((definition) => ({
        name: definition.uriTemplate,
        item: toResourceTemplate(definition),
        policy: definition,
        hint: listHintOf(definition)
      })),
      policies
    ),

    find,

    /** Returns a template by its text, or undefined if the caller may not use it. */
    findTemplate (uriTemplate: string, principal: Principal | undefined): CompiledTemplate | undefined {
      const template = templates.get(uriTemplate)
      return template !== undefined && policies.isAllowed(template.definition, principal) ? template : undefined
    },

    /** Returns whether a caller may subscribe to the resource at a URI. */
    isSubscribable (uri: string, principal: Principal | undefined): boolean {
      const found = find(uri, principal)
      return found !== undefined && found.definition.isSubscribable !== false
    },

    /**
     * Returns the function that tells the resource at a URI that somebody is subscribed to it; undefined if it does not
     * want to know.
     *
     * @param changed notifies all subscribers
     */
    subscriptionListener (
      uri: string, changed: () => void, subscriber: string | undefined
    ): (() => void) | undefined {
      const definition = resolve(uri)?.definition
      if (definition?.onSubscribed === undefined) return undefined
      return () => { definition.onSubscribed!(uri, changed, subscriber) }
    },

    /** Returns the policy of the resource at a URI, whoever may read it. */
    policyOf: (uri: string): Policy | undefined => resolve(uri)?.definition,

    /** Returns the policy of a template, whoever may use it. */
    policyOfTemplate: (uriTemplate: string): Policy | undefined => templates.get(uriTemplate)?.definition,

    /**
     * Returns all resources that a caller sees, sorted by URI: those declared one by one and those that templates list.
     *
     * @param timeoutSeconds how long each template's `list` may take
     */
    async list (
      caller: ListCaller,
      timeoutSeconds: number
    ): Promise<{ resources: readonly Resource[], hint: Required<CacheHint> }> {
      const { principal } = caller
      const declared = listing.visible(principal)
      const listable = templateDefinitions.filter((definition) =>
        definition.list !== undefined && policies.isAllowed(definition, principal))
      if (listable.length === 0) return { resources: declared, hint: listing.cacheHint() }
      const listed = await Promise.all(listable.map(async (definition) =>
        (await listTemplate(definition, caller, timeoutSeconds))
          .filter(({ uri }) => isUriOffered(uri, definition.uriTemplate))))
      // Cursors are URIs, so each URI may occur once; a declared resource wins.
      const byUri = new Map([...listed.flat(), ...declared].map((resource) => [resource.uri, resource]))
      return {
        resources: [...byUri.values()].sort((a, b) => a.uri < b.uri ? -1 : 1),
        hint: { ...listing.cacheHint(), cacheScope: 'private' }
      }
    },

    /**
     * Reads a resource.
     *
     * @throws ResourceNotFoundError if there is none that the caller may read; ProtocolError if it failed;
     * InputRequiredError; the reason for which the request was aborted
     */
    async read (
      uri: string,
      principal: Principal | undefined,
      context: RunContext
    ): Promise<ReadResourceResult & CacheHint> {
      const found = find(uri, principal)
      if (found === undefined) throw new ResourceNotFoundError(uri.slice(0, MAX_URI))
      return await withProtocolErrors(async () => {
        const { ttlMs, cacheScope, ...result } = await readResource(uri, found, context)
        const isPublic = policies.cacheScope(found.definition) === 'public'
        return { ...result, ttlMs, cacheScope: isPublic ? cacheScope : 'private' }
      })
    }
  }
}

/** Sorts templates, so that every replica prefers the same one where several match a URI. */
function byUriTemplate (definitions: readonly ResourceTemplateDefinition[]): ResourceTemplateDefinition[] {
  return [...definitions].sort((a, b) => a.uriTemplate < b.uriTemplate ? -1 : 1)
}

/** @throws Error for a resource that cannot be served */
export function checkResource (definition: ResourceDefinition): ResourceDefinition {
  const { uri } = definition
  if (URL.canParse(uri) && uri.length <= MAX_URI) return definition
  throw new Error(`Resource URI ${JSON.stringify(uri.slice(0, 200))} must be absolute: scheme://path`)
}

function resolveTemplate (
  uri: string, templates: ReadonlyMap<string, CompiledTemplate>, isUriOffered: IsUriOffered
): FoundResource | undefined {
  if (uri.length > MAX_URI) return undefined
  for (const { definition, match } of templates.values()) {
    const params = match(uri)
    if (params === undefined || !isUriOffered(uri, definition.uriTemplate)) continue
    return { definition, read: (context) => definition.read(params as never, Object.assign(context, { uri })) }
  }
  return undefined
}

async function readResource (
  uri: string,
  { definition, read }: FoundResource,
  context: RunContext
): Promise<ReadResourceResult & Required<CacheHint>> {
  const label = `resource ${uri.slice(0, 200)}`
  const output: unknown = await execute(label, definition, context, () => read(context))
  if (output === undefined && definition.kind === 'resource-template') throw new ResourceNotFoundError(uri)
  try {
    if (output instanceof UpstreamResult) {
      return { ...toUpstreamContents(output, context.maxResultBytes), ...output.cacheHint }
    }
    const { mimeType } = definition
    const contents = toContents(output, { uri, mimeType, maxBytes: context.maxResultBytes })
    const { ttlSeconds = 0, scope = 'private' } = definition.cache ?? {}
    return { contents, ttlMs: ttlSeconds * 1_000, cacheScope: scope }
  } catch (err) {
    throw logFailure(err, label, definition, context.log)
  }
}

/** Returns what a template lists. A failure is logged and leaves the rest of the list as it is. */
async function listTemplate (
  definition: ResourceTemplateDefinition,
  { principal, log }: ListCaller,
  timeoutSeconds: number
): Promise<Resource[]> {
  const { list, uriTemplate, mimeType } = definition
  const label = `the list of ${uriTemplate}`
  try {
    const execution = { log, createDeadline: () => new Deadline(timeoutSeconds), onPending () {} }
    return await execute(label, definition, execution, async () => {
      const listed = (await list!({ principal, log })).map((resource) => copyJson<Resource>({ mimeType, ...resource }))
      if (listed.every((resource) => isSpecType.Resource(resource))) return listed
      throw new Error(`${uriTemplate} listed something other than resources`)
    })
  } catch (err) {
    if (!(err instanceof HandlerError)) logFailure(err, label, definition, log)
    return []
  }
}

function toResource (definition: ResourceDefinition): Resource {
  const { uri, name, title, description, mimeType, annotations, icons, size, _meta } = definition
  return copyJson({ uri, name, title, description, mimeType, annotations, icons, size, _meta })
}

function toResourceTemplate (definition: ResourceTemplateDefinition): ResourceTemplateType {
  const { uriTemplate, name, title, description, mimeType, annotations, icons, _meta } = definition
  return copyJson({ uriTemplate, name, title, description, mimeType, annotations, icons, _meta })
}
