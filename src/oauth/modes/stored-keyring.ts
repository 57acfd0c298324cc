import { randomId } from '../../crypto/hash.ts'
import { createKeyring } from '../../crypto/keyring.ts'
import type { FindKeyring, Keyring } from '../../crypto/keyring.ts'
import { keys } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'

const TEN_YEARS_SECONDS = 315_360_000

/**
 * Finds the keyring of an installation without SEED_SECRET: its secret is random and lives in the store, so that
 * restarts and other replicas have the same one. It protects consent pages and the refresh tokens of proxy mode outside
 * of the store only; whoever can read the store has the secret too.
 *
 * The store is asked each time, as it may have been emptied and another replica may have made a new secret since.
 */
export function createStoredKeyring (store: Store): FindKeyring {
  let last: { secret: string, keyring: Keyring } | undefined

  async function findSecret (): Promise<string> {
    for (;;) {
      const secret = await store.get(keys.secret())
      if (secret === undefined) {
        await store.setIfAbsent(keys.secret(), randomId(32), TEN_YEARS_SECONDS)
      } else if (/^[\w-]{43}$/.test(secret)) {
        return secret
      } else {
        // Anyone could have guessed it.
        store.reportUnreadable('secret', 'it is replaced, and users sign in again')
        await store.compareAndSet(keys.secret(), secret, randomId(32), TEN_YEARS_SECONDS)
      }
    }
  }

  return async function findKeyring () {
    const secret = await findSecret()
    if (last?.secret !== secret) last = { secret, keyring: createKeyring(secret, undefined) }
    return last.keyring
  }
}
