import { Type } from 'typebox'
import type { Static } from 'typebox'
import { randomId } from '../../crypto/hash.ts'
import { keys } from '../../store/keys.ts'
import { defineMessage } from '../../store/record.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'

const Session = Type.String()
const Stream = Type.String()
/** A position in a session's queue, with the stream that reads it. */
const Reading = {
  session: Session, reader: Type.String(), position: Type.String({ pattern: '^s\\.[0-9]{1,15}\\.[0-9]{1,15}$' })
}

/** A message from one replica to another, or to all. */
const MessageSchema = Type.Union([
  /** The store holds the client's response to a request of this server. */
  Type.Object({ kind: Type.Literal('request-answered'), request: Type.String() }),
  /** A client cancelled its request. */
  Type.Object({
    kind: Type.Literal('call-cancelled'), session: Session, request: Type.Union([Type.String(), Type.Number()])
  }),
  Type.Object({ kind: Type.Literal('session-ended'), session: Session }),
  Type.Object({ kind: Type.Literal('log-level-changed'), session: Session }),
  Type.Object({ kind: Type.Literal('subscriptions-changed'), session: Session }),
  /** The client of a session has other roots now. */
  Type.Object({ kind: Type.Literal('roots-changed'), session: Session }),
  /** The client of a call's stream now reads it at the replica `reader`. */
  Type.Object({ kind: Type.Literal('stream-resumed'), stream: Stream, reader: Type.String() }),
  /** A call's stream that this replica reads has a new event, or has ended. */
  Type.Object({ kind: Type.Literal('event-appended'), stream: Stream }),
  /** A call's stream that this replica reads is read elsewhere now. */
  Type.Object({ kind: Type.Literal('stream-moved'), stream: Stream }),
  /** A message was queued for the standalone streams of a session. */
  Type.Object({ kind: Type.Literal('message-queued'), session: Session }),
  /** The stream `reader` is now the newest standalone stream of its session, from `position` on. */
  Type.Object({ kind: Type.Literal('stream-claimed'), ...Reading }),
  /** The newest standalone stream of a session has ended; it was read until `position`. */
  Type.Object({ kind: Type.Literal('stream-released'), ...Reading }),
  /** The replica `reader` continues a call that this one holds: the store has what the client has sent. */
  Type.Object({ kind: Type.Literal('held-call-continued'), call: Type.String(), reader: Type.String() }),
  /** The store has an event of a call that this replica has continued. */
  Type.Object({ kind: Type.Literal('held-call-event'), call: Type.String() }),
  /** Nobody waits any more for a call that this replica runs for another one. */
  Type.Object({ kind: Type.Literal('held-call-abandoned'), call: Type.String() }),
  /** The change log has a new entry. */
  Type.Object({ kind: Type.Literal('change-published') })
])

export type ReplicaMessage = Static<typeof MessageSchema>

const messageRecord = defineMessage('message between replicas', MessageSchema)

const HEARTBEAT_MS = 2_000
/** A replica counts as dead after three missed heartbeats. */
const ALIVE_SECONDS = 6
const CHANNEL = 'replicas'

export type Replicas = ReturnType<typeof createReplicas>

/**
 * The replicas of this server: messages between them over the store's channels, and a heartbeat in the store. Messages
 * may be lost, so everything that a message announces is also in the store, and receivers read it there after a gap.
 */
export function createReplicas (store: Store, runInBackground: (work: Promise<unknown>) => void) {
  const self = randomId(9)
  const messageListeners: Array<(message: ReplicaMessage) => void> = []
  const gapListeners: Array<() => void> = []

  function receive (text: string): void {
    const message = messageRecord.parse(store, text)
    if (message === undefined) return
    for (const listener of messageListeners) listener(message)
  }

  function notifyGap (): void {
    for (const listener of gapListeners) listener()
  }

  function beat (): void {
    runInBackground(store.set(keys.replica(self), '', ALIVE_SECONDS))
  }

  store.subscribe(CHANNEL, receive, notifyGap)
  store.subscribe(`${CHANNEL}:${self}`, receive, notifyGap)
  beat()
  const heartbeat = setInterval(beat, HEARTBEAT_MS).unref()

  return {
    /** The id of this process. Event ids and request ids contain it, so that responses find their way back. */
    self,

    /** @param replica the receiver; all replicas, this one included, where absent */
    send (message: ReplicaMessage, replica?: string): void {
      const channel = replica === undefined ? CHANNEL : `${CHANNEL}:${replica}`
      runInBackground(store.publish(channel, JSON.stringify(message)))
    },

    onMessage (listener: (message: ReplicaMessage) => void): void { messageListeners.push(listener) },

    /** Calls the listener whenever messages may have been missed. */
    onGap (listener: () => void): void { gapListeners.push(listener) },

    /** Whether a replica sent a heartbeat lately. During an outage of the store every replica counts as alive. */
    async isAlive (replica: string): Promise<boolean> {
      try {
        return replica === self || await store.get(keys.replica(replica)) !== undefined
      } catch (err) {
        if (err instanceof StoreUnavailableError) return true
        throw err
      }
    },

    async close (): Promise<void> {
      clearInterval(heartbeat)
      await store.delete(keys.replica(self)).catch(() => {})
    }
  }
}
