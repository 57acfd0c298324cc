import type { Progress, Prompt, Resource, ResourceTemplateType, Tool } from '@modelcontextprotocol/client'
import type { TObject } from 'typebox'
import type { RequestContext } from '../define/context.ts'
import { describeDefinition, recordFile } from '../define/definition.ts'
import type { Definition } from '../define/definition.ts'
import type { Policy } from '../define/policy.ts'
import type { PromptDefinition } from '../define/prompt.ts'
import type { ResourceDefinition, ResourceTemplateDefinition } from '../define/resource.ts'
import type { ToolDefinition } from '../define/tool.ts'
import { UpstreamResult } from '../define/upstream.ts'
import { parseUriTemplate } from '../define/uri-template.ts'
import { MAX_DEPTH, isDeeperThan } from '../json/depth.ts'
import { checkDefinition } from '../mcp/catalog/check-definition.ts'
import type { RunContext } from '../mcp/handlers/execute.ts'
import type { ToolOverride } from './mount-schema.ts'
import type { MountedServer } from './mounted-server.ts'
import { isSelected, isToolSelected } from './selection.ts'
import { UriPrefix } from './uri-prefix.ts'
import { isUriSelected } from './uri-selection.ts'

/** The offers of a mounted server as definitions of Seed, and those that cannot be offered. */
export interface MountedDefinitions {
  definitions: Definition[]
  refused: RefusedOffer[]
}

export interface RefusedOffer {
  /** `Tool "tickets_close"` */
  offer: string
  reason: string
}

/** The longest JSON of one tool, prompt or resource, in characters. */
const MAX_OFFER_CHARACTERS = 65_536

/** Limits of templates: every URI that no resource has is compared with all of them. */
const MAX_TEMPLATES = 100
const MAX_TEMPLATE_CHARACTERS = 1_000
const MAX_TEMPLATE_VARIABLES = 32

/** Limit of the arguments of one prompt: their schema is compiled. */
const MAX_ARGUMENTS = 100

/** Limit of a completion, for mounts without one: somebody is typing. */
const COMPLETION_SECONDS = 10

/** More time than a handler may ever take: the handler's own limit ends a request. */
const NO_TIMEOUT = { timeout: 86_400_000 }

/** Makes definitions of what a mounted server offers and the operator has chosen. */
export function toDefinitions (server: MountedServer): MountedDefinitions {
  const { mount, offers: { tools, prompts, resources, templates } } = server
  const uris = new UriPrefix(mount.name)
  const all = [
    ...tools.filter((tool) => isToolSelected(tool, mount.tools)).map((tool) => toTool(tool, server, uris)),
    ...prompts.filter(({ name }) => isSelected(name, mount.prompts)).map((prompt) => toPrompt(prompt, server, uris)),
    ...resources.filter(({ uri }) => isSelected(uri, mount.resources)).map((one) => toResource(one, server, uris)),
    ...templates.filter(({ uriTemplate }) => isSelected(uriTemplate, mount.resources))
      .map((template) => toTemplate(template, server, uris))
  ]
  const definitions: Definition[] = []
  const refused: RefusedOffer[] = []
  const names = new Set<string>()
  let templateCount = 0
  for (const definition of all) {
    const offer = describeDefinition(definition).slice(0, 200)
    const isOneTooMany = definition.kind === 'resource-template' && templateCount >= MAX_TEMPLATES
    const reason = names.has(offer)
      ? 'the server offers it twice'
      : isOneTooMany ? `the server offers more than ${MAX_TEMPLATES} resource templates` : problemOf(definition)
    if (reason !== undefined) {
      refused.push({ offer, reason })
      continue
    }
    names.add(offer)
    if (definition.kind === 'resource-template') templateCount++
    recordFile(definition, `mount ${mount.name}`)
    definitions.push(definition)
  }
  return { definitions, refused }
}

/** Returns why something cannot be offered: clients would refuse it, or it is too large to send to all of them. */
function problemOf (definition: Definition): string | undefined {
  if (isDeeperThan(definition, MAX_DEPTH)) return `it has more than ${MAX_DEPTH} levels`
  if (JSON.stringify(definition).length > MAX_OFFER_CHARACTERS) return `it is longer than ${MAX_OFFER_CHARACTERS}`
  if (definition.kind === 'tool' && [definition.input, definition.output].some(hasExternalReference)) {
    return 'its schema refers to another document ($ref), which a client may fetch'
  }
  if (definition.kind === 'prompt' && Object.keys(definition.arguments?.properties ?? {}).length > MAX_ARGUMENTS) {
    return `it has more than ${MAX_ARGUMENTS} arguments`
  }
  try {
    if (definition.kind === 'resource-template') checkTemplateSize(definition)
    checkDefinition(definition)
    return undefined
  } catch (err) {
    return (err as Error).message
  }
}

