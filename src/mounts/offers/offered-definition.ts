import type { Prompt, Resource, ResourceTemplateType, Tool } from '@modelcontextprotocol/client'
import type { CacheHint } from '@modelcontextprotocol/server'
import type { TObject } from 'typebox'
import type { RequestContext } from '../../define/context.ts'
import { policyOf } from '../../define/policy.ts'
import type { Policy } from '../../define/policy.ts'
import type { PromptDefinition } from '../../define/prompt.ts'
import type { ResourceDefinition, ResourceTemplateDefinition } from '../../define/resource.ts'
import type { ToolDefinition } from '../../define/tool.ts'
import { UpstreamResult } from '../../define/upstream.ts'
import { parseUriTemplate } from '../../define/uri-template.ts'
import { isUriSelected } from '../../selection/uri-selection.ts'
import type { Caller } from '../caller/caller.ts'
import { readCacheHint } from '../connection/cache-hint.ts'
import { withoutHiddenText, withoutHiddenTexts } from './hidden-text.ts'
import { requestInRounds } from './input-rounds.ts'
import type { Override } from '../settings/mount-schema.ts'
import type { Mount } from '../settings/mounts-file.ts'
import { findOverride, placeOf } from '../settings/overrides.ts'
import type { MountedServer } from '../server/mounted-server.ts'
import { metaOf, withoutOwnMeta } from './passed-meta.ts'
import { offeredName } from './uri-prefix.ts'
import type { UriPrefix } from './uri-prefix.ts'

/** Limit of a completion, for mounts without one: somebody is typing. */
const COMPLETION_SECONDS = 10

/** The longest time for which clients may keep a resource, whatever its server says. */
const MAX_TTL_MS = 3_600_000

export function toTool (tool: Tool, server: MountedServer, uris: UriPrefix): ToolDefinition {
  const { mount } = server
  const { name, title, description = '', inputSchema, outputSchema, annotations, icons, _meta: meta } = tool
  const override = findOverride(mount, 'tools', name)
  // The MCP client would refuse a question of a tool that has an output schema.
  const { outputSchema: _, ...toolDefinition } = tool
  return {
    kind: 'tool',
    checkedUpstream: true,
    ...policyOfOffer(mount, override),
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
      const extras = { meta: metaOf(context, server), place: placeOf('tools', name) }
      const result = await requestInRounds(server, context, extras, async (client, params, options) =>
        await client.callTool({ name, arguments: input, ...params }, { ...options, toolDefinition }))
      return new UpstreamResult(uris.addToResult(withoutOwnMeta(result)))
    }
  }
}

export function toPrompt (prompt: Prompt, server: MountedServer, uris: UriPrefix): PromptDefinition {
  const { mount, offers: { completes } } = server
  const { name, arguments: args = [] } = prompt
  const override = findOverride(mount, 'prompts', name)
  const properties = Object.fromEntries(args.map(({ name, description, ...argument }) =>
    [name, { type: 'string', title: (argument as { title?: unknown }).title, description }]))
  const required = args.filter((argument) => argument.required === true).map((argument) => argument.name)
  return {
    kind: 'prompt',
    ...policyOfOffer(mount, override),
    name: offeredName(mount, override?.name ?? name),
    complete: completes
      ? completions(args.map((argument) => argument.name), server, { type: 'ref/prompt', name })
      : {},
    ...defined({
      ...descriptionOf(prompt, server, override),
      arguments: args.length > 0
        ? withoutHiddenTexts({ type: 'object', properties, required }) as unknown as TObject
        : undefined
    }),
    handler: async (input, context) => {
      const extras = { meta: metaOf(context, server), place: placeOf('prompts', name) }
      const result = await requestInRounds(server, context, extras, async (client, params, options) =>
        await client.getPrompt({ name, arguments: input as Record<string, string>, ...params }, options))
      return new UpstreamResult(uris.addToResult(withoutOwnMeta(result))) as never
    }
  }
}

/** Returns what prompts, resources and templates have alike. */
function descriptionOf (
  { title, description, icons, _meta }: Pick<Prompt, 'title' | 'description' | 'icons' | '_meta'>,
  { mount }: MountedServer,
  override: Override = {}
) {
  return {
    title: override.title ?? withoutHiddenText(title),
    description: override.description ?? withoutHiddenText(description),
    icons,
    _meta,
    timeoutSeconds: override.timeoutSeconds ?? mount.timeoutSeconds
  }
}

export function toResource (resource: Resource, server: MountedServer, uris: UriPrefix): ResourceDefinition {
  const { uri, name, mimeType, annotations, size } = resource
  return {
    kind: 'resource',
    ...policyOfOffer(server.mount),
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

export function toTemplate (
  template: ResourceTemplateType, server: MountedServer, uris: UriPrefix
): ResourceTemplateDefinition {
  const { uriTemplate, name, mimeType, annotations } = template
  return {
    kind: 'resource-template',
    ...policyOfOffer(server.mount),
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
  const extras = { meta: metaOf(context, server) }
  const result = await requestInRounds(server, context, extras, async (client, params, options) =>
    await client.readResource({ uri, ...params }, { ...options, cacheMode: 'bypass' }))
  return new UpstreamResult(uris.addToResult(withoutOwnMeta(result)), passedHint(result, server))
}

/** Returns how long clients may keep a resource. Shared caches may not if its server knows who asks. */
function passedHint (result: object, { mount }: MountedServer): Required<CacheHint> | undefined {
  const hint = readCacheHint(result)
  if (hint === undefined) return undefined
  const { secret, identity, connection = 'shared' } = mount
  const isKnown = secret !== undefined || identity !== undefined || connection !== 'shared'
  return { ttlMs: Math.min(MAX_TTL_MS, hint.ttlMs), cacheScope: isKnown ? 'private' : hint.cacheScope }
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
function policyOfOffer (mount: Mount, override?: Override): Policy {
  return policyOf({ ...mount, ...override })
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
