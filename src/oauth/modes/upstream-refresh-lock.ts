import { setTimeout as sleep } from 'node:timers/promises'
import { randomId } from '../../crypto/hash.ts'
import { keys } from '../../store/keys.ts'
import { ignoreOutage } from '../../store/store.ts'
import type { Store } from '../../store/store.ts'
import { OAuthError } from '../../errors/oauth-error.ts'

/** The reason for a refresh: a client's refresh token is replaced, or a tool needs the provider's access token. */
export type Purpose = 'refresh' | 'tool'

/** The provider has 10 s for each of two responses. */
const LOCK_SECONDS = 30
const WAIT_MS = 25_000
const POLL_MS = 50

/** A lock per grant, held by the replica that refreshes the provider's tokens of that grant. */
export function createUpstreamRefreshLock (store: Store) {
  /** @returns undefined when the lock may be tried again */
  async function waitForHolder<T> (
    lock: string, purpose: Purpose, deadline: number, pollOutcome: () => Promise<T | undefined>
  ): Promise<T | undefined> {
    let lastHolder: string | undefined
    for (;;) {
      const holder = await store.get(lock)
      const outcome = await pollOutcome()
      if (outcome !== undefined) return outcome
      lastHolder = holder?.split(':')[0] ?? lastHolder
      if (holder === undefined && lastHolder !== purpose) return undefined
      if (holder === undefined || performance.now() > deadline) {
        const message = 'The grant could not be refreshed just now; try again shortly'
        throw new OAuthError('temporarily_unavailable', message, {
          detail: 'another replica tried and did not succeed',
          causeCode: 'provider_unavailable',
          retryAfterSeconds: 1
        })
      }
      await sleep(POLL_MS)
    }
  }

  /** If the work took longer than the lock lasts, another replica may hold it now. */
  async function release (lock: string, own: string): Promise<void> {
    if (await store.get(lock) === own) await store.delete(lock)
  }

  /**
   * Runs `work` while no other replica holds the lock of this grant. While another one does, waits for its outcome: if
   * it fails and had the same purpose, its failure is this call's too; if it had the other purpose, the lock is tried
   * again.
   *
   * @param pollOutcome returns the other replica's outcome once there is one; called repeatedly
   * @throws OAuthError temporarily_unavailable when the other replica fails or takes too long; what `work` and
   * `pollOutcome` throw
   */
  return async function withLock<T> (
    grantId: string, purpose: Purpose, work: () => Promise<T>, pollOutcome: () => Promise<T | undefined>
  ): Promise<T> {
    const lock = keys.refreshing(grantId)
    const own = `${purpose}:${randomId(9)}`
    const deadline = performance.now() + WAIT_MS
    while (!await store.setIfAbsent(lock, own, LOCK_SECONDS)) {
      const outcome = await waitForHolder(lock, purpose, deadline, pollOutcome)
      if (outcome !== undefined) return outcome
    }
    try {
      return await work()
    } finally {
      await release(lock, own).catch(ignoreOutage)
    }
  }
}