function checkTemplateSize ({ uriTemplate }: ResourceTemplateDefinition): void {
  if (uriTemplate.length > MAX_TEMPLATE_CHARACTERS) {
    throw new Error(`the template is longer than ${MAX_TEMPLATE_CHARACTERS} characters`)
  }
  if (parseUriTemplate(uriTemplate).names.length > MAX_TEMPLATE_VARIABLES) {
    throw new Error(`the template has more than ${MAX_TEMPLATE_VARIABLES} variables`)
  }
}

/** Finds references to anything but the schema itself (JSON Schema 2020-12, section 8.2.3). */
function hasExternalReference (schema: unknown): boolean {
  if (typeof schema !== 'object' || schema === null) return false
  return Object.entries(schema).some(([name, value]) => {
    const isReference = (name === '$ref' || name === '$dynamicRef') && typeof value === 'string'
    return isReference ? !value.startsWith('#') : hasExternalReference(value)
  })
}

function toTool (tool: Tool, server: MountedServer, uris: UriPrefix): ToolDefinition {
  const { mount } = server
  const { name, title, description = '', inputSchema, outputSchema, annotations, icons, _meta: meta } = tool
  const override = typeof mount.tools === 'object' ? mount.tools.overrides?.[name] : undefined
  return {
    kind: 'tool',
    checkedUpstream: true,
    ...policyOf(mount, override),
    name: `${mount.name}_${override?.name ?? name}`,
    description: override?.description ?? withoutHiddenText(description),
    input: inputSchema as unknown as TObject,
    ...defined({
      title: override?.title ?? withoutHiddenText(title),
      output: outputSchema as unknown as TObject | undefined,
      annotations,
      icons,
      _meta: meta && withUiPrefix(meta, uris),
      timeoutSeconds: override?.timeoutSeconds ?? mount.timeoutSeconds
    }),
    handler: async (input, context) => {
      const result = await server.use(async (client) =>
        await client.callTool({ name, arguments: input, ...metaOf(context, server) }, {
          ...optionsOf(context), toolDefinition: tool
        }), context.signal)
      return new UpstreamResult(uris.addToResult(withoutOwnMeta(result)))
    }
  }
}

function toPrompt (prompt: Prompt, server: MountedServer, uris: UriPrefix): PromptDefinition {
  const { mount, offers: { completes } } = server
  const { name, title, description, arguments: args = [], icons, _meta: meta } = prompt
  const properties = Object.fromEntries(args.map(({ name, description, ...argument }) =>
    [name, { type: 'string', title: (argument as { title?: unknown }).title, description }]))
  const required = args.filter((argument) => argument.required === true).map((argument) => argument.name)
  return {
    kind: 'prompt',
    ...policyOf(mount),
    name: `${mount.name}_${name}`,
    complete: completes
      ? completions(args.map((argument) => argument.name), server, { type: 'ref/prompt', name })
      : {},
    ...defined({
      title: withoutHiddenText(title),
      description: withoutHiddenText(description),
      arguments: args.length > 0 ? { type: 'object', properties, required } as unknown as TObject : undefined,
      icons,
      _meta: meta,
      timeoutSeconds: mount.timeoutSeconds
    }),
    handler: async (input, context) => {
      const result = await server.use(async (client) =>
        await client.getPrompt({ name, arguments: input as Record<string, string>, ...metaOf(context, server) },
          optionsOf(context)), context.signal)
      return new UpstreamResult(uris.addToResult(withoutOwnMeta(result))) as never
    }
  }
}

function toResource (resource: Resource, server: MountedServer, uris: UriPrefix): ResourceDefinition {
  const { uri, name, title, description, mimeType, annotations, icons, size, _meta: meta } = resource
  return {
    kind: 'resource',
    ...policyOf(server.mount),
    uri: uris.add(uri),
    name,
    ...defined({
      title: withoutHiddenText(title),
      description: withoutHiddenText(description),
      mimeType,
      annotations,
      icons,
      size,
      _meta: meta,
      timeoutSeconds: server.mount.timeoutSeconds
    }),
    read: async (context) => await read(uri, server, uris, context)
  }
}

