import { Type } from 'typebox'
import type { Static } from 'typebox'
import { defineMessage } from '../store/record.ts'
import type { Store } from '../store/store.ts'
import type { MinuteWindow } from './minute-window.ts'

const CHANNEL = 'shared-counters'
const HEARTBEAT_MS = 2_000
const MAX_MISSED_HEARTBEATS = 3
const MAX_REPLICAS = 1_000
const MAX_VALUES = 1_000
const MAX_MESSAGE_LENGTH = 200_000

const ValueSchema = Type.Tuple([
  Type.String({ maxLength: 32 }),
  Type.String({ minLength: 1, maxLength: 64 }),
  Type.Integer({ minimum: 0, maximum: 1_000_000_000 })
])

/** The sender's own value of a gauge or counter: family, name, value. */
export type Value = Static<typeof ValueSchema>

const MessageSchema = Type.Object({
  from: Type.String({ minLength: 1, maxLength: 64 }),
  /** Number of snapshots that the sender has sent. */
  heartbeat: Type.Integer({ minimum: 0 }),
  /** Minute since the epoch that the counters belong to. */
  window: Type.Integer({ minimum: 0 }),
  /** This message completes a snapshot: gauges of the sender that were not in this heartbeat are 0. */
  isSnapshot: Type.Boolean(),
  /** The sender asks the others for snapshots. */
  wantsSnapshot: Type.Boolean(),
  values: Type.Array(ValueSchema, { maxItems: MAX_VALUES })
})
export type Message = Static<typeof MessageSchema>
const messageRecord = defineMessage('message about limits', MessageSchema)

/** The values that the replicas tell each other. */
export interface GossipState {
  readonly minute: MinuteWindow
  /** Returns every own value that the other replicas must know. */
  snapshot (): Value[]
  receive (message: Message): void
  /** Forgets the gauges of a replica: those that were not in heartbeat number `exceptHeartbeat`, or all. */
  forget (replicaId: string, exceptHeartbeat?: number): void
}

export type GossipStore = Pick<Store, 'publish' | 'subscribe' | 'reportUnreadable'>

export interface GossipOptions {
  replicaId: string
  now: () => number
  every: (ms: number, act: () => void) => () => void
}

/**
 * Exchanges values with the other replicas over a channel of the store; nothing is stored. Values are absolute, so a
 * lost or repeated message does no harm, and each heartbeat repeats all of them.
 */
export class Gossip {
  readonly #store: GossipStore
  readonly #options: GossipOptions
  readonly #state: GossipState
  readonly #stopHeartbeats: () => void
  /** The other replicas, and when each was last heard. */
  readonly #replicas = new Map<string, number>()
  #pending: Value[] = []
  #snapshotDue = false
  #wantsSnapshot = false
  #scheduled = false
  #heartbeat = 0
  #closed = false

  constructor (store: GossipStore, options: GossipOptions, state: GossipState) {
    this.#store = store
    this.#options = options
    this.#state = state
    this.#stopHeartbeats = options.every(HEARTBEAT_MS, () => { this.#sendHeartbeat() })
    // Messages may have been missed before a subscription begins, and after a gap.
    store.subscribe(CHANNEL, (text) => { this.#receive(text) }, () => { this.exchangeSnapshots() })
  }

  get otherReplicas (): number {
    return this.#replicas.size
  }

  /** Adds a value to the next message. */
  announce (family: string, name: string, value: number): void {
    this.#pending.push([family, name, value])
  }

  /** Removes values that are not sent yet. */
  withdraw (isObsolete: (value: Value) => boolean): void {
    this.#pending = this.#pending.filter((value) => !isObsolete(value))
  }

  /** Sends all values and asks the others for theirs, at the end of this turn of the event loop. */
  exchangeSnapshots (): void {
    this.#snapshotDue = true
    this.#wantsSnapshot = true
    this.scheduleFlush()
  }

  /** Sends what was announced, at the end of this turn of the event loop. */
  scheduleFlush (): void {
    if (this.#scheduled || this.#closed) return
    this.#scheduled = true
    setImmediate(() => { this.flush() })
  }

  flush (): void {
    this.#scheduled = false
    // While the store is away nothing is sent; the next heartbeat makes up for it.
    if (!this.#closed) this.#publish().catch(() => {})
  }

  /** Sends a last snapshot. Resolves when it is sent or the store is away. */
  async close (): Promise<void> {
    this.#closed = true
    this.#stopHeartbeats()
    this.#snapshotDue = true
    await this.#publish().catch(() => {})
  }

  #sendHeartbeat (): void {
    const { now } = this.#options
    for (const [id, heardAt] of this.#replicas) {
      if (now() - heardAt <= MAX_MISSED_HEARTBEATS * HEARTBEAT_MS) continue
      this.#replicas.delete(id)
      this.#state.forget(id)
    }
    this.#snapshotDue = true
    this.flush()
  }

  /** Without other replicas only heartbeats are sent. */
  async #publish (): Promise<void> {
    const window = this.#state.minute.current()
    const [isSnapshot, wantsSnapshot] = [this.#snapshotDue, this.#wantsSnapshot]
    const values = isSnapshot ? this.#state.snapshot() : this.#pending
    this.#pending = []
    this.#snapshotDue = false
    this.#wantsSnapshot = false
    if (isSnapshot) this.#heartbeat++
    else if (this.#replicas.size === 0 || values.length === 0) return
    const parts: Value[][] = []
    do parts.push(values.splice(0, MAX_VALUES))
    while (values.length > 0)
    const common = { from: this.#options.replicaId, heartbeat: this.#heartbeat, window }
    await Promise.all(parts.map(async (part, index) => {
      const isLast = index === parts.length - 1
      const message: Message = {
        ...common, isSnapshot: isSnapshot && isLast, wantsSnapshot: wantsSnapshot && isLast, values: part
      }
      await this.#store.publish(CHANNEL, JSON.stringify(message))
    }))
  }

  #receive (text: string): void {
    if (this.#closed) return
    if (text.length > MAX_MESSAGE_LENGTH) return
    const message = messageRecord.parse(this.#store, text)
    if (message === undefined || message.from === this.#options.replicaId) return
    if (!this.#replicas.has(message.from) && this.#replicas.size >= MAX_REPLICAS) return
    this.#replicas.set(message.from, this.#options.now())
    this.#state.receive(message)
    if (message.isSnapshot) this.#state.forget(message.from, message.heartbeat)
    if (!message.wantsSnapshot) return
    this.#snapshotDue = true
    this.scheduleFlush()
  }
}
