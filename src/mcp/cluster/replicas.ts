import { randomId } from '../../crypto/hash.ts'
import { keys } from '../../store/keys.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'

/** A message from one replica to another, or to all. */
export type ReplicaMessage =
  /** The store holds the client's response to a request of this server. */
  | { kind: 'request-answered', request: string }
  /** A client cancelled its request. */
  | { kind: 'call-cancelled', session: string, request: string | number }
  | { kind: 'session-ended', session: string }
  | { kind: 'log-level-changed', session: string }
  | { kind: 'subscriptions-changed', session: string }
  /** The client of a call's stream now reads it at the replica `reader`. */
  | { kind: 'stream-resumed', stream: string, reader: string }
  /** A call's stream that this replica reads has a new event, or has ended. */
  | { kind: 'event-appended', stream: string }
  /** A call's stream that this replica reads is read elsewhere now. */
  | { kind: 'stream-moved', stream: string }
  /** A message was queued for the standalone streams of a session. */
  | { kind: 'message-queued', session: string }
  /** The stream `reader` is now the newest standalone stream of its session, from `position` on. */
  | { kind: 'stream-claimed', session: string, reader: string, position: string }
  /** The newest standalone stream of a session has ended; it was read until `position`. */
  | { kind: 'stream-released', session: string, reader: string, position: string }
  /** The change log has a new entry. */
  | { kind: 'change-published' }

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
    const message = JSON.parse(text) as ReplicaMessage
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
