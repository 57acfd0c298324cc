import type { Definition } from '../define/definition.ts'
import type { Policy } from '../define/policy.ts'
import { toDefinitions } from './definitions.ts'
import type { RefusedOffer } from './definitions.ts'
import { MountedServer, withoutQuery } from './mounted-server.ts'
import type { MountState } from './mounted-server.ts'
import type { Mount } from './mounts-file.ts'
import { findUnmatchedNames } from './selection.ts'

export { readMounts } from './mounts-file.ts'
export type { Mount } from './mounts-file.ts'

/** What a mounted server is and offers at the moment, for commands. */
export interface MountInspection {
  mount: Mount
  /** Without the query, which may have a key. */
  url: string
  state: MountState
  /** What Seed offers of it. */
  offers: MountedOffer[]
  refused: readonly RefusedOffer[]
  /** Names of `allow`, `deny` and `overrides` that fit nothing. */
  unmatched: readonly string[]
}

export interface MountedOffer {
  definition: Definition
  /** Its name, or its URI, at the server. */
  nameAtServer: string
  /** Its rules, each with the place of the file that it comes from. */
  rules: readonly string[]
}

/** Connects to mounted servers as the start does, once, and says what came of it. */
export async function inspectMounts (
  mounts: readonly Mount[], options: { version: string, maxResultBytes: number }
): Promise<MountInspection[]> {
  return await Promise.all(mounts.map(async (mount) => {
    const server = new MountedServer({
      mount, ...options, log: SILENT, isTraced: false, onChanged () {}, retryMs: NEVER_MS
    })
    try {
      await server.connect()
      const { definitions, refused, namesAtServer } = toDefinitions(server)
      const { state } = server
      return {
        mount,
        url: withoutQuery(mount.url),
        state,
        offers: definitions.map((definition) => {
          const nameAtServer = namesAtServer.get(definition)!
          return { definition, nameAtServer, rules: describeRules(mount, definition, nameAtServer) }
        }),
        refused,
        unmatched: state.isConnected ? findUnmatchedNames(mount, server.offers) : []
      }
    } finally {
      await server.close()
    }
  }))
}

/** Tells whether a name or a URI that clients see is one of this mount. */
export function belongsToMount (name: string, mount: string): boolean {
  return [`${mount}_`, `${mount}+`, `ui://${mount}/`].some((prefix) => name.startsWith(prefix))
}

/** Names the places of the file that the rules of a definition come from: a rule of a tool replaces the mount's. */
function describeRules ({ name, tools }: Mount, definition: Definition, nameAtServer: string): string[] {
  const overrides = definition.kind === 'tool' && typeof tools === 'object' ? tools.overrides ?? {} : {}
  const override = overrides[nameAtServer] as Policy | undefined
  return RULES.filter((rule) => definition[rule] !== undefined).map((rule) => override?.[rule] === undefined
    ? `${rule} of mount "${name}"`
    : `${rule} of mount "${name}", tools.overrides.${nameAtServer}`)
}

const RULES = ['principalKind', 'scopes', 'groups', 'claims', 'maxAge', 'acr'] as const

/** The lists are fetched once, so nothing is tried again. */
const NEVER_MS = 60_000

const SILENT = { debug () {}, info () {}, warn () {}, error () {} }
