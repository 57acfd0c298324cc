import { describeDefinition, recordFile, recordListHint, recordMount } from '../../define/definition.ts'
import type { Definition } from '../../define/definition.ts'
import { isUriSelected } from '../../selection/uri-selection.ts'
import type { Offers } from '../connection/lists.ts'
import type { MountedServer } from '../server/mounted-server.ts'
import { MAX_TEMPLATES, problemOf } from './offer-limits.ts'
import { toPrompt, toResource, toTemplate, toTool } from './offered-definition.ts'
import { comparePins, isAccepted, pinOffers } from '../pins/pins.ts'
import type { PinChange, PinKind } from '../pins/pins.ts'
import { describeRuleAgainstName, describeRuleAgainstTool } from '../settings/selection.ts'
import { UriPrefix } from './uri-prefix.ts'

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

/** Something that the operator does not offer. */
export interface ExcludedOffer {
  definition: Definition
  /** Its name, or its URI, at the server. */
  nameAtServer: string
  /** `tools.deny: delete_*` */
  rule: string
}

interface MadeDefinition {
  definition: Definition
  /** The name or URI at the mounted server. */
  name: string
  /** As the server said it. */
  offer: object
}

/** The kinds of pins, by those of definitions. */
const PINNED_AS: Record<Definition['kind'], PinKind> = {
  tool: 'tools', prompt: 'prompts', resource: 'resources', 'resource-template': 'resourceTemplates'
}

/** The lists that definitions of each kind come from. */
const LISTED_IN = {
  tool: 'tools', prompt: 'prompts', resource: 'resources', 'resource-template': 'templates'
} as const

/** Makes definitions of what a mounted server offers and the operator has chosen. */
export function toDefinitions (server: MountedServer): MountedDefinitions {
  const { mount } = server
  const selected = selectOffers(server)
  const { tools } = selected
  const withResources = mount.pin?.resources === true
  const offered = mount.pins && pinOffers(selected, withResources)
  const all = makeDefinitions(server, selected)
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
    const isPinned = kind !== 'resources' || withResources
    if (offered && isPinned && !isAccepted({ kind, name, offer }, mount.pins!, offered)) continue
    names.add(description)
    if (definition.kind === 'resource-template') templateCount++
    recordFile(definition, `mount ${mount.name}`)
    recordMount(definition, mount.name)
    recordListHint(definition, server.freshness.hints[LISTED_IN[definition.kind]])
    definitions.push(definition)
  }
  return {
    definitions,
    refused,
    changes: offered && comparePins(mount.pins!, offered),
    namesAtServer: new Map(all.map(({ definition, name }) => [definition, name]))
  }
}

function makeDefinitions (
  server: MountedServer, { tools, prompts, resources, templates }: Pick<Offers, OfferList>
): MadeDefinition[] {
  const uris = new UriPrefix(server.mount, server.offers)
  return [
    ...tools.map((offer) => ({ definition: toTool(offer, server, uris), name: offer.name, offer })),
    ...prompts.map((offer) => ({ definition: toPrompt(offer, server, uris), name: offer.name, offer })),
    ...resources.map((offer) => ({ definition: toResource(offer, server, uris), name: offer.uri, offer })),
    ...templates.map((offer) => ({ definition: toTemplate(offer, server, uris), name: offer.uriTemplate, offer }))
  ]
}

/** Returns what the operator has chosen of what a server offers. */
export function selectOffers (server: Pick<MountedServer, 'mount' | 'offers'>): Offers {
  return { ...server.offers, ...filterOffers(server, (rule) => rule === undefined) }
}

/** Returns what the operator does not offer, each with the rule of the file that says so: `tools.deny: delete_*`. */
export function findExcluded (server: MountedServer): ExcludedOffer[] {
  const rules = new Map<object, string>()
  const excluded = filterOffers(server, (rule, offer) => {
    if (rule !== undefined) rules.set(offer, rule)
    return rule !== undefined
  })
  return makeDefinitions(server, excluded)
    .map(({ definition, name, offer }) => ({ definition, nameAtServer: name, rule: rules.get(offer)! }))
}

/** Tells whether the operator offers a URI, as clients see it, to which a template of the server leads. */
export function isReadable ({ mount, offers }: MountedServer, uri: string, uriTemplate: string): boolean {
  return isUriSelected(new UriPrefix(mount, offers).remove(uri), uriTemplate, mount.resources)
}

type OfferList = 'tools' | 'prompts' | 'resources' | 'templates'

/** @param keep decides by the rule that excludes an offer; there is none for what is offered */
function filterOffers (
  { mount, offers }: Pick<MountedServer, 'mount' | 'offers'>, keep: (rule: string | undefined, offer: object) => boolean
): Pick<Offers, OfferList> {
  const ruleFor = (uri: string): string | undefined => describeRuleAgainstName('resources', uri, mount.resources)
  return {
    tools: offers.tools.filter((tool) => keep(describeRuleAgainstTool(tool, mount.tools), tool)),
    prompts: offers.prompts.filter((one) => keep(describeRuleAgainstName('prompts', one.name, mount.prompts), one)),
    resources: offers.resources.filter((one) => keep(ruleFor(one.uri), one)),
    templates: offers.templates.filter((one) => keep(ruleFor(one.uriTemplate), one))
  }
}
