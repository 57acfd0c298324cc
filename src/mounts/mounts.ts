import type { RequestLog } from '../define/context.ts'
import type { Definition } from '../define/definition.ts'
import type { Policy } from '../define/policy.ts'
import type { SharedCounters } from '../limits/shared-counters.ts'
import { createCallerIdentity } from './caller/caller-identity.ts'
import type { IdentityServices } from './caller/caller-identity.ts'
import type { Offers } from './connection/lists.ts'
import { toDefinitions } from './offers/definitions.ts'
import type { MountedDefinitions, RefusedOffer } from './offers/definitions.ts'
import { MountedServer } from './server/mounted-server.ts'
import type { Mount } from './settings/mounts-file.ts'
import { listOverrides } from './settings/overrides.ts'
import type { PinChange } from './pins/pins.ts'
import type { MountObserver } from './server/request-outcome.ts'
import { TakenNames } from './offers/taken-names.ts'

export { readMounts } from './settings/mounts-file.ts'

export interface MountsOptions {
  mounts: readonly Mount[]
  version: string
  /** MCP_MAX_RESULT_BYTES */
  maxResultBytes: number
  /** Make what tells mounted servers who calls. */
  identityServices: IdentityServices
  log: RequestLog
  /** Whether Seed traces requests. */
  isTraced?: boolean
  /** Measures requests and connections. */
  observer?: MountObserver | undefined
  /** For tests: the first pause after a failed attempt to connect; a second by default. */
  retryMs?: number
  /** For tests: the shortest time after which a server's hints have its lists fetched again; a minute by default. */
  minRefreshMs?: number
}

/** Changes that come together, as at the start, lead to one new catalog. */
const SETTLE_MS = 50
const MAX_LOGGED = 20

export type Mounts = ReturnType<typeof createMounts>

/** The MCP servers of SEED_MOUNTS, and everything that they offer. */
export function createMounts (options: MountsOptions) {
  const { mounts, version, maxResultBytes, log, isTraced = false, observer } = options
  const { retryMs = 1_000, minRefreshMs = 60_000 } = options
  let listener: (() => void) | undefined
  let timer: NodeJS.Timeout | undefined
  /** Of the last catalog. */
  let taken = new TakenNames([], mounts)
  const logRefused = createRefusalLog(log)
  const logHidden = createHiddenLog(log)
  const definitionsOf = createDefinitionCache()
  const servers = mounts.map((mount) => new MountedServer({
    mount,
    version,
    maxResultBytes,
    identify: createCallerIdentity(mount, options.identityServices),
    log,
    isTraced,
    onChanged,
    observer,
    retryMs,
    minRefreshMs
  }))

  function onChanged (): void {
    timer ??= setTimeout(() => {
      timer = undefined
      announceChange()
    }, SETTLE_MS)
    timer.unref()
  }

  /** Nobody waits for the timer: what the listener throws would end the process. */
  function announceChange (): void {
    try {
      listener?.()
    } catch (err) {
      log.error({ event: 'mount.change_refused', err },
        'What mounted MCP servers offer now cannot be served: clients keep the lists from before')
    }
  }

  return {
    /** Names the mounts without their secrets, as paths and queries may have some. */
    description: mounts.map(({ name, url, process }) =>
      process === undefined ? { name, origin: new URL(url!).origin } : { name, command: process.command }),

    /** The policies of all mounts and of their single tools and prompts, whether or not the servers can be reached. */
    policies: mounts.flatMap((mount): Policy[] => [
      mount as Policy, ...listOverrides(mount).map(({ override }) => override as Policy)
    ]),

    /** The state and the offers of each server, read when they are asked for. */
    watched: servers.map((server) => ({
      name: server.mount.name,
      isConnected: () => server.state.isConnected,
      counts: () => {
        const { definitions, refused, changes = [] } = definitionsOf(server)
        const { offered, refused: withoutName } = taken.divide(definitions, server.mount)
        const hidden = changes.filter(({ change }) => change !== 'removed').length
        return { offered: offered.length, hidden, refused: refused.length + withoutName.length }
      }
    })),

    /** Connects to all servers at once, and resolves when each has answered or failed, or after `waitMs`. */
    async connect (waitMs = 3_000): Promise<void> {
      let waiting: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => { waiting = setTimeout(resolve, waitMs) })
      await Promise.race([Promise.all(servers.map(async (server) => { await server.connect() })), late])
      clearTimeout(waiting)
    },

    /** Begins to count the calls of each person, with the other replicas (`callsPerMinute`). */
    countCalls (counters: SharedCounters): void {
      for (const server of servers) server.callLimits.share(counters)
    },

    /** @param changed called when `definitions` may return others */
    onChange (changed: () => void): void {
      listener = changed
    },

    /** Returns what the mounted servers offer, without what has a name of `own` definitions. */
    definitions (own: readonly Definition[]): Definition[] {
      taken = new TakenNames(own, mounts)
      return servers.flatMap((server) => {
        const { definitions, refused, changes = [] } = definitionsOf(server)
        const { offered, refused: withoutName } = taken.divide(definitions, server.mount)
        logRefused(server.mount.name, [...refused, ...withoutName])
        logHidden(server.mount.name, changes.filter(({ change }) => change !== 'removed'))
        return offered
      })
    },

    /** Tells servers that know the client of a session that its roots have changed. @param session its digest */
    rootsChanged (session: string): void {
      for (const server of servers) server.rootsChanged(session)
    },

    async close (): Promise<void> {
      clearTimeout(timer)
      await Promise.all(servers.map(async (server) => { await server.close() }))
    }
  }
}

/** Returns a function that makes the definitions of a server, and keeps them for as long as its offers are the same. */
function createDefinitionCache () {
  const known = new Map<MountedServer, { offers: Offers, made: MountedDefinitions }>()
  return (server: MountedServer): MountedDefinitions => {
    const { offers } = server
    const last = known.get(server)
    if (last?.offers === offers) return last.made
    const made = toDefinitions(server)
    known.set(server, { offers, made })
    return made
  }
}

/** Returns a function that logs what a mount cannot offer, once for as long as it is the same. */
function createRefusalLog (log: RequestLog) {
  return logOnce((mount, count, refused: RefusedOffer[]) => {
    log.warn({ event: 'mount.offers_refused', mount, count, refused },
      'A mounted MCP server offers something that Seed cannot offer to its clients')
  })
}

/** Returns a function that logs what is hidden of a mount until the operator accepts it. */
function createHiddenLog (log: RequestLog) {
  return logOnce((mount, count, changes: PinChange[]) => {
    const hidden = changes.map(({ kind, name, change }) => ({ kind, name: name.slice(0, 200), change }))
    log.warn({ event: 'mount.offer_changed', mount, count, hidden },
      'A mounted MCP server offers something that is new or was changed since it was accepted (pin): it is hidden. ' +
      'seed mounts diff shows it')
  })
}

/** Returns a function that logs a list of a mount, unless it is empty, once for as long as it is the same. */
function logOnce<Item> (write: (mount: string, count: number, items: Item[]) => void) {
  const known = new Map<string, string>()
  return (mount: string, items: readonly Item[]): void => {
    const text = JSON.stringify(items)
    if (known.get(mount) === text) return
    known.set(mount, text)
    if (items.length > 0) write(mount, items.length, items.slice(0, MAX_LOGGED))
  }
}
