import { ResourceNotFoundError, isSpecType } from '@modelcontextprotocol/server'
import type { CacheHint, ReadResourceResult, Resource, ResourceTemplateType } from '@modelcontextprotocol/server'
import type { RequestContext } from '../../define/context.ts'
import type { Policy } from '../../define/policy.ts'
import type { ResourceDefinition, ResourceTemplateDefinition } from '../../define/resource.ts'
import type { Principal } from '../../tokens/principal.ts'
import type { PolicyEvaluator } from '../../policy/evaluator.ts'
import { hasPolicy } from '../../policy/evaluator.ts'
import { HandlerError, execute, logFailure } from '../handlers/execute.ts'
import type { Run } from '../handlers/execute.ts'
import { createListing, plain } from './listing.ts'
import type { Listing } from './listing.ts'
import { protocolErrors } from '../handlers/protocol-errors.ts'
import { renderContents } from './resource-contents.ts'
import { MAX_URI, compileTemplate } from './resource-template.ts'
import type { CompiledTemplate } from './resource-template.ts'

/** The resources of this server and the templates of more: checked and compiled once. */
export interface ResourceCatalog {
  /** Of those that are declared one by one. */
  readonly listing: Listing<Resource>
  readonly templates: Listing<ResourceTemplateType>
  /** All that a caller is shown: those declared one by one, and those that templates list, in the order of their URIs. */
  list (caller: ListCaller, timeoutSeconds: number): Promise<{ resources: readonly Resource[], isPublic: boolean }>
  /** What a URI leads to, whatever its policy says. */
  find (uri: string): FoundResource | undefined
  findTemplate (uriTemplate: string): CompiledTemplate | undefined
  /** @throws ProtocolError where it does not exist for this caller, or failed; InputRequiredError; the reason for which it was aborted */
  read (uri: string, principal: Principal | undefined, run: Run): Promise<ReadResourceResult & CacheHint>
}

/** What a template needs to know to list its resources. */
export type ListCaller = Pick<RequestContext, 'principal' | 'log'>

export interface FoundResource {
  policy: Policy
  /** @param context made for this alone: it is added to */
  read (context: RequestContext): unknown
  definition: ResourceDefinition | ResourceTemplateDefinition
}

/** @throws Error for a definition that cannot be served */
export function createResourceCatalog (definitions: readonly ResourceDefinition[], templateDefinitions: readonly ResourceTemplateDefinition[], policies: PolicyEvaluator): ResourceCatalog {
  const resources = new Map<string, ResourceDefinition>()
  for (const definition of definitions) {
    if (!URL.canParse(definition.uri) || definition.uri.length > MAX_URI) throw new Error(`Resource URI ${JSON.stringify(definition.uri.slice(0, 200))} must be absolute: scheme://path`)
    if (resources.has(definition.uri)) throw new Error(`Two resources are at ${definition.uri}`)
    resources.set(definition.uri, definition)
  }
  const templates = new Map<string, CompiledTemplate>()
  for (const definition of [...templateDefinitions].sort((a, b) => a.uriTemplate < b.uriTemplate ? -1 : 1)) {
    if (templates.has(definition.uriTemplate)) throw new Error(`Two resource templates are ${definition.uriTemplate}`)
    templates.set(definition.uriTemplate, compileTemplate(definition))
  }
  const listing = createListing(definitions.map((definition) => ({ name: definition.uri, item: describe(definition), policy: definition })), policies)
  const templateListing = createListing(templateDefinitions.map((definition) => ({ name: definition.uriTemplate, item: describeTemplate(definition), policy: definition })), policies)

  function find (uri: string): FoundResource | undefined {
    const definition = resources.get(uri)
    if (definition !== undefined) return { policy: definition, definition, read: (context) => definition.read(context) }
    if (uri.length > MAX_URI) return undefined
    for (const template of templates.values()) {
      const params = template.match(uri)
      if (params !== undefined) return { policy: template.definition, definition: template.definition, read: (context) => template.definition.read(params as never, Object.assign(context, { uri })) }
    }
    return undefined
  }

  /** Those that a template lists; a template that fails is logged, and takes nothing from the others. */
  async function listOf ({ list, uriTemplate, mimeType }: ResourceTemplateDefinition, { principal, log }: ListCaller, timeoutSeconds: number): Promise<Resource[]> {
    try {
      return await execute(`the list of ${uriTemplate}`, undefined, { log, timeoutSeconds, createContext: () => ({ principal, log }), onWaiting () {} }, async (context) => {
        const listed = (await list!(context)).map((resource) => plain<Resource>({ mimeType, ...resource }))
        if (!listed.every((resource) => isSpecType.Resource(resource))) throw new Error(`${uriTemplate} listed something other than resources`)
        return listed
      })
    } catch (err) {
      if (!(err instanceof HandlerError)) logFailure(err, `the list of ${uriTemplate}`, log)
      return []
    }
  }

  return {
    listing,
    templates: templateListing,
    find,
    findTemplate: (uriTemplate) => templates.get(uriTemplate),

    async list (caller, timeoutSeconds) {
      const { principal } = caller
      const fixed = listing.visible(principal)
      const listable = templateDefinitions.filter((definition) => definition.list !== undefined && policies.isAllowed(definition, principal))
      if (listable.length === 0) return { resources: fixed, isPublic: listing.isPublic }
      const listed = await Promise.all(listable.map(async (definition) => await listOf(definition, caller, timeoutSeconds)))
      // Each URI once, or pages could not be told by it; what is declared one by one comes first.
      const byUri = new Map([...listed.flat(), ...fixed].map((resource) => [resource.uri, resource]))
      return { resources: [...byUri.values()].sort((a, b) => a.uri < b.uri ? -1 : 1), isPublic: false }
    },

    async read (uri, principal, run) {
      const found = find(uri)
      if (found === undefined || !policies.isAllowed(found.policy, principal)) throw new ResourceNotFoundError(uri.slice(0, MAX_URI))
      const { definition } = found
      const what = `resource ${uri.slice(0, 200)}`
      return await protocolErrors(async () => {
        const output: unknown = await execute(what, definition.timeoutSeconds, run, (context) => found.read(context))
        if (output === undefined && definition.kind === 'resource-template') throw new ResourceNotFoundError(uri)
        try {
          return { contents: renderContents(output, uri, definition.mimeType), ...cacheHint(definition) }
        } catch (err) {
          throw logFailure(err, what, run.log)
        }
      })
    }
  }
}

/** What has a policy is nobody else's, whatever its author says. */
function cacheHint (definition: ResourceDefinition | ResourceTemplateDefinition): CacheHint {
  const { cache } = definition
  return { ttlMs: (cache?.ttlSeconds ?? 0) * 1_000, cacheScope: cache?.scope === 'public' && !hasPolicy(definition) ? 'public' : 'private' }
}

function describe ({ uri, name, title, description, mimeType, annotations, icons, size, _meta }: ResourceDefinition): Resource {
  return plain({ uri, name, title, description, mimeType, annotations, icons, size, _meta })
}

function describeTemplate ({ uriTemplate, name, title, description, mimeType, annotations, icons, _meta }: ResourceTemplateDefinition): ResourceTemplateType {
  return plain({ uriTemplate, name, title, description, mimeType, annotations, icons, _meta })
}
