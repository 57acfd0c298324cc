import type { Prompt, Resource, ResourceTemplateType, Tool } from '@modelcontextprotocol/client'
import type { TObject } from 'typebox'
import type { RequestContext } from '../define/context.ts'
import { describeDefinition, recordFile, recordMount } from '../define/definition.ts'
import type { Definition } from '../define/definition.ts'
import type { Policy } from '../define/policy.ts'
import type { PromptDefinition } from '../define/prompt.ts'
import type { ResourceDefinition, ResourceTemplateDefinition } from '../define/resource.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { UpstreamResult } from '../define/upstream.ts'
import { parseUriTemplate } from '../define/uri-template.ts'
import { isSelected } from '../selection/name-selection.ts'
import { isUriSelected } from '../selection/uri-selection.ts'
import type { Caller } from './caller.ts'
import type { Offers } from './connection.ts'
import { withoutHiddenText, withoutHiddenTexts } from './hidden-text.ts'
import type { ToolOverride } from './mount-schema.ts'
import type { MountedServer } from './mounted-server.ts'
import { requestInRounds } from './input-rounds.ts'
import { MAX_TEMPLATES, problemOf } from './offer-limits.ts'
import { metaOf, withoutOwnMeta } from './passed-meta.ts'
import { comparePins, isAccepted, pinOffers } from './pins.ts'
import type { PinChange, PinKind } from './pins.ts'
import { isToolSelected } from './selection.ts'
import { UriPrefix, offeredName } from './uri-prefix.ts'

/** The offers of a mounted server as definitions of Seed, and those that cannot be offered. */
export interface MountedDefinitions {
  definitions: Definition[]
  refused: RefusedOffer[]
  /** The differences from the accepted offers; undefined if the mount is not pinned. */
  changes: readonly PinChange[] | undefined
  /** The names, or URIs, that the definitions have at the server. */
  namesAtServer: ReadonlyMap<Definition, string>
}

export interface RefusedOffer {
  /** `Tool "tickets_close"` */
  offer: string
  reason: string
}

interface MadeDefinition {
  definition: Definition
  /** The name or URI at the mounted server. */
  name: string
  /** As the server said it. */
  offer: object
}

/** The kinds of definitions that can be pinned. */
const PINNED_AS: Partial<Record<Definition['kind'], PinKind>> = {
  tool: 'tools', prompt: 'prompts', 'resource-template': 'resourceTemplates'
}

/** Limit of a completion, for mounts without one: somebody is typing. */
const COMPLETION_SECONDS = 10

/** Makes definitions of what a mounted server offers and the operator has chosen. */
export function toDefinitions (server: MountedServer): MountedDefinitions {
  const { mount } = server
  const uris = new UriPrefix(mount, server.offers)
  const selected = selectOffers(server)
  const { tools, prompts, resources, templates } = selected
  const offered = mount.pins && pinOffers(selected)
  const all: MadeDefinition[] = [
    ...tools.map((offer) => ({ definition: toTool(offer, server, uris), name: offer.name, offer })),
    ...prompts.map((offer) => ({ definition: toPrompt(offer, server, uris), name: offer.name, offer })),
    ...resources.map((offer) => ({ definition: toResource(offer, server, uris), name: offer.uri, offer })),
    ...templates.map((offer) => ({ definition: toTemplate(offer, server, uris), name: offer.uriTemplate, offer }))
  ]
  const definitions: Definition[] = []
  const refused: RefusedOffer[] = []
  const names = new Set<string>()
  const tasks = new Set(tools.filter(({ execution }) => execution?.taskSupport === 'required').map(({ name }) => name))
  let templateCount = 0

  function reasonAgainst (definition: Definition, name: string, offer: string): string | undefined {
    if (names.has(offer)) return 'the server offers it twice'
    if (definition.kind === 'tool' && tasks.has(name)) {
      return 'it can be called as a task only (execution.taskSupport), which Seed does not pass on'
    }
    if (definition.kind === 'resource-template' && templateCount >= MAX_TEMPLATES) {
      return `the server offers more than ${MAX_TEMPLATES} resource templates`
    }
    return problemOf(definition)
  }

  for (const { definition, name, offer } of all) {
    const description = describeDefinition(definition).slice(0, 200)
    const reason = reasonAgainst(definition, name, description)
    if (reason !== undefined) {
      refused.push({ offer: description, reason })
      continue
    }
    const kind = PINNED_AS[definition.kind]
    if (offered && kind !== undefined && !isAccepted({ kind, name, offer }, mount.pins!, offered)) continue
    names.add(description)
    if (definition.kind === 'resource-template') templateCount++
    recordFile(definition, `mount ${mount.name}`)
    recordMount(definition, mount.name)
    definitions.push(definition)
  }
  return {
    definitions,
    refused,
    changes: offered && comparePins(mount.pins!, offered),
    namesAtServer: new Map(all.map(({ definition, name }) => [definition, name]))
  }
}

