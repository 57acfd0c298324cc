import type { Config } from '../config/config.ts'
import { VERSION } from '../config/version.ts'
import type { Definition } from '../define/definition.ts'
import { POLICY_RULES } from '../define/policy.ts'
import type { Policy } from '../define/policy.ts'
import { createCallerIdentity } from './caller/caller-identity.ts'
import { createCommandIdentity } from './command-identity.ts'
import { findExcluded, isReadable, selectOffers, toDefinitions } from './offers/definitions.ts'
import type { ExcludedOffer, RefusedOffer } from './offers/definitions.ts'
import { describePlace } from './settings/mount-place.ts'
import { MountedServer } from './server/mounted-server.ts'
import type { MountState } from './server/mounted-server.ts'
import type { Mount } from './settings/mounts-file.ts'
import { findOverride, placeOf } from './settings/overrides.ts'
import type { OverriddenMember } from './settings/overrides.ts'
import { pinOffers } from './pins/pins.ts'
import type { PinChange, Pins } from './pins/pins.ts'
import { findUnmatchedNames } from './settings/selection.ts'
import { TakenNames } from './offers/taken-names.ts'

export { readMounts } from './settings/mounts-file.ts'
export type { Mount } from './settings/mounts-file.ts'

/** A mounted server and its offers at the moment, for commands. */
export interface MountInspection {
  mount: Mount
  /** The URL without the query, which may have a key, or the command. */
  place: { url: string } | { command: string }
  state: MountState
  /** The offers that Seed makes of it. */
  offers: MountedOffer[]
  refused: readonly RefusedOffer[]
  /** What the operator does not offer. */
  excluded: readonly ExcludedOffer[]
  /** The differences from the accepted offers; undefined if the mount is not pinned. */
  changes: readonly PinChange[] | undefined
  /** Everything that could be pinned now. */
  current: Pins
  /** Names of `allow`, `deny` and `overrides` that fit nothing. */
  unmatched: readonly string[]
}

export interface MountedOffer {
  definition: Definition
  /** Its name, or its URI, at the server. */
  nameAtServer: string
  /** Its rules, each with the place of the file that it comes from. */
  rules: readonly string[]
  /** Tells whether `resources` of the mount lets clients read a URI, which the template, if it is one, leads to. */
  isReadable (uri: string): boolean
}

export interface InspectOptions {
  /** All mounts. */
  mounts: readonly Mount[]
  /** The mounts to connect to; all by default. */
  chosen?: readonly Mount[]
  /** The definitions of Seed and its extensions, whose names no mount can have. */
  own: readonly Definition[]
  config: Pick<Config, 'mcp' | 'secrets' | 'baseUrl' | 'oidc'>
}

/** Connects to mounted servers as the start does, once, and says what came of it. */
export async function inspectMounts (options: InspectOptions): Promise<MountInspection[]> {
  const { mounts, chosen = mounts, own, config } = options
  const { maxResultBytes } = config.mcp.tool
  const services = createCommandIdentity(config, SILENT)
  const taken = new TakenNames(own, mounts)
  return await Promise.all(chosen.map(async (mount) => {
    const server = new MountedServer({
      mount,
      version: VERSION,
      maxResultBytes,
      identify: createCallerIdentity(mount, services),
      log: SILENT,
      isTraced: false,
      onChanged () {},
      retryMs: NEVER_MS,
      minRefreshMs: NEVER_MS
    })
    try {
      await server.connect()
      const { definitions, refused, changes, namesAtServer } = toDefinitions(server)
      const { offered, refused: withoutName } = taken.divide(definitions, mount)
      const { state } = server
      return {
        mount,
        place: describePlace(mount),
        state,
        offers: offered.map((definition) => {
          const nameAtServer = namesAtServer.get(definition)!
          return {
            definition,
            nameAtServer,
            rules: describeRules(mount, definition, nameAtServer),
            isReadable: (uri) => isReadable(server, uri, nameAtServer)
          }
        }),
        refused: [...refused, ...withoutName],
        excluded: findExcluded(server),
        changes,
        current: pinOffers(selectOffers(server), mount.pin?.resources === true),
        unmatched: state.isConnected ? findUnmatchedNames(mount, server.offers) : []
      }
    } finally {
      await server.close()
    }
  }))
}

/** Finds the mount that a name or a URI that clients see belongs to; one without a prefix may have any other. */
export function findMountOf (name: string, mounts: readonly Mount[]): Mount | undefined {
  return mounts.find((mount) =>
    [`${mount.name}_`, `${mount.name}+`, `ui://${mount.name}/`].some((prefix) => name.startsWith(prefix))) ??
    mounts.find(({ prefix }) => prefix === false)
}

/** Names the places of the file that the rules of a definition come from: a rule of a tool replaces the mount's. */
function describeRules (mount: Mount, definition: Definition, nameAtServer: string): string[] {
  const member = OVERRIDDEN[definition.kind]
  const override = member && findOverride(mount, member, nameAtServer) as Policy | undefined
  return POLICY_RULES.filter((rule) => definition[rule] !== undefined).map((rule) => override?.[rule] === undefined
    ? `${rule} of mount "${mount.name}"`
    : `${rule} of mount "${mount.name}", ${placeOf(member!, nameAtServer)}`)
}

const OVERRIDDEN: Partial<Record<Definition['kind'], OverriddenMember>> = { tool: 'tools', prompt: 'prompts' }

/** The lists are fetched once, so nothing is tried again. */
const NEVER_MS = 60_000

const SILENT = { info () {}, warn () {}, error () {} }
