import { randomId } from '../../crypto/hash.ts'
import { keys } from '../../store/keys.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'
import { runInBackground } from './background.ts'
import type { BackgroundLog } from './background.ts'

/**
 * The replicas of this server, as far as one must tell another something: messages over the store's channels, and a
 * sign of life in the store. A message may be lost, so whoever waits for one also looks after a gap.
 */
export interface Replicas {
  /** This process; part of event ids and of the ids of requests to clients, so that an answer finds its way back. */
  readonly self: string
  /** @param replica whom, or undefined for all, this one included */
  send (message: ReplicaMessage, replica?: string): void
  onMessage (listener: (message: ReplicaMessage) => void): void
  /** Called when messages may have been missed. */
  onGap (listener: () => void): void
  /** Whether a replica gave a sign of life lately; true while the store is away, as nobody knows. */
  isAlive (replica: string): Promise<boolean>
  close (): Promise<void>
}

export type ReplicaMessage =
  /** The answer to a request to a client lies in the store. */
  | { kind: 'answered', request: string }
  /** A client cancelled its request. */
  | { kind: 'cancelled', session: string, request: string | number }
  /** A session has ended. */
  | { kind: 'ended', session: string }
  /** A client goes on reading a stream at `reader`. */
  | { kind: 'resumed', stream: string, reader: string }
  /** A stream that `reader` reads has another event. */
  | { kind: 'appended', stream: string }
  /** A stream is read elsewhere now. */
  | { kind: 'moved', stream: string }
  /** There is another message for the standalone streams of a session. */
  | { kind: 'queued', session: string }
  /** The newest standalone stream of a session is `reader`, or `reader` is over and read until `position`. */
  | { kind: 'claimed' | 'released', session: string, reader: string, position: string }
  /** What a session has subscribed to has changed. */
  | { kind: 'subscribed', session: string }
  /** The log level of a session has changed. */
  | { kind: 'altered', session: string }
  /** There is another change of what this server offers. */
  | { kind: 'changed' }

const BEAT_MS = 2_000
/** Three beats. */
const LIFE_SECONDS = 6
const CHANNEL = 'replicas'

export function createReplicas (store: Store, log: BackgroundLog): Replicas {
  const self = randomId(9)
  const listeners: Array<(message: ReplicaMessage) => void> = []
  const gapListeners: Array<() => void> = []
  const hear = (text: string): void => {
    const message = JSON.parse(text) as ReplicaMessage
    for (const listener of listeners) listener(message)
  }
  const hearOfGap = (): void => { for (const listener of gapListeners) listener() }
  store.subscribe(CHANNEL, hear, hearOfGap)
  store.subscribe(`${CHANNEL}:${self}`, hear, hearOfGap)

  const beat = (): void => { runInBackground(store.set(keys.replica(self), '', LIFE_SECONDS), log) }
  beat()
  const heart = setInterval(beat, BEAT_MS).unref()

  return {
    self,
    send (message, replica) {
      runInBackground(store.publish(replica === undefined ? CHANNEL : `${CHANNEL}:${replica}`, JSON.stringify(message)), log)
    },
    onMessage (listener) { listeners.push(listener) },
    onGap (listener) { gapListeners.push(listener) },
    async isAlive (replica) {
      try {
        return replica === self || await store.get(keys.replica(replica)) !== undefined
      } catch (err) {
        if (err instanceof StoreUnavailableError) return true
        throw err
      }
    },
    async close () {
      clearInterval(heart)
      await store.delete(keys.replica(self)).catch(() => {})
    }
  }
}
