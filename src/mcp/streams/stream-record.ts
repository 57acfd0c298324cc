import type { RequestId } from '@modelcontextprotocol/server'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'

/** The state of a call's stream, which the store holds beside the stream's events. */
export interface StreamRecord {
  requests: RequestId[]
  /** The number of the last event, once the stream is complete. */
  closed?: number
  /** Some events could not be stored: the stream cannot be resumed completely. */
  lost?: true
  /** Offset between the client's event numbers and those in the store. */
  shift?: number
}

/** Events that the store holds of one stream. */
export const MAX_EVENTS = 1_000
/** Time for which a stream that is complete, or lost, can still be read. */
export const CLOSED_TTL_SECONDS = 300
/** Time that a client waits before it reconnects (the `retry` field of an event stream). */
export const RETRY_MS = 1_000

/** A stream by its session's digest and its name. */
export interface StreamName {
  session: string
  stream: string
}

export async function readStreamRecord (store: Store, name: StreamName): Promise<StreamRecord | undefined> {
  const text = await store.get(keys.stream(name.session, name.stream))
  return text === undefined ? undefined : JSON.parse(text) as StreamRecord
}

export async function saveStreamRecord (
  store: Store,
  name: StreamName,
  record: StreamRecord,
  ttlSeconds = CLOSED_TTL_SECONDS
): Promise<void> {
  await store.set(keys.stream(name.session, name.stream), JSON.stringify(record), ttlSeconds)
}
