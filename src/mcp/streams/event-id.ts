/**
 * The place in a session's streams where a client wants to continue, from `Last-Event-ID` (MCP 2025-11-25,
 * resumability): an event of a call's stream, or a position of the standalone streams.
 */
export type EventId = CallEventId | StandalonePosition

export interface CallEventId {
  /** The name of the call's stream; it begins with the id of the replica that runs the call. */
  stream: string
  number: number
}

/** A position in the two logs of a session's standalone streams: the numbers of the last entries read. */
export interface StandalonePosition {
  queue: number
  changes: number
}

/** @returns undefined for an id that this server has not issued */
export function parseEventId (id: string): EventId | undefined {
  const [, stream, number] = /^([\w-]{12}\.[\w-]{12})\.(\d{1,9})$/.exec(id) ?? []
  return stream === undefined ? parsePosition(id) : { stream, number: Number(number) }
}

export function formatCallEventId (stream: string, number: number): string {
  return `${stream}.${number}`
}

export function parsePosition (id: string): StandalonePosition | undefined {
  const [, queue, changes] = /^s\.(\d{1,15})\.(\d{1,15})$/.exec(id) ?? []
  return queue === undefined ? undefined : { queue: Number(queue), changes: Number(changes) }
}

export function formatPosition ({ queue, changes }: StandalonePosition): string {
  return `s.${queue}.${changes}`
}
