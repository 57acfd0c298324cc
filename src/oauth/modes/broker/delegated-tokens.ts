import { digest } from '../../../crypto/hash.ts'
import type { Keyring } from '../../../crypto/keyring.ts'
import type { Delegation } from '../../../provider/delegation.ts'
import { keys } from '../../../store/keys.ts'
import { ignoreOutage } from '../../../store/store.ts'
import type { Store } from '../../../store/store.ts'

/** A token of the provider's for another API, as it lies in the store, sealed. */
export interface DelegatedToken {
  token: string
  /** Seconds since the epoch. */
  expiresAt: number
}

/** Tokens for other APIs, by grant and what they are for, sealed in the store where every replica finds them. */
export function createDelegatedTokens (store: Store, keyring: Keyring) {
  return {
    keyOf: (grantId: string, delegation: Delegation): string =>
      keys.delegated(grantId, digest(JSON.stringify(delegation))),

    /** @returns undefined also for a token that no SEED_SECRET opens any more */
    async find (key: string): Promise<DelegatedToken | undefined> {
      const sealed = await store.get(key)
      const opened = sealed === undefined ? undefined : keyring.open(sealed, key)
      return opened === undefined ? undefined : JSON.parse(opened) as DelegatedToken
    },

    /** While the store is unavailable nothing is kept. */
    async save (key: string, delegated: DelegatedToken, ttlSeconds: number): Promise<void> {
      await store.set(key, keyring.seal(JSON.stringify(delegated), key), ttlSeconds).catch(ignoreOutage)
    }
  }
}