function toTemplate (
  template: ResourceTemplateType, server: MountedServer, uris: UriPrefix
): ResourceTemplateDefinition {
  const { uriTemplate, name, title, description, mimeType, annotations, icons, _meta: meta } = template
  const names = [...uriTemplate.matchAll(/\{[+#./;?&]?([\w,]+)\*?\}/g)].flatMap(([, list]) => list!.split(','))
  return {
    kind: 'resource-template',
    ...policyOf(server.mount),
    uriTemplate: uris.add(uriTemplate),
    name,
    complete: server.offers.completes ? completions(names, server, { type: 'ref/resource', uri: uriTemplate }) : {},
    ...defined({
      title: withoutHiddenText(title),
      description: withoutHiddenText(description),
      mimeType,
      annotations,
      icons,
      _meta: meta,
      timeoutSeconds: server.mount.timeoutSeconds
    }),
    read: async (_params, context) => {
      const uri = uris.remove(context.uri)
      return isUriSelected(uri, uriTemplate, server.mount.resources)
        ? await read(uri, server, uris, context)
        : undefined
    }
  }
}

async function read (uri: string, server: MountedServer, uris: UriPrefix, context: RequestContext): Promise<object> {
  const result = await server.use(async (client) =>
    await client.readResource({ uri, ...metaOf(context, server) }, { ...optionsOf(context), cacheMode: 'bypass' }),
  context.signal)
  return new UpstreamResult(uris.addToResult(withoutOwnMeta(result)))
}

type Reference = { type: 'ref/prompt', name: string } | { type: 'ref/resource', uri: string }

function completions (
  names: readonly string[], server: MountedServer, ref: Reference
): NonNullable<PromptDefinition['complete']> {
  const timeout = (server.mount.timeoutSeconds ?? COMPLETION_SECONDS) * 1_000
  return Object.fromEntries(names.map((name) => [name, async (value: string, given: Record<string, string>) => {
    const work = server.use(async (client) =>
      await client.complete({ ref, argument: { name, value }, context: { arguments: given } }, { timeout }))
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

function optionsOf (context: RequestContext) {
  const wantsProgress = (context as Partial<RunContext>).requestMeta?.['progressToken'] !== undefined
  return {
    ...NO_TIMEOUT,
    signal: context.signal,
    ...(wantsProgress && {
      onprogress: ({ progress, total, message }: Progress) => {
        context.progress(progress, total, message)
      }
    })
  }
}

/**
 * Returns the client's `_meta` without what belongs to its own connection: the envelope and the progress token. Where
 * Seed traces requests, the trace goes on in the header `traceparent`, with Seed's own span as the parent.
 */
function metaOf (context: RequestContext, { isTraced }: MountedServer): { _meta?: Record<string, unknown> } {
  const { requestMeta = {} } = context as Partial<RunContext>
  const own = Object.entries(requestMeta).filter(([name]) =>
    name !== 'progressToken' && !name.startsWith(RESERVED_META) && !(isTraced && TRACE_META.includes(name)))
  return own.length === 0 ? {} : { _meta: Object.fromEntries(own) }
}

/** Of the connection between two neighbours (MCP 2026-07-28, `_meta`). */
const RESERVED_META = 'io.modelcontextprotocol/'
const TRACE_META: readonly string[] = ['traceparent', 'tracestate']

/** Returns a result without `_meta` of the connection to the mounted server, such as its name and version. */
function withoutOwnMeta<Result extends { _meta?: Record<string, unknown> | undefined }> (result: Result): Result {
  if (result._meta === undefined) return result
  const { _meta: meta, ...others } = result
  const passed = Object.entries(meta!).filter(([name]) => !name.startsWith(RESERVED_META))
  return { ...others, ...(passed.length > 0 && { _meta: Object.fromEntries(passed) }) } as Result
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

/**
 * Removes what a person does not see and a model reads: control characters, marks that turn the direction of text, and
 * the tags block of Unicode.
 */
function withoutHiddenText<Text extends string | undefined> (text: Text): Text {
  return text?.replace(/(?![\n\t])[\p{Cc}\p{Co}\u202A-\u202E\u2066-\u2069\u{E0000}-\u{E007F}]/gu, '') as Text
}
