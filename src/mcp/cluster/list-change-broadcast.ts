import type { JSONRPCNotification, ServerEvent, ServerEventBus } from '@modelcontextprotocol/server'
import { Type } from 'typebox'
import { createCoalescedTask } from '../../async/coalesced-task.ts'
import { keys } from '../../store/keys.ts'
import { defineMessage } from '../../store/record.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { Cluster } from './cluster.ts'

const MAX_ENTRIES = 1_000
const TTL_SECONDS = 86_400
/** Finds changes whose message was lost, or that could not be read when it came. */
const POLL_MS = 5_000

export interface ChangeLogLog {
  warn (fields: object, message: string): void
}

const changeRecord = defineMessage('list or resource change', Type.Union([
  Type.Object({
    kind: Type.Enum(['tools_list_changed', 'prompts_list_changed', 'resources_list_changed']),
    /** The path of the MCP endpoint whose list it is. A handler, which announces one without, cannot tell. */
    endpoint: Type.Optional(Type.String())
  }),
  Type.Object({ kind: Type.Literal('resource_updated'), uri: Type.String() })
]))

/** A change, and the MCP endpoint that it concerns; all where absent. */
export type Change = ServerEvent & { endpoint?: string }

type Listener = (number: number, change: Change) => void

export interface ChangesRead {
  /** Without an event where the entry could not be read. */
  changes: Array<[number: number, event: Change | undefined]>
  /** The number of the newest change; 0 where there is none. */
  newest: number
}

export type ChangeLog = ReturnType<typeof createChangeLog>

/**
 * Changes of what this server offers (lists and resources), on their way to the clients of every replica: a numbered
 * log in the store, which each replica reads in order. It feeds both the subscriptions of 2026-07-28 and the standalone
 * streams of the 2025 revisions.
 */
export function createChangeLog (
  { store, replicas, runInBackground, onBackgroundError }: Cluster,
  log: ChangeLogLog,
  pollMs = POLL_MS
) {
  const listeners = new Set<Listener>()
  /** The newest change that listeners were called with; undefined until the end of the log is known. */
  let last: number | undefined
  /** Changes that replicas have announced before the end of the log was known. */
  let announced = 0
  /** Changes that the store did not take, by their text. */
  const unpublished = new Map<string, Change>()
  const reading = createCoalescedTask(readNewChanges, onBackgroundError)

  async function since (number: number): Promise<ChangesRead> {
    const { entries, newest } = await store.entries(keys.changes(), number)
    return { changes: entries.map(([at, text]) => [at, changeRecord.parse(store, text)]), newest }
  }

  async function newest (): Promise<number> {
    return (await since(Number.MAX_SAFE_INTEGER)).newest
  }

  async function readNewChanges (): Promise<void> {
    last ??= Math.max(0, await newest() - announced)
    let read = await since(last)
    // A store that has lost the log counts from the beginning again.
    if (read.newest < last) {
      last = 0
      read = await since(0)
    }
    for (const [number, event] of read.changes) {
      last = number
      if (event !== undefined) for (const listener of listeners) listener(number, event)
    }
  }

  async function append (event: Change): Promise<void> {
    try {
      await store.append(keys.changes(), JSON.stringify(event), { ttlSeconds: TTL_SECONDS, maxEntries: MAX_ENTRIES })
      replicas.send({ kind: 'change-published' })
    } catch (err) {
      if (!(err instanceof StoreUnavailableError)) throw err
      log.warn({ event: 'mcp.change_delayed', change: event.kind },
        'The store is unavailable: clients will be notified of a change once it is back')
      unpublished.set(JSON.stringify(event), event)
    }
  }

  function publish (event: Change): void {
    runInBackground(append(event))
  }

  function poll (): void {
    const events = [...unpublished.values()]
    unpublished.clear()
    for (const event of events) publish(event)
    reading.request()
  }

  /** @returns a function that removes the listener */
  function onChange (listener: Listener): () => void {
    listeners.add(listener)
    return () => { listeners.delete(listener) }
  }

  replicas.onMessage((message) => {
    if (message.kind !== 'change-published') return
    if (last === undefined) announced++
    reading.request()
  })
  replicas.onGap(poll)
  reading.request()
  const polling = setInterval(poll, pollMs).unref()

  return {
    /** Appends a change to the log, at once or when the store is back. */
    publish,
    /** Calls the listener for each change from now on, in order. @returns a function that removes the listener */
    onChange,
    /** The changes after a number. @throws StoreUnavailableError */
    since,
    /** The number of the newest change. @throws StoreUnavailableError */
    newest,
    stop (): void { clearInterval(polling) }
  }
}

export type EndpointChanges = ReturnType<typeof createEndpointChanges>

/**
 * The change log as the clients of one MCP endpoint see it. The numbers are those of the whole log; a change that
 * concerns other endpoints alone is undefined.
 *
 * @param endpoint its path
 */
export function createEndpointChanges (log: ChangeLog, endpoint: string) {
  function own (change: Change | undefined): ServerEvent | undefined {
    return change?.endpoint === undefined || change.endpoint === endpoint ? change : undefined
  }

  /** @returns a function that removes the listener */
  function onChange (listener: (number: number, event: ServerEvent | undefined) => void): () => void {
    return log.onChange((number, change) => { listener(number, own(change)) })
  }

  /** The changes as the SDK's subscriptions know them. */
  const bus: ServerEventBus = {
    publish: log.publish,
    subscribe: (listener) => onChange((_number, event) => {
      if (event !== undefined) listener(event)
    })
  }

  return {
    bus,
    onChange,
    /** Announces that a list of this endpoint has changed. */
    publishOwn (event: ServerEvent): void { log.publish({ ...event, endpoint }) },
    /** The changes after a number. @throws StoreUnavailableError */
    async since (number: number) {
      const { changes, newest } = await log.since(number)
      return { changes: changes.map(([at, change]): [number, ServerEvent | undefined] => [at, own(change)]), newest }
    },
    newest: log.newest
  }
}

/** The notification for a change. An updated resource concerns only the clients that have subscribed to it. */
export function toNotification (event: ServerEvent): JSONRPCNotification {
  const method = {
    tools_list_changed: 'notifications/tools/list_changed',
    prompts_list_changed: 'notifications/prompts/list_changed',
    resources_list_changed: 'notifications/resources/list_changed',
    resource_updated: 'notifications/resources/updated'
  }[event.kind]
  return { jsonrpc: '2.0', method, ...(event.kind === 'resource_updated' && { params: { uri: event.uri } }) }
}