/** Returns what the operator has chosen of what a server offers. */
export function selectOffers ({ mount, offers }: Pick<MountedServer, 'mount' | 'offers'>): Offers {
  return {
    ...offers,
    tools: offers.tools.filter((tool) => isToolSelected(tool, mount.tools)),
    prompts: offers.prompts.filter(({ name }) => isSelected(name, mount.prompts)),
    resources: offers.resources.filter(({ uri }) => isSelected(uri, mount.resources)),
    templates: offers.templates.filter(({ uriTemplate }) => isSelected(uriTemplate, mount.resources))
  }
}

function toTool (tool: Tool, server: MountedServer, uris: UriPrefix): ToolDefinition {
  const { mount } = server
  const { name, title, description = '', inputSchema, outputSchema, annotations, icons, _meta: meta } = tool
  const override = typeof mount.tools === 'object' ? mount.tools.overrides?.[name] : undefined
  // The MCP client would refuse a question of a tool that has an output schema.
  const { outputSchema: _, ...toolDefinition } = tool
  return {
    kind: 'tool',
    checkedUpstream: true,
    ...policyOf(mount, override),
    name: offeredName(mount, override?.name ?? name),
    description: override?.description ?? withoutHiddenText(description),
    input: withoutHiddenTexts(inputSchema) as unknown as TObject,
    ...defined({
      title: override?.title ?? withoutHiddenText(title),
      output: withoutHiddenTexts(outputSchema) as unknown as TObject | undefined,
      annotations: withoutHiddenTexts(annotations),
      icons,
      _meta: meta && withUiPrefix(meta, uris),
      timeoutSeconds: override?.timeoutSeconds ?? mount.timeoutSeconds
    }),
    handler: async (input, context) => {
      const result = await requestInRounds(server, context, metaOf(context, server), async (client, params, options) =>
        await client.callTool({ name, arguments: input, ...params }, { ...options, toolDefinition }))
      return new UpstreamResult(uris.addToResult(withoutOwnMeta(result)))
    }
  }
}

function toPrompt (prompt: Prompt, server: MountedServer, uris: UriPrefix): PromptDefinition {
  const { mount, offers: { completes } } = server
  const { name, arguments: args = [] } = prompt
  const properties = Object.fromEntries(args.map(({ name, description, ...argument }) =>
    [name, { type: 'string', title: (argument as { title?: unknown }).title, description }]))
  const required = args.filter((argument) => argument.required === true).map((argument) => argument.name)
  return {
    kind: 'prompt',
    ...policyOf(mount),
    name: offeredName(mount, name),
    complete: completes
      ? completions(args.map((argument) => argument.name), server, { type: 'ref/prompt', name })
      : {},
    ...defined({
      ...descriptionOf(prompt, server),
      arguments: args.length > 0
        ? withoutHiddenTexts({ type: 'object', properties, required }) as unknown as TObject
        : undefined
    }),
    handler: async (input, context) => {
      const result = await requestInRounds(server, context, metaOf(context, server), async (client, params, options) =>
        await client.getPrompt({ name, arguments: input as Record<string, string>, ...params }, options))
      return new UpstreamResult(uris.addToResult(withoutOwnMeta(result))) as never
    }
  }
}

/** Returns what prompts, resources and templates have alike. */
function descriptionOf (
  { title, description, icons, _meta }: Pick<Prompt, 'title' | 'description' | 'icons' | '_meta'>,
  { mount }: MountedServer
) {
  return {
    title: withoutHiddenText(title),
    description: withoutHiddenText(description),
    icons,
    _meta,
    timeoutSeconds: mount.timeoutSeconds
  }
}

function toResource (resource: Resource, server: MountedServer, uris: UriPrefix): ResourceDefinition {
  const { uri, name, mimeType, annotations, size } = resource
  return {
    kind: 'resource',
    ...policyOf(server.mount),
    uri: uris.add(uri),
    name: withoutHiddenText(name),
    ...defined({
      ...descriptionOf(resource, server),
      mimeType,
      annotations,
      size
    }),
    read: async (context) => await read(uri, server, uris, context),
    ...subscriptionsOf(server, (_uri, changed, subscriber) => {
      server.subscriptions.subscribe(uri, changed, subscriber)
    })
  }
}

