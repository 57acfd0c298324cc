import { setTimeout as delay } from 'node:timers/promises'
import { createCoalescedTask } from '../../async/coalesced-task.ts'
import type { Keyring } from '../../crypto/keyring.ts'
import { keys } from '../../store/keys.ts'
import type { Cluster } from './cluster.ts'
import { HELD_CALL_TTL_SECONDS, appendEvent, contextOfCall, writeAnswer } from './held-call-events.ts'
import { HeldCallNotes } from './held-call-notes.ts'

/** A call that waits at this replica for what its client sends next. */
export interface HeldCall {
  /** The key of the principal whose call it is. */
  owner: string
  /**
   * Continues the call. It must not reject.
   *
   * @param message what the client has sent, as the other replica has read it
   * @param note passes something on for the client meanwhile; too much of it is left out, and progress that newer
   *   progress has overtaken. It resolves when there is room for more
   * @returns what the other replica is to know
   */
  continue (message: string, note: (text: string, isProgress: boolean) => Promise<void>): Promise<string>
  /** Ends the call, as nobody waits for it any more. */
  abandon (): void
}

/** A call that runs on here. */
interface RunningCall {
  call: HeldCall
  /** Whether it has an answer: a call that has asked again is held under another id, and not to be given up. */
  isAnswered: boolean
  ended: Promise<void>
}

const RETRY_MS = 1_000

/** The calls that this replica holds, and those that it runs on for another one. */
export class CallHolder {
  readonly #cluster: Cluster
  readonly #keyring: Keyring
  readonly #held = new Map<string, HeldCall>()
  readonly #running = new Map<string, RunningCall>()
  #isClosed = false

  constructor (cluster: Cluster, keyring: Keyring) {
    this.#cluster = cluster
    this.#keyring = keyring
  }

  hold (id: string, call: HeldCall): () => void {
    this.#held.set(id, call)
    return () => { this.#held.delete(id) }
  }

  /** Continues a call with what is in the store, or says that it is not here. */
  onContinued (id: string, reader: string): void {
    const { runInBackground } = this.#cluster
    if (this.#held.has(id)) {
      runInBackground(this.#take(id, reader))
    } else if (!this.#running.has(id) && !this.#isClosed) {
      runInBackground(this.#refuse(id, reader))
    }
  }

  async #refuse (id: string, reader: string): Promise<void> {
    await appendEvent(this.#cluster.store, this.#keyring, id, { kind: 'unknown' })
    this.#announce(id, reader)
  }

  onAbandoned (id: string): void {
    this.#held.get(id)?.abandon()
    this.#held.delete(id)
    abandon(this.#running.get(id))
  }

  /** Gives up the calls whose other replica is gone, which would keep in the store what it has sent. */
  poll (): void {
    for (const [id, running] of this.#running) this.#cluster.runInBackground(this.#keep(id, running))
  }

  /** Keeps the events of a call that says nothing for long: those that came later would be counted from one again. */
  async #keep (id: string, running: RunningCall): Promise<void> {
    const { store } = this.#cluster
    if (await store.get(keys.heldCall(id)) === undefined) abandon(running)
    else if (!running.isAnswered) await appendEvent(store, this.#keyring, id, { kind: 'noted', notes: [] })
  }

  async idle (): Promise<void> {
    await Promise.all([...this.#running.values()].map(async ({ ended }) => { await ended }))
  }

  close (): void {
    this.#isClosed = true
    for (const running of this.#running.values()) abandon(running)
  }

  async #take (id: string, reader: string): Promise<void> {
    const { store } = this.#cluster
    const sealed = await store.get(keys.heldCall(id))
    const call = this.#held.get(id)
    // The other replica sends its message again for as long as it has no answer.
    if (call === undefined || sealed === undefined) return
    const message = this.#keyring.open(sealed, contextOfCall(id, call.owner))
    if (message === undefined) {
      await this.#refuse(id, reader)
      return
    }
    this.#held.delete(id)
    const running: RunningCall = { call, isAnswered: false, ended: Promise.resolve() }
    this.#running.set(id, running)
    running.ended = this.#run(id, running, message, reader)
    await running.ended
  }

  async #run (id: string, running: RunningCall, message: string, reader: string): Promise<void> {
    const { store, onBackgroundError } = this.#cluster
    const notes = new HeldCallNotes()
    const noting = createCoalescedTask(async () => {
      await appendEvent(store, this.#keyring, id, { kind: 'noted', notes: notes.take() })
      this.#announce(id, reader)
    }, onBackgroundError)
    const answer = await running.call.continue(message, async (text, isProgress) => {
      if (!running.isAnswered && notes.add({ text, isProgress })) noting.request()
      if (!isProgress && notes.isHalfFull) await noting.idle()
    })
    running.isAnswered = true
    await noting.idle()
    await this.#write(id, answer)
    this.#running.delete(id)
    this.#announce(id, reader)
  }

  /** Writes an answer, as soon as the store takes it. */
  async #write (id: string, answer: string): Promise<void> {
    const deadline = performance.now() + HELD_CALL_TTL_SECONDS * 1_000
    let isWritten = false
    while (!isWritten && !this.#isClosed && performance.now() < deadline) {
      isWritten = await writeAnswer(this.#cluster.store, this.#keyring, id, answer).then(() => true, () => false)
      if (!isWritten) await delay(RETRY_MS, undefined, { ref: false })
    }
  }

  #announce (call: string, reader: string): void {
    this.#cluster.replicas.send({ kind: 'held-call-event', call }, reader)
  }
}

function abandon (running: RunningCall | undefined): void {
  if (running?.isAnswered === false) running.call.abandon()
}
