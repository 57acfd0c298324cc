import { createCoalescedTask } from '../../async/coalesced-task.ts'
import type { CoalescedTask } from '../../async/coalesced-task.ts'
import { unlessAborted } from '../../async/unless-aborted.ts'
import type { Keyring } from '../../crypto/keyring.ts'
import { keys } from '../../store/keys.ts'
import { StoreUnavailableError } from '../../store/store.ts'
import type { Cluster } from './cluster.ts'
import { HELD_CALL_TTL_SECONDS, contextOfCall, readEvents, takeAnswer } from './held-call-events.ts'
import type { HeldCallEvent } from './held-call-events.ts'
import { ReplicaWatch } from './replica-watch.ts'

/** A call that another replica holds cannot be continued. The message is for the client. */
export class HeldCallLostError extends Error {
  override readonly name = 'HeldCallLostError'
}

/** What continues a call. */
export interface Continuation {
  /** The key of the principal whose call it is. */
  owner: string
  /** What the client has sent. */
  message: string
  /** Gives the call up. */
  signal: AbortSignal
  /** Gets what the holder passes on for the client meanwhile. */
  onNote (text: string): void
}

const STOPPED = 'The server that ran this call has stopped; it is unknown how far the call got'
const LOST = 'The answer of the call was lost; it is unknown how far the call got'
const ENDED = 'The call that asked is no longer open: call again'
const NOT_STORED = 'The answer could not be passed on to the server that runs this call: call again'

/** The calls of other replicas that this one has continued, and whose answers it awaits. */
export class ContinuedCalls {
  readonly #cluster: Cluster
  readonly #keyring: Keyring
  readonly #deadAfterMs: number
  readonly #awaited = new Map<string, AwaitedCall>()

  constructor (cluster: Cluster, keyring: Keyring, deadAfterMs: number) {
    this.#cluster = cluster
    this.#keyring = keyring
    this.#deadAfterMs = deadAfterMs
  }

  async continue (id: string, holder: string, continuation: Continuation): Promise<string> {
    const { store, runInBackground } = this.#cluster
    const { onNote } = continuation
    const call = new AwaitedCall({
      id, holder, onNote, cluster: this.#cluster, keyring: this.#keyring, deadAfterMs: this.#deadAfterMs
    })
    this.#awaited.set(id, call)
    return await this.#handOver(call, id, holder, continuation).finally(() => {
      this.#awaited.delete(id)
      runInBackground(Promise.all([store.delete(keys.heldCall(id)), store.delete(keys.heldCallEvents(id))]))
    })
  }

  async #handOver (
    call: AwaitedCall, id: string, holder: string, { owner, message, signal }: Continuation
  ): Promise<string> {
    const { store, replicas } = this.#cluster
    try {
      await store.set(keys.heldCall(id), this.#keyring.seal(message, contextOfCall(id, owner)), HELD_CALL_TTL_SECONDS)
      signal.throwIfAborted()
      call.begin()
      return await unlessAborted(call.answer, signal)
    } catch (err) {
      if (signal.aborted) replicas.send({ kind: 'held-call-abandoned', call: id }, holder)
      throw err instanceof StoreUnavailableError ? new HeldCallLostError(NOT_STORED) : err
    }
  }

  onEvent (id: string): void {
    this.#awaited.get(id)?.read()
  }

  poll (): void {
    for (const call of this.#awaited.values()) call.poll()
  }
}

interface AwaitedCallOptions extends Pick<Continuation, 'onNote'> {
  id: string
  /** The replica that holds the call. */
  holder: string
  cluster: Cluster
  keyring: Keyring
  deadAfterMs: number
}

class AwaitedCall {
  readonly answer: Promise<string>
  readonly #options: AwaitedCallOptions
  readonly #reading: CoalescedTask
  readonly #holder: ReplicaWatch
  #resolve!: (answer: string) => void
  #reject!: (err: Error) => void
  #lastRead = 0

  constructor (options: AwaitedCallOptions) {
    this.#options = options
    this.#holder = new ReplicaWatch(options.cluster.replicas, options.holder, options.deadAfterMs)
    this.#reading = createCoalescedTask(async () => { await this.#readEvents() }, options.cluster.onBackgroundError)
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.answer.catch(() => {})
  }

  /** Tells the holder that the store has something for it, and finds out whether it is there. */
  begin (): void {
    const { id, holder, cluster: { replicas, runInBackground } } = this.#options
    replicas.send({ kind: 'held-call-continued', call: id, reader: replicas.self }, holder)
    runInBackground(this.#checkHolder())
  }

  /** Reads what has become of the call. */
  read (): void {
    this.#reading.request()
  }

  /** Finds what a lost message announced, keeps the call wanted, and finds out whether its holder is there. */
  poll (): void {
    const { id, cluster: { store, runInBackground } } = this.#options
    this.begin()
    this.read()
    runInBackground(store.touch(keys.heldCall(id), HELD_CALL_TTL_SECONDS))
  }

  async #readEvents (): Promise<void> {
    const { id, cluster: { store }, keyring } = this.#options
    for (const [number, event] of await readEvents(store, keyring, id, this.#lastRead)) {
      if (event !== undefined) await this.#onEvent(event)
      this.#lastRead = number
    }
  }

  async #onEvent (event: HeldCallEvent): Promise<void> {
    const { id, onNote, cluster: { store }, keyring } = this.#options
    if (event.kind === 'noted') {
      for (const note of event.notes) onNote(note)
      return
    }
    const answer = event.kind === 'answered' ? await takeAnswer(store, keyring, id, event.parts) : undefined
    if (answer === undefined) this.#reject(new HeldCallLostError(event.kind === 'answered' ? LOST : ENDED))
    else this.#resolve(answer)
  }

  async #checkHolder (): Promise<void> {
    if (await this.#holder.isDead()) this.#reject(new HeldCallLostError(STOPPED))
  }
}
