import type { Replicas } from './replicas.ts'

/** Longer than a replica takes to send a heartbeat to a store that has started anew. */
export const DEAD_AFTER_MS = 4_000

/** Finds out whether another replica, which runs a call, is dead: not if a heartbeat is missing for a moment only. */
export class ReplicaWatch {
  readonly #replicas: Pick<Replicas, 'isAlive'>
  readonly #replica: string
  readonly #deadAfterMs: number
  /** Since when the replica is known to have sent no heartbeat. */
  #silentSince: number | undefined

  /** @param deadAfterMs time without a heartbeat after which the replica counts as dead */
  constructor (replicas: Pick<Replicas, 'isAlive'>, replica: string, deadAfterMs: number) {
    this.#replicas = replicas
    this.#replica = replica
    this.#deadAfterMs = deadAfterMs
  }

  /** Returns whether the replica has been silent for too long. It is to be asked again and again. */
  async isDead (): Promise<boolean> {
    if (await this.#replicas.isAlive(this.#replica)) {
      this.#silentSince = undefined
      return false
    }
    this.#silentSince ??= performance.now()
    return performance.now() - this.#silentSince > this.#deadAfterMs
  }
}