function toTemplate (
  template: ResourceTemplateType, server: MountedServer, uris: UriPrefix
): ResourceTemplateDefinition {
  const { uriTemplate, name, mimeType, annotations } = template
  return {
    kind: 'resource-template',
    ...policyOf(server.mount),
    uriTemplate: uris.add(uriTemplate),
    name: withoutHiddenText(name),
    complete: server.offers.completes
      ? completions(variablesOf(uriTemplate), server, { type: 'ref/resource', uri: uriTemplate })
      : {},
    ...defined({
      ...descriptionOf(template, server),
      mimeType,
      annotations
    }),
    ...subscriptionsOf(server, (prefixed, changed, subscriber) => {
      const uri = uris.remove(prefixed)
      if (!isUriSelected(uri, uriTemplate, server.mount.resources)) return
      server.subscriptions.subscribe(uri, changed, subscriber)
    }),
    read: async (_params, context) => {
      const uri = uris.remove(context.uri)
      return isUriSelected(uri, uriTemplate, server.mount.resources)
        ? await read(uri, server, uris, context)
        : undefined
    }
  }
}

/**
 * Returns how clients subscribe to a resource. Seed subscribes as itself, on one connection for all, so a server that
 * decides by caller would not be asked: there is no subscribing then.
 */
function subscriptionsOf (
  { mount }: MountedServer, onSubscribed: NonNullable<ResourceDefinition['onSubscribed']>
): Pick<ResourceDefinition, 'onSubscribed' | 'isSubscribable'> {
  return mount.identity === undefined ? { onSubscribed } : { isSubscribable: false }
}

/** Returns the names of a template's variables; none of one that is refused for its form (offer-limits.ts). */
function variablesOf (uriTemplate: string): readonly string[] {
  try {
    return parseUriTemplate(uriTemplate).names
  } catch {
    return []
  }
}

async function read (uri: string, server: MountedServer, uris: UriPrefix, context: RequestContext): Promise<object> {
  const result = await requestInRounds(server, context, metaOf(context, server), async (client, params, options) =>
    await client.readResource({ uri, ...params }, { ...options, cacheMode: 'bypass' }))
  return new UpstreamResult(uris.addToResult(withoutOwnMeta(result)))
}

type Reference = { type: 'ref/prompt', name: string } | { type: 'ref/resource', uri: string }

function completions (
  names: readonly string[], server: MountedServer, ref: Reference
): NonNullable<PromptDefinition['complete']> {
  const timeout = (server.mount.timeoutSeconds ?? COMPLETION_SECONDS) * 1_000
  type Given = Readonly<Record<string, string>>
  return Object.fromEntries(names.map((name) => [name, async (value: string, given: Given, caller: Caller) => {
    const work = server.use(caller, async (client, options) =>
      await client.complete({ ref, argument: { name, value }, context: { arguments: given } }, {
        timeout, ...options
      }))
    // Nobody needs suggestions so much that an error would help.
    return await work.then(({ completion }) => completion.values, () => [])
  }]))
}

/** Returns the policy, of which the mounted server decides nothing. A rule of the tool replaces that of the mount. */
function policyOf (mount: Policy, override: ToolOverride | undefined = {}): Policy {
  const { scopes, groups, claims, principalKind, maxAge, acr } = { ...mount, ...override } as Policy
  return defined({ scopes, groups, claims, principalKind, maxAge, acr })
}

/** Leaves out members that are undefined. */
function defined<Members extends object> (
  members: Members
): { [Name in keyof Members]: Exclude<Members[Name], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never
}

/** Returns `_meta` of a tool of MCP Apps, whose page is a resource of the same server. */
function withUiPrefix (meta: Record<string, unknown>, uris: UriPrefix): Record<string, unknown> {
  const ui = meta['ui'] as { resourceUri?: unknown } | undefined
  const flat = meta['ui/resourceUri']
  return {
    ...meta,
    ...(typeof ui?.resourceUri === 'string' && { ui: { ...ui, resourceUri: uris.add(ui.resourceUri) } }),
    ...(typeof flat === 'string' && { 'ui/resourceUri': uris.add(flat) })
  }
}
