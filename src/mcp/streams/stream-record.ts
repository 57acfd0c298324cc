import { Type } from 'typebox'
import type { Static } from 'typebox'
import { keys } from '../../store/keys.ts'
import { defineMessage, defineRecord } from '../../store/record.ts'
import type { Store } from '../../store/store.ts'

const StreamRecordSchema = Type.Object({
  requests: Type.Array(Type.Union([Type.String(), Type.Number()])),
  /** The number of the last event, once the stream is complete. */
  closed: Type.Optional(Type.Integer()),
  /** Some events could not be stored: the stream cannot be resumed completely. */
  lost: Type.Optional(Type.Literal(true)),
  /** They were too large; otherwise the store failed, or has lost events that it had. */
  tooLarge: Type.Optional(Type.Literal(true)),
  /** Offset between the client's event numbers and those in the store. */
  shift: Type.Optional(Type.Integer())
})
/** The state of a call's stream, which the store holds beside the stream's events. */
export type StreamRecord = Static<typeof StreamRecordSchema>

const streamRecord = defineRecord("state of a call's stream", StreamRecordSchema)

const message = defineMessage('message of a stream', Type.Object({ jsonrpc: Type.Literal('2.0') }))

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
  return (await streamRecord.find(store, keys.stream(name.session, name.stream)))?.value
}

/** Whether an entry of a log is a message for the client. What is not would end up in the client's parser. */
export function isMessage (store: Store, text: string): boolean {
  return message.parse(store, text) !== undefined
}

export async function saveStreamRecord (
  store: Store,
  name: StreamName,
  record: StreamRecord,
  ttlSeconds = CLOSED_TTL_SECONDS
): Promise<void> {
  await store.set(keys.stream(name.session, name.stream), streamRecord.serialize(record), ttlSeconds)
}
