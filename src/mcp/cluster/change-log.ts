import type { JSONRPCNotification, ServerEvent, ServerEventBus } from '@modelcontextprotocol/server'
import { keys } from '../../store/keys.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'
import { runInBackground } from './background.ts'
import type { BackgroundLog } from './background.ts'
import type { Replicas } from './replicas.ts'

/**
 * Changes of what this server offers (its tools, for one), told to clients on every replica: a numbered log in the
 * store, which each replica reads on. Subscriptions of 2026-07-28 and standalone streams of the 2025 revisions both
 * live on it.
 */
export interface ChangeLog {
  /** For the SDK's subscriptions. */
  readonly bus: ServerEventBus
  /** Calls for each change from now on, in order. @returns what ends it */
  onChange (listener: (number: number, event: ServerEvent) => void): () => void
  /** The changes after a number, and the number of the newest. @throws StoreUnavailableError */
  since (number: number): Promise<{ changes: Array<[number: number, event: ServerEvent]>, newest: number }>
  stop (): void
}

const MOST = 1_000
const TTL_SECONDS = 86_400
/** Should a message be lost on its way, or the store not answer when it came. */
const LOOK_MS = 5_000

export interface ChangeLogOptions {
  store: Store
  replicas: Replicas
  log: BackgroundLog & { warn (fields: object, message: string): void }
  lookMs?: number | undefined
}

export function createChangeLog ({ store, replicas, log, lookMs = LOOK_MS }: ChangeLogOptions): ChangeLog {
  const listeners = new Set<(number: number, event: ServerEvent) => void>()
  /** The newest that this replica has told of; undefined until it knows where the log stands. */
  let told: number | undefined
  let reading = false
  let again = false
  const unpublished = new Map<string, ServerEvent>()

  function tell (number: number, event: ServerEvent): void {
    for (const listener of listeners) listener(number, event)
  }

  async function since (number: number) {
    const { entries, newest } = await store.entries(keys.changes(), number)
    return { changes: entries.map(([at, text]): [number, ServerEvent] => [at, JSON.parse(text) as ServerEvent]), newest }
  }

  /** One reader at a time, so that listeners hear in order and once. */
  async function readOn (): Promise<void> {
    try {
      while (again) await readOnce()
    } finally {
      reading = false
    }
  }

  async function readOnce (): Promise<void> {
    again = false
    let read = await since(told ?? Number.MAX_SAFE_INTEGER)
    told ??= read.newest
    // A store that lost the log counts from the beginning again.
    if (read.newest < told) {
      told = 0
      read = await since(0)
    }
    for (const [number, event] of read.changes) {
      told = number
      tell(number, event)
    }
  }

  function read (): void {
    again = true
    if (reading) return
    reading = true
    runInBackground(readOn(), log)
  }

  replicas.onMessage((message) => { if (message.kind === 'changed') read() })
  replicas.onGap(look)
  read()
  const looking = setInterval(look, lookMs).unref()

  function look (): void {
    const events = [...unpublished.values()]
    unpublished.clear()
    for (const event of events) runInBackground(publish(event), log)
    read()
  }

  /** What the store does not take now, it is told when it is back. */
  async function publish (event: ServerEvent): Promise<void> {
    try {
      await store.append(keys.changes(), JSON.stringify(event), { ttlSeconds: TTL_SECONDS, most: MOST })
      replicas.send({ kind: 'changed' })
    } catch (err) {
      if (!(err instanceof StoreUnavailableError)) throw err
      log.warn({ change: event.kind }, 'Clients will be told of a change of what this server offers when the store is back')
      unpublished.set(JSON.stringify(event), event)
    }
  }

  return {
    bus: {
      publish (event) { runInBackground(publish(event), log) },
      subscribe (listener) {
        const hear = (_number: number, event: ServerEvent): void => { listener(event) }
        listeners.add(hear)
        return () => { listeners.delete(hear) }
      }
    },
    onChange (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    since,
    stop () { clearInterval(looking) }
  }
}

/** What a change is called on the wire. An update of a resource is for those alone who have subscribed to it. */
export function toNotification (event: ServerEvent): JSONRPCNotification {
  const method = {
    tools_list_changed: 'notifications/tools/list_changed',
    prompts_list_changed: 'notifications/prompts/list_changed',
    resources_list_changed: 'notifications/resources/list_changed',
    resource_updated: 'notifications/resources/updated'
  }[event.kind]
  return { jsonrpc: '2.0', method, ...(event.kind === 'resource_updated' && { params: { uri: event.uri } }) }
}
