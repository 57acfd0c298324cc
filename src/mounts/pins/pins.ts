import { createHash } from 'node:crypto'
import { canonicalJson } from '../../json/canonical-json.ts'
import { MAX_DEPTH, isDeeperThan } from '../../json/depth.ts'

/** The kinds of offers that can be pinned, each by its member in the file of pins. */
export const PIN_KINDS = ['tools', 'prompts', 'resources', 'resourceTemplates'] as const
export type PinKind = typeof PIN_KINDS[number]

/** Something that the operator has accepted, as the mounted server said it. */
export interface Pin {
  /** The digest of the canonical JSON of `offer`, in hexadecimal. */
  sha256: string
  offer: object
}

/** By the names, URIs or URI templates at the mounted server. */
export type Pins = Readonly<Record<PinKind, ReadonlyMap<string, Pin>>>

/** The pin of something that the server offers now. */
interface OfferedPin extends Pin {
  /** What the server said, with what is not pinned. */
  source: object
}

export type OfferedPins = Readonly<Record<PinKind, ReadonlyMap<string, OfferedPin>>>

/** A difference between what was accepted and what a server offers now. What is new or changed is hidden. */
export interface PinChange {
  kind: PinKind
  name: string
  change: 'new' | 'changed' | 'removed'
  accepted: object | undefined
  offered: object | undefined
}

interface PinnableOffers {
  tools: ReadonlyArray<{ name: string }>
  prompts: ReadonlyArray<{ name: string }>
  resources: readonly PinnableResource[]
  templates: ReadonlyArray<{ uriTemplate: string }>
}

interface PinnableResource {
  uri: string
  size?: number | undefined
  annotations?: { lastModified?: string | undefined } | undefined
}

/** Returns the digest of something that a server offers; equal values have equal ones, whatever order members have. */
export function digestOf (offer: object): string {
  return createHash('sha256').update(canonicalJson(offer)).digest('hex')
}

/**
 * Pins everything that a server offers, but what is too deep to be offered.
 *
 * @param withResources whether single resources are pinned: they may come and go, as their content does
 */
export function pinOffers (
  { tools, prompts, resources, templates }: PinnableOffers, withResources = false
): OfferedPins {
  return {
    tools: pinAll(tools.map((tool) => [tool.name, tool])),
    prompts: pinAll(prompts.map((prompt) => [prompt.name, prompt])),
    resources: pinAll(withResources ? resources.map((resource) => [resource.uri, resource]) : [], withoutContent),
    resourceTemplates: pinAll(templates.map((template) => [template.uriTemplate, template]))
  }
}

/** Returns what a server says of a resource, without what changes with its content. */
function withoutContent ({ size, annotations, ...resource }: PinnableResource): object {
  const { lastModified, ...stable } = annotations ?? {}
  return Object.keys(stable).length === 0 ? resource : { ...resource, annotations: stable }
}

/** A server that offers a name twice is pinned with the first one: the other is never accepted (isAccepted). */
function pinAll<Offer extends object> (
  offers: ReadonlyArray<readonly [string, Offer]>, toPinned: (source: Offer) => object = (source) => source
): ReadonlyMap<string, OfferedPin> {
  const pins = new Map<string, OfferedPin>()
  for (const [name, source] of offers) {
    if (pins.has(name) || isDeeperThan(source, MAX_DEPTH)) continue
    const offer = toPinned(source)
    pins.set(name, { sha256: digestOf(offer), offer, source })
  }
  return pins
}

/** Finds what differs between accepted and offered, in the order of their names. */
export function comparePins (accepted: Pins, offered: Pins): PinChange[] {
  return PIN_KINDS.flatMap((kind) => {
    const names = [...new Set([...accepted[kind].keys(), ...offered[kind].keys()])].sort()
    return names.flatMap((name): PinChange[] => {
      const [before, now] = [accepted[kind].get(name), offered[kind].get(name)]
      if (before?.sha256 === now?.sha256) return []
      const change = before === undefined ? 'new' : now === undefined ? 'removed' : 'changed'
      return [{ kind, name, change, accepted: before?.offer, offered: now?.offer }]
    })
  })
}

/**
 * Tells whether an offer was accepted as it is: by its own digest, as a server may offer a name twice.
 *
 * @param offered the pins of all that the server offers
 */
export function isAccepted (
  { kind, name, offer }: { kind: PinKind, name: string, offer: object }, accepted: Pins, offered: OfferedPins
): boolean {
  const pin = offered[kind].get(name)
  return pin?.source === offer && accepted[kind].get(name)?.sha256 === pin.sha256
}
